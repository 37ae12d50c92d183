/* SPDX-License-Identifier: MIT */
/*
 * What the backends share: registers of the CPU that no control structure of theirs covers, checks
 * of a vCPU's whole state, and its report. A guest's FPU state and debug registers stay in the CPU
 * as long as the vCPU is resident: the kernel and ring 3 use neither (CR0.TS is set outside
 * guests).
 */
#ifndef ARCH_X86_GUEST_H
#define ARCH_X86_GUEST_H

#include "kernel/vcpu.h"
#include "lib/types.h"

#define GUEST_FPU_BYTES 3584 /* what v->fpu points to, aligned to 64 */

/* Once, before the others: NULL, or a sentence that says why this CPU's guests cannot be switched.
 */
const char *guest_preflight(void);
u64 guest_fpu_cr4(void); /* bits of the host's CR4 that switching the FPU needs */
void guest_fpu_reset(struct vcpu *v);
void guest_fpu_sync(struct vcpu *v); /* v->xcr0 from the CPU, where XSETBV may not have exited */

/* A vCPU's stay on this CPU: FPU, XCR0, and DR0 to DR3 and DR6 if it uses them. */
void guest_load(struct vcpu *v);
void guest_unload(struct vcpu *v);

/* The state after INIT, but for what is a backend's own. */
void guest_reset(struct vcpu *v);

/* MSRs that a guest reads and writes by itself: the hardware switches them. */
#define GUEST_MSRS                                                                                 \
    MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_IA32_FS_BASE,          \
        MSR_IA32_GS_BASE, MSR_IA32_KERNEL_GS_BASE

/* Exceptions with an error code: #DF #TS #NP #SS #GP #PF #AC */
#define GUEST_VECTORS_WITH_ERROR (BIT(8) | FIELD(14, 10) | BIT(17))

/* Its error code is 0. */
static inline struct event guest_exception(u8 vector)
{
    return (struct event){EVENT_HWEXC, vector, GUEST_VECTORS_WITH_ERROR >> vector & 1, 0, 0};
}

#endif
