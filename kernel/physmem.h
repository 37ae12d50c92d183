/* SPDX-License-Identifier: MIT */
/* Splits physical memory into the kernel pool and the guest pool. */
#ifndef KERNEL_PHYSMEM_H
#define KERNEL_PHYSMEM_H

#include "arch/arch.h"
#include "kernel/bootinfo.h"

#define PHYSMEM_POOLS  8
#define PHYSMEM_GUESTS BOOT_MAX_RANGES

struct physmem {
    struct mem_range pool[PHYSMEM_POOLS];
    u32 pool_count;
    struct mem_range guest[PHYSMEM_GUESTS];
    u32 guest_count;
    u64 pool_bytes, guest_bytes;
};

/* Pure: decides from the memory map. False: there is not enough memory for a kernel pool. Memory
 * below 1 MiB is left alone (start-up trampoline, firmware's habits). */
bool physmem_split(const struct bootinfo *b, struct physmem *out);

/* Is the map sorted, page-aligned, without overlaps and wraps? NULL or what is wrong. */
const char *physmem_check(const struct bootinfo *b);

#endif
