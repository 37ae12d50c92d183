/* SPDX-License-Identifier: MIT */
/* String instructions on memory and ports, with and without REP (SDM 2 "MOVS", "INS", "REP"). */
#include "lib/hw/x86.h"
#include "vmm/machine/emulate_exec.h"
#include "vmm/machine/emulate_memory.h"

/* Elements that one exit settles at most; then the guest is entered again, and may take an
 * interrupt. */
#define MAX_ELEMENTS 256

/* Which of its two memory operands an instruction has. */
#define AT_RSI BIT(0)
#define AT_RDI BIT(1)

static u8 operands_of(u32 op)
{
    switch (op) {
    case INSN_MOVS:
    case INSN_CMPS:
        return AT_RSI | AT_RDI;
    case INSN_LODS:
    case INSN_OUTS:
        return AT_RSI;
    default: /* STOS, SCAS, INS */
        return AT_RDI;
    }
}

/* One element. Both operands are found first: what a device or a port gave must not get lost. */
static bool element(const struct board *b, struct vcpu_state *s, const struct insn *i, u16 port,
                    struct fault *fault)
{
    u8 has = operands_of(i->op);
    u64 *rsi = &s->gpr[GPR_RSI], *rdi = &s->gpr[GPR_RDI], *rax = &s->gpr[GPR_RAX];
    u64 step = s->rflags & RFLAGS_DF ? 0 - (u64)i->bytes : i->bytes;
    u64 value = low_bytes(*rax, i->bytes);
    struct operand from, to;

    if (((has & AT_RSI) && !operand_find(b, s, i->seg, low_bytes(*rsi, i->address_bytes), i->bytes,
                                         0, &from, fault)) ||
        ((has & AT_RDI) && !operand_find(b, s, SEG_ES, low_bytes(*rdi, i->address_bytes), i->bytes,
                                         i->access & INSN_WRITES ? PF_WRITE : 0, &to, fault))) {
        return false;
    }
    if (has & AT_RSI) {
        value = operand_read(b, &from);
    } else if (i->op == INSN_INS) {
        value = bus_in(&b->bus, port, i->bytes);
    }
    switch (i->op) {
    case INSN_CMPS:
    case INSN_SCAS:
        exec_compare(value, operand_read(b, &to), i->bytes, &s->rflags);
        break;
    case INSN_LODS:
        exec_put(rax, value, i->bytes);
        break;
    case INSN_OUTS:
        bus_out(&b->bus, port, i->bytes, (u32)value);
        break;
    default: /* MOVS, STOS, INS */
        operand_write(b, &to, value);
        break;
    }
    if (has & AT_RSI) {
        exec_put(rsi, *rsi + step, i->address_bytes);
    }
    if (has & AT_RDI) {
        exec_put(rdi, *rdi + step, i->address_bytes);
    }
    return true;
}

enum emulate_result emulate_string(const struct board *b, struct vcpu_state *s,
                                   const struct insn *i, u16 port, struct fault *fault)
{
    u64 *rcx = &s->gpr[GPR_RCX];
    u64 left = i->rep ? low_bytes(*rcx, i->address_bytes) : 1;
    u64 limit = s->rflags & RFLAGS_TF ? 1 : MAX_ELEMENTS; /* single-step: a trap after each */
    bool compares = i->op == INSN_CMPS || i->op == INSN_SCAS;

    for (u64 done = 0; left && done < limit; done++, left--) {
        if (!element(b, s, i, port, fault)) {
            return EMULATE_FAULT;
        }
        if (i->rep) {
            exec_put(rcx, *rcx - 1, i->address_bytes);
            if (compares && !(s->rflags & RFLAGS_ZF) == (i->rep == 0xf3)) {
                return EMULATE_DONE;
            }
        }
    }
    return left ? EMULATE_AGAIN : EMULATE_DONE;
}

enum emulate_result emulate_string_io(const struct board *b, struct vcpu_state *s,
                                      const struct vcpu_exit *x, struct fault *fault)
{
    struct fetched f;
    const struct insn *i = &f.insn;
    enum emulate_result r = emulate_fetch(b, s, &f, fault);

    if (r == EMULATE_FAULT) {
        return r;
    }
    /* Whether the guest may use the port was checked for what the exit describes. Code that was
     * changed since then is run again. */
    if (r != EMULATE_DONE || i->op != (x->a & VX_IO_IN ? INSN_INS : INSN_OUTS) ||
        i->bytes != (u8)(x->a >> 16) || !i->rep != !(x->a & VX_IO_REP) ||
        (x->d && i->address_bytes != x->d)) {
        return EMULATE_AGAIN;
    }
    return emulate_string(b, s, i, (u16)x->a, fault);
}
