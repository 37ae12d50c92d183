/* SPDX-License-Identifier: MIT */
/* What the kernel says of a vCPU (SYS_VCPU_REPORT), by the rules of its CPU. */
#ifndef VMM_MACHINE_REPORT_H
#define VMM_MACHINE_REPORT_H

#include "lib/hw/vmcb.h"
#include "lib/hw/vmcs.h"
#include "vmm/machine/machine.h"

/* Writes broken rules to the guest's console, and all else that explains why the CPU refused v;
 * lock held. Not refused: v has not run, and only what the kernel has set up is looked at. */
void vmx_explain(struct vcpu *v, const struct vmx_report *r, bool refused, u64 reason);
void svm_explain(struct vcpu *v, const struct svm_report *r, bool refused);

#endif
