/* SPDX-License-Identifier: MIT */
/*
 * Radix page tables of the x86 family, generic over the format of an entry (CPU paging, EPT; NPT is
 * CPU paging) and over the memory that tables live in, so that the same code is proven on the host
 * with a fake memory that keeps the order of writes. No locking: the owner of the tables locks.
 *
 * Order of writes: a new table is complete before the entry that reaches it is written; an entry is
 * written once, as one 64-bit store. Whatever changes an entry that was present sets *flush (a CPU
 * may hold the old one); the caller invalidates before it reuses a frame.
 *
 * A table that becomes empty is unlinked and kept aside: CPUs that cached the way to it may walk it
 * until they have invalidated. The owner calls pt_reclaim() after its invalidation; who forgets it
 * keeps the tables until pt_destroy().
 */
#ifndef LIB_PAGETABLE_H
#define LIB_PAGETABLE_H

#include "lib/types.h"

/* Permissions and kinds, neutral; the format turns them into bits. */
#define PT_READ            BIT(0)
#define PT_WRITE           BIT(1)
#define PT_EXEC            BIT(2)
#define PT_USER            BIT(3) /* CPU paging only */
#define PT_GLOBAL          BIT(4) /* CPU paging only */
#define PT_UNCACHED        BIT(5) /* device memory */
#define PT_WRITE_COMBINING BIT(6) /* framebuffer; format may fall back to uncached */
#define PT_MEMTYPE_SHIFT   8 /* EPT: bits 10:8 are the memory type (0 UC, 1 WC, 4 WT, 5 WP, 6 WB) */
#define PT_MEMTYPE(t)      ((u64)(t) << PT_MEMTYPE_SHIFT)

struct pt_format {
    u64 address_mask; /* physical address bits of an entry */
    u64 present_mask; /* an entry with none of these is not present */
    u64 large_bit;    /* set in a leaf above the last level */
    u32 largest_leaf; /* 0: 4K only, 1: up to 2M, 2: up to 1G */
    u64 table_entry;  /* bits of an entry that points to a table */
    /* Level 0 is the last one (4K leaves), 1 that of 2M leaves, 2 that of 1G leaves. */
    u64 (*leaf)(u64 perm, u32 level); /* bits of a leaf, without address and large_bit */
    u64 (*perm)(u64 entry);           /* the inverse, for reports: PT_READ|WRITE|EXEC|USER */
    u64 (*split)(u64 entry,
                 u32 level); /* a leaf of that level: bits of the leaves one level below */
};

/* Where tables live. table() gives access to one; write() performs (and may record) each store. */
struct pt_memory {
    u64 (*alloc)(void *ctx); /* physical address of a zeroed table page; 0: none left */
    void (*free)(void *ctx, u64 table);
    u64 *(*table)(void *ctx, u64 table);
    void (*write)(void *ctx, u64 *slot, u64 value);
};

struct pagetable {
    const struct pt_format *format;
    const struct pt_memory *memory;
    void *ctx;
    u64 root;     /* physical */
    u32 levels;   /* 4 or 5 */
    u64 limit;    /* addresses from here on belong to others (the kernel's half): never touched */
    u32 tables;   /* how many table pages there are, the root and unlinked ones included */
    u64 unlinked; /* physical; tables that wait for pt_reclaim(), each one's first entry names the
                     next */
};

struct pt_leaf {
    u64 address; /* physical address of the page that va lies in, aligned to its size */
    u64 bytes;   /* 4K, 2M, 1G */
    u64 entry;   /* raw */
};

/* Allocates the root. limit 0: the tables' whole reach. False: no memory. */
bool pt_init(struct pagetable *pt, const struct pt_format *format, const struct pt_memory *memory,
             void *ctx, u32 levels, u64 limit) MUST_CHECK;

/*
 * Maps [va, va + bytes) to [pa, pa + bytes) with the largest leaves that alignment allows; existing
 * leaves in the range are replaced (larger ones split first). A slot that holds a table keeps it:
 * going from small leaves to a large one needs an invalidation in between, so unmap first. All page
 * multiples, no wrap, va within the tables' reach and below limit. Returns false when that does not
 * hold (nothing is done then) or when a table could not be allocated: the range may then be mapped
 * in part, and unmapping it is safe.
 */
bool pt_map(struct pagetable *pt, u64 va, u64 pa, u64 bytes, u64 perm, bool *flush) MUST_CHECK;

/* Unmaps; tables that become empty are unlinked. Splitting a large leaf may need a table: false if
 * none. */
bool pt_unmap(struct pagetable *pt, u64 va, u64 bytes, bool *flush) MUST_CHECK;

/* Changes the permissions of all leaves in the range; what is not mapped stays so. */
bool pt_protect(struct pagetable *pt, u64 va, u64 bytes, u64 perm, bool *flush) MUST_CHECK;

/* Frees the tables that were unlinked. No CPU may hold a translation from before they were. */
void pt_reclaim(struct pagetable *pt);

/*
 * The short way for pages that come one by one: the last-level slot of va, or NULL when there is no
 * table for it yet (then pt_map makes one). pt_fill_slot() maps pa there, if the slot is empty;
 * false when it is not.
 */
u64 *pt_last_slot(const struct pagetable *pt, u64 va);
bool pt_fill_slot(struct pagetable *pt, u64 *slot, u64 pa, u64 perm);

/* The leaf that maps va; false when none does. */
bool pt_lookup(const struct pagetable *pt, u64 va, struct pt_leaf *out);

/* Calls fn for every leaf that maps a part of [va, va + bytes), in order, with the address where
 * the leaf begins; stops when fn returns false. */
void pt_walk(const struct pagetable *pt, u64 va, u64 bytes,
             bool (*fn)(void *arg, u64 va, const struct pt_leaf *leaf), void *arg);

/* Calls fn for every linked table page below limit, the root included. */
void pt_walk_tables(const struct pagetable *pt, void (*fn)(void *arg, u64 table, u32 level),
                    void *arg);

/* Frees all tables (not what the leaves point to). */
void pt_destroy(struct pagetable *pt);

extern const struct pt_format
    pt_format_x86; /* CPU paging and NPT, with NX, 2M leaves; see cpu variant */
extern const struct pt_format pt_format_x86_1g;
extern const struct pt_format pt_format_ept; /* 2M leaves */
extern const struct pt_format pt_format_ept_1g;

#endif
