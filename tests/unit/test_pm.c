/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/pm.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* ACPI fixed hardware, and the arithmetic of clocks that it shares with the other timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/pm.h"
#include "vmm/device/ticks.h"

#define CARRY 0x800000ull

static struct machine m;
static struct pm p;

static int setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    memset(&p, 0xa5, sizeof(p)); /* attach alone must initialise it */
    assert_true(pm_attach(&p, &m));
    return 0;
}

static u32 in(u16 reg, u8 bytes)
{
    return bus_in(&m.bus, PM_PORT + reg, bytes);
}

static void out(u16 reg, u8 bytes, u32 value)
{
    bus_out(&m.bus, PM_PORT + reg, bytes, value);
}

static bool sci(void)
{
    return m.irq_levels & 1u << PM_SCI;
}

static void go_to(u64 tick)
{
    fake_host_advance(&m, ticks_to_ns(tick, PM_TIMER_HZ) - m.time_ns);
}

static void test_ticks(void **state)
{
    static const u32 hz[] = {1, 32768, 1193182, 3579545, 1000000000, 4294967295u};
    static const u64 times[] = {
        0,         1,         999999999,      1000000000,           1000000001,
        123456789, 838095344, 86400000000000, 31556952000000000ull, 1234567890123456789ull,
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(hz); i++) {
        for (u32 n = 0; n < ARRAY_SIZE(times); n++) {
            u64 ticks = ticks_at(times[n], hz[i]);
            assert_int_equal(ticks,
                             (u64)((unsigned __int128)times[n] * hz[i] / TICKS_NS_PER_SECOND));
            for (u64 t = ticks; t < ticks + 3; t++) { /* the first nanosecond of it */
                u64 ns = ticks_to_ns(t, hz[i]);
                assert_true(ticks_at(ns, hz[i]) >= t);
                assert_true(ns == 0 || ticks_at(ns - 1, hz[i]) < t);
            }
        }
        assert_true(ticks_to_ns(TICKS_NEVER, hz[i]) == HOST_NEVER);
    }
}

static void test_attached(void **state)
{
    (void)state;
    assert_int_equal(in(PM1_STS, 2), 0);
    assert_int_equal(in(PM1_EN, 2), 0);
    assert_int_equal(in(PM1_CNT, 2), PM1_CNT_SCI_EN);
    assert_int_equal(in(PM1_CNT, 4), PM1_CNT_SCI_EN);
    assert_null(m.timers);
    assert_false(sci());
    fake_host_reset(&m);
    m.time_ns = 100000000000; /* a clock that ran before is no event */
    assert_true(pm_attach(&p, &m));
    assert_int_equal(in(PM1_STS, 2), 0);
}

static void test_timer(void **state)
{
    (void)state;
    assert_int_equal(in(PM_TMR, 4), 0);
    fake_host_advance(&m, 1000000000);
    assert_int_equal(in(PM_TMR, 4), PM_TIMER_HZ);
    go_to(0xffffff);
    assert_int_equal(in(PM_TMR, 4), 0xffffff);
    go_to(0x1000000);
    assert_int_equal(in(PM_TMR, 4), 0);                 /* 24 bits */
    fake_host_advance(&m, 86400ull * 365 * 1000000000); /* a year, and not a tick of drift */
    u64 want = (u64)((unsigned __int128)m.time_ns * PM_TIMER_HZ / 1000000000) & 0xffffff;
    assert_int_equal(in(PM_TMR, 4), want);
    assert_int_equal(in(PM_TMR, 1), want & 0xff);
    assert_int_equal(in(PM_TMR + 1, 2), want >> 8);
    assert_int_equal(in(PM_TMR + 3, 1), 0);
    out(PM_TMR, 4, 0);
    assert_int_equal(in(PM_TMR, 4), want);
    assert_int_equal(in(PM_TMR + 2, 4), 0xffffffff); /* over the end */
}

static void test_carry_polled(void **state)
{
    (void)state;
    go_to(CARRY - 1);
    assert_int_equal(in(PM1_STS, 2), 0);
    go_to(CARRY);
    assert_int_equal(in(PM1_STS, 2), PM1_TMR);
    out(PM1_STS, 2, (u16)~PM1_TMR); /* only ones clear */
    assert_int_equal(in(PM1_STS, 2), PM1_TMR);
    out(PM1_STS, 2, PM1_TMR);
    assert_int_equal(in(PM1_STS, 2), 0);
    go_to(2 * CARRY); /* 1 to 0 counts too */
    assert_int_equal(in(PM1_STS, 1), PM1_TMR);
    assert_int_equal(m.irq_changes, 0);
}

static void test_carry_interrupt(void **state)
{
    (void)state;
    out(PM1_EN, 2, PM1_TMR);
    for (u64 i = 1; i <= 10; i++) {
        fake_host_advance(&m, ticks_to_ns(i * CARRY, PM_TIMER_HZ) - 1 - m.time_ns);
        assert_false(sci());
        fake_host_advance(&m, 1);
        assert_true(sci());
        assert_null(m.timers); /* none until it is cleared */
        out(PM1_STS, 1, PM1_TMR);
        assert_false(sci());
        assert_non_null(m.timers);
    }
    go_to(11 * CARRY);
    out(PM1_EN, 2, 0); /* a level: status and enable */
    assert_false(sci());
    assert_null(m.timers);
    out(PM1_EN, 2, PM1_TMR);
    assert_true(sci());
    m.time_ns = ticks_to_ns(15 * CARRY + 5, PM_TIMER_HZ); /* late, and four were missed */
    out(PM1_STS, 2, PM1_TMR);
    assert_false(sci());
    assert_int_equal(m.timers->at_ns, ticks_to_ns(16 * CARRY, PM_TIMER_HZ));
}

static void test_enables(void **state)
{
    (void)state;
    out(PM1_EN, 2, 0xffff);
    assert_int_equal(in(PM1_EN, 2), PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC);
    out(PM1_EN, 1, 0); /* by bytes */
    assert_int_equal(in(PM1_EN, 2), PM1_PWRBTN | PM1_SLPBTN | PM1_RTC);
    out(PM1_EN + 1, 1, PM1_RTC >> 8);
    assert_int_equal(in(PM1_EN, 2), PM1_RTC);
    out(PM1_STS, 4, (u32)PM1_GBL << 16); /* both registers */
    assert_int_equal(in(PM1_STS, 4), (u32)PM1_GBL << 16);
}

static void test_control(void **state)
{
    (void)state;
    out(PM1_CNT, 2, 0); /* no way out of ACPI mode */
    assert_int_equal(in(PM1_CNT, 2), PM1_CNT_SCI_EN);
    out(PM1_CNT, 2, PM1_CNT_BM_RLD | PM1_CNT_GBL_RLS | 0xc3f8);
    assert_int_equal(in(PM1_CNT, 2), PM1_CNT_SCI_EN | PM1_CNT_BM_RLD);
    out(PM1_CNT, 2, PM_SLP_TYP_S5 << PM1_CNT_SLP_TYP_SHIFT);
    assert_int_equal(in(PM1_CNT, 2), PM1_CNT_SCI_EN | PM_SLP_TYP_S5 << PM1_CNT_SLP_TYP_SHIFT);
    assert_false(m.ended);
}

static void test_power_off(void **state)
{
    (void)state;
    for (u32 type = 0; type < 8; type++) {
        out(PM1_CNT, 2, type << PM1_CNT_SLP_TYP_SHIFT | PM1_CNT_SLP_EN);
        assert_int_equal(m.ended, type == PM_SLP_TYP_S5);
        m.ended = false;
    }
    out(PM1_CNT, 2, PM_SLP_TYP_S5 << PM1_CNT_SLP_TYP_SHIFT);
    out(PM1_CNT, 1, PM1_CNT_SLP_EN >> 8); /* the other byte */
    assert_false(m.ended);
    out(PM1_CNT + 1, 1, (PM_SLP_TYP_S5 << PM1_CNT_SLP_TYP_SHIFT | PM1_CNT_SLP_EN) >> 8);
    assert_true(m.ended && m.ending == HOST_END_POWER_OFF);
    assert_string_equal(m.reason, "powered off");
    assert_int_equal(in(PM1_CNT, 2) & PM1_CNT_SLP_EN, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks),
        cmocka_unit_test_setup(test_attached, setup),
        cmocka_unit_test_setup(test_timer, setup),
        cmocka_unit_test_setup(test_carry_polled, setup),
        cmocka_unit_test_setup(test_carry_interrupt, setup),
        cmocka_unit_test_setup(test_enables, setup),
        cmocka_unit_test_setup(test_control, setup),
        cmocka_unit_test_setup(test_power_off, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
