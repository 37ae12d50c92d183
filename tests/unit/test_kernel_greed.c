/* SPDX-License-Identifier: MIT */
/* Guests that want more of the CPUs than is theirs, or want others to have less, on virtual time:
 * they get no more than their share, and make other CPUs do next to nothing. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "kernel/process.h"
#include "kernel/thread.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define VCPUS       8
#define SLICES      400
#define STEP        500 /* ticks between two looks at the clock */
#define STACK_AT    0x40000000ull
#define STACK_BYTES 0x10000ull
#define STACK_OF(i) (STACK_AT + 0x1000ull * (i) + 0x1000)
#define TURN_PARTS  8 /* of a slice: how often a CPU can be disturbed */
#define ALL         (BIT(VCPUS) - 1)

static u64 honest, greedy; /* ticks that they have computed */
static u64 greedy_event;
static bool stop;

static void compute(u64 *counter, u64 ticks)
{
    for (u64 done = 0; done < ticks && !stop; done += STEP) {
        host_spend(STEP);
        *counter += STEP;
    }
}

static void sleep_on(u64 event, u64 ticks)
{
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, event, 1, host_now() + ticks), E_TIMEOUT);
}

static s64 guest_new(u32 weight)
{
    struct process_args args = {
        .name = "guest", .memory_bytes = 2u << 20, .kernel_bytes = 2u << 20, .weight = weight};
    s64 process = SYS(SYS_PROCESS_CREATE, user_arg(0, &args, sizeof(args)));
    s64 memory = SYS(SYS_MEMORY_CREATE, STACK_BYTES);

    CHECK(process > 0 && memory > 0);
    CHECK_EQUAL(sys_map((u64)process, (u64)memory, 0, STACK_AT, STACK_BYTES, MAP_READ | MAP_WRITE),
                0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)memory), 0);
    return process;
}

static void start(s64 process, user_fn fn, u64 index, u64 affinity)
{
    s64 t = sys_thread_pinned((u64)process, fn, index, STACK_OF(index), affinity, 0);

    CHECK(t > 0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)t), 0);
}

static void works(u64 index)
{
    (void)index;
    while (!stop) {
        compute(&honest, HOST_SLICE);
    }
}

/* One honest thread for each CPU beside a greedy guest of the same weight, whose threads run fn;
 * percent: what the honest one gets at least of the machine. */
static void beside(user_fn fn, u32 threads, u64 percent)
{
    s64 one = guest_new(100), other = guest_new(100);
    u64 pause = (u64)SYS(SYS_EVENT_CREATE);

    for (u32 i = 0; i < cpu_count; i++) {
        start(one, works, i, 0);
    }
    for (u32 i = 0; i < threads; i++) {
        start(other, fn, i, 0);
    }
    sleep_on(pause, 20 * HOST_SLICE);
    u64 begin = host_now();
    honest = 0;
    greedy = 0;
    sleep_on(pause, SLICES * HOST_SLICE);
    u64 all = (host_now() - begin) * cpu_count;
    if (100 * honest < percent * all) {
        host_fail(__FILE__, __LINE__, "the honest guest got %llu of 1000, the greedy one %llu",
                  (unsigned long long)(1000 * honest / all),
                  (unsigned long long)(1000 * greedy / all));
    }
    CHECK(honest + greedy > 95 * all / 100); /* and nothing is lost */
    stop = true;
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)one), 0);
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)other), 0);
    sleep_on(pause, 20 * HOST_SLICE);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)one), 0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)other), 0);
}

/* --- more than its share --- */

static void spins(u64 index)
{
    (void)index;
    while (!stop) {
        compute(&greedy, HOST_SLICE);
    }
}

static void manager_many(u64 arg)
{
    (void)arg;
    beside(spins, VCPUS, 49);
}

MACHINE_TEST(test_many_threads, manager_many)
MACHINE_TEST(test_many_threads_on_four_cpus, manager_many, .cpus = 4)

/* One after the other, so that each has slept when its turn comes. */
static void takes_turns(u64 index)
{
    if (!index) {
        greedy_event = (u64)SYS(SYS_EVENT_CREATE);
        SYS(SYS_EVENT_SIGNAL, greedy_event, 1);
    }
    while (!greedy_event) {
        host_spend(STEP);
    }
    while (!stop) {
        SYS(SYS_EVENT_WAIT, greedy_event, BIT(index), 0);
        compute(&greedy, HOST_SLICE - 2 * STEP);
        SYS(SYS_EVENT_SIGNAL, greedy_event, BIT((index + 1) % VCPUS));
    }
}

static void manager_turns(u64 arg)
{
    (void)arg;
    beside(takes_turns, VCPUS, 49);
}

MACHINE_TEST(test_turns, manager_turns)

/* All at once, and blocked again one after the other, each just before it would be charged. */
static void bursts(u64 index)
{
    u64 event = (u64)SYS(SYS_EVENT_CREATE), period = 2 * HOST_SLICE;

    while (!stop) {
        u64 at = (host_now() / period + 1) * period;
        SYS(SYS_EVENT_WAIT, event, 1, at);
        while (!stop && host_now() < at + period - (index + 1) * (HOST_SLICE / 10)) {
            compute(&greedy, STEP);
        }
    }
}

static void manager_bursts(u64 arg)
{
    (void)arg;
    beside(bursts, VCPUS, 49);
}

MACHINE_TEST(test_bursts, manager_bursts)
MACHINE_TEST(test_bursts_on_four_cpus, manager_bursts, .cpus = 4)

/* A new thread has had nothing yet. */
static void begins_anew(u64 index)
{
    compute(&greedy, HOST_SLICE);
    s64 t = stop ? 0 : sys_thread_new(0, begins_anew, index ^ 8, STACK_OF(index ^ 8));
    if (t > 0) {
        SYS(SYS_HANDLE_CLOSE, (u64)t);
    }
}

static void manager_new_threads(u64 arg)
{
    (void)arg;
    beside(begins_anew, 4, 49);
}

MACHINE_TEST(test_new_threads, manager_new_threads)
MACHINE_TEST(test_new_threads_on_four_cpus, manager_new_threads, .cpus = 4)

/* From CPU to CPU, where its past might be forgotten. */
static void wanders(u64 index)
{
    s64 t = sys_thread_new(0, spins, 8 + index, STACK_OF(8 + index));
    u64 event = (u64)SYS(SYS_EVENT_CREATE);

    for (u64 i = index; t > 0 && !stop; i++) {
        SYS(SYS_THREAD_SET, (u64)t, 1 + i % 10000, BIT(i % cpu_count));
        sleep_on(event, HOST_SLICE / 5);
    }
}

static void manager_wanders(u64 arg)
{
    (void)arg;
    beside(wanders, 4, 48); /* each move may forget a little */
}

MACHINE_TEST(test_wandering, manager_wanders, .cpus = 2)
MACHINE_TEST(test_wandering_on_four_cpus, manager_wanders, .cpus = 4)

/* Processes of its own, which would have shares of their own. */
static void founds(u64 index)
{
    struct process_args args = {
        .name = "child", .memory_bytes = 4096, .kernel_bytes = 400u << 10, .weight = 100};

    if (!index) {
        CHECK_EQUAL(SYS(SYS_PROCESS_CREATE, user_arg(0, &args, sizeof(args))), E_RIGHTS);
    }
    args.weight = 0;
    s64 p = SYS(SYS_PROCESS_CREATE, user_arg(0, &args, sizeof(args)));
    CHECK(p > 0);
    CHECK(sys_thread_new((u64)p, spins, 0, STACK_AT) > 0);
    CHECK(sys_thread_new((u64)p, spins, 0, STACK_AT) > 0);
}

static void manager_founds(u64 arg)
{
    (void)arg;
    beside(founds, 4, 49);
}

MACHINE_TEST(test_processes_of_its_own, manager_founds)

/* --- others have less: what a CPU is made to do --- */

/* An honest thread has CPU 0 but for what greedy ones do there, which is next to nothing, driven by
 * others on CPU 1. Counts interrupts and switches of CPU 0. */
static void disturb(user_fn here, u32 threads, user_fn there, u64 most)
{
    s64 one = guest_new(100), other = guest_new(100);
    u64 pause = (u64)SYS(SYS_EVENT_CREATE);

    greedy_event = 0;
    start(one, works, 0, 1);
    for (u32 i = 0; i < threads; i++) {
        start(other, here, i, 1);
    }
    if (there) {
        start(other, there, threads, 2);
    }
    sleep_on(pause, 20 * HOST_SLICE);
    u64 interrupts = cpus[0]->interrupts, switches = cpus[0]->switches;
    sleep_on(pause, 100 * HOST_SLICE);
    interrupts = cpus[0]->interrupts - interrupts;
    switches = cpus[0]->switches - switches;
    if (interrupts > 100 * most || switches > 200 * threads * most || switches < 50) {
        host_fail(__FILE__, __LINE__, "%llu interrupts, %llu switches in 100 slices",
                  (unsigned long long)interrupts, (unsigned long long)switches);
    }
    stop = true;
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)one), 0);
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)other), 0);
    sleep_on(pause, 20 * HOST_SLICE);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)one), 0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)other), 0);
}

static u64 shared_event(u64 index)
{
    if (!index) {
        greedy_event = (u64)SYS(SYS_EVENT_CREATE);
    }
    while (!greedy_event) {
        host_spend(STEP);
    }
    return greedy_event;
}

static void naps(u64 index)
{
    u64 event = shared_event(index);

    while (!stop) {
        SYS(SYS_EVENT_WAIT, event, BIT(index), 0);
    }
}

static void wakes_all(u64 index)
{
    u64 event = shared_event(index);

    while (!stop) {
        SYS(SYS_EVENT_SIGNAL, event, ALL);
    }
}

/* A wake disturbs, and the switch back; one for the timer. */
static void manager_wake_storm(u64 arg)
{
    (void)arg;
    disturb(naps, VCPUS, wakes_all, 2 * TURN_PARTS + 2);
}

MACHINE_TEST(test_wake_storm, manager_wake_storm, .cpus = 3)

static void sleeps_shortly(u64 index)
{
    u64 event = (u64)SYS(SYS_EVENT_CREATE);

    while (!stop) {
        SYS(SYS_EVENT_WAIT, event, 1, host_now() + 10 * STEP + 77 * index);
    }
}

static void manager_timer_storm(u64 arg)
{
    (void)arg;
    disturb(sleeps_shortly, VCPUS, NULL, 2 * TURN_PARTS + 2);
}

MACHINE_TEST(test_timer_storm, manager_timer_storm, .cpus = 2)

/* Waiting for another thread's event while it computes: the waker finds nobody asleep. */
static void spins_beside(u64 index)
{
    shared_event(index);
    while (!stop) {
        compute(&greedy, HOST_SLICE);
    }
}

static void manager_wakes_nobody(u64 arg)
{
    (void)arg;
    disturb(spins_beside, 2, wakes_all, 3);
}

MACHINE_TEST(test_wakes_of_nobody, manager_wakes_nobody, .cpus = 3)

/* --- and who wakes rightly runs soon --- */

static u64 sibling_worst;

/* A thread whose siblings compute. */
static void wakes_by_itself(u64 index)
{
    u64 event = (u64)SYS(SYS_EVENT_CREATE);

    for (u32 i = 0; !stop; i++) {
        u64 at = host_now() + HOST_SLICE / 3 + 1234 * i;
        SYS(SYS_EVENT_WAIT, event, 1, at);
        sibling_worst = MAX(sibling_worst, i < 20 ? 0 : host_now() - at);
        compute(&honest, STEP + index);
    }
}

static void manager_latency(u64 arg)
{
    s64 guests[5];
    u64 pause = (u64)SYS(SYS_EVENT_CREATE), worst = 0;

    (void)arg;
    for (u32 g = 0; g < 5; g++) {
        guests[g] = guest_new(100);
        for (u32 i = 0; i < VCPUS; i++) {
            start(guests[g], g || i ? works : wakes_by_itself, i, 0);
        }
    }
    sleep_on(pause, 20 * HOST_SLICE);
    for (u32 i = 0; i < 100; i++) {
        u64 at = host_now() + HOST_SLICE / 2 + 12345 * i;
        CHECK_EQUAL(SYS(SYS_EVENT_WAIT, pause, 1, at), E_TIMEOUT);
        worst = MAX(worst, host_now() - at);
    }
    if (worst > HOST_SLICE / 4) {
        host_fail(__FILE__, __LINE__, "woken after %llu of 1000 of a slice",
                  (unsigned long long)(worst * 1000 / HOST_SLICE));
    }
    stop = true;
    CHECK(sibling_worst <= HOST_SLICE / 2);
    for (u32 g = 0; g < 5; g++) {
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)guests[g]), 0);
    }
}

MACHINE_TEST(test_latency_beside_ten_threads, manager_latency, .cpus = 4)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_many_threads_on_four_cpus),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_bursts),
        cmocka_unit_test(test_bursts_on_four_cpus),
        cmocka_unit_test(test_new_threads),
        cmocka_unit_test(test_new_threads_on_four_cpus),
        cmocka_unit_test(test_wandering),
        cmocka_unit_test(test_wandering_on_four_cpus),
        cmocka_unit_test(test_processes_of_its_own),
        cmocka_unit_test(test_wake_storm),
        cmocka_unit_test(test_timer_storm),
        cmocka_unit_test(test_wakes_of_nobody),
        cmocka_unit_test(test_latency_beside_ten_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
