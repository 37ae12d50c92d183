/* SPDX-License-Identifier: MIT */
/*
 * Guest-linear to guest-physical: a walk of the guest's own page tables as the CPU does it (SDM 3A
 * "Paging"), with its permission checks, error codes, and accessed and dirty flags. Everything it
 * reads is guest-controlled.
 */
#ifndef VMM_MACHINE_WALK_H
#define VMM_MACHINE_WALK_H

#include "kernel/abi.h"
#include "lib/types.h"
#include "vmm/machine/ram.h"

/* Error code of a page fault, and the kinds of access. */
#define PF_PRESENT  BIT(0)
#define PF_WRITE    BIT(1)
#define PF_USER     BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH    BIT(4)

enum walk_status {
    WALK_OK,
    WALK_FAULT,         /* #PF with *error */
    WALK_NON_CANONICAL, /* #GP(0), or #SS(0) on the stack segment */
};

/* The entries that a walk went through, as it left them; none without paging. */
struct walk_path {
    u32 count, entry_bytes;
    struct {
        gpa_t at;
        u64 entry;
    } step[5];
};

/* The mode of the code that runs, from the state's system registers. */
u32 walk_cpl(const struct vcpu_state *s);
bool walk_in_long_mode(const struct vcpu_state *s); /* 64-bit code, not compatibility mode */

/*
 * Translates va for an access of kind 0 (read), PF_WRITE or PF_FETCH at the current privilege
 * level. The state needs the groups GPR and SYS; phys_bits is the guest's physical address width.
 * On WALK_OK *gpa is set (RAM or not) and the tables' flags are as after the access; on WALK_FAULT
 * *error is the code. path, unless it is NULL, is filled on WALK_OK.
 */
enum walk_status walk(const struct ram *ram, const struct vcpu_state *s, u32 phys_bits, gva_t va,
                      u64 kind, gpa_t *gpa, u64 *error, struct walk_path *path);

/* Do the tables still hold what a walk found there? Then the same address in the same mode is still
 * translated alike. All entries are in RAM: the walk read them. */
static inline bool walk_unchanged(const struct ram *ram, const struct walk_path *path)
{
    const u8 *base = ram->base;
    u64 differences = 0;

    if (UNLIKELY(path->entry_bytes == 4)) {
        for (u32 i = 0, n = path->count; i < n; i++) {
            const u32 *entry = (const u32 *)(base + path->step[i].at.v);
            differences |= __atomic_load_n(entry, __ATOMIC_RELAXED) ^ path->step[i].entry;
        }
        return !differences;
    }
    for (u32 i = 0, n = path->count; i < n; i++) {
        const u64 *entry = (const u64 *)(base + path->step[i].at.v);
        differences |= __atomic_load_n(entry, __ATOMIC_RELAXED) ^ path->step[i].entry;
    }
    return !differences;
}

#endif
