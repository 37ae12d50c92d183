/* SPDX-License-Identifier: MIT */
/*
 * Run queues: which thread of a CPU comes next, and what other CPUs see of it.
 *
 * Threads have virtual times (kernel/share.h), which are comparable on all CPUs. Of those in a
 * queue that have had no more than the average, the one goes first that will first have had a slice
 * more: so nobody falls more than about a slice behind its share of this CPU, be it heavy or light.
 * That holds between CPUs, too: each shows on a board who waits, and others take who waits too
 * long.
 *
 * Virtual times of CPUs part where threads may not move: those pinned to a crowded CPU fall behind
 * without end. So whoever comes into a queue is brought within reach of its time, and a queue that
 * lags all others beyond reason is forgiven.
 */
#ifndef KERNEL_RUNQUEUE_H
#define KERNEL_RUNQUEUE_H

#include "kernel/cpu.h"
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include "lib/types.h"

#define SLICES_PER_S 200 /* a slice is 5 ms */
/* A thread that wakes most often has little to do. So it wants the CPU soon, but only for a turn, a
 * part of a slice. The one that runs goes on until it has had so much, too: what switches cost is
 * little beside what is done in between, however often others wake. */
#define TURNS_PER_SLICE 8

/* Guarded by lock. current is cpu->running: its time counts there. */
struct runqueue {
    struct spinlock lock;
    struct cpu *cpu;
    struct thread *head, *tail; /* runnable threads by deadline; current is not among them */
    u32 count;
    /* The average of their virtual times, each weighted as the thread is: zero + moment / pull. */
    u64 zero; /* never goes back */
    s64 moment, pull;
    u64 turn_end;           /* until then none that wakes takes the place of the one that runs */
    u64 look_tsc;           /* when this CPU looks at the board again */
    bool visit;             /* current came because it woke */
    u64 switched_tsc;       /* when the CPU was switched to it */
    u64 switch_tsc;         /* how long a switch takes, vCPUs and all */
    bool pass;              /* current gives its turn to any other */
    bool soon;              /* the one that waits first woke; as of the last notice */
    struct thread *waiting; /* blocked threads with a deadline, by deadline */
    struct thread *ended;   /* left by the switch that ended it, for its successor to bury */
    struct thread *leaving; /* runnable, but no longer allowed here */
};

/* What a CPU has to run. */
struct offer {
    u64 deadline, slice; /* of its best thread */
    u64 now;             /* its virtual time */
};

static inline u64 slice_tsc(void)
{
    return arch_tsc_hz / SLICES_PER_S;
}

static inline u64 turn_tsc(void)
{
    return slice_tsc() / TURNS_PER_SLICE;
}

static inline bool thread_is_idle(const struct thread *t)
{
    return !t->process;
}

static inline struct runqueue *runqueue_of(u32 cpu)
{
    return cpus[cpu]->runqueue;
}

/* All below: q's lock is held unless said otherwise. */

void runqueue_add(struct runqueue *q, struct thread *t);
void runqueue_remove(struct runqueue *q, struct thread *t);

/* The virtual time at which t, running or about to wait, has had one more slice. */
u64 runqueue_deadline(struct thread *t);

/* The virtual time of this CPU: the average of those that want it. */
u64 runqueue_now(const struct runqueue *q);

/* Who is to run next, me or a thread of the queue; me NULL: not the one that runs. NULL: none. */
struct thread *runqueue_best(struct runqueue *q, struct thread *me);

/* Charges the thread that runs on q's CPU for its time until now. Before a thread comes into q,
 * too: the place that it gets follows the virtual time. */
void runqueue_account(struct runqueue *q, u64 now);

/* me waits for another thread and leaves its turn to next, with what it had coming: any of its own
 * process in the queue may be the one, so it goes behind them all. */
void runqueue_pass(const struct runqueue *q, struct thread *me, const struct thread *next);

/* Before next runs in place of cpu->current; neither is in the queue. Who comes because it woke
 * pays for the interruption of the other, which could do nothing of its own since then, and for the
 * way back: so many that sleep and wake cost a neighbour no more than their share. */
void runqueue_bill(struct runqueue *q, struct thread *next, u64 since, u64 now);
/* The vCPU of the thread that came with the last switch is in the CPU: so long does one take. No
 * lock: q is this CPU's. */
void runqueue_switched(struct runqueue *q, u64 now);

/* The thread that q's CPU runs from now on begins. */
void runqueue_begin(struct runqueue *q, u64 now);

/* t begins or ceases to count as one that wants a CPU. */
void runqueue_count_in(struct thread *t, u64 now);
void runqueue_count_out(struct thread *t, u64 now);

/* Where t begins that is new, has slept, or comes from another queue. */
void runqueue_place_new(struct runqueue *q, struct thread *t);
void runqueue_place_woken(struct runqueue *q, struct thread *t, u64 now);
void runqueue_place_moved(struct runqueue *q, struct thread *t);

/* t, which blocks, is in the list of deadlines until it is taken out; the latter is harmless when
 * it is not there. */
void runqueue_wait(struct runqueue *q, struct thread *t);
void runqueue_wait_no_more(struct runqueue *q, struct thread *t);

/* Shows the others who waits here. Returns the CPUs that may take it, 0: nobody waits that could
 * go. */
u64 runqueue_publish(struct runqueue *q);

/* Is there somebody on the board for a CPU? Any lock, or none. */
bool board_has(u32 cpu);

/* The CPU whose thread on the board has waited longest among those that q's CPU may take and that
 * should run before what it has; own NULL: it has nothing. -1: none. No lock held. */
s32 board_latest(struct runqueue *q, const struct offer *own);

/* The thread of q that the CPU `to` may take and should run before what that has; NULL. */
struct thread *runqueue_late(const struct runqueue *q, u32 to, const struct offer *own);

/* Gives up what this queue's threads have coming if all of them lag all that waits elsewhere by
 * far: they have had this CPU, and nobody could take them. */
void runqueue_forgive(struct runqueue *q);

/* Of the CPUs that t may use, the one with the fewest threads. No lock held. */
struct runqueue *runqueue_roomiest(const struct thread *t);

#endif
