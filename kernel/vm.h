/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: a guest-physical address space and its vCPUs. RAM is made of frames of the
 * guest pool, reached through nested page tables, which are also the only record of what the guest
 * owns.
 */
#ifndef KERNEL_VM_H
#define KERNEL_VM_H

#include "kernel/abi.h"
#include "kernel/object.h"
#include "kernel/spinlock.h"
#include "lib/pagetable.h"
#include "lib/types.h"

struct cpuid_table;
struct process;
struct vcpu;

#define VM_MAX_RAM 8

/* A range of guest-physical addresses that is RAM. */
struct vm_ram {
    u64 gpa, bytes;
    u32 flags; /* VM_MEMORY_*; only lazy RAM gets frames at a touch */
};

struct vm {
    struct object object;
    char name[NAME_LEN];
    u32 flags; /* VM_* */
    u32 id;    /* unique while it lives, 1.. ; also the owner tag of its frames */
    u32 cpus;
    struct spinlock lock; /* npt, ram */
    struct pagetable npt;
    struct vm_ram ram[VM_MAX_RAM];
    u32 ram_count;
    u64 memory_bytes;      /* frames held */
    struct process *payer; /* whose budgets pay for RAM and tables; a reference */
    /* vcpus[], and each vCPU's thread: while it is held, none of them ends. Messages between local
     * APICs hold it. */
    struct spinlock cpus_lock;
    struct vcpu *vcpus[VM_MAX_CPUS];
    u32 line;        /* the output of the PIC is up; cpus_lock */
    u32 last_lowest; /* the vCPU that got the last interrupt of lowest priority; cpus_lock */
    struct cpuid_table *cpuid;
    /* of vCPUs that ended, so that the statistics outlive them */
    u64 exits[EXIT_COUNT];
    u64 guest_tsc, start_tsc;
    struct thread_times times[VM_MAX_CPUS];
    struct vm *next; /* list of all, under the kernel lock */
};

extern struct vm *vm_list;

enum vm_touch {
    VM_TOUCH_OK,       /* the translation is there now: run the instruction again */
    VM_TOUCH_NOT_RAM,  /* nothing of the guest's is there */
    VM_TOUCH_NO_MEMORY /* budget or pool used up */
};

/* Settles a nested page fault. gpa is guest-controlled; access: VX_ACCESS_*. Locks vm->lock. */
enum vm_touch vm_touch(struct vm *vm, gpa_t gpa, u32 access);

/* The frame (and size of the leaf) behind gpa, made present if it is lazy RAM; for windows of
 * ring 3. Returns like vm_touch. */
enum vm_touch vm_resolve(struct vm *vm, gpa_t gpa, hpa_t *frame, u64 *leaf_bytes);

/* NULL: no memory. payer pays and is referenced. */
struct vm *vm_create(const struct vm_args *args, struct process *payer);
/* gpa, bytes, flags are ring 3's. E_INVAL, E_BUSY, E_LIMIT, E_NO_MEMORY, E_DEAD. The caller holds a
 * reference and no lock: this may take long, and yields. */
int vm_add_memory(struct vm *vm, gpa_t gpa, u64 bytes, u32 flags);
void vm_get_stats(struct vm *vm, struct vm_stats *out);
void vm_destroy(struct object *o);

/* vCPUs. The vm holds no reference on them; each holds one on its vm. */
int vcpu_create(struct vm *vm, u32 index, struct vcpu **out);
void vcpu_destroy(struct object *o);

/* v becomes this CPU's resident vCPU: the one before is evicted. */
void vcpu_load(struct vcpu *v);
/* The same, and its SYSCALL MSRs are loaded. */
void vcpu_make_resident(struct vcpu *v);
/* Nothing of the resident vCPU stays in this CPU. */
void vcpu_evict(struct cpu *c);
/* Ring 3's SYSCALL MSRs are in this CPU again. */
void vcpu_leave_msrs(struct cpu *c);

/* Runs v on the calling thread, which is bound to it; v->exit is then the exit. flags and value are
 * ring 3's. Returns v->exit.kind or E_INVAL. */
s64 vcpu_run(struct vcpu *v, u64 flags, u64 value);

/* Wakes or kicks the thread that runs v, after a hazard or an event was set. */
void vcpu_wake(struct vcpu *v);
/* The same for what a CPU in the guest collects by itself when it is notified. */
void vcpu_notify(struct vcpu *v);

/* Is the calling thread to end? */
bool thread_dying(void);

#endif
