/* SPDX-License-Identifier: MIT */
/* The weighted fair scheduler. */
#include "kernel/sched.h"

#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/process.h"
#include "kernel/runqueue.h"
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include "kernel/vcpu.h"
#include "kernel/vm.h"
#include "lib/string.h"

static u64 idle_mask; /* shared: CPUs that wait in arch_idle() */

/* The next moment at which this CPU's timer has work. A guest's slice is bounded by its own timer
 * too. */
static void arm_timer(struct runqueue *q)
{
    struct cpu *c = q->cpu;
    u64 at = q->waiting ? q->waiting->deadline : ~0ull;

    if (!thread_is_idle(c->running)) {
        /* Whoever wakes waits until then anyway: many deadlines cost one interrupt. */
        at = MAX(at, q->turn_end);
        /* A switch that is due already arms the timer again; until then a slice that is over must
         * not make it fire again and again. */
        if (!(__atomic_load_n(&c->hazards, __ATOMIC_RELAXED) & CPU_HAZARD_RESCHED)) {
            at = MIN(at, c->slice_end);
        }
    }
    if (at != c->deadline) {
        c->deadline = at;
        arch_timer_set(at);
    }
}

/* A CPU looks again who shall run. One that has been told and did not yet look needs no interrupt.
 */
static void resched(struct cpu *c)
{
    u32 before = __atomic_fetch_or(&c->hazards, CPU_HAZARD_RESCHED, __ATOMIC_SEQ_CST);

    if (!(before & CPU_HAZARD_RESCHED) && c != cpu_this()) {
        arch_kick(c);
    }
}

/* q has changed: others see it, and an idle CPU may take who waits. Lock held. */
static void show(struct runqueue *q)
{
    u64 takers = runqueue_publish(q);

    takers &= takers ? __atomic_load_n(&idle_mask, __ATOMIC_SEQ_CST) : 0;
    if (takers) {
        resched(cpus[__builtin_ctzll(takers)]);
    }
}

/* t came into q: it may go before the thread that runs, whose slice then ends early. Lock held. */
static void preempt(struct runqueue *q, const struct thread *t, u64 now)
{
    struct cpu *c = q->cpu;

    if (thread_is_idle(c->running)) {
        resched(c);
        return;
    }
    u64 at = MAX(now, q->turn_end);
    if (at < c->slice_end && virtual_before(t->vdeadline, c->current->vdeadline) &&
        !virtual_before(runqueue_now(q), t->vruntime)) {
        __atomic_store_n(&c->slice_end, at, __ATOMIC_RELAXED);
        resched(c); /* at once, or to arm its timer */
    }
}

/* --- switching --- */

static void bury(struct thread *t)
{
    spin_lock(&kernel_lock);
    object_unref(&t->object);
    spin_unlock(&kernel_lock);
}

static void move(struct thread *t);

/* First thing on the new thread's stack: the queue's lock was taken by the thread before it. */
static void finish_switch(void)
{
    struct runqueue *q = cpu_this()->runqueue;
    struct thread *ended = q->ended, *leaving = q->leaving;

    q->ended = NULL;
    q->leaving = NULL;
    arm_timer(q);
    show(q);
    spin_unlock(&q->lock);
    if (ended) {
        bury(ended);
    }
    if (leaving) {
        move(leaving);
    }
}

/* The thread that wants this CPU most, NULL: none. */
static struct thread *pick(struct runqueue *q, struct thread *me, u64 now)
{
    bool pass = q->pass;
    bool may_stay = me->state == THREAD_RUNNABLE && me->affinity & BIT(q->cpu->id);

    q->pass = false;
    if (may_stay && (!q->count || (now < q->cpu->slice_end && !pass))) {
        return me;
    }
    struct thread *best = runqueue_best(q, may_stay && !pass ? me : NULL);
    if (best && pass) {
        runqueue_pass(q, me, best);
    }
    return best;
}

/* The CPU's time is t's from now on. Who sets a hazard and finds that t does not run need not kick:
 * t looks at its hazards later than here. */
static void begin(struct runqueue *q, struct thread *t, u64 now)
{
    struct cpu *c = q->cpu;

    c->slice_end = t == c->idle ? ~0ull : now + (t->woken ? turn_tsc() : slice_tsc());
    __atomic_store_n(&c->running, t, __ATOMIC_SEQ_CST);
    runqueue_begin(q, now);
}

static void rest(struct runqueue *q);
static bool pull(struct runqueue *q);
static void wake_due(struct runqueue *q, u64 now);

/* Who is to run, NULL: nobody. */
static struct thread *choose(struct runqueue *q, u64 now)
{
    struct cpu *c = q->cpu;
    struct thread *me = c->current;

    __atomic_and_fetch(&c->hazards, ~CPU_HAZARD_RESCHED, __ATOMIC_SEQ_CST);
    runqueue_account(q, now);
    if (me->state != THREAD_RUNNABLE) {
        runqueue_count_out(me, now);
    } else if (c->running != me) { /* woken where it slept */
        if (q->count || !(me->affinity & BIT(c->id))) {
            runqueue_count_in(me, now);
            runqueue_place_woken(q, me, now);
        }
        c->slice_end = now;
    }
    return pick(q, me, now);
}

/* since: from when on the caller could do nothing of its own. Lock held; released by whoever runs
 * next. */
static void switch_thread(struct runqueue *q, u64 since)
{
    struct cpu *c = q->cpu;
    struct thread *me = c->current, *next;
    u64 now = arch_tsc();

    while (!(next = choose(q, now)) && me->state == THREAD_BLOCKED) {
        begin(q, c->idle, now);
        rest(q);
        since = now = arch_tsc();
        wake_due(q, now);
    }
    if (next == me) {
        if (c->running != me) {
            begin(q, me, now);
        } else if (now >= c->slice_end) {
            c->slice_end = now + slice_tsc();
            q->visit = false;
        }
        arm_timer(q);
        if (q->count) { /* else nobody is shown */
            show(q);
        }
        spin_unlock(&q->lock);
        return;
    }
    next = next ? next : c->idle;
    /* A thread that waits in a queue may be stolen, so nothing of its vCPU stays here. */
    if (me->state == THREAD_RUNNABLE && me->vcpu && c->resident == me->vcpu) {
        vcpu_evict(c);
    }
    if (next != c->idle) {
        runqueue_remove(q, next);
        vcpu_leave_msrs(c);
    }
    runqueue_bill(q, next, since, now);
    q->ended = me->state == THREAD_ENDED ? me : NULL;
    if (me->state == THREAD_RUNNABLE) {
        me->queued_tsc = now;
        if (me->affinity & BIT(c->id)) {
            runqueue_add(q, me);
        } else {
            q->leaving = me;
        }
    }
    c->current = next;
    begin(q, next, now);
    c->kernel_rsp = (u64)next->stack;
    c->switches++;
    if (!(next->affinity & BIT(c->id))) {
        resched(c); /* it leaves as soon as it is evicted */
    }
    struct aspace *aspace = next->process ? next->process->aspace : NULL;
    if (aspace != c->aspace) {
        arch_aspace_load(aspace);
    }
    arch_context_switch(&me->context, &next->context);
    finish_switch(); /* me again, perhaps on another CPU */
}

/* Is there a reason to look who shall run? */
static bool has_work(struct runqueue *q)
{
    return __atomic_load_n(&q->count, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&q->cpu->current->state, __ATOMIC_SEQ_CST) == THREAD_RUNNABLE;
}

/*
 * Nobody wants this CPU, and so it waits in the context of the thread that blocked here last: its
 * vCPU, its address space and its stack stay where they are, and if it wakes first, nothing has to
 * be switched. Until then the CPU's time is the idle thread's. Lock held before and after.
 *
 * No wake-up is lost. Whoever brings work queues a thread or makes the sleeping one runnable, then
 * sets RESCHED, and kicks unless it was set. Here RESCHED was cleared (choose()), then all is
 * looked at: so either the work is seen, or RESCHED was set after that, with a kick, which is
 * pending if it comes before the HLT, for interrupts are off until then. Who shows a thread on the
 * board looks at idle_mask later, and here the board is looked at after that was set.
 */
static void rest(struct runqueue *q)
{
    struct cpu *c = q->cpu;

    arm_timer(q);
    spin_unlock(&q->lock);
    __atomic_or_fetch(&idle_mask, BIT(c->id), __ATOMIC_SEQ_CST);
    bool others = board_has(c->id);
    if (!others && !has_work(q) && !__atomic_load_n(&c->hazards, __ATOMIC_SEQ_CST)) {
        arch_idle();
    }
    __atomic_and_fetch(&idle_mask, ~BIT(c->id), __ATOMIC_SEQ_CST);
    if (others) {
        pull(q);
    }
    if (UNLIKELY(__atomic_load_n(&c->hazards, __ATOMIC_SEQ_CST) & ~CPU_HAZARD_RESCHED)) {
        kernel_idle_hazards();
    }
    spin_lock(&q->lock);
}

/* Once in a slice a CPU that is busy sees to it that it does not run ahead of the others; if one
 * that woke is next, for a short turn, then what comes after that is looked at. */
static void look_around(struct runqueue *q)
{
    if (!q->soon && !thread_is_idle(q->cpu->running) && arch_tsc() >= q->look_tsc) {
        pull(q);
    }
}

void sched_yield(u64 since)
{
    struct runqueue *q = cpu_this()->runqueue;

    look_around(q);
    spin_lock(&q->lock);
    switch_thread(q, since);
}

void sched_pass(void)
{
    struct runqueue *q = cpu_this()->runqueue;

    q->pass = true;
    resched(q->cpu);
}

void sched_prepare_block(void)
{
    /* before the caller looks at its condition: sched_wake() looks the other way round */
    __atomic_store_n(&cpu_this()->current->state, THREAD_BLOCKED, __ATOMIC_SEQ_CST);
}

void sched_cancel_block(void)
{
    /* one that wakes it at the same time does the same */
    __atomic_store_n(&cpu_this()->current->state, THREAD_RUNNABLE, __ATOMIC_RELEASE);
}

bool sched_block(u64 deadline)
{
    struct runqueue *q = cpu_this()->runqueue;
    struct thread *me = q->cpu->current;

    look_around(q);
    spin_lock(&q->lock);
    if (me->state != THREAD_BLOCKED || deadline <= arch_tsc()) {
        bool woken = me->state != THREAD_BLOCKED;
        me->state = THREAD_RUNNABLE;
        spin_unlock(&q->lock);
        return woken;
    }
    me->timed_out = false;
    me->deadline = deadline;
    if (deadline != ~0ull) {
        runqueue_wait(q, me);
    }
    switch_thread(q, arch_tsc());
    return !me->timed_out;
}

/* A blocked thread of q becomes runnable; lock held. One in whose context its CPU still is, or
 * sleeps, is not queued: switch_thread() finds it runnable. */
static void make_runnable(struct runqueue *q, struct thread *t)
{
    runqueue_wait_no_more(q, t);
    __atomic_store_n(&t->state, THREAD_RUNNABLE, __ATOMIC_RELAXED);
    if (t == q->cpu->current) {
        if (t != q->cpu->running && q->cpu != cpu_this()) {
            resched(q->cpu);
        }
    } else {
        u64 now = arch_tsc();
        runqueue_count_in(t, now);
        runqueue_account(q, now);
        runqueue_place_woken(q, t, now);
        runqueue_add(q, t);
        preempt(q, t, now);
        show(q);
    }
}

/* Locks the queue that t belongs to; t may move until the lock is held. */
static struct runqueue *lock_thread(struct thread *t)
{
    for (;;) {
        u32 cpu = __atomic_load_n(&t->cpu, __ATOMIC_ACQUIRE);
        struct runqueue *q = runqueue_of(cpu);
        spin_lock(&q->lock);
        if (__atomic_load_n(&t->cpu, __ATOMIC_ACQUIRE) == cpu) {
            return q;
        }
        spin_unlock(&q->lock);
    }
}

bool sched_wake(struct thread *t)
{
    /* What it waits for was set before this look, and it looks for that after it set its state: one
     * of the two sees the other. So to wake a thread again and again that does not sleep disturbs
     * no other CPU. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&t->state, __ATOMIC_SEQ_CST) != THREAD_BLOCKED) {
        return false;
    }
    struct runqueue *q = lock_thread(t);
    bool slept = t->state == THREAD_BLOCKED;
    if (slept) {
        make_runnable(q, t);
    }
    spin_unlock(&q->lock);
    return slept;
}

/* --- balance --- */

/* Puts a thread that is in no queue into q. */
static void put(struct runqueue *q, struct thread *t,
                void (*place)(struct runqueue *, struct thread *))
{
    spin_lock(&q->lock);
    u64 now = arch_tsc();
    runqueue_account(q, now);
    __atomic_store_n(&t->cpu, q->cpu->id, __ATOMIC_RELEASE);
    place(q, t);
    runqueue_add(q, t);
    preempt(q, t, now);
    show(q);
    spin_unlock(&q->lock);
}

/* Takes a thread out of q for another CPU; NULL: none is to go any more. Until it is put there it
 * is in no queue, and its state is runnable, so nobody looks for it: one queue is locked at a time.
 */
static struct thread *take(struct runqueue *q, u32 to, const struct offer *own)
{
    spin_lock(&q->lock);
    struct thread *t = runqueue_late(q, to, own);
    if (t) {
        runqueue_remove(q, t);
        __atomic_store_n(&t->cpu, to, __ATOMIC_RELEASE);
    }
    show(q);
    spin_unlock(&q->lock);
    return t;
}

/* Takes the thread that is latest elsewhere if it should run before those of this queue. */
static bool pull(struct runqueue *q)
{
    struct thread *me = q->cpu->running;
    struct offer own;

    spin_lock(&q->lock);
    runqueue_account(q, arch_tsc());
    runqueue_forgive(q);
    bool stays = !thread_is_idle(me) && me->state == THREAD_RUNNABLE && !q->pass;
    const struct thread *best = runqueue_best(q, stays ? me : NULL);
    if (best) {
        own = (struct offer){best->vdeadline, best->vslice, runqueue_now(q)};
    }
    q->look_tsc = me->started_tsc + slice_tsc();
    spin_unlock(&q->lock);

    const struct offer *have = best ? &own : NULL;
    s32 from = board_latest(q, have);
    struct thread *t = from >= 0 ? take(runqueue_of((u32)from), q->cpu->id, have) : NULL;
    if (t) {
        q->cpu->steals++;
        put(q, t, runqueue_place_moved);
    }
    return t;
}

static void wake_due(struct runqueue *q, u64 now)
{
    while (q->waiting && q->waiting->deadline <= now) {
        struct thread *t = q->waiting;
        t->timed_out = true;
        make_runnable(q, t);
    }
}

void sched_tick(void)
{
    struct cpu *c = cpu_this();
    struct runqueue *q = c->runqueue;
    u64 now = arch_tsc();

    if (thread_is_idle(c->running)) {
        return; /* rest() is about to look by itself */
    }
    spin_lock(&q->lock);
    runqueue_account(q, now);
    wake_due(q, now);
    if (now >= c->slice_end) {
        resched(c);
    } else if (now >= q->turn_end) {
        q->turn_end = now + turn_tsc(); /* the next deadlines together, too */
    }
    arm_timer(q);
    spin_unlock(&q->lock);
}

static void move(struct thread *t)
{
    put(runqueue_roomiest(t), t, runqueue_place_moved);
}

void sched_add(struct thread *t)
{
    runqueue_count_in(t, arch_tsc());
    put(runqueue_roomiest(t), t, runqueue_place_new);
}

void sched_set(struct thread *t, u32 weight, u64 affinity)
{
    struct runqueue *q = lock_thread(t);
    u64 now = arch_tsc();
    bool queued = t->queued;

    runqueue_account(q, now);
    if (queued) {
        runqueue_remove(q, t);
    }
    if (t->counted) {
        share_change(t->process->share, t->counted, weight, now);
        t->counted = weight;
    }
    t->weight = weight;
    t->affinity = affinity;
    /* a vCPU that is resident here must be evicted by its own CPU: the next switch sees to it */
    bool go = queued && !(affinity & BIT(q->cpu->id)) && !(t->vcpu && t->vcpu->cpu >= 0);
    if (queued && !go) {
        runqueue_deadline(t);
        runqueue_add(q, t);
    }
    show(q);
    spin_unlock(&q->lock);
    if (go) {
        move(t);
    } else {
        sched_recheck(t);
    }
}

/* The CPU that runs t, NULL: none; a moment later it may be another. */
static struct cpu *runs_on(const struct thread *t)
{
    struct cpu *c = cpus[__atomic_load_n(&t->cpu, __ATOMIC_ACQUIRE)];

    return __atomic_load_n(&c->running, __ATOMIC_ACQUIRE) == t ? c : NULL;
}

void sched_kick(struct thread *t, void (*interrupt)(struct cpu *))
{
    struct cpu *c = runs_on(t);

    if (c && c != cpu_this()) {
        interrupt(c);
    }
}

void sched_recheck(struct thread *t)
{
    struct cpu *c = runs_on(t);

    if (c) {
        resched(c);
    }
}

void sched_block_halted(struct vcpu *v)
{
    sched_prepare_block();
    if (__atomic_load_n(&v->hazards, __ATOMIC_SEQ_CST) || thread_dying()) {
        sched_cancel_block();
    } else {
        sched_block(v->wake_tsc);
    }
}

/* --- threads' beginning and end --- */

static void thread_main(void *arg)
{
    struct thread *t = arg;

    finish_switch();
    if (thread_dying()) {
        thread_end(); /* killed before it ran: nothing would look at it again in ring 3 */
    }
    arch_enter_user(t->entry, t->user_stack, t->arg);
}

void sched_prepare_thread(struct thread *t)
{
    arch_context_init(&t->context, t->stack, thread_main, t);
}

void sched_exit(void)
{
    struct runqueue *q = cpu_this()->runqueue;

    spin_lock(&q->lock);
    __atomic_store_n(&q->cpu->current->state, THREAD_ENDED, __ATOMIC_RELEASE);
    switch_thread(q, arch_tsc());
    panic("an ended thread runs");
}

void sched_init_cpu(struct cpu *c)
{
    struct runqueue *q = kmem_alloc(sizeof(*q));
    struct thread *idle = kmem_alloc(sizeof(*idle));

    ASSERT(q && idle);
    q->cpu = c;
    idle->object = (struct object){OBJECT_THREAD, 1, NULL};
    idle->state = THREAD_BLOCKED; /* for ever */
    idle->weight = WEIGHT_NORMAL;
    idle->cpu = c->id;
    idle->affinity = BIT(c->id);
    idle->started_tsc = arch_tsc();
    idle->stack = (void *)c->kernel_rsp;
    c->idle = c->current = c->running = idle;
    c->slice_end = ~0ull;
    c->deadline = ~0ull;
    __atomic_store_n(&c->runqueue, q, __ATOMIC_RELEASE);
}

void sched_start(void)
{
    struct runqueue *q = cpu_this()->runqueue;

    for (;;) {
        spin_lock(&q->lock);
        switch_thread(q, arch_tsc());
    }
}
