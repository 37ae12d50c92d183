/* SPDX-License-Identifier: MIT */
/* Checks of control register values. Pure code. */
#include "kernel/cr.h"

#include "lib/hw/x86.h"

bool cr0_check(const struct cr_state *s, u64 value)
{
    u64 old = s->cr0;

    if (value >> 32 || (value & CR0_NW && !(value & CR0_CD)) ||
        (value & CR0_PG && !(value & CR0_PE))) {
        return false;
    }
    if (value & CR0_PG && !(old & CR0_PG) && s->efer & EFER_LME) {
        /* activates IA-32e mode */
        return s->cr4 & CR4_PAE && !s->cs_l;
    }
    if (!(value & CR0_PG) && old & CR0_PG) {
        return !(s->efer & EFER_LMA && s->cs_l) && !(s->cr4 & CR4_PCIDE);
    }
    return value & CR0_WP || !(s->cr4 & CR4_CET);
}

bool cr4_check(const struct cr_state *s, u64 value, u64 allowed)
{
    bool lma = s->efer & EFER_LMA;

    if (value & ~allowed) {
        return false;
    }
    if (lma && (!(value & CR4_PAE) || (value ^ s->cr4) & CR4_LA57)) {
        return false;
    }
    if (value & CR4_PCIDE && !(s->cr4 & CR4_PCIDE)) {
        return lma && !(s->cr3 & 0xfff);
    }
    return s->cr0 & CR0_WP || !(value & CR4_CET);
}

bool efer_check(const struct cr_state *s, u64 value, u64 allowed)
{
    if (value & ~(allowed | EFER_LMA)) {
        return false;
    }
    return !(s->cr0 & CR0_PG) || !((value ^ s->efer) & EFER_LME);
}

bool xcr0_check(u64 value, u64 supported)
{
    const u64 x87 = BIT(0), sse = BIT(1), avx = BIT(2), mpx = FIELD(4, 3), avx512 = FIELD(7, 5),
              amx = FIELD(18, 17);

    if (value & ~supported || !(value & x87) || (value & avx && !(value & sse))) {
        return false;
    }
    if (value & mpx && (value & mpx) != mpx) {
        return false;
    }
    if (value & avx512 && ((value & avx512) != avx512 || !(value & avx))) {
        return false;
    }
    return !(value & amx) || (value & amx) == amx;
}

bool pat_check(u64 value)
{
    for (u32 i = 0; i < 8; i++) {
        u32 type = (value >> (8 * i)) & 0xff;
        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

bool cr_state_check(const struct cr_state *s, u64 cr4_allowed, u64 efer_allowed)
{
    bool pg = s->cr0 & CR0_PG, lme = s->efer & EFER_LME, lma = s->efer & EFER_LMA;

    if (s->cr0 >> 32 || (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD)) || (pg && !(s->cr0 & CR0_PE))) {
        return false;
    }
    if (s->cr4 & ~cr4_allowed || s->efer & ~(efer_allowed | EFER_LMA)) {
        return false;
    }
    if (lma != (lme && pg) || (lma && !(s->cr4 & CR4_PAE))) {
        return false;
    }
    return !(s->cr4 & CR4_PCIDE) || lma;
}
