/* SPDX-License-Identifier: MIT */
/* System calls about processes, threads, memory and handles. All run under the kernel lock; every
 * argument is ring 3's. */
#include "kernel/abi.h"
#include "kernel/memory.h"
#include "kernel/notify.h"
#include "kernel/sched.h"
#include "kernel/syscall.h"
#include "kernel/thread.h"
#include "lib/string.h"

/* The process behind a handle; 0 names the caller's own, with all rights. */
static struct process *get_process(const struct call *k, u64 h, u32 rights, int *error)
{
    if (!h) {
        return k->p;
    }
    struct object *o = handle_get(k->p, h, OBJECT_PROCESS, rights, error);
    return o ? CONTAINER_OF(o, struct process, object) : NULL;
}

s64 sys_handle_close(const struct call *k)
{
    return k->a < k->p->handle_limit ? handle_close(k->p, (handle_t)k->a) : E_HANDLE;
}

s64 sys_handle_grant(const struct call *k)
{
    int error = E_OK;
    struct process *to = get_process(k, k->a, RIGHT_CONTROL, &error);
    struct object *o = to ? handle_get(k->p, k->b, OBJECT_NONE, RIGHT_GRANT, &error) : NULL;

    if (!o) {
        return error;
    }
    if (k->c & ~RIGHTS_ALL) {
        return E_INVAL;
    }
    /* a process that held itself would never go */
    if (o == &to->object) {
        return E_INVAL;
    }
    return to->dying ? E_DEAD : handle_add(to, o, k->p->handles[k->b].rights & (u32)k->c);
}

bool syscall_name_ok(const char *name)
{
    u32 n = 0;

    while (n < NAME_LEN && name[n]) {
        if (name[n] < ' ' || name[n] > '~') {
            return false;
        }
        n++;
    }
    return n > 0 && n < NAME_LEN;
}

s64 sys_process_create(const struct call *k)
{
    struct process_args args;
    struct notify *notify = NULL;
    int error = E_OK;

    if (arch_copy_from_user(&args, k->a, sizeof(args))) {
        return E_FAULT;
    }
    if (!syscall_name_ok(args.name) || args.weight > WEIGHT_MAX || args.event_bits & BIT(63) ||
        !process_affinity(k->p, args.affinity)) {
        return E_INVAL;
    }
    if (args.weight && k->p->parent) {
        return E_RIGHTS; /* else a guest's VMM could make itself as heavy as it likes */
    }
    if (args.event) {
        struct object *o = handle_get(k->p, args.event, OBJECT_EVENT, RIGHT_WRITE, &error);
        if (!o) {
            return error;
        }
        notify = CONTAINER_OF(o, struct notify, object);
    }
    if (!handle_room(k->p)) {
        return E_LIMIT; /* before it exists: its end would be told */
    }
    struct process *p = process_create(&args, k->p, notify);
    return p ? syscall_new_handle(k->p, &p->object, RIGHTS_ALL) : E_NO_MEMORY;
}

s64 sys_process_kill(const struct call *k)
{
    process_end(CONTAINER_OF(k->o, struct process, object), PROCESS_KILLED, 0, 0);
    return E_OK;
}

s64 sys_process_info(const struct call *k)
{
    int error = E_OK;
    struct process *p = get_process(k, k->a, RIGHT_READ, &error);

    if (!p) {
        return error;
    }
    struct process_info info = p->info;
    if (p->thread_count) {
        info.end = PROCESS_RUNNING; /* its end is known, but its threads are still on their way */
    }
    info.threads = p->thread_count;
    info.memory_bytes = p->memory.used;
    info.kernel_bytes = p->kernel.used;
    for (u32 i = 0; i < PROCESS_THREADS; i++) {
        info.run_tsc += p->threads[i] ? p->threads[i]->times.run_tsc : 0;
    }
    return arch_copy_to_user(k->b, &info, sizeof(info));
}

s64 sys_thread_create(const struct call *k)
{
    struct thread_args args;
    struct thread *t;
    int error = E_OK;
    struct process *p = get_process(k, k->a, RIGHT_CONTROL, &error);

    if (!p) {
        return error;
    }
    if (arch_copy_from_user(&args, k->b, sizeof(args))) {
        return E_FAULT;
    }
    if (args.pad || args.weight > WEIGHT_MAX || !process_affinity(p, args.affinity) ||
        args.entry >= USER_TOP || args.stack > USER_TOP) {
        return E_INVAL;
    }
    if (!handle_room(k->p)) {
        return E_LIMIT; /* before it runs */
    }
    error = thread_create(p, &args, &t);
    if (error) {
        return error;
    }
    s64 h = syscall_new_handle(k->p, &t->object, RIGHTS_ALL);
    sched_add(t);
    return h;
}

s64 sys_thread_set(const struct call *k)
{
    struct thread *t = CONTAINER_OF(k->o, struct thread, object);
    u64 affinity = process_affinity(t->process, k->c);

    if (!k->b || k->b > WEIGHT_MAX || !k->c || !affinity) {
        return E_INVAL;
    }
    if (t->state == THREAD_ENDED || t->dying) {
        return E_DEAD;
    }
    sched_set(t, (u32)k->b, affinity);
    return E_OK;
}

s64 sys_memory_create(const struct call *k)
{
    if (!k->a || k->a & PAGE_MASK || k->a > MEMORY_MAX_BYTES) {
        return E_INVAL;
    }
    struct memory *m = memory_create(k->a, k->p);
    return m ? syscall_new_handle(k->p, &m->object, RIGHTS_ALL) : E_NO_MEMORY;
}

s64 sys_memory_map(const struct call *k)
{
    struct map_args args;
    int error = E_OK;

    if (arch_copy_from_user(&args, k->a, sizeof(args))) {
        return E_FAULT;
    }
    struct process *p = get_process(k, args.process, RIGHT_CONTROL, &error);
    struct object *source = p ? handle_get(k->p, args.source, OBJECT_NONE, 0, &error) : NULL;
    if (!source) {
        return error;
    }
    if (!p->aspace) {
        return E_DEAD;
    }
    u32 have = k->p->handles[args.source].rights, need;
    if (source->type == OBJECT_VM) {
        need = RIGHT_CONTROL;
    } else if (source->type == OBJECT_MEMORY) {
        need = RIGHT_READ | (args.flags & MAP_WRITE ? RIGHT_WRITE : 0) |
               (args.flags & MAP_EXEC ? RIGHT_EXEC : 0);
    } else {
        return E_HANDLE;
    }
    if ((have & need) != need) {
        return E_RIGHTS;
    }
    return aspace_map(p->aspace, source, args.offset, args.vaddr, args.bytes, args.flags);
}

s64 sys_memory_unmap(const struct call *k)
{
    int error = E_OK;
    struct process *p = get_process(k, k->a, RIGHT_CONTROL, &error);

    if (!p) {
        return error;
    }
    return p->aspace ? aspace_unmap(p->aspace, k->b, k->c) : E_DEAD;
}

s64 sys_event_create(const struct call *k)
{
    struct notify *n = notify_create(k->p);

    return n ? syscall_new_handle(k->p, &n->object, RIGHTS_ALL) : E_NO_MEMORY;
}
