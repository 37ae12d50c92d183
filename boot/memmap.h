/* SPDX-License-Identifier: MIT */
/* Physical memory as sorted ranges that do not overlap. Pure code; the ranges' types are those of
 * kernel/bootinfo.h. */
#ifndef BOOT_MEMMAP_H
#define BOOT_MEMMAP_H

#include "kernel/bootinfo.h"

struct memmap {
    struct boot_range *ranges; /* capacity of them */
    u32 count, capacity;
    u64 lost_bytes; /* what did not fit, and is in no range now */
};

void memmap_init(struct memmap *m, struct boot_range *ranges, u32 capacity);

/*
 * Makes [base, base + bytes) of that type, whatever was there. Widened to whole pages, unless the
 * type is BOOT_MEM_USABLE: then narrowed. Ignored when empty or when it passes the end of the
 * address space.
 */
void memmap_set(struct memmap *m, u64 base, u64 bytes, u32 type);

/* boot/pool.c: takes the kernel's pool (BOOT_MEM_POOL) out of the usable ranges; then the loader's
 * own are usable, too. False: there is too little for a pool. */
bool memmap_split(struct memmap *m);

/* Copies the ranges, joined where type and address allow; when there are more than fit, or more
 * than BOOT_MAX_USABLE usable ones, the smallest usable ones are left out first (and counted in
 * lost_bytes). Returns how many. */
u32 memmap_copy(struct memmap *m, struct boot_range *out, u32 capacity);

/* Sum of the ranges of one type. */
u64 memmap_bytes(const struct memmap *m, u32 type);

/* End of the last range that is neither reserved nor a hole. */
u64 memmap_end(const struct memmap *m);

/* Does all of [base, base + bytes) lie in ranges, of any type? */
bool memmap_covers(const struct memmap *m, u64 base, u64 bytes);

#endif
