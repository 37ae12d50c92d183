/* SPDX-License-Identifier: MIT */
/*
 * Leaves 64-bit mode for a while: runs a few bytes of machine code in 32-bit protected mode,
 * without paging or with the tables of one's choice, or in real mode, and comes back. A fault ends
 * the code and is reported.
 */
#ifndef GUESTS_LIB_MODE_H
#define GUESTS_LIB_MODE_H

#include "lib/types.h"

#define MODE_BLOB                                                                                  \
    0x8000u /* where the code lies, in all modes: linear and, in real mode, offset in segment 0 */

enum mode_kind {
    MODE_32 = 0,     /* flat segments, CR0, CR3 and CR4 as given */
    MODE_REAL = 1,   /* segments 0 with 64 KiB limits */
    MODE_UNREAL = 2, /* the same, but DS and ES keep limits of 4 GiB */
};

/* Known to mode.asm. */
struct mode {
    u32 cr0, cr3, cr4; /* while the code runs; PE and PG of cr0 follow from kind in real mode */
    u32 kind;
    u32 eax, ebx, ecx, edx, esi, edi; /* in and out */
    s32 vector;                       /* out: the exception that ended it, -1 none */
    u32 error, cr2, eip;
    u32 efer; /* low half of EFER while in 32-bit mode; out: as the code left it */
};

/* m must be below 4 GiB and, with paging, mapped at its own address, as must be the image and the
 * first MiB. code: at most 1 KiB, ends by itself (a return is added). EFER.LME is off while it runs
 * unless m->efer has it. */
void mode_run(struct mode *m, const void *code, size_t bytes);

/* CR0 and CR4 values to start from. */
#define MODE_CR0 0x00000033u /* PE, MP, ET, NE */

#endif
