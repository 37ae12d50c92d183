/* SPDX-License-Identifier: MIT */
/* Segments, pages, and the bus beyond RAM. */
#include "vmm/machine/emulate_memory.h"

#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/machine/walk.h"

/* Access rights of a segment (SDM 3A "Segment Descriptors"). */
#define SEG_AR_CODE   BIT(3)
#define SEG_AR_DOWN   BIT(2) /* of data: expands down */
#define SEG_AR_ACCESS BIT(1) /* data can be written, code can be read */
#define SEG_AR_BIG    BIT(14)

gva_t operand_linear(const struct vcpu_state *s, u32 seg, u64 offset)
{
    if (walk_in_long_mode(s)) {
        return GVA(offset + (seg == SEG_FS || seg == SEG_GS ? s->seg[seg].base : 0));
    }
    return GVA((offset + s->seg[seg].base) & 0xffffffff);
}

/* SDM 3A "Limit Checking", "Type Checking": may n bytes at offset be accessed? In 64-bit code the
 * walk finds what is not canonical. */
static bool segment_allows(const struct vcpu_state *s, u32 index, u64 offset, u32 n, bool write)
{
    const struct vcpu_seg *seg = &s->seg[index];
    bool code = seg->access & SEG_AR_CODE;
    bool protected_mode = (s->cr0 & CR0_PE) && !(s->rflags & RFLAGS_VM);
    u64 last = offset + n - 1;

    if (walk_in_long_mode(s)) {
        return true;
    }
    if (seg->access & SEG_AR_UNUSABLE) {
        return false;
    }
    bool access = seg->access & SEG_AR_ACCESS;
    if (protected_mode && (write ? code || !access : code && !access)) {
        return false;
    }
    if (!code && (seg->access & SEG_AR_DOWN)) {
        return offset > seg->limit && last <= (seg->access & SEG_AR_BIG ? 0xffffffff : 0xffff);
    }
    return last <= seg->limit;
}

bool operand_find(const struct board *b, const struct vcpu_state *s, u32 seg, u64 offset, u32 bytes,
                  u64 kind, struct operand *o, struct fault *fault)
{
    const struct fault refused = {seg == SEG_SS ? VECTOR_SS : VECTOR_GP, VCPU_INJECT_ERROR_CODE, 0,
                                  0};
    gva_t va = operand_linear(s, seg, offset);

    if (!segment_allows(s, seg, offset, bytes, kind & PF_WRITE)) {
        *fault = refused;
        return false;
    }
    o->bytes[0] = MIN(bytes, (u32)(PAGE_SIZE - (va.v & PAGE_MASK)));
    o->bytes[1] = bytes - o->bytes[0];
    for (u32 i = 0; i < 2 && o->bytes[i]; i++) {
        gva_t at = GVA(va.v + (i ? o->bytes[0] : 0));
        u64 error;

        if (!walk_in_long_mode(s)) {
            at.v &= 0xffffffff;
        }
        switch (walk(&b->ram, s, b->phys_bits, at, kind, &o->gpa[i], &error, NULL)) {
        case WALK_OK:
            break;
        case WALK_FAULT:
            *fault = emulate_page_fault(error, at);
            return false;
        case WALK_NON_CANONICAL:
            *fault = refused;
            return false;
        }
    }
    return true;
}

/* Bytes of the next bus access: as many as are aligned, and not more than n. */
static u32 bus_width(gpa_t at, u32 n)
{
    u32 width = 8;

    while (width > n || (at.v & (width - 1))) {
        width /= 2;
    }
    return width;
}

u64 operand_read(const struct board *b, const struct operand *o)
{
    u64 value = 0;
    u8 *p = (u8 *)&value;

    for (u32 i = 0; i < 2; p += o->bytes[i++]) {
        if (ram_read(&b->ram, p, o->gpa[i], o->bytes[i])) {
            continue;
        }
        for (u32 at = 0, width; at < o->bytes[i]; at += width) {
            gpa_t gpa = GPA(o->gpa[i].v + at);
            width = bus_width(gpa, o->bytes[i] - at);
            u64 piece = bus_read(&b->bus, gpa, (u8)width);
            memcpy(p + at, &piece, width);
        }
    }
    return value;
}

void operand_write(const struct board *b, const struct operand *o, u64 value)
{
    const u8 *p = (const u8 *)&value;

    for (u32 i = 0; i < 2; p += o->bytes[i++]) {
        if (ram_write(&b->ram, o->gpa[i], p, o->bytes[i])) {
            continue;
        }
        for (u32 at = 0, width; at < o->bytes[i]; at += width) {
            gpa_t gpa = GPA(o->gpa[i].v + at);
            u64 piece = 0;
            width = bus_width(gpa, o->bytes[i] - at);
            memcpy(&piece, p + at, width);
            bus_write(&b->bus, gpa, (u8)width, piece);
        }
    }
}
