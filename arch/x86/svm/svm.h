/* SPDX-License-Identifier: MIT */
/* What the files of the AMD-V backend share. */
#ifndef ARCH_X86_SVM_SVM_H
#define ARCH_X86_SVM_SVM_H

#include "arch/x86/guest.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "lib/hw/vmcb.h"
#include "lib/types.h"

/* Of one vCPU, two pages: vcpu.backend. */
struct svm_vcpu {
    union {
        struct vmcb vmcb;
        u8 page[PAGE_SIZE];
    };
    u8 fpu[GUEST_FPU_BYTES];
    u64 tags;       /* svm_cpu.generation that its ASID is of; 0: it has none */
    bool mce;       /* CR4.MCE as the guest sees it; in truth it is always set */
    bool paused;    /* a PAUSE has exited, and is let through */
    bool taken;     /* the guest takes the interrupt of vmcb.int_vector at the next entry */
    bool wanted[2]; /* by enum virt_window: one waits until the guest can take it */
    u64 debugctl;
    u64 next_rip; /* behind the instruction that exited */
    u8 gpr;       /* of a MOV CR, as ring 3 has told */

    /* NMIs (inject.c) */
    bool nmi_masked; /* one is being handled: the next IRET exits */
    bool iret;       /* that IRET, at entry_rip, is what runs next */
    bool stepping, step_tf;
    u64 entry_rip;
};
_Static_assert(sizeof(struct svm_vcpu) <= 2 * PAGE_SIZE, "svm_vcpu");

/* Of one CPU: cpu.virt. */
struct svm_cpu {
    u8 host[PAGE_SIZE]; /* VMSAVE's, for VMLOAD */
    u8 save[PAGE_SIZE]; /* VM_HSAVE_PA: the CPU's own */
    u64 generation;     /* of ASIDs, no other CPU has it; a new one begins with a flush of all */
    u32 next_asid;
};

/* The same on all CPUs; written once by preflight: CPUID 8000000ah. */
extern struct svm_caps {
    u32 asids;    /* 0: the host, .. asids - 1 */
    u32 features; /* SVM_FEATURE_* */
} svm_caps;

#define SVM_FEATURE_NP           BIT(0)
#define SVM_FEATURE_NEXT_RIP     BIT(3)
#define SVM_FEATURE_PAUSE_FILTER BIT(10)

static inline struct svm_vcpu *svm_of(struct vcpu *v)
{
    return v->backend;
}

static inline struct vmcb *vmcb_of(struct vcpu *v)
{
    return &svm_of(v)->vmcb;
}

/* svm.c: v's cached translations, of both levels, are forgotten before its next entry; and what
 * that needs at an entry. */
void svm_flush(struct vcpu *v);
void svm_use_tag(struct vcpu *v);

/* state.c: registers and whole state; v is resident. */
u64 svm_read(struct vcpu *v, enum virt_reg r);
void svm_write(struct vcpu *v, enum virt_reg r, u64 value);
bool svm_write_owned(struct vcpu *v, enum virt_reg r, u64 value);
u32 svm_code_mode(struct vcpu *v, u64 *cr3);
void svm_get_segment(struct vcpu *v, u32 i, struct vcpu_seg *s);
void svm_set_segment(struct vcpu *v, u32 i, const struct vcpu_seg *s);
int svm_set_cr(struct vcpu *v, const struct vcpu_state *s);
void svm_reset(struct vcpu *v);
void svm_intercept_debug(struct vcpu *v, bool on);
void svm_advance(struct vcpu *v, u32 bytes);

/* inject.c */
bool svm_can_take(struct vcpu *v, enum virt_window w);
void svm_set_window(struct vcpu *v, enum virt_window w, bool on);
void svm_inject(struct vcpu *v, const struct event *e);
bool svm_try_interrupt(struct vcpu *v, u8 vector);
void svm_mask_nmi(struct vcpu *v, bool masked);
/* Before each entry: what makes the CPU exit when the guest can take what waits. After each exit:
 * what of that has happened; an event that was interrupted is queued again in v->event. True: a
 * single step was ours. */
void svm_arm_windows(struct vcpu *v);
bool svm_take_events(struct vcpu *v);
/* The guest's IRET that ends the blocking of NMIs is next. */
void svm_note_iret(struct vcpu *v);

/* exit.c */
void svm_run(struct vcpu *v);
bool svm_decoded(struct vcpu *v, u32 length, u32 gpr);

/* entry.asm: VMRUN, once; returns after the exit with interrupts off. Addresses are physical: v's
 * VMCB and the host's own state. */
void svm_enter(struct vcpu *v, u64 vmcb, u64 host);

#endif
