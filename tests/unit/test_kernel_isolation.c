/* SPDX-License-Identifier: MIT */
/* The isolation report: it is clean while all is well, and finds every fault that is planted in the
 * kernel's tables. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/boot.h"
#include "kernel/frame.h"
#include "kernel/isolation.h"
#include "kernel/kmem.h"
#include "kernel/memory.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/vm.h"
#include "lib/pagetable.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define AT     0x50000000ull
#define WINDOW 0x80000000ull
#define FAR    0x90000000ull /* nothing is mapped here, in a process or a guest */
#define RWX    (PT_READ | PT_WRITE | PT_EXEC)

static struct vm *vm[2];
static struct process *process;
static struct memory *memory;

static struct object *object_of(s64 handle)
{
    return cpu_this()->current->process->handles[handle].object;
}

static void report(struct isolation_report *r)
{
    CHECK(sys_report(r) > 0);
}

static u64 faults(const struct isolation_report *r)
{
    return r->wrong_owner + r->ept_foreign + r->kernel_maps_guest + r->write_exec +
           r->process_foreign;
}

static void check_clean(void)
{
    struct isolation_report r = {0};

    report(&r);
    CHECK_EQUAL(faults(&r), 0);
}

/* Something of everything. */
static void make_objects(void)
{
    s64 h[2], m = SYS(SYS_MEMORY_CREATE, 4 * PAGE_SIZE);

    for (u32 i = 0; i < 2; i++) {
        h[i] = sys_vm_new("guest", 1, 0);
        CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)h[i], 0, 0xa0000, VM_MEMORY_LAZY), 0);
        CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)h[i], 0x100000, 0x501000, 0), 0);
        vm[i] = CONTAINER_OF(object_of(h[i]), struct vm, object);
    }
    CHECK_EQUAL(sys_map(0, (u64)m, 0, AT, 4 * PAGE_SIZE, MAP_READ | MAP_WRITE), 0);
    CHECK_EQUAL(sys_map(0, (u64)h[0], 0, WINDOW, 0x600000, MAP_READ | MAP_WRITE), 0);
    user_write64(WINDOW + 0x1000, 1);
    user_write64(WINDOW + 0x200000, 1);
    process = cpu_this()->current->process;
    memory = CONTAINER_OF(object_of(m), struct memory, object);
}

static u64 guest_frame(u32 which, u64 gpa)
{
    struct pt_leaf leaf;

    CHECK(pt_lookup(&vm[which]->npt, gpa, &leaf));
    return leaf.address + (gpa & (leaf.bytes - 1) & ~PAGE_MASK);
}

static void map_in_guest(u32 which, u64 gpa, u64 pa, u64 bytes)
{
    bool flush;

    CHECK(pt_map(&vm[which]->npt, gpa, pa, bytes, RWX | PT_MEMTYPE(6), &flush));
}

static void unmap_in_guest(u32 which, u64 gpa, u64 bytes)
{
    bool flush;

    CHECK(pt_unmap(&vm[which]->npt, gpa, bytes, &flush));
    pt_reclaim(&vm[which]->npt);
}

static void map_in_process(u64 va, u64 pa, u64 bytes, u64 perm)
{
    bool flush;

    CHECK(pt_map(&process->aspace->pt, va, pa, bytes, perm | PT_USER, &flush));
}

static void unmap_in_process(u64 va, u64 bytes)
{
    bool flush;

    CHECK(pt_unmap(&process->aspace->pt, va, bytes, &flush));
    pt_reclaim(&process->aspace->pt);
}

static void manager_clean(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    check_clean();
    make_objects();
    check_clean();
    report(&r);
    CHECK_EQUAL(r.guest_pages, 2 * 0x501 + 1);
    CHECK_EQUAL(r.ept_pages, r.guest_pages);
    CHECK_EQUAL(r.process_pages, 4 + MANAGER_STACK_BYTES / PAGE_SIZE);
    CHECK_EQUAL(r.module_pages, 2 * HOST_MODULE_BYTES / PAGE_SIZE);
    CHECK_EQUAL(r.free_pages, frame_free_bytes() / PAGE_SIZE);
    CHECK_EQUAL(r.kernel_pages, kmem_total_bytes() / PAGE_SIZE + 0x100);
    CHECK_EQUAL(r.firmware_pages, 3 + 0xa0); /* the low memory, too */
    CHECK_EQUAL(r.pages,
                r.guest_pages + r.process_pages + r.free_pages + r.module_pages + r.kernel_pages);
    CHECK(r.tables >= 4 + 2 * 4);
}

MACHINE_TEST(test_clean, manager_clean)

/* A page that is not the guest's own, in its tables. */
static void manager_foreign_in_guest(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    make_objects();
    hpa_t table = kmem_page_alloc();
    u64 another = guest_frame(1, 0x100000), another_large = guest_frame(1, 0x200000);
    u64 of_process = memory_frame(memory, 0).v;
    const struct {
        u64 pa, pages;
    } rows[] = {
        {another,                   1  },
        {another_large,             512},
        {of_process,                1  },
        {boot_info.kernel_base,     1  },
        {table.v,                   1  },
        {HOST_MODULE_BASE,          1  },
        {0,                         1  },
        {0xfee00000,                1  },
        {HOST_RAM_BASE + 0x2fff000, 1  },
    };
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        map_in_guest(0, FAR, rows[i].pa, rows[i].pages << PAGE_SHIFT);
        report(&r);
        CHECK_EQUAL(r.ept_foreign, rows[i].pages);
        CHECK(r.wrong_owner > 0); /* the guest claims more than it owns */
        unmap_in_guest(0, FAR, rows[i].pages << PAGE_SHIFT);
        check_clean();
    }
    /* its own page, but twice: two places of one guest share it */
    map_in_guest(0, FAR, guest_frame(0, 0x100000), PAGE_SIZE);
    report(&r);
    CHECK_EQUAL(r.ept_foreign, 0);
    CHECK_EQUAL(r.wrong_owner, 1);
    unmap_in_guest(0, FAR, PAGE_SIZE);
    check_clean();
    kmem_page_free(table);
}

MACHINE_TEST(test_foreign_pages_in_a_guest, manager_foreign_in_guest)

/* A guest's page that its tables have lost, or that was freed while it is still mapped. */
static void manager_lost(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    make_objects();
    u64 pa = guest_frame(0, 0x100000);
    unmap_in_guest(0, 0x100000, PAGE_SIZE);
    report(&r);
    CHECK_EQUAL(r.wrong_owner, 1);
    map_in_guest(0, 0x100000, pa, PAGE_SIZE);
    check_clean();

    frame_free(HPA(pa), PAGE_SIZE); /* used after it was freed */
    report(&r);
    CHECK_EQUAL(r.ept_foreign, 1);
    CHECK_EQUAL(r.wrong_owner, 1);
    hpa_t again = frame_alloc(0, (owner_t)vm[1]->id); /* and by then somebody else's */
    CHECK_EQUAL(again.v, pa);
    report(&r);
    CHECK_EQUAL(r.ept_foreign, 1);
    frame_free(again, PAGE_SIZE);
    again = frame_alloc(0, (owner_t)vm[0]->id);
    CHECK_EQUAL(again.v, pa);
    check_clean();

    /* a frame with a tag that nobody has */
    owner_t nobody = owner_new();
    hpa_t frame = frame_alloc(0, nobody);
    report(&r);
    CHECK_EQUAL(r.wrong_owner, 1);
    frame_free(frame, PAGE_SIZE);
    owner_free(nobody);
    /* or with none */
    frame = frame_alloc(0, 0);
    report(&r);
    CHECK_EQUAL(r.wrong_owner, 1);
    frame_free(frame, PAGE_SIZE);
    check_clean();
}

MACHINE_TEST(test_lost_and_freed_pages, manager_lost)

/* Memory objects that share a frame, or name one that is not theirs. */
static void manager_memory(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    make_objects();
    u64 good = memory->frames[1];
    const u64 bad[] = {memory->frames[0], guest_frame(0, 0x100000), boot_info.kernel_base, 0};
    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        memory->frames[1] = bad[i];
        report(&r);
        /* one frame twice and another one lost are equal in number, within one owner */
        CHECK(i == 0 || r.wrong_owner > 0);
        CHECK(r.process_foreign > 0); /* the mapping is not what the object says */
        memory->frames[1] = good;
        check_clean();
    }
}

MACHINE_TEST(test_shared_frames, manager_memory)

/* What a process maps: its own, windows, nothing else. */
static void manager_process(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    make_objects();
    /* a guest's page without a window, another guest's in the window of the first, an object's
     * pages outside of a region */
    u64 of_guest = guest_frame(0, 0x100000), own = memory_frame(memory, 0).v;
    u64 another = guest_frame(1, 0x100000), another_large = guest_frame(1, 0x200000);
    const struct {
        u64 va, pa, pages;
    } rows[] = {
        {FAR,             of_guest,              1  },
        {FAR,             another_large,         512},
        {FAR,             own,                   1  },
        {FAR,             boot_info.kernel_base, 1  },
        {FAR,             HOST_MODULE_BASE,      1  },
        {FAR,             0xfee00000,            1  },
        {WINDOW + 0x2000, another,               1  },
        {WINDOW + 0x3000, own,                   1  },
    };
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        map_in_process(rows[i].va, rows[i].pa, rows[i].pages << PAGE_SHIFT, PT_READ);
        report(&r);
        CHECK_EQUAL(r.process_foreign, rows[i].pages);
        CHECK_EQUAL(r.wrong_owner + r.ept_foreign + r.write_exec, 0);
        unmap_in_process(rows[i].va, rows[i].pages << PAGE_SHIFT);
        check_clean();
    }
    /* the pages of an object in another order than the region says */
    map_in_process(AT, memory_frame(memory, PAGE_SIZE).v, PAGE_SIZE, PT_READ | PT_WRITE);
    report(&r);
    CHECK_EQUAL(r.process_foreign, 1);
    map_in_process(AT, memory_frame(memory, 0).v, PAGE_SIZE, PT_READ | PT_WRITE);
    check_clean();
    /* writable and executable */
    map_in_process(AT, memory_frame(memory, 0).v, PAGE_SIZE, RWX);
    report(&r);
    CHECK_EQUAL(r.write_exec, 1);
    map_in_process(AT, memory_frame(memory, 0).v, PAGE_SIZE, PT_READ | PT_WRITE);
    check_clean();
}

MACHINE_TEST(test_foreign_pages_in_a_process, manager_process)

static void manager_kernel(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    make_objects();
    host_planted = (struct host_leaf){BOOT_PHYSMAP, guest_frame(0, 0x100000), PAGE_SIZE, PT_READ};
    report(&r);
    CHECK_EQUAL(r.kernel_maps_guest, 1);
    host_planted.bytes = SIZE_1G; /* all of the guest pool, and more */
    host_planted.pa = 0;
    report(&r);
    CHECK(r.kernel_maps_guest > 1000);
    host_planted = (struct host_leaf){BOOT_PHYSMAP, 0x1000, PAGE_SIZE, RWX};
    report(&r);
    CHECK_EQUAL(r.write_exec, 1);
    CHECK_EQUAL(r.kernel_maps_guest, 0);
    host_planted.perm = PT_READ | PT_WRITE;
    check_clean();
}

MACHINE_TEST(test_kernel_mappings, manager_kernel)

/* A page of tables that is not the kernel's to use. */
static void manager_tables(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    make_objects();
    map_in_guest(0, FAR, guest_frame(0, 0x100000), PAGE_SIZE); /* a table of its own */
    u64 *top = arch_pool_ptr(HPA(vm[0]->npt.root));
    u64 *third = arch_pool_ptr(HPA(top[0] & vm[0]->npt.format->address_mask));
    u64 *second = arch_pool_ptr(HPA(third[FAR >> 30] & vm[0]->npt.format->address_mask));
    u64 entry = second[FAR >> 21 & 511];
    hpa_t page = kmem_page_alloc();
    second[FAR >> 21 & 511] = page.v | (entry & PAGE_MASK);
    report(&r);
    u64 before = r.wrong_owner;
    u64 *keep = kmem_alloc(2 * PAGE_SIZE); /* kernel memory, but not a page of its own */
    second[FAR >> 21 & 511] = (arch_pool_hpa(keep).v + PAGE_SIZE) | (entry & PAGE_MASK);
    report(&r);
    CHECK_EQUAL(r.wrong_owner, before + 1);
    second[FAR >> 21 & 511] = entry;
    unmap_in_guest(0, FAR, PAGE_SIZE);
    check_clean();
    kmem_free(keep);
    kmem_page_free(page);
}

MACHINE_TEST(test_tables, manager_tables)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_foreign_pages_in_a_guest),
        cmocka_unit_test(test_lost_and_freed_pages),
        cmocka_unit_test(test_shared_frames),
        cmocka_unit_test(test_foreign_pages_in_a_process),
        cmocka_unit_test(test_kernel_mappings),
        cmocka_unit_test(test_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
