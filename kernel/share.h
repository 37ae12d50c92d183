/* SPDX-License-Identifier: MIT */
/*
 * Shares of CPU time. A share has a weight, which its runnable threads divide among them by their
 * own weights: a guest gets as much with eight vCPUs as with one. So a thread's virtual time, which
 * the scheduler keeps equal for all, advances by
 *
 *     time on a CPU * (sum of the weights of the share's runnable threads / the thread's own
 * weight) / weight of the share
 *
 * The sum changes while a thread runs, so what is charged is its integral over that time: threads
 * that are timed to block just before they are charged gain nothing.
 */
#ifndef KERNEL_SHARE_H
#define KERNEL_SHARE_H

#include "kernel/spinlock.h"
#include "lib/types.h"

#define WEIGHT_NORMAL 100
#define WEIGHT_MAX    10000

/* Guarded by lock, which is taken with a run queue's lock held and holds no other. */
struct share {
    struct spinlock lock;
    u32 weight;   /* 1..WEIGHT_MAX, constant */
    u64 runnable; /* sum of the weights of its runnable threads; a hint without the lock */
    u64 clock;    /* integral of runnable over time, until clock_tsc; wraps */
    u64 clock_tsc;
    u64 floor; /* the latest virtual time at which one of its threads stopped */
};

/* A thread of that weight becomes runnable, or is no longer; vruntime is its virtual time then. */
void share_enter(struct share *s, u32 weight, u64 now);
void share_leave(struct share *s, u32 weight, u64 now, u64 vruntime);
/* A runnable thread's weight changes. */
void share_reweigh(struct share *s, u32 from, u32 to, u64 now);

/* The integral until now. */
u64 share_clock(struct share *s, u64 now);

/* Virtual time for a part of the integral, by a thread of that weight. */
u64 share_virtual(const struct share *s, u32 weight, u64 part);

/* Virtual time that a slice costs a thread of that weight with the share as it is now. */
u64 share_slice(const struct share *s, u32 weight, u64 slice_tsc);

/* Virtual time before which no thread of the share may begin again, so that threads that take turns
 * get no more than one that goes on. At most limit; a floor beyond is of another CPU's reckoning
 * and is forgotten. */
u64 share_floor(struct share *s, u64 limit);

/* Virtual times wrap: those that are compared are never far apart. */
static inline bool virtual_before(u64 a, u64 b)
{
    return (s64)(a - b) < 0;
}

#endif
