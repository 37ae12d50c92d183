/* SPDX-License-Identifier: MIT */
/*
 * Frames of the guest pool: RAM of guests and of ring-3 programs. The kernel never maps them but
 * through a window. Each 4 KiB frame has a reference count and the tag of its owner. Locks itself.
 */
#ifndef KERNEL_FRAME_H
#define KERNEL_FRAME_H

#include "lib/types.h"

/* Owner tags: processes and vms share one number space (owner_new), 0 is nobody. */
typedef u16 owner_t;

/* Boot: room for frames of so many bytes of guest pool, then its ranges. */
bool frame_init(u64 bytes) MUST_CHECK;
void frame_add(u64 base, u64 bytes);

/* A block of 2^order frames (order at most 18), each with one reference and this owner; zeroed.
 * .v == 0: none left. */
hpa_t frame_alloc(u32 order, owner_t owner) MUST_CHECK;

/* The same in two steps, for blocks whose zeroing takes long: frame_reserve() gives them as they
 * are, tagged FRAME_IN_FLIGHT; the caller zeroes them (arch_frame_zero) and then names the owner.
 */
#define FRAME_IN_FLIGHT ((owner_t)0xffff)
hpa_t frame_reserve(u32 order) MUST_CHECK;
void frame_give(hpa_t pa, u64 bytes, owner_t owner);

/* Drops one reference of each frame in [pa, pa + bytes); frames without any become free. */
void frame_free(hpa_t pa, u64 bytes);

u64 frame_total_bytes(void);
u64 frame_free_bytes(void);

/* Of the frame at pa: false when it is not in the guest pool. free: nobody's. */
bool frame_query(hpa_t pa, bool *free, owner_t *owner, u32 *refs);

/* Calls fn for each range of the pool. */
void frame_walk(void (*fn)(void *arg, u64 base, u64 bytes), void *arg);

/* The isolation report counts claims: frame_claims_reset(), then frame_claim() for each place that
 * says this frame is its own; false when the record says otherwise. */
void frame_claims_reset(void);
bool frame_claim(hpa_t pa, owner_t owner);

/* Calls fn for each free block (owner, refs and claims 0) and each frame in use, in order. */
struct frame_use {
    u64 base, bytes;
    bool free;
    owner_t owner;
    u32 refs, claims;
};
void frame_walk_use(void (*fn)(void *arg, const struct frame_use *use), void *arg);

/* Tags. 0: none left. */
owner_t owner_new(void);
void owner_free(owner_t owner);

#endif
