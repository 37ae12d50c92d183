/* SPDX-License-Identifier: MIT */
/* The few calls that a guest may make to the kernel. */
#include "kernel/hypercall.h"

#include "kernel/exit.h"

static u64 interrupt(struct vcpu *v, u32 vector)
{
    if (vector == 2) {
        vcpu_nmi(v);
        return 0;
    }
    if (vector < 16 || vector > 255) {
        return HYPERCALL_INVALID;
    }
    vcpu_interrupt(v, (u8)vector);
    return 0;
}

void hypercall_exec(struct vcpu *v, u32 cpl)
{
    u32 number = (u32)v->gpr[GPR_RAX];

    if (cpl != 0) {
        v->gpr[GPR_RAX] = HYPERCALL_DENIED;
    } else if (number == HYPERCALL_PING) {
        v->gpr[GPR_RAX] = HYPERCALL_VERSION;
    } else if (number == HYPERCALL_INTERRUPT) {
        v->gpr[GPR_RAX] = interrupt(v, (u32)v->gpr[GPR_RDI]);
    } else {
        v->gpr[GPR_RAX] = HYPERCALL_UNKNOWN;
    }
}
