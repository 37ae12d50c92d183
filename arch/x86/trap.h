/* SPDX-License-Identifier: MIT */
/* What the exception and interrupt stubs push, and the C code that they call. */
#ifndef ARCH_X86_TRAP_H
#define ARCH_X86_TRAP_H

#include "lib/types.h"

enum {
    TRAP_DB = 1,
    TRAP_NMI = 2,
    TRAP_BP = 3,
    TRAP_NM = 7,
    TRAP_DF = 8,
    TRAP_GP = 13,
    TRAP_PF = 14,
    TRAP_MC = 18,
    TRAP_EXCEPTIONS = 32
};

#define PF_ERROR_PRESENT BIT(0)
#define PF_ERROR_WRITE   BIT(1)
#define PF_ERROR_FETCH   BIT(4)

struct trap_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    u64 vector, error;
    u64 rip, cs, rflags, rsp, ss; /* pushed by the CPU */
};

/* Entry points, arch/x86/interrupts.asm and entry.asm. */
extern const u64 trap_stubs[256];
void syscall_entry(void);

/* From interrupts.asm: on the kernel stack of the thread (or of idle). */
void trap_handle(struct trap_frame *f);
/* From interrupts.asm: NMI, double fault, machine check; on a stack of its own, at any place. */
void trap_handle_ist(struct trap_frame *f);
/* From entry.asm and interrupts.asm: hazards are set and this CPU is about to return to ring 3. */
void trap_user_hazards(void);
/* From entry.asm: ring 3 shall continue at an address that SYSRET must not see. */
void trap_bad_rip(u64 rip);

#endif
