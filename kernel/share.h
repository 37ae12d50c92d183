/* SPDX-License-Identifier: MIT */
/*
 * Shares of CPU time. A share has a weight, which its runnable threads divide among them by their
 * own weights: a guest gets as much with eight vCPUs as with one. So a thread's virtual time, which
 * the scheduler keeps equal for all, advances by
 *
 *     time on a CPU * (sum of the weights of the share's runnable threads
 *                      / the thread's own weight) / weight of the share
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
    u64 used; /* virtual time of the share as a whole: what its threads had, by its weight */
};

/* The weight of one of its threads changes; 0: it is not runnable. Returns the integral until now.
 */
u64 share_change(struct share *s, u32 from, u32 to, u64 now);

/* One of its threads has had a CPU for ran ticks. Returns the integral until now. */
u64 share_charge(struct share *s, u64 now, u64 ran);

/* Ticks for which the share is to pay, and not to pay, beside what its threads are charged for. */
void share_bill(struct share *s, u64 more, u64 less);

/* Virtual time for a part of the integral, by a thread of that weight. */
u64 share_virtual(const struct share *s, u32 weight, u64 part);

/* Virtual time that a slice costs a thread of that weight with the share as it is now. */
u64 share_slice(const struct share *s, u32 weight, u64 slice_tsc);

/* The virtual time of the share as a whole. now: of a CPU; the share can have a slice coming, and
 * can have had `most` too much: what is beyond is forgotten. */
u64 share_now(struct share *s, u64 now, u64 slice_tsc, u64 most);

/* Virtual times wrap: those that are compared are never far apart. */
static inline bool virtual_before(u64 a, u64 b)
{
    return (s64)(a - b) < 0;
}

#endif
