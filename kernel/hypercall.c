/* SPDX-License-Identifier: MIT */
/* The few calls that a guest may make to the kernel. */
#include "kernel/hypercall.h"

void hypercall_exec(struct vcpu *v, u32 cpl)
{
    u32 number = (u32)v->gpr[GPR_RAX];

    if (cpl != 0) {
        v->gpr[GPR_RAX] = HYPERCALL_DENIED;
    } else if (number == HYPERCALL_PING) {
        v->gpr[GPR_RAX] = HYPERCALL_VERSION;
    } else {
        v->gpr[GPR_RAX] = HYPERCALL_UNKNOWN;
    }
}
