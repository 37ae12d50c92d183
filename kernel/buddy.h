/* SPDX-License-Identifier: MIT */
/*
 * Buddy allocator over page frames in several zones. Knows nothing of the frames' contents: the
 * record of a frame is outside of it, because guest frames are never mapped. No locking. Pure code:
 * proven on the host.
 */
#ifndef KERNEL_BUDDY_H
#define KERNEL_BUDDY_H

#include "lib/types.h"

#define BUDDY_ORDERS    23 /* 4 KiB .. 16 GiB: the records of 4 TiB are one block */
#define BUDDY_MAX_ZONES 64
#define BUDDY_NONE      (~0u)

enum frame_state {
    FRAME_BUSY, /* allocated, or inside a free block */
    FRAME_FREE, /* first frame of a free block of 2^order */
};

struct frame {
    u32 next, prev; /* free list; for allocated frames free for the owner's use */
    u32 refs;       /* of an allocated frame */
    u8 order;       /* of the block this frame heads, free or allocated */
    u8 state;
    u16 owner; /* tag of an allocated frame, by the owner */
};

struct buddy_zone {
    u64 base; /* physical, page-aligned */
    u32 pages;
    u32 first; /* index of its first frame in buddy.frames */
};

struct buddy {
    struct frame *frames;
    u32 count; /* frames in all zones */
    u32 zone_count;
    struct buddy_zone zones[BUDDY_MAX_ZONES];
    u32 free_head[BUDDY_ORDERS];
    u64 free_pages;
};

/* frames: zeroed records, room for capacity of them. */
void buddy_init(struct buddy *b, struct frame *frames);

/* Adds a range, free. False: too many zones (the range is left out). */
bool buddy_add(struct buddy *b, u64 base, u64 bytes);

/* A block of 2^order pages, aligned to its size; index of its first frame or BUDDY_NONE. */
u32 buddy_alloc(struct buddy *b, u32 order) MUST_CHECK;

/* Frees a block that starts at index; it need not be one that was allocated whole, only allocated.
 */
void buddy_free(struct buddy *b, u32 index, u32 order);

/* Index of the frame at pa, BUDDY_NONE outside of all zones; and back. */
u32 buddy_index(const struct buddy *b, u64 pa);
u64 buddy_address(const struct buddy *b, u32 index);

/* Is this frame part of a free block? (walks up the orders) */
bool buddy_is_free(const struct buddy *b, u32 index);

#endif
