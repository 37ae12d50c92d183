/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/host.c vmm/machine/console.c vmm/machine/timers.c vmm/machine/lock.c */
/* SOURCES: vmm/machine/bus.c vmm/machine/ram.c lib/ring.c lib/format.c tests/unit/fake_sys.c */
/* The machine's side of host.h: where interrupt lines go, clock and deadlines, who wakes the
 * devices' thread and when, and how a guest's end becomes the process's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/machine.h"
#include "vmm/sys.h"

#define GHZ 1000000000ull
#define S   1000000000ull /* in ns */

static struct machine *m;
static struct vmm_start start;
static jmp_buf ended;
static s64 status, answer;
static struct {
    u32 number;
    u64 a[3];
    u32 lock; /* as it was at the call */
} last;
static u32 calls;

/* What the interrupt controllers were told. */
static struct {
    u32 calls, line;
    bool level;
} pic, ioapic;

s64 sys_call(u64 number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
    (void)a3;
    (void)a4;
    (void)a5;
    if (number == SYS_PROCESS_EXIT) {
        status = (s64)a0;
        longjmp(ended, 1);
    }
    calls++;
    last.number = (u32)number;
    last.a[0] = a0;
    last.a[1] = a1;
    last.a[2] = a2;
    last.lock = m->lock.word;
    return answer;
}

void i8259_set_irq(struct i8259 *p, u32 line, bool level)
{
    assert_ptr_equal(p, &m->pic);
    pic.calls++;
    pic.line = line;
    pic.level = level;
}

void ioapic_set_irq(struct ioapic *io, u32 pin, bool level)
{
    assert_ptr_equal(io, &m->ioapic);
    ioapic.calls++;
    ioapic.line = pin;
    ioapic.level = level;
}

static int setup(void **state)
{
    (void)state;
    m = calloc(1, sizeof(*m));
    start = (struct vmm_start){
        .base = {.tsc_hz = 3 * GHZ, .event = 6},
          .vm = 5
    };
    m->start = &start;
    m->shared = calloc(1, sizeof(*m->shared));
    memset(&pic, 0, sizeof(pic));
    memset(&ioapic, 0, sizeof(ioapic));
    calls = 0;
    answer = 0;
    host_init(m);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(m->shared);
    free(m);
    return 0;
}

/* Every line is told to both controllers once per change; the PIT is on pin 2, and line 2, the
 * cascade, is nobody's. */
static void test_lines(void **state)
{
    (void)state;
    for (u32 line = 0; line < 40; line++) {
        bool exists = line < 24 && line != 2;

        for (u32 step = 0; step < 6; step++) { /* on, on, off, off, on, off */
            static const bool levels[] = {true, true, false, false, true, false};
            u32 changes = pic.calls;

            host_irq(m, line, levels[step]);
            assert_int_equal(pic.calls, changes + (exists && step != 1 && step != 3));
            assert_int_equal(pic.calls, ioapic.calls);
            if (exists) {
                assert_int_equal(pic.line, line);
                assert_int_equal(ioapic.line, line ? line : 2);
                assert_int_equal(pic.level, levels[step]);
                assert_int_equal(ioapic.level, levels[step]);
            }
        }
    }
    host_irq(m, 4, true);
    u32 changes = pic.calls;
    host_irq(m, 5, true); /* lines do not disturb each other */
    host_irq(m, 4, true);
    assert_int_equal(pic.calls, changes + 1);
}

static void test_messages(void **state)
{
    static const struct {
        s64 result;
        bool taken;
    } cases[] = {
        {0,             false},
        {1,             true },
        {16,            true },
        {E_UNSUPPORTED, false}
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        answer = cases[i].result;
        assert_int_equal(host_message(m, 0xfee01000, 0x4031), cases[i].taken);
        assert_int_equal(last.number, SYS_VM_INTERRUPT);
        assert_int_equal(last.a[0], start.vm);
        assert_int_equal(last.a[1], 0xfee01000);
        assert_int_equal(last.a[2], 0x4031);
    }
    host_intr(m, true);
    assert_int_equal(last.number, SYS_VM_LINE);
    assert_int_equal(last.a[0], start.vm);
    assert_int_equal(last.a[1], 1);
}

/* Is the deadline that of a moment so many ns after now? A clock that runs cannot be held, so the
 * moment lies between two looks at it. */
static void check_deadline(u64 ns, u64 hz)
{
    u64 at = host_time_ns(m) + ns;
    u64 before = sys_tsc();
    u64 deadline = host_deadline_tsc(m, at);
    u64 after = sys_tsc();
    unsigned __int128 ticks = (unsigned __int128)ns * hz / S;
    u64 slack = (u64)(ticks >> 22) + 2 + hz / 1000000 + (after - before);

    assert_true(deadline >= before && deadline >= 1);
    assert_true(deadline <= after + (u64)ticks + slack);
    assert_true(ns > 0 || deadline <= after + 1);
    if (ns >= S) { /* longer than this test can have been interrupted */
        assert_true(deadline + slack + 10 * hz >= before + (u64)ticks);
    }
}

static void test_clock(void **state)
{
    static const u64 rates[] = {1000000, 50000000, 999999937, 2 * GHZ, 3799999999, 8 * GHZ};
    static const u64 distances[] = {0, 1, 999, 1000000, S, 100 * S, 10000 * S, BIT(50)};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rates); i++) {
        start.base.tsc_hz = rates[i];
        host_init(m);
        for (u32 k = 0; k < ARRAY_SIZE(distances); k++) {
            check_deadline(distances[k], rates[i]);
        }
        u64 far = host_deadline_tsc(m, HOST_NEVER - 1); /* no product wraps */
        assert_true(far > sys_tsc() + rates[i] * 1000000000);
        u64 now = host_time_ns(m);
        assert_true(host_deadline_tsc(m, now / 2) <= sys_tsc() + 1);
        assert_true(host_time_ns(m) >= now);
    }
    u64 t = m->last_ns += 1000 * S; /* a CPU whose clock is ahead, then one that is behind */
    assert_true(host_time_ns(m) == t);
    m->last_ns = 0;
    m->start_tsc = sys_tsc() + 1000 * GHZ;
    assert_true(host_time_ns(m) == 0);
    start.wall_seconds = 1000;
    start.base.tsc_hz = GHZ;
    start.wall_tsc = sys_tsc() - 77 * GHZ - GHZ / 2;
    assert_in_range(host_wall_seconds(m), 1077, 1087);
    start.base.tsc_hz = 0; /* rubbish, but no fault */
    host_init(m);
    (void)host_wall_seconds(m);
}

static void due(void *device, u64 now_ns)
{
    (void)device;
    (void)now_ns;
}

/* The devices' thread is told of a timer only when it sleeps beyond it, once, and with the lock
 * free. */
static void test_wake(void **state)
{
    struct host_timer t[2] = {
        {due, NULL, HOST_NEVER, NULL},
        {due, NULL, HOST_NEVER, NULL}
    };

    (void)state;
    machine_lock(m);
    host_timer_set(m, &t[0], 100); /* it is awake */
    machine_unlock(m);
    assert_int_equal(calls, 0);

    m->armed_ns = 100;
    machine_lock(m);
    host_timer_set(m, &t[1], 100);
    host_timer_set(m, &t[0], HOST_NEVER);
    machine_unlock(m);
    assert_int_equal(calls, 0);
    machine_lock(m);
    host_timer_set(m, &t[0], 99);
    host_timer_set(m, &t[1], 50);
    assert_int_equal(calls, 0);
    machine_unlock(m);
    assert_int_equal(calls, 1);
    assert_int_equal(last.number, SYS_EVENT_SIGNAL);
    assert_int_equal(last.a[0], start.base.event);
    assert_int_equal(last.a[1], EVENT_TIMER);
    assert_int_equal(last.lock, LOCK_FREE);
    machine_lock(m);
    host_timer_set(m, &t[1], 1); /* it has been told, and will look */
    machine_unlock(m);
    assert_int_equal(calls, 1);
    assert_int_equal(m->lock.word, LOCK_FREE);
    assert_true(timers_next(&m->timers) == 1);
}

static void end_with(enum host_ending ending)
{
    if (!setjmp(ended)) {
        machine_lock(m);
        host_end(m, ending, "powered off");
    }
}

static void test_ends(void **state)
{
    static const struct {
        enum host_ending ending;
        s64 status;
    } cases[] = {
        {HOST_END_SUCCESS,   GUEST_SUCCESS},
        {HOST_END_FAILURE,   GUEST_FAILURE},
        {HOST_END_POWER_OFF, GUEST_SUCCESS},
        {HOST_END_RESET,     GUEST_RESET  },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        status = -1;
        end_with(cases[i].ending);
        assert_int_equal(status, cases[i].status);
        assert_string_equal(m->shared->reason, "powered off");
        assert_true(m->shared->end_tsc != 0);
        assert_int_equal(m->lock.word, LOCK_HELD); /* nobody else says anything */
        m->lock.word = LOCK_FREE;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
