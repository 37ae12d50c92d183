/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/i8254.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The interval timer against the wave forms of its datasheet, the line, and port 61. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/i8254.h"
#include "vmm/device/ticks.h"

static struct machine m;
static struct i8254 p;
static u64 tick;
static u32 seen_changes; /* of the line, by edges() */
static bool seen_level;

static void go(u64 ticks)
{
    tick += ticks;
    fake_host_advance(&m, ticks_to_ns(tick, PIT_HZ) - m.time_ns);
}

/* Without the timers on the way: they come late. */
static void go_late(u64 ticks)
{
    tick += ticks;
    m.time_ns = ticks_to_ns(tick, PIT_HZ);
    fake_host_advance(&m, 0);
}

static int setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    memset(&p, 0xa5, sizeof(p)); /* attach alone must initialise it */
    assert_true(i8254_attach(&p, &m));
    tick = 0;
    seen_changes = 0;
    seen_level = false;
    go(100);
    return 0;
}

static u8 in(u16 port)
{
    return (u8)bus_in(&m.bus, port, 1);
}

static void out(u16 port, u8 value)
{
    bus_out(&m.bus, port, 1, value);
}

static void control(u32 value)
{
    out(PIT_PORT + PIT_CONTROL, (u8)value);
}

static void program(u32 counter, u32 mode, u16 count)
{
    control(PIT_CW_COUNTER(counter) | PIT_CW_WORD | PIT_CW_MODE(mode));
    out((u16)(PIT_PORT + counter), (u8)count);
    out((u16)(PIT_PORT + counter), (u8)(count >> 8));
}

static u16 word(u32 counter)
{
    u8 low = in((u16)(PIT_PORT + counter));

    return (u16)(low | in((u16)(PIT_PORT + counter)) << 8);
}

static u16 count(u32 counter)
{
    control(PIT_CW_COUNTER(counter) | PIT_CW_LATCH);
    return word(counter);
}

static u8 status(u32 counter)
{
    control(PIT_CW_READ_BACK | PIT_RB_NO_COUNT | PIT_RB_COUNTER(counter));
    return in((u16)(PIT_PORT + counter));
}

static bool level(u32 counter)
{
    return status(counter) & PIT_STATUS_OUT;
}

static bool null_count(u32 counter)
{
    return status(counter) & PIT_STATUS_NULL;
}

static bool irq(void)
{
    return m.irq_levels & 1u << PIT_IRQ;
}

/* Rising edges of the line since the last call. */
static u32 edges(void)
{
    u32 n = (m.irq_changes - seen_changes + irq() - seen_level) / 2;

    seen_changes = m.irq_changes;
    seen_level = irq();
    return n;
}

static void gate2(bool on)
{
    out(PORT61, on ? PORT61_GATE2 : 0);
}

/* OUT of a counter at each of the next clocks: '_' low, '-' high. */
static const char *wave(u32 counter, u32 clocks)
{
    static char text[64];

    for (u32 i = 0; i < clocks; i++) {
        go(1);
        text[i] = level(counter) ? '-' : '_';
    }
    text[clocks] = 0;
    return text;
}

static void test_attached(void **state)
{
    (void)state;
    assert_true(irq());
    assert_null(m.timers); /* nothing counts, nothing costs */
    for (u32 i = 0; i < PIT_COUNTERS; i++) {
        assert_int_equal(status(i),
                         PIT_STATUS_OUT | PIT_STATUS_NULL | PIT_CW_WORD | PIT_CW_MODE(3));
    }
    assert_int_equal(in(PIT_PORT + PIT_CONTROL), 0xff);
    assert_int_equal(bus_in(&m.bus, PIT_PORT, 2), 0xffff);
}

/* A count of 4 in each mode: wave forms of the datasheet's figures. */
static void test_waves(void **state)
{
    static const struct {
        u32 mode, count;
        bool trigger; /* by GATE, after the count is written */
        const char *wave;
    } cases[] = {
        {0, 4, false, "____-------"}, /* N + 1 clocks after the write */
        {1, 4, true,  "____-------"},
        {2, 4, false, "---_---_---"},
        {2, 3, false, "--_--_--_--"},
        {2, 2, false, "-_-_-_-_-_-"},
        {6, 3, false, "--_--_--_--"}, /* is 2 */
        {3, 4, false, "--__--__--_"},
        {3, 5, false, "---__---__-"},
        {3, 2, false, "-_-_-_-_-_-"},
        {7, 3, false, "--_--_--_--"}, /* is 3 */
        {4, 4, false, "----_------"},
        {5, 4, true,  "----_------"},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        gate2(!cases[i].trigger);
        program(2, cases[i].mode, (u16)cases[i].count);
        assert_int_equal(level(2), cases[i].mode != 0);
        if (cases[i].trigger) {
            assert_string_equal(wave(2, 5), "-----");
            gate2(true);
        }
        assert_true(null_count(2));
        assert_string_equal(wave(2, 11), cases[i].wave);
        assert_false(null_count(2));
    }
}

static void test_counting_element(void **state)
{
    static const struct {
        u32 mode, count;
        bool trigger;
        u16 values[8];
    } cases[] = {
        {0, 3, false, {3, 2, 1, 0, 0xffff, 0xfffe, 0xfffd, 0xfffc}},
        {1, 3, true,  {3, 2, 1, 0, 0xffff, 0xfffe, 0xfffd, 0xfffc}},
        {2, 3, false, {3, 2, 1, 3, 2, 1, 3, 2}                    },
        {3, 4, false, {4, 2, 4, 2, 4, 2, 4, 2}                    },
        {3, 5, false, {4, 2, 0, 4, 2, 4, 2, 0}                    },
        {3, 0, false, {0, 0xfffe, 0xfffc, 0xfffa, 0xfff8, 0xfff6} },
        {4, 2, false, {2, 1, 0, 0xffff, 0xfffe, 0xfffd, 0xfffc}   },
        {5, 2, true,  {2, 1, 0, 0xffff, 0xfffe, 0xfffd, 0xfffc}   },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        gate2(!cases[i].trigger);
        program(2, cases[i].mode, (u16)cases[i].count);
        gate2(true);
        for (u32 n = 0; n < 8 && (n == 0 || cases[i].values[n]); n++) {
            go(1);
            assert_int_equal(count(2), cases[i].values[n]);
        }
    }
}

static void test_access_modes(void **state)
{
    (void)state;
    control(PIT_CW_COUNTER(1) | PIT_CW_LSB | PIT_CW_MODE(2));
    out(0x41, 0x80); /* the other byte is 0 */
    go(0x31);
    assert_int_equal(in(0x41), 0x50);
    assert_int_equal(in(0x41), 0x50);
    control(PIT_CW_COUNTER(1) | PIT_CW_MSB | PIT_CW_MODE(2));
    out(0x41, 0x80);
    go(2);
    assert_int_equal(in(0x41), 0x7f);
    program(1, 2, 0x1234);
    assert_true(null_count(1));
    go(1 + 0x34);
    assert_int_equal(in(0x41), 0x00);
    go(1);
    assert_int_equal(in(0x41), 0x11); /* live, so the bytes do not belong together */
    assert_int_equal(word(1), 0x11ff);
    in(0x41); /* a latch in the middle of a word begins a new one */
    assert_int_equal(count(1), 0x11ff);
    in(0x41); /* and so does a control word */
    program(1, 2, 0x4321);
    go(1);
    assert_int_equal(word(1), 0x4321);
    out(0x41, 0x99); /* half a count */
    program(1, 2, 0x2222);
    go(1);
    assert_int_equal(word(1), 0x2222);
}

static void test_bcd(void **state)
{
    (void)state;
    control(PIT_CW_COUNTER(0) | PIT_CW_WORD | PIT_CW_MODE(2) | PIT_CW_BCD);
    out(0x40, 0x00);
    out(0x40, 0x10);
    edges();
    go(2);
    assert_int_equal(count(0), 0x0999);
    go(998);
    assert_int_equal(count(0), 0x0001);
    assert_int_equal(edges(), 0);
    go(1);
    assert_int_equal(edges(), 1);
    assert_int_equal(count(0), 0x1000);
    assert_int_equal(status(0) & 0x3f, PIT_CW_WORD | PIT_CW_MODE(2) | PIT_CW_BCD);
    out(0x40, 0);
    out(0x40, 0); /* 10000 */
    go(1000 + 1);
    assert_int_equal(count(0), 0x9999);
    control(PIT_CW_COUNTER(0) | PIT_CW_LSB | PIT_CW_MODE(0) | PIT_CW_BCD);
    out(0x40, 1);
    go(3);
    assert_int_equal(in(0x40), 0x99); /* wrapped */
}

static void test_latch(void **state)
{
    (void)state;
    program(0, 2, 1000);
    go(101);
    control(PIT_CW_COUNTER(0) | PIT_CW_LATCH);
    go(50);
    control(PIT_CW_COUNTER(0) | PIT_CW_LATCH); /* does not count */
    go(50);
    assert_int_equal(word(0), 900);
    assert_int_equal(word(0), 800); /* live again */
    control(PIT_CW_COUNTER(0) | PIT_CW_LATCH);
    program(0, 2, 77); /* forgets it */
    go(1);
    assert_int_equal(word(0), 77);
}

static void test_read_back(void **state)
{
    (void)state;
    program(0, 3, 1000);
    program(1, 2, 500);
    go(101);
    control(PIT_CW_READ_BACK | PIT_RB_COUNTER(0) | PIT_RB_COUNTER(1)); /* count and status */
    go(600);
    control(PIT_CW_READ_BACK | PIT_RB_COUNTER(0)); /* nothing new is latched */
    assert_int_equal(in(0x40), PIT_STATUS_OUT | PIT_CW_WORD | PIT_CW_MODE(3));
    assert_int_equal(word(0), 800);
    assert_int_equal(in(0x41), PIT_STATUS_OUT | PIT_CW_WORD | PIT_CW_MODE(2));
    assert_int_equal(word(1), 400);
    assert_int_equal(word(0), 600); /* in the second half */
    assert_false(level(0));
    control(PIT_CW_READ_BACK | PIT_RB_NO_STATUS | PIT_RB_COUNTER(1));
    go(7);
    assert_int_equal(word(1), 300);
    control(PIT_CW_COUNTER(2) | PIT_CW_LSB | PIT_CW_MODE(7)); /* shown as written */
    assert_int_equal(status(2), PIT_STATUS_OUT | PIT_STATUS_NULL | PIT_CW_LSB | PIT_CW_MODE(7));
}

static void test_new_count_mode_0(void **state)
{
    (void)state;
    program(0, 0, 10);
    go(11);
    assert_true(irq());
    out(0x40, 20); /* the first byte stops it, and OUT falls */
    assert_false(irq());
    go(30);
    assert_int_equal(count(0), 0);
    out(0x40, 0);
    assert_true(null_count(0));
    go(20);
    assert_false(irq());
    go(1);
    assert_true(irq());
    assert_null(m.timers); /* once */
    control(PIT_CW_COUNTER(0) | PIT_CW_LSB | PIT_CW_MODE(0));
    assert_false(irq());
    out(0x40, 9);
    go(5);
    out(0x40, 9); /* starts again */
    go(9);
    assert_false(irq());
    go(1);
    assert_true(irq());
}

static void test_new_count_periodic(void **state)
{
    (void)state;
    program(2, 2, 6);
    gate2(true);
    program(2, 2, 6);
    go(2);
    out(0x42, 3);
    out(0x42, 0); /* with the next period */
    assert_true(null_count(2));
    assert_string_equal(wave(2, 11), "---_--_--_-");
    assert_false(null_count(2));
    program(2, 3, 8);
    go(2);
    out(0x42, 5);
    out(0x42, 0); /* with the next half, which is the low one */
    assert_string_equal(wave(2, 12), "--__---__---");
    program(2, 3, 5);
    go(4);
    out(0x42, 4);
    out(0x42, 0);
    assert_string_equal(wave(2, 8), "_--__--_");
}

static void test_gate(void **state)
{
    (void)state;
    gate2(true);
    program(2, 0, 4); /* holds */
    go(3);
    gate2(false);
    go(10);
    assert_int_equal(count(2), 2);
    gate2(true);
    assert_string_equal(wave(2, 4), "_---");
    gate2(false);
    program(2, 0, 2); /* is loaded all the same */
    go(5);
    assert_false(null_count(2));
    gate2(true); /* and then takes N clocks, not N + 1 */
    assert_string_equal(wave(2, 3), "_--");
    program(2, 2, 3); /* GATE begins a new period, and low means OUT high */
    go(3);
    assert_false(level(2));
    gate2(false);
    assert_true(level(2));
    go(10);
    assert_int_equal(count(2), 1);
    gate2(true);
    assert_string_equal(wave(2, 7), "--_--_-");
    program(2, 3, 4);
    go(3);
    gate2(false);
    assert_true(level(2));
    out(0x42, 6);
    out(0x42, 0); /* waits for GATE */
    go(4);
    assert_true(null_count(2));
    gate2(true);
    assert_string_equal(wave(2, 7), "---___-");
    gate2(false);
    program(2, 3, 10);
    go(3);
    gate2(true); /* a trigger stays one when GATE falls before the next clock */
    out(0x42, 8);
    out(0x42, 0);
    gate2(false);
    go(3);
    assert_false(null_count(2));
    assert_int_equal(count(2), 8);
    gate2(true);
    program(2, 4, 3); /* a strobe is one clock, whatever GATE does */
    go(4);
    assert_false(level(2));
    gate2(false);
    go(1);
    assert_true(level(2));
    assert_int_equal(count(2), 0);
    gate2(true);
    assert_string_equal(wave(2, 4), "----");
}

static void test_trigger(void **state)
{
    (void)state;
    gate2(false);
    control(PIT_CW_COUNTER(2) | PIT_CW_LSB | PIT_CW_MODE(1));
    gate2(true); /* not armed */
    assert_string_equal(wave(2, 3), "---");
    out(0x42, 4);
    assert_string_equal(wave(2, 3), "---");
    gate2(false);
    gate2(true);
    assert_string_equal(wave(2, 3), "___");
    gate2(false);
    gate2(true); /* again: four more */
    assert_string_equal(wave(2, 5), "____-");
    out(0x42, 2); /* for the next trigger */
    assert_true(null_count(2));
    gate2(false); /* does not hold */
    gate2(true);
    assert_string_equal(wave(2, 4), "__--");
    control(PIT_CW_COUNTER(2) | PIT_CW_LSB | PIT_CW_MODE(5));
    out(0x42, 3);
    gate2(false);
    gate2(true);
    assert_string_equal(wave(2, 2), "--");
    gate2(false);
    gate2(true);
    assert_string_equal(wave(2, 6), "---_--");
}

static void test_irq_periodic(void **state)
{
    (void)state;
    for (u32 mode = 2; mode <= 3; mode++) {
        program(0, mode, 11932); /* 100 Hz */
        edges();
        u64 start = tick;
        for (u32 i = 1; i <= 1000; i++) {
            tick = start + 1 + (u64)i * 11932;
            fake_host_advance(&m, ticks_to_ns(tick, PIT_HZ) - 1 - m.time_ns);
            assert_int_equal(edges(), 0); /* not a nanosecond early */
            fake_host_advance(&m, 1);
            assert_int_equal(edges(), 1);
        }
        go_late(11932 * 7 + 100); /* seven missed: one edge, */
        assert_int_equal(edges(), 1);
        go(11932 - 101);
        assert_int_equal(edges(), 0);
        go(1); /* and the next in its place */
        assert_int_equal(edges(), 1);
        m.time_ns += 20000000; /* an access sees it before the timer */
        count(0);
        assert_int_equal(edges(), 1);
        tick = ticks_at(m.time_ns, PIT_HZ);
    }
}

static void test_irq_new_count(void **state)
{
    (void)state;
    for (u32 mode = 2; mode <= 3; mode++) {
        program(0, mode, 1000);
        edges();
        go(301);
        out(0x40, 200);
        out(0x40, 0);
        go(mode == 3 ? 199 : 699);
        assert_int_equal(edges(), 0);
        go(1); /* the end of the period, or of its high half: only the first rises */
        assert_int_equal(edges(), mode == 2);
        go(mode == 3 ? 99 : 199);
        assert_int_equal(edges(), 0);
        go(1);
        assert_int_equal(edges(), 1);
        go(200);
        assert_int_equal(edges(), 1);
    }
}

static void test_irq_one_shot(void **state)
{
    (void)state;
    program(0, 4, 100);
    edges();
    assert_int_equal(m.timers->at_ns, ticks_to_ns(tick + 102, PIT_HZ)); /* one wake-up */
    go(101);
    assert_int_equal(edges(), 0); /* the strobe is low */
    go(1);
    assert_int_equal(edges(), 1);
    assert_null(m.timers);
    go(200000);
    assert_int_equal(edges(), 0);
    program(0, 0, 100);
    assert_false(irq());
    go_late(5000);
    assert_int_equal(edges(), 1);
    assert_null(m.timers);
    control(PIT_CW_COUNTER(0) | PIT_CW_LSB | PIT_CW_MODE(0));
    assert_false(irq());
    control(PIT_CW_COUNTER(0) | PIT_CW_LSB | PIT_CW_MODE(2)); /* OUT rises by this */
    assert_true(irq());
    out(0x40, 1); /* forbidden */
    go(100);
    edges();
    go(10000);
    assert_int_equal(edges(), 0);
    assert_null(m.timers);
    program(0, 1, 5); /* no gate to trigger it */
    go(100);
    assert_null(m.timers);
}

static void test_exact(void **state)
{
    (void)state;
    program(0, 2, 0);
    u64 start = tick + 1;
    fake_host_advance(&m, 86400ull * 30 * 1000000000 + 123456789); /* 30 days later */
    u64 now = (u64)((unsigned __int128)m.time_ns * PIT_HZ / 1000000000);
    assert_int_equal(count(0), (u16)(65536 - (now - start) % 65536));
}

static void test_port61(void **state)
{
    u32 toggles = 0;

    (void)state;
    out(PORT61, 0xff);
    assert_int_equal(in(PORT61) & (u8)~PORT61_REFRESH, PORT61_MASK | PORT61_OUT2);
    out(PORT61, PORT61_SPEAKER);
    assert_int_equal(in(PORT61)&PORT61_MASK, PORT61_SPEAKER);
    for (u8 last = in(PORT61); tick < 100 + 18000;) {
        go(1);
        u8 now = in(PORT61);
        toggles += (now ^ last) & PORT61_REFRESH ? 1 : 0;
        last = now;
    }
    assert_int_equal(toggles, 1000); /* one each 18 clocks */
    gate2(true);                     /* how many systems measure 10 ms */
    program(2, 0, 11932);
    go(11932);
    assert_false(in(PORT61)&PORT61_OUT2);
    go(1);
    assert_true(in(PORT61)&PORT61_OUT2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_attached, setup),
        cmocka_unit_test_setup(test_waves, setup),
        cmocka_unit_test_setup(test_counting_element, setup),
        cmocka_unit_test_setup(test_access_modes, setup),
        cmocka_unit_test_setup(test_bcd, setup),
        cmocka_unit_test_setup(test_latch, setup),
        cmocka_unit_test_setup(test_read_back, setup),
        cmocka_unit_test_setup(test_new_count_mode_0, setup),
        cmocka_unit_test_setup(test_new_count_periodic, setup),
        cmocka_unit_test_setup(test_gate, setup),
        cmocka_unit_test_setup(test_trigger, setup),
        cmocka_unit_test_setup(test_irq_periodic, setup),
        cmocka_unit_test_setup(test_irq_new_count, setup),
        cmocka_unit_test_setup(test_irq_one_shot, setup),
        cmocka_unit_test_setup(test_exact, setup),
        cmocka_unit_test_setup(test_port61, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
