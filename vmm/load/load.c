/* SPDX-License-Identifier: MIT */
/* What the loaders share. */
#include "vmm/load/load.h"

#include "lib/format.h"
#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/load/flat.h"
#include "vmm/load/linux.h"
#include "vmm/load/multiboot.h"

#define PTE_P_W_U 0x7
#define PTE_LARGE BIT(7)

bool load_fail(struct load_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    format_vbuffer(error->text, sizeof(error->text), format, args);
    va_end(args);
    return false;
}

bool load_no_room(const struct load_request *r, u64 gpa, u64 bytes, const char *what,
                  struct load_error *error)
{
    const struct ram_range *last = &r->ram->range[r->ram->count - 1];

    return load_fail(
        error,
        "%s needs memory from %lx to %lx, and the guest has RAM from 0 to %llx and from "
        "%llx to %lx",
        what, gpa, gpa + bytes, RAM_EBDA, RAM_HIGH, last->gpa + last->bytes);
}

bool load_copy(const struct load_request *r, u64 gpa, const void *data, u64 bytes, const char *what,
               struct load_error *error)
{
    return (ram_available_at(r->ram, GPA(gpa)) >= bytes &&
            ram_write(r->ram, GPA(gpa), data, bytes)) ||
           load_no_room(r, gpa, bytes, what, error);
}

bool load_zero(const struct load_request *r, u64 gpa, u64 bytes, const char *what,
               struct load_error *error)
{
    return (ram_available_at(r->ram, GPA(gpa)) >= bytes && ram_zero(r->ram, GPA(gpa), bytes)) ||
           load_no_room(r, gpa, bytes, what, error);
}

u64 load_memory_mib(const struct ram *ram)
{
    return (RAM_HIGH + ram_available_at(ram, GPA(RAM_HIGH))) >> 20;
}

bool load_segments(const struct load_request *r, const struct elf *e, u64 *low, u64 *high,
                   struct load_error *error)
{
    struct elf_segment s;

    *low = ~0ull;
    *high = 0;
    for (u32 i = 0; elf_next(e, &i, &s);) {
        if (s.paddr >= RAM_ABOVE || ram_available_at(r->ram, GPA(s.paddr)) < s.memory_bytes) {
            return load_no_room(r, s.paddr, s.memory_bytes, "a segment", error);
        }
        if (!load_copy(r, s.paddr, r->file.data + s.offset, s.file_bytes, "a segment", error)) {
            return false;
        }
        *low = MIN(*low, s.paddr);
        *high = MAX(*high, s.paddr + s.memory_bytes);
    }
    return true;
}

void load_protected_state(struct vcpu_state *s, u16 code, u16 data)
{
    struct vcpu_seg flat = {.limit = 0xffffffff, .access = 0xc093, .selector = data};

    memset(s->gpr, 0, sizeof(s->gpr));
    s->rflags = RFLAGS_FIXED;
    s->cr0 = CR0_PE | CR0_NE | CR0_ET;
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        s->seg[i] = flat;
    }
    s->seg[SEG_CS].access = 0xc09b;
    s->seg[SEG_CS].selector = code;
    s->seg[SEG_LDTR] = (struct vcpu_seg){.access = SEG_AR_UNUSABLE};
    s->seg[SEG_TR] = (struct vcpu_seg){.limit = 0xffff, .access = 0x8b};
    s->gdt_base = s->idt_base = 0;
    s->gdt_limit = s->idt_limit = 0;
}

bool load_gdt(const struct load_request *r, struct vcpu_state *s, const u64 *gdt, u32 bytes,
              struct load_error *error)
{
    s->gdt_base = LOAD_GDT;
    s->gdt_limit = bytes - 1;
    return load_copy(r, LOAD_GDT, gdt, bytes, "the GDT", error);
}

static bool write_table(const struct load_request *r, u32 index, const u64 table[512],
                        struct load_error *error)
{
    return load_copy(r, LOAD_TABLES + index * PAGE_SIZE, table, PAGE_SIZE, "a page table", error);
}

/* PML4, page directory pointers, four page directories. */
static bool write_tables(const struct load_request *r, struct load_error *error)
{
    u64 table[512] = {LOAD_TABLES + PAGE_SIZE + PTE_P_W_U};

    if (!write_table(r, 0, table, error)) {
        return false;
    }
    for (u64 i = 0; i < 4; i++) {
        table[i] = LOAD_TABLES + (2 + i) * PAGE_SIZE + PTE_P_W_U;
    }
    if (!write_table(r, 1, table, error)) {
        return false;
    }
    for (u32 i = 0; i < 4; i++) {
        for (u64 j = 0; j < 512; j++) {
            table[j] = i * SIZE_1G + j * SIZE_2M + PTE_P_W_U + PTE_LARGE;
        }
        if (!write_table(r, 2 + i, table, error)) {
            return false;
        }
    }
    return true;
}

bool load_long_mode(const struct load_request *r, struct vcpu_state *s, struct load_error *error)
{
    s->seg[SEG_CS].access = 0xa09b;
    s->cr0 |= CR0_PG;
    s->cr3 = LOAD_TABLES;
    s->cr4 = CR4_PAE;
    s->efer = EFER_LME | EFER_LMA | EFER_NXE;
    return write_tables(r, error);
}

bool load_image(const struct load_request *r, struct vcpu_state *state, struct load_error *error)
{
    switch (r->image) {
    case IMAGE_FLAT:
        return flat_load(r, state, error);
    case IMAGE_MULTIBOOT:
        return multiboot_load(r, state, error);
    case IMAGE_LINUX:
        return linux_load(r, state, error);
    default:
        return load_fail(error, "this kind of image is not known");
    }
}
