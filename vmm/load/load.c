/* SPDX-License-Identifier: MIT */
/* What the loaders share. */
#include "vmm/load/load.h"

#include "lib/format.h"
#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/load/flat.h"
#include "vmm/load/multiboot.h"

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

bool load_image(const struct load_request *r, struct vcpu_state *state, struct load_error *error)
{
    switch (r->image) {
    case IMAGE_FLAT:
        return flat_load(r, state, error);
    case IMAGE_MULTIBOOT:
        return multiboot_load(r, state, error);
    default:
        return load_fail(error, "this kind of image is not known");
    }
}
