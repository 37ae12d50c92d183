/* SPDX-License-Identifier: MIT */
/* Event objects. */
#include "kernel/notify.h"

#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "kernel/vm.h"

struct notify *notify_create(struct process *payer)
{
    struct notify *n = process_kalloc(payer, sizeof(*n));

    if (n) {
        n->object = (struct object){OBJECT_EVENT, 1, NULL};
        n->payer = payer;
        object_ref(&payer->object);
    }
    return n;
}

void notify_destroy(struct object *o)
{
    struct notify *n = CONTAINER_OF(o, struct notify, object);
    struct process *payer = n->payer;

    process_kfree(payer, n, sizeof(*n));
    object_unref(&payer->object);
}

void notify_signal(struct notify *n, u64 bits)
{
    spin_lock(&n->lock);
    n->bits |= bits;
    for (u32 i = 0; i < NOTIFY_WAITERS; i++) {
        if (n->waiters[i]) {
            sched_wake(n->waiters[i]);
        }
    }
    spin_unlock(&n->lock);
}

static u64 take(struct notify *n, u64 mask)
{
    u64 got = n->bits & mask;

    n->bits &= ~got;
    return got;
}

s64 notify_wait(struct notify *n, u64 mask, u64 deadline)
{
    struct thread *me = cpu_this()->current;
    u32 slot = 0;
    s64 result = 0;

    spin_lock(&n->lock);
    result = (s64)take(n, mask);
    while (!result && slot < NOTIFY_WAITERS && n->waiters[slot]) {
        slot++;
    }
    if (result || slot == NOTIFY_WAITERS) {
        spin_unlock(&n->lock);
        return result ? result : E_LIMIT;
    }
    n->waiters[slot] = me;
    while (!result) {
        sched_prepare_block();
        spin_unlock(&n->lock);
        bool in_time = true;
        if (thread_dying()) {
            sched_cancel_block();
        } else {
            in_time = sched_block(deadline ? deadline : ~0ull);
        }
        spin_lock(&n->lock);
        result = (s64)take(n, mask);
        if (!result && thread_dying()) {
            result = E_DEAD;
        } else if (!result && !in_time) {
            result = E_TIMEOUT;
        }
    }
    n->waiters[slot] = NULL;
    spin_unlock(&n->lock);
    return result;
}
