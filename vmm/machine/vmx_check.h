/* SPDX-License-Identifier: MIT */
/*
 * Which rules of SDM 3C "VM Entries" does a VMCS break? CPUs say only "invalid guest state", and
 * emulators check less than CPUs do. Pure code over a snapshot.
 */
#ifndef VMM_MACHINE_VMX_CHECK_H
#define VMM_MACHINE_VMX_CHECK_H

#include "lib/hw/vmcs.h"
#include "lib/types.h"

/* Types of events; SDM 3C "VM-Entry Controls for Event Injection" */
enum {
    INTR_TYPE_EXTINT = 0,
    INTR_TYPE_NMI = 2,
    INTR_TYPE_HWEXC = 3,
    INTR_TYPE_SWINT = 4,
    INTR_TYPE_PRIV_SWEXC = 5,
    INTR_TYPE_SWEXC = 6,
    INTR_TYPE_NONE = 255,
};

struct vmx_check {
    const struct vmcs_snapshot *s;
    const struct vmx_msrs *msrs; /* of this CPU */
    u32 phys_bits;               /* width of physical addresses */
    /* Called for each broken rule: the field that it is about, its value, and the rule. */
    void (*report)(void *arg, const char *field, u64 value, const char *rule);
    void *arg;
    u32 broken; /* how many rules, counted by the functions below */
};

void vmx_check_controls(struct vmx_check *c);
void vmx_check_host(struct vmx_check *c);
void vmx_check_guest(struct vmx_check *c);

/* For the files of the check alone. */
#define SNAP(c, name)                  ((c)->s->value[VMCS_INDEX_##name])
#define RULE(c, condition, name, text) vmx_check_rule(c, condition, #name, SNAP(c, name), text)

void vmx_check_rule(struct vmx_check *c, bool holds, const char *field, u64 value,
                    const char *rule);
bool vmx_check_pat(u64 value);
static inline bool vmx_check_canonical(u64 address)
{
    return (u64)((s64)(address << 16) >> 16) == address;
}
/* May bits of CR0 or CR4 have this value in VMX operation? */
bool vmx_check_fixed(u64 value, u64 fixed0, u64 fixed1);

#endif
