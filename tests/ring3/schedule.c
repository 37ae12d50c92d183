/* SPDX-License-Identifier: MIT */
/* The scheduler, as ring 3 sees it: shares by weight, pinning, work for every CPU, deadlines. */
#include "tests/ring3/ring3.h"

#define MAX_SPINNERS 24

static struct child spinners[MAX_SPINNERS];

static u32 cpu_count(void)
{
    struct system_summary s = {0};

    sys_system_info(start->base.system, SYSTEM_SUMMARY, 0, &s, sizeof(s));
    return s.cpus;
}

static bool start_spinner(u32 i, u32 weight, u64 affinity)
{
    struct child_options o = {.weight = weight, .affinity = affinity, .args = {1}};

    if (!child_make(&spinners[i], SCENARIO_SPIN, &o)) {
        return false;
    }
    if (!child_start(&spinners[i], &o)) {
        child_close(&spinners[i]);
        return false;
    }
    return true;
}

static void stop_spinners(u32 count)
{
    struct process_info info;

    for (u32 i = 0; i < count; i++) {
        sys_process_kill(spinners[i].process);
    }
    for (u32 i = 0; i < count; i++) {
        check(child_wait(&spinners[i], 2000, &info), "spinner %u ends", i);
        child_close(&spinners[i]);
    }
}

static u64 run_tsc(u32 i)
{
    struct process_info info = {0};

    check(sys_process_info(spinners[i].process, &info) == 0, "information about spinner %u", i);
    return info.run_tsc;
}

static const u32 weights[] = {100, 200, 400};

/* One measurement: parts of 1000 that each of the three got. */
static bool measure_shares(u64 *permille)
{
    u64 before[3], got[3], sum = 0;

    for (u32 i = 0; i < 3; i++) {
        before[i] = run_tsc(i);
    }
    sleep_ms(700);
    for (u32 i = 0; i < 3; i++) {
        got[i] = run_tsc(i) - before[i];
        sum += got[i];
    }
    bool right = check(sum > 0, "they run");
    for (u32 i = 0; i < 3 && sum; i++) {
        u64 want = weights[i] * 1000 / 700;

        permille[i] = got[i] * 1000 / sum;
        right = right && permille[i] + 30 >= want && permille[i] <= want + 30;
    }
    return right;
}

void test_shares(void)
{
    u64 permille[3] = {0};
    bool right = false;
    u32 count = 0;

    while (count < 3 && start_spinner(count, weights[count], 1)) {
        count++;
    }
    for (u32 i = 0; i < 6 && count == 3 && !right; i++) { /* others may run now and then */
        sleep_ms(50);
        right = measure_shares(permille);
    }
    CHECK_TIME(right, "shares of weights 100, 200 and 400");
    say("  weights 100, 200, 400 got %lu, %lu, %lu of 1000", permille[0], permille[1], permille[2]);
    stop_spinners(count);
}

/* The time that a CPU spent outside idle, in ticks. */
static u64 idle(u32 cpu)
{
    struct system_cpu c = {0};

    check(sys_system_info(start->base.system, SYSTEM_CPU, cpu, &c, sizeof(c)) == (s64)sizeof(c),
          "information about CPU %u", cpu);
    return c.idle_tsc;
}

/* Two threads pinned to one CPU share it, and the other CPUs are not busy with them. */
void test_pinning(void)
{
    u32 cpus = cpu_count(), last = cpus - 1, count = 0;
    u64 before[2];

    while (count < 2 && start_spinner(count, 100, BIT(last))) {
        count++;
    }
    if (count == 2) {
        sleep_ms(30);
        before[0] = run_tsc(0);
        before[1] = run_tsc(1);
        u64 idle_before = idle(0), t = sys_tsc();
        sleep_ms(300);
        t = sys_tsc() - t;
        u64 a = run_tsc(0) - before[0], b = run_tsc(1) - before[1], rested = idle(0) - idle_before;
        CHECK_TIME(a + b <= t + t / 4, "two on one CPU ran %lu%% of the time", (a + b) * 100 / t);
        CHECK_TIME(a + b >= t / 2, "two on one CPU ran only %lu%% of the time", (a + b) * 100 / t);
        CHECK_TIME(a * 10 >= b * 8 && b * 10 >= a * 8, "equal ones ran %lu and %lu", a, b);
        if (cpus > 1) {
            CHECK_TIME(rested >= t / 2, "CPU 0 rested %lu%% of the time", rested * 100 / t);
        }
        check(sys_thread_set(0, 100, 1) == E_HANDLE, "no thread, no setting");
    }
    stop_spinners(count);
}

/* More threads than CPUs: all go on, and no CPU idles. */
void test_stealing(void)
{
    u32 cpus = MIN(cpu_count(), 8), want = 2 * cpus + 1, count = 0;
    u64 before[MAX_SPINNERS], rested[8], t;

    while (count < want && start_spinner(count, 100, 0)) {
        count++;
    }
    if (count == want) {
        sleep_ms(50);
        for (u32 i = 0; i < count; i++) {
            before[i] = run_tsc(i);
        }
        for (u32 i = 0; i < cpus; i++) {
            rested[i] = idle(i);
        }
        t = sys_tsc();
        sleep_ms(400);
        t = sys_tsc() - t;
        for (u32 i = 0; i < cpus; i++) {
            rested[i] = idle(i) - rested[i];
            CHECK_TIME(rested[i] < t / 10, "CPU %u idled %lu%% with work for all", i,
                       rested[i] * 100 / t);
        }
        for (u32 i = 0; i < count; i++) {
            u64 ran = run_tsc(i) - before[i], fair = t * cpus / count + 1;

            CHECK_TIME(ran > fair / 3, "spinner %u ran %lu%% of its fair share", i,
                       ran * 100 / fair);
        }
    }
    stop_spinners(count);
}

/* --- a process that is confined to the first CPU, and its child --- */

static void confined_thread(struct child_page *page)
{
    for (;;) {
        page->counters[1]++;
    }
}

void scenario_confined(struct child_page *page)
{
    u64 others = (BIT(page->args[0]) - 1) & ~1ull;
    struct process_args args = {
        .name = "smaller", .memory_bytes = 0, .kernel_bytes = 64 << 10, .affinity = others};
    struct thread_args thread = {.entry = 0x10000, .stack = 0x20000, .affinity = others};
    s64 h = child_thread(1, confined_thread, page);

    child_check(page, h > 0, "a thread for any CPU: %ld", h);
    EXPECT(page, sys_thread_set((handle_t)h, 100, 1 | others), 0); /* as far as it may */
    if (others) {
        EXPECT(page, sys_thread_set((handle_t)h, 100, others), E_INVAL);
        EXPECT(page, sys_thread_create(0, &thread), E_INVAL);
        EXPECT(page, sys_process_create(&args), E_INVAL);
    }
    args.affinity = 0;
    h = sys_process_create(&args);
    child_check(page, h > 0, "a child: %ld", h);
    if (others) {
        EXPECT(page, sys_thread_create((handle_t)h, &thread), E_INVAL);
    }
    page->counters[0] = 1;
    confined_thread(page);
}

/* Whatever it asks for, the other CPUs have nothing to do with it. */
void test_confinement(void)
{
    u32 cpus = cpu_count(), other = cpus - 1;
    struct child_options o = {.confine = BIT(0), .args = {cpus}};
    struct process_info info = {0};
    struct child c;

    if (!child_make(&c, SCENARIO_CONFINED, &o)) {
        return;
    }
    if (child_start(&c, &o)) {
        for (u32 n = 0; n < 100 && !c.page->counters[0]; n++) {
            sleep_ms(10);
        }
        u64 before = idle(other), t = sys_tsc(), ran = c.page->counters[1];
        sleep_ms(200);
        t = sys_tsc() - t;
        check(c.page->counters[0] && c.page->counters[1] > ran, "both threads run");
        if (cpus > 1) {
            u64 rested = idle(other) - before;
            CHECK_TIME(rested >= t / 2, "CPU %u rested %lu%% of the time", other, rested * 100 / t);
        }
        sys_process_kill(c.process);
        check(child_wait(&c, 2000, &info), "it ends");
        check(!c.page->failures, "%.*s", (int)MIN(c.page->text_used, 150), c.page->text);
    }
    child_close(&c);
}

/* --- deadlines --- */

void scenario_timer(struct child_page *page)
{
    handle_t event = (handle_t)sys_event_create();
    u64 us = page->tsc_hz / 1000000, worst = 0;

    for (u64 n = 1; n <= 40; n++) {
        u64 wait = us * 50 * n, begin = sys_tsc();
        s64 got = sys_event_wait(event, 1, begin + wait);
        u64 end = sys_tsc();

        child_check(page, got == E_TIMEOUT, "deadline %lu: %ld", n, got);
        child_check(page, end >= begin + wait, "deadline %lu: %lu ticks too early", n,
                    begin + wait - end);
        worst = MAX(worst, end - begin - wait);
    }
    page->counters[0] = worst;
    child_check(page, !steady() || worst < page->tsc_hz / 20, "a deadline was %lu us late",
                worst / us);
    for (u64 past = 1; past < 64; past++) { /* long ago: only a look */
        EXPECT(page, sys_event_wait(event, 1, past), E_TIMEOUT);
    }
    sys_event_signal(event, 1);
    EXPECT(page, sys_event_wait(event, 1, 1), 1);
    sys_event_signal(event, 1); /* what is there already is taken whatever the deadline */
    EXPECT(page, sys_event_wait(event, 3, ~0ull), 1);
    sys_event_signal(event, 4);
    EXPECT(page, sys_event_wait(event, 4, ~0ull - 1), 4);
}

void test_timer(void)
{
    child_run(SCENARIO_TIMER, NULL, 10000);
}
