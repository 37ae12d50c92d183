/* SPDX-License-Identifier: MIT */
/* Instructions that the VMM carries out for the CPU: access to guest-linear memory, and moves. */
#include "vmm/machine/emulate.h"

#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/machine/walk.h"

#define SEG_AR_BIG BIT(14)

gva_t emulate_linear(const struct vcpu_state *s, u32 seg, u64 offset)
{
    if (walk_in_long_mode(s)) {
        return GVA(offset + (seg == SEG_FS || seg == SEG_GS ? s->seg[seg].base : 0));
    }
    return GVA((offset + s->seg[seg].base) & 0xffffffff);
}

/* One piece of an access, within a page, that is not RAM. */
static void bus_piece(const struct board *b, gpa_t gpa, u8 *buffer, u32 n, bool write)
{
    u8 width = n == 8 || n == 4 || n == 2 ? (u8)n : 1; /* odd pieces go byte by byte */

    for (u32 i = 0; i < n; i += width) {
        u64 value = 0;
        if (write) {
            memcpy(&value, buffer + i, width);
            bus_write(&b->bus, GPA(gpa.v + i), width, value);
        } else {
            value = bus_read(&b->bus, GPA(gpa.v + i), width);
            memcpy(buffer + i, &value, width);
        }
    }
}

/* An access of n bytes, at most a page: one piece, or two when it crosses a page. */
struct pieces {
    gpa_t gpa[2];
    u32 bytes[2]; /* [1] may be 0 */
};

static bool translate(const struct board *b, const struct vcpu_state *s, u32 seg, gva_t va, u32 n,
                      u64 kind, struct pieces *out, struct fault *fault)
{
    out->bytes[0] = MIN(n, (u32)(PAGE_SIZE - (va.v & PAGE_MASK)));
    out->bytes[1] = n - out->bytes[0];
    for (u32 i = 0; i < 2 && out->bytes[i]; i++) {
        gva_t at = GVA(va.v + (i ? out->bytes[0] : 0));
        u64 error;

        if (!walk_in_long_mode(s)) {
            at.v &= 0xffffffff;
        }
        switch (walk(&b->ram, s, b->phys_bits, at, kind, &out->gpa[i], &error)) {
        case WALK_OK:
            break;
        case WALK_FAULT:
            *fault = (struct fault){VECTOR_PF, error, at.v};
            return false;
        case WALK_NON_CANONICAL:
            *fault = (struct fault){seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0, 0};
            return false;
        }
    }
    return true;
}

bool emulate_probe(const struct board *b, const struct vcpu_state *s, u32 seg, gva_t va, u32 n,
                   u64 kind, struct fault *fault)
{
    struct pieces unused;

    return translate(b, s, seg, va, n, kind, &unused, fault);
}

bool emulate_access(const struct board *b, const struct vcpu_state *s, u32 seg, gva_t va,
                    void *buffer, u32 n, u64 kind, struct fault *fault)
{
    struct pieces pieces;
    u8 *p = buffer;

    if (!translate(b, s, seg, va, n, kind, &pieces, fault)) {
        return false;
    }
    for (u32 i = 0; i < 2; p += pieces.bytes[i], i++) {
        bool ram = kind & PF_WRITE ? ram_write(&b->ram, pieces.gpa[i], p, pieces.bytes[i])
                                   : ram_read(&b->ram, p, pieces.gpa[i], pieces.bytes[i]);
        if (!ram) {
            bus_piece(b, pieces.gpa[i], p, pieces.bytes[i], kind & PF_WRITE);
        }
    }
    return true;
}

void emulate_walk_fault(const struct vcpu_state *s, gva_t va, struct fault *fault)
{
    gva_t rip = emulate_linear(s, SEG_CS, s->rip);
    u64 error = PF_PRESENT | PF_RESERVED | (walk_cpl(s) == 3 ? PF_USER : 0);

    /* Deviation: whether the access was a write is not known here; a fetch shows by its address. */
    if (va.v - rip.v < DECODE_MAX_BYTES && (s->efer & EFER_NXE)) {
        error |= PF_FETCH;
    }
    *fault = (struct fault){VECTOR_PF, error, va.v};
}

static u8 code_bytes(const struct vcpu_state *s)
{
    if (walk_in_long_mode(s)) {
        return 8;
    }
    return (s->seg[SEG_CS].access & SEG_AR_BIG) ? 4 : 2;
}

/* Fetches and decodes; the second page is touched only when the instruction reaches into it. */
static enum decode_status fetch(const struct board *b, const struct vcpu_state *s, u8 *bytes,
                                u32 *count, struct insn *insn, struct fault *fault, bool *faulted)
{
    gva_t at = emulate_linear(s, SEG_CS, s->rip);
    u32 first = MIN(DECODE_MAX_BYTES, (u32)(PAGE_SIZE - (at.v & PAGE_MASK)));

    *count = 0;
    *faulted = !emulate_access(b, s, SEG_CS, at, bytes, first, PF_FETCH, fault);
    if (*faulted) {
        return DECODE_SHORT;
    }
    *count = first;
    enum decode_status status = decode(bytes, first, code_bytes(s), insn);
    if (status != DECODE_SHORT) {
        return status;
    }
    at.v += first;
    *faulted =
        !emulate_access(b, s, SEG_CS, at, bytes + first, DECODE_MAX_BYTES - first, PF_FETCH, fault);
    if (*faulted) {
        return DECODE_SHORT;
    }
    *count = DECODE_MAX_BYTES;
    return decode(bytes, DECODE_MAX_BYTES, code_bytes(s), insn);
}

enum emulate_result emulate_mmio(const struct board *b, struct vcpu_state *s, struct insn *insn,
                                 u8 bytes[DECODE_MAX_BYTES], u32 *count, struct fault *fault)
{
    bool faulted;
    enum decode_status status = fetch(b, s, bytes, count, insn, fault, &faulted);

    if (faulted) {
        return EMULATE_FAULT; /* the code changed, or its page went, since the CPU fetched it */
    }
    if (status != DECODE_OK) {
        return EMULATE_UNKNOWN;
    }

    bool store = insn->kind == INSN_STORE || insn->kind == INSN_STORE_IMM;
    u64 value = store ? decode_source(insn, s->gpr) : 0;
    gva_t at = emulate_linear(s, insn->seg, decode_offset(insn, s->gpr, s->rip));
    if (!emulate_access(b, s, insn->seg, at, &value, insn->memory_bytes, store ? PF_WRITE : 0,
                        fault)) {
        return EMULATE_FAULT;
    }
    if (!store) {
        decode_result(insn, s->gpr, value);
    }
    return EMULATE_DONE;
}
