/* SPDX-License-Identifier: MIT */
/* Ranges of physical memory, sorted, without overlaps. */
#include "boot/memmap.h"

#include "lib/string.h"

void memmap_init(struct memmap *m, struct boot_range *ranges, u32 capacity)
{
    *m = (struct memmap){.ranges = ranges, .capacity = capacity};
}

static u64 end_of(const struct boot_range *r)
{
    return r->base + r->bytes;
}

static void remove_at(struct memmap *m, u32 at)
{
    m->count--;
    memmove(&m->ranges[at], &m->ranges[at + 1], (m->count - at) * sizeof(m->ranges[0]));
}

static void insert_at(struct memmap *m, u32 at, struct boot_range r)
{
    if (m->count == m->capacity) {
        m->lost_bytes += r.bytes;
        return;
    }
    memmove(&m->ranges[at + 1], &m->ranges[at], (m->count - at) * sizeof(m->ranges[0]));
    m->ranges[at] = r;
    m->count++;
}

/* Makes a hole of [base, end); returns the index where a range there belongs. */
static u32 cut(struct memmap *m, u64 base, u64 end)
{
    u32 i = 0;

    while (i < m->count && end_of(&m->ranges[i]) <= base) {
        i++;
    }
    if (i < m->count && m->ranges[i].base < base) {
        struct boot_range tail = m->ranges[i];

        m->ranges[i].bytes = base - m->ranges[i].base;
        i++;
        if (end_of(&tail) > end) {
            tail.bytes = end_of(&tail) - end;
            tail.base = end;
            insert_at(m, i, tail);
            return i;
        }
    }
    while (i < m->count && end_of(&m->ranges[i]) <= end) {
        remove_at(m, i);
    }
    if (i < m->count && m->ranges[i].base < end) {
        m->ranges[i].bytes = end_of(&m->ranges[i]) - end;
        m->ranges[i].base = end;
    }
    return i;
}

void memmap_set(struct memmap *m, u64 base, u64 bytes, u32 type)
{
    u64 end = base + bytes;

    if (end < base || end > ~PAGE_MASK) {
        return;
    }
    if (type == BOOT_MEM_USABLE) {
        base = ALIGN_UP(base, PAGE_SIZE);
        end = ALIGN_DOWN(end, PAGE_SIZE);
    } else {
        base = ALIGN_DOWN(base, PAGE_SIZE);
        end = ALIGN_UP(end, PAGE_SIZE);
    }
    if (base < end) {
        u32 at = cut(m, base, end);

        insert_at(m, at, (struct boot_range){.base = base, .bytes = end - base, .type = type});
    }
}

static void join(struct memmap *m)
{
    for (u32 i = 0; i + 1 < m->count;) {
        struct boot_range *a = &m->ranges[i], *b = a + 1;

        if (a->type == b->type && end_of(a) == b->base) {
            a->bytes += b->bytes;
            remove_at(m, i + 1);
        } else {
            i++;
        }
    }
}

static u32 count_of(const struct memmap *m, u32 type)
{
    u32 n = 0;

    for (u32 i = 0; i < m->count; i++) {
        n += m->ranges[i].type == type;
    }
    return n;
}

/* Which range can be missed best: reserved ones say nothing that a hole does not say; then the
 * smallest usable one, and that first when there are too many of them. What is in use must stay
 * known, so it goes last. */
static u32 least_needed(const struct memmap *m)
{
    u32 best = 0, best_rank = ~0u;
    bool shreds = count_of(m, BOOT_MEM_USABLE) > BOOT_MAX_USABLE;

    for (u32 i = 0; i < m->count; i++) {
        u32 type = m->ranges[i].type;
        u32 rank = type == BOOT_MEM_RESERVED ? 1 : type == BOOT_MEM_USABLE ? !shreds * 2u : 3;

        if (rank < best_rank || (rank == best_rank && m->ranges[i].bytes < m->ranges[best].bytes)) {
            best = i;
            best_rank = rank;
        }
    }
    return best;
}

u32 memmap_copy(struct memmap *m, struct boot_range *out, u32 capacity)
{
    join(m);
    while (m->count > capacity || count_of(m, BOOT_MEM_USABLE) > BOOT_MAX_USABLE) {
        u32 i = least_needed(m);

        if (m->ranges[i].type == BOOT_MEM_USABLE) {
            m->lost_bytes += m->ranges[i].bytes;
        }
        remove_at(m, i);
    }
    memcpy(out, m->ranges, m->count * sizeof(*out));
    return m->count;
}

u64 memmap_bytes(const struct memmap *m, u32 type)
{
    u64 sum = 0;

    for (u32 i = 0; i < m->count; i++) {
        sum += m->ranges[i].type == type ? m->ranges[i].bytes : 0;
    }
    return sum;
}

u64 memmap_end(const struct memmap *m)
{
    for (u32 i = m->count; i-- > 0;) {
        if (m->ranges[i].type != BOOT_MEM_RESERVED) {
            return end_of(&m->ranges[i]);
        }
    }
    return 0;
}

bool memmap_covers(const struct memmap *m, u64 base, u64 bytes)
{
    u64 end = base + bytes;

    if (end < base) {
        return false;
    }
    for (u32 i = 0; i < m->count && base < end; i++) {
        if (m->ranges[i].base <= base && end_of(&m->ranges[i]) > base) {
            base = end_of(&m->ranges[i]);
        }
    }
    return base >= end;
}
