/* SPDX-License-Identifier: MIT */
/* The per-CPU structure. The GS base of ring 0 points at it; each CPU touches its own but for the
 * fields marked shared. Offsets used by assembly come from arch/x86/offsets.c. */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include "kernel/bootinfo.h"
#include "lib/types.h"

#define MAX_CPUS BOOT_MAX_CPUS

struct thread;
struct vcpu;
struct aspace;

/* cpu.hazards: looked at before every return to ring 3 and every VM entry. Set by anyone (atomic).
 */
#define CPU_HAZARD_RESCHED BIT(0) /* the current thread's slice is over, or a better one woke */
#define CPU_HAZARD_TLB     BIT(1) /* flush this CPU's TLB of the current address space */
#define CPU_HAZARD_STOP    BIT(2) /* panic or power-off elsewhere: stop for good */

/* The last exits of each CPU, for the panic report. */
#define CPU_TRACE 16

struct cpu_trace {
    u64 tsc, rip;
    u32 kind;
    u32 vcpu; /* vm id << 8 | vCPU index */
    u64 info;
};

struct cpu {
    struct cpu *self;       /* offset 0: mov rax, gs:[0] */
    u64 kernel_rsp;         /* top of the current thread's kernel stack */
    u64 user_rsp;           /* scratch of the SYSCALL entry */
    struct thread *current; /* whose kernel stack this is */
    struct thread *running; /* current; or idle, while current sleeps where it is */
    struct vcpu *resident;  /* vCPU whose VMCS, FPU and debug registers are in this CPU */
    struct vcpu *msrs_of;   /* vCPU whose SYSCALL MSRs and CR2 are loaded, NULL: ring 3's */
    struct aspace *aspace;  /* loaded page tables */
    u32 hazards;            /* shared, CPU_HAZARD_* */
    u32 id;                 /* 0.. in order of bootinfo */
    u32 apic_id;
    u32 online;    /* shared, set once */
    u32 in_user;   /* shared hint: 1 while in ring 3 or in a guest */
    u64 deadline;  /* TSC at which the timer interrupt is armed, ~0 none */
    u64 slice_end; /* TSC at which the current thread's slice ends */
    u64 idle_tsc, user_tsc;
    u64 interrupts, switches, steals;
    struct cpu_trace trace[CPU_TRACE];
    u32 trace_next;
    struct thread *idle;
    void *runqueue; /* kernel/sched.c */
    void *arch;     /* arch/x86: TSS, GDT, stacks, LAPIC */
    void *virt;     /* backend: VMXON region, ... */
    u64 junk;
};

extern struct cpu *cpus[MAX_CPUS]; /* NULL where none */
extern u32 cpu_count;              /* how many entries of cpus[] are set */

#endif
