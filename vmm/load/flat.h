/* SPDX-License-Identifier: MIT */
/*
 * Flat images: bytes that are copied to a configured address and started in a configured mode.
 *
 * State at the entry, in every mode: interrupts off, general registers 0 but for (E/R)SI = address
 * of the command line (the configuration's options, NUL-terminated), (E/R)DI = MiB of RAM from
 * address 0 to the first hole above 1 MiB, (E/R)SP = 0x7c00. Low memory:
 *
 *   0x0400 BIOS data area (vmm/machine/firmware.h)
 *   0x0500 GDT: 0x08 code of the mode, 0x10 data, 0x18 32-bit code, 0x20 TSS (protected, long)
 *   0x0600 command line, up to 0xfff
 *   0x1000 long mode: PML4, then the page directory pointers, then four page directories: the first
 *          4 GiB, each address mapped to itself with pages of 2 MiB, writable, user
 *   0x7c00 the stack's top; from here to 0x9fbff, and above 1 MiB, memory is free for the image
 *
 * real:      CS = (entry >> 4) & 0xf000, IP = entry & 0xffff (entry below 1 MiB), DS = ES = SS = 0,
 *            IDT at 0 with limit 0x3ff
 * protected: CR0.PE, no paging; flat 4 GiB segments CS 0x08, DS = ES = SS = FS = GS 0x10
 * long:      64-bit mode, CR4.PAE, EFER.LME|LMA|NXE, CS 0x08, data segments 0x10
 * An IDT is the guest's own affair: its limit is 0 in protected and long mode.
 */
#ifndef VMM_LOAD_FLAT_H
#define VMM_LOAD_FLAT_H

#include "vmm/load/load.h"

#define FLAT_COMMAND 0x600
#define FLAT_STACK   0x7c00

/* See load_image(). */
bool flat_load(const struct load_request *r, struct vcpu_state *state, struct load_error *error);

#endif
