/* SPDX-License-Identifier: MIT */
/*
 * All clocks of the PC against the TSC and what CPUID says of it: counts in between two readings
 * must fit the time in between, to a tick or two. Nothing runs backwards.
 */
#include "guests/lib/acpi.h"
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/pit.h"
#include "guests/lib/rtc.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/hw/acpi_pm.h"

/* Ticks that a count may be off beside the time that reading it takes: each of the two readings is
 * rounded down, and so is each clock's own start. QEMU TCG's TSC has a clock of its own. */
#define SLACK (on_tcg() ? 2000 : 2)

static void told(void)
{
    struct clock_told t = clock_told();

    if (!t.tsc_15 && !t.tsc_4x10) {
        test_skip("told: CPUID says nothing of frequencies");
        return;
    }
    if (t.tsc_15 && t.tsc_4x10) {
        CHECK_EQ(t.tsc_15 / 1000, t.tsc_4x10 / 1000);
    }
    if (t.apic_15 && t.apic_4x10) {
        CHECK_EQ(t.apic_15 / 1000, t.apic_4x10 / 1000);
    }
    if (on_socle()) {
        CHECK(t.tsc_15 && t.tsc_4x10 && t.apic_15 && t.apic_4x10, "%lu %lu %lu %lu", t.tsc_15,
              t.tsc_4x10, t.apic_15, t.apic_4x10);
    }
    CHECK(clock_tsc_hz() >= 1000000, "%lu Hz", clock_tsc_hz());
}

/* A clock that counts up (direction 1) or down (-1), in a circle of so many ticks. */
static void compare(const char *name, u64 (*read)(void), int direction, u64 circle, u64 hz,
                    u64 wait_us)
{
    for (u32 i = 0; i < 8; i++) {
        struct clock_sample a = CLOCK_SAMPLE(read()), b;
        u64 ticks;

        clock_wait_us(wait_us);
        b = CLOCK_SAMPLE(read());
        ticks = direction > 0 ? b.value - a.value + circle : a.value - b.value + circle;
        ticks %= circle;
        u64 whole = (b.before - a.before) * hz / clock_tsc_hz() / circle;
        if (whole || (b.after - b.before) + (a.after - a.before) > clock_tsc_hz() / 100) {
            continue; /* this CPU was away too long to tell anything */
        }
        CHECK(clock_agrees(a, b, ticks, hz, SLACK),
              "%s: %lu ticks of %lu Hz in %lu to %lu TSC ticks of %lu Hz", name, ticks, hz,
              b.before - a.after, b.after - a.before, clock_tsc_hz());
    }
}

static u64 read_pm(void)
{
    return clock_pm();
}

static u64 read_pit0(void)
{
    return pit_count(0);
}

static u64 read_pit2(void)
{
    return pit_count(2);
}

static u64 read_apic(void)
{
    return apic_read(APIC_TIMER_CURRENT);
}

static void pm(void)
{
    u32 port = acpi_known()->pm_timer_port;

    if (!port) {
        test_skip("no PM timer");
        return;
    }
    CHECK_EQ(acpi_known()->pm_timer_bits == 24 ? inl((u16)port) >> 24 : 0, 0);
    compare("PM timer", read_pm, 1, PM_TIMER_MASK + 1ull, PM_TIMER_HZ, 1000);
    compare("PM timer", read_pm, 1, PM_TIMER_MASK + 1ull, PM_TIMER_HZ, 50000);
}

static void pit(void)
{
    pit_start(0, 2, 0);
    compare("PIT counter 0", read_pit0, -1, 65536, PIT_HZ, 1000);
    compare("PIT counter 0", read_pit0, -1, 65536, PIT_HZ, 20000);
    pit_quiet();
    outb(PORT61, PORT61_GATE2);
    pit_start(2, 2, 50000);
    compare("PIT counter 2", read_pit2, -1, 50000, PIT_HZ, 5000);
    outb(PORT61, 0);
}

static void apic(void)
{
    if (!apic_present()) {
        test_skip("no local APIC");
        return;
    }
    apic_available();
    apic_reset();
    (void)clock_apic_hz(); /* which may need the timer */
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_TIMER_INITIAL, ~0u);
    compare("APIC timer", read_apic, -1, 1ull << 32, clock_apic_hz(), 1000);
    compare("APIC timer", read_apic, -1, 1ull << 32, clock_apic_hz(), 30000);
    apic_write(APIC_LVT_TIMER, LVT_MASKED | LVT_TIMER_PERIODIC);
    apic_write(APIC_TIMER_INITIAL, (u32)(clock_apic_hz() / 50) - 1);
    compare("APIC timer, periodic", read_apic, -1, clock_apic_hz() / 50 - 1, clock_apic_hz(), 3000);
    apic_write(APIC_TIMER_INITIAL, 0);
}

/* TSC when a flag of register C is seen to rise, and when it was last seen low; value 0: it does
 * not rise within seconds. */
static struct clock_sample flag_rises(u8 flag, u64 seconds)
{
    struct clock_sample s = {0, 0, 0};
    u64 begun = rdtsc();

    (void)rtc_read(RTC_C);
    do {
        s.before = s.after;
        s.after = rdtsc();
        s.value = rtc_read(RTC_C) & flag;
        if (!s.before) {
            s.before = s.after;
        }
    } while (!s.value && s.after - begun < seconds * clock_tsc_hz());
    s.after = rdtsc();
    return s;
}

/* 64 periods of 1024 Hz, counted by the flag of register C. */
static void rtc_rate(void)
{
    enum { PERIODS = 64, HZ = 1024 };
    struct clock_sample a, b;
    u64 hz = clock_tsc_hz();

    rtc_write(RTC_A, RTC_A_DV_32KHZ | 6);
    a = flag_rises(RTC_C_PF, 1);
    for (u32 i = 1; i < PERIODS; i++) {
        u64 before = rdtsc();

        (void)flag_rises(RTC_C_PF, 1);
        if (rdtsc() - before > hz / HZ * 3 / 2) {
            test_skip("rtc-rate: this CPU was away too long to see every period");
            return;
        }
    }
    b = flag_rises(RTC_C_PF, 1);
    CHECK(a.value && b.value, "the flag rises");
    CHECK(clock_agrees(a, b, PERIODS, HZ, 1), "%u periods in %lu to %lu TSC ticks", PERIODS,
          b.before - a.after, b.after - a.before);
}

/* A second of the clock's is one of the TSC's. */
static void rtc_second(void)
{
    struct clock_sample a, b;
    u64 hz = clock_tsc_hz();

    a = flag_rises(RTC_C_UF, 3);
    u8 second = rtc_read(RTC_SECONDS);
    b = flag_rises(RTC_C_UF, 3);
    CHECK(a.value && b.value, "updates");
    CHECK(rtc_read(RTC_SECONDS) != second, "%x, and a second later the same", second);
    u64 least = b.before - a.after, most = b.after - a.before;
    CHECK(least < hz + hz / 50 && (most > hz - hz / 50 || on_tcg()),
          "a second in %lu to %lu TSC ticks, %lu expected", least, most, hz);
}

/* All at once, thousands of times: each only goes on. */
static void monotonic(void)
{
    u64 tsc = rdtsc(), now;
    u32 last_pm = clock_pm(), pm_now, count = ~0u;
    bool has_apic = apic_present();

    if (has_apic) {
        apic_available();
        apic_reset();
        apic_write(APIC_LVT_TIMER, LVT_MASKED);
        apic_write(APIC_TIMER_INITIAL, ~0u);
    }
    pit_start(0, 2, 0);
    u64 pit_tsc = rdtsc();
    u16 last_pit = pit_count(0);
    for (u32 i = 0; i < 3000; i++) {
        now = rdtsc();
        CHECK(now >= tsc, "TSC %lu, then %lu", tsc, now);
        tsc = now;
        pm_now = clock_pm();
        CHECK(((pm_now - last_pm) & PM_TIMER_MASK) < PM_TIMER_HZ, "PM timer %x, then %x", last_pm,
              pm_now);
        last_pm = pm_now;
        u16 pit_now = pit_count(0);
        /* it comes round in 55 ms, for which a guest among many may be away */
        CHECK((u16)(last_pit - pit_now) < 60000 || rdtsc() - pit_tsc > clock_tsc_hz() / 25,
              "PIT %x, then %x", last_pit, pit_now);
        pit_tsc = now;
        last_pit = pit_now;
        if (has_apic) {
            u32 count_now = apic_read(APIC_TIMER_CURRENT);

            CHECK(count_now <= count, "APIC timer %x, then %x", count, count_now);
            count = count_now;
        }
    }
    pit_quiet();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"told",       told      },
        {"pm",         pm        },
        {"pit",        pit       },
        {"apic",       apic      },
        {"rtc-rate",   rtc_rate  },
        {"rtc-second", rtc_second},
        {"monotonic",  monotonic },
    };

    test_all("clocks", tests, ARRAY_SIZE(tests));
}
