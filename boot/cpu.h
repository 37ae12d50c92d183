/* SPDX-License-Identifier: MIT */
/* Instructions that C cannot say; boot/cpu.asm. And the jump to the kernel; boot/jump.asm. */
#ifndef BOOT_CPU_H
#define BOOT_CPU_H

#include "lib/types.h"

struct cpuid {
    u32 eax, ebx, ecx, edx;
};

void cpu_id(u32 leaf, u32 subleaf, struct cpuid *out);
u64 cpu_read_msr(u32 msr); /* faults when there is no such MSR */
void cpu_write_msr(u32 msr, u64 value);
u64 cpu_tsc(void);
u64 cpu_cr4(void);
u8 cpu_in8(u16 port);
u32 cpu_in32(u16 port);
void cpu_out8(u16 port, u8 value);
void cpu_out16(u16 port, u16 value);
NORETURN void cpu_halt(void); /* interrupts off, for good */

/*
 * Goes to entry(argument) in the state that kernel/bootinfo.h describes. root: page tables, below
 * 4 GiB, that also map this code at its own address. low: a page below 1 MiB for the way out of
 * five-level paging, 0 when there is none (then the CPU must be in four-level paging). gdt:
 * JUMP_GDT_BYTES that stay there.
 */
#define JUMP_GDT_BYTES 32
NORETURN void cpu_jump(u64 root, u64 entry, u64 stack_top, u64 argument, void *gdt, u64 low);

#endif
