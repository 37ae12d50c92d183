/* SPDX-License-Identifier: MIT */
/* The few calls that a guest may make to the kernel. */
#include "kernel/hypercall.h"

#include "kernel/exit.h"
#include "kernel/virt.h"

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

void hypercall_exec(struct vcpu *v)
{
    u64 result = HYPERCALL_UNKNOWN;

    if (virt->read(v, VIRT_CPL) != 0) {
        result = HYPERCALL_DENIED;
    } else if ((u32)v->gpr[GPR_RAX] == HYPERCALL_PING) {
        result = HYPERCALL_VERSION;
    } else if ((u32)v->gpr[GPR_RAX] == HYPERCALL_INTERRUPT) {
        result = interrupt(v, (u32)v->gpr[GPR_RDI]);
    }
    v->gpr[GPR_RAX] = result;
}
