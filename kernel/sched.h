/* SPDX-License-Identifier: MIT */
/*
 * The weighted fair scheduler: a run queue per CPU (kernel/runqueue.h), preemption at the end of a
 * slice or when a thread that deserves more wakes. A CPU that is idle takes any thread that waits
 * elsewhere, one that is busy looks once in a slice for one that is late. Each queue has its lock;
 * a thread's state and queue links are guarded by the lock of the CPU it belongs to (thread.cpu).
 *
 * What a CPU can be made to do by others is bounded: it is interrupted once until it has looked,
 * and a thread keeps it for an eighth of a slice before one that wakes may take its place. What
 * concerns a thread that does not run costs its CPU nothing.
 */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include "lib/types.h"

struct cpu;
struct thread;
struct vcpu;

/* Run queue and idle thread of a CPU that is about to run threads. Boot only. */
void sched_init_cpu(struct cpu *c);

/* First switch on this CPU: becomes its idle thread. */
NORETURN void sched_start(void);

/* Puts a new thread on a CPU that its affinity allows. */
void sched_add(struct thread *t);

/* Gives the CPU to the thread that deserves it most, if the slice is over; returns when the caller
 * does again, perhaps on another CPU. since: the TSC from when on the caller could do nothing of
 * its own. If another goes because it woke, that time is on that one's account. */
void sched_yield(u64 since);

/* The caller has nothing better to do than to wait for another thread: at the next sched_yield(),
 * which is due from now on, any other that wants the CPU gets it. */
void sched_pass(void);

/*
 * Blocking: the caller announces it (sched_prepare_block), then checks its condition once more,
 * then calls sched_block() or, if the condition came true, sched_cancel_block(). A sched_wake() in
 * between is not lost. deadline is in TSC ticks, ~0 for none. Returns false when the deadline
 * passed.
 */
void sched_prepare_block(void);
void sched_cancel_block(void);
bool sched_block(u64 deadline);

/* Makes a blocked thread runnable; harmless otherwise, and cheap when it is not blocked. From any
 * CPU, after what the thread waits for was set. Was it blocked? Then it looks for that again. */
bool sched_wake(struct thread *t);

/* Time has passed on this CPU: wakes the threads whose deadline is due, ends the slice (sets
 * CPU_HAZARD_RESCHED). Called by the timer interrupt and by the TIMER exit. */
void sched_tick(void);

/* The kernel context of a new thread: it will go to ring 3. */
void sched_prepare_thread(struct thread *t);

/* Ends the calling thread. */
NORETURN void sched_exit(void);

/* New weight and affinity; moves a thread that may no longer run where it is at its next switch. */
void sched_set(struct thread *t, u32 weight, u64 affinity);

/* Interrupts (arch_kick, arch_notify) the CPU that runs t, if it is another one: a guest exits, and
 * looks at its vCPU's hazards. An interrupt each time: who sets a hazard that is set already need
 * not call this. */
void sched_kick(struct thread *t, void (*interrupt)(struct cpu *));

/* Makes the CPU that runs t look whether it may go on: it is to end, or to run elsewhere. */
void sched_recheck(struct thread *t);

/* Hazards of an idle CPU (kernel/main.c): flushes, stop; clears RESCHED. */
void kernel_idle_hazards(void);

/* A vCPU that waits: blocks the calling thread, which runs it, until v->wake_tsc, or until it is
 * woken; not at all when a hazard of the vCPU is set. */
void sched_block_halted(struct vcpu *v);

#endif
