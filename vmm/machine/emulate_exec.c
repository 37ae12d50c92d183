/* SPDX-License-Identifier: MIT */
/* Registers, arithmetic and flags (SDM 1 "EFLAGS Register", SDM 2 on each instruction). */
#include "vmm/machine/emulate_exec.h"

#include "lib/hw/x86.h"

void exec_put(u64 *reg, u64 value, u32 bytes)
{
    u64 mask = bytes >= 4 ? ~0ull : BIT(bytes * 8) - 1;

    *reg = (*reg & ~mask) | (low_bytes(value, bytes) & mask);
}

static u64 get_reg(const struct insn *i, const u64 gpr[GPR_COUNT])
{
    return low_bytes(gpr[i->reg] >> (i->high_byte ? 8 : 0), i->bytes);
}

static void put_reg(const struct insn *i, u64 gpr[GPR_COUNT], u64 value)
{
    if (i->high_byte) {
        gpr[i->reg] = (gpr[i->reg] & ~0xff00ull) | (value & 0xff) << 8;
    } else {
        exec_put(&gpr[i->reg], value, i->bytes);
    }
}

/* a op b, and the six flags. carries has a bit set where the addition or subtraction carried out of
 * that bit; overflow has its sign in the top bit. INC and DEC keep CF. */
static u64 alu(u32 op, u64 a, u64 b, u32 bytes, u64 *rflags)
{
    u64 carry = (op == INSN_ADC || op == INSN_SBB) && (*rflags & RFLAGS_CF);
    u64 top = BIT(8 * bytes - 1);
    u64 result, carries = 0, overflow = 0, flags = 0;

    switch (op) {
    case INSN_ADD:
    case INSN_ADC:
    case INSN_INC:
        result = a + b + carry;
        carries = (a & b) | ((a | b) & ~result);
        overflow = (a ^ result) & (b ^ result);
        break;
    case INSN_AND:
    case INSN_TEST:
        result = a & b;
        break;
    case INSN_OR:
        result = a | b;
        break;
    case INSN_XOR:
        result = a ^ b;
        break;
    default: /* SUB, SBB, CMP, DEC */
        result = a - b - carry;
        carries = (~a & b) | ((~a | b) & result);
        overflow = (a ^ b) & (a ^ result);
        break;
    }
    result = low_bytes(result, bytes);
    flags |= (carries & top) ? RFLAGS_CF : 0;
    flags |= (carries & BIT(3)) ? RFLAGS_AF : 0;
    flags |= (overflow & top) ? RFLAGS_OF : 0;
    flags |= (result & top) ? RFLAGS_SF : 0;
    flags |= result ? 0 : RFLAGS_ZF;
    flags |= __builtin_parityll(result & 0xff) ? 0 : RFLAGS_PF;
    u64 changed = RFLAGS_ARITH & ~(op == INSN_INC || op == INSN_DEC ? RFLAGS_CF : 0);
    *rflags = (*rflags & ~changed) | (flags & changed);
    return result;
}

void exec_compare(u64 a, u64 b, u32 bytes, u64 *rflags)
{
    (void)alu(INSN_CMP, a, b, bytes, rflags);
}

/* BT and its kin: the bit's number within the operand. */
static u64 bit_test(u32 op, u64 value, u64 number, u64 *rflags)
{
    u64 bit = BIT(number);

    *rflags = (*rflags & ~RFLAGS_CF) | ((value & bit) ? RFLAGS_CF : 0);
    switch (op) {
    case INSN_BTS:
        return value | bit;
    case INSN_BTR:
        return value & ~bit;
    case INSN_BTC:
        return value ^ bit;
    default:
        return value;
    }
}

static u64 swapped(u64 value, u32 bytes)
{
    return __builtin_bswap64(value) >> (64 - 8 * bytes);
}

static void compare_exchange(const struct insn *i, u64 gpr[GPR_COUNT], u64 *rflags, u64 *memory)
{
    u64 old = low_bytes(*memory, i->bytes), expected = low_bytes(gpr[GPR_RAX], i->bytes);

    exec_compare(expected, old, i->bytes, rflags);
    if (expected == old) {
        *memory = get_reg(i, gpr);
    } else { /* the memory operand is written all the same, with what it held */
        exec_put(&gpr[GPR_RAX], old, i->bytes);
    }
}

void exec_insn(const struct insn *i, u64 gpr[GPR_COUNT], u64 *rflags, u64 *memory)
{
    bool load = i->form == INSN_REG_MEM;
    u64 other = i->form == INSN_MEM_IMM ? low_bytes(i->immediate, i->bytes) : get_reg(i, gpr);
    u64 old = low_bytes(*memory, i->memory_bytes);

    switch (i->op) {
    case INSN_MOV:
        if (load) {
            put_reg(i, gpr, i->sign_extend ? sign_extend(old, i->memory_bytes) : old);
        } else {
            *memory = other;
        }
        break;
    case INSN_MOVBE:
        if (load) {
            put_reg(i, gpr, swapped(old, i->bytes));
        } else {
            *memory = swapped(other, i->bytes);
        }
        break;
    case INSN_NOT:
        *memory = ~old;
        break;
    case INSN_NEG:
        *memory = alu(INSN_SUB, 0, old, i->bytes, rflags);
        break;
    case INSN_INC:
    case INSN_DEC:
        *memory = alu(i->op, old, 1, i->bytes, rflags);
        break;
    case INSN_XCHG:
        put_reg(i, gpr, old);
        *memory = other;
        break;
    case INSN_XADD:
        *memory = alu(INSN_ADD, old, other, i->bytes, rflags);
        put_reg(i, gpr, old);
        break;
    case INSN_CMPXCHG:
        compare_exchange(i, gpr, rflags, memory);
        break;
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        *memory = bit_test(i->op, old, other & (8u * i->bytes - 1), rflags);
        break;
    case INSN_CMP:
    case INSN_TEST:
        (void)alu(i->op, load ? other : old, load ? old : other, i->bytes, rflags);
        break;
    default: /* ADD to XOR */
        if (load) {
            put_reg(i, gpr, alu(i->op, other, old, i->bytes, rflags));
        } else {
            *memory = alu(i->op, old, other, i->bytes, rflags);
        }
        break;
    }
}
