/* SPDX-License-Identifier: MIT */
/* Event objects: a word of notification bits that threads wait on. Named notify in the kernel,
 * because an event there is what is injected into a guest. */
#ifndef KERNEL_NOTIFY_H
#define KERNEL_NOTIFY_H

#include "kernel/abi.h"
#include "kernel/object.h"
#include "kernel/spinlock.h"
#include "lib/types.h"

struct process;
struct thread;

#define NOTIFY_WAITERS (VM_MAX_CPUS + 4) /* all threads of a VMM, and a few */

struct notify {
    struct object object;
    struct spinlock lock;
    u64 bits;
    struct thread *waiters[NOTIFY_WAITERS];
    struct process *payer; /* a reference */
};

struct notify *notify_create(struct process *payer); /* NULL: no memory or budget */
void notify_destroy(struct object *o);

/* Sets bits and wakes all waiters. Any context but NMI. */
void notify_signal(struct notify *n, u64 bits);

/* Waits until a bit of mask is set; clears and returns those. deadline in TSC ticks, 0: none.
 * E_TIMEOUT, E_DEAD (the thread is to end), E_LIMIT (too many waiters). */
s64 notify_wait(struct notify *n, u64 mask, u64 deadline);

#endif
