/* SPDX-License-Identifier: MIT */
/* One table of opcodes, and the parts of an instruction in their order: prefixes, opcode, ModRM,
 * SIB, displacement, immediate (SDM 2A "Instruction Format", SDM 2D "Opcode Map"). */
#include "vmm/machine/decode.h"

/* What an opcode says beside its operation. */
#define OP_R      INSN_READS
#define OP_W      INSN_WRITES
#define OP_RW     (OP_R | OP_W)
#define OP_BYTE   BIT(2)  /* operands of 1 byte */
#define OP_FROM8  BIT(3)  /* the memory operand alone has 1 byte, 2 or 4 */
#define OP_FROM16 BIT(4)  /* likewise */
#define OP_FROM32 BIT(5)  /* likewise; 2 with an operand-size prefix */
#define OP_SIGN   BIT(6)  /* and is sign-extended */
#define OP_IMM8   BIT(7)  /* the immediate has 1 byte */
#define OP_OFFSET BIT(8)  /* no ModRM: the address follows the opcode, the register is AX */
#define OP_GROUP  BIT(9)  /* op is a row of groups[] */
#define OP_NOT64  BIT(10) /* #UD in 64-bit code */
#define OP_ONLY64 BIT(11) /* another instruction elsewhere */
#define OP_NO66   BIT(12) /* another instruction, or none, with an operand-size prefix */
#define OP_NOREP  BIT(13) /* the same with REP or REPNE */
#define OP_4_OR_8 BIT(14) /* operands of 4 bytes, 8 with REX.W */
#define OP_PORT   BIT(15) /* operands of at most 4 bytes */

struct opcode {
    u8 op, form; /* enum insn_op; enum insn_form */
    u16 flags;
};

enum group { GROUP_1, GROUP_3, GROUP_4, GROUP_8, GROUP_11 };

static const struct opcode groups[][8] = {
    [GROUP_1] = {{INSN_ADD, INSN_MEM_IMM, OP_RW},
                 {INSN_OR, INSN_MEM_IMM, OP_RW},
                 {INSN_ADC, INSN_MEM_IMM, OP_RW},
                 {INSN_SBB, INSN_MEM_IMM, OP_RW},
                 {INSN_AND, INSN_MEM_IMM, OP_RW},
                 {INSN_SUB, INSN_MEM_IMM, OP_RW},
                 {INSN_XOR, INSN_MEM_IMM, OP_RW},
                 {INSN_CMP, INSN_MEM_IMM, OP_R}},
    [GROUP_3] = {{INSN_TEST, INSN_MEM_IMM, OP_R},
                 {INSN_TEST, INSN_MEM_IMM, OP_R},
                 {INSN_NOT, INSN_MEM, OP_RW},
                 {INSN_NEG, INSN_MEM, OP_RW}},
    [GROUP_4] = {{INSN_INC, INSN_MEM, OP_RW}, {INSN_DEC, INSN_MEM, OP_RW}}, /* and group 5 */
    [GROUP_8] = {[4] = {INSN_BT, INSN_MEM_IMM, OP_R},
                 [5] = {INSN_BTS, INSN_MEM_IMM, OP_RW},
                 [6] = {INSN_BTR, INSN_MEM_IMM, OP_RW},
                 [7] = {INSN_BTC, INSN_MEM_IMM, OP_RW}},
    [GROUP_11] = {{INSN_MOV, INSN_MEM_IMM, OP_W}                              },
};

#define MODRM_BYTE(code, op, form, flags)                                                          \
    [code] = {op, form, (flags) | OP_BYTE}, [(code) + 1] = {op, form, flags}
#define ARITHMETIC(code, op, write)                                                                \
    MODRM_BYTE(code, op, INSN_MEM_REG, OP_R | (write)),                                            \
        MODRM_BYTE((code) + 2, op, INSN_REG_MEM, OP_R)
#define STRING(code, op, flags) MODRM_BYTE(code, op, INSN_STRING, flags)

static const struct opcode one_byte[256] = {
    ARITHMETIC(0x00, INSN_ADD, OP_W),
    ARITHMETIC(0x08, INSN_OR, OP_W),
    ARITHMETIC(0x10, INSN_ADC, OP_W),
    ARITHMETIC(0x18, INSN_SBB, OP_W),
    ARITHMETIC(0x20, INSN_AND, OP_W),
    ARITHMETIC(0x28, INSN_SUB, OP_W),
    ARITHMETIC(0x30, INSN_XOR, OP_W),
    ARITHMETIC(0x38, INSN_CMP, 0),
    [0x63] = {INSN_MOV, INSN_REG_MEM, OP_R | OP_FROM32 | OP_SIGN | OP_ONLY64},
    STRING(0x6c, INSN_INS, OP_W | OP_PORT),
    STRING(0x6e, INSN_OUTS, OP_R | OP_PORT),
    [0x80] = {GROUP_1,  0,            OP_GROUP | OP_BYTE                    },
    [0x81] = {GROUP_1,  0,            OP_GROUP                              },
    [0x82] = {GROUP_1,  0,            OP_GROUP | OP_BYTE | OP_NOT64         },
    [0x83] = {GROUP_1,  0,            OP_GROUP | OP_IMM8                    },
    MODRM_BYTE(0x84, INSN_TEST, INSN_MEM_REG, OP_R),
    MODRM_BYTE(0x86, INSN_XCHG, INSN_MEM_REG, OP_RW),
    MODRM_BYTE(0x88, INSN_MOV, INSN_MEM_REG, OP_W),
    MODRM_BYTE(0x8a, INSN_MOV, INSN_REG_MEM, OP_R),
    MODRM_BYTE(0xa0, INSN_MOV, INSN_REG_MEM, OP_R | OP_OFFSET),
    MODRM_BYTE(0xa2, INSN_MOV, INSN_MEM_REG, OP_W | OP_OFFSET),
    STRING(0xa4, INSN_MOVS, OP_RW),
    STRING(0xa6, INSN_CMPS, OP_R),
    STRING(0xaa, INSN_STOS, OP_W),
    STRING(0xac, INSN_LODS, OP_R),
    STRING(0xae, INSN_SCAS, OP_R),
    MODRM_BYTE(0xc6, GROUP_11, 0, OP_GROUP),
    MODRM_BYTE(0xf6, GROUP_3, 0, OP_GROUP),
    MODRM_BYTE(0xfe, GROUP_4, 0, OP_GROUP),
};

/* After 0f. */
static const struct opcode two_byte[256] = {
    [0xa3] = {INSN_BT,  INSN_MEM_REG, OP_R                                 },
    [0xab] = {INSN_BTS, INSN_MEM_REG, OP_RW                                },
    [0xb3] = {INSN_BTR, INSN_MEM_REG, OP_RW                                },
    [0xbb] = {INSN_BTC, INSN_MEM_REG, OP_RW                                },
    [0xba] = {GROUP_8,  0,            OP_GROUP | OP_IMM8                   },
    MODRM_BYTE(0xb0, INSN_CMPXCHG, INSN_MEM_REG, OP_RW),
    [0xb6] = {INSN_MOV, INSN_REG_MEM, OP_R | OP_FROM8                      },
    [0xb7] = {INSN_MOV, INSN_REG_MEM, OP_R | OP_FROM16                     },
    [0xbe] = {INSN_MOV, INSN_REG_MEM, OP_R | OP_FROM8 | OP_SIGN            },
    [0xbf] = {INSN_MOV, INSN_REG_MEM, OP_R | OP_FROM16 | OP_SIGN           },
    MODRM_BYTE(0xc0, INSN_XADD, INSN_MEM_REG, OP_RW),
    [0xc3] = {INSN_MOV, INSN_MEM_REG, OP_W | OP_4_OR_8 | OP_NO66 | OP_NOREP}, /* MOVNTI */
};

/* After 0f 38, from f0. */
static const struct opcode three_byte[2] = {
    {INSN_MOVBE, INSN_REG_MEM, OP_R | OP_NOREP},
    {INSN_MOVBE, INSN_MEM_REG, OP_W | OP_NOREP},
};

#define REX_B BIT(0)
#define REX_X BIT(1)
#define REX_R BIT(2)
#define REX_W BIT(3)

/* The bytes, and how many of them are used. Reading past the end sets short_of and gives 0. */
struct cursor {
    const u8 *bytes;
    u32 count, at;
    bool short_of;
};

static u8 next(struct cursor *c)
{
    if (c->at >= c->count) {
        c->short_of = true;
        return 0;
    }
    return c->bytes[c->at++];
}

/* A little-endian value of n bytes, sign-extended. */
static u64 next_signed(struct cursor *c, u32 n)
{
    u64 value = 0;

    for (u32 i = 0; i < n; i++) {
        value |= (u64)next(c) << (8 * i);
    }
    return sign_extend(value, n);
}

struct prefixes {
    bool operand, address, lock;
    u8 rep; /* the last of f2 and f3 */
    u8 seg; /* SEG_COUNT: no override */
    u8 rex;
};

/* Prefixes and the first opcode byte, which is returned. */
static u8 decode_prefixes(struct cursor *c, u8 code_bytes, struct prefixes *p)
{
    *p = (struct prefixes){.seg = SEG_COUNT};
    for (;;) {
        u8 b = next(c);
        u8 rex = 0;

        switch (b) {
        case 0x66:
            p->operand = true;
            break;
        case 0x67:
            p->address = true;
            break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            if (code_bytes != 8) { /* ignored in 64-bit code, where they do not undo FS or GS */
                p->seg = (u8)(SEG_ES + ((b >> 3) & 3));
            }
            break;
        case 0x64:
        case 0x65:
            p->seg = b == 0x64 ? SEG_FS : SEG_GS;
            break;
        case 0xf0:
            p->lock = true;
            break;
        case 0xf2:
        case 0xf3:
            p->rep = b;
            break;
        default:
            if (code_bytes == 8 && (b & 0xf0) == 0x40) {
                rex = b;
                break;
            }
            return b;
        }
        p->rex = rex; /* counts only right before the opcode */
    }
}

/* The opcode's row; that of INSN_NONE when it is not known, or when bytes are missing. */
static struct opcode decode_opcode(struct cursor *c, u8 code_bytes, struct prefixes *p)
{
    const struct opcode none = {INSN_NONE, 0, 0};
    u8 byte = decode_prefixes(c, code_bytes, p);
    struct opcode o = one_byte[byte];

    if (byte == 0x0f) {
        byte = next(c);
        o = two_byte[byte];
        if (byte == 0x38) {
            byte = next(c);
            o = byte == 0xf0 || byte == 0xf1 ? three_byte[byte & 1] : none;
        }
    }
    if (c->short_of || ((o.flags & OP_ONLY64) && code_bytes != 8) ||
        ((o.flags & OP_NO66) && p->operand) || ((o.flags & OP_NOREP) && p->rep)) {
        return none;
    }
    return o;
}

static void set_sizes(struct insn *i, u16 flags, const struct prefixes *p, u8 code_bytes)
{
    u8 operand = p->operand == (code_bytes == 2) ? 4 : 2;

    if (flags & OP_4_OR_8) {
        operand = 4;
    }
    if (p->rex & REX_W) {
        operand = 8;
    }
    if (flags & OP_PORT) {
        operand = MIN(operand, 4);
    }
    i->bytes = (flags & OP_BYTE) ? 1 : operand;
    i->memory_bytes = (flags & OP_FROM8)    ? 1
                      : (flags & OP_FROM16) ? 2
                      : (flags & OP_FROM32) ? MIN(operand, 4)
                                            : i->bytes;
    i->sign_extend = flags & OP_SIGN;
    i->address_bytes = !p->address ? code_bytes : code_bytes == 4 ? 2 : 4;
}

/* ModRM with 16-bit addresses: base and index by r/m. */
static void decode_memory16(struct cursor *c, u8 mod, u8 rm, struct insn *i)
{
    static const u8 bases[8] = {GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP,
                                GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX};
    static const u8 indices[4] = {GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI};

    if (mod == 0 && rm == 6) {
        i->displacement = next_signed(c, 2);
        return;
    }
    i->base = bases[rm];
    if (rm < 4) {
        i->index = indices[rm];
    }
    if (mod) {
        i->displacement = next_signed(c, mod);
    }
}

static void decode_memory32(struct cursor *c, u8 mod, u8 rm, u8 rex, bool code64, struct insn *i)
{
    u8 base = rm;

    if (rm == 4) {
        u8 sib = next(c);
        u8 index = (u8)(((sib >> 3) & 7) | ((rex & REX_X) ? 8 : 0));

        i->scale = sib >> 6;
        if (index != 4) { /* RSP cannot be an index; R12 can */
            i->index = index;
        }
        base = sib & 7;
    }
    if (mod == 0 && base == 5) {
        i->displacement = next_signed(c, 4);
        i->rip_relative = code64 && rm == 5;
        return;
    }
    i->base = (u8)(base | ((rex & REX_B) ? 8 : 0));
    if (mod) {
        i->displacement = next_signed(c, mod == 1 ? 1 : 4);
    }
}

static void decode_operands(struct cursor *c, const struct prefixes *p, u8 code_bytes, u8 modrm,
                            u16 flags, struct insn *i)
{
    if (flags & OP_OFFSET) {
        i->displacement = next_signed(c, i->address_bytes);
    } else if (i->form != INSN_STRING) {
        i->reg = (u8)(((modrm >> 3) & 7) | ((p->rex & REX_R) ? 8 : 0));
        if (i->address_bytes == 2) {
            decode_memory16(c, modrm >> 6, modrm & 7, i);
        } else {
            decode_memory32(c, modrm >> 6, modrm & 7, p->rex, code_bytes == 8, i);
        }
    }
    if (i->form == INSN_MEM_IMM) {
        i->immediate = next_signed(c, (flags & OP_IMM8) ? 1 : MIN(i->bytes, 4));
    }
    if ((i->form == INSN_MEM_REG || i->form == INSN_REG_MEM) && i->bytes == 1 && !p->rex &&
        i->reg >= 4) {
        i->high_byte = true;
        i->reg -= 4;
    }
    bool stack = i->base == GPR_RSP || i->base == GPR_RBP;
    i->seg = p->seg != SEG_COUNT ? p->seg : stack ? SEG_SS : SEG_DS;
}

enum decode_status decode(const u8 *bytes, u32 count, u8 code_bytes, struct insn *out)
{
    struct cursor c = {bytes, MIN(count, DECODE_MAX_BYTES), 0, false};
    struct prefixes p;
    struct opcode o = decode_opcode(&c, code_bytes, &p);
    u8 modrm = 0;

    if ((o.flags & OP_GROUP) || (o.op && o.form != INSN_STRING && !(o.flags & OP_OFFSET))) {
        modrm = next(&c);
    }
    if (o.flags & OP_GROUP) {
        const struct opcode *row = &groups[o.op][(modrm >> 3) & 7];
        o = (struct opcode){row->op, row->form, o.flags | row->flags};
    }
    if (!c.short_of && !o.op) {
        return DECODE_UNKNOWN;
    }
    if (modrm >> 6 == 3) { /* a register in place of memory */
        return p.lock ? DECODE_UNDEFINED : DECODE_UNKNOWN;
    }

    *out = (struct insn){
        .op = o.op,
        .form = o.form,
        .access = o.flags & OP_RW,
        .rep = o.form == INSN_STRING ? p.rep : 0,
        .reg = GPR_RAX,
        .base = INSN_NO_GPR,
        .index = INSN_NO_GPR,
    };
    set_sizes(out, o.flags, &p, code_bytes);
    decode_operands(&c, &p, code_bytes, modrm, o.flags, out);
    if (c.short_of) {
        return count >= DECODE_MAX_BYTES ? DECODE_TOO_LONG : DECODE_SHORT;
    }
    /* SDM 2A "LOCK": only what reads and writes its memory operand may have it */
    bool lockable = out->access == OP_RW && out->form != INSN_STRING;
    if ((p.lock && !lockable) || ((o.flags & OP_NOT64) && code_bytes == 8)) {
        return DECODE_UNDEFINED;
    }
    out->length = (u8)c.at;
    return DECODE_OK;
}

/* F1 and F4, or what follows 0F. */
static bool is_system(bool two, u8 byte)
{
    static const u8 known[] = {0x01, 0x08, 0x09, 0x20, 0x22, 0x30, 0x32, 0xa2};

    for (u32 i = 0; two && i < ARRAY_SIZE(known); i++) {
        if (byte == known[i]) {
            return true;
        }
    }
    return !two && (byte == 0xf1 || byte == 0xf4);
}

enum decode_status decode_system(const u8 *bytes, u32 count, u8 code_bytes, struct insn *out)
{
    struct cursor c = {bytes, MIN(count, DECODE_MAX_BYTES), 0, false};
    struct prefixes p;
    u8 byte = decode_prefixes(&c, code_bytes, &p), modrm = 0;
    bool two = byte == 0x0f;

    if (two) {
        byte = next(&c);
    }
    if (two && (byte == 0x01 || byte == 0x20 || byte == 0x22)) { /* ModRM is the last byte */
        modrm = next(&c);
    }
    if (c.short_of) {
        return count >= DECODE_MAX_BYTES ? DECODE_TOO_LONG : DECODE_SHORT;
    }
    *out = (struct insn){.length = (u8)c.at, .reg = (modrm & 7) | (p.rex & REX_B ? 8 : 0)};
    return is_system(two, byte) ? DECODE_OK : DECODE_UNKNOWN;
}

u64 decode_offset(const struct insn *i, const u64 gpr[GPR_COUNT], u64 rip)
{
    u64 offset = insn_address(i, gpr, rip);

    if (i->op >= INSN_BT && i->op <= INSN_BTC && i->form == INSN_MEM_REG) {
        s64 bit = (s64)sign_extend(gpr[i->reg], i->bytes);
        offset += (u64)(bit >> 3) & ~((u64)i->bytes - 1);
    }
    return low_bytes(offset, i->address_bytes);
}
