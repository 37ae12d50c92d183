/* SPDX-License-Identifier: MIT */
/* System calls: the handlers behind the one table in syscall.c. */
#ifndef KERNEL_SYSCALL_H
#define KERNEL_SYSCALL_H

#include "arch/arch.h"
#include "kernel/process.h"
#include "kernel/thread.h"

/* Arguments of a call, copied once from ring 3's registers; p is the caller, o the object behind
 * the handle a where the table names its type: it has the rights, and stays until the call returns.
 */
struct call {
    struct process *p;
    struct object *o;
    u64 a, b, c, d, e;
};

typedef s64 (*syscall_fn)(const struct call *k);

extern struct object system_object;

/* syscall_process.c */
s64 sys_handle_close(const struct call *k);
s64 sys_handle_grant(const struct call *k);
s64 sys_process_create(const struct call *k);
s64 sys_process_kill(const struct call *k);
s64 sys_process_info(const struct call *k);
s64 sys_thread_create(const struct call *k);
s64 sys_thread_set(const struct call *k);
s64 sys_memory_create(const struct call *k);
s64 sys_memory_map(const struct call *k);
s64 sys_memory_unmap(const struct call *k);
s64 sys_event_create(const struct call *k);

/* syscall_vm.c */
s64 sys_vm_create(const struct call *k);
s64 sys_vm_stats(const struct call *k);
s64 sys_vm_memory(const struct call *k);
s64 sys_vm_interrupt(const struct call *k);
s64 sys_vm_line(const struct call *k);
s64 sys_vcpu_create(const struct call *k);
s64 sys_vcpu_get(const struct call *k);
s64 sys_vcpu_set(const struct call *k);
s64 sys_vcpu_report(const struct call *k);
s64 sys_vcpu_inject(const struct call *k);
s64 sys_vcpu_apic(const struct call *k);

/* syscall_system.c */
extern struct notify *irq_events[IRQ_LINES]; /* references: who hears of an ISA line */
s64 sys_event_signal(const struct call *k);
s64 sys_event_wait(const struct call *k);
s64 sys_console_write(const struct call *k);
s64 sys_port(const struct call *k);
s64 sys_irq(const struct call *k);
s64 sys_system_info(const struct call *k);
s64 sys_system_power(const struct call *k);

/* The vCPU behind a handle of the calling thread t, which is bound to it or becomes so; NULL and
 * *error when either is bound otherwise. The handle that was used last needs no look-up and no
 * lock: the thread holds a reference. */
struct vcpu *syscall_bind_vcpu(struct thread *t, u64 h, int *error);
static inline struct vcpu *syscall_own_vcpu(struct thread *t, u64 h, int *error)
{
    return LIKELY(t->vcpu && t->vcpu_handle == h) ? t->vcpu : syscall_bind_vcpu(t, h, error);
}

/* Is a name of NAME_LEN bytes printable, NUL-terminated and not empty? */
bool syscall_name_ok(const char *name);

/* A new object becomes a handle of p; the creator's reference goes. */
s64 syscall_new_handle(struct process *p, struct object *o, u32 rights);

#endif
