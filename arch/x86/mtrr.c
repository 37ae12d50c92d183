/* SPDX-License-Identifier: MIT */
/* What memory types the MTRRs give (SDM 3A "Memory Type Range Registers"). Read once: firmware has
 * set them alike on all CPUs, and nobody changes them any more. */
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/mmu.h"
#include "arch/x86/msr.h"

#define VARIABLE_MAX 32
#define FIXED_END    0x100000ull /* the fixed ranges cover the first MiB */
#define NOT_UNIFORM  (-1)

struct variable_range {
    u64 base, mask;
    u8 type;
};

static ARCH_READ_ONLY_AFTER_BOOT bool enabled, fixed_enabled;
static ARCH_READ_ONLY_AFTER_BOOT u8 default_type;
static ARCH_READ_ONLY_AFTER_BOOT u32 variable_count;
static ARCH_READ_ONLY_AFTER_BOOT struct variable_range variable[VARIABLE_MAX];
static ARCH_READ_ONLY_AFTER_BOOT u8 fixed[FIXED_END >> PAGE_SHIFT]; /* a type per page */

/* One register of eight types, each for span bytes. */
static u64 fixed_read(u32 msr, u64 base, u64 span)
{
    u64 value = rdmsr(msr);

    for (u64 at = 0; at < 8 * span; at += PAGE_SIZE) {
        fixed[(base + at) >> PAGE_SHIFT] = (u8)(value >> (at / span * 8));
    }
    return base + 8 * span;
}

void mtrr_init(void)
{
    u64 cap = rdmsr(MSR_IA32_MTRRCAP);
    u64 def = rdmsr(MSR_IA32_MTRR_DEF_TYPE);
    u64 phys_mask = FIELD(cpu_features.phys_bits - 1, PAGE_SHIFT);

    enabled = def & MTRR_DEF_TYPE_ENABLE;
    default_type = (u8)def;
    fixed_enabled = enabled && (cap & MTRRCAP_FIX) && (def & MTRR_DEF_TYPE_FIX);
    if (fixed_enabled) {
        u64 at = fixed_read(MSR_IA32_MTRR_FIX64K, 0, 0x10000);
        at = fixed_read(MSR_IA32_MTRR_FIX16K, at, 0x4000);
        at = fixed_read(MSR_IA32_MTRR_FIX16K + 1, at, 0x4000);
        for (u32 i = 0; i < 8; i++) {
            at = fixed_read(MSR_IA32_MTRR_FIX4K + i, at, PAGE_SIZE);
        }
    }
    for (u32 i = 0; i < MIN(cap & MTRRCAP_VCNT, VARIABLE_MAX); i++) {
        u64 base = rdmsr(MSR_IA32_MTRR_PHYSBASE0 + 2 * i);
        u64 mask = rdmsr(MSR_IA32_MTRR_PHYSMASK0 + 2 * i);
        if (mask & MTRR_PHYSMASK_VALID) {
            mask &= phys_mask;
            variable[variable_count++] =
                (struct variable_range){base & phys_mask & mask, mask, (u8)base};
        }
    }
}

/* SDM 3A "MTRR Precedences"; what that leaves undefined becomes uncached. */
static int combine(int a, int b)
{
    if (a == NOT_UNIFORM || a == b) {
        return b;
    }
    bool wt = (a == MEMTYPE_WT || a == MEMTYPE_WB) && (b == MEMTYPE_WT || b == MEMTYPE_WB);
    return wt ? MEMTYPE_WT : MEMTYPE_UC;
}

/* Of a block of a power of two of bytes, aligned to its size, above the fixed ranges. */
static int block_type(u64 pa, u64 bytes)
{
    int type = NOT_UNIFORM;

    for (u32 i = 0; i < variable_count; i++) {
        const struct variable_range *v = &variable[i];
        if ((pa ^ v->base) & v->mask & ~(bytes - 1)) {
            continue; /* outside */
        }
        if (v->mask & (bytes - 1)) {
            /* a part of the block is inside */
            int low = block_type(pa, bytes / 2);
            return low == block_type(pa + bytes / 2, bytes / 2) ? low : NOT_UNIFORM;
        }
        type = combine(type, v->type);
    }
    return type == NOT_UNIFORM ? default_type : type;
}

int arch_memory_type(hpa_t pa, u64 bytes)
{
    int type = NOT_UNIFORM;
    u64 step;

    if (!enabled) {
        return cpu_features.mtrr ? MEMTYPE_UC : MEMTYPE_WB;
    }
    for (u64 at = pa.v, end = pa.v + bytes; at < end; at += step) {
        int t;
        if (fixed_enabled && at < FIXED_END) {
            step = PAGE_SIZE;
            t = fixed[at >> PAGE_SHIFT];
        } else {
            /* the largest aligned block that begins here */
            step = at ? at & -at : 1ull << 63;
            while (step > end - at || (!at && step > FIXED_END)) {
                step >>= 1;
            }
            t = block_type(at, step);
        }
        if (t == NOT_UNIFORM || (at != pa.v && t != type)) {
            return NOT_UNIFORM;
        }
        type = t;
    }
    return type;
}
