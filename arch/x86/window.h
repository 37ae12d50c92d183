/* SPDX-License-Identifier: MIT */
/* The windows through which each CPU reaches frames of the guest pool (arch/arch.h). */
#ifndef ARCH_X86_WINDOW_H
#define ARCH_X86_WINDOW_H

#include "lib/pagetable.h"

/* Makes the tables for all CPUs, in the kernel's page tables, which are being built. */
void windows_init(struct pagetable *pt);

#endif
