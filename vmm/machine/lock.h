/* SPDX-License-Identifier: MIT */
/*
 * A lock that sleeps: an atomic word, and an event object for those who must wait. Uncontended it
 * costs one atomic operation each way and no system call. Not fair; nobody waits for ever who is
 * scheduled at all.
 */
#ifndef VMM_MACHINE_LOCK_H
#define VMM_MACHINE_LOCK_H

#include "kernel/abi.h"
#include "lib/types.h"

enum lock_word {
    LOCK_FREE,
    LOCK_HELD,
    LOCK_CONTENDED, /* held, and somebody may sleep: whoever releases it wakes one */
};

struct lock {
    u32 word;       /* enum lock_word */
    handle_t event; /* its own: nobody else signals it or waits on it */
};

/* Makes it a free lock. 0 or E_*. */
s64 lock_init(struct lock *l) MUST_CHECK;

/* The slow halves of the two below. */
void lock_wait(struct lock *l);
void lock_wake(struct lock *l);

static inline void lock_acquire(struct lock *l)
{
    u32 expected = LOCK_FREE;

    if (UNLIKELY(!__atomic_compare_exchange_n(&l->word, &expected, LOCK_HELD, false,
                                              __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))) {
        lock_wait(l);
    }
}

/* By the thread that holds it. */
static inline void lock_release(struct lock *l)
{
    if (UNLIKELY(__atomic_exchange_n(&l->word, LOCK_FREE, __ATOMIC_RELEASE) != LOCK_HELD)) {
        lock_wake(l);
    }
}

#endif
