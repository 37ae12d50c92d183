/* SPDX-License-Identifier: MIT */
/* The weighted fair scheduler. */
#include "kernel/sched.h"

#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/process.h"
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include "kernel/vcpu.h"
#include "kernel/vm.h"
#include "lib/string.h"

#define SLICES_PER_S  200 /* a slice is 5 ms */
#define WEIGHT_NORMAL 100

/* Guarded by lock. current is cpu->current. */
struct runqueue {
    struct spinlock lock;
    struct cpu *cpu;
    struct thread *head; /* runnable threads by vruntime; current is not among them */
    u32 count;
    u64 load;               /* sum of the weights in the list */
    u64 min_vruntime;       /* never goes back */
    struct thread *waiting; /* blocked threads with a deadline, by deadline */
    struct thread *ended;   /* left by the switch that ended it, for its successor to bury */
    struct thread *leaving; /* runnable, but no longer allowed here */
};

static u64 idle_mask; /* shared: CPUs that wait in arch_idle */

static struct runqueue *rq_of(u32 cpu)
{
    return cpus[cpu]->runqueue;
}

static u64 slice_tsc(void)
{
    return arch_tsc_hz / SLICES_PER_S;
}

static bool is_idle_thread(const struct thread *t)
{
    return !t->process;
}

/* --- queue, lock held --- */

static void enqueue(struct runqueue *q, struct thread *t)
{
    struct thread **at = &q->head;

    while (*at && (*at)->vruntime <= t->vruntime) {
        at = &(*at)->next;
    }
    t->next = *at;
    *at = t;
    t->queued = true;
    q->count++;
    q->load += t->weight;
}

static void dequeue(struct runqueue *q, struct thread *t)
{
    struct thread **at = &q->head;

    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
    t->queued = false;
    q->count--;
    q->load -= t->weight;
}

/* What a thread has had counts where it had it: with it goes only what it is ahead of that queue.
 */
static void leave_queue(const struct runqueue *q, struct thread *t)
{
    t->vruntime -= MIN(t->vruntime, q->min_vruntime);
}

static void wait_insert(struct runqueue *q, struct thread *t)
{
    struct thread **at = &q->waiting;

    while (*at && (*at)->deadline <= t->deadline) {
        at = &(*at)->wait_next;
    }
    t->wait_next = *at;
    *at = t;
    t->waiting = true;
}

static void wait_remove(struct runqueue *q, struct thread *t)
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

/* Charges the thread that runs on q's CPU for its time until now. Before a thread comes into q,
 * too: the place that it gets follows min_vruntime, which is old when that CPU has not switched for
 * long. */
static void account(struct runqueue *q, u64 now)
{
    struct thread *t = q->cpu->current;
    u64 ran =
        now > t->started_tsc ? now - t->started_tsc : 0; /* CPUs' clocks may differ a little */

    t->started_tsc += ran;
    t->run_tsc += ran;
    if (is_idle_thread(t)) {
        q->cpu->idle_tsc += ran;
        return;
    }
    q->cpu->user_tsc += ran;
    t->vruntime += ran * WEIGHT_NORMAL / t->weight;
    u64 least = q->head ? MIN(t->vruntime, q->head->vruntime) : t->vruntime;
    q->min_vruntime = MAX(q->min_vruntime, least);
}

/* The next moment at which this CPU's timer has work. A guest's slice is bounded by its own timer
 * too. */
static void arm_timer(struct runqueue *q)
{
    struct cpu *c = q->cpu;
    u64 at = q->waiting ? q->waiting->deadline : ~0ull;

    /* A switch that is due already arms the timer again; until then a slice that is over must not
     * make it fire again and again. */
    if (q->count && !(__atomic_load_n(&c->hazards, __ATOMIC_RELAXED) & CPU_HAZARD_RESCHED)) {
        at = MIN(at, c->slice_end);
    }
    if (at != c->deadline) {
        c->deadline = at;
        arch_timer_set(at);
    }
}

static void set_hazard(struct cpu *c, u32 bits)
{
    __atomic_or_fetch(&c->hazards, bits, __ATOMIC_SEQ_CST);
}

/* A thread came into q: its CPU reconsiders, and an idle one may take it. */
static void announce(struct runqueue *q, struct thread *t)
{
    struct cpu *c = q->cpu;
    u64 idle = __atomic_load_n(&idle_mask, __ATOMIC_SEQ_CST);

    set_hazard(c, CPU_HAZARD_RESCHED);
    if (c != cpu_this()) {
        arch_kick(c);
    }
    if (!(idle & BIT(c->id)) && t->affinity & idle && !(t->vcpu && t->vcpu->cpu >= 0)) {
        struct cpu *thief = cpus[__builtin_ctzll(t->affinity & idle)];
        set_hazard(thief, CPU_HAZARD_RESCHED);
        if (thief != cpu_this()) {
            arch_kick(thief);
        }
    }
}

/* --- switching --- */

static void bury(struct thread *t)
{
    spin_lock(&kernel_lock);
    object_unref(&t->object);
    spin_unlock(&kernel_lock);
}

/* First thing on the new thread's stack: the queue's lock was taken by the thread before it. */
static void finish_switch(void)
{
    struct runqueue *q = cpu_this()->runqueue;
    struct thread *ended = q->ended, *leaving = q->leaving;

    q->ended = NULL;
    q->leaving = NULL;
    arm_timer(q);
    spin_unlock(&q->lock);
    if (ended) {
        bury(ended);
    }
    if (leaving) {
        sched_add(leaving);
    }
}

static struct thread *pick(struct runqueue *q, struct thread *me, u64 now)
{
    struct thread *best = q->head;
    bool may_stay =
        !is_idle_thread(me) && me->state == THREAD_RUNNABLE && me->affinity & BIT(q->cpu->id);

    /* Within its slice a thread goes on unless another one is a whole slice behind it. */
    if (may_stay && (!best || me->vruntime <= best->vruntime ||
                     (now < q->cpu->slice_end && me->vruntime < best->vruntime + slice_tsc()))) {
        return me;
    }
    return best ? best : q->cpu->idle;
}

/* Lock held; released by whoever runs next. */
static void switch_thread(struct runqueue *q)
{
    struct cpu *c = q->cpu;
    struct thread *me = c->current;
    u64 now = arch_tsc();

    __atomic_and_fetch(&c->hazards, ~CPU_HAZARD_RESCHED, __ATOMIC_SEQ_CST);
    account(q, now);
    struct thread *next = pick(q, me, now);
    if (next == me) {
        if (now >= c->slice_end) {
            c->slice_end = now + slice_tsc();
        }
        arm_timer(q);
        spin_unlock(&q->lock);
        return;
    }

    /* A thread that waits in a queue may be stolen, so nothing of its vCPU stays here. */
    if (me->state == THREAD_RUNNABLE && me->vcpu && c->resident == me->vcpu) {
        vcpu_evict(c);
    }
    if (me->state == THREAD_ENDED) {
        q->ended = me;
    } else if (me->state == THREAD_RUNNABLE && !is_idle_thread(me)) {
        if (me->affinity & BIT(c->id)) {
            enqueue(q, me);
        } else {
            q->leaving = me;
            leave_queue(q, me);
        }
    }
    if (next != c->idle) {
        dequeue(q, next);
        vcpu_leave_msrs(c);
    }
    next->started_tsc = now;
    c->slice_end = next == c->idle ? ~0ull : now + slice_tsc();
    c->current = next;
    c->kernel_rsp = (u64)next->stack;
    c->switches++;
    if (!(next->affinity & BIT(c->id))) {
        set_hazard(c, CPU_HAZARD_RESCHED); /* it leaves as soon as it is evicted */
    }
    struct aspace *aspace = next->process ? next->process->aspace : NULL;
    if (aspace != c->aspace) {
        arch_aspace_load(aspace);
    }
    arch_context_switch(&me->context, &next->context);
    finish_switch(); /* me again, perhaps on another CPU */
}

void sched_yield(void)
{
    struct runqueue *q = cpu_this()->runqueue;

    spin_lock(&q->lock);
    switch_thread(q);
}

void sched_prepare_block(void)
{
    struct cpu *c = cpu_this();
    struct runqueue *q = c->runqueue;

    spin_lock(&q->lock);
    c->current->state = THREAD_BLOCKED;
    spin_unlock(&q->lock);
}

void sched_cancel_block(void)
{
    struct cpu *c = cpu_this();
    struct runqueue *q = c->runqueue;

    spin_lock(&q->lock);
    c->current->state = THREAD_RUNNABLE;
    spin_unlock(&q->lock);
}

bool sched_block(u64 deadline)
{
    struct cpu *c = cpu_this();
    struct thread *me = c->current;
    struct runqueue *q = c->runqueue;

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
        wait_insert(q, me);
    }
    switch_thread(q);
    return !me->timed_out;
}

/* A blocked thread of q becomes runnable; lock held. A thread that is blocked but still on its way
 * into switch_thread() is not queued here: the switch finds it runnable. */
static void make_runnable(struct runqueue *q, struct thread *t)
{
    wait_remove(q, t);
    t->state = THREAD_RUNNABLE;
    if (t != q->cpu->current) {
        account(q, arch_tsc());
        /* sleep earns at most one slice */
        u64 floor = q->min_vruntime - MIN(q->min_vruntime, slice_tsc());
        t->vruntime = MAX(t->vruntime, floor);
        enqueue(q, t);
        announce(q, t);
    }
}

/* Locks the queue that t belongs to; t may move until the lock is held. */
static struct runqueue *lock_thread(struct thread *t)
{
    for (;;) {
        u32 cpu = __atomic_load_n(&t->cpu, __ATOMIC_ACQUIRE);
        struct runqueue *q = rq_of(cpu);
        spin_lock(&q->lock);
        if (__atomic_load_n(&t->cpu, __ATOMIC_ACQUIRE) == cpu) {
            return q;
        }
        spin_unlock(&q->lock);
    }
}

void sched_wake(struct thread *t)
{
    struct runqueue *q = lock_thread(t);

    if (t->state == THREAD_BLOCKED) {
        make_runnable(q, t);
    }
    spin_unlock(&q->lock);
}

/* --- balance --- */

static u64 load_of(const struct runqueue *q)
{
    const struct thread *t = q->cpu->current;

    return q->load + (is_idle_thread(t) ? 0 : t->weight);
}

/* May the queued thread t go from q to another CPU, and does that make the loads more equal? */
static bool may_move(const struct runqueue *q, const struct thread *t, const struct runqueue *to)
{
    return t->affinity & BIT(to->cpu->id) && !(t->vcpu && t->vcpu->cpu >= 0) &&
           load_of(to) + t->weight < load_of(q);
}

/* Takes a thread out of q for the CPU of `to`; NULL: none should go. Until it is put there it is in
 * no queue, and its state is runnable, so nobody looks for it: one queue is locked at a time. */
static struct thread *take_for(struct runqueue *q, const struct runqueue *to)
{
    spin_lock(&q->lock);
    struct thread *t = q->head;
    while (t && !may_move(q, t, to)) {
        t = t->next;
    }
    if (t) {
        dequeue(q, t);
        leave_queue(q, t);
        __atomic_store_n(&t->cpu, to->cpu->id, __ATOMIC_RELEASE);
    }
    spin_unlock(&q->lock);
    return t;
}

/* Puts a thread that is in no queue into q. */
static void put(struct runqueue *q, struct thread *t)
{
    spin_lock(&q->lock);
    account(q, arch_tsc());
    __atomic_store_n(&t->cpu, q->cpu->id, __ATOMIC_RELEASE);
    t->vruntime += q->min_vruntime;
    t->state = THREAD_RUNNABLE;
    enqueue(q, t);
    announce(q, t);
    spin_unlock(&q->lock);
}

/* Takes a thread from the most loaded CPU if that evens things out. */
static bool steal(struct runqueue *mine)
{
    struct runqueue *victim = NULL;

    for (u32 i = 0; i < cpu_count; i++) {
        struct runqueue *q = rq_of(i);
        if (q && q->count && q != mine && (!victim || load_of(q) > load_of(victim))) {
            victim = q;
        }
    }
    struct thread *t = victim ? take_for(victim, mine) : NULL;
    if (t) {
        mine->cpu->steals++;
        put(mine, t);
    }
    return t;
}

/* Gives a thread to another CPU if that evens things out: one that runs a single thread or none has
 * no tick, and would not look. */
static void give(struct runqueue *mine)
{
    for (u32 i = 0; i < cpu_count; i++) {
        struct runqueue *q = rq_of(i);
        struct thread *t = q && q != mine && mine->count ? take_for(mine, q) : NULL;
        if (t) {
            put(q, t);
        }
    }
}

void sched_tick(void)
{
    struct cpu *c = cpu_this();
    struct runqueue *q = c->runqueue;
    u64 now = arch_tsc();

    spin_lock(&q->lock);
    account(q, now);
    while (q->waiting && q->waiting->deadline <= now) {
        struct thread *t = q->waiting;
        t->timed_out = true;
        make_runnable(q, t);
    }
    bool over = !is_idle_thread(c->current) && now >= c->slice_end;
    if (over && q->count) {
        set_hazard(c, CPU_HAZARD_RESCHED);
    } else if (over) {
        c->slice_end = now + slice_tsc();
    }
    arm_timer(q);
    spin_unlock(&q->lock);
    if (over && !steal(q)) {
        give(q);
    }
}

void sched_add(struct thread *t)
{
    struct runqueue *best = NULL;

    for (u32 i = 0; i < cpu_count; i++) {
        struct runqueue *q = rq_of(i);
        if (q && t->affinity & BIT(i) && (!best || load_of(q) < load_of(best))) {
            best = q;
        }
    }
    ASSERT(best);
    put(best, t);
}

void sched_set(struct thread *t, u32 weight, u64 affinity)
{
    struct runqueue *q = lock_thread(t);

    if (t->queued) {
        q->load = q->load - t->weight + weight;
    }
    t->weight = weight;
    t->affinity = affinity;
    /* a vCPU that is resident here must be evicted by its own CPU: the next switch sees to it */
    bool move = t->queued && !(affinity & BIT(q->cpu->id)) && !(t->vcpu && t->vcpu->cpu >= 0);
    if (move) {
        dequeue(q, t);
        leave_queue(q, t);
    }
    spin_unlock(&q->lock);
    if (move) {
        sched_add(t);
    } else {
        sched_kick(t);
    }
}

void sched_kick(struct thread *t)
{
    struct cpu *c = cpus[__atomic_load_n(&t->cpu, __ATOMIC_ACQUIRE)];

    if (__atomic_load_n(&c->current, __ATOMIC_ACQUIRE) == t) {
        set_hazard(c, CPU_HAZARD_RESCHED);
        if (c != cpu_this()) {
            arch_kick(c);
        }
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
    struct cpu *c = cpu_this();
    struct runqueue *q = c->runqueue;

    spin_lock(&q->lock);
    c->current->state = THREAD_ENDED;
    switch_thread(q);
    panic("an ended thread runs");
}

void sched_init_cpu(struct cpu *c)
{
    struct runqueue *q = kmem_alloc(sizeof(*q));
    struct thread *idle = kmem_alloc(sizeof(*idle));

    ASSERT(q && idle);
    q->cpu = c;
    idle->object = (struct object){OBJECT_THREAD, 1, NULL};
    idle->weight = WEIGHT_NORMAL;
    idle->cpu = c->id;
    idle->affinity = BIT(c->id);
    idle->started_tsc = arch_tsc();
    idle->stack = (void *)c->kernel_rsp;
    c->idle = idle;
    c->current = idle;
    c->slice_end = ~0ull;
    c->deadline = ~0ull;
    __atomic_store_n(&c->runqueue, q, __ATOMIC_RELEASE);
}

void sched_start(void)
{
    struct cpu *c = cpu_this();
    struct runqueue *q = c->runqueue;

    for (;;) {
        kernel_idle_hazards();
        if (q->count || steal(q)) {
            sched_yield();
            continue;
        }
        /* From here on a waker kicks this CPU; what came before is seen by the check. */
        __atomic_or_fetch(&idle_mask, BIT(c->id), __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&q->count, __ATOMIC_SEQ_CST) &&
            !__atomic_load_n(&c->hazards, __ATOMIC_SEQ_CST)) {
            arch_idle();
        }
        __atomic_and_fetch(&idle_mask, ~BIT(c->id), __ATOMIC_SEQ_CST);
    }
}
