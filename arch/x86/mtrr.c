/* SPDX-License-Identifier: MIT */
/* Reads the MTRRs, once: firmware has set them alike on all CPUs, and nobody changes them any more.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/memtype.h"
#include "arch/x86/mmu.h"
#include "arch/x86/msr.h"

static ARCH_READ_ONLY_AFTER_BOOT bool enabled;
static ARCH_READ_ONLY_AFTER_BOOT struct memtype_map map;

/* Other CPUs have no such register, or read 0. */
static u64 high_end(void)
{
    u64 syscfg, top;

    if (!rdmsr_safe(MSR_SYSCFG, &syscfg) || (syscfg & SYSCFG_HIGH_WB) != SYSCFG_HIGH_WB ||
        !rdmsr_safe(MSR_TOP_MEM2, &top)) {
        return 0;
    }
    return top & TOP_MEM2;
}

void mtrr_init(void)
{
    static const u32 fixed_msrs[MEMTYPE_FIXED_COUNT] = {
        MSR_IA32_MTRR_FIX64K,    MSR_IA32_MTRR_FIX16K,    MSR_IA32_MTRR_FIX16K + 1,
        MSR_IA32_MTRR_FIX4K,     MSR_IA32_MTRR_FIX4K + 1, MSR_IA32_MTRR_FIX4K + 2,
        MSR_IA32_MTRR_FIX4K + 3, MSR_IA32_MTRR_FIX4K + 4, MSR_IA32_MTRR_FIX4K + 5,
        MSR_IA32_MTRR_FIX4K + 6, MSR_IA32_MTRR_FIX4K + 7,
    };
    u64 cap = rdmsr(MSR_IA32_MTRRCAP);
    u64 def = rdmsr(MSR_IA32_MTRR_DEF_TYPE);

    enabled = def & MTRR_DEF_TYPE_ENABLE;
    map.default_type = (u8)def;
    map.high_end = high_end();
    map.fixed_enabled = (cap & MTRRCAP_FIX) && (def & MTRR_DEF_TYPE_FIX);
    for (u32 i = 0; i < MEMTYPE_FIXED_COUNT && map.fixed_enabled; i++) {
        memtype_set_fixed(&map, i, rdmsr(fixed_msrs[i]));
    }
    for (u32 i = 0; i < (cap & MTRRCAP_VCNT); i++) {
        memtype_add_variable(&map, rdmsr(MSR_IA32_MTRR_PHYSBASE0 + 2 * i),
                             rdmsr(MSR_IA32_MTRR_PHYSMASK0 + 2 * i), cpu_features.phys_bits);
    }
}

int arch_memory_type(hpa_t pa, u64 bytes)
{
    if (!enabled) {
        return cpu_features.mtrr ? MEMTYPE_UC : MEMTYPE_WB;
    }
    return memtype_of(&map, pa.v, bytes);
}
