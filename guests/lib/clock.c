/* SPDX-License-Identifier: MIT */
/* Frequencies and comparison of clocks. */
#include "guests/lib/clock.h"

#include "guests/lib/acpi.h"
#include "guests/lib/apic.h"
#include "guests/lib/cpu.h"
#include "guests/lib/test.h"

#define LEAF_FREQUENCY  0x15
#define LEAF_HYPERVISOR 0x40000000
#define LEAF_TIMING     0x40000010
#define ECX1_HYPERVISOR BIT(31)
#define MEASURE_PM      35795 /* PM timer ticks: 10 ms */
#define MEASURE_DIVISOR 100

struct clock_told clock_told(void)
{
    struct clock_told told = {0, 0, 0, 0};

    if (cpuid(0, 0).eax >= LEAF_FREQUENCY) {
        struct cpuid r = cpuid(LEAF_FREQUENCY, 0);

        told.apic_15 = r.ecx;
        told.tsc_15 = r.eax ? (u64)r.ecx * r.ebx / r.eax : 0;
    }
    if (cpuid(1, 0).ecx & ECX1_HYPERVISOR && cpuid(LEAF_HYPERVISOR, 0).eax >= LEAF_TIMING) {
        struct cpuid r = cpuid(LEAF_TIMING, 0);

        told.tsc_4x10 = r.eax * 1000ull;
        told.apic_4x10 = r.ebx * 1000ull;
    }
    return told;
}

u32 clock_pm(void)
{
    u32 port = acpi_known()->pm_timer_port;

    return port ? inl((u16)port) & PM_TIMER_MASK : 0;
}

static u64 measure_tsc(void)
{
    u32 start = clock_pm();
    u64 tsc = rdtsc();

    if (!acpi_known()->pm_timer_port) {
        test_error("no clock of known frequency");
        test_end();
    }
    while (((clock_pm() - start) & PM_TIMER_MASK) < MEASURE_PM) {
        cpu_pause();
    }
    return (rdtsc() - tsc) * MEASURE_DIVISOR;
}

u64 clock_tsc_hz(void)
{
    static u64 hz;

    if (!hz) {
        struct clock_told told = clock_told();

        hz = told.tsc_15 ? told.tsc_15 : told.tsc_4x10 ? told.tsc_4x10 : measure_tsc();
    }
    return hz;
}

/* On a machine whose CPUID is silent. The timer is left stopped. */
static u64 measure_apic(void)
{
    u32 before, after;

    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_TIMER_INITIAL, ~0u);
    before = apic_read(APIC_TIMER_CURRENT);
    clock_wait_us(1000000 / MEASURE_DIVISOR);
    after = apic_read(APIC_TIMER_CURRENT);
    apic_write(APIC_TIMER_INITIAL, 0);
    return (u64)(before - after) * MEASURE_DIVISOR;
}

u64 clock_apic_hz(void)
{
    static u64 hz;

    if (!hz) {
        struct clock_told told = clock_told();

        hz = told.apic_15 ? told.apic_15 : told.apic_4x10 ? told.apic_4x10 : measure_apic();
    }
    return hz;
}

void clock_wait_ticks(u64 ticks)
{
    u64 start = rdtsc();

    while (rdtsc() - start < ticks) {
        cpu_pause();
    }
}

void clock_wait_us(u64 us)
{
    clock_wait_ticks(us * (clock_tsc_hz() / 1000) / 1000);
}

bool clock_agrees(struct clock_sample a, struct clock_sample b, u64 ticks, u64 hz, u64 slack)
{
    u64 tsc_hz = clock_tsc_hz();
    u64 least = b.before - a.after, most = b.after - a.before;

    /* in units of which none is lost: ticks * tsc_hz against TSC ticks * hz */
    return (ticks + slack) * tsc_hz >= least * hz && ticks * tsc_hz <= most * hz + slack * tsc_hz;
}
