/* SPDX-License-Identifier: MIT */
/* What a guest can ask of Socle, and how it knows that it runs there. */
#ifndef GUESTS_LIB_SOCLE_H
#define GUESTS_LIB_SOCLE_H

#include "lib/types.h"

/* Hypercalls: number in EAX, result in RAX. */
#define HYPERCALL_PING 0 /* result 1 */

/* Is this CPU Socle's? By CPUID's hypervisor signature. */
bool on_socle(void);

/* Is it QEMU's own emulation of a CPU? It lacks some checks that tests must not ask for. */
bool on_tcg(void);

/* VMCALL. */
u64 hypercall(u64 number, u64 argument);

#endif
