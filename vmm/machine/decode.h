/* SPDX-License-Identifier: MIT */
/*
 * Decodes the few instructions with which guests reach memory-mapped registers: MOV in its plain
 * forms, MOVZX and MOVSX, in 16, 32 and 64-bit code. Pure code; the bytes are guest-controlled and
 * may have changed since the CPU ran them.
 */
#ifndef VMM_MACHINE_DECODE_H
#define VMM_MACHINE_DECODE_H

#include "kernel/abi.h"
#include "lib/types.h"

#define DECODE_MAX_BYTES 15

enum decode_status {
    DECODE_OK,
    DECODE_SHORT,   /* the instruction goes on after the bytes given */
    DECODE_UNKNOWN, /* none of the forms above */
};

enum insn_kind {
    INSN_LOAD,      /* register <- memory */
    INSN_LOAD_ZERO, /* register <- memory, zero-extended */
    INSN_LOAD_SIGN, /* register <- memory, sign-extended */
    INSN_STORE,     /* memory <- register */
    INSN_STORE_IMM, /* memory <- immediate */
};

#define INSN_NO_GPR 0xff

struct insn {
    u8 kind;         /* enum insn_kind */
    u8 length;       /* 1..15 */
    u8 memory_bytes; /* 1, 2, 4, 8 */
    u8 reg_bytes;    /* width of the register operand */
    u8 reg;          /* enum gpr_index; for high_byte: AH, CH, DH, BH are in 0..3 */
    bool high_byte;
    u8 seg; /* enum seg_index of the memory operand */
    u8 address_bytes;
    u8 base, index;    /* enum gpr_index or INSN_NO_GPR */
    u8 scale;          /* shift of the index, 0..3 */
    bool rip_relative; /* displacement counts from the next instruction */
    u64 displacement;  /* sign-extended */
    u64 immediate;     /* sign-extended to 64 bits */
};

/* code_bytes: 2, 4 or 8, the default size of the code segment. */
enum decode_status decode(const u8 *bytes, u32 count, u8 code_bytes, struct insn *out);

/* Offset of the memory operand within its segment, wrapped to the address size. rip is that of the
 * instruction. */
u64 decode_offset(const struct insn *i, const u64 gpr[GPR_COUNT], u64 rip);

/* Value of the register operand, and the register with a loaded value put in as the CPU does it
 * (32-bit results clear the upper half, smaller ones leave the rest). */
u64 decode_source(const struct insn *i, const u64 gpr[GPR_COUNT]);
void decode_result(const struct insn *i, u64 gpr[GPR_COUNT], u64 memory);

#endif
