/* SPDX-License-Identifier: MIT */
/* Entry of all system calls: one table says who handles which, and under what lock. */
#include "kernel/syscall.h"

#include "kernel/abi.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "kernel/vcpu.h"
#include "kernel/vm.h"

static s64 sys_process_exit(const struct call *k)
{
    process_end(k->p, PROCESS_EXITED, (s64)k->a, 0);
    return E_OK; /* the return to ring 3 finds the thread dying */
}

static const struct {
    syscall_fn fn;
    bool locked; /* runs under the kernel lock */
} table[SYS_COUNT] = {
    [SYS_PROCESS_EXIT] = {sys_process_exit,   true },
    [SYS_HANDLE_CLOSE] = {sys_handle_close,   true },
    [SYS_HANDLE_GRANT] = {sys_handle_grant,   true },
    [SYS_PROCESS_CREATE] = {sys_process_create, true },
    [SYS_PROCESS_KILL] = {sys_process_kill,   true },
    [SYS_PROCESS_INFO] = {sys_process_info,   true },
    [SYS_THREAD_CREATE] = {sys_thread_create,  true },
    [SYS_THREAD_SET] = {sys_thread_set,     true },
    [SYS_MEMORY_CREATE] = {sys_memory_create,  true },
    [SYS_MEMORY_MAP] = {sys_memory_map,     true },
    [SYS_MEMORY_UNMAP] = {sys_memory_unmap,   true },
    [SYS_EVENT_CREATE] = {sys_event_create,   true },
    [SYS_EVENT_SIGNAL] = {sys_event_signal,   false},
    [SYS_EVENT_WAIT] = {sys_event_wait,     false},
    [SYS_VM_CREATE] = {sys_vm_create,      true },
    [SYS_VM_MEMORY] = {sys_vm_memory,      false},
    [SYS_VM_STATS] = {sys_vm_stats,       true },
    [SYS_VM_INTERRUPT] = {sys_vm_interrupt,   true },
    [SYS_VM_LINE] = {sys_vm_line,        true },
    [SYS_VCPU_CREATE] = {sys_vcpu_create,    true },
    [SYS_VCPU_GET] = {sys_vcpu_get,       true },
    [SYS_VCPU_SET] = {sys_vcpu_set,       true },
    [SYS_VCPU_INJECT] = {sys_vcpu_inject,    true },
    [SYS_VCPU_APIC] = {sys_vcpu_apic,      false},
    [SYS_CONSOLE_WRITE] = {sys_console_write,  false},
    [SYS_CONSOLE_READ] = {sys_console_read,   false},
    [SYS_SYSTEM_INFO] = {sys_system_info,    true },
    [SYS_SYSTEM_POWER] = {sys_system_power,   false},
};

s64 syscall_new_handle(struct process *p, struct object *o, u32 rights)
{
    s64 h = handle_add(p, o, rights);

    object_unref(o);
    return h;
}

/* Binds the calling thread to the vCPU behind a handle. */
static int bind_vcpu(struct thread *t, u64 h)
{
    int error = E_OK;

    spin_lock(&kernel_lock);
    struct object *o = handle_get(t->process, h, OBJECT_VCPU, RIGHT_CONTROL, &error);
    struct vcpu *v = o ? CONTAINER_OF(o, struct vcpu, object) : NULL;
    if (v && (t->vcpu ? t->vcpu != v : v->thread != NULL)) {
        error = E_BUSY;
    } else if (v && !t->vcpu) {
        object_ref(o);
        v->thread = t;
        t->vcpu = v;
    }
    if (!error) {
        t->vcpu_handle = h;
    }
    spin_unlock(&kernel_lock);
    return error;
}

/* The hot one: a thread that uses the same handle again needs no look-up and no lock. */
static s64 run_vcpu(struct syscall_frame *f)
{
    struct thread *t = cpu_this()->current;

    if (UNLIKELY(!t->vcpu || t->vcpu_handle != f->rdi)) {
        int error = bind_vcpu(t, f->rdi);
        if (error) {
            return error;
        }
    }
    struct vcpu *v = t->vcpu;
    s64 result = vcpu_run(v, f->rsi, f->rdx);
    if (result == VX_MMIO && f->r10 && arch_copy_to_user(f->r10, v->gpr, sizeof(v->gpr))) {
        return E_FAULT;
    }
    f->rdi = v->exit.a;
    f->rsi = v->exit.b;
    f->rdx = v->exit.c;
    f->r8 = v->exit.d;
    f->r9 = v->exit.e;
    f->r10 = v->exit.f;
    return result;
}

void kernel_syscall(struct syscall_frame *f)
{
    struct thread *t = cpu_this()->current;
    u64 number = f->rax;

    if (LIKELY(number == SYS_VCPU_RUN)) {
        f->rax = (u64)run_vcpu(f);
    } else if (number < SYS_COUNT && table[number].fn) {
        struct call k = {t->process, f->rdi, f->rsi, f->rdx, f->r10, f->r8};
        if (table[number].locked) {
            spin_lock(&kernel_lock);
        }
        f->rax = (u64)table[number].fn(&k);
        if (table[number].locked) {
            spin_unlock(&kernel_lock);
        }
    } else {
        f->rax = (u64)E_NO_SYSCALL;
    }
    if (UNLIKELY(__atomic_load_n(&t->dying, __ATOMIC_RELAXED))) {
        thread_end();
    }
}
