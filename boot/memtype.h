/* SPDX-License-Identifier: MIT */
/* What memory types a set of MTRRs gives (SDM 3A "Memory Type Range Registers"). Pure code; mtrr.c
 * reads the registers. */
#ifndef BOOT_MEMTYPE_H
#define BOOT_MEMTYPE_H

#include "lib/types.h"

#define MEMTYPE_VARIABLE_MAX 32
#define MEMTYPE_FIXED_COUNT  11          /* registers: 64K, 16K twice, 4K eight times */
#define MEMTYPE_FIXED_END    0x100000ull /* they cover the first MiB */
#define MEMTYPE_NOT_UNIFORM  (-1)

struct memtype_range {
    u64 base, mask;
    u8 type;
};

struct memtype_map {
    bool fixed_enabled;
    u8 default_type;
    u64 high_end; /* from 4 GiB to here the default is write-back */
    u32 variable_count;
    struct memtype_range variable[MEMTYPE_VARIABLE_MAX];
    u8 fixed[MEMTYPE_FIXED_END >> PAGE_SHIFT]; /* a type per page */
};

/* Values of a pair of IA32_MTRR_PHYSBASEn and PHYSMASKn; one that is not valid is left out. */
void memtype_add_variable(struct memtype_map *m, u64 base, u64 mask, u32 phys_bits);

/* Value of fixed-range register number index, in order of address. */
void memtype_set_fixed(struct memtype_map *m, u32 index, u64 value);

/* Type of [pa, pa + bytes), page multiples, or MEMTYPE_NOT_UNIFORM. What the manual leaves
 * undefined (other overlaps than UC and WT over WB) is uncached. */
int memtype_of(const struct memtype_map *m, u64 pa, u64 bytes);

#endif
