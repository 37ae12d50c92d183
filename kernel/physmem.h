/* SPDX-License-Identifier: MIT */
/* What the loader says of physical memory: checked, and sorted by its use. */
#ifndef KERNEL_PHYSMEM_H
#define KERNEL_PHYSMEM_H

#include "kernel/bootinfo.h"

struct physmem {
    struct boot_range pool[BOOT_MAX_POOLS]; /* for the kernel itself */
    u32 pool_count;
    u64 guest_bytes; /* in all usable ranges */
};

/* Pure. NULL, or what is wrong: a count, ranges that are not sorted, not page-aligned, overlap or
 * wrap, or there is no pool. */
const char *physmem_read(const struct bootinfo *b, struct physmem *out);

#endif
