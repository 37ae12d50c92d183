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
};

struct load {
    struct guest guests[MAX_GUESTS];
    u32 slices;
    /* Threads that compute without end, and can use their share: checked against it. */
    double share_error, max_lag;
};

static struct worker {
    enum role role;
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
    struct process_args args = {"guest", 1u << 20, 1u << 20, 0, load.guests[g].weight, 0};
    s64 process = SYS(SYS_PROCESS_CREATE, user_arg(0, &args, sizeof(args)));

    CHECK(process > 0);
    for (u32 i = 0; i < load.guests[g].threads; i++) {
        CHECK(worker_count < MAX_THREADS);
        workers[worker_count] = (struct worker){.role = load.guests[g].role, .guest = g};
        s64 t = sys_thread_pinned((u64)process, work, worker_count++, STACK,
                                  load.guests[g].affinity, 100);
        CHECK(t > 0);
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)t), 0);
    }
    return process;
}

/* What was computed since the last look is what was to be shared; each had a right to its part. */
static void look(void)
{
    double sum = 0, weights = 0;

    for (u32 i = 0; i < worker_count; i++) {
        struct worker *w = &workers[i];
        if (w->role == COMPUTE) {
            sum += (double)(w->ticks - w->seen);
            weights += (double)load.guests[w->guest].weight / load.guests[w->guest].threads;
        }
    }
    for (u32 i = 0; i < worker_count; i++) {
        struct worker *w = &workers[i];
        const struct guest *g = &load.guests[w->guest];
        if (w->role == COMPUTE) {
            w->fair += sum * g->weight / g->threads / weights;
            w->seen = w->ticks;
            double behind = w->fair - (double)w->ticks;
            w->most = behind > w->most ? behind : w->most;
            w->sum += behind;
        }
    }
}

static void report(void)
{
    double lag = 0, error = 0;

    for (u32 g = 0; g < MAX_GUESTS && load.guests[g].threads; g++) {
        double got = 0, fair = 0, worst = 0;
        for (u32 i = 0; i < worker_count; i++) {
            struct worker *w = &workers[i];
            if (w->guest == g) {
                /* it need not have begun where it is on the average */
                w->lag = w->most - w->sum / load.slices;
                got += (double)w->ticks;
                fair += w->fair;
                worst = w->lag > worst ? w->lag : worst;
            }
        }
        double off = fair > 0 ? (got - fair) / fair * 100 : 0;
        fprintf(stderr, "  guest %u weight %u: %.0f slices, %+.2f%%, lag %.2f\n", g,
                load.guests[g].weight, got / HOST_SLICE, off, worst / HOST_SLICE);
        error = off < 0 ? (error > -off ? error : -off) : (error > off ? error : off);
        lag = worst > lag ? worst : lag;
    }
    u64 steals = 0, switches = 0;
    for (u32 i = 0; i < cpu_count; i++) {
        steals += cpus[i]->steals;
        switches += cpus[i]->switches;
    }
    fprintf(stderr, "  worst share %.2f%%, worst lag %.2f slices, %llu switches, %llu moves\n",
            error, lag / HOST_SLICE, (unsigned long long)switches, (unsigned long long)steals);
    CHECK(error <= load.share_error);
    CHECK(lag <= load.max_lag * HOST_SLICE);
}

static void manager(u64 arg)
{
    s64 processes[MAX_GUESTS] = {0}, event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    for (u32 g = 0; g < MAX_GUESTS && load.guests[g].threads; g++) {
        processes[g] = start_guest(g);
    }
    sleep_on(event, 20 * HOST_SLICE);
    for (u32 i = 0; i < worker_count; i++) {
        workers[i].ticks = workers[i].seen = 0;
    }
    for (u32 i = 0; i < load.slices; i++) {
        sleep_on(event, HOST_SLICE);
        look();
    }
    stop = true;
    report();
    for (u32 g = 0; g < MAX_GUESTS && load.guests[g].threads; g++) {
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)processes[g]), 0);
    }
}

static void run(const char *name, u32 cpu_number, struct load l)
{
    fprintf(stderr, "%s on %u CPUs\n", name, cpu_number);
    load = l;
    load.share_error = l.share_error > 0 ? l.share_error : 2;
    load.max_lag = l.max_lag > 0 ? l.max_lag : 3;
    assert_true(machine_test(&(struct machine_config){.manager = manager, .cpus = cpu_number}));
}

#define FIVE(a, b, c, d, e, n)                                                                     \
    {                                                                                              \
        {a, n, 0, 0}, {b, n, 0, 0}, {c, n, 0, 0}, {d, n, 0, 0},                                    \
        {                                                                                          \
            e, n, 0, 0                                                                             \
        }                                                                                          \
    }

static void test_equal_guests(void **state)
{
    (void)state;
    run("equal", 4, (struct load){FIVE(100, 100, 100, 100, 100, 8), 1000, 0, 0});
    run("equal", 8, (struct load){FIVE(100, 100, 100, 100, 100, 8), 1000, 0, 0});
    run("equal, one vCPU", 4, (struct load){FIVE(100, 100, 100, 100, 100, 1), 1000, 0, 0});
    run("equal, three vCPUs", 4, (struct load){FIVE(100, 100, 100, 100, 100, 3), 1000, 0, 0});
}

static void test_unequal_guests(void **state)
{
    (void)state;
    run("unequal", 4, (struct load){FIVE(100, 100, 200, 50, 300, 8), 2000, 0, 0});
    run("unequal", 8, (struct load){FIVE(100, 100, 200, 50, 300, 8), 2000, 0, 0});
    run("primes", 4, (struct load){FIVE(101, 137, 211, 59, 313, 7), 2000, 0, 0});
    run("primes", 3, (struct load){FIVE(101, 137, 211, 59, 313, 5), 2000, 0, 0});
    run("wide", 4, (struct load){FIVE(100, 1000, 1000, 10, 3000, 8), 4000, 0, 0});
    run("tiny", 4, (struct load){FIVE(1, 2, 3, 4, 5, 8), 2000, 0, 0});
}

static void test_sleepers(void **state)
{
    (void)state;
    run("naps", 4,
        (struct load){
            {{100, 8, 0, 0}, {100, 8, NAP, 0}, {200, 8, 0, 0}, {50, 8, TICK, 0}, {300, 8, 0, 0}},
            2000,
            0,
            0
    });
    run("naps", 8,
        (struct load){
            {{100, 8, 0, 0}, {100, 8, NAP, 0}, {200, 8, 0, 0}, {50, 8, TICK, 0}, {300, 8, 0, 0}},
            2000,
            0,
            0
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_guests),
        cmocka_unit_test(test_unequal_guests),
        cmocka_unit_test(test_sleepers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
