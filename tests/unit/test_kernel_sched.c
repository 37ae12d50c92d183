/* SPDX-License-Identifier: MIT */
/* The scheduler on virtual time: shares by weight, waits, pins, moves, and that nobody starves. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define THREADS 8

static struct counter {
    u64 ticks; /* spent in ring 3 */
    u64 last;  /* when it ran last */
    u64 on;    /* mask of CPUs that it ran on */
} counters[THREADS];
static bool stop;

/* Works until told to stop. */
static void worker(u64 index)
{
    struct counter *c = &counters[index];

    while (!stop) {
        host_spend(500);
        c->ticks += 500;
        c->last = host_now();
        c->on |= BIT(cpu_this()->id);
    }
}

static void sleep_ticks(u64 event, u64 ticks)
{
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, event, 1, host_now() + ticks), E_TIMEOUT);
}

static void close_all(const s64 *handles, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)handles[i]), 0);
    }
}

static s64 start(u32 index, u64 affinity, u32 weight)
{
    s64 t = sys_thread_pinned(0, worker, index, MANAGER_STACK_TOP - 0x2000, affinity, weight);

    CHECK(t > 0);
    return t;
}

/* Is a : b as x : y, to a few in a hundred? */
static void check_ratio(u64 a, u64 b, u64 x, u64 y)
{
    u64 percent = 100 * a * y / (b * x);

    if (percent < 95 || percent > 105) {
        host_fail(__FILE__, __LINE__, "%llu to %llu is not %llu to %llu", (unsigned long long)a,
                  (unsigned long long)b, (unsigned long long)x, (unsigned long long)y);
    }
}

/* --- shares --- */

static void manager_weights(u64 arg)
{
    static const u32 weights[] = {50, 100, 200, 400};
    s64 t[4], event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    for (u32 i = 0; i < 4; i++) {
        t[i] = start(i, BIT(0), weights[i]);
    }
    sleep_ticks((u64)event, 400 * HOST_SLICE);
    stop = true;
    for (u32 i = 1; i < 4; i++) {
        check_ratio(counters[i].ticks, counters[0].ticks, weights[i], weights[0]);
    }
    close_all(t, 4);
}

MACHINE_TEST(test_shares_follow_weights, manager_weights)

/* Has nothing to do but to look whether another is done. */
static void waiter(u64 index)
{
    struct counter *c = &counters[index];

    while (!stop) {
        host_spend(500);
        c->ticks += 500;
        sched_pass();
        sched_yield(host_now());
    }
}

/* Who waits leaves its time to the one that it waits for, not to others that wait. */
static void manager_waiters_pass(u64 arg)
{
    s64 t[4], event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    t[0] = start(0, BIT(0), 100);
    for (u32 i = 1; i < 4; i++) {
        t[i] = sys_thread_pinned(0, waiter, i, MANAGER_STACK_TOP - 0x2000, BIT(0), 100);
    }
    sleep_ticks((u64)event, 100 * HOST_SLICE);
    stop = true;
    u64 waited = counters[1].ticks + counters[2].ticks + counters[3].ticks;
    CHECK(waited < counters[0].ticks / 10);
    close_all(t, 4);
}

MACHINE_TEST(test_waiters_pass, manager_waiters_pass)

static void manager_changes_weights(u64 arg)
{
    s64 t[2], event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    t[0] = start(0, 0, 100);
    t[1] = start(1, 0, 100);
    sleep_ticks((u64)event, 100 * HOST_SLICE);
    check_ratio(counters[0].ticks, counters[1].ticks, 1, 1);
    u64 a = counters[0].ticks, b = counters[1].ticks;
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t[0], 900, 1), 0);
    sleep_ticks((u64)event, 400 * HOST_SLICE);
    stop = true;
    check_ratio(counters[0].ticks - a, counters[1].ticks - b, 9, 1);
    close_all(t, 2);
}

MACHINE_TEST(test_shares_follow_changed_weights, manager_changes_weights)

/* More threads than CPUs, all alike: all get the same, and all CPUs are used. */
static void manager_balance(u64 arg)
{
    s64 t[THREADS], event = SYS(SYS_EVENT_CREATE);
    u64 sum = 0, begin = host_now();

    (void)arg;
    for (u32 i = 0; i < THREADS; i++) {
        t[i] = start(i, 0, 100);
    }
    sleep_ticks((u64)event, 200 * HOST_SLICE);
    u64 passed = host_now() - begin;
    stop = true;
    for (u32 i = 0; i < THREADS; i++) {
        sum += counters[i].ticks;
    }
    check_ratio(sum, cpu_count * passed, 1, 1);
    for (u32 i = 0; i < THREADS; i++) {
        check_ratio(counters[i].ticks, sum / THREADS, 1, 1);
    }
    close_all(t, THREADS);
}

MACHINE_TEST(test_balance_on_one_cpu, manager_balance)
MACHINE_TEST(test_balance_on_two_cpus, manager_balance, .cpus = 2)
MACHINE_TEST(test_balance_on_four_cpus, manager_balance, .cpus = 4)

/* Idle CPUs take work from busy ones. */
static void manager_steal(u64 arg)
{
    s64 t[4], event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    for (u32 i = 0; i < 4; i++) {
        t[i] = start(i, BIT(0), 100); /* all on one CPU */
    }
    sleep_ticks((u64)event, 20 * HOST_SLICE);
    for (u32 i = 0; i < 4; i++) {
        CHECK_EQUAL(counters[i].on, BIT(0));
        counters[i] = (struct counter){0};
        CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t[i], 100, ~0ull), 0);
    }
    u64 begin = host_now();
    sleep_ticks((u64)event, 200 * HOST_SLICE);
    stop = true;
    for (u32 i = 0; i < 4; i++) {
        check_ratio(counters[i].ticks, host_now() - begin, 1, 1); /* each has a CPU */
    }
    close_all(t, 4);
}

MACHINE_TEST(test_idle_cpus_steal, manager_steal, .cpus = 4)

/* --- pins --- */

static void manager_pins(u64 arg)
{
    s64 t[3], event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    t[0] = start(0, BIT(1), 100);
    t[1] = start(1, BIT(0) | BIT(2), 100);
    t[2] = start(2, ~0ull, 100);
    sleep_ticks((u64)event, 50 * HOST_SLICE);
    CHECK_EQUAL(counters[0].on, BIT(1));
    CHECK_EQUAL(counters[1].on & ~(BIT(0) | BIT(2)), 0);
    /* moved while it runs */
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t[0], 100, BIT(2)), 0);
    sleep_ticks((u64)event, HOST_SLICE);
    counters[0].on = 0;
    sleep_ticks((u64)event, 20 * HOST_SLICE);
    CHECK_EQUAL(counters[0].on, BIT(2));
    stop = true;
    close_all(t, 3);
}

MACHINE_TEST(test_pins, manager_pins, .cpus = 3)

static u64 sleeper_event;

static void sleeper(u64 index)
{
    SYS(SYS_EVENT_WAIT, sleeper_event, 1, 0);
    worker(index);
}

/* A thread that was asleep while it was pinned elsewhere does not stay where it wakes. */
static void manager_pins_a_sleeper(u64 arg)
{
    (void)arg;
    s64 event = SYS(SYS_EVENT_CREATE), pause = SYS(SYS_EVENT_CREATE);
    sleeper_event = (u64)event;
    s64 t = sys_thread_pinned(0, sleeper, 0, MANAGER_STACK_TOP - 0x2000, BIT(0), 100);
    sleep_ticks((u64)pause, 10 * HOST_SLICE);
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t, 100, BIT(1)), 0);
    CHECK_EQUAL(SYS(SYS_EVENT_SIGNAL, (u64)event, 1), 0);
    sleep_ticks((u64)pause, 10 * HOST_SLICE);
    counters[0].on = 0;
    sleep_ticks((u64)pause, 10 * HOST_SLICE);
    CHECK_EQUAL(counters[0].on, BIT(1));
    stop = true;
    close_all(&t, 1);
}

MACHINE_TEST(test_a_sleeper_is_pinned, manager_pins_a_sleeper, .cpus = 2)

/* A thread that ran for long on one CPU and is moved to another shares that one from then on: its
 * past counts where it was earned. */
static void manager_moves_an_old_thread(u64 arg)
{
    s64 t[2], event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    t[0] = start(0, BIT(1), 100);
    sleep_ticks((u64)event, 300 * HOST_SLICE);
    t[1] = start(1, BIT(2), 100);
    sleep_ticks((u64)event, 10 * HOST_SLICE);
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t[0], 100, BIT(2)), 0);
    sleep_ticks((u64)event, 2 * HOST_SLICE);
    u64 a = counters[0].ticks, b = counters[1].ticks;
    sleep_ticks((u64)event, 100 * HOST_SLICE);
    check_ratio(counters[0].ticks - a, counters[1].ticks - b, 1, 1);
    /* and the other way: a young one beside an old one */
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t[0], 100, BIT(1)), 0);
    sleep_ticks((u64)event, 300 * HOST_SLICE);
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t[1], 100, BIT(1)), 0);
    sleep_ticks((u64)event, 2 * HOST_SLICE);
    a = counters[0].ticks, b = counters[1].ticks;
    sleep_ticks((u64)event, 100 * HOST_SLICE);
    check_ratio(counters[0].ticks - a, counters[1].ticks - b, 1, 1);
    stop = true;
    close_all(t, 2);
}

MACHINE_TEST(test_a_moved_thread_does_not_starve, manager_moves_an_old_thread, .cpus = 3)

/* --- waits --- */

static void manager_deadlines(u64 arg)
{
    (void)arg;
    s64 event = SYS(SYS_EVENT_CREATE);
    u64 delays[] = {1, 1000, HOST_SLICE / 3, HOST_SLICE, 7 * HOST_SLICE, HOST_TSC_HZ};
    for (u32 i = 0; i < ARRAY_SIZE(delays); i++) {
        u64 at = host_now() + delays[i];
        CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, 1, at), E_TIMEOUT);
        CHECK(host_now() >= at);
        CHECK(host_now() < at + HOST_SLICE / 10);
    }
    /* in the past: a poll */
    u64 begin = host_now();
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, 1, 1), E_TIMEOUT);
    CHECK_EQUAL(SYS(SYS_EVENT_SIGNAL, (u64)event, 3), 0);
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, 5, 1), 1);
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, 5, 1), E_TIMEOUT);
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, ~0ull >> 1, 1), 2);
    CHECK(host_now() < begin + HOST_SLICE);
}

MACHINE_TEST(test_deadlines, manager_deadlines)

/* Deadlines hold beside threads that want all there is, and whatever weight they have. */
static void manager_deadlines_under_load(u64 arg)
{
    s64 t[4], event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    for (u32 i = 0; i < 4; i++) {
        t[i] = start(i, 0, i ? 100 : 10000);
    }
    for (u32 i = 0; i < 30; i++) {
        u64 at = host_now() + (i + 1) * HOST_SLICE / 4;
        CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, 1, at), E_TIMEOUT);
        CHECK(host_now() >= at);
        /* one slice of each that is before it, at worst */
        CHECK(host_now() < at + 5 * HOST_SLICE);
    }
    stop = true;
    close_all(t, 4);
}

MACHINE_TEST(test_deadlines_under_load, manager_deadlines_under_load)
MACHINE_TEST(test_deadlines_under_load_on_two_cpus, manager_deadlines_under_load, .cpus = 2)

/* --- wakes --- */

#define ROUNDS 200

static u64 ping, pong;
static u32 rounds;

static void answer(u64 arg)
{
    (void)arg;
    for (u32 i = 0; i < ROUNDS; i++) {
        CHECK_EQUAL(SYS(SYS_EVENT_WAIT, ping, 1, 0), 1);
        rounds++;
        CHECK_EQUAL(SYS(SYS_EVENT_SIGNAL, pong, 1), 0);
    }
}

static void manager_ping_pong(u64 arg)
{
    (void)arg;
    ping = (u64)SYS(SYS_EVENT_CREATE);
    pong = (u64)SYS(SYS_EVENT_CREATE);
    s64 t = sys_thread_new(0, answer, 0, MANAGER_STACK_TOP - 0x2000);
    for (u32 i = 0; i < ROUNDS; i++) {
        CHECK_EQUAL(SYS(SYS_EVENT_SIGNAL, ping, 1), 0);
        CHECK_EQUAL(SYS(SYS_EVENT_WAIT, pong, 1, 0), 1);
    }
    CHECK_EQUAL(rounds, ROUNDS);
    close_all(&t, 1);
}

MACHINE_TEST(test_wakes, manager_ping_pong)

/* No wake is lost between the look at the bits and the sleep: then all would sleep for ever, and
 * the manager not end. */
static void test_wakes_in_races(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_ping_pong, .cpus = 2}, 30));
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_ping_pong, .cpus = 4}, 10));
}

/* A thread that sleeps most of the time gets the CPU soon when it wakes. */
static void manager_latency(u64 arg)
{
    s64 t[2], event = SYS(SYS_EVENT_CREATE);
    u64 worst = 0;

    (void)arg;
    t[0] = start(0, 0, 100);
    t[1] = start(1, 0, 100);
    for (u32 i = 0; i < 50; i++) {
        u64 at = host_now() + 3 * HOST_SLICE + 1234 * i;
        CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, 1, at), E_TIMEOUT);
        worst = MAX(worst, host_now() - at);
    }
    stop = true;
    CHECK(worst < HOST_SLICE / 5);
    close_all(t, 2);
}

MACHINE_TEST(test_latency_of_sleepers, manager_latency)

/* Sleeping earns no more than a slice: a thread that slept for long does not shut the others out.
 */
static void manager_sleep_earns_little(u64 arg)
{
    s64 t[2], pause = SYS(SYS_EVENT_CREATE), event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    sleeper_event = (u64)event;
    t[0] = start(0, 0, 100);
    t[1] = sys_thread_new(0, sleeper, 1, MANAGER_STACK_TOP - 0x2000);
    sleep_ticks((u64)pause, 300 * HOST_SLICE);
    CHECK_EQUAL(SYS(SYS_EVENT_SIGNAL, (u64)event, 1), 0);
    u64 a = counters[0].ticks;
    sleep_ticks((u64)pause, 50 * HOST_SLICE);
    check_ratio(counters[0].ticks - a + HOST_SLICE, counters[1].ticks, 1, 1);
    stop = true;
    close_all(t, 2);
}

MACHINE_TEST(test_sleep_earns_little, manager_sleep_earns_little)

/* An idle machine sleeps: no timer is armed, nobody runs. */
static void manager_idles(u64 arg)
{
    (void)arg;
    s64 event = SYS(SYS_EVENT_CREATE);
    u64 before[4];
    for (u32 i = 0; i < cpu_count; i++) {
        before[i] = cpus[i]->interrupts;
    }
    sleep_ticks((u64)event, 10 * HOST_TSC_HZ);
    for (u32 i = 0; i < cpu_count; i++) {
        CHECK(cpus[i]->interrupts - before[i] <= 2);
    }
}

MACHINE_TEST(test_idle_machine_has_no_tick, manager_idles, .cpus = 4)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_follow_weights),
        cmocka_unit_test(test_waiters_pass),
        cmocka_unit_test(test_shares_follow_changed_weights),
        cmocka_unit_test(test_balance_on_one_cpu),
        cmocka_unit_test(test_balance_on_two_cpus),
        cmocka_unit_test(test_balance_on_four_cpus),
        cmocka_unit_test(test_idle_cpus_steal),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_a_sleeper_is_pinned),
        cmocka_unit_test(test_a_moved_thread_does_not_starve),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_deadlines_under_load),
        cmocka_unit_test(test_deadlines_under_load_on_two_cpus),
        cmocka_unit_test(test_wakes),
        cmocka_unit_test(test_wakes_in_races),
        cmocka_unit_test(test_latency_of_sleepers),
        cmocka_unit_test(test_sleep_earns_little),
        cmocka_unit_test(test_idle_machine_has_no_tick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
