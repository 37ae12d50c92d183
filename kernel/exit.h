/* SPDX-License-Identifier: MIT */
/*
 * An exit, as the backends describe it, and the one table that settles it. Guest mistakes get the
 * architecture's answer here and are counted, never logged.
 */
#ifndef KERNEL_EXIT_H
#define KERNEL_EXIT_H

#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/event.h"
#include "kernel/hypercall.h"
#include "kernel/vcpu.h"
#include "lib/types.h"

/* Only the fields that the kind names are filled. */
struct exit {
    u32 kind;          /* enum exit_kind */
    u32 hw_reason;     /* the hardware's own number, for reports */
    u64 qualification; /* raw, for reports */
    u64 rip;           /* always filled */
    union {
        struct {
            u16 port;
            u8 bytes;         /* 1, 2, 4 */
            u8 address_bytes; /* string forms: 2, 4, 8; 0: not told */
            bool in, string, rep;
        } io;
        struct {
            u64 gpa, linear;
            u32 access; /* VX_ACCESS_* */
        } npf;
        struct {
            u8 number;  /* 0, 4, 8; reads: 4, 8 */
            u8 gpr;     /* enum gpr_index */
            bool write; /* MOV to CR */
            bool clts, lmsw;
            u16 lmsw_source;
        } cr;
        struct {
            u8 number, gpr;
            bool write;
        } dr;
        struct {
            struct event event; /* EXCEPTION: what was intercepted; UNDEFINED: what to raise */
            u64 debug;          /* of a #DB: the bits that DR6 gets */
        } exception;
        struct {
            u8 vector; /* acknowledged by the exit; 0: it was taken already */
        } interrupt;
    };
};

enum exit_action {
    EXIT_RESUME,  /* enter the guest again at the same instruction (or at what was injected) */
    EXIT_ADVANCE, /* the instruction is done */
    EXIT_USER,    /* v->exit is filled: SYS_VCPU_RUN returns it */
};

/*
 * Settles one exit: counts and traces it, calls the kind's handler, advances RIP where due, then
 * deals with hazards (scheduling, injection, flushes, stop). Called by the backend with the vCPU
 * resident and interrupts off. Returns true when the guest is to be entered again (on this CPU:
 * after a switch of threads the vCPU is resident again, perhaps on another CPU), false when
 * SYS_VCPU_RUN is to return.
 */
bool exit_settle(struct vcpu *v, struct exit *x);

/*
 * Some exits happen all the time: CPUID, RDMSR, WRMSR, VMCALL. A backend may settle them on the
 * spot, with cpuid_exec(), msr_exec_rdmsr(), msr_exec_wrmsr() and hypercall_exec(), which want no
 * more than v->gpr[] of RAX, RBX, RCX, RDX and RDI. It then skips the instruction and asks here,
 * which counts the exit, whether exit_hazards() is due. That is so after EXIT_FAST_RUN exits in any
 * case, for the end of the slice is looked at there only; exit_hazards() starts a new run.
 */
#define EXIT_FAST_RUN 256

static inline bool exit_fast_hazards(struct vcpu *v, enum exit_kind kind)
{
    v->exits[kind]++;
    return UNLIKELY(--v->fast_left == 0) ||
           UNLIKELY(__atomic_load_n(&v->hazards, __ATOMIC_RELAXED) | cpu_hazards());
}

/* Deals with hazards before an entry, as of v->clock_tsc; same result. Also called before the first
 * entry of a run. */
bool exit_hazards(struct vcpu *v);

/* After a fast exit with no hazards but VCPU_HAZARD_EVENTS: settles those, too. False: nothing was
 * done, exit_hazards() is due. */
bool exit_fast_deliver(struct vcpu *v);

/* Queues an exception for the guest, merged with one whose delivery was interrupted; a triple fault
 * makes the next exit_hazards() end the run with VX_TRIPLE_FAULT. */
void vcpu_raise(struct vcpu *v, const struct event *e);

#endif
