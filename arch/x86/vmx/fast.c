/* SPDX-License-Identifier: MIT */
/*
 * The exits that a guest causes all the time, settled on the spot, and RIP past an instruction.
 * Every instruction here counts: no call that is not the last thing a function does, so that the
 * compiler saves no registers, and the rare cases are functions of their own.
 */
#include "arch/arch.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/cpuid.h"
#include "kernel/exit.h"
#include "kernel/msr.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"

#define SHADOW (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)

void vmx_advance(UNUSED struct vcpu *v, u32 bytes)
{
    u64 old = vmcs_read(GUEST_RIP), rip = old + (bytes ? bytes : vmcs_read32(EXIT_INSTR_LENGTH));
    u32 blocked = vmcs_read32(GUEST_INTERRUPTIBILITY);
    u64 rflags = vmcs_read(GUEST_RFLAGS);

    if (UNLIKELY((u32)rip < (u32)old)) {
        /* the low half wrapped: outside 64-bit mode there is no upper half */
        bool is_64 = vmcs_read64(GUEST_EFER) & EFER_LMA && vmcs_read32(GUEST_CS_ACCESS) & BIT(13);
        rip = is_64 ? rip : (u32)rip;
    }
    vmcs_write(GUEST_RIP, rip);
    /* A shadow of STI or MOV SS ends with the instruction. A single step is due, if it was on (SDM
     * 3C "Pending Debug Exceptions"). */
    if (UNLIKELY(blocked & SHADOW)) {
        vmcs_write32(GUEST_INTERRUPTIBILITY, blocked & ~SHADOW);
    }
    if (UNLIKELY(rflags & RFLAGS_RF)) { /* it suppressed this instruction's breakpoint */
        vmcs_write(GUEST_RFLAGS, rflags & ~RFLAGS_RF);
    }
    if (UNLIKELY(rflags & RFLAGS_TF) && !(vmcs_read64(GUEST_DEBUGCTL) & DEBUGCTL_BTF)) {
        vmcs_write(GUEST_PENDING_DEBUG, vmcs_read(GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
    }
}

/* Interrupts that the instruction itself brought (an EOI, an IPI, a deadline that was past) are
 * delivered here; anything else goes the slow way. */
NOINLINE static u32 settle_hazards(struct vcpu *v)
{
    bool plain = v->fast_left && !cpu_hazards() &&
                 !(__atomic_load_n(&v->hazards, __ATOMIC_RELAXED) & ~(u32)VCPU_HAZARD_EVENTS);

    return plain && exit_fast_deliver(v) ? VMX_RESUME : VMX_LAUNCH;
}

static inline u32 hazards_after(struct vcpu *v, enum exit_kind kind)
{
    return exit_fast_hazards(v, kind) ? settle_hazards(v) : VMX_RESUME;
}

NOINLINE static u32 finish_rare(struct vcpu *v, enum exit_kind kind)
{
    vmx_advance(v, 0);
    return hazards_after(v, kind);
}

/* Skips the instruction: vmx_advance() for the usual case. */
static inline u32 finish(struct vcpu *v, enum exit_kind kind)
{
    u64 old = vmcs_read(GUEST_RIP), rip = old + vmcs_read32(EXIT_INSTR_LENGTH);

    if (UNLIKELY((u32)rip < (u32)old) ||
        UNLIKELY((vmcs_read(GUEST_RFLAGS) & (RFLAGS_TF | RFLAGS_RF)) |
                 (vmcs_read32(GUEST_INTERRUPTIBILITY) & SHADOW))) {
        return finish_rare(v, kind);
    }
    vmcs_write(GUEST_RIP, rip);
    return hazards_after(v, kind);
}

NOINLINE static u32 on_cpuid_rare(struct vcpu *v)
{
    cpuid_exec(v);
    return finish(v, EXIT_CPUID);
}

NOINLINE static u32 on_rdmsr(struct vcpu *v)
{
    return LIKELY(msr_exec_rdmsr(v)) ? finish(v, EXIT_RDMSR) : VMX_LEAVE;
}

NOINLINE static u32 on_wrmsr(struct vcpu *v)
{
    return LIKELY(msr_exec_wrmsr(v)) ? finish(v, EXIT_WRMSR) : VMX_LEAVE;
}

NOINLINE static u32 on_vmcall(struct vcpu *v)
{
    hypercall_exec(v, vmcs_read32(GUEST_SS_ACCESS) >> 5 & 3);
    return finish(v, EXIT_HYPERCALL);
}

/* Registers that are in v->gpr[] on the fast way: those that C may clobber, and RBX. */
#define SAVED                                                                                      \
    (BIT(GPR_RAX) | BIT(GPR_RCX) | BIT(GPR_RDX) | BIT(GPR_RBX) | BIT(GPR_RSI) | BIT(GPR_RDI) |     \
     FIELD(GPR_R11, GPR_R8))

/* MOV to and from CR8. */
NOINLINE static u32 on_cr_access(struct vcpu *v)
{
    u32 q = (u32)vmcs_read(EXIT_QUALIFICATION), gpr = q >> 8 & 15, type = q >> 4 & 3;

    if ((q & 15) != 8 || type > 1 || !(SAVED >> gpr & 1)) {
        return VMX_LEAVE;
    }
    if (type == 1) {
        v->gpr[gpr] = apic_cr8(v);
    } else if (v->gpr[gpr] <= 15) {
        apic_set_cr8(v, (u32)v->gpr[gpr]);
    } else {
        return VMX_LEAVE;
    }
    return finish(v, EXIT_CR);
}

u32 vmx_exit_fast(struct vcpu *v)
{
    u32 reason = vmcs_read32(EXIT_REASON);

    if (reason == REASON_CPUID) {
        return LIKELY(cpuid_exec_plain(v)) ? finish(v, EXIT_CPUID) : on_cpuid_rare(v);
    }
    if (reason == REASON_RDMSR) {
        return on_rdmsr(v);
    }
    if (reason == REASON_WRMSR) {
        return on_wrmsr(v);
    }
    if (reason == REASON_VMCALL) {
        return on_vmcall(v);
    }
    return reason == REASON_CR_ACCESS ? on_cr_access(v) : VMX_LEAVE;
}
