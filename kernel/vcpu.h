/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU. The backend's exit stub pushes guest registers straight into gpr[], which
 * therefore comes first. All fields belong to the thread that runs the vCPU, but for those marked
 * shared.
 */
#ifndef KERNEL_VCPU_H
#define KERNEL_VCPU_H

#include "kernel/abi.h"
#include "kernel/apic.h"
#include "kernel/event.h"
#include "kernel/object.h"
#include "lib/types.h"

struct cpu;
struct thread;
struct vm;

/* vcpu.hazards: looked at before every VM entry, together with cpu.hazards. */
#define VCPU_HAZARD_EVENT    BIT(0) /* an exception, NMI or interrupt waits for delivery */
#define VCPU_HAZARD_FLUSH    BIT(1) /* nested tables changed: INVEPT (or a new ASID) before entry */
#define VCPU_HAZARD_KICK     BIT(2) /* complete SYS_VCPU_RUN with VX_KICKED */
#define VCPU_HAZARD_STOP     BIT(3) /* the process is ending */
#define VCPU_HAZARD_SHUTDOWN BIT(4) /* a triple fault: complete SYS_VCPU_RUN with it */
#define VCPU_HAZARD_START    BIT(5) /* INIT or SIPI came in: apic.start */
#define VCPU_HAZARD_EOI      BIT(6) /* complete SYS_VCPU_RUN with VX_EOI */
#define VCPU_HAZARD_POSTED   BIT(7) /* vectors came in, which the CPU may have taken by itself */
#define VCPU_HAZARD_CLOCK    BIT(8) /* complete SYS_VCPU_RUN with VX_CLOCK */
#define VCPU_HAZARD_EVENTS   (VCPU_HAZARD_EVENT | VCPU_HAZARD_POSTED)

/* MSRs that are mere storage (kernel/msr.c). */
enum vcpu_msr { VMSR_MISC_ENABLE, VMSR_MTRR_DEF_TYPE, VMSR_BIOS_SIGN, VMSR_COUNT };

struct vcpu {
    u64 gpr[GPR_COUNT]; /* [GPR_RSP] is valid only after virt->read(VIRT_RSP) */
    u64 host_rsp;       /* kernel stack of the running thread: the exit stub returns there */
    u32 launched;       /* VMX: VMRESUME instead of VMLAUNCH */
    u32 hazards;        /* shared, VCPU_HAZARD_* */
    struct vm *vm;
    struct thread *thread; /* that runs it now, NULL: none; vm->cpus_lock to end it */
    struct object object;
    u32 index;     /* in its vm */
    s32 cpu;       /* CPU it is resident on, -1: none (VMCS cleared) */
    u32 fast_left; /* hot exits until the slice is looked at again */
    u64 exits[EXIT_COUNT];

    /* Events. */
    struct event event; /* to be injected first: re-injection or a fresh exception */
    u32 nmi_pending;    /* shared */
    u32 activity;       /* VCPU_ACTIVE, VCPU_HALTED, VCPU_WAIT_SIPI */
    u32 dead;           /* shared: only NMI, INIT or SIPI can wake it; vm->cpus_lock to set it */
    u64 tell_wait_tsc;  /* when its thread has waited as long, VX_CLOCK is due; VCPU_NEVER_TELL */
    u64 wake_tsc;       /* while it does not run: when to look at its timer, APIC_NEVER */
    struct apic apic;

    /* Guest registers that the CPU shares between guest and host; the hardware holds them while
     * cpu->msrs_of or cpu->resident says so, these copies otherwise. */
    u64 cr2, star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
    u64 xcr0, dr[4], dr6;
    bool debug_live; /* the CPU's are the guest's while it is resident: MOV DR does not exit */
    void *fpu;       /* XSAVE area, one pool page or more */
    u64 tsc_offset;
    u64 msr[VMSR_COUNT];

    /* The exit that SYS_VCPU_RUN returns. */
    struct vcpu_exit exit;
    u64 guest_tsc, start_tsc;
    u64 clock_tsc; /* until when guest_tsc is charged, and what exit_hazards() takes for now */

    void *backend; /* struct vmx_vcpu or struct svm_vcpu, owned by the backend */
};

#define VCPU_NEVER_TELL (~0ull)

/* Fills what VX_MSR and VX_CLOCK have in common; by the vCPU's thread. */
void vcpu_tell_clock(struct vcpu *v);

/* Charges the guest for the time since its clock was read last. */
static inline void vcpu_charge(struct vcpu *v, u64 now)
{
    v->guest_tsc += now - v->clock_tsc;
    v->clock_tsc = now;
}

static inline void vcpu_set_hazard(struct vcpu *v, u32 bits)
{
    __atomic_or_fetch(&v->hazards, bits, __ATOMIC_SEQ_CST);
}

#endif
