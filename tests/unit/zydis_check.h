/* SPDX-License-Identifier: MIT */
/* Our decoder against Zydis: for any bytes, what it says of them must be what Zydis says. A
 * difference is printed and ends the program. */
#ifndef TESTS_UNIT_ZYDIS_CHECK_H
#define TESTS_UNIT_ZYDIS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include <Zydis/Zydis.h>

#include "vmm/machine/decode.h"

struct zydis_case {
    const u8 *bytes;
    u32 count;
    u8 code_bytes;
};

static inline void zydis_require(const struct zydis_case *c, bool good, const char *what)
{
    if (good) {
        return;
    }
    fprintf(stderr, "%s differs: %u-bit code", what, 8 * c->code_bytes);
    for (u32 i = 0; i < c->count; i++) {
        fprintf(stderr, " %02x", c->bytes[i]);
    }
    fprintf(stderr, "\n");
    abort();
}

static inline enum insn_op zydis_op(ZydisMnemonic m)
{
    static const struct {
        ZydisMnemonic mnemonic;
        enum insn_op op;
    } names[] = {
        {ZYDIS_MNEMONIC_MOV,     INSN_MOV    },
        {ZYDIS_MNEMONIC_MOVZX,   INSN_MOV    },
        {ZYDIS_MNEMONIC_MOVSX,   INSN_MOV    },
        {ZYDIS_MNEMONIC_MOVSXD,  INSN_MOV    },
        {ZYDIS_MNEMONIC_MOVNTI,  INSN_MOV    },
        {ZYDIS_MNEMONIC_MOVBE,   INSN_MOVBE  },
        {ZYDIS_MNEMONIC_ADD,     INSN_ADD    },
        {ZYDIS_MNEMONIC_OR,      INSN_OR     },
        {ZYDIS_MNEMONIC_ADC,     INSN_ADC    },
        {ZYDIS_MNEMONIC_SBB,     INSN_SBB    },
        {ZYDIS_MNEMONIC_AND,     INSN_AND    },
        {ZYDIS_MNEMONIC_SUB,     INSN_SUB    },
        {ZYDIS_MNEMONIC_XOR,     INSN_XOR    },
        {ZYDIS_MNEMONIC_CMP,     INSN_CMP    },
        {ZYDIS_MNEMONIC_TEST,    INSN_TEST   },
        {ZYDIS_MNEMONIC_NOT,     INSN_NOT    },
        {ZYDIS_MNEMONIC_NEG,     INSN_NEG    },
        {ZYDIS_MNEMONIC_INC,     INSN_INC    },
        {ZYDIS_MNEMONIC_DEC,     INSN_DEC    },
        {ZYDIS_MNEMONIC_XCHG,    INSN_XCHG   },
        {ZYDIS_MNEMONIC_XADD,    INSN_XADD   },
        {ZYDIS_MNEMONIC_CMPXCHG, INSN_CMPXCHG},
        {ZYDIS_MNEMONIC_BT,      INSN_BT     },
        {ZYDIS_MNEMONIC_BTS,     INSN_BTS    },
        {ZYDIS_MNEMONIC_BTR,     INSN_BTR    },
        {ZYDIS_MNEMONIC_BTC,     INSN_BTC    },
        {ZYDIS_MNEMONIC_MOVSB,   INSN_MOVS   },
        {ZYDIS_MNEMONIC_MOVSW,   INSN_MOVS   },
        {ZYDIS_MNEMONIC_MOVSD,   INSN_MOVS   },
        {ZYDIS_MNEMONIC_MOVSQ,   INSN_MOVS   },
        {ZYDIS_MNEMONIC_CMPSB,   INSN_CMPS   },
        {ZYDIS_MNEMONIC_CMPSW,   INSN_CMPS   },
        {ZYDIS_MNEMONIC_CMPSD,   INSN_CMPS   },
        {ZYDIS_MNEMONIC_CMPSQ,   INSN_CMPS   },
        {ZYDIS_MNEMONIC_STOSB,   INSN_STOS   },
        {ZYDIS_MNEMONIC_STOSW,   INSN_STOS   },
        {ZYDIS_MNEMONIC_STOSD,   INSN_STOS   },
        {ZYDIS_MNEMONIC_STOSQ,   INSN_STOS   },
        {ZYDIS_MNEMONIC_LODSB,   INSN_LODS   },
        {ZYDIS_MNEMONIC_LODSW,   INSN_LODS   },
        {ZYDIS_MNEMONIC_LODSD,   INSN_LODS   },
        {ZYDIS_MNEMONIC_LODSQ,   INSN_LODS   },
        {ZYDIS_MNEMONIC_SCASB,   INSN_SCAS   },
        {ZYDIS_MNEMONIC_SCASW,   INSN_SCAS   },
        {ZYDIS_MNEMONIC_SCASD,   INSN_SCAS   },
        {ZYDIS_MNEMONIC_SCASQ,   INSN_SCAS   },
        {ZYDIS_MNEMONIC_INSB,    INSN_INS    },
        {ZYDIS_MNEMONIC_INSW,    INSN_INS    },
        {ZYDIS_MNEMONIC_INSD,    INSN_INS    },
        {ZYDIS_MNEMONIC_OUTSB,   INSN_OUTS   },
        {ZYDIS_MNEMONIC_OUTSW,   INSN_OUTS   },
        {ZYDIS_MNEMONIC_OUTSD,   INSN_OUTS   },
    };

    for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].mnemonic == m) {
            return names[i].op;
        }
    }
    return INSN_NONE;
}

/* Register n of a size, as Zydis names it. */
static inline ZydisRegister zydis_gpr(u32 n, u32 bytes, bool high_byte)
{
    switch (bytes) {
    case 1:
        return high_byte ? ZYDIS_REGISTER_AH + n
               : n < 4   ? ZYDIS_REGISTER_AL + n
               : n < 8   ? ZYDIS_REGISTER_SPL + n - 4
                         : ZYDIS_REGISTER_R8B + n - 8;
    case 2:
        return ZYDIS_REGISTER_AX + n;
    case 4:
        return ZYDIS_REGISTER_EAX + n;
    default:
        return ZYDIS_REGISTER_RAX + n;
    }
}

static inline void zydis_check_memory(const struct zydis_case *c, const struct insn *i,
                                      const ZydisDecodedOperand *o)
{
    ZydisRegister base = i->base != INSN_NO_GPR  ? zydis_gpr(i->base, i->address_bytes, false)
                         : !i->rip_relative      ? ZYDIS_REGISTER_NONE
                         : i->address_bytes == 4 ? ZYDIS_REGISTER_EIP
                                                 : ZYDIS_REGISTER_RIP;
    bool has_index = i->index != INSN_NO_GPR;
    /* Zydis 4.0 has 4 bytes of memory there; the SDM, and Intel's CPUs, 2 */
    bool movsxd16 = i->op == INSN_MOV && i->bytes == 2 && o->size == 32;

    /* Zydis 4.0 forgets that R13D is no base without displacement either; objdump and CPUs do not
     */
    if (o->mem.base == ZYDIS_REGISTER_R13D && base == ZYDIS_REGISTER_NONE) {
        return;
    }
    zydis_require(c, o->mem.base == base, "base");
    zydis_require(c,
                  o->mem.index == (has_index ? zydis_gpr(i->index, i->address_bytes, false)
                                             : ZYDIS_REGISTER_NONE),
                  "index");
    zydis_require(c, !has_index || o->mem.scale == 1 << i->scale, "scale");
    zydis_require(c,
                  low_bytes((u64)o->mem.disp.value, i->address_bytes) ==
                      low_bytes(i->displacement, i->address_bytes),
                  "displacement");
    zydis_require(c, o->mem.segment == (ZydisRegister)(ZYDIS_REGISTER_ES + i->seg), "segment");
    if (!movsxd16) {
        zydis_require(c, o->size == 8u * i->memory_bytes, "size of memory");
    }
    bool reads = o->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
    bool writes = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    zydis_require(c, reads == !!(i->access & INSN_READS), "reading");
    zydis_require(c, writes == !!(i->access & INSN_WRITES), "writing");
}

/* The operands at RSI and RDI, which Zydis tells as hidden ones. */
static inline void zydis_check_string(const struct zydis_case *c, const struct insn *i,
                                      const ZydisDecodedInstruction *z,
                                      const ZydisDecodedOperand *operands)
{
    u64 action = 0;

    for (u32 k = 0; k < z->operand_count; k++) {
        const ZydisDecodedOperand *o = &operands[k];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY) {
            continue;
        }
        bool source = o->mem.base == zydis_gpr(GPR_RSI, i->address_bytes, false);
        zydis_require(c, source || o->mem.base == zydis_gpr(GPR_RDI, i->address_bytes, false),
                      "address of a string");
        zydis_require(
            c, o->mem.segment == (ZydisRegister)(ZYDIS_REGISTER_ES + (source ? i->seg : SEG_ES)),
            "segment of a string");
        zydis_require(c, o->size == 8u * i->bytes && i->bytes == i->memory_bytes,
                      "size of an element");
        action |= (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? INSN_READS : 0) |
                  (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? INSN_WRITES : 0);
    }
    zydis_require(c, action == i->access, "access of a string");
    if (i->op == INSN_CMPS || i->op == INSN_SCAS) {
        zydis_require(c, !(z->attributes & ZYDIS_ATTRIB_HAS_REPE) == (i->rep != 0xf3), "REPE");
        zydis_require(c, !(z->attributes & ZYDIS_ATTRIB_HAS_REPNE) == (i->rep != 0xf2), "REPNE");
    } else if (i->rep != 0xf2) { /* which works like REP, and which no manual has */
        zydis_require(c, !(z->attributes & ZYDIS_ATTRIB_HAS_REP) == !i->rep, "REP");
    }
}

static inline void zydis_check_operands(const struct zydis_case *c, const struct insn *i,
                                        const ZydisDecodedOperand *o)
{
    u32 memory = i->form == INSN_REG_MEM ? 1 : 0;

    zydis_require(c, o[memory].type == ZYDIS_OPERAND_TYPE_MEMORY, "place of the memory operand");
    zydis_check_memory(c, i, &o[memory]);
    if (i->form == INSN_MEM_IMM) {
        u32 n = i->op >= INSN_BT ? 1 : i->bytes;
        zydis_require(c, o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE, "immediate");
        zydis_require(c, low_bytes(o[1].imm.value.u, n) == low_bytes(i->immediate, n),
                      "value of the immediate");
    } else if (i->form != INSN_MEM) {
        zydis_require(c, o[!memory].type == ZYDIS_OPERAND_TYPE_REGISTER, "register");
        zydis_require(c, o[!memory].reg.value == zydis_gpr(i->reg, i->bytes, i->high_byte),
                      "number of the register");
    }
}

/* Is this one that we should know? */
static inline bool zydis_known(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    bool memory = false;

    if (zydis_op(z->mnemonic) == INSN_NONE || z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
        z->meta.isa_set == ZYDIS_ISA_SET_SSE2) { /* MOVSD is SSE2's name, too */
        return z->mnemonic == ZYDIS_MNEMONIC_MOVNTI;
    }
    for (u32 k = 0; k < z->operand_count; k++) {
        memory |= o[k].type == ZYDIS_OPERAND_TYPE_MEMORY;
        if (o[k].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
            o[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(o[k].reg.value) == ZYDIS_REGCLASS_SEGMENT) {
            return false; /* moves of segment registers */
        }
    }
    return memory;
}

/* Checks decode()'s answer for count bytes, of which there are 15 or the instruction is shorter.
 * Returns true when both know the instruction. */
static inline bool zydis_check(const u8 *bytes, u32 count, u8 code_bytes, enum decode_status status,
                               const struct insn *i)
{
    const struct zydis_case c = {bytes, count < 15 ? count : 15, code_bytes};
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction z;
    ZydisDecoder d;

    ZydisDecoderInit(&d,
                     code_bytes == 8   ? ZYDIS_MACHINE_MODE_LONG_64
                     : code_bytes == 4 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                       : ZYDIS_MACHINE_MODE_LEGACY_16,
                     code_bytes == 8   ? ZYDIS_STACK_WIDTH_64
                     : code_bytes == 4 ? ZYDIS_STACK_WIDTH_32
                                       : ZYDIS_STACK_WIDTH_16);
    bool valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, bytes, c.count, &z, operands));

    if (status != DECODE_OK) {
        zydis_require(&c, !valid || !zydis_known(&z, operands), "what is known");
        zydis_require(&c, !valid || status == DECODE_UNKNOWN, "what is valid");
        return false;
    }
    zydis_require(&c, valid, "what is an instruction");
    zydis_require(&c, z.length == i->length, "length");
    zydis_require(&c, zydis_op(z.mnemonic) == i->op, "operation");
    if (i->form == INSN_STRING) {
        zydis_check_string(&c, i, &z, operands);
    } else {
        zydis_check_operands(&c, i, operands);
    }
    return true;
}

#endif
