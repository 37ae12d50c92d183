/* SPDX-License-Identifier: MIT */
/*
 * The isolation report. Nothing is remembered: every number is counted from the frame records, the
 * nested tables, the processes' tables and the kernel's own, as they are now. Each frame carries
 * the tag of its owner and a count of references; each use of a frame (a leaf of a guest, an entry
 * of a memory object) is a claim that must bear the same tag; and a frame must have as many claims
 * as references, so none has two owners, and none is lost.
 */
#include "kernel/isolation.h"

#include "arch/arch.h"
#include "kernel/boot.h"
#include "kernel/frame.h"
#include "kernel/kmem.h"
#include "kernel/memory.h"
#include "kernel/process.h"
#include "kernel/vm.h"
#include "lib/string.h"

/* Scratch of one report; guarded by the kernel lock. */
static struct {
    struct isolation_report *r;
    const struct vm *vm;
    struct process *process;
} scan;

static bool guest_leaf(UNUSED void *arg, UNUSED u64 gpa, const struct pt_leaf *leaf)
{
    scan.r->ept_leaves++;
    for (u64 at = 0; at < leaf->bytes; at += PAGE_SIZE) {
        scan.r->ept_pages++;
        if (frame_claim(HPA(leaf->address + at), (owner_t)scan.vm->id)) {
            scan.r->guest_pages++;
        } else {
            scan.r->ept_foreign++;
            scan.r->wrong_owner++; /* the guest claims more than it owns */
        }
    }
    return true;
}

static void table_page(UNUSED void *arg, u64 table, UNUSED u32 level)
{
    scan.r->tables++;
    if (!kmem_owns(HPA(table))) {
        scan.r->wrong_owner++;
    }
}

static void check_guests(void)
{
    for (struct vm *vm = vm_list; vm; vm = vm->next) {
        scan.vm = vm;
        pt_walk(&vm->npt, 0, 1ull << 46, guest_leaf, NULL);
        pt_walk_tables(&vm->npt, table_page, NULL);
    }
}

static void check_memory_objects(void)
{
    for (struct memory *m = memory_list; m; m = m->next) {
        for (u64 at = 0; m->payer && at < m->bytes; at += PAGE_SIZE) {
            scan.r->process_pages++;
            if (!frame_claim(memory_frame(m, at), m->payer->owner)) {
                scan.r->wrong_owner++;
            }
        }
    }
}

/* May the process that maps va see this page? Asks the region that va lies in. */
static bool mapping_allowed(const struct process *p, u64 va, u64 pa)
{
    bool free;
    owner_t tag;
    u32 refs;

    for (u32 i = 0; i < p->aspace->region_count; i++) {
        const struct region *r = &p->aspace->regions[i];
        if (va - r->vaddr >= r->bytes) {
            continue;
        }
        if (r->source->type == OBJECT_VM) {
            const struct vm *vm = CONTAINER_OF(r->source, struct vm, object);
            return frame_query(HPA(pa), &free, &tag, &refs) && !free && tag == vm->id;
        }
        const struct memory *m = CONTAINER_OF(r->source, struct memory, object);
        return memory_frame(m, r->offset + (va - r->vaddr)).v == pa;
    }
    /* without a region: a segment of the first program, which is a module page */
    for (u32 i = 0; i < boot_info.segment_count; i++) {
        const struct boot_segment *s = &boot_info.segments[i];
        if (va - s->vaddr < s->bytes && pa - s->base < s->bytes) {
            return true;
        }
    }
    return false;
}

static bool process_leaf(UNUSED void *arg, u64 va, const struct pt_leaf *leaf)
{
    const struct process *p = scan.process;
    u64 perm = p->aspace->pt.format->perm(leaf->entry);

    if (perm & PT_WRITE && perm & PT_EXEC) {
        scan.r->write_exec++;
    }
    for (u64 at = 0; at < leaf->bytes; at += PAGE_SIZE) {
        if (!mapping_allowed(p, va + at, leaf->address + at)) {
            scan.r->process_foreign++;
        }
    }
    return true;
}

static void check_processes(void)
{
    for (struct process *p = process_list; p; p = p->next) {
        if (!p->aspace) {
            continue;
        }
        scan.process = p;
        pt_walk(&p->aspace->pt, 0, USER_TOP, process_leaf, NULL);
        pt_walk_tables(&p->aspace->pt, table_page, NULL);
    }
}

static bool overlaps(u64 a, u64 a_bytes, u64 b, u64 b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes;
}

struct overlap {
    u64 pa, bytes;
    u64 pages; /* of the guest pool within */
};

static void overlap_range(void *arg, u64 base, u64 bytes)
{
    struct overlap *o = arg;

    if (overlaps(o->pa, o->bytes, base, bytes)) {
        u64 start = MAX(o->pa, base), end = MIN(o->pa + o->bytes, base + bytes);
        o->pages += (end - start) >> PAGE_SHIFT;
    }
}

static u64 guest_pool_pages_in(u64 pa, u64 bytes)
{
    struct overlap o = {pa, bytes, 0};

    frame_walk(overlap_range, &o);
    return o.pages;
}

/* The per-CPU windows are closed now, so the kernel maps nothing of the guest pool. */
static bool kernel_leaf(UNUSED void *arg, UNUSED u64 va, u64 pa, u64 bytes, u64 perm)
{
    scan.r->kernel_maps_guest += guest_pool_pages_in(pa, bytes);
    if (perm & PT_WRITE && perm & PT_EXEC) {
        scan.r->write_exec++;
    }
    return true;
}

static void count_use(void *arg, const struct frame_use *use)
{
    struct isolation_report *r = arg;
    u64 pages = use->bytes >> PAGE_SHIFT;

    r->pages += pages;
    if (use->free) {
        r->free_pages += pages;
    } else if (use->owner != FRAME_IN_FLIGHT && (!use->owner || use->claims != use->refs)) {
        r->wrong_owner++;
    }
}

/* What is not of the guest pool: kernel, modules, firmware; none may overlap it. */
static void check_ranges(void)
{
    struct isolation_report *r = scan.r;

    r->kernel_pages = kmem_total_bytes() >> PAGE_SHIFT;
    for (u32 i = 0; i < boot_info.range_count; i++) {
        const struct boot_range *b = &boot_info.ranges[i];
        u64 pages = b->bytes >> PAGE_SHIFT;
        switch (b->type) {
        case BOOT_MEM_KERNEL:
            r->kernel_pages += pages;
            break;
        case BOOT_MEM_MODULE:
            r->module_pages += pages;
            break;
        case BOOT_MEM_USABLE:
        case BOOT_MEM_POOL:
            continue;
        default:
            r->firmware_pages += pages;
        }
        r->wrong_owner += guest_pool_pages_in(b->base, b->bytes);
    }
    r->pages += r->kernel_pages + r->module_pages;
}

/* Nobody may gain or lose a page while it is counted. Address spaces before vms: a fault in a
 * window takes them in that order. */
static void lock_all(void (*lock)(struct spinlock *l))
{
    for (struct process *p = process_list; p; p = p->next) {
        if (p->aspace) {
            lock(&p->aspace->lock);
        }
    }
    for (struct vm *vm = vm_list; vm; vm = vm->next) {
        lock(&vm->lock);
    }
}

void isolation_check(struct isolation_report *r)
{
    memset(r, 0, sizeof(*r));
    memset(&scan, 0, sizeof(scan));
    scan.r = r;
    lock_all(spin_lock);
    frame_claims_reset();
    check_guests();
    check_memory_objects();
    check_processes();
    arch_kernel_walk(kernel_leaf, NULL);
    frame_walk_use(count_use, r);
    check_ranges();
    lock_all(spin_unlock);
}
