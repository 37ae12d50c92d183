/* SPDX-License-Identifier: MIT */
/* The kernel's half of every address space, beside what arch/arch.h offers of it. */
#ifndef ARCH_X86_MMU_H
#define ARCH_X86_MMU_H

#include "arch/arch.h"
#include "lib/types.h"

/*
 * Where what is, beside BOOT_PHYSMAP (the kernel pool) and BOOT_KERNEL_BASE (the image). All of it
 * is in one entry of the top table, number 510, whose next level has an entry per GiB.
 */
#define KVA_STACKS  0xffffff0000000000ull /* 1 GiB */
#define KVA_WINDOWS 0xffffff0040000000ull /* 1 GiB */
#define KVA_DEVICES 0xffffff1000000000ull /* 64 GiB */

/* Boot CPU, first: what bootinfo says. */
void mmu_early_init(const struct bootinfo *bi);

/* Table memory and mapping of the kernel's half; va is a kernel address. Locked inside. */
bool mmu_map(u64 va, u64 pa, u64 bytes, u64 perm) MUST_CHECK;

/* Physical address of the kernel's root table, and of something in the image. */
u64 mmu_kernel_root(void);
u64 mmu_image_pa(const void *p);

/* Every CPU drops all translations, global ones too. */
void mmu_flush_all(void);

/* The stack of an exception that may come at any time; NULL: no memory. Returns its top. */
void *stack_alloc(u64 bytes);

#endif
