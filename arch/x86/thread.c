/* SPDX-License-Identifier: MIT */
/* Contexts of threads, the way to ring 3, and copies from and to it. */
#include "arch/x86/thread.h"

#include "arch/x86/cpu.h"
#include "arch/x86/trap.h"
#include "kernel/abi.h"
#include "lib/pagetable.h"

/* What arch_context_switch() pops. */
struct saved_context {
    u64 r15, r14, r13, r12, rbp, rbx, rip;
};

void arch_context_init(struct arch_context *c, void *stack_top, void (*entry)(void *), void *arg)
{
    struct saved_context *s = (struct saved_context *)stack_top - 1;

    *s = (struct saved_context){.r13 = (u64)entry, .r12 = (u64)arg, .rip = (u64)context_start};
    c->rsp = (u64)s;
}

void arch_enter_user(u64 rip, u64 rsp, u64 rdi)
{
    struct cpu *c = cpu_this();

    cpu_arch(c)->tss.rsp[0] = c->kernel_rsp;
    enter_user(rip, rsp, rdi);
}

int arch_copy_from_user(void *dst, u64 src, u64 bytes)
{
    if (src >= USER_TOP || bytes > USER_TOP - src) {
        return E_FAULT;
    }
    return copy_user(dst, (const void *)src, bytes);
}

int arch_copy_to_user(u64 dst, const void *src, u64 bytes)
{
    if (dst >= USER_TOP || bytes > USER_TOP - dst) {
        return E_FAULT;
    }
    return copy_user((void *)dst, src, bytes);
}

bool arch_probe_faults(void *address, u32 access)
{
    return (access & PT_READ && probe_read(address)) ||
           (access & PT_WRITE && probe_write(address)) || (access & PT_EXEC && probe_exec(address));
}
