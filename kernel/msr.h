/* SPDX-License-Identifier: MIT */
/*
 * A guest's model-specific registers: one table; what is not in it does not exist (#GP).
 * IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE and IA32_SYSENTER_* may also be given to the
 * guest by the backend without an exit.
 */
#ifndef KERNEL_MSR_H
#define KERNEL_MSR_H

#include "lib/types.h"

struct vcpu;

/* The values after INIT of all that the vCPU object itself holds. */
void msr_reset(struct vcpu *v);

/* RDMSR and WRMSR of a resident vCPU; index and value are guest-controlled. False: #GP(0), and
 * nothing has changed. */
bool msr_read(struct vcpu *v, u32 index, u64 *value);
bool msr_write(struct vcpu *v, u32 index, u64 value);

/* The instructions themselves, with the guest's ECX, EAX and EDX. */
bool msr_exec_rdmsr(struct vcpu *v);
bool msr_exec_wrmsr(struct vcpu *v);

/* Would this value of IA32_MTRR_DEF_TYPE be taken? There are no variable or fixed ranges. */
bool msr_mtrr_def_type_check(u64 value);

#endif
