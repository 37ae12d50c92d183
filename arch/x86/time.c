/* SPDX-License-Identifier: MIT */
/*
 * How fast the TSC and the local APIC's timer run: measured against a clock of known rate. CPUID's
 * own figures are taken where they agree with the measurement, being exact then; emulators copy
 * them from the chip they imitate.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/lapic.h"
#include "arch/x86/time.h"
#include "kernel/log.h"

#define MEASURE_MS  20u
#define SAMPLES     8u
#define ATTEMPTS    6u
#define SPIN_CYCLES (1ull << 34) /* longer than any clock may take for MEASURE_MS */

/* HPET registers (IA-PC HPET Specification 1.0a "Memory Mapped Registers") */
#define HPET_BASE_USUAL   0xfed00000ull
#define HPET_BYTES        1024
#define HPET_ID           0x000
#define HPET_ID_64_BIT    BIT(13)
#define HPET_CONFIG       0x010
#define HPET_CONFIG_ON    BIT(0)
#define HPET_COUNTER      0x0f0
#define HPET_PERIOD_MAX   100000000u /* fs */
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

ARCH_READ_ONLY_AFTER_BOOT u64 arch_tsc_hz;

static ARCH_READ_ONLY_AFTER_BOOT u64 timer_hz; /* of the local APIC's counter; 0: deadline mode */

struct clock {
    const char *name;
    u64 (*read)(void);
    u64 hz, mask;
};

/* --- HPET --- */

static volatile u64 *hpet;

static u32 hpet_read32(u32 reg)
{
    return ((volatile u32 *)hpet)[reg / 4];
}

static u64 hpet_count(void)
{
    return hpet_read32(HPET_COUNTER); /* 32 bits are enough, and one access */
}

static bool counter_moves(u64 (*read)(void))
{
    u64 first = read();

    for (u32 i = 0; i < 100000; i++) {
        if (read() != first) {
            return true;
        }
    }
    return false;
}

/* Whether there is an HPET; where ACPI names none, only registers that can be nothing else are
 * believed. */
static bool hpet_init(const struct bootinfo *bi, struct clock *c)
{
    u64 base = bi->hpet_base;

    if (!base && !bi->rsdp) {
        base = HPET_BASE_USUAL;
    }
    if (!base) {
        return false;
    }
    hpet = arch_map_device(HPA(base), HPET_BYTES, false);
    u32 id = hpet_read32(HPET_ID), period = hpet_read32(HPET_ID + 4);
    u32 revision = id & 0xff, vendor = id >> 16;
    if (!revision || revision == 0xff || !vendor || vendor == 0xffff || !period ||
        period > HPET_PERIOD_MAX) {
        return false;
    }
    u32 config = hpet_read32(HPET_CONFIG);
    if (!(config & HPET_CONFIG_ON)) {
        ((volatile u32 *)hpet)[HPET_CONFIG / 4] = config | HPET_CONFIG_ON;
    }
    *c =
        (struct clock){"HPET", hpet_count, (FEMTOS_PER_SECOND + period / 2) / period, FIELD(31, 0)};
    return counter_moves(hpet_count);
}

/* --- ACPI PM timer --- */

static u16 pm_timer_port;

static u64 pm_timer_count(void)
{
    return in32(pm_timer_port) & PM_TIMER_MASK;
}

static bool pm_timer_init(const struct bootinfo *bi, struct clock *c)
{
    if (!bi->pm_timer_port || bi->pm_timer_port > 0xffff) {
        return false;
    }
    pm_timer_port = (u16)bi->pm_timer_port;
    *c = (struct clock){"PM timer", pm_timer_count, PM_TIMER_HZ, PM_TIMER_MASK};
    return counter_moves(pm_timer_count);
}

/* --- PIT --- */

static u64 pit_count(void)
{
    out8(PIT_COMMAND, PIT_LATCH_CH2);
    u32 low = in8(PIT_CHANNEL_2);
    return PIT_MASK - (low | (u32)in8(PIT_CHANNEL_2) << 8);
}

/* Channel 2, which nothing but the speaker uses, counts down from 65536 again and again. */
static bool pit_init(const struct bootinfo *bi, struct clock *c)
{
    (void)bi;
    out8(PORT_B, (u8)((in8(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE_2));
    out8(PIT_COMMAND, PIT_MODE_2_CH2);
    out8(PIT_CHANNEL_2, 0);
    out8(PIT_CHANNEL_2, 0);
    *c = (struct clock){"PIT", pit_count, PIT_HZ, PIT_MASK};
    return counter_moves(pit_count);
}

/* --- measurement --- */

/* Both clocks at one moment: the pair of TSC reads around the other clock that is closest together.
 */
struct moment {
    u64 tsc, count;
    u32 timer;
};

static struct moment now(const struct clock *c)
{
    struct moment best = {0, 0, 0};
    u64 least = ~0ull;

    for (u32 i = 0; i < SAMPLES; i++) {
        u64 before = arch_tsc();
        u64 count = c->read();
        u32 timer = lapic_count_passed();
        u64 after = arch_tsc();
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

static bool measure_once(const struct clock *c, u64 *tsc_hz, u64 *apic_hz)
{
    u64 wanted = c->hz / 1000 * MEASURE_MS;

    struct moment start = now(c);
    while (((c->read() - start.count) & c->mask) < wanted) {
        if (arch_tsc() - start.tsc > SPIN_CYCLES) {
            return false;
        }
    }
    struct moment end = now(c);
    u64 counted = (end.count - start.count) & c->mask;
    *tsc_hz = rate(end.tsc - start.tsc, counted, c->hz);
    *apic_hz = rate(end.timer - start.timer, counted, c->hz);
    return true;
}

static bool agrees(u64 a, u64 b, u64 parts)
{
    return a && (a > b ? a - b : b - a) < b / parts;
}

/* Until two measurements in a row say the same: we may have been away while a clock wrapped (in an
 * emulator, or firmware's management mode). */
static bool measure(const struct clock *c, u64 *tsc_hz, u64 *apic_hz)
{
    u64 before = 0;

    for (u32 i = 0; i < ATTEMPTS; i++) {
        if (!measure_once(c, tsc_hz, apic_hz)) {
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
    u32 r[4];

    if (cpu_features.max_leaf < leaf) {
        return 0;
    }
    arch_cpuid(leaf, 0, r);
    if (leaf == 0x15) {
        return r[0] && r[1] && r[2] ? (u64)r[2] * r[1] / r[0] : 0;
    }
    return (u64)(r[0] & 0xffff) * 1000000;
}

void arch_time_init(const struct bootinfo *bi)
{
    static bool (*const inits[])(const struct bootinfo *,
                                 struct clock *) = {hpet_init, pm_timer_init, pit_init};
    struct clock c = {0};
    u64 tsc_hz = 0, apic_hz = 0;

    lapic_count_start();
    for (u32 i = 0; i < ARRAY_SIZE(inits) && !tsc_hz; i++) {
        if (!inits[i](bi, &c) || !measure(&c, &tsc_hz, &apic_hz)) {
            tsc_hz = 0;
            c.name = "CPUID alone";
        }
    }
    if (!tsc_hz) {
        tsc_hz = cpuid_tsc_hz(0x15) ? cpuid_tsc_hz(0x15) : cpuid_tsc_hz(0x16);
    }
    if (!tsc_hz) {
        panic("no clock: neither HPET, PM timer, PIT nor CPUID tells the speed of the TSC");
    }
    arch_tsc_hz = tsc_hz;
    for (u32 leaf = 0x16; leaf >= 0x15; leaf--) {
        if (agrees(cpuid_tsc_hz(leaf), tsc_hz, 100)) {
            arch_tsc_hz = cpuid_tsc_hz(leaf); /* 15H, the more exact one, comes last */
        }
    }
    if (!cpu_features.tsc_deadline && !apic_hz) {
        panic("the local APIC's timer does not count");
    }
    timer_hz = cpu_features.tsc_deadline ? 0 : apic_hz;
    time_init_cpu();
    klog("time: TSC %llu kHz by %s, %s, timer %s", (unsigned long long)(arch_tsc_hz / 1000), c.name,
         lapic_mode(), timer_hz ? "by count" : "by TSC deadline");
}

void time_init_cpu(void)
{
    lapic_timer_init(timer_hz);
}

void time_wait_us(u64 us)
{
    u64 end = arch_tsc() + arch_tsc_hz / 1000000 * us;

    while (arch_tsc() < end) {
        arch_pause();
    }
}
