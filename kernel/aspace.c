/* SPDX-License-Identifier: MIT */
/* Address spaces of processes. */
#include "kernel/aspace.h"

#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/process.h"
#include "kernel/vm.h"

static size_t bytes_of(u32 regions)
{
    return sizeof(struct aspace) + regions * sizeof(struct region);
}

struct aspace *aspace_create(struct process *p, u32 regions)
{
    struct aspace *a = process_kalloc(p, bytes_of(regions));

    if (!a) {
        return NULL;
    }
    a->process = p;
    a->region_limit = regions;
    if (!pt_init(&a->pt, &pt_format_x86, &process_pt_memory, p, 4, USER_TOP)) {
        process_kfree(p, a, bytes_of(regions));
        return NULL;
    }
    arch_root_init(arch_pool_ptr(HPA(a->pt.root)));
    return a;
}

void aspace_destroy(struct aspace *a)
{
    struct process *p = a->process;

    pt_destroy(&a->pt);
    for (u32 i = 0; i < a->region_count; i++) {
        if (a->regions[i].bytes) {
            object_unref(a->regions[i].source);
        }
    }
    process_kfree(p, a, bytes_of(a->region_limit));
}

static u64 pt_perm(u64 flags)
{
    return PT_USER | (flags & MAP_READ ? PT_READ : 0) | (flags & MAP_WRITE ? PT_WRITE : 0) |
           (flags & MAP_EXEC ? PT_EXEC : 0);
}

static bool range_ok(u64 vaddr, u64 bytes)
{
    return bytes && !((vaddr | bytes) & PAGE_MASK) && vaddr >= USER_BASE && vaddr < USER_TOP &&
           bytes <= USER_TOP - vaddr;
}

/* A free slot for [vaddr, vaddr + bytes); NULL and *error when there is none or the range is taken.
 */
static struct region *find_slot(struct aspace *a, u64 vaddr, u64 bytes, int *error)
{
    struct region *slot = NULL;

    for (u32 i = 0; i < a->region_count; i++) {
        struct region *r = &a->regions[i];
        if (!r->bytes) {
            slot = r;
        } else if (vaddr < r->vaddr + r->bytes && r->vaddr < vaddr + bytes) {
            *error = E_BUSY;
            return NULL;
        }
    }
    if (!slot && a->region_count < a->region_limit) {
        slot = &a->regions[a->region_count++];
    }
    *error = slot ? E_OK : E_LIMIT;
    return slot;
}

static bool map_memory(struct aspace *a, struct memory *m, u64 offset, u64 vaddr, u64 bytes,
                       u64 perm)
{
    bool flush = false;

    for (u64 at = 0; at < bytes; at += PAGE_SIZE) {
        if (!pt_map(&a->pt, vaddr + at, memory_frame(m, offset + at).v, PAGE_SIZE, perm, &flush)) {
            return false;
        }
    }
    return true;
}

static void unmap_range(struct aspace *a, u64 vaddr, u64 bytes)
{
    bool flush = false;

    /* whole regions go, so no large leaf is ever split here and no table is needed */
    bool done = pt_unmap(&a->pt, vaddr, bytes, &flush);
    ASSERT(done);
    if (flush) {
        arch_tlb_shootdown(a);
    }
    pt_reclaim(&a->pt);
}

int aspace_map(struct aspace *a, struct object *source, u64 offset, u64 vaddr, u64 bytes, u64 flags)
{
    int error;

    if (!range_ok(vaddr, bytes) || offset & PAGE_MASK || offset + bytes < offset ||
        flags & ~(MAP_READ | MAP_WRITE | MAP_EXEC) || !(flags & MAP_READ) ||
        (flags & (MAP_WRITE | MAP_EXEC)) == (MAP_WRITE | MAP_EXEC)) {
        return E_INVAL;
    }
    if (source->type == OBJECT_MEMORY) {
        struct memory *m = CONTAINER_OF(source, struct memory, object);
        if (offset > m->bytes || bytes > m->bytes - offset ||
            (m->module_base && flags & MAP_WRITE)) {
            return E_INVAL;
        }
    } else if (flags & MAP_EXEC) {
        return E_INVAL; /* no process executes a guest's memory */
    }
    spin_lock(&a->lock);
    struct region *r = find_slot(a, vaddr, bytes, &error);
    if (r && source->type == OBJECT_MEMORY &&
        !map_memory(a, CONTAINER_OF(source, struct memory, object), offset, vaddr, bytes,
                    pt_perm(flags))) {
        unmap_range(a, vaddr, bytes);
        error = E_NO_MEMORY;
        r = NULL;
    }
    if (r) {
        object_ref(source);
        *r = (struct region){vaddr, bytes, offset, (u32)flags, source};
    }
    spin_unlock(&a->lock);
    return error;
}

int aspace_unmap(struct aspace *a, u64 vaddr, u64 bytes)
{
    struct object *source = NULL;

    if (!range_ok(vaddr, bytes)) {
        return E_INVAL;
    }
    spin_lock(&a->lock);
    for (u32 i = 0; i < a->region_count && !source; i++) {
        struct region *r = &a->regions[i];
        if (r->bytes == bytes && r->vaddr == vaddr) {
            unmap_range(a, vaddr, bytes);
            r->bytes = 0;
            source = r->source;
        }
    }
    spin_unlock(&a->lock);
    if (!source) {
        return E_NOT_FOUND;
    }
    object_unref(source);
    return E_OK;
}

bool aspace_fault(struct aspace *a, u64 address, bool write, bool exec)
{
    struct region *r = NULL;
    bool settled = false, flush = false;
    u64 leaf;
    hpa_t frame;

    spin_lock(&a->lock);
    for (u32 i = 0; i < a->region_count && !r; i++) {
        if (address - a->regions[i].vaddr < a->regions[i].bytes) {
            r = &a->regions[i];
        }
    }
    if (r && r->source->type == OBJECT_VM && !exec && (!write || r->flags & MAP_WRITE)) {
        u64 page = ALIGN_DOWN(address, PAGE_SIZE);
        u64 gpa = r->offset + (page - r->vaddr);
        struct vm *vm = CONTAINER_OF(r->source, struct vm, object);
        if (vm_resolve(vm, GPA(gpa), &frame, &leaf) == VM_TOUCH_OK) {
            /* a whole 2 MiB when guest, window and region allow it */
            u64 start = ALIGN_DOWN(page, SIZE_2M);
            u64 bytes = PAGE_SIZE, pa = frame.v;
            if (leaf >= SIZE_2M && !((gpa ^ page) & (SIZE_2M - 1)) && start >= r->vaddr &&
                start + SIZE_2M <= r->vaddr + r->bytes) {
                bytes = SIZE_2M;
                pa = ALIGN_DOWN(pa, SIZE_2M);
                page = start;
            }
            settled = pt_map(&a->pt, page, pa, bytes, pt_perm(r->flags), &flush);
        }
    }
    spin_unlock(&a->lock);
    return settled;
}

int aspace_map_fixed(struct aspace *a, u64 vaddr, hpa_t pa, u64 bytes, u64 flags)
{
    bool flush = false;

    if (!range_ok(vaddr, bytes) || (pa.v & PAGE_MASK) ||
        (flags & (MAP_WRITE | MAP_EXEC)) == (MAP_WRITE | MAP_EXEC)) {
        return E_INVAL;
    }
    return pt_map(&a->pt, vaddr, pa.v, bytes, pt_perm(flags), &flush) ? E_OK : E_NO_MEMORY;
}
