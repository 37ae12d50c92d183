/* SPDX-License-Identifier: MIT */
/*
 * Included ahead of everything when the kernel is compiled for the host's tests: what they replace
 * in its headers. The CPU and the clock are the fake machine's (tests/host/machine.h), the kernel
 * pool is ordinary memory, and each lock is a place where another CPU may come first.
 */
#ifndef TESTS_HOST_KERNEL_HOST_H
#define TESTS_HOST_KERNEL_HOST_H

#define _GNU_SOURCE

/* Pool pages come from malloc, whose addresses are above this one. */
#define BOOT_PHYSMAP 0x200000000000ull

/* The C library has one, too, which the sanitizers call. */
#define sched_yield kernel_sched_yield

#define cpu_this    cpu_this_of_hardware
#define arch_tsc    arch_tsc_of_hardware
#define arch_pause  arch_pause_of_hardware
#define arch_cpuid  arch_cpuid_of_hardware
#include "arch/arch.h"
#undef cpu_this
#undef arch_tsc
#undef arch_pause
#undef arch_cpuid

struct cpu *cpu_this(void);
u64 arch_tsc(void);
void arch_cpuid(u32 leaf, u32 subleaf, u32 out[4]); /* the same on every host */
void arch_pause(void);                              /* while it waits for another CPU: others run */

/* A point in kernel code where other CPUs may run before this one goes on. */
void host_preempt(void);

#define spin_lock   spin_lock_plain
#define spin_unlock spin_unlock_plain
#include "kernel/spinlock.h"
#undef spin_lock
#undef spin_unlock

static inline void spin_lock(struct spinlock *l)
{
    host_preempt();
    spin_lock_plain(l);
}

static inline void spin_unlock(struct spinlock *l)
{
    spin_unlock_plain(l);
    host_preempt();
}

#endif
