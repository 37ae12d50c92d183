/* SPDX-License-Identifier: MIT */
/* Registers of the CPU as lib/hw/x86.h has them, and what we put there. */
#ifndef ARCH_X86_MSR_H
#define ARCH_X86_MSR_H

#include "lib/hw/x86.h"

/* Page attribute table: entry 5, which no one used before us, becomes write-combining; the others
 * stay as after reset. lib/pagetable.c's x86 format relies on it. */
#define PAT_VALUE 0x0007010600070406ull

#endif
