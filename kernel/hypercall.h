/* SPDX-License-Identifier: MIT */
/* VMCALL: number in EAX, result in RAX. For the guest's ring 0. */
#ifndef KERNEL_HYPERCALL_H
#define KERNEL_HYPERCALL_H

#include "kernel/vcpu.h"

enum {
    HYPERCALL_PING, /* -> HYPERCALL_VERSION */
};

#define HYPERCALL_VERSION 1
#define HYPERCALL_UNKNOWN ((u64)-1000) /* no such number, as KVM answers */
#define HYPERCALL_DENIED  ((u64)-1)    /* not from the guest's ring 0 */

/* Executes the hypercall of a resident vCPU at that privilege level; everything is
 * guest-controlled. */
void hypercall_exec(struct vcpu *v, u32 cpl);

#endif
