/* SPDX-License-Identifier: MIT */
/* What the files of the VT-x backend share. */
#ifndef ARCH_X86_VMX_VMX_H
#define ARCH_X86_VMX_VMX_H

#include "arch/x86/vmx/caps.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "lib/hw/vmcs.h"
#include "lib/types.h"

/* Of one vCPU: vcpu.backend. */
struct vmx_vcpu {
    hpa_t vmcs;
    u16 vpid;          /* 0: none */
    bool syscall_live; /* STAR, LSTAR and FMASK of the CPU are the guest's */
    u32 proc;          /* the control field's current value */
    u64 eoi_exits[4];  /* likewise */
    u64 eptp;
    u64 host_cr3;   /* the control field's current value */
    s32 active_cpu; /* the CPU that caches its VMCS, -1: none (VMCLEAR done) */
    s32 last_cpu;   /* the CPU it was loaded on last, whose caches its VPID knows; -1: none */
};

/* Of one CPU: cpu.virt. */
struct vmx_cpu {
    hpa_t vmxon;
    bool on;
};

/* The same on all CPUs; written once by preflight. */
extern struct vmx_caps vmx_caps;
extern struct vmx_msrs vmx_msrs;

static inline struct vmx_vcpu *vmx_of(struct vcpu *v)
{
    return v->backend;
}

/* vmx.c: cached translations of v's linear addresses are forgotten. */
void vmx_flush_linear(struct vcpu *v);

/* state.c: registers and whole state; v is resident. */
u64 vmx_read(struct vcpu *v, enum virt_reg r);
void vmx_write(struct vcpu *v, enum virt_reg r, u64 value);
bool vmx_write_owned(struct vcpu *v, enum virt_reg r, u64 value);
u32 vmx_code_mode(struct vcpu *v, u64 *cr3);
void vmx_set_segment(struct vcpu *v, u32 i, const struct vcpu_seg *s);
void vmx_get_segment(struct vcpu *v, u32 i, struct vcpu_seg *s);
int vmx_set_cr(struct vcpu *v, const struct vcpu_state *s);
/* Guest state after INIT, into the current VMCS and v. */
void vmx_reset(struct vcpu *v);

/* registers.c: the SYSCALL MSRs, which ring 3 uses, too. */
void vmx_switch_msrs(struct vcpu *v, bool to_guest);
/* Are v's KERNEL_GS_BASE and CR2 in the CPU? */
bool vmx_msrs_live(const struct vcpu *v);
/* The guest's EFER.SCE is on: its STAR, LSTAR and FMASK must be in the CPU. */
void vmx_syscall_load(struct vcpu *v);

/* inject.c */
bool vmx_can_take(struct vcpu *v, enum virt_window w);
void vmx_set_window(struct vcpu *v, enum virt_window w, bool on);
void vmx_inject(struct vcpu *v, const struct event *e);
bool vmx_try_interrupt(struct vcpu *v, u8 vector);
/* An event whose delivery the last exit interrupted is queued again in v->event. */
void vmx_take_vectoring(struct vcpu *v);

/* apicv.c: local APICs by the CPU. bitmap is the MSR bitmap of all other guests. False: no memory.
 */
bool vmx_apicv_init(hpa_t bitmap);
void vmx_apic_mode(struct vcpu *v);
void vmx_apic_sync(struct vcpu *v);

/* exit.c */
void vmx_run(struct vcpu *v);
void vmx_arm_timer(struct vcpu *v);
void vmx_advance(struct vcpu *v, u32 bytes);

/* entry.asm: enters the guest again and again until C says otherwise. HOST_RIP is vmx_exit_stub. */
void vmx_enter(struct vcpu *v);
void vmx_exit_stub(void);

/* What the stub calls. Answers of the first two: */
enum {
    VMX_LEAVE,  /* slow: SYS_VCPU_RUN returns; fast: not settled, save all and go the slow way */
    VMX_RESUME, /* enter again */
    VMX_LAUNCH, /* slow: enter, but the VMCS was cleared; fast: settled, but hazards wait */
};
u32 vmx_exit_fast(struct vcpu *v);
u32 vmx_exit_slow(struct vcpu *v, u32 fast_answer);
void vmx_entry_failed(struct vcpu *v);

/* report.c: struct vmx_report. */
void vmx_fill_report(struct vcpu *v, void *report);

#endif
