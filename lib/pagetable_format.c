/* SPDX-License-Identifier: MIT */
/* Entry formats of lib/pagetable.h: CPU paging (SDM 3A "4-Level Paging and 5-Level Paging") and EPT
 * (SDM 3C "The Extended Page Table Mechanism"). */
#include "lib/pagetable.h"

/* CPU paging */
#define X86_P       BIT(0)
#define X86_RW      BIT(1)
#define X86_US      BIT(2)
#define X86_PWT     BIT(3)
#define X86_PCD     BIT(4)
#define X86_A       BIT(5)
#define X86_D       BIT(6)
#define X86_PS      BIT(7)
#define X86_PAT_4K  BIT(7)
#define X86_G       BIT(8)
#define X86_PAT     BIT(12) /* in large leaves */
#define X86_NX      BIT(63)
#define X86_ADDRESS FIELD(51, 12)

/* Accessed and dirty are set from the start: nobody here looks at them, and the CPU need not write.
 */
static u64 x86_leaf(u64 perm, u32 level)
{
    u64 bits = 0;

    if (perm & (PT_READ | PT_WRITE | PT_EXEC)) {
        bits = X86_P | X86_A;
    }
    if (perm & PT_WRITE) {
        bits |= X86_RW | X86_D;
    }
    if (!(perm & PT_EXEC)) {
        bits |= X86_NX;
    }
    if (perm & PT_USER) {
        bits |= X86_US;
    }
    if (perm & PT_GLOBAL) {
        bits |= X86_G;
    }
    if (perm & PT_UNCACHED) {
        bits |= X86_PCD | X86_PWT; /* PAT entry 3: UC */
    } else if (perm & PT_WRITE_COMBINING) {
        bits |=
            X86_PWT | (level ? X86_PAT : X86_PAT_4K); /* PAT entry 5: WC, the kernel sets it so */
    }
    return bits;
}

static u64 x86_perm(u64 entry)
{
    if (!(entry & X86_P)) {
        return 0;
    }
    return PT_READ | (entry & X86_RW ? PT_WRITE : 0) | (entry & X86_NX ? 0 : PT_EXEC) |
           (entry & X86_US ? PT_USER : 0);
}

static u64 x86_split(u64 entry, u32 level)
{
    u64 bits = entry & ~(X86_ADDRESS | X86_PS);

    if (entry & X86_PAT) {
        bits |= level > 1 ? X86_PAT : X86_PAT_4K;
    }
    return bits;
}

#define X86_FORMAT(largest)                                                                        \
    {                                                                                              \
        .address_mask = X86_ADDRESS, .present_mask = X86_P, .large_bit = X86_PS,                   \
        .largest_leaf = (largest), .table_entry = X86_P | X86_RW | X86_US | X86_A,                 \
        .leaf = x86_leaf, .perm = x86_perm, .split = x86_split,                                    \
    }

const struct pt_format pt_format_x86 = X86_FORMAT(1);
const struct pt_format pt_format_x86_1g = X86_FORMAT(2);

/* EPT */
#define EPT_READ          BIT(0)
#define EPT_WRITE         BIT(1)
#define EPT_EXEC          BIT(2)
#define EPT_MEMTYPE_SHIFT 3
#define EPT_LARGE         BIT(7)
#define EPT_ADDRESS       FIELD(51, 12)

/* Writable and not readable is a misconfiguration, and executing alone needs a capability. */
static u64 ept_leaf(u64 perm, UNUSED u32 level)
{
    u64 bits = perm & (PT_READ | PT_WRITE | PT_EXEC) ? EPT_READ : 0;

    if (perm & PT_WRITE) {
        bits |= EPT_WRITE;
    }
    if (perm & PT_EXEC) {
        bits |= EPT_EXEC;
    }
    return bits | ((perm >> PT_MEMTYPE_SHIFT) & 7) << EPT_MEMTYPE_SHIFT;
}

static u64 ept_perm(u64 entry)
{
    return (entry & EPT_READ ? PT_READ : 0) | (entry & EPT_WRITE ? PT_WRITE : 0) |
           (entry & EPT_EXEC ? PT_EXEC : 0);
}

static u64 ept_split(u64 entry, UNUSED u32 level)
{
    return entry & ~(EPT_ADDRESS | EPT_LARGE);
}

#define EPT_FORMAT(largest)                                                                        \
    {                                                                                              \
        .address_mask = EPT_ADDRESS, .present_mask = EPT_READ | EPT_WRITE | EPT_EXEC,              \
        .large_bit = EPT_LARGE, .largest_leaf = (largest),                                         \
        .table_entry = EPT_READ | EPT_WRITE | EPT_EXEC, .leaf = ept_leaf, .perm = ept_perm,        \
        .split = ept_split,                                                                        \
    }

const struct pt_format pt_format_ept = EPT_FORMAT(1);
const struct pt_format pt_format_ept_1g = EPT_FORMAT(2);
