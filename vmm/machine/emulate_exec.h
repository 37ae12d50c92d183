/* SPDX-License-Identifier: MIT */
/* What a decoded instruction does to registers, flags and a memory operand that lies in a variable.
 * Pure code. */
#ifndef VMM_MACHINE_EMULATE_EXEC_H
#define VMM_MACHINE_EMULATE_EXEC_H

#include "kernel/abi.h"
#include "lib/types.h"
#include "vmm/machine/decode.h"

/* Executes i, which is no string instruction. *memory: the operand as it was read (with INSN_READS)
 * and as it is to be written (with INSN_WRITES; only i->memory_bytes count). Flags that the
 * architecture leaves undefined are as Intel's CPUs have them. */
void exec_insn(const struct insn *i, u64 gpr[GPR_COUNT], u64 *rflags, u64 *memory);

/* CMP a, b. */
void exec_compare(u64 a, u64 b, u32 bytes, u64 *rflags);

/* Puts the low bytes of value into a register: 4 bytes clear the upper half, 1 and 2 leave the
 * rest. */
void exec_put(u64 *reg, u64 value, u32 bytes);

#endif
