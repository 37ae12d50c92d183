/* SPDX-License-Identifier: MIT */
/* Shares of CPU time: how fast the virtual time of their threads advances. */
#include "kernel/share.h"

/* Virtual time of a thread alone in a share of normal weight, per tick: enough that rounding is
 * nothing even at the largest weight. */
#define VIRTUAL_SCALE 64u
#define PART_MAX      BIT(50) /* no thread runs that long uncharged; keeps the product in 64 bits */
#define SLICE_MAX     BIT(56) /* so that a few slices are far from half of what wraps */

static void advance(struct share *s, u64 now)
{
    if (now > s->clock_tsc) { /* CPUs' clocks may differ a little */
        s->clock += s->runnable * (now - s->clock_tsc);
        s->clock_tsc = now;
    }
}

/* Both are read without the lock, too. */
static void set_runnable(struct share *s, u64 sum)
{
    __atomic_store_n(&s->runnable, sum, __ATOMIC_RELAXED);
}

static void set_used(struct share *s, u64 used)
{
    __atomic_store_n(&s->used, used, __ATOMIC_RELAXED);
}

u64 share_change(struct share *s, u32 from, u32 to, u64 now)
{
    spin_lock(&s->lock);
    advance(s, now);
    set_runnable(s, s->runnable - from + to);
    u64 clock = s->clock;
    spin_unlock(&s->lock);
    return clock;
}

u64 share_charge(struct share *s, u64 now, u64 ran)
{
    spin_lock(&s->lock);
    advance(s, now);
    set_used(s, s->used + share_virtual(s, 1, ran));
    u64 clock = s->clock;
    spin_unlock(&s->lock);
    return clock;
}

void share_bill(struct share *s, u64 more, u64 less)
{
    spin_lock(&s->lock);
    set_used(s, s->used + share_virtual(s, 1, more) - share_virtual(s, 1, less));
    spin_unlock(&s->lock);
}

u64 share_virtual(const struct share *s, u32 weight, u64 part)
{
    return MIN(part / weight, PART_MAX) * (VIRTUAL_SCALE * WEIGHT_NORMAL) / s->weight;
}

u64 share_slice(const struct share *s, u32 weight, u64 slice_tsc)
{
    u64 sum = __atomic_load_n(&s->runnable, __ATOMIC_RELAXED);

    return MIN(share_virtual(s, weight, MAX(sum, weight) * slice_tsc), SLICE_MAX);
}

u64 share_now(struct share *s, u64 now, u64 slice_tsc, u64 most)
{
    u64 low = now - share_virtual(s, 1, slice_tsc), high = now + most;
    u64 used = __atomic_load_n(&s->used, __ATOMIC_RELAXED);

    if (virtual_before(used, low) || virtual_before(high, used)) {
        spin_lock(&s->lock);
        used = virtual_before(used, low) ? low : high;
        set_used(s, used);
        spin_unlock(&s->lock);
    }
    return used;
}
