/* SPDX-License-Identifier: MIT */
/* Guest RAM, its map and its accessor. */
#include "vmm/machine/ram.h"

#include "lib/string.h"

static void add_area(struct ram *r, u64 gpa, u64 end, u32 type)
{
    if (gpa < end) {
        r->area[r->area_count++] = (struct ram_area){gpa, end - gpa, type};
    }
}

void ram_layout(struct ram *r, u64 memory_bytes)
{
    u64 below = MIN(memory_bytes, RAM_HOLE);
    u64 above = RAM_ABOVE + memory_bytes - below;

    r->count = 0;
    r->range[r->count++] = (struct ram_range){0, RAM_LOW_END};
    r->range[r->count++] = (struct ram_range){RAM_TEXT, below - RAM_TEXT};
    if (above > RAM_ABOVE) {
        r->range[r->count++] = (struct ram_range){RAM_ABOVE, above - RAM_ABOVE};
    }
    r->area_count = 0;
    add_area(r, 0, RAM_EBDA, RAM_AREA_AVAILABLE);
    add_area(r, RAM_EBDA, RAM_HIGH, RAM_AREA_RESERVED);
    add_area(r, RAM_HIGH, below, RAM_AREA_AVAILABLE);
    add_area(r, RAM_ABOVE, above, RAM_AREA_AVAILABLE);
}

u64 ram_bytes_at(const struct ram *r, gpa_t gpa)
{
    for (u32 i = 0; i < r->count; i++) {
        u64 offset = gpa.v - r->range[i].gpa;

        if (offset < r->range[i].bytes) {
            return r->range[i].bytes - offset;
        }
    }
    return 0;
}

u64 ram_available_at(const struct ram *r, gpa_t gpa)
{
    for (u32 i = 0; i < r->area_count; i++) {
        const struct ram_area *a = &r->area[i];
        u64 offset = gpa.v - a->gpa;

        if (a->type == RAM_AREA_AVAILABLE && offset < a->bytes) {
            return a->bytes - offset;
        }
    }
    return 0;
}

/* NULL when a byte of the range is not RAM. Ranges do not touch, so a good one lies in one of them.
 */
static u8 *pointer(const struct ram *r, gpa_t gpa, u64 bytes)
{
    return ram_bytes_at(r, gpa) >= bytes && bytes ? r->base + gpa.v : NULL;
}

bool ram_read(const struct ram *r, void *dst, gpa_t gpa, u64 bytes)
{
    const u8 *p = pointer(r, gpa, bytes);

    if (p) {
        memcpy(dst, p, bytes);
    }
    return p || !bytes;
}

bool ram_write(const struct ram *r, gpa_t gpa, const void *src, u64 bytes)
{
    u8 *p = pointer(r, gpa, bytes);

    if (p) {
        memcpy(p, src, bytes);
    }
    return p || !bytes;
}

bool ram_zero(const struct ram *r, gpa_t gpa, u64 bytes)
{
    u8 *p = pointer(r, gpa, bytes);

    if (p) {
        memset(p, 0, bytes);
    }
    return p || !bytes;
}

void ram_or(const struct ram *r, gpa_t gpa, u64 old, u64 bits, u32 bytes)
{
    u8 *p = pointer(r, gpa, bytes);

    if (!p || (gpa.v & (bytes - 1))) {
        return;
    }
    if (bytes == 4) {
        u32 expected = (u32)old;
        __atomic_compare_exchange_n((u32 *)p, &expected, expected | (u32)bits, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    } else {
        __atomic_compare_exchange_n((u64 *)p, &old, old | bits, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    }
}
