/* SPDX-License-Identifier: MIT */
/*
 * How fast the TSC and the local APIC's timer run: measured against a clock of known rate. What
 * CPUID's leaf 15H says is taken where it agrees with the measurement, being exact then; emulators
 * copy it from the chip they imitate. Leaf 16H is rounded, and a few tenths of a percent off on
 * many CPUs (drift of minutes a day): it is for where nothing can be measured.
 */
#include "boot/cpu.h"
#include "boot/loader.h"
#include "lib/format.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

#define MEASURE_MS  20u
#define SAMPLES     8u
#define ATTEMPTS    6u
#define SPIN_CYCLES (1ull << 34) /* longer than any clock may take for MEASURE_MS */

/* HPET registers (IA-PC HPET Specification 1.0a "Memory Mapped Registers") */
#define HPET_ID           0x000
#define HPET_PERIOD       0x004 /* fs */
#define HPET_CONFIG       0x010
#define HPET_CONFIG_ON    BIT(0)
#define HPET_COUNTER      0x0f0
#define HPET_PERIOD_MAX   100000000u
#define FEMTOS_PER_SECOND 1000000000000000ull

#define PM_TIMER_HZ       3579545u
#define PM_TIMER_MASK     0xffffffu /* 24 bits are always there */

#define PIT_HZ            1193182u
#define PIT_MASK          0xffffu /* it wraps after 55 ms */
#define PIT_CHANNEL_2     0x42
#define PIT_COMMAND       0x43
#define PIT_MODE_2_CH2    0xb4 /* channel 2, both bytes, rate generator */
#define PIT_LATCH_CH2     0x80
#define PORT_B            0x61
#define PORT_B_GATE_2     BIT(0)
#define PORT_B_SPEAKER    BIT(1)

/* Registers of the local APIC, by their offset in the page; an x2APIC's MSR is 0x800 + offset / 16.
 */
#define APIC_SVR           0x0f0
#define APIC_LVT_TIMER     0x320
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE  0x3e0
#define SVR_ENABLE         0x100u
#define SVR_VECTOR         0xffu
#define LVT_MASKED         BIT(16)
#define DIVIDE_BY_1        0xb

/* A clock of known rate. */
struct clock {
    const char *name;
    u64 (*read)(const struct loader *l);
    u64 hz, mask;
};

/* --- the local APIC's timer --- */

static volatile u32 *apic_page(void)
{
    u64 base = cpu_read_msr(MSR_IA32_APIC_BASE);

    return base & APIC_BASE_X2APIC ? NULL : (volatile u32 *)(base & FIELD(51, PAGE_SHIFT));
}

static void apic_write(u32 reg, u32 value)
{
    volatile u32 *page = apic_page();

    if (page) {
        page[reg / 4] = value;
    } else {
        cpu_write_msr(MSR_X2APIC_BASE + reg / 16, value);
    }
}

static u32 apic_count(void)
{
    volatile u32 *page = apic_page();

    return page ? page[APIC_TIMER_CURRENT / 4]
                : (u32)cpu_read_msr(MSR_X2APIC_BASE + APIC_TIMER_CURRENT / 16);
}

static void apic_start(void)
{
    u64 base = cpu_read_msr(MSR_IA32_APIC_BASE);

    if (!(base & APIC_BASE_ENABLE)) {
        cpu_write_msr(MSR_IA32_APIC_BASE, base | APIC_BASE_ENABLE);
    }
    apic_write(APIC_SVR, SVR_ENABLE | SVR_VECTOR);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_TIMER_INITIAL, ~0u);
}

/* --- HPET --- */

static volatile u32 *hpet_registers(const struct loader *l)
{
    return (volatile u32 *)l->hpet_base;
}

static u64 hpet_count(const struct loader *l)
{
    return hpet_registers(l)[HPET_COUNTER / 4]; /* 32 bits are enough, and one access */
}

static bool counter_moves(const struct loader *l, const struct clock *c)
{
    u64 first = c->read(l);

    for (u32 i = 0; i < 100000; i++) {
        if (c->read(l) != first) {
            return true;
        }
    }
    return false;
}

/* Whether there is an HPET: only registers that can be nothing else are believed, for without ACPI
 * tables it is a guess. */
static bool hpet_init(const struct loader *l, struct clock *c)
{
    volatile u32 *hpet = hpet_registers(l);

    if (!hpet || l->hpet_base > FIELD(31, 10)) {
        return false; /* above, the tables map memory only */
    }
    u32 id = hpet[HPET_ID / 4], period = hpet[HPET_PERIOD / 4];
    u32 revision = id & 0xff, vendor = id >> 16;
    if (!revision || revision == 0xff || !vendor || vendor == 0xffff || !period ||
        period > HPET_PERIOD_MAX) {
        return false;
    }
    hpet[HPET_CONFIG / 4] |= (u32)HPET_CONFIG_ON;
    *c =
        (struct clock){"HPET", hpet_count, (FEMTOS_PER_SECOND + period / 2) / period, FIELD(31, 0)};
    return true;
}

/* --- ACPI PM timer --- */

static u64 pm_timer_count(const struct loader *l)
{
    return cpu_in32(l->pm_timer_port) & PM_TIMER_MASK;
}

static bool pm_timer_init(const struct loader *l, struct clock *c)
{
    *c = (struct clock){"PM timer", pm_timer_count, PM_TIMER_HZ, PM_TIMER_MASK};
    return l->pm_timer_port;
}

/* --- PIT --- */

static u64 pit_count(const struct loader *l)
{
    (void)l;
    cpu_out8(PIT_COMMAND, PIT_LATCH_CH2);
    u32 low = cpu_in8(PIT_CHANNEL_2);
    return PIT_MASK - (low | (u32)cpu_in8(PIT_CHANNEL_2) << 8);
}

/* Channel 2, which nothing but the speaker uses, counts down from 65536 again and again. */
static bool pit_init(const struct loader *l, struct clock *c)
{
    (void)l;
    cpu_out8(PORT_B, (u8)((cpu_in8(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE_2));
    cpu_out8(PIT_COMMAND, PIT_MODE_2_CH2);
    cpu_out8(PIT_CHANNEL_2, 0);
    cpu_out8(PIT_CHANNEL_2, 0);
    *c = (struct clock){"PIT", pit_count, PIT_HZ, PIT_MASK};
    return true;
}

/* --- measurement --- */

/* Both clocks at one moment: the pair of TSC reads around the other clock that is closest together.
 */
struct moment {
    u64 tsc, count;
    u32 timer;
};

static struct moment now(const struct loader *l, const struct clock *c)
{
    struct moment best = {0, 0, 0};
    u64 least = ~0ull;

    for (u32 i = 0; i < SAMPLES; i++) {
        u64 before = cpu_tsc();
        u64 count = c->read(l);
        u32 timer = apic_count();
        u64 after = cpu_tsc();
        if (after - before < least) {
            least = after - before;
            best = (struct moment){before + least / 2, count, timer};
        }
    }
    return best;
}

/* hz of something that counted `ticks` while the clock counted `counted`. */
static u64 rate(u64 ticks, u64 counted, u64 clock_hz)
{
    return ticks * clock_hz / counted;
}

static bool measure_once(const struct loader *l, const struct clock *c, u64 *tsc_hz, u64 *apic_hz)
{
    u64 wanted = c->hz / 1000 * MEASURE_MS;

    struct moment start = now(l, c);
    while (((c->read(l) - start.count) & c->mask) < wanted) {
        if (cpu_tsc() - start.tsc > SPIN_CYCLES) {
            return false;
        }
    }
    struct moment end = now(l, c);
    u64 counted = (end.count - start.count) & c->mask;
    *tsc_hz = rate(end.tsc - start.tsc, counted, c->hz);
    *apic_hz = rate(start.timer - end.timer, counted, c->hz);
    return true;
}

static bool agrees(u64 a, u64 b, u64 parts)
{
    return a && (a > b ? a - b : b - a) < b / parts;
}

/* Until two measurements in a row say the same: we may have been away while a clock wrapped (in an
 * emulator, or firmware's management mode). */
static bool measure(const struct loader *l, const struct clock *c, u64 *tsc_hz, u64 *apic_hz)
{
    u64 before = 0;

    for (u32 i = 0; i < ATTEMPTS; i++) {
        if (!measure_once(l, c, tsc_hz, apic_hz)) {
            return false;
        }
        if (agrees(before, *tsc_hz, 1000)) {
            return true;
        }
        before = *tsc_hz;
    }
    return false;
}

/* --- CPUID --- */

/* SDM 2A "CPUID", leaves 15H and 16H; 0 when they say nothing. */
static u64 cpuid_tsc_hz(u32 leaf)
{
    struct cpuid r;

    cpu_id(0, 0, &r);
    if (r.eax < leaf) {
        return 0;
    }
    cpu_id(leaf, 0, &r);
    if (leaf == 0x15) {
        return r.eax && r.ebx && r.ecx ? (u64)r.ecx * r.ebx / r.eax : 0;
    }
    return (u64)(r.eax & 0xffff) * 1000000;
}

void clock_measure(struct loader *l)
{
    static bool (*const inits[])(const struct loader *, struct clock *) = {hpet_init, pm_timer_init,
                                                                           pit_init};
    struct clock c = {0};
    u64 tsc_hz = 0, apic_hz = 0;

    apic_start();
    for (u32 i = 0; i < ARRAY_SIZE(inits) && !tsc_hz; i++) {
        if (!inits[i](l, &c) || !counter_moves(l, &c) || !measure(l, &c, &tsc_hz, &apic_hz)) {
            tsc_hz = 0;
            c.name = "CPUID alone";
        }
    }
    if (!tsc_hz) {
        tsc_hz = cpuid_tsc_hz(0x15) ? cpuid_tsc_hz(0x15) : cpuid_tsc_hz(0x16);
    }
    l->info->tsc_hz = agrees(cpuid_tsc_hz(0x15), tsc_hz, 1000) ? cpuid_tsc_hz(0x15) : tsc_hz;
    l->info->apic_timer_hz = apic_hz;
    format_buffer(l->info->clock, sizeof(l->info->clock), "%s", c.name);
}
