/* SPDX-License-Identifier: MIT */
/* Entry of all system calls: one table says who handles which, what handle its first argument must
 * be, and under what lock it runs. */
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

/* UNLOCKED: the kernel lock is taken for the look-up alone; a reference keeps the object. */
enum locking { UNLOCKED, LOCKED };

static const struct {
    syscall_fn fn;
    u8 locking;
    u8 type; /* of the object behind the first argument; OBJECT_NONE: the handler sees to it */
    u8 rights;
} table[SYS_COUNT] = {
    [SYS_PROCESS_EXIT] = {sys_process_exit,   LOCKED,   OBJECT_NONE,    0            },
    [SYS_HANDLE_CLOSE] = {sys_handle_close,   LOCKED,   OBJECT_NONE,    0            },
    [SYS_HANDLE_GRANT] = {sys_handle_grant,   LOCKED,   OBJECT_NONE,    0            },
    [SYS_PROCESS_CREATE] = {sys_process_create, LOCKED,   OBJECT_NONE,    0            },
    [SYS_PROCESS_KILL] = {sys_process_kill,   LOCKED,   OBJECT_PROCESS, RIGHT_CONTROL},
    [SYS_PROCESS_INFO] = {sys_process_info,   LOCKED,   OBJECT_NONE,    0            },
    [SYS_THREAD_CREATE] = {sys_thread_create,  LOCKED,   OBJECT_NONE,    0            },
    [SYS_THREAD_SET] = {sys_thread_set,     LOCKED,   OBJECT_THREAD,  RIGHT_CONTROL},
    [SYS_MEMORY_CREATE] = {sys_memory_create,  LOCKED,   OBJECT_NONE,    0            },
    [SYS_MEMORY_MAP] = {sys_memory_map,     LOCKED,   OBJECT_NONE,    0            },
    [SYS_MEMORY_UNMAP] = {sys_memory_unmap,   LOCKED,   OBJECT_NONE,    0            },
    [SYS_EVENT_CREATE] = {sys_event_create,   LOCKED,   OBJECT_NONE,    0            },
    [SYS_EVENT_SIGNAL] = {sys_event_signal,   UNLOCKED, OBJECT_EVENT,   RIGHT_WRITE  },
    [SYS_EVENT_WAIT] = {sys_event_wait,     UNLOCKED, OBJECT_EVENT,   RIGHT_READ   },
    [SYS_VM_CREATE] = {sys_vm_create,      LOCKED,   OBJECT_NONE,    0            },
    [SYS_VM_MEMORY] = {sys_vm_memory,      UNLOCKED, OBJECT_VM,      RIGHT_CONTROL},
    [SYS_VM_STATS] = {sys_vm_stats,       LOCKED,   OBJECT_VM,      RIGHT_READ   },
    [SYS_VM_INTERRUPT] = {sys_vm_interrupt,   UNLOCKED, OBJECT_VM,      RIGHT_CONTROL},
    [SYS_VM_LINE] = {sys_vm_line,        UNLOCKED, OBJECT_VM,      RIGHT_CONTROL},
    [SYS_VCPU_CREATE] = {sys_vcpu_create,    LOCKED,   OBJECT_VM,      RIGHT_CONTROL},
    [SYS_VCPU_GET] = {sys_vcpu_get,       UNLOCKED, OBJECT_NONE,    0            },
    [SYS_VCPU_SET] = {sys_vcpu_set,       UNLOCKED, OBJECT_NONE,    0            },
    [SYS_VCPU_REPORT] = {sys_vcpu_report,    UNLOCKED, OBJECT_NONE,    0            },
    [SYS_VCPU_INJECT] = {sys_vcpu_inject,    UNLOCKED, OBJECT_VCPU,    RIGHT_CONTROL},
    [SYS_VCPU_APIC] = {sys_vcpu_apic,      UNLOCKED, OBJECT_NONE,    0            },
    [SYS_CONSOLE_WRITE] = {sys_console_write,  UNLOCKED, OBJECT_SYSTEM,  RIGHT_WRITE  },
    [SYS_PORT] = {sys_port,           UNLOCKED, OBJECT_SYSTEM,  RIGHT_EXEC   },
    [SYS_IRQ] = {sys_irq,            LOCKED,   OBJECT_SYSTEM,  RIGHT_EXEC   },
    [SYS_SYSTEM_INFO] = {sys_system_info,    LOCKED,   OBJECT_SYSTEM,  RIGHT_READ   },
    [SYS_SYSTEM_POWER] = {sys_system_power,   UNLOCKED, OBJECT_SYSTEM,  RIGHT_CONTROL},
};

s64 syscall_new_handle(struct process *p, struct object *o, u32 rights)
{
    s64 h = handle_add(p, o, rights);

    object_unref(o);
    return h;
}

/* The hot one: a thread that uses the same handle again needs no look-up and no lock. */
static s64 run_vcpu(struct syscall_frame *f)
{
    struct thread *t = cpu_this()->current;
    int error = E_OK;
    struct vcpu *v = syscall_own_vcpu(t, f->rdi, &error);

    if (UNLIKELY(!v)) {
        return error;
    }
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

static s64 call(u64 number, struct call *k)
{
    enum object_type type = table[number].type;
    bool locked = table[number].locking == LOCKED;
    int error = E_OK;

    if (!type && !locked) {
        return table[number].fn(k);
    }
    spin_lock(&kernel_lock);
    k->o = type ? handle_get(k->p, k->a, type, table[number].rights, &error) : NULL;
    if (error) {
        spin_unlock(&kernel_lock);
        return error;
    }
    if (type) {
        object_ref(k->o);
    }
    if (!locked) {
        spin_unlock(&kernel_lock);
    }
    s64 result = table[number].fn(k);
    if (!locked) {
        spin_lock(&kernel_lock);
    }
    if (type) {
        object_unref(k->o);
    }
    spin_unlock(&kernel_lock);
    return result;
}

void kernel_syscall(struct syscall_frame *f)
{
    struct thread *t = cpu_this()->current;
    u64 number = f->rax;

    if (LIKELY(number == SYS_VCPU_RUN)) {
        f->rax = (u64)run_vcpu(f);
    } else if (number < SYS_COUNT && table[number].fn) {
        struct call k = {t->process, NULL, f->rdi, f->rsi, f->rdx, f->r10, f->r8};
        f->rax = (u64)call(number, &k);
    } else {
        f->rax = (u64)E_NO_SYSCALL;
    }
    if (UNLIKELY(__atomic_load_n(&t->dying, __ATOMIC_RELAXED))) {
        thread_end();
    }
}
