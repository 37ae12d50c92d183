/* SPDX-License-Identifier: MIT */
/* Ticket lock. Interrupts are off in the kernel, so a holder is never interrupted; a waiter polls
 * for TLB shoot-downs (arch_spin_poll), so shoot-downs may be started with locks held. */
#ifndef KERNEL_SPINLOCK_H
#define KERNEL_SPINLOCK_H

#include "arch/arch.h"
#include "lib/types.h"

struct spinlock {
    u32 next, serving;
    struct cpu *owner; /* for assertions and reports */
};

static inline void spin_lock(struct spinlock *l)
{
    u32 mine = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != mine) {
        arch_spin_poll();
        arch_pause();
    }
    l->owner = cpu_this();
}

static inline void spin_unlock(struct spinlock *l)
{
    l->owner = NULL;
    __atomic_store_n(&l->serving, l->serving + 1, __ATOMIC_RELEASE);
}

static inline bool spin_held(const struct spinlock *l)
{
    return l->owner == cpu_this();
}

#endif
