/* SPDX-License-Identifier: MIT */
/* Has the kernel set up a vCPU as its CPU wants it, and why does the CPU refuse it? */
#include "vmm/machine/report.h"

#include "vmm/sys.h"

void report_vcpu(struct vcpu *v, bool refused, u64 reason)
{
    union {
        u64 kind, bytes[VCPU_REPORT_BYTES / sizeof(u64)];
        struct vmx_report vmx;
        struct svm_report svm;
    } r;

    if (sys_vcpu_report(v->handle, &r)) {
        return;
    }
    machine_lock(v->machine);
    if (r.kind == VCPU_REPORT_VMX) {
        vmx_explain(v, &r.vmx, refused, reason);
    } else if (r.kind == VCPU_REPORT_SVM) {
        svm_explain(v, &r.svm, refused);
    }
    machine_unlock(v->machine);
}
