/* SPDX-License-Identifier: MIT */
/* Decodes MOV, MOVZX and MOVSX (SDM 2A "Instruction Format", appendix "Opcode Map"). */
#include "vmm/machine/decode.h"

/* What an opcode says about its operands. */
#define OP_KNOWN   BIT(0)
#define OP_MODRM   BIT(1)
#define OP_BYTE    BIT(2) /* memory operand of 1 byte */
#define OP_WORD    BIT(3) /* memory operand of 2 bytes */
#define OP_OFFSET  BIT(4) /* the address follows the opcode; register is AX */
#define OP_IMM     BIT(5) /* an immediate of the operand's size, at most 4 bytes, ends it */
#define OP_SIZED   BIT(6) /* the register has the operand's size, whatever the memory has */
#define OP_GROUP11 BIT(7) /* ModRM.reg must be 0 */

struct opcode {
    u8 kind;
    u8 flags;
};

static const struct opcode one_byte[256] = {
    [0x88] = {INSN_STORE,     OP_KNOWN | OP_MODRM | OP_BYTE                      },
    [0x89] = {INSN_STORE,     OP_KNOWN | OP_MODRM                                },
    [0x8a] = {INSN_LOAD,      OP_KNOWN | OP_MODRM | OP_BYTE                      },
    [0x8b] = {INSN_LOAD,      OP_KNOWN | OP_MODRM                                },
    [0xa0] = {INSN_LOAD,      OP_KNOWN | OP_OFFSET | OP_BYTE                     },
    [0xa1] = {INSN_LOAD,      OP_KNOWN | OP_OFFSET                               },
    [0xa2] = {INSN_STORE,     OP_KNOWN | OP_OFFSET | OP_BYTE                     },
    [0xa3] = {INSN_STORE,     OP_KNOWN | OP_OFFSET                               },
    [0xc6] = {INSN_STORE_IMM, OP_KNOWN | OP_MODRM | OP_BYTE | OP_IMM | OP_GROUP11},
    [0xc7] = {INSN_STORE_IMM, OP_KNOWN | OP_MODRM | OP_IMM | OP_GROUP11          },
};

static const struct opcode two_byte[256] = {
    [0xb6] = {INSN_LOAD_ZERO, OP_KNOWN | OP_MODRM | OP_BYTE | OP_SIZED},
    [0xb7] = {INSN_LOAD_ZERO, OP_KNOWN | OP_MODRM | OP_WORD | OP_SIZED},
    [0xbe] = {INSN_LOAD_SIGN, OP_KNOWN | OP_MODRM | OP_BYTE | OP_SIZED},
    [0xbf] = {INSN_LOAD_SIGN, OP_KNOWN | OP_MODRM | OP_WORD | OP_SIZED},
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
    return (u64)((s64)(value << (64 - 8 * n)) >> (64 - 8 * n));
}

struct prefixes {
    bool operand, address, lock;
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
            break;
        default:
            if (code_bytes == 8 && (b & 0xf0) == 0x40 && !c->short_of) {
                rex = b;
                break;
            }
            return b;
        }
        p->rex = rex; /* counts only right before the opcode */
        if (c->short_of) {
            return 0;
        }
    }
}

/* ModRM with 16-bit addresses: base and index by r/m. */
static void decode_modrm16(struct cursor *c, u8 mod, u8 rm, struct insn *i)
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

static void decode_modrm32(struct cursor *c, u8 mod, u8 rm, u8 rex, bool code64, struct insn *i)
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

static bool decode_modrm(struct cursor *c, const struct prefixes *p, u8 code_bytes, u8 flags,
                         struct insn *i)
{
    u8 modrm = next(c);
    u8 mod = modrm >> 6;
    u8 reg = (modrm >> 3) & 7;
    u8 rm = modrm & 7;

    if (mod == 3 || ((flags & OP_GROUP11) && reg)) {
        return false; /* no memory operand, or not a MOV */
    }
    i->reg = (u8)(reg | ((p->rex & REX_R) ? 8 : 0));
    if (i->address_bytes == 2) {
        decode_modrm16(c, mod, rm, i);
    } else {
        decode_modrm32(c, mod, rm, p->rex, code_bytes == 8, i);
    }
    return true;
}

enum decode_status decode(const u8 *bytes, u32 count, u8 code_bytes, struct insn *out)
{
    struct cursor c = {bytes, MIN(count, DECODE_MAX_BYTES), 0, false};
    struct prefixes p;
    u8 op = decode_prefixes(&c, code_bytes, &p);
    const struct opcode *o = &one_byte[op];

    if (op == 0x0f) {
        o = &two_byte[next(&c)];
    }
    if (c.short_of) {
        goto out;
    }
    if (!(o->flags & OP_KNOWN) || p.lock) {
        return DECODE_UNKNOWN;
    }

    u8 operand_bytes = p.operand == (code_bytes == 2) ? 4 : 2;
    if (p.rex & REX_W) {
        operand_bytes = 8;
    }
    *out = (struct insn){
        .kind = o->kind,
        .memory_bytes = (o->flags & OP_BYTE)   ? 1
                        : (o->flags & OP_WORD) ? 2
                                               : operand_bytes,
        .address_bytes = code_bytes == 8 ? (p.address ? 4 : 8)
                         : p.address     ? 6 - code_bytes
                                         : code_bytes,
        .reg = GPR_RAX,
        .base = INSN_NO_GPR,
        .index = INSN_NO_GPR,
    };
    out->reg_bytes = (o->flags & OP_SIZED) ? operand_bytes : out->memory_bytes;
    if (o->flags & OP_MODRM) {
        if (!decode_modrm(&c, &p, code_bytes, o->flags, out)) {
            return DECODE_UNKNOWN;
        }
    } else {
        out->displacement = next_signed(&c, out->address_bytes);
    }
    if (o->flags & OP_IMM) {
        out->immediate = next_signed(&c, MIN(out->memory_bytes, 4));
    }
    if (c.short_of) {
        goto out;
    }
    if (out->reg_bytes == 1 && !p.rex && out->reg >= 4) {
        out->high_byte = true;
        out->reg -= 4;
    }
    bool stack = out->base == GPR_RSP || out->base == GPR_RBP;
    out->seg = p.seg != SEG_COUNT ? p.seg : stack ? SEG_SS : SEG_DS;
    out->length = (u8)c.at;
    return DECODE_OK;

out:
    return count >= DECODE_MAX_BYTES ? DECODE_UNKNOWN : DECODE_SHORT;
}

static u64 low_bytes(u64 value, u32 bytes)
{
    return bytes == 8 ? value : value & (BIT(bytes * 8) - 1);
}

u64 decode_offset(const struct insn *i, const u64 gpr[GPR_COUNT], u64 rip)
{
    u64 offset = i->displacement;

    if (i->rip_relative) {
        offset += rip + i->length;
    }
    if (i->base != INSN_NO_GPR) {
        offset += gpr[i->base];
    }
    if (i->index != INSN_NO_GPR) {
        offset += gpr[i->index] << i->scale;
    }
    return low_bytes(offset, i->address_bytes);
}

u64 decode_source(const struct insn *i, const u64 gpr[GPR_COUNT])
{
    if (i->kind == INSN_STORE_IMM) {
        return low_bytes(i->immediate, i->memory_bytes);
    }
    return low_bytes(gpr[i->reg] >> (i->high_byte ? 8 : 0), i->memory_bytes);
}

void decode_result(const struct insn *i, u64 gpr[GPR_COUNT], u64 memory)
{
    u64 value = low_bytes(memory, i->memory_bytes);

    if (i->kind == INSN_LOAD_SIGN) {
        u32 unused = 64 - 8u * i->memory_bytes;
        value = low_bytes((u64)((s64)(value << unused) >> unused), i->reg_bytes);
    }
    if (i->reg_bytes >= 4) {
        gpr[i->reg] = value;
        return;
    }
    u32 shift = i->high_byte ? 8 : 0;
    u64 mask = (BIT(i->reg_bytes * 8) - 1) << shift;
    gpr[i->reg] = (gpr[i->reg] & ~mask) | (value << shift);
}
