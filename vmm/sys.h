/* SPDX-License-Identifier: MIT */
/*
 * Every system call as a typed C function. The two stubs at the top are assembly (arch/x86/user);
 * what the calls mean stands in kernel/abi.h. Results are values >= 0 or a negative E_*.
 */
#ifndef VMM_SYS_H
#define VMM_SYS_H

#include "kernel/abi.h"
#include "lib/types.h"

/* SYSCALL with the number and up to six arguments; RAX as it came back. */
s64 sys_call(u64 number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5);

/* SYS_VCPU_RUN: stores RAX and the six payload registers in *exit, in its order, and returns RAX.
 */
s64 sys_call_vcpu_run(u64 vcpu, u64 flags, u64 value, struct vcpu_exit *exit);

static inline u64 sys_tsc(void)
{
    return __builtin_ia32_rdtsc();
}

static inline NORETURN void sys_process_exit(s64 status)
{
    for (;;) {
        sys_call(SYS_PROCESS_EXIT, (u64)status, 0, 0, 0, 0, 0);
    }
}

static inline s64 sys_handle_close(handle_t h)
{
    return sys_call(SYS_HANDLE_CLOSE, h, 0, 0, 0, 0, 0);
}

static inline s64 sys_handle_grant(handle_t process, handle_t h, u64 rights)
{
    return sys_call(SYS_HANDLE_GRANT, process, h, rights, 0, 0, 0);
}

static inline s64 sys_process_create(const struct process_args *args)
{
    return sys_call(SYS_PROCESS_CREATE, (u64)args, 0, 0, 0, 0, 0);
}

static inline s64 sys_process_kill(handle_t process)
{
    return sys_call(SYS_PROCESS_KILL, process, 0, 0, 0, 0, 0);
}

static inline s64 sys_process_info(handle_t process, struct process_info *info)
{
    return sys_call(SYS_PROCESS_INFO, process, (u64)info, 0, 0, 0, 0);
}

static inline s64 sys_thread_create(handle_t process, const struct thread_args *args)
{
    return sys_call(SYS_THREAD_CREATE, process, (u64)args, 0, 0, 0, 0);
}

static inline s64 sys_thread_set(handle_t thread, u64 weight, u64 affinity)
{
    return sys_call(SYS_THREAD_SET, thread, weight, affinity, 0, 0, 0);
}

static inline s64 sys_memory_create(u64 bytes)
{
    return sys_call(SYS_MEMORY_CREATE, bytes, 0, 0, 0, 0, 0);
}

static inline s64 sys_memory_map(const struct map_args *args)
{
    return sys_call(SYS_MEMORY_MAP, (u64)args, 0, 0, 0, 0, 0);
}

static inline s64 sys_memory_unmap(handle_t process, u64 vaddr, u64 bytes)
{
    return sys_call(SYS_MEMORY_UNMAP, process, vaddr, bytes, 0, 0, 0);
}

static inline s64 sys_event_create(void)
{
    return sys_call(SYS_EVENT_CREATE, 0, 0, 0, 0, 0, 0);
}

static inline s64 sys_event_signal(handle_t event, u64 bits)
{
    return sys_call(SYS_EVENT_SIGNAL, event, bits, 0, 0, 0, 0);
}

static inline s64 sys_event_wait(handle_t event, u64 mask, u64 deadline_tsc)
{
    return sys_call(SYS_EVENT_WAIT, event, mask, deadline_tsc, 0, 0, 0);
}

static inline s64 sys_vm_create(const struct vm_args *args)
{
    return sys_call(SYS_VM_CREATE, (u64)args, 0, 0, 0, 0, 0);
}

static inline s64 sys_vm_memory(handle_t vm, gpa_t gpa, u64 bytes, u64 flags)
{
    return sys_call(SYS_VM_MEMORY, vm, gpa.v, bytes, flags, 0, 0);
}

static inline s64 sys_vm_stats(handle_t vm, struct vm_stats *stats)
{
    return sys_call(SYS_VM_STATS, vm, (u64)stats, 0, 0, 0, 0);
}

static inline s64 sys_vm_interrupt(handle_t vm, u64 address, u64 data)
{
    return sys_call(SYS_VM_INTERRUPT, vm, address, data, 0, 0, 0);
}

static inline s64 sys_vm_line(handle_t vm, u64 level)
{
    return sys_call(SYS_VM_LINE, vm, level, 0, 0, 0, 0);
}

static inline s64 sys_vcpu_create(handle_t vm, u64 index)
{
    return sys_call(SYS_VCPU_CREATE, vm, index, 0, 0, 0, 0);
}

static inline s64 sys_vcpu_run(handle_t vcpu, u64 flags, u64 value, struct vcpu_exit *exit)
{
    return sys_call_vcpu_run(vcpu, flags, value, exit);
}

static inline s64 sys_vcpu_get(handle_t vcpu, struct vcpu_state *state, u64 groups)
{
    return sys_call(SYS_VCPU_GET, vcpu, (u64)state, groups, 0, 0, 0);
}

static inline s64 sys_vcpu_set(handle_t vcpu, const struct vcpu_state *state, u64 groups)
{
    return sys_call(SYS_VCPU_SET, vcpu, (u64)state, groups, 0, 0, 0);
}

static inline s64 sys_vcpu_report(handle_t vcpu, void *report)
{
    return sys_call(SYS_VCPU_REPORT, vcpu, (u64)report, 0, 0, 0, 0);
}

static inline s64 sys_vcpu_inject(handle_t vcpu, u64 vector, u64 flags, u64 error, u64 cr2)
{
    return sys_call(SYS_VCPU_INJECT, vcpu, vector, flags, error, cr2, 0);
}

static inline s64 sys_vcpu_apic(handle_t vcpu, u64 offset, u64 value)
{
    return sys_call(SYS_VCPU_APIC, vcpu, offset, value, 0, 0, 0);
}

static inline s64 sys_console_write(handle_t system, const void *text, u64 bytes)
{
    return sys_call(SYS_CONSOLE_WRITE, system, (u64)text, bytes, 0, 0, 0);
}

static inline s64 sys_port(handle_t system, u64 port, u64 value)
{
    return sys_call(SYS_PORT, system, port, value, 0, 0, 0);
}

static inline s64 sys_irq(handle_t system, handle_t event, u64 line)
{
    return sys_call(SYS_IRQ, system, event, line, 0, 0, 0);
}

static inline s64 sys_system_info(handle_t system, u64 what, u64 index, void *buffer, u64 bytes)
{
    return sys_call(SYS_SYSTEM_INFO, system, what, index, (u64)buffer, bytes, 0);
}

static inline s64 sys_system_power(handle_t system, u64 action)
{
    return sys_call(SYS_SYSTEM_POWER, system, action, 0, 0, 0, 0);
}

#endif
