/* SPDX-License-Identifier: MIT */
/* Memory objects, mappings and windows of guest memory; handles and their rights. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/aspace.h"
#include "kernel/frame.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "lib/pagetable.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define AT        0x50000000ull
#define STACK_AT  0x40000000ull
#define STACK_TOP (STACK_AT + 0x4000)
#define BUDGET    (1ull << 20)

/* --- memory objects --- */

static void manager_memory(u64 arg)
{
    struct process_info before = {0}, info = {0};

    (void)arg;
    CHECK_EQUAL(sys_info(0, &before), 0);
    u64 frames = frame_free_bytes();
    s64 m = SYS(SYS_MEMORY_CREATE, 3 * PAGE_SIZE);
    CHECK_EQUAL(frame_free_bytes(), frames - 3 * PAGE_SIZE);
    CHECK_EQUAL(sys_info(0, &info), 0);
    CHECK_EQUAL(info.memory_bytes, before.memory_bytes + 3 * PAGE_SIZE);

    /* zeroed, and the same memory wherever it is mapped */
    CHECK_EQUAL(sys_map(0, (u64)m, 0, AT, 3 * PAGE_SIZE, MAP_READ | MAP_WRITE), 0);
    CHECK_EQUAL(sys_map(0, (u64)m, PAGE_SIZE, AT + 0x10000, PAGE_SIZE, MAP_READ), 0);
    for (u64 at = 0; at < 3 * PAGE_SIZE; at += 8) {
        CHECK_EQUAL(user_read64(AT + at), 0);
        user_write64(AT + at, at);
    }
    CHECK_EQUAL(user_read64(AT + 0x10000 + 8), PAGE_SIZE + 8);
    CHECK(!user_can(AT + 0x10000, PT_WRITE) && !user_can(AT + 0x10000, PT_EXEC));
    CHECK(user_can(AT, PT_WRITE) && !user_can(AT, PT_EXEC) && !user_can(AT - 1, PT_READ));
    CHECK(!user_can(AT + 3 * PAGE_SIZE, PT_READ));
    user_check_report();

    /* the handle may go before the mappings, which end one by one */
    user_close(m);
    CHECK_EQUAL(frame_free_bytes(), frames - 3 * PAGE_SIZE);
    u32 shootdowns = host_shootdowns();
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT, 3 * PAGE_SIZE), 0);
    CHECK(host_shootdowns() > shootdowns);
    CHECK(!user_can(AT, PT_READ) && user_can(AT + 0x10000, PT_READ));
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT, 3 * PAGE_SIZE), E_NOT_FOUND);
    CHECK_EQUAL(frame_free_bytes(), frames - 3 * PAGE_SIZE);
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT + 0x10000, PAGE_SIZE), 0);
    CHECK_EQUAL(frame_free_bytes(), frames);
    CHECK_EQUAL(sys_info(0, &info), 0);
    CHECK_EQUAL(info.memory_bytes, before.memory_bytes);
    CHECK_EQUAL(info.kernel_bytes, before.kernel_bytes);
    user_check_report();

    /* what another one wrote is gone when the frame comes again */
    m = SYS(SYS_MEMORY_CREATE, 16 * PAGE_SIZE);
    CHECK_EQUAL(sys_map(0, (u64)m, 0, AT, 16 * PAGE_SIZE, MAP_READ), 0);
    for (u64 at = 0; at < 16 * PAGE_SIZE; at += 8) {
        CHECK_EQUAL(user_read64(AT + at), 0);
    }
}

MACHINE_TEST(test_memory, manager_memory)

/* Ranges may touch but not overlap; unmapping takes exactly what was mapped. */
static void manager_overlaps(u64 arg)
{
    static const struct {
        u64 first, pages;
        bool ok;
    } rows[] = {
        {10, 2,   false},
        {9,  1,   true },
        {8,  2,   false},
        {8,  1,   true },
        {11, 1,   false},
        {12, 1,   true },
        {13, 4,   false},
        {14, 2,   true },
        {0,  100, false},
        {7,  20,  false},
        {0,  8,   true },
        {16, 84,  true },
        {13, 1,   true },
    };
    bool used[200] = {[10] = true, [11] = true, [13] = false};

    (void)arg;
    s64 m = SYS(SYS_MEMORY_CREATE, 100 * PAGE_SIZE);
    CHECK_EQUAL(sys_map(0, (u64)m, 0, AT + 10 * PAGE_SIZE, 2 * PAGE_SIZE, MAP_READ), 0);
    used[10] = used[11] = true;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        bool fits = true;
        for (u64 k = 0; k < rows[i].pages; k++) {
            fits &= !used[rows[i].first + k];
        }
        s64 error = sys_map(0, (u64)m, 0, AT + rows[i].first * PAGE_SIZE, rows[i].pages * PAGE_SIZE,
                            MAP_READ);
        CHECK_EQUAL(error, fits ? E_OK : E_BUSY);
        for (u64 k = 0; fits && k < rows[i].pages; k++) {
            used[rows[i].first + k] = true;
        }
        for (u64 k = 0; k < 110; k++) {
            CHECK_EQUAL(user_can(AT + k * PAGE_SIZE, PT_READ), used[k]);
        }
    }
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT + 10 * PAGE_SIZE, PAGE_SIZE), E_NOT_FOUND);
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT + 11 * PAGE_SIZE, PAGE_SIZE), E_NOT_FOUND);
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT + 9 * PAGE_SIZE, 3 * PAGE_SIZE), E_NOT_FOUND);
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT + 10 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
    CHECK(!user_can(AT + 10 * PAGE_SIZE, PT_READ) && !user_can(AT + 11 * PAGE_SIZE, PT_READ));
    CHECK(user_can(AT + 9 * PAGE_SIZE, PT_READ) && user_can(AT + 12 * PAGE_SIZE, PT_READ));
    user_check_report();
}

MACHINE_TEST(test_overlaps, manager_overlaps)

/* As many ranges as a process may have, at both ends of its addresses; then none is left. */
static void manager_many_ranges(u64 arg)
{
    struct process_info before = {0}, after = {0};
    u64 n = 0;

    (void)arg;
    CHECK_EQUAL(sys_info(0, &before), 0);
    s64 m = SYS(SYS_MEMORY_CREATE, PAGE_SIZE), error;
    u64 where[FIRST_REGIONS + 1];
    for (;; n++) {
        CHECK(n <= FIRST_REGIONS);
        where[n] = n & 1 ? USER_BASE + n * SIZE_2M : USER_TOP - (n + 2) * SIZE_1G;
        error = sys_map(0, (u64)m, 0, where[n], PAGE_SIZE, MAP_READ | MAP_WRITE);
        if (error) {
            break;
        }
        user_write64(where[n], n);
    }
    CHECK_EQUAL(error, E_LIMIT);
    CHECK_EQUAL(n, FIRST_REGIONS - 1); /* the stack is one */
    /* a slot that is free again is used again */
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, where[5], PAGE_SIZE), 0);
    CHECK_EQUAL(sys_map(0, (u64)m, 0, where[n], PAGE_SIZE, MAP_READ), 0);
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, where[n], PAGE_SIZE), 0);
    for (u64 i = 0; i < n; i++) {
        CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, where[i], PAGE_SIZE), i == 5 ? E_NOT_FOUND : 0);
    }
    user_close(m);
    CHECK_EQUAL(sys_info(0, &after), 0);
    CHECK_EQUAL(after.kernel_bytes, before.kernel_bytes); /* tables too */
}

MACHINE_TEST(test_many_ranges, manager_many_ranges)

/* Each right of a memory handle, and each way to map. */
static void manager_rights(u64 arg)
{
    (void)arg;
    s64 m = SYS(SYS_MEMORY_CREATE, PAGE_SIZE);
    for (u64 rights = 0; rights <= RIGHTS_ALL; rights++) {
        s64 h = SYS(SYS_HANDLE_GRANT, 0, (u64)m, rights);
        CHECK(h > 0);
        for (u64 flags = 0; flags < 8; flags++) {
            u64 need = (flags & MAP_WRITE ? RIGHT_WRITE : 0) | (flags & MAP_EXEC ? RIGHT_EXEC : 0) |
                       RIGHT_READ;
            bool valid = flags & MAP_READ && (flags & 6) != 6;
            s64 error = sys_map(0, (u64)h, 0, AT, PAGE_SIZE, flags);
            if (!valid) {
                CHECK(error == E_INVAL || error == E_RIGHTS);
            } else {
                CHECK_EQUAL(error, (rights & need) == need ? E_OK : E_RIGHTS);
            }
            if (!error) {
                CHECK_EQUAL(user_can(AT, PT_WRITE), (flags & MAP_WRITE) != 0);
                CHECK_EQUAL(user_can(AT, PT_EXEC), (flags & MAP_EXEC) != 0);
                CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT, PAGE_SIZE), 0);
            }
        }
        user_close(h);
    }
}

MACHINE_TEST(test_rights_of_mappings, manager_rights)

/* Rights only shrink on their way, and only what may be granted goes on. */
static void manager_grants(u64 arg)
{
    const struct process *me = cpu_this()->current->process;

    (void)arg;
    s64 e = SYS(SYS_EVENT_CREATE);
    for (u64 a = 0; a <= RIGHTS_ALL; a++) {
        s64 h = SYS(SYS_HANDLE_GRANT, 0, (u64)e, a);
        CHECK_EQUAL(me->handles[h].rights, a);
        for (u64 b = 0; b <= RIGHTS_ALL; b += 3) {
            s64 k = SYS(SYS_HANDLE_GRANT, 0, (u64)h, b);
            if (!(a & RIGHT_GRANT)) {
                CHECK_EQUAL(k, E_RIGHTS);
                continue;
            }
            CHECK_EQUAL(me->handles[k].rights, a & b);
            user_close(k);
        }
        user_close(h);
    }
    /* a full table: an error, and nothing is lost */
    s64 last = 0, h;
    while ((h = SYS(SYS_HANDLE_GRANT, 0, (u64)e, RIGHTS_ALL)) > 0) {
        last = h;
    }
    CHECK_EQUAL(h, E_LIMIT);
    CHECK_EQUAL(last, FIRST_HANDLES - 1);
    u64 frames = frame_free_bytes();
    CHECK_EQUAL(SYS(SYS_MEMORY_CREATE, PAGE_SIZE), E_LIMIT);
    CHECK_EQUAL(SYS(SYS_EVENT_CREATE), E_LIMIT);
    CHECK_EQUAL(sys_process_new("child", 0, BUDGET, 0, 0), E_LIMIT);
    CHECK_EQUAL(sys_vm_new("guest", 1, 0), E_LIMIT);
    CHECK_EQUAL(SYS(SYS_SYSTEM_INFO, 1, SYSTEM_MODULE, 0, MANAGER_STACK_TOP - 4096, 4096), E_LIMIT);
    CHECK_EQUAL(frame_free_bytes(), frames);
    user_check_report();
}

MACHINE_TEST(test_grants, manager_grants)

/* --- modules --- */

static void manager_modules(u64 arg)
{
    struct system_module m;
    u64 at = MANAGER_STACK_TOP - 4096;

    (void)arg;
    CHECK_EQUAL(SYS(SYS_SYSTEM_INFO, 1, SYSTEM_MODULE, 1, at, 4096), sizeof(m));
    user_read(at, &m, sizeof(m));
    CHECK_EQUAL(m.bytes, 0x2001);
    CHECK_EQUAL(m.kind, MODULE_FILE);
    CHECK(!strcmp(m.name, "guest.bin"));
    CHECK_EQUAL(sys_map(0, m.handle, 0, AT, 3 * PAGE_SIZE, MAP_READ), 0);
    CHECK_EQUAL(sys_map(0, m.handle, 0, AT + 0x10000, 4 * PAGE_SIZE, MAP_READ), E_INVAL);
    CHECK(sys_map(0, m.handle, 0, AT + 0x10000, PAGE_SIZE, MAP_READ | MAP_WRITE) < 0);
    CHECK_EQUAL(user_read64(AT + 0x1ff8), 0x6262626262626262ull);
    CHECK_EQUAL(user_read64(AT + 0x2008), 0); /* the rest of the last page is nobody's */
    user_close(m.handle);
    user_check_report();
    CHECK_EQUAL(user_read64(AT), 0x6262626262626262ull);
}

MACHINE_TEST(test_modules, manager_modules)

/* --- windows of guest memory --- */

#define WINDOW 0x80000000ull /* 2 MiB aligned */

static void manager_windows(u64 arg)
{
    struct vm_stats stats;

    (void)arg;
    s64 vm = sys_vm_new("guest", 1, 0);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, 0, 0xa0000, VM_MEMORY_LAZY), 0);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, 0x100000, 0x700000, 0), 0);
    CHECK_EQUAL(sys_map(0, (u64)vm, 0, WINDOW, 0x800000, MAP_READ | MAP_WRITE), 0);
    CHECK_EQUAL(sys_map(0, (u64)vm, 0x1000, AT, PAGE_SIZE, MAP_READ), 0);
    CHECK_EQUAL(sys_map(0, (u64)vm, 0, AT + 0x10000, PAGE_SIZE, MAP_READ | MAP_EXEC), E_INVAL);
    /* nothing is there before the first touch */
    CHECK(!user_can(WINDOW, PT_READ));
    CHECK_EQUAL(user_read64(WINDOW + 0x1008), 0);
    CHECK(user_can(WINDOW + 0x1008, PT_WRITE) && !user_can(WINDOW + 0x1008, PT_EXEC));
    CHECK(!user_can(WINDOW + 0x2000, PT_READ));
    user_write64(WINDOW + 0x1008, 42);
    CHECK_EQUAL(user_read64(AT + 8), 42); /* through the other window */
    CHECK(!user_can(AT, PT_WRITE));
    /* all pages, small and large */
    for (u64 gpa = 0x100000; gpa < 0x800000; gpa += PAGE_SIZE) {
        CHECK_EQUAL(user_read64(WINDOW + gpa), 0);
        user_write64(WINDOW + gpa, gpa);
    }
    for (u64 gpa = 0x100000; gpa < 0x800000; gpa += PAGE_SIZE) {
        CHECK_EQUAL(user_read64(WINDOW + gpa), gpa);
    }
    u64 at = user_arg(0, &stats, sizeof(stats));
    CHECK_EQUAL(SYS(SYS_VM_STATS, (u64)vm, at), 0);
    user_read(at, &stats, sizeof(stats));
    CHECK_EQUAL(stats.memory_bytes, 0x700000 + PAGE_SIZE);
    user_check_report();
    /* a window keeps the guest's memory */
    user_close(vm);
    user_check_report();
    CHECK_EQUAL(user_read64(WINDOW + 0x1008), 42);
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, WINDOW, 0x800000), 0);
    CHECK_EQUAL(user_read64(AT + 8), 42);
    CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, AT, PAGE_SIZE), 0);
    user_check_report();
}

MACHINE_TEST(test_windows, manager_windows)
MACHINE_TEST(test_windows_with_small_leaves, manager_windows, .nested_leaf = 1)
MACHINE_TEST(test_windows_with_2m_leaves, manager_windows, .nested_leaf = 2)

/* A touch outside of the guest's RAM, or a write through a window for reading, ends the process. */
static void touches(u64 arg)
{
    if (arg & 1) {
        user_write64(arg & ~1ull, 1);
    } else {
        user_read64(arg);
    }
    SYS(SYS_PROCESS_EXIT, 99);
}

static void manager_bad_touches(u64 arg)
{
    static const struct {
        u64 touch;
        s64 status;
    } rows[] = {
        {WINDOW,            99},
        {WINDOW | 1,        99},
        {WINDOW + 0x9fff8,  99},
        {WINDOW + 0xa0000,  14},
        {WINDOW + 0xa0001,  14},
        {WINDOW + 0xffff8,  14},
        {WINDOW + 0x200000, 14},
        {AT,                99},
        {AT | 1,            14},
        {AT + PAGE_SIZE,    14},
        {0xfffff8,          14},
    };
    struct process_info info = {0};

    (void)arg;
    s64 vm = sys_vm_new("guest", 1, 0);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, 0, 0xa0000, VM_MEMORY_LAZY), 0);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        s64 p = sys_process_new("child", 0, BUDGET, 0, 0);
        CHECK_EQUAL(sys_map((u64)p, (u64)vm, 0, WINDOW, 0x200000, MAP_READ | MAP_WRITE), 0);
        CHECK_EQUAL(sys_map((u64)p, (u64)vm, 0, AT, PAGE_SIZE, MAP_READ), 0);
        s64 t = sys_thread_new((u64)p, touches, rows[i].touch, STACK_TOP);
        user_wait_end((u64)p, &info);
        CHECK_EQUAL(info.status, rows[i].status);
        CHECK_EQUAL(info.end, rows[i].status == 14 ? PROCESS_FAULT : PROCESS_EXITED);
        user_check_report();
        user_close(t);
        user_close(p);
    }
}

MACHINE_TEST(test_bad_touches, manager_bad_touches)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_many_ranges),
        cmocka_unit_test(test_rights_of_mappings),
        cmocka_unit_test(test_grants),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_windows_with_small_leaves),
        cmocka_unit_test(test_windows_with_2m_leaves),
        cmocka_unit_test(test_bad_touches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
