/* SPDX-License-Identifier: MIT */
/* Flat images: bytes at an address, started in a mode. The state is documented in flat.h. */
#include "vmm/load/flat.h"

#include "lib/hw/x86.h"
#include "lib/string.h"

#define FLAT_CODE         0x08
#define FLAT_DATA         0x10
#define FLAT_COMMAND_SIZE (LOAD_TABLES - FLAT_COMMAND)

static void real_state(struct vcpu_state *s, u64 entry)
{
    struct vcpu_seg data = {.limit = 0xffff, .access = 0x93};

    memset(s->gpr, 0, sizeof(s->gpr));
    s->rflags = RFLAGS_FIXED;
    s->cr0 = CR0_ET; /* caches on, as firmware leaves them */
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        s->seg[i] = data;
    }
    s->seg[SEG_CS].selector = (u16)((entry >> 4) & 0xf000);
    s->seg[SEG_CS].base = entry & 0xf0000;
    s->seg[SEG_CS].access = 0x9b;
    s->rip = entry & 0xffff;
    s->idt_base = 0;
    s->idt_limit = 0x3ff;
}

static bool protected_state(const struct load_request *r, struct vcpu_state *s,
                            struct load_error *error)
{
    bool long_mode = r->mode == MODE_LONG;
    u64 gdt[6] = {0, long_mode ? LOAD_CODE_64 : LOAD_CODE_32, LOAD_DATA, LOAD_CODE_32, LOAD_TSS, 0};

    load_protected_state(s, FLAT_CODE, FLAT_DATA);
    s->seg[SEG_TR].selector = 0x20;
    s->rip = r->entry;
    return load_gdt(r, s, gdt, sizeof(gdt), error) && (!long_mode || load_long_mode(r, s, error));
}

static bool overlaps(u64 a, u64 a_end, u64 b, u64 b_end)
{
    return a < b_end && b < a_end;
}

bool flat_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error)
{
    size_t options = strlen(r->options) + 1;
    u64 low_end = r->mode == MODE_LONG ? LOAD_TABLES_END : LOAD_TABLES;
    u64 end = r->load_address + r->file.bytes;

    if (!r->file.bytes) {
        return load_fail(error, "the file is empty");
    }
    if (options > FLAT_COMMAND_SIZE) {
        return load_fail(error, "options are longer than %u characters", FLAT_COMMAND_SIZE - 1);
    }
    if (r->mode > MODE_LONG || r->module_count) {
        return load_fail(error,
                         "a flat image has no modules, and starts in real, protected or long "
                         "mode");
    }
    if (end < r->load_address || overlaps(r->load_address, end, LOAD_GDT, low_end)) {
        return load_fail(error,
                         "load-address %lx puts the image over what the loader places at "
                         "%x..%lx; choose a higher one",
                         r->load_address, LOAD_GDT, low_end - 1);
    }
    if (r->entry < r->load_address || r->entry >= end) {
        return load_fail(error, "entry %lx lies outside the image, which is at %lx..%lx", r->entry,
                         r->load_address, end - 1);
    }
    if (r->mode == MODE_REAL && r->entry >= RAM_HIGH) {
        return load_fail(error, "entry %lx cannot be reached in real mode", r->entry);
    }
    if (r->mode != MODE_REAL && r->entry > 0xffffffff) {
        return load_fail(error, "entry %lx lies above the 4 GiB that can be reached", r->entry);
    }
    if (!load_copy(r, r->load_address, r->file.data, r->file.bytes, "the image", error) ||
        !load_copy(r, FLAT_COMMAND, r->options, options, "the command line", error)) {
        return false;
    }
    if (r->mode == MODE_REAL) {
        real_state(s, r->entry);
    } else if (!protected_state(r, s, error)) {
        return false;
    }
    s->gpr[GPR_RSI] = FLAT_COMMAND;
    s->gpr[GPR_RDI] = load_memory_mib(r->ram);
    s->gpr[GPR_RSP] = FLAT_STACK;
    return true;
}
