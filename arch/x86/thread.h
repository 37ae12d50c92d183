/* SPDX-License-Identifier: MIT */
/* Assembly behind arch/x86/thread.c: entry.asm and copy.asm. */
#ifndef ARCH_X86_THREAD_H
#define ARCH_X86_THREAD_H

#include "lib/types.h"

/* The first return address of a new context. */
void context_start(void);

/* To ring 3 with these registers, all else 0, on top of the thread's kernel stack. */
NORETURN void enter_user(u64 rip, u64 rsp, u64 rdi);

/* Copies; one side is ring 3's. 0, or E_FAULT when that side is not mapped. */
int copy_user(void *dst, const void *src, u64 bytes) MUST_CHECK;

bool probe_read(const void *address);
bool probe_write(void *address);
bool probe_exec(void *address);

#endif
