/* SPDX-License-Identifier: MIT */
/* Run queues by virtual deadline, and the board on which CPUs see one another's. */
#include "kernel/runqueue.h"

#include "kernel/log.h"
#include "kernel/process.h"
#include "kernel/vcpu.h"

#define FORGET_S    3600
#define REACH       4  /* slices that a thread may be from the time of a queue it moves to */
#define WOKEN_HASTE 64 /* the part of a slice that it says it wants */
#define LOOKS       8  /* threads of a queue that are looked at for one that may go */
#define COST_MAX    (turn_tsc() / 8) /* no switch takes longer */
#define PULL_SCALE  BIT(44)

/* What a CPU shows of its queue: the thread that most wants to go elsewhere. Written under the
 * queue's lock, read without: who acts on it looks again with the lock held. */
struct ALIGNED(64) notice {
    u64 mask; /* CPUs that may take it; 0: none */
    u64 vruntime, deadline, slice;
    u64 now; /* of the queue */
};
static struct notice board[MAX_CPUS];
static u64 recent; /* shared: virtual time of some busy CPU, for one that was idle */

/* --- order --- */

/* How much a thread counts in the average: by its weight in its share as it is. */
static s64 pull_of(const struct thread *t)
{
    return (s64)(PULL_SCALE / t->vslice);
}

static s64 moment_of(const struct runqueue *q, const struct thread *t)
{
    return (s64)(t->vruntime - q->zero) * pull_of(t);
}

void runqueue_add(struct runqueue *q, struct thread *t)
{
    struct thread *after = q->tail;

    t->vdeadline = t->vruntime + (t->woken ? t->vslice / WOKEN_HASTE : t->vslice);
    /* Threads that had their slice go to the end, those that woke to the front: from the nearer
     * end. */
    if (q->head &&
        (s64)(t->vdeadline - q->head->vdeadline) < (s64)(q->tail->vdeadline - t->vdeadline)) {
        struct thread *before = q->head;
        while (!virtual_before(t->vdeadline, before->vdeadline)) {
            before = before->next;
        }
        after = before->prev;
    }
    while (after && virtual_before(t->vdeadline, after->vdeadline)) {
        after = after->prev;
    }
    t->prev = after;
    t->next = after ? after->next : q->head;
    *(t->prev ? &t->prev->next : &q->head) = t;
    *(t->next ? &t->next->prev : &q->tail) = t;
    t->queued = true;
    q->count++;
    q->pull += pull_of(t);
    q->moment += moment_of(q, t);
}

void runqueue_remove(struct runqueue *q, struct thread *t)
{
    *(t->prev ? &t->prev->next : &q->head) = t->next;
    *(t->next ? &t->next->prev : &q->tail) = t->prev;
    t->queued = false;
    q->count--;
    q->pull -= pull_of(t);
    q->moment -= moment_of(q, t);
}

u64 runqueue_deadline(struct thread *t)
{
    t->vslice = share_slice(t->process->share, t->weight, slice_tsc());
    t->vdeadline = t->vruntime + t->vslice;
    return t->vdeadline;
}

u64 runqueue_now(const struct runqueue *q)
{
    const struct thread *t = q->cpu->running;
    s64 pull = q->pull, moment = q->moment;

    if (!thread_is_idle(t) && t->state == THREAD_RUNNABLE) {
        pull += pull_of(t);
        moment += moment_of(q, t);
    }
    return q->zero + (pull ? (u64)(moment / pull) : 0);
}

struct thread *runqueue_best(struct runqueue *q, struct thread *me)
{
    u64 now = runqueue_now(q);
    struct thread *best = q->head;

    while (best && virtual_before(now, best->vruntime)) {
        best = best->next;
    }
    if (me && !virtual_before(now, me->vruntime) &&
        !(best && virtual_before(best->vdeadline, me->vdeadline))) {
        return me;
    }
    /* in the average there is always one, but for rounding */
    return best ? best : me ? me : q->head;
}

/* --- time --- */

static void move_zero(struct runqueue *q, u64 to)
{
    if (virtual_before(q->zero, to)) {
        q->moment -= q->pull * (s64)(to - q->zero);
        q->zero = to;
    }
}

static void not_before(struct thread *t, u64 vruntime)
{
    if (virtual_before(t->vruntime, vruntime)) {
        t->vruntime = vruntime;
    }
}

void runqueue_pass(const struct runqueue *q, struct thread *me, const struct thread *next)
{
    for (const struct thread *t = q->head; t; t = t->next) {
        if (t == next || t->process == me->process) {
            not_before(me, t->vruntime);
        }
    }
}

/* The time of a CPU that was idle stood. */
static u64 catch_up(struct runqueue *q)
{
    move_zero(q, __atomic_load_n(&recent, __ATOMIC_RELAXED));
    return q->zero;
}

/* t went on where it slept, with nobody else there, and is looked at only now. */
static void count_in_late(struct runqueue *q, struct thread *t)
{
    t->counted = t->weight;
    t->share_clock = share_change(t->process->share, 0, t->weight, t->started_tsc);
    not_before(t, catch_up(q) - t->vslice);
}

void runqueue_account(struct runqueue *q, u64 now)
{
    struct thread *t = q->cpu->running;
    u64 ran =
        now > t->started_tsc ? now - t->started_tsc : 0; /* CPUs' clocks may differ a little */

    if (!t->counted && !thread_is_idle(t)) {
        count_in_late(q, t);
    }
    t->started_tsc += ran;
    t->times.run_tsc += ran;
    if (thread_is_idle(t)) {
        q->cpu->idle_tsc += ran;
        return;
    }
    q->cpu->user_tsc += ran;
    u64 clock = share_charge(t->process->share, now, ran);
    t->vruntime += share_virtual(t->process->share, t->weight, clock - t->share_clock);
    t->share_clock = clock;
    runqueue_deadline(t);
    bool last = q->head && virtual_before(q->head->vruntime, t->vruntime);
    move_zero(q, last ? q->head->vruntime : t->vruntime);
}

/* Exact to 1/4096 of a slice. */
static u64 cost_of(const struct thread *t, u64 ticks)
{
    return t->vslice / 4096 * (ticks * 4096 / slice_tsc());
}

static void move_cost(struct thread *from, struct thread *to, u64 ticks)
{
    from->vruntime -= cost_of(from, ticks);
    share_bill(from->process->share, 0, ticks);
    to->vruntime += cost_of(to, ticks);
    share_bill(to->process->share, ticks, 0);
}

void runqueue_bill(struct runqueue *q, struct thread *next, u64 since, u64 now)
{
    struct thread *me = q->cpu->current;

    if (next->woken && me->state == THREAD_RUNNABLE) {
        move_cost(me, next, MIN(now - since, COST_MAX));
    } else if (q->visit && !next->woken && !thread_is_idle(next)) {
        move_cost(next, me, q->switch_tsc);
    }
    q->visit = next->woken;
    q->switched_tsc = now;
}

void runqueue_switched(struct runqueue *q, u64 now)
{
    q->switch_tsc = MIN(now - q->switched_tsc, COST_MAX);
}

/* After such a sleep virtual times cannot be compared. */
static void forget(struct runqueue *q, struct thread *t, u64 now)
{
    if (UNLIKELY(now > t->started_tsc + FORGET_S * arch_tsc_hz)) {
        t->vruntime = q->zero;
    }
}

void runqueue_begin(struct runqueue *q, u64 now)
{
    struct thread *t = q->cpu->running;
    struct thread_times *s = &t->times;

    if (now >= q->turn_end) { /* not later at each switch: what is due comes in a turn's time */
        q->turn_end = now + turn_tsc();
    }
    forget(q, t, now);
    t->started_tsc = now;
    t->woken = false;
    if (!t->counted) { /* the idle thread, or one that goes on where it slept */
        q->visit = false;
        return;
    }
    t->share_clock = share_charge(t->process->share, now, 0);
    u64 waited = now > t->queued_tsc ? now - t->queued_tsc : 0;
    /* what it has coming may have become worth more, since siblings sleep now */
    runqueue_deadline(t);
    u64 at = runqueue_now(q);
    not_before(t, at - REACH * t->vslice);
    s64 lag = (s64)(at - t->vruntime);
    s->wait_tsc += waited;
    s->longest_wait_tsc = MAX(s->longest_wait_tsc, waited);
    if (lag > 0) {
        u64 slices_64 = MIN((u64)lag, BIT(57)) * 64 / t->vslice;
        s->lag_tsc = MAX(s->lag_tsc, slices_64 * (slice_tsc() / 64));
    }
}

/* --- coming into a queue --- */

void runqueue_count_in(struct thread *t, u64 now)
{
    t->counted = t->weight;
    t->queued_tsc = now;
    t->woken = true;
    t->share_clock = share_change(t->process->share, 0, t->weight, now);
}

void runqueue_count_out(struct thread *t, u64 now)
{
    if (t->counted) {
        share_change(t->process->share, t->counted, 0, now);
        t->counted = 0;
    }
}

/* Where q's time is when somebody comes; that of an idle CPU stands. */
static u64 arrival(struct runqueue *q)
{
    return !q->count && thread_is_idle(q->cpu->running) ? catch_up(q) : runqueue_now(q);
}

/* What all threads of a share have had counts for each: or they would only have to take turns. */
static void not_before_share(struct thread *t, u64 at)
{
    u64 all = share_now(t->process->share, at, slice_tsc(), 2 * t->vslice);

    not_before(t, all - t->vslice);
}

void runqueue_place_new(struct runqueue *q, struct thread *t)
{
    runqueue_deadline(t);
    t->vruntime = arrival(q);
    not_before_share(t, t->vruntime);
}

void runqueue_place_woken(struct runqueue *q, struct thread *t, u64 now)
{
    runqueue_deadline(t);
    u64 at = arrival(q);
    forget(q, t, now);
    not_before(t, at - t->vslice); /* sleep earns at most a slice */
    not_before_share(t, at);
    t->vdeadline = t->vruntime + t->vslice;
}

void runqueue_place_moved(struct runqueue *q, struct thread *t)
{
    runqueue_deadline(t);
    u64 at = arrival(q), last = at + REACH * t->vslice;

    not_before(t, at - REACH * t->vslice);
    if (virtual_before(last, t->vruntime)) {
        t->vruntime = last;
    }
}

/* --- blocked threads --- */

void runqueue_wait(struct runqueue *q, struct thread *t)
{
    struct thread **at = &q->waiting;

    while (*at && (*at)->deadline <= t->deadline) {
        at = &(*at)->wait_next;
    }
    t->wait_next = *at;
    *at = t;
    t->waiting = true;
}

void runqueue_wait_no_more(struct runqueue *q, struct thread *t)
{
    struct thread **at = &q->waiting;

    if (!t->waiting) {
        return;
    }
    while (*at != t) {
        at = &(*at)->wait_next;
    }
    *at = t->wait_next;
    t->waiting = false;
}

/* --- the board --- */

/* May the queued thread t go to the CPUs of the mask? Not while its vCPU is in its CPU, which alone
 * can evict it. */
static u64 may_go(const struct thread *t, u64 mask)
{
    bool resident = t->vcpu && __atomic_load_n(&t->vcpu->cpu, __ATOMIC_ACQUIRE) >= 0;

    return resident ? 0 : t->affinity & mask;
}

/* Should a thread of another CPU, as its queue shows it, run before what a CPU has? A slice of the
 * heavier one is borne with, or threads would never stay where their memory is cached. */
static bool is_late(const struct notice *n, const struct offer *own)
{
    return !own || (virtual_before(n->deadline + MIN(n->slice, own->slice), own->deadline) &&
                    !virtual_before(own->now, n->vruntime));
}

static bool is_later(const struct notice *n, const struct notice *than)
{
    return virtual_before(n->deadline + n->slice, than->deadline + than->slice);
}

/* The thread of q that has most reason to go to one of the CPUs; out->mask 0: none. */
static struct thread *find(const struct runqueue *q, u64 mask, const struct offer *own,
                           struct notice *out)
{
    struct thread *t = thread_is_idle(q->cpu->running) ? NULL : q->head; /* else it is next there */
    struct thread *found = NULL;
    u64 now = t ? runqueue_now(q) : 0;

    out->mask = 0;
    for (u32 i = 0; t && i < LOOKS; i++, t = t->next) {
        struct notice n = {may_go(t, mask), t->vruntime, t->vdeadline, t->vslice, now};
        if (n.mask && is_late(&n, own) && (!found || is_later(&n, out))) {
            *out = n;
            found = t;
        }
    }
    return found;
}

u64 runqueue_publish(struct runqueue *q)
{
    struct notice *on = &board[q->cpu->id], n;

    q->soon = q->head && q->head->woken;
    if (!q->count && !on->mask) {
        return 0;
    }
    if (find(q, ~BIT(q->cpu->id), NULL, &n)) {
        __atomic_store_n(&on->vruntime, n.vruntime, __ATOMIC_RELAXED);
        __atomic_store_n(&on->deadline, n.deadline, __ATOMIC_RELAXED);
        __atomic_store_n(&on->slice, n.slice, __ATOMIC_RELAXED);
        __atomic_store_n(&on->now, n.now, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&on->mask, n.mask, __ATOMIC_SEQ_CST);
    return n.mask;
}

static struct notice read_notice(u32 cpu)
{
    const struct notice *n = &board[cpu];

    return (struct notice){__atomic_load_n(&n->mask, __ATOMIC_RELAXED),
                           __atomic_load_n(&n->vruntime, __ATOMIC_RELAXED),
                           __atomic_load_n(&n->deadline, __ATOMIC_RELAXED),
                           __atomic_load_n(&n->slice, __ATOMIC_RELAXED),
                           __atomic_load_n(&n->now, __ATOMIC_RELAXED)};
}

bool board_has(u32 cpu)
{
    for (u32 i = 0; i < cpu_count; i++) {
        if (__atomic_load_n(&board[i].mask, __ATOMIC_SEQ_CST) & BIT(cpu)) {
            return true;
        }
    }
    return false;
}

s32 board_latest(struct runqueue *q, const struct offer *own)
{
    struct notice best;
    s32 found = -1;

    for (u32 i = 0; i < cpu_count; i++) {
        struct notice n = read_notice(i);
        if (!n.mask || i == q->cpu->id) {
            continue;
        }
        if (n.mask & BIT(q->cpu->id) && is_late(&n, own) && (found < 0 || is_later(&n, &best))) {
            found = (s32)i;
            best = n;
        }
    }
    if (own) {
        __atomic_store_n(&recent, own->now, __ATOMIC_RELAXED);
    }
    return found;
}

struct thread *runqueue_late(const struct runqueue *q, u32 to, const struct offer *own)
{
    struct notice n;

    return find(q, BIT(to), own, &n);
}

void runqueue_forgive(struct runqueue *q)
{
    struct thread *me = q->cpu->running;
    u64 least = 0;
    bool any = false;

    for (u32 i = 0; i < cpu_count; i++) {
        struct notice n = read_notice(i);
        if (i != q->cpu->id && n.mask && (!any || virtual_before(n.now, least))) {
            least = n.now;
            any = true;
        }
    }
    if (!any || thread_is_idle(me)) {
        return;
    }
    s64 excess = (s64)(least - me->vdeadline - REACH * me->vslice);
    for (struct thread *t = q->head; t && excess > 0; t = t->next) {
        excess = MIN(excess, (s64)(least - t->vdeadline - REACH * t->vslice));
    }
    if (excess <= 0) {
        return;
    }
    me->vruntime += (u64)excess;
    for (struct thread *t = q->head; t; t = t->next) {
        t->vruntime += (u64)excess;
        t->vdeadline += (u64)excess;
    }
    q->zero += (u64)excess;
}

struct runqueue *runqueue_roomiest(const struct thread *t)
{
    struct runqueue *best = NULL;
    u32 least = 0;

    for (u32 i = 0; i < cpu_count; i++) {
        struct runqueue *q = runqueue_of(i);
        u32 threads = q ? q->count + !thread_is_idle(q->cpu->running) : 0;
        if (q && t->affinity & BIT(i) && (!best || threads < least)) {
            best = q;
            least = threads;
        }
    }
    ASSERT(best);
    return best;
}
