/* SPDX-License-Identifier: MIT */
/* What the files of the AMD-V backend share. */
#ifndef ARCH_X86_SVM_SVM_H
#define ARCH_X86_SVM_SVM_H

#include "arch/x86/svm/vmcb.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "lib/types.h"

/* Of one vCPU: vcpu.backend. */
struct svm_vcpu {
    struct vmcb *vmcb;
    u64 tags;        /* svm_cpu.generation that its ASID is of; 0: it has none */
    s32 tag_cpu;     /* and the CPU */
    bool checked;    /* the VMCB passed its first consistency check */
    bool debug_live; /* DR0 to DR3 of the CPU are the guest's while it is resident */
    bool mce;        /* CR4.MCE as the guest sees it; in truth it is always set */
    bool window;     /* an interrupt waits until the guest can take it */
    bool paused;     /* a PAUSE has exited, and is let through */
    u64 debugctl;
    u64 next_rip; /* behind the instruction that exited */
    u8 gpr;       /* of a MOV CR, as ring 3 has told */

    /* NMIs (inject.c) */
    bool nmi_wanted; /* one waits until the guest can take it */
    bool nmi_masked; /* one is being handled: the next IRET exits */
    bool iret;       /* that IRET, at step_rip, is what runs next */
    bool stepping, step_tf;
    u64 step_rip;
};

/* Of one CPU: cpu.virt. */
struct svm_cpu {
    hpa_t host;     /* a page of VMSAVE's for VMLOAD; VM_HSAVE is the next one */
    u64 generation; /* of ASIDs; a new one begins with a flush of all */
    u32 next_asid;
    bool on;
};

/* The same on all CPUs; written once by preflight: CPUID 8000000ah. */
extern struct svm_caps {
    u32 asids;    /* 0: the host, .. asids - 1 */
    u32 features; /* SVM_FEATURE_* */
} svm_caps;

#define SVM_FEATURE_NP             BIT(0)
#define SVM_FEATURE_NEXT_RIP       BIT(3)
#define SVM_FEATURE_DECODE_ASSISTS BIT(7)
#define SVM_FEATURE_PAUSE_FILTER   BIT(10)

static inline struct svm_vcpu *svm_of(struct vcpu *v)
{
    return v->backend;
}

static inline struct vmcb *vmcb_of(struct vcpu *v)
{
    return svm_of(v)->vmcb;
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
void svm_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups);
int svm_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups);
void svm_reset(struct vcpu *v);
void svm_start(struct vcpu *v, u8 vector);
void svm_debug_load(struct vcpu *v);
void svm_debug_unload(struct vcpu *v);
void svm_give_debug(struct vcpu *v);
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

/* check.c, to the kernel log: each rule of APM 2 "Canonicalization and Consistency Checks" that the
 * VMCB breaks, and how many; all state. */
u32 svm_check(struct vcpu *v);
void svm_dump(struct vcpu *v);

#endif
