/* SPDX-License-Identifier: MIT */
/*
 * Which values a guest may load into its control registers: pure checks. A false answer means
 * #GP(0). All values are guest-controlled.
 */
#ifndef KERNEL_CR_H
#define KERNEL_CR_H

#include "lib/types.h"

/* What the checks look at besides the new value: the guest's registers as the guest sees them. */
struct cr_state {
    u64 cr0, cr3, cr4, efer;
    bool cs_l; /* CS.L: with EFER.LMA, 64-bit mode */
};

/* MOV to CR0. SDM 2 "MOV-Move to/from Control Registers". */
bool cr0_check(const struct cr_state *s, u64 value);

/* MOV to CR4; allowed: the bits that CPUID offers this guest. */
bool cr4_check(const struct cr_state *s, u64 value, u64 allowed);

/* WRMSR to IA32_EFER; allowed: the bits that CPUID offers, without LMA. LMA in value is ignored. */
bool efer_check(const struct cr_state *s, u64 value, u64 allowed);

/* XSETBV of XCR0; supported: the state components that CPUID offers. */
bool xcr0_check(u64 value, u64 supported);

/* IA32_PAT: eight memory types. */
bool pat_check(u64 value);

/* The whole set at once, as ring 3 may start a vCPU with it: could a CPU be in this state? efer
 * includes LMA. */
bool cr_state_check(const struct cr_state *s, u64 cr4_allowed, u64 efer_allowed);

/* Is the address canonical, with 48-bit linear addresses? */
static inline bool address_canonical(u64 address)
{
    return (u64)((s64)(address << 16) >> 16) == address;
}

#endif
