/* SPDX-License-Identifier: MIT */
/*
 * Guest-linear to guest-physical, as the CPU does it.
 * Deviation: the four page-directory-pointer entries of PAE paging are read at every walk, where a
 * CPU keeps copies from the last load of CR3. Protection keys are not offered to guests.
 */
#include "vmm/machine/walk.h"

#include "lib/hw/x86.h"

#define SEG_AR_LONG  BIT(13)
#define SEG_AR_DPL   FIELD(6, 5)

#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_NX       BIT(63)

u32 walk_cpl(const struct vcpu_state *s)
{
    return (u32)((s->seg[SEG_SS].access & SEG_AR_DPL) >> 5);
}

bool walk_in_long_mode(const struct vcpu_state *s)
{
    return (s->efer & EFER_LMA) && (s->seg[SEG_CS].access & SEG_AR_LONG);
}

/* A format of tables: one of the four of the architecture. */
struct format {
    u32 levels, entry_bytes, index_bits;
    u32 large_levels; /* mask of levels at which bit 7 makes a leaf */
};

static struct format format_of(const struct vcpu_state *s)
{
    if (s->efer & EFER_LMA) {
        return (struct format){(s->cr4 & CR4_LA57) ? 5 : 4, 8, 9, BIT(2) | BIT(3)};
    }
    if (s->cr4 & CR4_PAE) {
        return (struct format){3, 8, 9, BIT(2)};
    }
    return (struct format){2, 4, 10, (s->cr4 & CR4_PSE) ? BIT(2) : 0};
}

/* What lies outside RAM reads as all-ones, as on a bus where nobody answers. */
static u64 read_entry(const struct ram *ram, gpa_t at, u32 bytes)
{
    u64 entry = 0;

    if (!ram_read(ram, &entry, at, bytes)) {
        entry = bytes == 4 ? 0xffffffff : ~0ull;
    }
    return entry;
}

/* Bits that must be 0 in a present entry. */
static u64 reserved_bits(const struct format *f, const struct vcpu_state *s, u32 level, bool leaf,
                         u32 phys_bits)
{
    if (f->entry_bytes == 4) { /* PSE-36: bits 20:13 are address bits 39:32, bit 21 is reserved */
        u32 high = phys_bits > 40 ? 8 : phys_bits > 32 ? phys_bits - 32 : 0;
        return level == 2 && leaf ? FIELD(21, 13) & ~(FIELD(20, 13) & (BIT(13 + high) - 1)) : 0;
    }
    u64 bits = FIELD(51, 0) & ~(BIT(phys_bits) - 1);
    if (f->levels == 3) {
        /* not "accessed", which a CPU with nested paging may set in a pointer */
        bits |= level == 3 ? FIELD(63, 52) | FIELD(8, 6) | FIELD(2, 1) : FIELD(62, 52);
    }
    if (!(s->efer & EFER_NXE)) {
        bits |= PTE_NX;
    }
    if (level >= 4) {
        bits |= PTE_LARGE;
    }
    if (leaf && level > 1) {
        bits |= level == 2 ? FIELD(20, 13) : FIELD(29, 13);
    }
    return bits;
}

static u64 leaf_address(const struct format *f, u64 entry, u32 level, u64 va)
{
    u64 mask = BIT(PAGE_SHIFT + f->index_bits * (level - 1)) - 1;

    if (f->entry_bytes == 4) {
        u64 high = level == 2 ? (entry & FIELD(20, 13)) << (32 - 13) : 0;
        return (entry & 0xffffffff & ~mask) | high | (va & mask);
    }
    return (entry & FIELD(51, 12) & ~mask) | (va & mask);
}

/* May the access be made, when the tables in all grant what rights says (PTE_WRITE, PTE_USER,
 * PTE_NX)? */
static bool allowed(const struct vcpu_state *s, u64 rights, u64 kind, bool user)
{
    if (user && !(rights & PTE_USER)) {
        return false;
    }
    if (kind & PF_FETCH) {
        bool smep = !user && (rights & PTE_USER) && (s->cr4 & CR4_SMEP);
        return !smep && !((rights & PTE_NX) && (s->efer & EFER_NXE));
    }
    if (!user && (rights & PTE_USER) && (s->cr4 & CR4_SMAP) && !(s->rflags & RFLAGS_AC)) {
        return false;
    }
    return !(kind & PF_WRITE) || (rights & PTE_WRITE) || (!user && !(s->cr0 & CR0_WP));
}

/* Of a walk on the way; WALK_RETRY: another vCPU changed an entry before its flags were set. */
#define WALK_RETRY   ((enum walk_status)(WALK_NON_CANONICAL + 1))
#define MAX_ATTEMPTS 64 /* a guest that never stops changing its tables loses some flags */

/* Sets the flags of an access, as a CPU does: each in the entry that was used, or not at all. Page-
 * directory pointers have none. */
static bool set_flags(const struct ram *ram, const struct format *f, struct walk_path *p, u64 kind)
{
    u32 bytes = f->entry_bytes;

    for (u32 i = f->levels == 3; i < p->count; i++) {
        bool leaf = i == p->count - 1;
        u64 flags = PTE_ACCESSED | (leaf && (kind & PF_WRITE) ? PTE_DIRTY : 0);

        if (flags & ~p->step[i].entry) {
            ram_or(ram, p->step[i].at, p->step[i].entry, flags, bytes);
            p->step[i].entry |= flags;
            if (read_entry(ram, p->step[i].at, bytes) != p->step[i].entry) {
                return false;
            }
        }
    }
    return true;
}

static enum walk_status walk_once(const struct ram *ram, const struct vcpu_state *s, u32 phys_bits,
                                  gva_t va, u64 kind, gpa_t *gpa, u64 *error,
                                  struct walk_path *path)
{
    const struct format f = format_of(s);
    bool user = walk_cpl(s) == 3;
    u64 code = (kind & PF_WRITE) | (user ? PF_USER : 0);
    u64 table = f.levels == 3 ? s->cr3 & FIELD(31, 5) : s->cr3 & FIELD(51, 12);
    u64 rights = PTE_WRITE | PTE_USER;

    if ((kind & PF_FETCH) &&
        ((s->cr4 & CR4_SMEP) || ((s->efer & EFER_NXE) && (s->cr4 & CR4_PAE)))) {
        code |= PF_FETCH;
    }
    if (f.levels == 2) {
        table &= 0xffffffff;
    }
    path->count = 0;
    path->entry_bytes = f.entry_bytes;
    for (u32 level = f.levels;; level--) {
        u64 index = (va.v >> (PAGE_SHIFT + f.index_bits * (level - 1))) & (BIT(f.index_bits) - 1);
        gpa_t at = GPA(table + index * f.entry_bytes);
        u64 entry = read_entry(ram, at, f.entry_bytes);
        bool leaf = level == 1 || ((f.large_levels & BIT(level)) && (entry & PTE_LARGE));

        if (!(entry & PTE_PRESENT)) {
            *error = code;
            return WALK_FAULT;
        }
        if (entry & reserved_bits(&f, s, level, leaf, phys_bits)) {
            *error = code | PF_PRESENT | PF_RESERVED;
            return WALK_FAULT;
        }
        if (f.levels != 3 || level != 3) { /* a page-directory pointer has no rights */
            rights = (rights & entry & (PTE_WRITE | PTE_USER)) | ((rights | entry) & PTE_NX);
        }
        path->step[path->count].at = at;
        path->step[path->count++].entry = entry;
        if (leaf) {
            *gpa = GPA(leaf_address(&f, entry, level, va.v));
            break;
        }
        table = entry & (f.entry_bytes == 4 ? FIELD(31, 12) : FIELD(51, 12));
    }
    if (!allowed(s, rights, kind, user)) {
        *error = code | PF_PRESENT;
        return WALK_FAULT;
    }
    return set_flags(ram, &f, path, kind) ? WALK_OK : WALK_RETRY;
}

enum walk_status walk(const struct ram *ram, const struct vcpu_state *s, u32 phys_bits, gva_t va,
                      u64 kind, gpa_t *gpa, u64 *error, struct walk_path *path)
{
    struct walk_path scratch;
    enum walk_status status = WALK_RETRY;

    path = path ? path : &scratch;
    if (!(s->cr0 & CR0_PG)) {
        *gpa = GPA(va.v & 0xffffffff);
        path->count = 0;
        return WALK_OK;
    }
    if (s->efer & EFER_LMA) {
        u32 unused = s->cr4 & CR4_LA57 ? 7 : 16;
        if ((u64)((s64)(va.v << unused) >> unused) != va.v) {
            return WALK_NON_CANONICAL;
        }
    } else {
        va.v &= 0xffffffff;
    }
    for (u32 i = 0; i < MAX_ATTEMPTS && status == WALK_RETRY; i++) {
        status = walk_once(ram, s, phys_bits, va, kind, gpa, error, path);
    }
    return status == WALK_RETRY ? WALK_OK : status;
}
