/* SPDX-License-Identifier: MIT */
/* Runs a few bytes of machine code given as data, with registers of one's choice, and catches the
 * fault. */
#ifndef GUESTS_LIB_CODE_H
#define GUESTS_LIB_CODE_H

#include "guests/lib/trap.h"
#include "lib/types.h"

struct code_regs {
    u64 rax, rbx, rcx, rdx, rsi, rdi;
};

#define CODE_BYTES 1024 /* the most that fits */

/*
 * Copies code (position independent, no RET at its end, stack balanced) to a page of its own below
 * 4 GiB and calls it in ring 0. Registers come from and go back to *regs, unless it is NULL (then
 * they are 0); after a fault they hold what they held at the fault. R8 to R15 are the code's to
 * change. code_try32 runs it as 32-bit code in compatibility mode; addresses it uses must be below
 * 4 GiB.
 */
struct fault code_try(const void *code, size_t bytes, struct code_regs *regs);
struct fault code_try32(const void *code, size_t bytes, struct code_regs *regs);

/* All general registers but RSP, and the arithmetic flags with DF. */
struct regs {
    u64 rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rflags;
};

/* Calls code (a copy, as above) with all registers loaded from *r, and stores them there again. A
 * fault is not caught. */
void code_run(const void *code, size_t bytes, struct regs *r);

/* Where the code lies: a fault's RIP minus this is an offset in the code. */
u64 code_base(void);

#define CODE(...) ((const u8[]){__VA_ARGS__}), sizeof((const u8[]){__VA_ARGS__})

#endif
