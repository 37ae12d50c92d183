/* SPDX-License-Identifier: MIT */
/* Memory types of physical ranges from the contents of the MTRRs. */
#include "boot/memtype.h"

#include "lib/hw/x86.h"

void memtype_add_variable(struct memtype_map *m, u64 base, u64 mask, u32 phys_bits)
{
    u64 address = FIELD(phys_bits - 1, PAGE_SHIFT);

    if (mask & MTRR_PHYSMASK_VALID && m->variable_count < MEMTYPE_VARIABLE_MAX) {
        m->variable[m->variable_count++] =
            (struct memtype_range){base & mask & address, mask & address, (u8)base};
    }
}

void memtype_set_fixed(struct memtype_map *m, u32 index, u64 value)
{
    static const struct {
        u32 base, span;
    } registers[MEMTYPE_FIXED_COUNT] = {
        {0x00000, 0x10000},
        {0x80000, 0x4000 },
        {0xa0000, 0x4000 },
        {0xc0000, 0x1000 },
        {0xc8000, 0x1000 },
        {0xd0000, 0x1000 },
        {0xd8000, 0x1000 },
        {0xe0000, 0x1000 },
        {0xe8000, 0x1000 },
        {0xf0000, 0x1000 },
        {0xf8000, 0x1000 },
    };

    for (u32 at = 0; at < 8 * registers[index].span; at += PAGE_SIZE) {
        m->fixed[(registers[index].base + at) >> PAGE_SHIFT] =
            (u8)(value >> (at / registers[index].span * 8));
    }
}

/* SDM 3A "MTRR Precedences" */
static int combine(int a, int b)
{
    if (a == MEMTYPE_NOT_UNIFORM || a == b) {
        return b;
    }
    bool wt = (a == MEMTYPE_WT || a == MEMTYPE_WB) && (b == MEMTYPE_WT || b == MEMTYPE_WB);
    return wt ? MEMTYPE_WT : MEMTYPE_UC;
}

/* Where no range is. */
static int default_of(const struct memtype_map *m, u64 pa, u64 end)
{
    u64 from = MAX(pa, 4 * SIZE_1G), to = MIN(end, m->high_end);

    if (from >= to || m->default_type == MEMTYPE_WB) {
        return m->default_type;
    }
    return from == pa && to == end ? MEMTYPE_WB : MEMTYPE_NOT_UNIFORM;
}

/* Of a block of a power of two of bytes, aligned to its size, that no fixed range covers. */
static int block_type(const struct memtype_map *m, u64 pa, u64 bytes)
{
    int type = MEMTYPE_NOT_UNIFORM;

    for (u32 i = 0; i < m->variable_count; i++) {
        const struct memtype_range *v = &m->variable[i];
        if ((pa ^ v->base) & v->mask & ~(bytes - 1)) {
            continue; /* outside */
        }
        if (v->mask & (bytes - 1)) {
            /* a part of the block is inside: what do the halves say? */
            int low = block_type(m, pa, bytes / 2);
            return low == block_type(m, pa + bytes / 2, bytes / 2) ? low : MEMTYPE_NOT_UNIFORM;
        }
        type = combine(type, v->type);
    }
    return type == MEMTYPE_NOT_UNIFORM ? default_of(m, pa, pa + bytes) : type;
}

int memtype_of(const struct memtype_map *m, u64 pa, u64 bytes)
{
    int type = MEMTYPE_NOT_UNIFORM;
    u64 step;

    for (u64 at = pa, end = pa + bytes; at < end; at += step) {
        int t;
        if (m->fixed_enabled && at < MEMTYPE_FIXED_END) {
            step = PAGE_SIZE;
            t = m->fixed[at >> PAGE_SHIFT];
        } else {
            /* the largest aligned block that begins here and ends in the range */
            step = at ? at & -at : BIT(63);
            while (step > end - at) {
                step >>= 1;
            }
            t = block_type(m, at, step);
        }
        if (t == MEMTYPE_NOT_UNIFORM || (at != pa && t != type)) {
            return MEMTYPE_NOT_UNIFORM;
        }
        type = t;
    }
    return type;
}
