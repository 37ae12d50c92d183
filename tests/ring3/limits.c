/* SPDX-License-Identifier: MIT */
/* Processes that take all they can get: every want ends in an error code, and everything comes
 * back. */
#include "tests/ring3/ring3.h"

#include "lib/string.h"

enum {
    BOMB_HANDLES,
    BOMB_EVENTS,
    BOMB_MEMORY,
    BOMB_MAPPINGS,
    BOMB_THREADS,
    BOMB_PROCESSES,
    BOMB_TABLES,
    BOMB_COUNT
};

static const char *const names[BOMB_COUNT] = {"handles", "events",    "memory",     "mappings",
                                              "threads", "processes", "page tables"};

static bool is_limit(s64 e)
{
    return e == E_NO_MEMORY || e == E_LIMIT;
}

static s64 make_process(u64 kernel_bytes)
{
    struct process_args args = {
        .name = "bomblet", .memory_bytes = 4 * PAGE_SIZE, .kernel_bytes = kernel_bytes};

    return sys_process_create(&args);
}

static s64 take_handle(struct child_page *page, u64 n)
{
    return n ? sys_handle_grant(0, page->handles[0], RIGHTS_ALL) : sys_event_create();
}

static s64 take_mapping(struct child_page *page, u64 n)
{
    struct map_args args = {0,         page->handles[1], 0, CHILD_FREE + n * 2 * PAGE_SIZE,
                            PAGE_SIZE, MAP_READ};

    return sys_memory_map(&args) ?: 1;
}

/* Each mapping needs page tables of its own, at every level. */
static s64 take_table(struct child_page *page, u64 n)
{
    struct map_args args = {0,         page->handles[1], 0, CHILD_FREE + n * 512 * SIZE_1G,
                            PAGE_SIZE, MAP_READ};

    return sys_memory_map(&args) ?: 1;
}

static void sleeper(struct child_page *page)
{
    __atomic_fetch_add(&page->counters[3], 1, __ATOMIC_SEQ_CST);
    for (;;) {
        sys_event_wait(page->handles[2], BIT(5),
                       0); /* eight may wait there, the others get an error */
        sys_event_wait(page->handles[2], BIT(5), sys_tsc() + page->tsc_hz / 100);
    }
}

/* All threads share one stack: they use none that matters. */
static s64 take_thread(struct child_page *page)
{
    struct thread_args args = {
        (u64)sleeper, CHILD_STACK + 2 * CHILD_STACK_STEP - 8, (u64)page, 0, 0, 0};

    return sys_thread_create(0, &args);
}

static s64 take_process(u64 n)
{
    s64 h = make_process(24 << 10);
    struct thread_args args = {USER_BASE, CHILD_FREE, 0, 0, 0, 0}; /* faults at once */

    if (h > 0 && n % 16 == 0) {
        sys_thread_create((handle_t)h, &args);
    }
    return h;
}

static s64 take(struct child_page *page, u64 n)
{
    s64 h;

    switch (page->args[0]) {
    case BOMB_HANDLES:
        h = take_handle(page, n);
        page->handles[0] = n ? page->handles[0] : (handle_t)h;
        return h;
    case BOMB_EVENTS:
        return sys_event_create();
    case BOMB_MEMORY:
        return sys_memory_create(PAGE_SIZE << (n % 3));
    case BOMB_MAPPINGS:
        return take_mapping(page, n);
    case BOMB_TABLES:
        return take_table(page, n);
    case BOMB_THREADS:
        return take_thread(page);
    default:
        return take_process(n);
    }
}

void scenario_bomb(struct child_page *page)
{
    s64 e = 1;
    u64 n = 0;

    page->handles[1] = (handle_t)sys_memory_create(PAGE_SIZE);
    page->handles[2] = (handle_t)sys_event_create();
    while (n < 5000 && (e = take(page, n)) > 0) {
        n++;
    }
    page->counters[0] = n;
    child_check(page, is_limit(e), "%s: %lu, then %ld", names[page->args[0]], n, e);
    child_check(page, n > 2, "%s: only %lu", names[page->args[0]], n);
    for (u32 again = 0; again < 5; again++) { /* and it stays so */
        e = take(page, n + again);
        child_check(page, is_limit(e) || e > 0, "%s again: %ld", names[page->args[0]], e);
    }
    if (page->args[1]) {
        child_sleep(); /* its parent ends it */
    }
}

void test_bombs(void)
{
    for (u64 what = 0; what < 2 * BOMB_COUNT; what++) {
        struct child_options o = {
            .memory_bytes = 2 << 20,
            .kernel_bytes = 1 << 20,
            .args = {what % BOMB_COUNT, what / BOMB_COUNT}
        };
        struct process_info info;
        struct child c;
        u64 ms = 0;

        if (!child_make(&c, SCENARIO_BOMB, &o)) {
            return;
        }
        if (!child_start(&c, &o)) {
            child_close(&c);
            return;
        }
        if (o.args[1]) { /* in the middle of its life */
            while (!c.page->counters[0] && ms++ < 300) {
                sleep_ms(10);
            }
            sleep_ms(10);
            check(sys_process_kill(c.process) == 0, "killing a bomb of %s", names[o.args[0]]);
        }
        check(child_wait(&c, 8000, &info), "a bomb of %s ends", names[o.args[0]]);
        check((o.args[1] && info.end == PROCESS_KILLED) ||
                  (info.end == PROCESS_EXITED && info.status == 0),
              "a bomb of %s: end %u, status %ld at %lx: %.*s", names[o.args[0]], info.end,
              info.status, info.address, (int)MIN(c.page->text_used, 120u), c.page->text);
        if (!o.args[1]) {
            say("  %lu %s", c.page->counters[0], names[o.args[0]]);
        }
        child_close(&c);
    }
}

/* A process takes its children with it, and theirs; the budgets come back level by level. */
void test_family(void)
{
    struct memory_left before = memory_left();
    handle_t chain[4];
    u32 made = 0;

    for (u32 i = 0; i < 4; i++) {
        struct child_options o = {.kernel_bytes = 512 << 10};
        struct child c;

        if (!child_make(&c, SCENARIO_BOMB, &o)) {
            return;
        }
        c.page->args[0] = BOMB_PROCESSES;
        c.page->args[1] = 1; /* sleeps among its children */
        if (child_start(&c, &o)) {
            u32 ms = 0;

            while (!c.page->counters[0] && ms++ < 300) {
                sleep_ms(10);
            }
            check(c.page->counters[0] > 0, "a family");
            struct process_info info;
            sys_process_kill(c.process);
            check(child_wait(&c, 5000, &info), "a family ends");
        }
        child_close(&c);
    }
    /* processes that never had a thread: closing the last handle ends them */
    for (; made < ARRAY_SIZE(chain); made++) {
        s64 h = make_process(64 << 10);

        if (!check(h > 0, "a process: %ld", h)) {
            break;
        }
        chain[made] = (handle_t)h;
    }
    while (made) {
        check(sys_handle_close(chain[--made]) == 0, "closing it");
    }
    struct memory_left after = memory_left();
    check(after.kernel == before.kernel || after.kernel + (1 << 20) > before.kernel,
          "kernel memory %lu, %lu", before.kernel, after.kernel);
}
