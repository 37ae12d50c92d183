/* SPDX-License-Identifier: MIT */
/* Processes and threads: life, end, kill, what they hold and what they may use. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/process.h"
#include "kernel/thread.h"
#include "lib/pagetable.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define BUDGET_MEMORY (1ull << 20)
#define BUDGET_KERNEL (256ull << 10)
#define STACK_AT      0x40000000ull
#define STACK_BYTES   0x4000ull
#define STACK_TOP     (STACK_AT + STACK_BYTES)

static u32 ran; /* how often a program got to ring 3 */

static void count(u64 arg)
{
    (void)arg;
    ran++;
}

static void spin(u64 arg)
{
    ran += (u32)arg;
    for (;;) {
        host_spend(1000);
    }
}

static s64 new_process(void)
{
    return sys_process_new("child", BUDGET_MEMORY, BUDGET_KERNEL, 0, 0);
}

/* A process with a stack, so that it can make calls. */
static s64 new_process_with_stack(void)
{
    s64 p = new_process(), m = SYS(SYS_MEMORY_CREATE, STACK_BYTES);

    CHECK(p > 0 && m > 0);
    CHECK_EQUAL(sys_map((u64)p, (u64)m, 0, STACK_AT, STACK_BYTES, MAP_READ | MAP_WRITE), 0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)m), 0);
    return p;
}

/* --- ends --- */

static void exits(u64 arg)
{
    SYS(SYS_PROCESS_EXIT, arg);
}

static void reads_nothing(u64 arg)
{
    user_read64(arg);
}

static void writes(u64 arg)
{
    user_write64(arg, 1);
}

static void executes(u64 arg)
{
    user_exec(arg);
}

static void divides(u64 arg)
{
    (void)arg;
    user_exception(0);
}

static void manager_ends(u64 arg)
{
    static const struct {
        user_fn fn;
        u64 arg;
        u32 end;
        s64 status;
    } cases[] = {
        {count,         0,        PROCESS_EXITED, 0 },
        {exits,         0,        PROCESS_EXITED, 0 },
        {exits,         7,        PROCESS_EXITED, 7 },
        {exits,         ~0ull,    PROCESS_EXITED, -1},
        {reads_nothing, 0,        PROCESS_FAULT,  14},
        {reads_nothing, USER_TOP, PROCESS_FAULT,  14},
        {writes,        0x1000,   PROCESS_FAULT,  14},
        {executes,      STACK_AT, PROCESS_FAULT,  14},
        {divides,       0,        PROCESS_FAULT,  0 },
    };
    struct process_info info = {0};

    (void)arg;
    s64 event = SYS(SYS_EVENT_CREATE);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        s64 p = sys_process_new("child", BUDGET_MEMORY, BUDGET_KERNEL, (u64)event, BIT(5));
        s64 m = SYS(SYS_MEMORY_CREATE, STACK_BYTES);
        CHECK_EQUAL(sys_map((u64)p, (u64)m, 0, STACK_AT, STACK_BYTES, MAP_READ | MAP_WRITE), 0);
        s64 t = sys_thread_new((u64)p, cases[i].fn, cases[i].arg, STACK_TOP);
        CHECK(t > 0);
        CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)event, ~0ull >> 1, 0), BIT(5));
        CHECK_EQUAL(sys_info((u64)p, &info), 0);
        CHECK_EQUAL(info.end, cases[i].end);
        CHECK_EQUAL(info.status, cases[i].status);
        CHECK_EQUAL(info.threads, 0);
        /* what it is good for now: nothing */
        CHECK_EQUAL(sys_thread_new((u64)p, count, 0, STACK_TOP), E_DEAD);
        CHECK_EQUAL(sys_map((u64)p, (u64)m, 0, STACK_AT, STACK_BYTES, MAP_READ), E_DEAD);
        CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, (u64)p, STACK_AT, STACK_BYTES), E_DEAD);
        CHECK_EQUAL(SYS(SYS_HANDLE_GRANT, (u64)p, (u64)m, RIGHTS_ALL), E_DEAD);
        CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t, 100, 1), E_DEAD);
        CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)p), 0);
        CHECK_EQUAL(sys_info((u64)p, &info), 0);
        CHECK_EQUAL(info.end, cases[i].end); /* the first end counts */
        user_check_report();
        for (s64 h = p; h <= t; h++) {
            CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)h), 0);
        }
    }
}

MACHINE_TEST(test_ends, manager_ends)

/* --- kill --- */

static void waits(u64 event)
{
    SYS(SYS_EVENT_WAIT, event, 1, 0);
    CHECK(false); /* nobody signals: only its end wakes it */
}

static void manager_kills(u64 arg)
{
    struct process_info info = {0};

    (void)arg;
    for (u32 i = 0; i < 3; i++) {
        s64 p = new_process_with_stack();
        if (i == 0) {
            CHECK(sys_thread_new((u64)p, spin, 0, STACK_TOP) > 0);
        } else {
            s64 e = SYS(SYS_EVENT_CREATE);
            s64 there = SYS(SYS_HANDLE_GRANT, (u64)p, (u64)e, RIGHTS_ALL);
            CHECK(there > 0);
            for (u32 k = 0; k < i * 3; k++) {
                CHECK(sys_thread_new((u64)p, waits, (u64)there, STACK_TOP) > 0);
            }
            CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)e), 0);
        }
        host_spend(3 * HOST_SLICE);
        CHECK_EQUAL(sys_info((u64)p, &info), 0);
        CHECK_EQUAL(info.end, PROCESS_RUNNING);
        CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)p), 0);
        user_wait_end((u64)p, &info);
        CHECK_EQUAL(info.end, PROCESS_KILLED);
        CHECK_EQUAL(info.memory_bytes, 0);
        /* its threads and handles are here still */
    }
    user_check_report();
}

MACHINE_TEST(test_kill, manager_kills)
MACHINE_TEST(test_kill_on_two_cpus, manager_kills, .cpus = 2)

/* A thread that is killed before it ran for the first time must not see ring 3: nothing there would
 * stop it, for no timer runs while it is alone on its CPU. */
static void manager_kills_at_once(u64 arg)
{
    struct process_info info = {0};

    (void)arg;
    ran = 0;
    s64 p = new_process();
    CHECK(sys_thread_new((u64)p, spin, 1, STACK_TOP) > 0);
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)p), 0);
    u64 until = host_now() + 100 * HOST_SLICE;
    do {
        s64 e = SYS(SYS_EVENT_CREATE);
        SYS(SYS_EVENT_WAIT, (u64)e, 1, host_now() + HOST_SLICE);
        SYS(SYS_HANDLE_CLOSE, (u64)e);
        CHECK_EQUAL(sys_info((u64)p, &info), 0);
    } while (info.end == PROCESS_RUNNING && host_now() < until);
    CHECK_EQUAL(info.end, PROCESS_KILLED);
    CHECK_EQUAL(ran, 0);
}

MACHINE_TEST(test_kill_before_the_first_run, manager_kills_at_once)
MACHINE_TEST(test_kill_before_the_first_run_on_two_cpus, manager_kills_at_once, .cpus = 2)

/* --- families --- */

static void parent_of_two(u64 arg)
{
    s64 p = sys_process_new("grandchild", 65536, 65536, 0, 0);

    (void)arg;
    CHECK(p > 0);
    CHECK(sys_thread_new((u64)p, spin, 0, STACK_TOP) > 0);
    CHECK(sys_process_new("empty", 0, 16384, 0, 0) > 0);
    ran++;
    for (;;) {
        host_spend(1000);
    }
}

static void manager_kills_a_family(u64 arg)
{
    struct process_info info = {0};

    (void)arg;
    ran = 0;
    s64 p = new_process_with_stack();
    s64 t = sys_thread_new((u64)p, parent_of_two, 0, STACK_TOP);
    CHECK(t > 0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)t), 0);
    while (!ran) {
        host_spend(1000);
    }
    u32 processes = 0;
    for (const struct process *q = process_list; q; q = q->next) {
        processes++;
    }
    CHECK_EQUAL(processes, 4);
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)p), 0);
    user_wait_end((u64)p, &info);
    host_spend(10 * HOST_SLICE); /* the grandchild's thread ends by itself */
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)p), 0);
    host_spend(10 * HOST_SLICE);
    CHECK(process_list && !process_list->next);
    user_check_report();
}

MACHINE_TEST(test_children_end_with_their_parent, manager_kills_a_family)
MACHINE_TEST(test_children_end_with_their_parent_on_two_cpus, manager_kills_a_family, .cpus = 2)

/* Each process holds the handle of the next one; the end of the first ends all. That must not take
 * stack: 16 KiB is all there is. */
static u64 stack_used_by_chain(u32 length)
{
    s64 last = new_process();

    for (u32 i = 1; i < length; i++) {
        s64 p = sys_process_new("link", 0, 16384, 0, 0);
        CHECK(p > 0);
        CHECK(SYS(SYS_HANDLE_GRANT, (u64)p, (u64)last, RIGHTS_ALL) > 0);
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)last), 0);
        last = p;
    }
    host_lowest_stack();
    u64 here = (u64)__builtin_frame_address(0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)last), 0);
    CHECK(process_list && !process_list->next);
    return here - host_lowest_stack();
}

static void manager_ends_a_chain(u64 arg)
{
    (void)arg;
    u64 few = stack_used_by_chain(3), many = stack_used_by_chain(200);
    if (many > few) {
        host_fail(__FILE__, __LINE__, "200 processes take %llu bytes of stack, 3 take %llu",
                  (unsigned long long)many, (unsigned long long)few);
    }
}

MACHINE_TEST(test_a_chain_of_processes_ends_in_little_stack, manager_ends_a_chain)

/* The last thread that ends takes the page tables down: no other CPU may still have them loaded. */
static void many_threads(u64 arg)
{
    for (u64 i = 0; i < arg; i++) {
        sys_thread_new(0, count, 0, STACK_AT + 0x1000 * (i + 1));
    }
    SYS(SYS_PROCESS_EXIT, 0);
}

static void manager_ends_threads(u64 arg)
{
    struct process_info info = {0};

    (void)arg;
    s64 p = new_process_with_stack();
    CHECK(sys_thread_new((u64)p, many_threads, 3, STACK_TOP) > 0);
    user_wait_end((u64)p, &info);
    user_check_report();
}

static void test_threads_end_together(void **state)
{
    (void)state;
    assert_true(machine_test_races(
        (struct machine_config){.manager = manager_ends_threads, .cpus = 3}, 60));
}

/* --- budgets --- */

static void manager_budgets(u64 arg)
{
    struct process_info mine = {0}, now = {0}, info = {0};

    (void)arg;
    CHECK_EQUAL(sys_info(0, &mine), 0);
    s64 p = new_process();
    CHECK_EQUAL(sys_info(0, &now), 0);
    CHECK_EQUAL(now.memory_bytes, mine.memory_bytes + BUDGET_MEMORY);
    CHECK(now.kernel_bytes > mine.kernel_bytes + BUDGET_KERNEL); /* and its records */

    /* more than there is, of each kind; the other one is given back */
    CHECK_EQUAL(sys_process_new("big", ~0ull, BUDGET_KERNEL, 0, 0), E_NO_MEMORY);
    CHECK_EQUAL(sys_process_new("big", BUDGET_MEMORY, ~0ull, 0, 0), E_NO_MEMORY);
    CHECK_EQUAL(sys_process_new("small", BUDGET_MEMORY, 0, 0, 0), E_NO_MEMORY);
    CHECK_EQUAL(sys_process_new("small", BUDGET_MEMORY, 4095, 0, 0), E_NO_MEMORY);
    CHECK_EQUAL(sys_info(0, &info), 0);
    CHECK_EQUAL(info.memory_bytes, now.memory_bytes);
    CHECK_EQUAL(info.kernel_bytes, now.kernel_bytes);

    /* threads until the child's own budget is used up */
    u32 threads = 0;
    s64 t;
    while ((t = sys_thread_new((u64)p, count, 0, STACK_TOP)) > 0) {
        CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)t), 0);
        threads++;
    }
    CHECK_EQUAL(t, E_NO_MEMORY);
    CHECK(threads > 4 && threads < PROCESS_THREADS);
    CHECK_EQUAL(sys_info((u64)p, &info), 0);
    CHECK(info.kernel_bytes <= BUDGET_KERNEL);
    user_wait_end((u64)p, &info);
    CHECK_EQUAL(info.kernel_bytes, 0);

    /* all comes back with the last handle */
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)p), 0);
    CHECK_EQUAL(sys_info(0, &now), 0);
    CHECK_EQUAL(now.memory_bytes, mine.memory_bytes);
    CHECK_EQUAL(now.kernel_bytes, mine.kernel_bytes);
}

MACHINE_TEST(test_budgets, manager_budgets)

static void manager_many_threads(u64 arg)
{
    struct process_info info = {0};

    (void)arg;
    s64 p = sys_process_new("child", 0, 16ull << 20, 0, 0);
    ran = 0;
    for (u32 i = 0; i < PROCESS_THREADS; i++) {
        CHECK(sys_thread_new((u64)p, count, 0, STACK_TOP) > 0);
    }
    CHECK_EQUAL(sys_thread_new((u64)p, count, 0, STACK_TOP), E_LIMIT);
    CHECK_EQUAL(sys_info((u64)p, &info), 0);
    CHECK_EQUAL(info.threads, PROCESS_THREADS);
    user_wait_end((u64)p, &info);
    CHECK(ran >= 1); /* the first that returned ended the process */
}

MACHINE_TEST(test_thread_limit, manager_many_threads)

/* Threads have the CPUs of their process at most, whoever makes or moves them. */
static void manager_confines(u64 arg)
{
    struct process_args args = {
        .name = "child", .memory_bytes = BUDGET_MEMORY, .kernel_bytes = BUDGET_KERNEL};

    (void)arg;
    args.affinity = BIT(1) | BIT(40); /* one that is not there is no harm */
    s64 p = SYS(SYS_PROCESS_CREATE, user_arg(0, &args, sizeof(args)));
    CHECK(p > 0);
    CHECK_EQUAL(sys_thread_pinned((u64)p, spin, 0, STACK_AT, BIT(0), 0), E_INVAL);
    s64 t = sys_thread_pinned((u64)p, spin, 0, STACK_AT, 0, 0);
    CHECK(t > 0);
    const struct thread *thread =
        CONTAINER_OF(cpu_this()->current->process->handles[t].object, struct thread, object);
    CHECK_EQUAL(thread->affinity, BIT(1) | BIT(40));
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t, 100, BIT(0)), E_INVAL);
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t, 100, BIT(40)), E_INVAL);
    CHECK_EQUAL(SYS(SYS_THREAD_SET, (u64)t, 100, BIT(0) | BIT(1)), 0);
    CHECK_EQUAL(thread->affinity, BIT(1));
    host_spend(3 * HOST_SLICE);
    CHECK_EQUAL(thread->cpu, 1);
    /* of its own it gives the same or fewer */
    struct process *process = thread->process;
    CHECK(!process_affinity(process, BIT(0)) && process_affinity(process, 3) == BIT(1));
    user_close(t);
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)p), 0);
    user_close(p);
}

MACHINE_TEST(test_confinement, manager_confines, .cpus = 2)

/* Every allocation on the way to a running child fails once: an error, and nothing is lost. */
static s64 make_child(void)
{
    s64 e = SYS(SYS_EVENT_CREATE);
    if (e < 0) {
        return e;
    }
    s64 p = sys_process_new("child", BUDGET_MEMORY, BUDGET_KERNEL, (u64)e, 1);
    s64 m = p < 0 ? p : SYS(SYS_MEMORY_CREATE, STACK_BYTES);
    s64 error = m < 0 ? m : sys_map((u64)p, (u64)m, 0, STACK_AT, STACK_BYTES, MAP_READ | MAP_WRITE);
    s64 t = error ? error : sys_thread_new((u64)p, count, 0, STACK_TOP);
    if (p > 0) {
        struct process_info info = {0};
        SYS(SYS_PROCESS_KILL, (u64)p);
        user_wait_end((u64)p, &info);
        SYS(SYS_HANDLE_CLOSE, (u64)p);
    }
    if (m > 0) {
        SYS(SYS_HANDLE_CLOSE, (u64)m);
    }
    if (t > 0) {
        SYS(SYS_HANDLE_CLOSE, (u64)t);
    }
    SYS(SYS_HANDLE_CLOSE, (u64)e);
    return t < 0 ? t : 0;
}

static void manager_without_memory(u64 arg)
{
    struct process_info before = {0}, after = {0};
    u32 errors = 0;

    (void)arg;
    CHECK_EQUAL(sys_info(0, &before), 0);
    u32 first = host_allocations();
    CHECK_EQUAL(make_child(), 0);
    u32 n = host_allocations() - first;
    CHECK(n > 8);
    for (u32 i = 0; i < n; i++) {
        host_fail_after(i);
        s64 result = make_child();
        host_fail_after(~0u);
        CHECK(result == E_NO_MEMORY);
        errors++;
        user_check_report();
        CHECK_EQUAL(sys_info(0, &after), 0);
        CHECK_EQUAL(after.kernel_bytes, before.kernel_bytes);
        CHECK_EQUAL(after.memory_bytes, before.memory_bytes);
    }
    CHECK_EQUAL(errors, n);
}

MACHINE_TEST(test_every_allocation_may_fail, manager_without_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_kill_on_two_cpus),
        cmocka_unit_test(test_kill_before_the_first_run),
        cmocka_unit_test(test_kill_before_the_first_run_on_two_cpus),
        cmocka_unit_test(test_children_end_with_their_parent),
        cmocka_unit_test(test_children_end_with_their_parent_on_two_cpus),
        cmocka_unit_test(test_a_chain_of_processes_ends_in_little_stack),
        cmocka_unit_test(test_threads_end_together),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_thread_limit),
        cmocka_unit_test(test_confinement),
        cmocka_unit_test(test_every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
