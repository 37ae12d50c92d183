/* SPDX-License-Identifier: MIT */
/* HARNESS: kernel */
/* SOURCES: kernel/apic.c kernel/apic_timer.c kernel/apic_message.c */
/* The timer of a guest's local APIC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/apic_fake.h"

/* --- timer --- */

static void advance(u64 ticks)
{
    now += ticks;
    if (now >= v->apic.timer_tsc) {
        apic_timer_expire(v, now);
    }
}

static void test_one_shot(void **state)
{
    static const struct {
        u32 divide, shift;
    } rows[] = {
        {0xb, 0},
        {0,   1},
        {1,   2},
        {2,   3},
        {3,   4},
        {8,   5},
        {9,   6},
        {0xa, 7}
    };

    (void)state;
    apic_page_write(v, APIC_LVT_TIMER, 0x42);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        u64 ticks = 1000ull << rows[i].shift;
        apic_page_write(v, APIC_TIMER_DIVIDE, rows[i].divide);
        apic_page_write(v, APIC_TIMER_INITIAL, 1000);
        assert_int_equal(v->apic.timer_tsc, now + ticks);
        assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 1000);
        advance(ticks / 4);
        assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 750);
        assert_int_equal(got(0x42), 0);
        advance(ticks - ticks / 4 - 1);
        assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 1);
        advance(1);
        assert_int_equal(got(0x42), 1);
        assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 0);
        assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
        assert_int_equal(apic_page_read(v, APIC_TIMER_INITIAL), 1000);
    }
    /* stopped; masked */
    apic_page_write(v, APIC_TIMER_INITIAL, 5000);
    apic_page_write(v, APIC_TIMER_INITIAL, 0);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
    apic_page_write(v, APIC_LVT_TIMER, LVT_MASKED | 0x42);
    apic_page_write(v, APIC_TIMER_INITIAL, 10);
    advance(10000000);
    assert_int_equal(got(0x42), 0);
    /* a new divisor goes on with the count that is left */
    apic_page_write(v, APIC_LVT_TIMER, 0x42);
    apic_page_write(v, APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_page_write(v, APIC_TIMER_INITIAL, 1000);
    advance(400);
    apic_page_write(v, APIC_TIMER_DIVIDE, DIVIDE_BY_128);
    assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 600);
    advance(600 * 128 - 1);
    assert_int_equal(got(0x42), 0);
    advance(1);
    assert_int_equal(got(0x42), 1);
    /* a count that is over when it is read */
    apic_page_write(v, APIC_TIMER_INITIAL, 1000);
    now += 128000;
    assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 0);
    assert_int_equal(got(0x42), 1);
    /* the crystal's rate */
    fake_cpuid.crystal_shift = 1;
    apic_page_write(v, APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_page_write(v, APIC_TIMER_INITIAL, ~0u);
    assert_int_equal(v->apic.timer_tsc, now + 2 * 0xffffffffull);
}

static void test_periodic(void **state)
{
    (void)state;
    apic_page_write(v, APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_page_write(v, APIC_LVT_TIMER, LVT_TIMER_PERIODIC | 0x42);
    apic_page_write(v, APIC_TIMER_INITIAL, 100000);
    u64 start = now;
    for (u32 i = 1; i <= 5; i++) {
        advance(start + i * 100000 - 1 - now);
        assert_int_equal(got(0x42), 0);
        advance(1);
        assert_int_equal(got(0x42), 1);
        assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 100000);
    }
    /* what was missed is not made up for, and the beat is kept */
    advance(1234567);
    assert_int_equal(got(0x42), 1);
    assert_int_equal(got(0x42), 0);
    assert_true(v->apic.timer_tsc > now);
    assert_int_equal((v->apic.timer_tsc - start) % 100000, 0);
    /* a guest cannot keep us busy */
    apic_page_write(v, APIC_TIMER_INITIAL, 1);
    advance(1);
    assert_true(v->apic.timer_tsc - now >= 20000);
    assert_int_equal(apic_page_read(v, APIC_TIMER_CURRENT), 1);
    /* to one-shot: the period that runs is the last */
    assert_int_equal(got(0x42), 1);
    apic_page_write(v, APIC_LVT_TIMER, 0x42);
    advance(1000000);
    assert_int_equal(got(0x42), 1);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
}

static void test_deadline(void **state)
{
    (void)state;
    timer_changes = 0;
    apic_set_deadline(v, now + 500); /* another mode: nothing */
    assert_int_equal(v->apic.deadline, 0);
    set_msr(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | 0x42);
    set_msr(APIC_TIMER_INITIAL, 1000); /* ignored in this mode */
    assert_int_equal(msr(APIC_TIMER_INITIAL), 0);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
    v->tsc_offset = (u64)-1000;
    u64 deadline = now - 1000 + 500;
    apic_set_deadline(v, deadline);
    assert_int_equal(v->apic.deadline, deadline);
    assert_int_equal(v->apic.timer_tsc, now + 500);
    assert_int_equal(timer_changes, 3);
    assert_int_equal(msr(APIC_TIMER_CURRENT), 0);
    advance(499);
    assert_int_equal(got(0x42), 0);
    advance(1);
    assert_int_equal(got(0x42), 1);
    assert_int_equal(v->apic.deadline, 0);
    /* past, at once */
    apic_set_deadline(v, now - 1000);
    assert_int_equal(got(0x42), 1);
    assert_int_equal(v->apic.deadline, 0);
    apic_set_deadline(v, 1);
    assert_int_equal(got(0x42), 1);
    /* disarmed; never */
    apic_set_deadline(v, now + 500);
    apic_set_deadline(v, 0);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
    apic_set_deadline(v, ~0ull);
    assert_int_equal(v->apic.deadline, ~0ull);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
    /* the guest sets its TSC: the deadline is in that TSC */
    apic_set_deadline(v, now + v->tsc_offset + 5000);
    v->tsc_offset += 4000;
    apic_tsc_changed(v);
    assert_int_equal(v->apic.timer_tsc, now + 1000);
    v->tsc_offset += 1000;
    apic_tsc_changed(v);
    assert_int_equal(got(0x42), 1);
    /* a change of mode disarms, either way */
    apic_set_deadline(v, now + v->tsc_offset + 5000);
    set_msr(APIC_LVT_TIMER, 0x42);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
    assert_int_equal(v->apic.deadline, 0);
    set_msr(APIC_TIMER_INITIAL, 1000);
    assert_int_not_equal(v->apic.timer_tsc, APIC_NEVER);
    set_msr(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | 0x42);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_shot, setup),
        cmocka_unit_test_setup(test_periodic, setup),
        cmocka_unit_test_setup(test_deadline, setup_x2apic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
