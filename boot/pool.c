/* SPDX-License-Identifier: MIT */
/* What of the memory map the kernel takes for itself. */
#include "boot/memmap.h"

#define LOW_END       (1ull << 20)
#define POOL_BASE     (12ull << 20) /* whatever the size of the machine */
#define POOL_PART     32            /* and this part of it: page tables, frame records */
#define POOL_SMALLEST (6ull << 20)

/* Memory below 1 MiB is left alone: start-up trampoline, firmware's habits. */
static void leave_low(struct memmap *m)
{
    for (u32 i = 0; i < m->count && m->ranges[i].base < LOW_END; i++) {
        struct boot_range r = m->ranges[i];

        if (r.type == BOOT_MEM_USABLE || r.type == BOOT_MEM_LOADER) {
            memmap_set(m, r.base, MIN(r.bytes, LOW_END - r.base), BOOT_MEM_RESERVED);
        }
    }
}

/* Takes up to want bytes from the end of the largest usable range, in whole 2 MiB where that goes;
 * how many. What the loader still uses stays out of it. */
static u64 take(struct memmap *m, u64 want)
{
    const struct boot_range *best = NULL;

    for (u32 i = 0; i < m->count; i++) {
        const struct boot_range *r = &m->ranges[i];

        if (r->type == BOOT_MEM_USABLE && (!best || r->bytes > best->bytes)) {
            best = r;
        }
    }
    if (!best || best->bytes < SIZE_2M) {
        return 0;
    }
    u64 end = best->base + best->bytes;
    u64 start = MAX(ALIGN_DOWN(end - MIN(want, best->bytes), SIZE_2M), best->base);

    memmap_set(m, start, end - start, BOOT_MEM_POOL);
    return end - start;
}

bool memmap_split(struct memmap *m)
{
    u64 want, pool = 0, part;

    leave_low(m);
    want = POOL_BASE + memmap_bytes(m, BOOT_MEM_USABLE) / POOL_PART;
    for (u32 i = 0; i < BOOT_MAX_POOLS && pool < want; i++) {
        part = take(m, want - pool);
        pool += part;
    }
    for (u32 i = 0; i < m->count; i++) {
        if (m->ranges[i].type == BOOT_MEM_LOADER) {
            m->ranges[i].type = BOOT_MEM_USABLE;
        }
    }
    return pool >= POOL_SMALLEST;
}
