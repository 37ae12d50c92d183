/* SPDX-License-Identifier: MIT */
/* For tests of programs that run no vCPU: the system call that does. */
#include "vmm/sys.h"

s64 sys_call_vcpu_run(u64 vcpu, u64 flags, u64 value, struct vcpu_exit *exit)
{
    (void)vcpu;
    (void)flags;
    (void)value;
    (void)exit;
    return E_HANDLE;
}
