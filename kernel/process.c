/* SPDX-License-Identifier: MIT */
/* Processes, their handles and budgets. */
#include "kernel/process.h"

#include "arch/arch.h"
#include "kernel/boot.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/notify.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "kernel/vcpu.h"
#include "kernel/vm.h"
#include "lib/string.h"

/* What the kernel keeps for a process besides what its own budget pays: paid by the parent. */
#define PROCESS_BYTES (sizeof(struct process) + PROCESS_HANDLES * sizeof(struct handle))

struct spinlock kernel_lock;
struct process *process_list;

/* --- budgets --- */

bool budget_take(struct budget *b, u64 bytes)
{
    u64 used = __atomic_load_n(&b->used, __ATOMIC_RELAXED);

    do {
        if (bytes > b->limit || used > b->limit - bytes) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&b->used, &used, used + bytes, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return true;
}

void budget_give(struct budget *b, u64 bytes)
{
    u64 before = __atomic_fetch_sub(&b->used, bytes, __ATOMIC_RELAXED);

    ASSERT(before >= bytes);
}

void *process_kalloc_with(struct process *p, size_t bytes, size_t extra)
{
    if (!budget_take(&p->kernel, bytes + extra)) {
        return NULL;
    }
    void *ptr = kmem_alloc(bytes);
    if (!ptr) {
        budget_give(&p->kernel, bytes + extra);
    }
    return ptr;
}

void *process_kalloc(struct process *p, size_t bytes)
{
    return process_kalloc_with(p, bytes, 0);
}

void process_kfree(struct process *p, void *ptr, size_t charged)
{
    if (ptr) {
        kmem_free(ptr);
        budget_give(&p->kernel, charged);
    }
}

static u64 pt_alloc(void *ctx)
{
    struct process *p = ctx;

    if (!budget_take(&p->kernel, PAGE_SIZE)) {
        return 0;
    }
    hpa_t page = kmem_page_alloc();
    if (!page.v) {
        budget_give(&p->kernel, PAGE_SIZE);
    }
    return page.v;
}

static void pt_free(void *ctx, u64 table)
{
    struct process *p = ctx;

    kmem_page_free(HPA(table));
    budget_give(&p->kernel, PAGE_SIZE);
}

static u64 *pt_table(UNUSED void *ctx, u64 table)
{
    return arch_pool_ptr(HPA(table));
}

static void pt_write(UNUSED void *ctx, u64 *slot, u64 value)
{
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
}

const struct pt_memory process_pt_memory = {pt_alloc, pt_free, pt_table, pt_write};

/* --- life --- */

struct process *process_create(const struct process_args *args, struct process *parent,
                               struct notify *notify)
{
    struct process *p = kmem_alloc(sizeof(*p));

    if (!p) {
        return NULL;
    }
    p->object = (struct object){OBJECT_PROCESS, 1, NULL};
    memcpy(p->name, args->name, NAME_LEN);
    p->name[NAME_LEN - 1] = 0;
    p->memory.limit = args->memory_bytes;
    p->kernel.limit = args->kernel_bytes;
    p->handle_limit = parent ? PROCESS_HANDLES : FIRST_HANDLES;
    p->handles = kmem_alloc(p->handle_limit * sizeof(struct handle));
    p->owner = owner_new();
    if (!p->handles || !p->owner) {
        goto undo_handles;
    }
    if (parent && !budget_take(&parent->memory, args->memory_bytes)) {
        goto undo_handles;
    }
    if (parent && (args->kernel_bytes > parent->kernel.limit ||
                   !budget_take(&parent->kernel, args->kernel_bytes + PROCESS_BYTES))) {
        goto undo_memory;
    }
    p->aspace = aspace_create(p, parent ? PROCESS_REGIONS : FIRST_REGIONS);
    if (!p->aspace) {
        goto undo_kernel;
    }
    p->affinity = parent ? process_affinity(parent, args->affinity) : ~0ull;
    p->own_share.weight = args->weight;
    p->share = parent && !args->weight ? parent->share : &p->own_share;
    p->parent = parent;
    if (parent) {
        object_ref(&parent->object);
    }
    p->notify = notify;
    p->notify_bits = args->event_bits;
    if (notify) {
        object_ref(&notify->object);
    }
    p->next = process_list;
    process_list = p;
    return p;

undo_kernel:
    if (parent) {
        budget_give(&parent->kernel, args->kernel_bytes + PROCESS_BYTES);
    }
undo_memory:
    if (parent) {
        budget_give(&parent->memory, args->memory_bytes);
    }
undo_handles:
    if (p->owner) {
        owner_free(p->owner);
    }
    kmem_free(p->handles);
    kmem_free(p);
    return NULL;
}

void process_end(struct process *p, enum process_end end, s64 status, u64 address)
{
    if (p->dying) {
        return;
    }
    p->info.status = status;
    p->info.address = address;
    p->info.end = end;
    __atomic_store_n(&p->dying, 1, __ATOMIC_SEQ_CST);
    for (u32 i = 0; i < PROCESS_THREADS; i++) {
        struct thread *t = p->threads[i];
        if (!t) {
            continue;
        }
        __atomic_store_n(&t->dying, 1, __ATOMIC_SEQ_CST);
        if (t->vcpu) {
            __atomic_or_fetch(&t->vcpu->hazards, VCPU_HAZARD_STOP, __ATOMIC_SEQ_CST);
        }
        sched_wake(t);
        sched_recheck(t);
    }
    if (!p->thread_count) {
        process_teardown(p);
    }
}

/* A process does not outlive the one that created it. */
static void end_children(struct process *parent)
{
    struct process *p = process_list;

    while (p) {
        if (p->parent == parent && !p->dying) {
            process_end(p, PROCESS_KILLED, 0, 0);
            p = process_list; /* the list may have changed */
        } else {
            p = p->next;
        }
    }
}

void process_teardown(struct process *p)
{
    struct handle *handles = p->handles;

    if (!handles) {
        return; /* done already */
    }
    p->handles = NULL;
    end_children(p);
    for (u32 i = 0; i < p->handle_limit; i++) {
        if (handles[i].object) {
            object_unref(handles[i].object);
        }
    }
    kmem_free(handles);
    aspace_destroy(p->aspace);
    p->aspace = NULL;
    if (p->notify) {
        notify_signal(p->notify, p->notify_bits);
        object_unref(&p->notify->object);
        p->notify = NULL;
    }
}

/* The last reference: nothing is charged to it any more, for whatever is holds one. */
void process_destroy(struct object *o)
{
    struct process *p = CONTAINER_OF(o, struct process, object);
    struct process **at = &process_list;

    p->dying = 1;
    process_teardown(p);
    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    if (p->parent) {
        budget_give(&p->parent->memory, p->memory.limit);
        budget_give(&p->parent->kernel, p->kernel.limit + PROCESS_BYTES);
        object_unref(&p->parent->object);
    }
    owner_free(p->owner);
    kmem_free(p);
}

u64 process_affinity(const struct process *p, u64 mask)
{
    u64 allowed = (mask ? mask : ~0ull) & p->affinity;

    return allowed & boot_online_cpus() ? allowed : 0;
}

/* --- handles --- */

bool handle_room(const struct process *p)
{
    for (u32 h = 1; p->handles && h < p->handle_limit; h++) {
        if (!p->handles[h].object) {
            return true;
        }
    }
    return false;
}

s64 handle_add(struct process *p, struct object *o, u32 rights)
{
    if (!p->handles) {
        return E_DEAD;
    }
    for (u32 h = 1; h < p->handle_limit; h++) {
        if (!p->handles[h].object) {
            object_ref(o);
            p->handles[h] = (struct handle){o, rights};
            return h;
        }
    }
    return E_LIMIT;
}

int handle_close(struct process *p, handle_t h)
{
    if (!p->handles || h >= p->handle_limit || !p->handles[h].object) {
        return E_HANDLE;
    }
    struct object *o = p->handles[h].object;
    p->handles[h].object = NULL;
    /* a thread that runs a vCPU remembers the handle it used last: it must look it up again */
    for (u32 i = 0; i < PROCESS_THREADS && o->type == OBJECT_VCPU; i++) {
        if (p->threads[i]) {
            __atomic_store_n(&p->threads[i]->vcpu_handle, ~0ull, __ATOMIC_RELAXED);
        }
    }
    object_unref(o);
    return E_OK;
}

struct object *handle_get(struct process *p, u64 h, enum object_type type, u32 rights, int *error)
{
    if (!p->handles || h >= p->handle_limit || !p->handles[h].object ||
        (type != OBJECT_NONE && p->handles[h].object->type != type)) {
        *error = E_HANDLE;
        return NULL;
    }
    if ((p->handles[h].rights & rights) != rights) {
        *error = E_RIGHTS;
        return NULL;
    }
    return p->handles[h].object;
}
