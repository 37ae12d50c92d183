/* SPDX-License-Identifier: MIT */
/* Threads: a kernel stack, and a place in the scheduler. Idle threads have no process. */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/object.h"
#include "lib/types.h"

struct process;
struct thread_args;
struct vcpu;

enum thread_state { THREAD_RUNNABLE, THREAD_BLOCKED, THREAD_ENDED };

struct thread {
    struct object object;
    struct process *process; /* a reference; NULL: idle */
    struct arch_context context;
    void *stack; /* top of the kernel stack */
    u64 entry, user_stack, arg;
    u32 dying; /* shared */

    /* Scheduler; guarded by the lock of its CPU's queue. */
    u32 state;
    u32 cpu;
    bool queued;
    bool waiting; /* in the CPU's list of deadlines */
    bool timed_out;
    bool woken;  /* and did not run since */
    u32 weight;  /* in its process's share */
    u32 counted; /* the weight with which it counts there; 0: it was blocked at the last look */
    u64 affinity;
    u64 vruntime;  /* virtual time: what it has had, by weight (kernel/share.h) */
    u64 vslice;    /* what a slice costs it, as of when that was looked at */
    u64 vdeadline; /* vruntime + vslice then: the order of the run queue */
    u64 deadline;
    u64 started_tsc; /* until when it is charged */
    u64 queued_tsc;  /* since when it waits for a CPU */
    u64 share_clock; /* of its share at started_tsc */
    struct thread_times times;
    struct thread *next, *prev; /* run queue */
    struct thread *wait_next;   /* deadlines */

    /* The vCPU that it runs; the hot path needs no look-up for the handle it used last. */
    struct vcpu *vcpu; /* a reference; bound until the thread ends */
    u64 vcpu_handle;
};

/* A thread of p, not yet scheduled. E_NO_MEMORY, E_LIMIT, E_DEAD. Kernel lock held. */
int thread_create(struct process *p, const struct thread_args *args, struct thread **out);
void thread_destroy(struct object *o);

/* Of two threads that ran a vCPU, one after the other. */
void thread_add_times(struct thread_times *sum, const struct thread_times *t);

/* Ends the calling thread; with the last one its process. No locks held. */
NORETURN void thread_end(void);

#endif
