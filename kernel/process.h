/* SPDX-License-Identifier: MIT */
/*
 * Processes: an address space, a table of handles and budgets. All of it is guarded by the kernel
 * lock, a single lock; the table in syscall.c tells which calls run under it as a whole.
 */
#ifndef KERNEL_PROCESS_H
#define KERNEL_PROCESS_H

#include "kernel/abi.h"
#include "kernel/aspace.h"
#include "kernel/frame.h"
#include "kernel/object.h"
#include "kernel/share.h"
#include "kernel/spinlock.h"

struct notify;
struct thread;

/* At most; the first process has some of each for every guest. */
#define PROCESS_HANDLES 256
#define PROCESS_REGIONS 64
#define FIRST_HANDLES   1280
#define FIRST_REGIONS   320
#define PROCESS_THREADS 64

struct handle {
    struct object *object; /* NULL: free */
    u32 rights;
};

/* What a process may use and what it uses. Updated atomically: page tables grow outside the lock.
 */
struct budget {
    u64 limit, used;
};

struct process {
    struct object object;
    char name[NAME_LEN];
    owner_t owner; /* tag of its frames */
    struct aspace *aspace;
    struct handle *handles; /* NULL once dead */
    u32 handle_limit;
    struct thread *threads[PROCESS_THREADS];
    u32 thread_count;
    struct share *share; /* of CPU time: its own, or that of the ancestor which has one */
    struct share own_share;
    u64 affinity;                 /* mask of CPUs for all its threads */
    struct budget memory, kernel; /* bytes */
    struct process *parent;       /* its budgets came from there; a reference */
    struct notify *notify;        /* told at the end; a reference */
    u64 notify_bits;
    u32 dying;
    struct process_info info; /* end, status, address; run_tsc of threads that ended */
    struct process *next;     /* list of all processes, for the isolation report */
};

extern struct spinlock kernel_lock;
extern struct process *process_list;

/* Budgets are moved from parent, whose CPUs it shares; args->affinity names some of them. NULL
 * parent: the first process, without limits but the machine's.
 * NULL: no memory, or the parent has too little. Kernel lock held, as for all below. */
struct process *process_create(const struct process_args *args, struct process *parent,
                               struct notify *notify);

/* All threads end soon, then everything the process holds goes. end and status: the first one wins.
 */
void process_end(struct process *p, enum process_end end, s64 status, u64 address);

/* The last thread is gone: handles, address space and budgets are given back. */
void process_teardown(struct process *p);
void process_destroy(struct object *o);

/* The CPUs among p's that ring 3's mask names, all for 0; 0: none of them is there. */
u64 process_affinity(const struct process *p, u64 mask);

/* Is there a free handle? */
bool handle_room(const struct process *p);

/* New handle; E_LIMIT when the table is full. Takes a reference of its own. */
s64 handle_add(struct process *p, struct object *o, u32 rights);
int handle_close(struct process *p, handle_t h);
/* The object behind a handle of ring 3, if it is of this type and has these rights; else NULL and
 * *error. No reference is taken: it is good while the kernel lock is held. */
struct object *handle_get(struct process *p, u64 h, enum object_type type, u32 rights, int *error);

/* Takes bytes from a budget; false when there are not enough. */
bool budget_take(struct budget *b, u64 bytes) MUST_CHECK;
void budget_give(struct budget *b, u64 bytes);

/* kmem_alloc and kmem_free that charge a process. */
void *process_kalloc(struct process *p, size_t bytes) MUST_CHECK;
void process_kfree(struct process *p, void *ptr, size_t charged);

/* kmem_alloc that charges extra bytes too, for what belongs to the object and is allocated apart.
 */
void *process_kalloc_with(struct process *p, size_t bytes, size_t extra) MUST_CHECK;

/* Memory of page tables, charged to the process that ctx points to. */
extern const struct pt_memory process_pt_memory;

#endif
