/* SPDX-License-Identifier: MIT */
/* What a guest can ask of Socle, and how it knows that it runs there. */
#ifndef GUESTS_LIB_SOCLE_H
#define GUESTS_LIB_SOCLE_H

#include "lib/types.h"

/* Hypercalls: number in EAX, result in RAX. */
#define HYPERCALL_PING 0 /* result 1 */

/* Is this CPU Socle's? By CPUID's hypervisor signature. */
bool on_socle(void);

/* Is the CPU QEMU's own emulation (TCG), with or without Socle between? It lacks some checks that
 * tests must not ask for, and it gets its time in pieces. */
bool cpu_is_tcg(void);

/* Is it all QEMU's: CPU, devices, firmware? */
bool on_tcg(void);

/* AMD's or Hygon's, by the vendor string. */
bool cpu_is_amd(void);

/* The instruction for it is 0f 01 and this byte: VMCALL, or VMMCALL where the CPU is AMD's. */
u8 hypercall_opcode(void);

/* Called before guest_main(). */
void socle_init(void);

u64 hypercall(u64 number, u64 argument);

#endif
