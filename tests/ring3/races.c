/* SPDX-License-Identifier: MIT */
/* Threads of one process that get in each other's way; processes that loop. */
#include "tests/ring3/ring3.h"

#define RACE_MS 150

static u64 race_end(const struct child_page *page)
{
    return sys_tsc() + page->tsc_hz / 1000 * RACE_MS;
}

/* --- spinning and sleeping --- */

static void spin_thread(struct child_page *page)
{
    u32 me = __atomic_fetch_add(&page->checks, 1, __ATOMIC_SEQ_CST) % CHILD_COUNTERS;

    for (;;) {
        page->counters[me]++;
    }
}

void scenario_spin(struct child_page *page)
{
    for (u32 i = 1; i < page->args[0]; i++) {
        child_thread(i, spin_thread, page);
    }
    spin_thread(page);
}

void scenario_sleep(struct child_page *page)
{
    page->counters[0] = 1;
    child_sleep();
}

void test_loops(void)
{
    static const struct {
        u32 scenario;
        u64 threads;
    } list[] = {
        {SCENARIO_SPIN,  1},
        {SCENARIO_SPIN,  4},
        {SCENARIO_SLEEP, 0}
    };

    for (u32 i = 0; i < ARRAY_SIZE(list); i++) {
        struct child_options o = {.args = {list[i].threads}};
        struct process_info info = {0};
        struct child c;

        if (!child_make(&c, list[i].scenario, &o)) {
            return;
        }
        if (child_start(&c, &o)) {
            s64 e = 0;
            for (u32 n = 0; n < 100; n++) { /* it starts soon, on a busy machine later */
                sleep_ms(10);
                e = sys_process_info(c.process, &info);
                if (c.page->counters[0] && info.threads == MAX(list[i].threads, 1)) {
                    break;
                }
            }
            check(c.page->counters[0] > 0, "%s runs", scenarios[list[i].scenario].name);
            check(e == 0 && info.end == PROCESS_RUNNING && info.threads == MAX(list[i].threads, 1),
                  "%s of %lu: %ld, end %u, %u threads", scenarios[list[i].scenario].name,
                  list[i].threads, e, info.end, info.threads);
            check(sys_process_kill(c.process) == 0, "killing it");
            check(child_wait(&c, 2000, &info), "it ends");
            check(info.end == PROCESS_KILLED && info.threads == 0, "end %u, %u threads", info.end,
                  info.threads);
        }
        child_close(&c);
    }
}

/* --- mapping --- */

#define RACE_AREA  (CHILD_FREE + 8 * SIZE_1G)
#define RACE_WORDS 1024

/* Maps and unmaps the same places as the others; which of them succeed is chance, the codes are
 * not. */
static void map_some(struct child_page *page, u32 me, u64 *seed)
{
    u64 at = RACE_AREA + (random_next(seed) % 8) * SIZE_2M,
        bytes = (1 + random_next(seed) % 3) * PAGE_SIZE;
    struct map_args args = {0, page->handles[7], 0, at, bytes, MAP_READ | MAP_WRITE};
    s64 e;

    if (random_next(seed) & 1) {
        e = sys_memory_map(&args);
        child_check(page, e == 0 || e == E_BUSY, "thread %u: map: %ld", me, e);
    } else {
        e = sys_memory_unmap(0, at, bytes);
        child_check(page, e == 0 || e == E_NOT_FOUND, "thread %u: unmap: %ld", me, e);
    }
    /* the kernel reads through mappings that others take away meanwhile */
    e = sys_call(SYS_MEMORY_MAP, at + 256, 0, 0, 0, 0, 0); /* zeros: no handle */
    child_check(page, e == E_FAULT || e == E_HANDLE, "thread %u: a call that reads: %ld", me, e);
    e = sys_call(SYS_PROCESS_INFO, 0, at + 8, 0, 0, 0, 0);
    child_check(page, e == E_FAULT || e == 0, "thread %u: a call that writes: %ld", me, e);
    page->counters[me]++;
}

static void race_map(struct child_page *page)
{
    u32 me = __atomic_fetch_add(&page->go, 1, __ATOMIC_SEQ_CST);
    u64 seed = me * 77777 + 1, end = race_end(page);

    while (sys_tsc() < end) {
        map_some(page, me % CHILD_COUNTERS, &seed);
        /* and a mapping of its own, that must always work */
        struct map_args own = {0,         page->handles[7],    0, RACE_AREA + (100 + me) * SIZE_2M,
                               PAGE_SIZE, MAP_READ | MAP_WRITE};
        s64 e = sys_memory_map(&own);
        child_check(page, e == 0, "thread %u: its own map: %ld", me, e);
        if (!e) {
            /* behind what calls of other threads read and write in the same page */
            volatile u64 *word = (volatile u64 *)(own.vaddr + RACE_WORDS + 8 * me);
            *word = me;
            child_check(page, *word == me, "thread %u: its word", me);
            e = sys_memory_unmap(0, own.vaddr, PAGE_SIZE);
            child_check(page, e == 0, "thread %u: its own unmap: %ld", me, e);
        }
    }
    __atomic_fetch_add(&page->counters[7], 1, __ATOMIC_SEQ_CST);
}

static void race_map_thread(struct child_page *page)
{
    race_map(page);
    child_sleep();
}

void scenario_race_map(struct child_page *page)
{
    page->handles[7] = (handle_t)sys_memory_create(3 * PAGE_SIZE);
    for (u32 i = 1; i < CHILD_THREADS; i++) {
        s64 h = child_thread(i, race_map_thread, page);
        child_check(page, h > 0, "thread %u: %ld", i, h);
    }
    race_map(page);
    while (page->counters[7] < CHILD_THREADS) {
        sys_event_wait((handle_t)sys_event_create(), 1, sys_tsc() + page->tsc_hz / 1000);
    }
}

/* --- waking --- */

#define ROUNDS 2000

static void pong_thread(struct child_page *page)
{
    for (u64 i = 0; i < ROUNDS; i++) {
        s64 got = sys_event_wait(page->handles[6], 1, 0);
        child_check(page, got == 1, "pong %lu: %ld", i, got);
        page->counters[1]++;
        sys_event_signal(page->handles[7], 2);
    }
    child_sleep();
}

static void signal_thread(struct child_page *page)
{
    for (u64 i = 0;; i++) {
        sys_event_signal(page->handles[5], BIT(i % 62));
    }
}

static void wait_thread(struct child_page *page)
{
    for (;;) {
        s64 got = sys_event_wait(page->handles[5], FIELD(61, 0), sys_tsc() + page->tsc_hz / 20000);
        bool closed = got == E_HANDLE && __atomic_load_n(&page->counters[3], __ATOMIC_SEQ_CST);
        child_check(page, got > 0 || got == E_TIMEOUT || closed, "a wait among many: %ld", got);
        __atomic_fetch_add(&page->counters[2], 1, __ATOMIC_SEQ_CST);
    }
}

void scenario_pingpong(struct child_page *page)
{
    for (u32 i = 5; i < 8; i++) {
        page->handles[i] = (handle_t)sys_event_create();
    }
    child_thread(1, pong_thread, page);
    for (u64 i = 0; i < ROUNDS; i++) {
        sys_event_signal(page->handles[6], 1);
        s64 got = sys_event_wait(page->handles[7], 2, sys_tsc() + 5 * page->tsc_hz);
        if (!child_check(page, got == 2 && page->counters[1] == i + 1, "ping %lu: %ld, %lu pongs",
                         i, got, page->counters[1])) {
            return;
        }
    }
    child_thread(2, signal_thread, page);
    child_thread(3, wait_thread, page);
    u64 end = race_end(page);
    while (sys_tsc() < end) {
        s64 got = sys_event_wait(page->handles[5], FIELD(61, 31), sys_tsc() + page->tsc_hz / 20000);
        child_check(page, got > 0 || got == E_TIMEOUT, "a wait: %ld", got);
    }
    child_check(page, page->counters[2] > 0, "the other one waited too");
    /* eight may wait; closing the event while they do is no harm */
    __atomic_store_n(&page->counters[3], 1, __ATOMIC_SEQ_CST);
    EXPECT(page, sys_handle_close(page->handles[5]), 0);
}

void test_races(void)
{
    struct child_options o = {.memory_bytes = 1 << 20, .kernel_bytes = 1 << 20};

    child_run(SCENARIO_RACE_MAP, &o, 10000);
    child_run(SCENARIO_PINGPONG, &o, 20000);
}
