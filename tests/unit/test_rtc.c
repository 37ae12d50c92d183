/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/rtc.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The real-time clock: calendar, update cycle, interrupts, and the RAM as firmware leaves it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/rtc.h"
#include "vmm/device/ticks.h"

#define SECOND 1000000000ull

static struct machine m;
static struct rtc r;

static void attach(u64 wall, u64 below, u64 above)
{
    fake_host_reset(&m);
    m.wall_seconds = wall;
    memset(&r, 0xa5, sizeof(r)); /* attach alone must initialise it */
    assert_true(rtc_attach(&r, &m, below, above));
}

static int setup(void **state)
{
    (void)state;
    attach(1000000000, 64 << 20, 0); /* Sunday 2001-09-09 01:46:40 */
    return 0;
}

static u8 in(u8 reg)
{
    bus_out(&m.bus, RTC_PORT, 1, reg);
    return (u8)bus_in(&m.bus, RTC_PORT + 1, 1);
}

static void out(u8 reg, u8 value)
{
    bus_out(&m.bus, RTC_PORT, 1, reg);
    bus_out(&m.bus, RTC_PORT + 1, 1, value);
}

static u32 word(u8 reg)
{
    return in(reg) | (u32)in(reg + 1) << 8;
}

static bool irq(void)
{
    return m.irq_levels & 1u << RTC_IRQ;
}

/* century, year, month, day, weekday, hours, minutes, seconds */
static const u8 regs[8] = {CMOS_CENTURY, RTC_YEAR,  RTC_MONTH,   RTC_DAY,
                           RTC_WEEKDAY,  RTC_HOURS, RTC_MINUTES, RTC_SECONDS};

static void set(u8 b, const u8 time[8])
{
    out(RTC_B, b | RTC_B_SET);
    for (u32 i = 0; i < 8; i++) {
        out(regs[i], time[i]);
    }
    out(RTC_B, b);
}

static void check(const u8 time[8])
{
    for (u32 i = 0; i < 8; i++) {
        assert_int_equal(in(regs[i]), time[i]);
    }
}

static void test_attached(void **state)
{
    static const u8 time[8] = {0x20, 0x01, 0x09, 0x09, 1, 0x01, 0x46, 0x40};

    (void)state;
    check(time);
    assert_int_equal(in(RTC_A), 0x26);
    assert_int_equal(in(RTC_B), RTC_B_24H);
    assert_int_equal(in(RTC_C), 0);
    assert_int_equal(in(RTC_D), RTC_D_VRT);
    assert_false(irq());
    assert_null(m.timers);
    assert_int_equal(bus_in(&m.bus, RTC_PORT, 1), 0xff);
    assert_int_equal(bus_in(&m.bus, RTC_PORT, 2), 0xffff);
    fake_host_advance(&m, 86400 * SECOND * 365);
    assert_int_equal(m.irq_changes, 0);
}

static void test_wall_clock(void **state)
{
    static const struct {
        u64 seconds;
        u8 time[8];
    } cases[] = {
        {0,          {0x19, 0x70, 0x01, 0x01, 5, 0x00, 0x00, 0x00}},
        {951782399,  {0x20, 0x00, 0x02, 0x28, 2, 0x23, 0x59, 0x59}},
        {951782400,  {0x20, 0x00, 0x02, 0x29, 3, 0x00, 0x00, 0x00}},
        {1795259914, {0x20, 0x26, 0x11, 0x21, 7, 0x11, 0x18, 0x34}},
        {4107542399, {0x21, 0x00, 0x02, 0x28, 1, 0x23, 0x59, 0x59}},
        {4107542400, {0x21, 0x00, 0x03, 0x01, 2, 0x00, 0x00, 0x00}},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        attach(cases[i].seconds, 0, 0);
        check(cases[i].time);
    }
}

static void test_calendar(void **state)
{
    static const struct {
        u8 b, before[8], after[8]; /* one second between them */
    } cases[] = {
        {2, {0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59}, {0x20, 0, 1, 1, 7, 0, 0, 0}         },
        {2, {0x20, 0x23, 0x02, 0x28, 3, 0x23, 0x59, 0x59}, {0x20, 0x23, 3, 1, 4, 0, 0, 0}      },
        {2, {0x20, 0x24, 0x02, 0x28, 4, 0x23, 0x59, 0x59}, {0x20, 0x24, 2, 0x29, 5, 0, 0, 0}   },
        {2, {0x19, 0x00, 0x02, 0x28, 4, 0x23, 0x59, 0x59}, {0x19, 0, 3, 1, 5, 0, 0, 0}         },
        {2, {0x20, 0x24, 0x04, 0x30, 7, 0x23, 0x59, 0x59}, {0x20, 0x24, 5, 1, 1, 0, 0, 0}      },
        {2, {0x20, 0x24, 0x04, 0x30, 7, 0x09, 0x59, 0x59}, {0x20, 0x24, 4, 0x30, 7, 0x10, 0, 0}},
        {6, {20, 24, 12, 31, 3, 23, 59, 59},               {20, 25, 1, 1, 4, 0, 0, 0}          },
        {6, {20, 24, 12, 31, 3, 9, 18, 59},                {20, 24, 12, 31, 3, 9, 19, 0}       },
        {0, {0x20, 0x24, 4, 1, 2, 0x11, 0x59, 0x59},       {0x20, 0x24, 4, 1, 2, 0x92, 0, 0}   },
        {0, {0x20, 0x24, 4, 1, 2, 0x92, 0x59, 0x59},       {0x20, 0x24, 4, 1, 2, 0x81, 0, 0}   },
        {0, {0x20, 0x24, 4, 1, 2, 0x91, 0x59, 0x59},       {0x20, 0x24, 4, 2, 3, 0x12, 0, 0}   },
        {4, {20, 24, 4, 1, 2, 12, 59, 59},                 {20, 24, 4, 1, 2, 1, 0, 0}          },
        {4, {20, 24, 4, 1, 2, 0x8b, 59, 59},               {20, 24, 4, 2, 3, 12, 0, 0}         },
        {2, {0x20, 0x24, 0x00, 0x01, 2, 0x23, 0x59, 0x59}, {0x20, 0x24, 1, 2, 3, 0, 0, 0}      },
        {6, {20, 24, 200, 31, 0, 23, 59, 59},              {20, 25, 1, 1, 1, 0, 0, 0}          },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        set(cases[i].b, cases[i].before);
        check(cases[i].before);
        fake_host_advance(&m, SECOND);
        check(cases[i].after);
    }
}

static void test_update_cycle(void **state)
{
    (void)state;
    fake_host_advance(&m, SECOND - 245000);
    assert_int_equal(in(RTC_A)&RTC_A_UIP, 0);
    fake_host_advance(&m, 1000); /* 244 us before */
    assert_int_equal(in(RTC_A)&RTC_A_UIP, RTC_A_UIP);
    assert_int_equal(in(RTC_SECONDS), 0x40);
    assert_int_equal(in(RTC_C), RTC_C_PF);
    fake_host_advance(&m, 243999);
    assert_int_equal(in(RTC_A)&RTC_A_UIP, RTC_A_UIP);
    fake_host_advance(&m, 1);
    assert_int_equal(in(RTC_A)&RTC_A_UIP, 0);
    assert_int_equal(in(RTC_SECONDS), 0x41);
    assert_int_equal(in(RTC_C), RTC_C_PF | RTC_C_UF); /* no IRQF: nothing is enabled */
    assert_int_equal(in(RTC_C), 0);
}

static void test_set_bit(void **state)
{
    (void)state;
    out(RTC_B, RTC_B_SET | RTC_B_UIE | RTC_B_24H);
    assert_int_equal(in(RTC_B), RTC_B_SET | RTC_B_24H); /* UIE is cleared by SET */
    fake_host_advance(&m, 10 * SECOND - 100000);
    assert_int_equal(in(RTC_SECONDS), 0x40);
    assert_int_equal(in(RTC_A)&RTC_A_UIP, 0);
    assert_int_equal(in(RTC_C)&RTC_C_UF, 0);
    out(RTC_SECONDS, 0x20);
    out(RTC_B, RTC_B_24H); /* the divider went on: the next update is 100 us away */
    assert_int_equal(in(RTC_A)&RTC_A_UIP, RTC_A_UIP);
    fake_host_advance(&m, 100000);
    assert_int_equal(in(RTC_SECONDS), 0x21);
}

static void test_divider(void **state)
{
    (void)state;
    fake_host_advance(&m, 300000000);
    out(RTC_A, 0x76);
    fake_host_advance(&m, 5 * SECOND);
    assert_int_equal(in(RTC_SECONDS), 0x40);
    in(RTC_C);
    fake_host_advance(&m, SECOND);
    assert_int_equal(in(RTC_C), 0);
    out(RTC_A, 0x26); /* half a second to the next update */
    fake_host_advance(&m, SECOND / 2 - 40000);
    assert_int_equal(in(RTC_SECONDS), 0x40);
    fake_host_advance(&m, 80000);
    assert_int_equal(in(RTC_SECONDS), 0x41);
    out(RTC_A, 0xff);
    assert_int_equal(in(RTC_A), 0x7f);
}

static void test_update_interrupt(void **state)
{
    (void)state;
    fake_host_advance(&m, SECOND / 4);
    in(RTC_C);
    out(RTC_B, RTC_B_UIE | RTC_B_24H);
    for (u32 i = 0; i < 5; i++) {
        fake_host_advance(&m, SECOND * 3 / 4 - 1);
        assert_false(irq());
        fake_host_advance(&m, 1);
        assert_true(irq());
        assert_null(m.timers); /* none until C is read */
        assert_int_equal(in(RTC_C), RTC_C_IRQF | RTC_C_UF | RTC_C_PF);
        assert_false(irq());
        fake_host_advance(&m, SECOND / 4);
    }
    out(RTC_B, RTC_B_24H);
    assert_null(m.timers);
    fake_host_advance(&m, SECOND);
    assert_false(irq());
    out(RTC_B, RTC_B_UIE | RTC_B_24H); /* the flag was there already */
    assert_true(irq());
}

static void test_periodic_interrupt(void **state)
{
    static const u32 hz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                               256, 128, 64,  32,   16,   8,    4,    2};

    (void)state;
    out(RTC_B, RTC_B_PIE | RTC_B_24H);
    for (u8 rate = 0; rate < 16; rate++) {
        u32 got = 0;
        out(RTC_A, RTC_A_DV_32KHZ | rate);
        in(RTC_C);
        u64 end = m.time_ns + SECOND;
        while (m.timers && m.timers->at_ns <= end) {
            fake_host_advance(&m, m.timers->at_ns - m.time_ns);
            assert_true(irq());
            assert_int_equal(in(RTC_C) & (RTC_C_IRQF | RTC_C_PF), RTC_C_IRQF | RTC_C_PF);
            got++;
        }
        assert_int_equal(got, hz[rate]);
        fake_host_advance(&m, end - m.time_ns);
    }
    out(RTC_A, RTC_A_DV_32KHZ | 6); /* late: one, and the next in its place */
    in(RTC_C);
    u64 start = m.time_ns;
    m.time_ns += SECOND / 2 + 100000;
    fake_host_advance(&m, 0);
    assert_true(irq());
    in(RTC_C);
    assert_false(irq());
    assert_int_equal(m.timers->at_ns, ticks_to_ns(ticks_at(start, RTC_HZ) + 16384 + 32, RTC_HZ));
}

static void test_alarm(void **state)
{
    static const struct {
        u8 b, hours, minutes, seconds; /* of the alarm; the clock starts at 01:46:40 */
        u32 wait;                      /* seconds until it rings, 0: never */
    } cases[] = {
        {2, 0x01, 0x46, 0x41, 1    },
        {2, 0x01, 0x46, 0x40, 86400}, /* of tomorrow */
        {2, 0xff, 0xff, 0xff, 1    },
        {2, 0xc0, 0xc0, 0x39, 59   },
        {2, 0xc0, 0xc0, 0x05, 25   },
        {2, 0xff, 0x46, 0xc1, 1    },
        {2, 0xff, 0x45, 0xc1, 3500 },
        {2, 0x02, 0xff, 0xff, 800  },
        {2, 0x00, 0xff, 0x30, 80030},
        {2, 0x00, 0x00, 0x00, 80000},
        {2, 0x24, 0x00, 0x00, 0    },
        {2, 0x01, 0x60, 0x00, 0    },
        {2, 0x01, 0x4a, 0x00, 0    },
        {2, 0x01, 0x47, 0xa0, 0    },
        {6, 13,   0,    0,    40400},
        {0, 0x81, 0x00, 0x00, 40400},
        {0, 0x12, 0x00, 0x00, 80000},
        {0, 0x00, 0x00, 0x00, 0    },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        static const u8 time[8] = {20, 1, 9, 9, 1, 1, 46, 40};
        static const u8 bcd[8] = {0x20, 1, 9, 9, 1, 1, 0x46, 0x40};
        u64 wait = cases[i].wait * SECOND;
        attach(0, 0, 0);
        set(cases[i].b, cases[i].b & RTC_B_DM ? time : bcd);
        out(RTC_HOURS_ALARM, cases[i].hours);
        out(RTC_MINUTES_ALARM, cases[i].minutes);
        out(RTC_SECONDS_ALARM, cases[i].seconds);
        out(RTC_A, RTC_A_DV_32KHZ);
        in(RTC_C);
        fake_host_advance(&m, wait ? wait - 1 : 3 * 86400 * SECOND); /* polled */
        assert_int_equal(in(RTC_C)&RTC_C_AF, 0);
        attach(0, 0, 0);
        set(cases[i].b, cases[i].b & RTC_B_DM ? time : bcd);
        out(RTC_HOURS_ALARM, cases[i].hours);
        out(RTC_MINUTES_ALARM, cases[i].minutes);
        out(RTC_SECONDS_ALARM, cases[i].seconds);
        out(RTC_B, cases[i].b | RTC_B_AIE); /* by interrupt */
        if (wait) {
            fake_host_advance(&m, wait - 1);
            assert_false(irq());
            fake_host_advance(&m, 1);
            assert_true(irq());
            assert_int_equal(in(RTC_C) & (RTC_C_IRQF | RTC_C_AF), RTC_C_IRQF | RTC_C_AF);
            assert_non_null(m.timers); /* for the next day */
        } else {
            assert_null(m.timers);
        }
    }
}

static void test_registers(void **state)
{
    (void)state;
    out(0x40, 0x5a);
    out(0x8b, RTC_B_24H | RTC_B_SQWE); /* with the NMI mask */
    assert_int_equal(r.index, 0x8b);
    assert_int_equal(in(RTC_B), RTC_B_24H | RTC_B_SQWE);
    assert_int_equal(in(0x40), 0x5a);
    assert_int_equal(in(0xc0), 0x5a);
    out(RTC_C, 0xff);
    out(RTC_D, 0x00);
    assert_int_equal(in(RTC_C), 0);
    assert_int_equal(in(RTC_D), RTC_D_VRT);
    out(RTC_SECONDS, 0x7f); /* nonsense stays until the next update */
    assert_int_equal(in(RTC_SECONDS), 0x7f);
}

static void test_memory_sizes(void **state)
{
    static const struct {
        u64 below, above;
        u32 base, extended, high, beyond;
    } cases[] = {
        {0,            0,          0,   0,     0,     0    },
        {512ull << 10, 0,          512, 0,     0,     0    },
        {8ull << 20,   0,          640, 7168,  0,     0    },
        {64ull << 20,  0,          640, 64512, 768,   0    },
        {3ull << 30,   5ull << 30, 640, 65535, 48896, 81920},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        u32 sum = 0;
        attach(0, cases[i].below, cases[i].above);
        assert_int_equal(word(CMOS_BASE_MEMORY), cases[i].base);
        assert_int_equal(word(CMOS_EXT_MEMORY), cases[i].extended);
        assert_int_equal(word(CMOS_EXT_MEMORY_2), cases[i].extended);
        assert_int_equal(word(CMOS_HIGH_MEMORY), cases[i].high);
        assert_int_equal(word(CMOS_4G_MEMORY) | (u32)in(CMOS_4G_MEMORY + 2) << 16, cases[i].beyond);
        for (u8 n = 0x10; n < 0x2e; n++) {
            sum += in(n);
        }
        assert_int_equal(in(CMOS_CHECKSUM) << 8 | in(CMOS_CHECKSUM + 1), sum);
        assert_int_equal(in(CMOS_FLOPPY), 0);
        assert_int_equal(in(CMOS_EQUIPMENT), CMOS_EQUIPMENT_FPU);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_attached, setup),
        cmocka_unit_test_setup(test_wall_clock, setup),
        cmocka_unit_test_setup(test_calendar, setup),
        cmocka_unit_test_setup(test_update_cycle, setup),
        cmocka_unit_test_setup(test_set_bit, setup),
        cmocka_unit_test_setup(test_divider, setup),
        cmocka_unit_test_setup(test_update_interrupt, setup),
        cmocka_unit_test_setup(test_periodic_interrupt, setup),
        cmocka_unit_test_setup(test_alarm, setup),
        cmocka_unit_test_setup(test_registers, setup),
        cmocka_unit_test_setup(test_memory_sizes, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
