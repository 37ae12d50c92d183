/* SPDX-License-Identifier: MIT */
/*
 * A byte stream between two processes in one shared page or more: one writer, one reader. Each side
 * trusts nothing that the other can write: indices are read once and masked, so the worst a hostile
 * peer can do is to send rubbish.
 */
#ifndef LIB_RING_H
#define LIB_RING_H

#include "lib/types.h"

/* Shared layout; data follows the header. Total size is RING_HEADER + a power of two. */
struct ring_shared {
    u32 head; /* bytes ever written, by the writer */
    u32 pad0[15];
    u32 tail; /* bytes ever read, by the reader */
    u32 pad1[15];
    u8 data[];
};

/* One side's private view: the size is kept here and never read from the shared page. */
struct ring {
    struct ring_shared *shared;
    u32 size; /* of data, a power of two */
};

/* data_bytes: a power of two, at most 1 GiB; the shared memory holds sizeof(struct ring_shared)
 * more. */
void ring_init(struct ring *r, void *shared, u32 data_bytes);

/* For the writer: how many bytes have room. */
u32 ring_room(const struct ring *r);

/* Copies up to n bytes in; returns how many had room. */
u32 ring_write(struct ring *r, const void *src, u32 n);

/* Copies up to n bytes out; returns how many there were. */
u32 ring_read(struct ring *r, void *dst, u32 n);

#endif
