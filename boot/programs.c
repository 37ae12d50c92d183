/* SPDX-License-Identifier: MIT */
/* The kernel, laid out where it will run; the segments of the first program; the other programs. */
#include "boot/loader.h"

#include "lib/elf.h"
#include "lib/format.h"
#include "lib/string.h"

#define KERNEL_MAX_BYTES (64ull << 20)

/* Reads an ELF file for this CPU into pages that memory_free() gives back. */
static bool load_elf(struct loader *l, const char *name, struct elf *elf, u64 *base)
{
    const char *wrong;
    u64 bytes;

    if (!file_load(l, name, BOOT_MEM_USABLE, base, &bytes)) {
        return false;
    }
    wrong = elf_open(elf, (const void *)*base, bytes);
    if (!wrong &&
        (!elf->is_64 || elf->machine != ELF_MACHINE_X86_64 || elf->type != ELF_TYPE_EXEC)) {
        wrong = "it is no 64-bit x86 executable with fixed addresses";
    }
    return !wrong || loader_error(l, "%s: %s", name, wrong);
}

static void copy_segment(const struct elf *elf, const struct elf_segment *s, u64 to)
{
    memcpy((void *)to, elf->file + s->offset, s->file_bytes); /* the rest is zero already */
}

static bool load_kernel(struct loader *l)
{
    struct bootinfo *bi = l->info;
    struct elf_segment s;
    struct elf elf;
    u64 file, end = 0;
    u32 i = 0;

    if (!load_elf(l, "kernel.elf", &elf, &file)) {
        return false;
    }
    while (elf_next(&elf, &i, &s)) {
        if (s.vaddr < BOOT_KERNEL_BASE || s.vaddr - BOOT_KERNEL_BASE > KERNEL_MAX_BYTES ||
            s.memory_bytes > KERNEL_MAX_BYTES) {
            return loader_error(l,
                                "kernel.elf: it is linked for another address than this loader's");
        }
        end = MAX(end, s.vaddr - BOOT_KERNEL_BASE + s.memory_bytes);
    }
    if (elf.entry < BOOT_KERNEL_BASE || elf.entry - BOOT_KERNEL_BASE >= end) {
        return loader_error(l, "kernel.elf: its entry point lies outside of it");
    }
    bi->kernel_bytes = ALIGN_UP(end, PAGE_SIZE);
    /* below 4 GiB, for the other CPUs come to it from 32-bit mode */
    bi->kernel_base = memory_alloc(l, bi->kernel_bytes, SIZE_2M, 4 * SIZE_1G, BOOT_MEM_KERNEL);
    if (!bi->kernel_base) {
        return loader_refuse(l, "too little memory for the kernel: give the machine more");
    }
    for (i = 0; elf_next(&elf, &i, &s);) {
        copy_segment(&elf, &s, bi->kernel_base + (s.vaddr - BOOT_KERNEL_BASE));
    }
    l->kernel_entry = elf.entry;
    memory_free(l, file);
    return true;
}

static bool overlaps(const struct bootinfo *bi, u64 vaddr, u64 bytes)
{
    for (u32 i = 0; i < bi->segment_count; i++) {
        const struct boot_segment *s = &bi->segments[i];

        if (vaddr < s->vaddr + s->bytes && s->vaddr < vaddr + bytes) {
            return true;
        }
    }
    return false;
}

static bool load_segment(struct loader *l, const char *name, const struct elf *elf,
                         const struct elf_segment *s)
{
    struct bootinfo *bi = l->info;
    struct boot_segment *out = &bi->segments[bi->segment_count];
    u64 vaddr = ALIGN_DOWN(s->vaddr, PAGE_SIZE), bytes;

    if (s->vaddr >= BIT(46) || s->memory_bytes >= BIT(32)) {
        return loader_error(l, "%s: a segment lies outside what a program may use", name);
    }
    bytes = ALIGN_UP(s->vaddr + s->memory_bytes, PAGE_SIZE) - vaddr;
    if (bi->segment_count == BOOT_MAX_SEGMENTS || overlaps(bi, vaddr, bytes)) {
        return loader_error(l, "%s: it has too many segments, or some share a page", name);
    }
    if ((s->flags & ELF_SEG_WRITE) && (s->flags & ELF_SEG_EXEC)) {
        return loader_error(l, "%s: a segment is both writable and executable", name);
    }
    *out = (struct boot_segment){
        .base = memory_alloc(l, bytes, PAGE_SIZE, 0, BOOT_MEM_MODULE),
        .vaddr = vaddr,
        .bytes = bytes,
        .flags = (u32)((s->flags & ELF_SEG_WRITE ? BOOT_SEG_WRITE : 0) |
                       (s->flags & ELF_SEG_EXEC ? BOOT_SEG_EXEC : 0)),
    };
    if (!out->base) {
        return loader_refuse(l, "too little memory for %s: give the machine more", name);
    }
    copy_segment(elf, s, out->base + (s->vaddr - vaddr));
    bi->segment_count++;
    return true;
}

static bool load_manager(struct loader *l)
{
    struct elf_segment s;
    struct elf elf;
    u64 file;

    if (!load_elf(l, "manager.elf", &elf, &file)) {
        return false;
    }
    for (u32 i = 0; elf_next(&elf, &i, &s);) {
        if (!load_segment(l, "manager.elf", &elf, &s)) {
            return false;
        }
    }
    l->info->manager_entry = elf.entry;
    memory_free(l, file);
    return true;
}

static bool load_module(struct loader *l, const char *name)
{
    struct boot_module *m = &l->info->modules[l->info->module_count++];

    m->kind = BOOT_MODULE_PROGRAM;
    format_buffer(m->name, sizeof(m->name), "%s", name);
    return file_load(l, name, BOOT_MEM_MODULE, &m->base, &m->bytes);
}

bool programs_load(struct loader *l)
{
    return load_kernel(l) && load_manager(l) && load_module(l, "vmm.elf") &&
           load_module(l, "input.elf") &&
           (!l->config->host.self_test || load_module(l, "selftest.elf"));
}
