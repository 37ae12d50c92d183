/* SPDX-License-Identifier: MIT */
/* String I/O: INS and OUTS, with and without REP (SDM 2A "INS", "REP"). */
#include "vmm/machine/emulate.h"

#include "lib/hw/x86.h"
#include "vmm/machine/walk.h"

/* Elements that one exit settles at most; then the guest is entered again, and may take an
 * interrupt. */
#define MAX_ELEMENTS 256

static u64 size_mask(u64 address_bytes)
{
    return address_bytes >= 8 ? ~0ull : BIT(address_bytes * 8) - 1;
}

/* A register as an operation of that address size leaves it: 16 bits keep the rest, 32 bits clear
 * it. */
static u64 put(u64 reg, u64 value, u64 address_bytes)
{
    return address_bytes == 2 ? (reg & ~0xffffull) | (value & 0xffff)
                              : value & size_mask(address_bytes);
}

/* The CPU has checked the first element against its segment. More are done at once only where no
 * limit can come in between: in 64-bit code, and with flat segments. */
static bool flat(const struct vcpu_state *s)
{
    if (walk_in_long_mode(s)) {
        return true;
    }
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        bool expand_down = (s->seg[i].access & (BIT(3) | BIT(2))) == BIT(2);
        bool unusable = s->seg[i].access & SEG_AR_UNUSABLE;
        if (!unusable && i != SEG_CS && (s->seg[i].limit != 0xffffffff || expand_down)) {
            return false;
        }
    }
    return true;
}

enum emulate_result emulate_string_io(const struct board *b, struct vcpu_state *s,
                                      const struct vcpu_exit *x, struct fault *fault)
{
    u16 port = (u16)x->a;
    u8 bytes = (u8)(x->a >> 16);
    bool in = x->a & VX_IO_IN;
    bool rep = x->a & VX_IO_REP;
    u32 seg = in ? SEG_ES : SEG_DS;
    u64 *index = &s->gpr[in ? GPR_RDI : GPR_RSI];
    u64 mask = size_mask(x->d);
    u64 step = s->rflags & RFLAGS_DF ? 0 - (u64)bytes : bytes;
    u64 base = x->b - (*index & mask); /* of the segment, whichever it is */
    u64 left = rep ? s->gpr[GPR_RCX] & mask : 1;
    u64 limit = flat(s) ? MAX_ELEMENTS : 1;

    for (u64 done = 0; left && done < limit; done++) {
        gva_t at = GVA(base + (*index & mask));
        u32 value = 0;

        if (!walk_in_long_mode(s)) {
            at.v &= 0xffffffff;
        }
        if (in) { /* the target first: a value that was read from the port must not get lost */
            if (!emulate_probe(b, s, seg, at, bytes, PF_WRITE, fault)) {
                return EMULATE_FAULT;
            }
            value = bus_in(&b->bus, port, bytes);
        }
        if (!emulate_access(b, s, seg, at, &value, bytes, in ? PF_WRITE : 0, fault)) {
            return EMULATE_FAULT;
        }
        if (!in) {
            bus_out(&b->bus, port, bytes, value);
        }
        *index = put(*index, *index + step, x->d);
        if (rep) {
            s->gpr[GPR_RCX] = put(s->gpr[GPR_RCX], s->gpr[GPR_RCX] - 1, x->d);
        }
        left--;
    }
    return left ? EMULATE_AGAIN : EMULATE_DONE;
}
