/* SPDX-License-Identifier: MIT */
/*
 * Decodes the instructions with which systems reach memory-mapped registers, in 16, 32 and 64-bit
 * code: moves, arithmetic and logic, bit tests, exchanges, and string instructions. Pure code; the
 * bytes are guest-controlled and may have changed since the CPU ran them. What is unknown here is
 * not executed: the CPU's other instructions (vector moves, calls and stacks in device memory) are
 * never guessed at.
 */
#ifndef VMM_MACHINE_DECODE_H
#define VMM_MACHINE_DECODE_H

#include "kernel/abi.h"
#include "lib/types.h"

#define DECODE_MAX_BYTES 15

enum decode_status {
    DECODE_OK,
    DECODE_SHORT,     /* the instruction goes on after the bytes given */
    DECODE_UNKNOWN,   /* none of those known here, or one without a memory operand */
    DECODE_UNDEFINED, /* #UD on every CPU: LOCK where it is not allowed, no opcode in 64-bit code */
    DECODE_TOO_LONG,  /* more than 15 bytes: #GP(0) */
};

enum insn_op {
    INSN_NONE,
    INSN_MOV, /* and MOVZX, MOVSX, MOVSXD, MOVNTI */
    INSN_MOVBE,
    INSN_ADD, /* to CMP: the order of opcodes 00 to 3f and of ModRM.reg in group 1 */
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_NOT,
    INSN_NEG,
    INSN_INC,
    INSN_DEC,
    INSN_XCHG,
    INSN_XADD,
    INSN_CMPXCHG,
    INSN_BT, /* to BTC: the order of group 8 */
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_MOVS, /* from here: string instructions */
    INSN_CMPS,
    INSN_STOS,
    INSN_LODS,
    INSN_SCAS,
    INSN_INS,
    INSN_OUTS,
};

enum insn_form {
    INSN_MEM_REG, /* memory op= register */
    INSN_REG_MEM, /* register op= memory */
    INSN_MEM_IMM, /* memory op= immediate */
    INSN_MEM,     /* memory alone */
    INSN_STRING,  /* [RSI], [RDI] and RAX or a port, as the operation has them */
};

/* What is done to memory; for strings, to the operands at RSI and RDI together. */
#define INSN_READS  BIT(0)
#define INSN_WRITES BIT(1)

#define INSN_NO_GPR 0xff

struct insn {
    u8 op, form;      /* enum insn_op, insn_form */
    u8 length;        /* 1..15 */
    u8 access;        /* INSN_READS, INSN_WRITES */
    u8 memory_bytes;  /* 1, 2, 4, 8 */
    u8 bytes;         /* of the operation and of its register; more than memory_bytes: extended */
    bool sign_extend; /* how */
    u8 rep;           /* 0, 0xf2 (REPNE) or 0xf3 (REP); string instructions only */
    u8 reg;           /* enum gpr_index; for high_byte: AH, CH, DH, BH are in 0..3 */
    bool high_byte;
    u8 seg; /* enum seg_index of the memory operand, of strings the one at RSI */
    u8 address_bytes;
    u8 base, index;    /* enum gpr_index or INSN_NO_GPR */
    u8 scale;          /* shift of the index, 0..3 */
    bool rip_relative; /* displacement counts from the next instruction */
    u64 displacement;  /* sign-extended */
    u64 immediate;     /* sign-extended to 64 bits */
};

/* code_bytes: 2, 4 or 8, the default size of the code segment. *out is filled on DECODE_OK. The
 * status for n bytes that are not DECODE_SHORT holds for any bytes that follow. */
enum decode_status decode(const u8 *bytes, u32 count, u8 code_bytes, struct insn *out);

/* Of an instruction without a memory operand that a hypervisor intercepts (CPUID, RDMSR, HLT, MOV
 * CR and their like), the length and, of MOV CR, the general register: no more of *out is filled.
 */
enum decode_status decode_system(const u8 *bytes, u32 count, u8 code_bytes, struct insn *out);

/* Offset of the memory operand within its segment, wrapped to the address size; a bit test's
 * register moves it. rip is that of the instruction. Not for string instructions. */
u64 decode_offset(const struct insn *i, const u64 gpr[GPR_COUNT], u64 rip);

static inline u64 low_bytes(u64 value, u32 bytes)
{
    return bytes >= 8 ? value : value & (BIT(bytes * 8) - 1);
}

/* The low bytes of value as a signed number of 64 bits. */
static inline u64 sign_extend(u64 value, u32 bytes)
{
    u32 unused = 64 - 8 * bytes;

    return (u64)((s64)(value << unused) >> unused);
}

/* The sum of a memory operand's components, not wrapped to the address size. */
static inline u64 insn_address(const struct insn *i, const u64 gpr[GPR_COUNT], u64 rip)
{
    u64 offset = i->displacement;

    if (i->base != INSN_NO_GPR) {
        offset += gpr[i->base];
    }
    if (i->index != INSN_NO_GPR) {
        offset += gpr[i->index] << i->scale;
    }
    return i->rip_relative ? offset + rip + i->length : offset;
}

#endif
