/* SPDX-License-Identifier: MIT */
/*
 * What this CPU's VT-x can do, and the control words that follow from it. Pure computation from the
 * values of the capability MSRs, so that it is proven on the host with those of many CPUs.
 */
#ifndef ARCH_X86_VMX_CAPS_H
#define ARCH_X86_VMX_CAPS_H

#include "lib/hw/vmcs.h"
#include "lib/types.h"

struct vmx_caps {
    u32 revision;                      /* of VMXON regions and VMCSs */
    u32 pin, proc, proc2, exit, entry; /* control words of every guest */
    u32 timer_shift;                   /* the preemption timer counts TSC ticks >> timer_shift */
    u64 misc, basic;
    u64 cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    u64 eptp; /* low bits of every EPTP: memory type, levels, A/D */
    u32 ept_levels;
    bool ept_2m, ept_1g, ept_ad;
    bool vpid, invept_single, invvpid_single;
    bool apicv;  /* TPR shadow, x2APIC mode, APIC registers, interrupt delivery: all of these */
    bool posted; /* and posted interrupts */
    bool ins_outs_info; /* exits of INS and OUTS tell segment and address size */
};

/* The MSRs of this CPU, asked through read (which must not fault for MSRs that must be there). */
void vmx_msrs_read(struct vmx_msrs *m, u64 (*read)(u32 msr));

/* NULL: *caps is filled. Else a sentence: what is missing and what to do. vmx_in_cpuid:
 * CPUID.1:ECX.5. */
const char *vmx_caps_compute(struct vmx_caps *caps, const struct vmx_msrs *m, bool vmx_in_cpuid);

/* (want | what must be 1) & what may be 1, of one control word's capability MSR. */
static inline u32 vmx_control(u32 want, u64 msr)
{
    return (want | (u32)msr) & (u32)(msr >> 32);
}

#endif
