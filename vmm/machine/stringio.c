/* SPDX-License-Identifier: MIT */
/* String I/O: INS and OUTS, with and without REP (SDM 2A "INS", "REP"). */
#include "vmm/machine/emulate.h"

#include "lib/hw/x86.h"
#include "vmm/machine/walk.h"

#define SEG_AR_BIG BIT(14)

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

/* The segment that OUTS reads from, by its prefixes. An instruction that is not an OUTS any more
 * was changed by another vCPU; what it reads then is its own affair. */
static u32 outs_segment(const struct board *b, const struct vcpu_state *s)
{
    gva_t at = emulate_linear(s, SEG_CS, s->rip);
    u32 seg = SEG_DS;
    struct fault unused;
    u8 byte;

    for (u32 i = 0; i < DECODE_MAX_BYTES; i++, at.v++) {
        if (!emulate_access(b, s, SEG_CS, at, &byte, 1, PF_FETCH, &unused) || byte == 0x6e ||
            byte == 0x6f) {
            break;
        }
        if (byte == 0x64 || byte == 0x65) {
            seg = byte == 0x64 ? SEG_FS : SEG_GS;
        } else if ((byte & 0xe7) == 0x26 && !walk_in_long_mode(s)) {
            seg = SEG_ES + ((byte >> 3) & 3);
        }
    }
    return seg;
}

/* SDM 3A "Limit Checking", "Type Checking": may n bytes at offset be accessed? The exit comes
 * before the CPU's own checks. In 64-bit code the walk finds what is not canonical. */
static bool segment_allows(const struct vcpu_state *s, u32 index, u64 offset, u32 n, bool write)
{
    const struct vcpu_seg *seg = &s->seg[index];
    bool code = seg->access & BIT(3);
    bool down = (seg->access & (BIT(3) | BIT(2))) == BIT(2);
    bool protected_mode = (s->cr0 & CR0_PE) && !(s->rflags & RFLAGS_VM);
    u64 last = offset + n - 1;

    if (walk_in_long_mode(s)) {
        return true;
    }
    if (seg->access & SEG_AR_UNUSABLE) {
        return false;
    }
    /* bit 1: a data segment can be written, a code segment can be read */
    if (protected_mode &&
        (write ? code || !(seg->access & BIT(1)) : code && !(seg->access & BIT(1)))) {
        return false;
    }
    if (down) {
        return offset > seg->limit && last <= (seg->access & SEG_AR_BIG ? 0xffffffff : 0xffff);
    }
    return last <= seg->limit;
}

/* One element at offset, through the segment's and the page tables' checks. */
static bool transfer(const struct board *b, const struct vcpu_state *s, const struct vcpu_exit *x,
                     u32 seg, u64 offset, struct fault *fault)
{
    u16 port = (u16)x->a;
    u8 bytes = (u8)(x->a >> 16);
    bool in = x->a & VX_IO_IN;
    u64 kind = in ? PF_WRITE : 0;
    gva_t at = emulate_linear(s, seg, offset);
    u32 value = 0;

    if (!segment_allows(s, seg, offset, bytes, in)) {
        *fault = (struct fault){seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0, 0};
        return false;
    }
    if (in) { /* the target first: a value that was read from the port must not get lost */
        if (!emulate_probe(b, s, seg, at, bytes, kind, fault)) {
            return false;
        }
        value = bus_in(&b->bus, port, bytes);
    }
    if (!emulate_access(b, s, seg, at, &value, bytes, kind, fault)) {
        return false;
    }
    if (!in) {
        bus_out(&b->bus, port, bytes, value);
    }
    return true;
}

enum emulate_result emulate_string_io(const struct board *b, struct vcpu_state *s,
                                      const struct vcpu_exit *x, struct fault *fault)
{
    u8 bytes = (u8)(x->a >> 16);
    bool in = x->a & VX_IO_IN;
    bool rep = x->a & VX_IO_REP;
    u32 seg = in ? SEG_ES : outs_segment(b, s);
    u64 *index = &s->gpr[in ? GPR_RDI : GPR_RSI];
    u64 mask = size_mask(x->d);
    u64 step = s->rflags & RFLAGS_DF ? 0 - (u64)bytes : bytes;
    u64 left = rep ? s->gpr[GPR_RCX] & mask : 1;
    u64 limit = s->rflags & RFLAGS_TF ? 1 : MAX_ELEMENTS; /* single-step: a trap after each */

    for (u64 done = 0; left && done < limit; done++, left--) {
        if (!transfer(b, s, x, seg, *index & mask, fault)) {
            return EMULATE_FAULT;
        }
        *index = put(*index, *index + step, x->d);
        if (rep) {
            s->gpr[GPR_RCX] = put(s->gpr[GPR_RCX], s->gpr[GPR_RCX] - 1, x->d);
        }
    }
    return left ? EMULATE_AGAIN : EMULATE_DONE;
}
