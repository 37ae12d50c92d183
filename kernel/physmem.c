/* SPDX-License-Identifier: MIT */
/* The split of physical memory. */
#include "kernel/physmem.h"

#include "kernel/buddy.h"
#include "lib/string.h"

#define LOW_END       (1ull << 20)
#define POOL_BASE     (12ull << 20) /* whatever the size of the machine */
#define POOL_PART     32            /* and this part of it: page tables, frame records */
#define POOL_SMALLEST (6ull << 20)

const char *physmem_check(const struct bootinfo *b)
{
    u64 end = 0;

    if (b->range_count > BOOT_MAX_RANGES || b->module_count > BOOT_MAX_MODULES ||
        b->segment_count > BOOT_MAX_SEGMENTS || b->cpu_count > BOOT_MAX_CPUS || !b->cpu_count) {
        return "a count is out of range";
    }
    for (u32 i = 0; i < b->range_count; i++) {
        const struct boot_range *r = &b->ranges[i];
        if ((r->base | r->bytes) & PAGE_MASK || r->base < end || r->base + r->bytes < r->base) {
            return "the memory map is not sorted, aligned and free of overlaps";
        }
        end = r->base + r->bytes;
    }
    return NULL;
}

/* Takes up to want bytes from the end of the largest range of *list, in whole 2 MiB where that
 * goes. */
static bool take(struct physmem *m, u64 want)
{
    struct mem_range *best = NULL;

    for (u32 i = 0; i < m->guest_count; i++) {
        if (!best || m->guest[i].bytes > best->bytes) {
            best = &m->guest[i];
        }
    }
    if (!best || best->bytes < SIZE_2M || m->pool_count == PHYSMEM_POOLS) {
        return false;
    }
    u64 end = best->base + best->bytes;
    u64 start = ALIGN_DOWN(end - MIN(want, best->bytes), SIZE_2M);
    start = MAX(start, best->base);
    m->pool[m->pool_count++] = (struct mem_range){start, end - start};
    m->pool_bytes += end - start;
    m->guest_bytes -= end - start;
    best->bytes -= end - start;
    return true;
}

/* There are only so many zones for frames: the smallest ranges are not worth one. */
static void drop_smallest(struct physmem *m)
{
    while (m->guest_count > BUDDY_MAX_ZONES) {
        u32 least = 0;
        for (u32 i = 1; i < m->guest_count; i++) {
            if (m->guest[i].bytes < m->guest[least].bytes) {
                least = i;
            }
        }
        m->guest_bytes -= m->guest[least].bytes;
        m->guest[least] = m->guest[--m->guest_count];
    }
}

bool physmem_split(const struct bootinfo *b, struct physmem *m)
{
    memset(m, 0, sizeof(*m));
    for (u32 i = 0; i < b->range_count; i++) {
        u64 base = MAX(b->ranges[i].base, LOW_END);
        u64 end = b->ranges[i].base + b->ranges[i].bytes;
        /* the pool must not come from what the loader still uses */
        if (b->ranges[i].type == BOOT_MEM_USABLE && end > base) {
            m->guest[m->guest_count++] = (struct mem_range){base, end - base};
            m->guest_bytes += end - base;
        }
    }
    u64 want = POOL_BASE + m->guest_bytes / POOL_PART;
    while (m->pool_bytes < want && take(m, want - m->pool_bytes)) {
    }
    for (u32 i = 0; i < b->range_count && m->guest_count < PHYSMEM_GUESTS; i++) {
        u64 base = MAX(b->ranges[i].base, LOW_END);
        u64 end = b->ranges[i].base + b->ranges[i].bytes;
        if (b->ranges[i].type == BOOT_MEM_LOADER && end > base) {
            m->guest[m->guest_count++] = (struct mem_range){base, end - base};
            m->guest_bytes += end - base;
        }
    }
    drop_smallest(m);
    return m->pool_bytes >= POOL_SMALLEST;
}
