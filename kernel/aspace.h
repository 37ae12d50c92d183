/* SPDX-License-Identifier: MIT */
/* The lower half of a process's address space: page tables and the ranges that were mapped into it.
 */
#ifndef KERNEL_ASPACE_H
#define KERNEL_ASPACE_H

#include "kernel/object.h"
#include "kernel/spinlock.h"
#include "lib/pagetable.h"
#include "lib/types.h"

struct process;

struct region {
    u64 vaddr, bytes;      /* bytes 0: free slot */
    u64 offset;            /* in source; for a vm the guest-physical address */
    u32 flags;             /* MAP_* */
    struct object *source; /* memory or vm; a reference */
};

struct aspace {
    struct pagetable pt;
    struct process *process;
    struct spinlock lock;
    u32 region_count, region_limit; /* slots used so far, and all */
    struct region regions[];
};

/* For up to so many ranges at once; NULL: no memory. */
struct aspace *aspace_create(struct process *p, u32 regions);
void aspace_destroy(struct aspace *a); /* not loaded on any CPU */

/* Checked arguments of SYS_MEMORY_MAP; source is memory or vm. E_*. Kernel lock held. */
int aspace_map(struct aspace *a, struct object *source, u64 offset, u64 vaddr, u64 bytes,
               u64 flags);
int aspace_unmap(struct aspace *a, u64 vaddr, u64 bytes);

/* A page fault of ring 3: true when it was the first touch of a window of guest memory and is
 * settled. */
bool aspace_fault(struct aspace *a, u64 address, bool write, bool exec);

/* Maps a page of the kernel's own at boot (segments of the first program). */
int aspace_map_fixed(struct aspace *a, u64 vaddr, hpa_t pa, u64 bytes, u64 flags);

#endif
