/* SPDX-License-Identifier: MIT */
/*
 * The exits that a guest causes all the time, settled without struct exit: a backend's assembly may
 * have saved only the registers that C can clobber (and RBX) when it calls this. What cannot be
 * settled here changes nothing and goes the common way, exit_settle().
 */
#ifndef KERNEL_EXIT_FAST_H
#define KERNEL_EXIT_FAST_H

#include "arch/arch.h"
#include "kernel/cpuid.h"
#include "kernel/hypercall.h"
#include "kernel/msr.h"
#include "kernel/vcpu.h"

/* Settles a CPUID, RDMSR, WRMSR or HYPERCALL. True: done, the instruction is to be skipped. */
static inline bool exit_fast(struct vcpu *v, enum exit_kind kind)
{
    u64 value;

    switch (kind) {
    case EXIT_CPUID:
        cpuid_exec(v);
        return true;
    case EXIT_RDMSR:
        if (!msr_read(v, (u32)v->gpr[GPR_RCX], &value)) {
            return false;
        }
        v->gpr[GPR_RAX] = (u32)value;
        v->gpr[GPR_RDX] = value >> 32;
        return true;
    case EXIT_WRMSR:
        value = (u32)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;
        return msr_write(v, (u32)v->gpr[GPR_RCX], value);
    case EXIT_HYPERCALL:
        hypercall_exec(v);
        return true;
    default:
        return false;
    }
}

/* After exit_fast(): counts, and tells whether exit_hazards() must be called before the entry.
 * Every 256th exit of a kind says so too, for the end of the slice is looked at only there: a guest
 * that does nothing but cause such exits overruns its slice by that much at most. */
static inline bool exit_fast_hazards(struct vcpu *v, enum exit_kind kind)
{
    u64 count = ++v->exits[kind];

    return !(u8)count || (__atomic_load_n(&v->hazards, __ATOMIC_RELAXED) |
                          __atomic_load_n(&cpu_this()->hazards, __ATOMIC_RELAXED));
}

#endif
