/* SPDX-License-Identifier: MIT */
/* Threads of processes. */
#include "kernel/thread.h"

#include "kernel/abi.h"
#include "kernel/kmem.h"
#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/vcpu.h"
#include "kernel/vm.h"

#define THREAD_BYTES (sizeof(struct thread) + KERNEL_STACK_BYTES)

int thread_create(struct process *p, const struct thread_args *args, struct thread **out)
{
    u32 slot = 0;

    if (p->dying) {
        return E_DEAD;
    }
    while (slot < PROCESS_THREADS && p->threads[slot]) {
        slot++;
    }
    if (slot == PROCESS_THREADS) {
        return E_LIMIT;
    }
    if (!budget_take(&p->kernel, THREAD_BYTES)) {
        return E_NO_MEMORY;
    }
    struct thread *t = kmem_alloc(sizeof(*t));
    if (!t) {
        goto undo_budget;
    }
    t->stack = arch_stack_alloc();
    if (!t->stack) {
        goto undo_thread;
    }
    /* one reference for the caller, one that lasts until the thread has ended */
    t->object = (struct object){OBJECT_THREAD, 2, NULL};
    t->process = p;
    object_ref(&p->object);
    t->entry = args->entry;
    t->user_stack = args->stack;
    t->arg = args->arg;
    t->weight = args->weight ? args->weight : WEIGHT_NORMAL;
    t->affinity = process_affinity(p, args->affinity);
    sched_prepare_thread(t);
    p->threads[slot] = t;
    p->thread_count++;
    *out = t;
    return E_OK;

undo_thread:
    kmem_free(t);
undo_budget:
    budget_give(&p->kernel, THREAD_BYTES);
    return E_NO_MEMORY;
}

void thread_destroy(struct object *o)
{
    struct thread *t = CONTAINER_OF(o, struct thread, object);
    struct process *p = t->process;

    arch_stack_free(t->stack);
    kmem_free(t);
    budget_give(&p->kernel, THREAD_BYTES);
    object_unref(&p->object);
}

void thread_add_times(struct thread_times *sum, const struct thread_times *t)
{
    sum->run_tsc += t->run_tsc;
    sum->wait_tsc += t->wait_tsc;
    sum->longest_wait_tsc = MAX(sum->longest_wait_tsc, t->longest_wait_tsc);
    sum->lag_tsc = MAX(sum->lag_tsc, t->lag_tsc);
}

bool thread_dying(void)
{
    return __atomic_load_n(&cpu_this()->current->dying, __ATOMIC_SEQ_CST);
}

void thread_end(void)
{
    struct cpu *c = cpu_this();
    struct thread *t = c->current;
    struct process *p = t->process;

    spin_lock(&kernel_lock);
    if (t->vcpu) {
        struct vcpu *v = t->vcpu;
        if (c->resident == v) {
            vcpu_evict(c);
        }
        spin_lock(&v->vm->cpus_lock); /* others wake v through its thread */
        v->thread = NULL;
        spin_unlock(&v->vm->cpus_lock);
        t->vcpu = NULL;
        thread_add_times(&v->vm->times[v->index], &t->times);
        object_unref(&v->object);
    }
    for (u32 i = 0; i < PROCESS_THREADS; i++) {
        if (p->threads[i] == t) {
            p->threads[i] = NULL;
        }
    }
    p->info.run_tsc += t->times.run_tsc;
    /* from here on another CPU may take the tables down */
    arch_aspace_load(NULL);
    if (--p->thread_count == 0) {
        /* a process whose last thread returns without a status has ended well */
        if (!p->dying) {
            p->dying = 1;
            p->info.end = PROCESS_EXITED;
        }
        process_teardown(p);
    }
    spin_unlock(&kernel_lock);
    sched_exit();
}
