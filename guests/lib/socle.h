/* SPDX-License-Identifier: MIT */
/* What a guest can ask of Socle, and how it knows that it runs there; and the interrupt source that
 * tests use: Socle's test hypercall, or the local APIC's self-IPI on a bare machine. */
#ifndef GUESTS_LIB_SOCLE_H
#define GUESTS_LIB_SOCLE_H

#include "lib/types.h"

#define HYPERCALL_INJECT 1 /* RDI = vector: an external interrupt becomes pending in the caller */

/* Is this CPU Socle's? By CPUID's hypervisor signature. */
bool on_socle(void);

/* Is it QEMU's own emulation of a CPU? It lacks some checks that tests must not ask for. */
bool on_tcg(void);

/* VMCALL with RAX = number, RDI and RSI; the result in RAX. */
u64 hypercall(u64 number, u64 a, u64 b);

/* Makes interrupt vectors pending: false when there is no way. Vectors 32..255. */
bool irq_available(void);
void irq_raise(u8 vector);
/* At the end of a handler. */
void irq_eoi(void);

#endif
