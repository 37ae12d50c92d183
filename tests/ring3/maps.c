/* SPDX-License-Identifier: MIT */
/* Memory objects, mappings, handles and rights, used wrongly. */
#include "tests/ring3/ring3.h"

#include "lib/string.h"

static s64 map(handle_t source, u64 offset, u64 vaddr, u64 bytes, u64 flags)
{
    struct map_args args = {0, source, offset, vaddr, bytes, flags};

    return sys_memory_map(&args);
}

#define RW (MAP_READ | MAP_WRITE)

static void arguments(struct child_page *page, handle_t m)
{
    static const struct {
        const char *name;
        u64 offset, vaddr, bytes, flags;
    } bad[] = {
        {"W and X",         0,        CHILD_FREE,         4096,       MAP_READ | MAP_WRITE | MAP_EXEC},
        {"unknown flag",    0,        CHILD_FREE,         4096,       MAP_READ | BIT(3)              },
        {"high flag",       0,        CHILD_FREE,         4096,       MAP_READ | BIT(63)             },
        {"no flag",         0,        CHILD_FREE,         4096,       0                              },
        {"writing only",    0,        CHILD_FREE,         4096,       MAP_WRITE                      },
        {"nothing",         0,        CHILD_FREE,         0,          RW                             },
        {"address, odd",    0,        CHILD_FREE + 1,     4096,       RW                             },
        {"size, odd",       0,        CHILD_FREE,         4095,       RW                             },
        {"offset, odd",     8,        CHILD_FREE,         4096,       RW                             },
        {"behind the end",  3 * 4096, CHILD_FREE,         4096,       RW                             },
        {"over the end",    2 * 4096, CHILD_FREE,         2 * 4096,   RW                             },
        {"offset wraps",    -4096ull, CHILD_FREE,         2 * 4096,   RW                             },
        {"size wraps",      0,        CHILD_FREE,         -4096ull,   RW                             },
        {"huge",            0,        CHILD_FREE,         1ull << 46, RW                             },
        {"at 0",            0,        0,                  4096,       RW                             },
        {"below USER_BASE", 0,        USER_BASE - 4096,   4096,       RW                             },
        {"at USER_TOP",     0,        USER_TOP,           4096,       RW                             },
        {"over USER_TOP",   0,        USER_TOP - 4096,    2 * 4096,   RW                             },
        {"not canonical",   0,        0x0000800000000000, 4096,       RW                             },
        {"in the kernel",   0,        0xffffffff80000000, 4096,       RW                             },
        {"the last page",   0,        0xfffffffffffff000, 4096,       RW                             },
    };

    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        s64 e = map(m, bad[i].offset, bad[i].vaddr, bad[i].bytes, bad[i].flags);
        child_check(page, e == E_INVAL, "mapping, %s: %ld", bad[i].name, e);
    }
    EXPECT(page, map(m, 0, USER_TOP - 4096, 4096, RW), 0);
    *(volatile u64 *)(USER_TOP - 8) = 1;
    EXPECT(page, sys_memory_unmap(0, USER_TOP - 4096, 4096), 0);
    EXPECT(page, map(m, 0, USER_BASE, 4096, RW), 0);
    EXPECT(page, sys_memory_unmap(0, USER_BASE, 4096), 0);
    EXPECT(page, sys_memory_unmap(0, CHILD_FREE, 0), E_INVAL);
    EXPECT(page, sys_memory_unmap(0, CHILD_FREE + 1, 4096), E_INVAL);
    EXPECT(page, sys_memory_unmap(0, CHILD_FREE, -4096ull), E_INVAL);
    EXPECT(page, sys_memory_unmap(0, 0xffffffff80000000ull, 4096), E_INVAL);
    EXPECT(page, sys_memory_unmap(0, CHILD_FREE, 4096), E_NOT_FOUND);
    EXPECT(page, sys_memory_unmap(0, CHILD_FREE, 1ull << 40), E_NOT_FOUND);
}

static void overlaps(struct child_page *page, handle_t m)
{
    u64 at = CHILD_FREE + SIZE_1G;

    EXPECT(page, map(m, 0, at, 3 * PAGE_SIZE, RW), 0);
    EXPECT(page, map(m, 0, at, PAGE_SIZE, RW), E_BUSY);
    EXPECT(page, map(m, 0, at + 2 * PAGE_SIZE, PAGE_SIZE, RW), E_BUSY);
    EXPECT(page, map(m, 0, at - PAGE_SIZE, 2 * PAGE_SIZE, RW), E_BUSY);
    EXPECT(page, map(m, 0, CHILD_PAGE, PAGE_SIZE, RW), E_BUSY);
    EXPECT(page, sys_memory_unmap(0, at, PAGE_SIZE), E_NOT_FOUND);
    EXPECT(page, sys_memory_unmap(0, at + PAGE_SIZE, 2 * PAGE_SIZE), E_NOT_FOUND);
    EXPECT(page, sys_memory_unmap(0, at, 4 * PAGE_SIZE), E_NOT_FOUND);
    *(volatile u64 *)(at + 2 * PAGE_SIZE) = 42;
    /* the same memory once more; closing its handle leaves the mappings */
    EXPECT(page, map(m, PAGE_SIZE, at + 16 * PAGE_SIZE, 2 * PAGE_SIZE, MAP_READ), 0);
    EXPECT(page, *(volatile s64 *)(at + 17 * PAGE_SIZE), 42);
    EXPECT(page, sys_memory_unmap(0, at, 3 * PAGE_SIZE), 0);
    EXPECT(page, sys_memory_unmap(0, at, 3 * PAGE_SIZE), E_NOT_FOUND);
    EXPECT(page, sys_handle_close(m), 0);
    EXPECT(page, *(volatile s64 *)(at + 17 * PAGE_SIZE), 42);
    EXPECT(page, map(m, 0, at, PAGE_SIZE, RW), E_HANDLE);
    /* a call reads from it, and cannot once it is gone */
    EXPECT(page, sys_call(SYS_MEMORY_MAP, at + 16 * PAGE_SIZE + 0x40, 0, 0, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_memory_unmap(0, at + 16 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
    EXPECT(page, sys_call(SYS_MEMORY_MAP, at + 16 * PAGE_SIZE + 0x40, 0, 0, 0, 0, 0), E_FAULT);
}

static void sizes(struct child_page *page)
{
    static const u64 bad[] = {0, 1, 4095, 4097, ~0ull, -4096ull, 1ull << 63, 1ull << 52};
    struct process_info before, after;

    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        s64 e = sys_memory_create(bad[i]);
        child_check(page, e == E_INVAL || e == E_NO_MEMORY, "memory of %lx bytes: %ld", bad[i], e);
    }
    EXPECT(page, sys_process_info(0, &before), 0);
    EXPECT(page, sys_memory_create(2 << 20), E_NO_MEMORY); /* the budget is 1 MiB */
    EXPECT(page, sys_process_info(0, &after), 0);
    child_check(page,
                before.memory_bytes == after.memory_bytes &&
                    before.kernel_bytes == after.kernel_bytes,
                "a failed creation costs %ld and %ld bytes",
                after.memory_bytes - before.memory_bytes, after.kernel_bytes - before.kernel_bytes);
    /* all of the budget, and once more after it was given back */
    for (u32 round = 0; round < 3; round++) {
        s64 all = sys_memory_create((1 << 20) - before.memory_bytes);
        child_check(page, all > 0, "all of the budget, round %u: %ld", round, all);
        EXPECT(page, sys_memory_create(PAGE_SIZE), E_NO_MEMORY);
        EXPECT(page, sys_handle_close((handle_t)all), 0);
    }
    /* fresh memory is zero, also when the frames were somebody's before */
    for (u32 round = 0; round < 4; round++) {
        u64 at = CHILD_FREE + 3 * SIZE_1G, sum = 0;
        s64 m = sys_memory_create(64 * PAGE_SIZE);
        EXPECT(page, map((handle_t)m, 0, at, 64 * PAGE_SIZE, RW), 0);
        for (u64 i = 0; i < 64 * PAGE_SIZE; i += 8) {
            sum |= *(volatile u64 *)(at + i);
        }
        child_check(page, !sum, "fresh memory is zero, round %u", round);
        memset((void *)at, 0xa5, 64 * PAGE_SIZE);
        EXPECT(page, sys_memory_unmap(0, at, 64 * PAGE_SIZE), 0);
        EXPECT(page, sys_handle_close((handle_t)m), 0);
    }
}

void scenario_maps(struct child_page *page)
{
    s64 m = sys_memory_create(3 * PAGE_SIZE);

    if (child_check(page, m > 0, "memory: %ld", m)) {
        arguments(page, (handle_t)m);
        overlaps(page, (handle_t)m);
    }
    sizes(page);
}

void test_maps(void)
{
    child_run(SCENARIO_MAPS, NULL, 5000);
}

/* --- rights --- */

/* The handle h again, with fewer rights. */
static handle_t less(struct child_page *page, handle_t h, u64 rights)
{
    s64 got = sys_handle_grant(0, h, rights);

    child_check(page, got > 0, "granting to itself with rights %lx: %ld", rights, got);
    return (handle_t)got;
}

static handle_t make_process(struct child_page *page)
{
    struct process_args args = {.name = "victim", .memory_bytes = 65536, .kernel_bytes = 65536};
    s64 h = sys_process_create(&args);

    child_check(page, h > 0, "a process: %ld", h);
    return (handle_t)h;
}

void scenario_rights(struct child_page *page)
{
    handle_t memory = (handle_t)sys_memory_create(PAGE_SIZE), event = (handle_t)sys_event_create();
    handle_t process = make_process(page), h;
    struct thread_args t = {.entry = 0x400000, .stack = CHILD_FREE};
    struct process_info info;

    EXPECT(page, sys_handle_grant(0, event, RIGHTS_ALL + 1), E_INVAL);
    EXPECT(page, sys_handle_grant(0, event, BIT(32) | 1), E_INVAL);
    EXPECT(page, sys_handle_grant(0, event, ~0ull), E_INVAL);
    h = less(page, memory, RIGHT_READ | RIGHT_GRANT);
    EXPECT(page, map(h, 0, CHILD_FREE, PAGE_SIZE, RW), E_RIGHTS);
    EXPECT(page, map(h, 0, CHILD_FREE, PAGE_SIZE, MAP_READ | MAP_EXEC), E_RIGHTS);
    EXPECT(page, map(h, 0, CHILD_FREE, PAGE_SIZE, MAP_READ), 0);
    EXPECT(page, sys_memory_unmap(0, CHILD_FREE, PAGE_SIZE), 0);
    h = less(page, h, RIGHTS_ALL); /* what is gone does not come back */
    EXPECT(page, map(h, 0, CHILD_FREE, PAGE_SIZE, RW), E_RIGHTS);
    h = less(page, memory, RIGHT_WRITE);
    EXPECT(page, map(h, 0, CHILD_FREE, PAGE_SIZE, MAP_READ), E_RIGHTS);
    EXPECT(page, sys_handle_grant(0, h, RIGHT_WRITE), E_RIGHTS); /* no GRANT */
    h = less(page, event, RIGHT_READ);
    EXPECT(page, sys_event_signal(h, 1), E_RIGHTS);
    EXPECT(page, sys_event_wait(h, 1, 1), E_TIMEOUT);
    h = less(page, event, RIGHT_WRITE);
    EXPECT(page, sys_event_wait(h, 1, 1), E_RIGHTS);
    EXPECT(page, sys_event_signal(h, 1), 0);
    h = less(page, process, RIGHT_READ | RIGHT_GRANT);
    EXPECT(page, sys_process_kill(h), E_RIGHTS);
    EXPECT(page, sys_thread_create(h, &t), E_RIGHTS);
    EXPECT(page, sys_handle_grant(h, event, RIGHT_READ), E_RIGHTS);
    EXPECT(page, sys_memory_unmap(h, CHILD_FREE, PAGE_SIZE), E_RIGHTS);
    struct map_args into = {h, memory, 0, CHILD_FREE, PAGE_SIZE, MAP_READ};
    EXPECT(page, sys_memory_map(&into), E_RIGHTS);
    EXPECT(page, sys_process_info(h, &info), 0);
    h = less(page, process, RIGHT_CONTROL);
    EXPECT(page, sys_process_info(h, &info), E_RIGHTS);
    /* a process does not get itself */
    EXPECT(page, sys_handle_grant(process, process, RIGHTS_ALL), E_INVAL);
    /* one that was killed takes nothing more */
    EXPECT(page, sys_process_kill(process), 0);
    EXPECT(page, sys_process_kill(process), 0);
    EXPECT(page, sys_thread_create(process, &t), E_DEAD);
    EXPECT(page, sys_handle_grant(process, event, RIGHT_READ), E_DEAD);
    into.process = process;
    EXPECT(page, sys_memory_map(&into), E_DEAD);
    EXPECT(page, sys_memory_unmap(process, CHILD_FREE, PAGE_SIZE), E_DEAD);
    EXPECT(page, sys_process_info(process, &info), 0);
    EXPECT(page, (s64)info.end, PROCESS_KILLED);
    /* a process without threads cannot do anything: it is not running, and its memory is its own */
    process = make_process(page);
    into.process = process;
    into.vaddr = CHILD_FREE;
    EXPECT(page, sys_memory_map(&into), 0);
    EXPECT(page, sys_memory_unmap(0, CHILD_FREE, PAGE_SIZE), E_NOT_FOUND);
    EXPECT(page, sys_memory_unmap(process, CHILD_FREE, PAGE_SIZE), 0);
    EXPECT(page, sys_handle_close(process), 0);
}

void test_rights(void)
{
    child_run(SCENARIO_RIGHTS, NULL, 5000);
}
