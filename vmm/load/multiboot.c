/* SPDX-License-Identifier: MIT */
/* What both versions of Multiboot share: the image, modules and the block. */
#include "vmm/load/multiboot.h"

#include "lib/elf.h"
#include "lib/string.h"

static bool entry_in_ram(const struct load_request *r, const struct mb_image *image,
                         struct load_error *error)
{
    if (image->entry > 0xffffffff || !ram_available_at(r->ram, GPA(image->entry))) {
        return load_fail(error, "the entry point %lx is not in the guest's memory below 4 GiB",
                         image->entry);
    }
    return true;
}

bool mb_load_elf(const struct load_request *r, struct mb_image *image, struct load_error *error)
{
    struct elf_segment s;
    struct elf e;
    const char *wrong = elf_open(&e, r->file.data, r->file.bytes);

    if (wrong) {
        return load_fail(error, "the Multiboot header has no address fields, and as to ELF %s",
                         wrong);
    }
    if (e.type != ELF_TYPE_EXEC) {
        return load_fail(error, "it is position independent; link it at a fixed address");
    }
    if (!load_segments(r, &e, &image->low, &image->high, error)) {
        return false;
    }
    image->entry = e.entry;
    for (u32 i = 0; elf_next(&e, &i, &s);) {
        if (e.entry - s.vaddr < s.memory_bytes) { /* the entry point is a linear address */
            image->entry = s.paddr + (e.entry - s.vaddr);
        }
    }
    return entry_in_ram(r, image, error);
}

bool mb_load_address(const struct load_request *r, u64 header_offset, const struct mb_address *a,
                     struct mb_image *image, struct load_error *error)
{
    u64 before =
        a->load_addr == MB_LOAD_FROM_START ? header_offset : (u64)a->header_addr - a->load_addr;

    if (a->load_addr != MB_LOAD_FROM_START && a->load_addr > a->header_addr) {
        return load_fail(error, "load_addr %x is above header_addr %x", a->load_addr,
                         a->header_addr);
    }
    if (before > header_offset || before > a->header_addr) {
        return load_fail(error,
                         "header_addr %x and load_addr %x do not fit the header's place in the "
                         "file, %lx",
                         a->header_addr, a->load_addr, header_offset);
    }
    u64 load = a->header_addr - before;
    u64 offset = header_offset - before;
    u64 bytes = a->load_end_addr ? (u64)a->load_end_addr - load : r->file.bytes - offset;
    u64 end = load + bytes;
    u64 bss_end = a->bss_end_addr ? a->bss_end_addr : end;

    if (a->load_end_addr && (a->load_end_addr < load || bytes > r->file.bytes - offset)) {
        return load_fail(error, "load_end_addr %x lies outside the file", a->load_end_addr);
    }
    if (bss_end < end) {
        return load_fail(error, "bss_end_addr %x is below the end of the data, %lx",
                         a->bss_end_addr, end);
    }
    if (load >= RAM_ABOVE || ram_available_at(r->ram, GPA(load)) < bss_end - load) {
        return load_no_room(r, load, bss_end - load, "the image", error);
    }
    if (!load_copy(r, load, r->file.data + offset, bytes, "the image", error)) {
        return false;
    }
    image->low = load;
    image->high = bss_end;
    return entry_in_ram(r, image, error);
}

bool mb_place(const struct load_request *r, const struct mb_image *image, struct mb_module *modules,
              struct mb_block *block, struct load_error *error)
{
    u64 at = ALIGN_UP(MAX(image->high, RAM_HIGH), PAGE_SIZE);

    for (u32 i = 0; i < r->module_count; i++) {
        const struct load_file *f = &r->modules[i];
        if (!load_copy(r, at, f->data, f->bytes, f->name, error)) {
            return false;
        }
        modules[i] = (struct mb_module){(u32)at, (u32)(at + f->bytes)};
        at = ALIGN_UP(at + f->bytes, PAGE_SIZE);
    }
    memset(block, 0, sizeof(*block));
    block->gpa = MULTIBOOT_BLOCK;
    if (image->low < MULTIBOOT_BLOCK + MULTIBOOT_BLOCK_BYTES && image->high > MULTIBOOT_BLOCK) {
        block->gpa = at;
    }
    return load_zero(r, block->gpa, MULTIBOOT_BLOCK_BYTES, "the boot information", error);
}

u32 mb_put(struct mb_block *b, const void *data, u64 n, u32 align)
{
    u64 at = ALIGN_UP((u64)b->bytes, align);

    if (at + n > sizeof(b->data)) {
        b->full = true;
        return (u32)b->gpa;
    }
    if (data) {
        memcpy(b->data + at, data, n);
    }
    b->bytes = (u32)(at + n);
    return (u32)(b->gpa + at);
}

u32 mb_put_command(struct mb_block *b, const char *name, const char *args)
{
    u32 gpa = mb_put(b, name, strlen(name), 1);

    if (*args) {
        mb_put(b, " ", 1, 1);
        mb_put(b, args, strlen(args), 1);
    }
    mb_put(b, "", 1, 1);
    return gpa;
}

void mb_patch(struct mb_block *b, u32 gpa, const void *data, u32 n)
{
    u64 at = gpa - b->gpa;

    if (at + n <= b->bytes) {
        memcpy(b->data + at, data, n);
    }
}

bool mb_finish(const struct load_request *r, const struct mb_block *b, struct load_error *error)
{
    if (b->full) {
        return load_fail(error,
                         "the command lines are too long: %u bytes are there for the boot "
                         "information",
                         MULTIBOOT_BLOCK_BYTES);
    }
    return load_copy(r, b->gpa, b->data, b->bytes, "the boot information", error);
}

bool multiboot_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error)
{
    error->text[0] = 0;
    if (multiboot2_load(r, s, error)) {
        return true;
    }
    if (!error->text[0] && multiboot1_load(r, s, error)) {
        return true;
    }
    if (!error->text[0]) {
        load_fail(error,
                  "it has no Multiboot header: none of version 1 in its first 8 KiB, none of "
                  "version 2 in its first 32 KiB");
    }
    return false;
}
