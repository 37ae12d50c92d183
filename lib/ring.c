/* SPDX-License-Identifier: MIT */
/* A byte stream in shared memory, one writer and one reader that do not trust each other. */
#include "lib/ring.h"

#include "lib/string.h"

void ring_init(struct ring *r, void *shared, u32 data_bytes)
{
    r->shared = shared;
    r->size = data_bytes;
}

u32 ring_room(const struct ring *r)
{
    u32 head = __atomic_load_n(&r->shared->head, __ATOMIC_RELAXED);
    u32 tail = __atomic_load_n(&r->shared->tail, __ATOMIC_ACQUIRE);

    return r->size - MIN(head - tail, r->size); /* none if the reader's index is nonsense */
}

u32 ring_write(struct ring *r, const void *src, u32 n)
{
    u32 head = __atomic_load_n(&r->shared->head, __ATOMIC_RELAXED);
    u32 room = ring_room(r); /* once: it grows as the reader reads */

    n = MIN(n, room);
    u32 at = head & (r->size - 1);
    u32 first = MIN(n, r->size - at);
    memcpy(r->shared->data + at, src, first);
    memcpy(r->shared->data, (const u8 *)src + first, n - first);
    __atomic_store_n(&r->shared->head, head + n, __ATOMIC_RELEASE);
    return n;
}

u32 ring_read(struct ring *r, void *dst, u32 n)
{
    u32 tail = __atomic_load_n(&r->shared->tail, __ATOMIC_RELAXED);
    u32 head = __atomic_load_n(&r->shared->head, __ATOMIC_ACQUIRE);

    /* A writer's index that is nonsense means a ring full of whatever is there. */
    n = MIN(n, MIN(head - tail, r->size));
    u32 at = tail & (r->size - 1);
    u32 first = MIN(n, r->size - at);
    memcpy(dst, r->shared->data + at, first);
    memcpy((u8 *)dst + first, r->shared->data, n - first);
    __atomic_store_n(&r->shared->tail, tail + n, __ATOMIC_RELEASE);
    return n;
}
