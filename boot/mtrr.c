/* SPDX-License-Identifier: MIT */
/* Reads the MTRRs: firmware has set them alike on all CPUs, and nobody changes them any more. */
#include "boot/cpu.h"
#include "boot/loader.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

/* Where the default is write-back above 4 GiB; CPUs without AMD-V have no such registers. */
static u64 high_end(const struct loader *l)
{
    if (!l->cpu.svm || (cpu_read_msr(MSR_SYSCFG) & SYSCFG_HIGH_WB) != SYSCFG_HIGH_WB) {
        return 0;
    }
    return cpu_read_msr(MSR_TOP_MEM2) & TOP_MEM2;
}

void mtrr_read(struct loader *l)
{
    static const u32 fixed_msrs[MEMTYPE_FIXED_COUNT] = {
        MSR_IA32_MTRR_FIX64K,    MSR_IA32_MTRR_FIX16K,    MSR_IA32_MTRR_FIX16K + 1,
        MSR_IA32_MTRR_FIX4K,     MSR_IA32_MTRR_FIX4K + 1, MSR_IA32_MTRR_FIX4K + 2,
        MSR_IA32_MTRR_FIX4K + 3, MSR_IA32_MTRR_FIX4K + 4, MSR_IA32_MTRR_FIX4K + 5,
        MSR_IA32_MTRR_FIX4K + 6, MSR_IA32_MTRR_FIX4K + 7,
    };
    struct memtype_map *map = &l->memtypes;
    u64 cap, def;

    memset(map, 0, sizeof(*map));
    map->default_type = MEMTYPE_WB;
    if (!l->cpu.mtrr) {
        return;
    }
    cap = cpu_read_msr(MSR_IA32_MTRRCAP);
    def = cpu_read_msr(MSR_IA32_MTRR_DEF_TYPE);
    map->default_type = def & MTRR_DEF_TYPE_ENABLE ? (u8)def : MEMTYPE_UC;
    if (!(def & MTRR_DEF_TYPE_ENABLE)) {
        return;
    }
    map->high_end = high_end(l);
    map->fixed_enabled = (cap & MTRRCAP_FIX) && (def & MTRR_DEF_TYPE_FIX);
    for (u32 i = 0; i < MEMTYPE_FIXED_COUNT && map->fixed_enabled; i++) {
        memtype_set_fixed(map, i, cpu_read_msr(fixed_msrs[i]));
    }
    for (u32 i = 0; i < (cap & MTRRCAP_VCNT); i++) {
        memtype_add_variable(map, cpu_read_msr(MSR_IA32_MTRR_PHYSBASE0 + 2 * i),
                             cpu_read_msr(MSR_IA32_MTRR_PHYSMASK0 + 2 * i), l->cpu.phys_bits);
    }
}
