/* SPDX-License-Identifier: MIT */
/* The scheduler under load, on virtual time: guests with many vCPUs on few CPUs get their weighted
 * shares, and nobody ever lags its own by more than three slices. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/process.h"
#include "kernel/thread.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define MAX_GUESTS  16
#define MAX_THREADS 64
#define STACK       (MANAGER_STACK_TOP - 0x2000)
#define STEP        500 /* ticks between two looks at the clock */
#define SHARE_ERROR 2.0 /* in 100 */
#define MAX_LAG     3.0 /* slices */

/* What a thread of a guest does. */
enum role {
    COMPUTE,
    NAP, /* computes for a random part of two slices, then sleeps as long */
    TICK /* wakes often, computes little */
};

struct guest {
    u32 weight, threads;
    enum role role;
    u64 affinity; /* 0: all */
    u32 from;     /* slices after the start: when it comes */
    bool unpin;   /* it may run everywhere once all are there */
};

struct load {
    const char *name;
    struct guest guests[MAX_GUESTS];
    u32 slices;
};

static struct worker {
    enum role role;
    s64 thread;
    u32 guest;
    u64 ticks;
    double fair;           /* what it had a right to, in ticks */
    double most, sum, lag; /* how far it was behind that, at most and in the sum of all looks */
    u64 seen;
} workers[MAX_THREADS];
static u32 worker_count;
static bool stop;
static struct load load;

static void compute(struct worker *w, u64 ticks)
{
    for (u64 done = 0; done < ticks && !stop; done += STEP) {
        host_spend(STEP);
        w->ticks += STEP;
    }
}

static void sleep_on(s64 event, u64 ticks)
{
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, 1, host_now() + ticks), E_TIMEOUT);
}

static void work(u64 index)
{
    struct worker *w = &workers[index];
    s64 event = SYS(SYS_EVENT_CREATE);

    while (!stop) {
        switch (w->role) {
        case COMPUTE:
            compute(w, HOST_SLICE);
            break;
        case NAP:
            compute(w, host_random() % (2 * HOST_SLICE));
            sleep_on(event, host_random() % (2 * HOST_SLICE));
            break;
        case TICK:
            compute(w, HOST_SLICE / 50);
            sleep_on(event, HOST_SLICE / 4);
            break;
        }
    }
}

static s64 start_guest(u32 g)
{
    struct process_args args = {.name = "guest",
                                .memory_bytes = 1u << 20,
                                .kernel_bytes = 1u << 20,
                                .weight = load.guests[g].weight};
    s64 process = SYS(SYS_PROCESS_CREATE, user_arg(0, &args, sizeof(args)));

    CHECK(process > 0);
    for (u32 i = 0; i < load.guests[g].threads; i++) {
        CHECK(worker_count < MAX_THREADS);
        workers[worker_count] = (struct worker){.role = load.guests[g].role, .guest = g};
        s64 t = sys_thread_pinned((u64)process, work, worker_count++, STACK,
                                  load.guests[g].affinity, 100);
        CHECK(t > 0);
        workers[worker_count - 1].thread = t;
    }
    return process;
}

static double weight_of(const struct worker *w)
{
    return (double)load.guests[w->guest].weight / load.guests[w->guest].threads;
}

/* What was computed since the last look is what was to be shared by weight; but nobody can use more
 * than one CPU. */
static void look(u64 passed)
{
    double sum = 0, weights = 0, part[MAX_THREADS] = {0};
    bool again = true;

    for (u32 i = 0; i < worker_count; i++) {
        if (workers[i].role == COMPUTE) {
            sum += (double)(workers[i].ticks - workers[i].seen);
            weights += weight_of(&workers[i]);
        }
    }
    while (again) {
        again = false;
        for (u32 i = 0; i < worker_count; i++) {
            double want = workers[i].role == COMPUTE ? sum * weight_of(&workers[i]) / weights : 0;
            if (!part[i] && want > (double)passed) {
                part[i] = (double)passed;
                sum -= part[i];
                weights -= weight_of(&workers[i]);
                again = true;
            }
        }
    }
    for (u32 i = 0; i < worker_count; i++) {
        struct worker *w = &workers[i];
        if (w->role == COMPUTE) {
            w->fair += part[i] ? part[i] : sum * weight_of(w) / weights;
            w->seen = w->ticks;
            double behind = w->fair - (double)w->ticks;
            w->most = behind > w->most ? behind : w->most;
            w->sum += behind;
        }
    }
}

static void print(void)
{
    u64 moves = 0, switches = 0;

    for (u32 i = 0; i < cpu_count; i++) {
        moves += cpus[i]->steals;
        switches += cpus[i]->switches;
    }
    fprintf(stderr, "%s on %u CPUs: %llu switches, %llu moves\n", load.name, cpu_count,
            (unsigned long long)switches, (unsigned long long)moves);
    for (u32 i = 0; i < worker_count; i++) {
        const struct worker *w = &workers[i];
        fprintf(stderr, "  guest %u: %.1f of %.1f slices, lag %.2f\n", w->guest,
                (double)w->ticks / HOST_SLICE, w->fair / HOST_SLICE, w->lag / HOST_SLICE);
    }
}

static void check(void)
{
    double got[MAX_GUESTS] = {0}, fair[MAX_GUESTS] = {0};
    bool right = true;

    for (u32 i = 0; i < worker_count; i++) {
        struct worker *w = &workers[i];
        /* it need not have begun where it is on the average */
        w->lag = w->most - w->sum / load.slices;
        right = right && w->lag <= MAX_LAG * HOST_SLICE;
        got[w->guest] += w->role == COMPUTE ? (double)w->ticks : 0;
        fair[w->guest] += w->fair;
    }
    for (u32 g = 0; g < MAX_GUESTS; g++) {
        double off = got[g] > fair[g] ? got[g] - fair[g] : fair[g] - got[g];
        right = right && (off <= fair[g] * SHARE_ERROR / 100 || off <= HOST_SLICE);
    }
    /* there each lock costs time, which is charged but in which nobody computes */
    if (host_config.interleave) {
        right = got[0] > fair[0] * 3 / 4;
    }
    if (!right || getenv("LOAD_PRINT")) {
        print();
    }
    CHECK(right);
}

static void manager(u64 arg)
{
    s64 processes[MAX_GUESTS] = {0}, event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    for (u32 g = 0; g < MAX_GUESTS && load.guests[g].threads; g++) {
        sleep_on(event, load.guests[g].from * HOST_SLICE);
        processes[g] = start_guest(g);
    }
    for (u32 i = 0; i < worker_count; i++) {
        if (load.guests[workers[i].guest].unpin) {
            CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)workers[i].thread, 100, ~0ull), 0);
        }
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)workers[i].thread), 0);
    }
    sleep_on(event, 40 * HOST_SLICE);
    for (u32 i = 0; i < worker_count; i++) {
        workers[i].ticks = workers[i].seen = 0;
    }
    u64 last = host_now();
    for (u32 i = 0; i < load.slices; i++) {
        sleep_on(event, HOST_SLICE);
        look(host_now() - last);
        last = host_now();
    }
    stop = true;
    check();
    for (u32 g = 0; g < MAX_GUESTS && load.guests[g].threads; g++) {
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)processes[g]), 0);
    }
}

static void run(const char *name, u32 cpu_number, u32 slices, const struct guest *guests, u32 count)
{
    load = (struct load){.name = name, .slices = slices};
    for (u32 g = 0; g < count; g++) {
        load.guests[g] = guests[g];
    }
    assert_true(machine_test(&(struct machine_config){.manager = manager, .cpus = cpu_number}));
}

#define RUN(name, cpu_number, slices, ...)                                                         \
    run(name, cpu_number, slices, (struct guest[]){__VA_ARGS__},                                   \
        sizeof((struct guest[]){__VA_ARGS__}) / sizeof(struct guest))
#define G(w, n, ...)                                                                               \
    {                                                                                              \
        .weight = (w), .threads = (n), __VA_ARGS__                                                 \
    }
#define FIVE(a, b, c, d, e, n) G(a, n), G(b, n), G(c, n), G(d, n), G(e, n)

static void test_equal_guests(void **state)
{
    (void)state;
    RUN("equal", 4, 500, FIVE(100, 100, 100, 100, 100, 8));
    RUN("equal", 8, 500, FIVE(100, 100, 100, 100, 100, 8));
    RUN("equal, one vCPU each", 4, 500, FIVE(100, 100, 100, 100, 100, 1));
    RUN("equal, three vCPUs each", 4, 500, FIVE(100, 100, 100, 100, 100, 3));
}

static void test_unequal_guests(void **state)
{
    (void)state;
    RUN("unequal", 4, 1000, FIVE(100, 100, 200, 50, 300, 8));
    RUN("unequal", 8, 1000, FIVE(100, 100, 200, 50, 300, 8));
    RUN("primes", 4, 1000, FIVE(101, 137, 211, 59, 313, 7));
    RUN("primes", 3, 1000, FIVE(101, 137, 211, 59, 313, 5));
    RUN("wide", 4, 4000, FIVE(100, 1000, 1000, 10, 3000, 8));
    RUN("tiny", 4, 1000, FIVE(1, 2, 3, 4, 5, 8));
}

static void test_sleepers(void **state)
{
    (void)state;
    for (u32 n = 4; n <= 8; n += 4) {
        RUN("sleepers", n, 1000, G(100, 8), G(100, 8, .role = NAP), G(200, 8),
            G(50, 8, .role = TICK), G(300, 8));
    }
}

static void test_few(void **state)
{
    (void)state;
    RUN("more CPUs than threads", 4, 200, G(100, 1), G(100, 2));
    RUN("a thread of more than a CPU's weight", 4, 1000, G(10000, 1), G(100, 8), G(200, 8),
        G(50, 3));
    RUN("three such threads", 4, 1000, G(10000, 2), G(9000, 1), G(200, 8), G(100, 3));
}

static void test_pinned(void **state)
{
    (void)state;
    RUN("two halves", 4, 500, G(100, 8, .affinity = 3), G(100, 8, .affinity = 12),
        G(50, 1, .affinity = 3), G(50, 1, .affinity = 12));
    RUN("among others", 4, 500, G(100, 4, .affinity = 1), G(300, 8), G(100, 4, .affinity = 6));
}

/* What was is soon forgotten: who could not use its share, or got more, has no claim, no debt. */
static void test_changes(void **state)
{
    (void)state;
    RUN("more heavy ones", 2, 500, G(10000, 1), G(100, 4), G(10000, 1, .from = 500), G(10000, 1));
    RUN("a crowd let loose", 4, 500, G(100, 8, .affinity = 1, .unpin = true), G(100, 8),
        G(100, 2, .from = 500));
    RUN("who had a CPU to itself", 4, 500, G(10, 2, .affinity = 8, .unpin = true),
        G(100, 8, .affinity = 7, .unpin = true), G(50, 1, .from = 500));
}

/* Other CPUs come in between at each lock: all goes on, and nobody is left behind. */
static void test_races(void **state)
{
    (void)state;
    load = (struct load){
        .name = "races",
        .slices = 150,
        .guests = {G(100, 3), G(100, 4, .role = NAP), G(200, 3), G(100, 4, .role = TICK),
                   G(50, 2, .unpin = true, .affinity = 1)}
    };
    assert_true(machine_test_races((struct machine_config){.manager = manager, .cpus = 4}, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_guests), cmocka_unit_test(test_unequal_guests),
        cmocka_unit_test(test_sleepers),     cmocka_unit_test(test_few),
        cmocka_unit_test(test_pinned),       cmocka_unit_test(test_changes),
        cmocka_unit_test(test_races),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
