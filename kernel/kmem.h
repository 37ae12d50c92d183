/* SPDX-License-Identifier: MIT */
/*
 * Kernel memory: pages and small objects from the kernel pool. All results are zeroed. Locks
 * itself; any context but NMI. Freed memory is filled with junk.
 */
#ifndef KERNEL_KMEM_H
#define KERNEL_KMEM_H

#include "lib/types.h"

struct boot_range;

/* Boot: takes count ranges (page-aligned, readable through arch_pool_ptr) as the pool. */
void kmem_init(const struct boot_range *pool, u32 count);

/* A page; .v == 0: none left. */
hpa_t kmem_page_alloc(void) MUST_CHECK;
void kmem_page_free(hpa_t page);

/* bytes of memory, aligned to the power of two not below bytes (4 KiB at most); NULL: none left.
 * Up to 4 MiB at once. */
void *kmem_alloc(size_t bytes) MUST_CHECK;
void kmem_free(void *p); /* NULL is fine */

/* Boot: a block of any size that is never freed. */
void *kmem_alloc_boot(u64 bytes) MUST_CHECK;

u64 kmem_total_bytes(void);
u64 kmem_free_bytes(void);        /* whole pages */
u64 kmem_free_object_bytes(void); /* small objects, in pages that are kept for such */

/* Is this page of the pool, and is it allocated? (isolation report) */
bool kmem_owns(hpa_t page);

#endif
