/* SPDX-License-Identifier: MIT */
/* A lock that sleeps: the ways of it that wait and wake. */
#include "vmm/machine/lock.h"

#include "vmm/sys.h"

#define EVENT_RELEASED BIT(0)
#define SPINS          64 /* looks at the word before sleeping, which costs far more than they do */

s64 lock_init(struct lock *l)
{
    s64 h = sys_event_create();

    l->word = LOCK_FREE;
    l->event = h < 0 ? 0 : (handle_t)h;
    return h < 0 ? h : 0;
}

static bool try(struct lock *l)
{
    u32 expected = LOCK_FREE;

    return __atomic_load_n(&l->word, __ATOMIC_RELAXED) == LOCK_FREE &&
           __atomic_compare_exchange_n(&l->word, &expected, LOCK_HELD, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

/* Who has slept takes the lock as contended, since others may sleep too: the chain of wake-ups goes
 * on until one of them wakes nobody. The event keeps a signal that comes before the wait, and one
 * that nobody needed only costs a look. */
void lock_wait(struct lock *l)
{
    for (u32 i = 0; i < SPINS; i++) {
        if (try(l)) {
            return;
        }
        __builtin_ia32_pause();
    }
    while (__atomic_exchange_n(&l->word, LOCK_CONTENDED, __ATOMIC_ACQUIRE) != LOCK_FREE) {
        sys_event_wait(l->event, EVENT_RELEASED, 0);
    }
}

void lock_wake(struct lock *l)
{
    sys_event_signal(l->event, EVENT_RELEASED);
}
