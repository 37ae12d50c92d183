/* SPDX-License-Identifier: MIT */
/* Programs: from an ELF file to the memory of processes. */
#include "vmm/manager/program.h"

#include "lib/string.h"
#include "vmm/sys.h"

static s64 map(handle_t process, handle_t source, u64 offset, u64 vaddr, u64 bytes, u64 flags)
{
    struct map_args args = {process, source, offset, vaddr, bytes, flags};

    return sys_memory_map(&args);
}

/* Makes the memory of one segment, with its contents. */
static s64 create_segment(struct program_segment *s, u64 scratch)
{
    s64 memory = sys_memory_create(s->bytes);

    if (memory < 0) {
        return memory;
    }
    s->memory = (handle_t)memory;
    s64 e = map(0, s->memory, 0, scratch, s->bytes, MAP_READ | MAP_WRITE);
    if (e) {
        return e;
    }
    memcpy((u8 *)scratch + s->head, s->file, s->file_bytes);
    return sys_memory_unmap(0, scratch, s->bytes);
}

static const char *add_segment(struct program *p, const struct elf *elf,
                               const struct elf_segment *e, u64 scratch)
{
    u64 start = ALIGN_DOWN(e->vaddr, PAGE_SIZE);
    u64 end = ALIGN_UP(e->vaddr + e->memory_bytes, PAGE_SIZE);
    struct program_segment *s = &p->segments[p->segment_count];

    if (p->segment_count == PROGRAM_MAX_SEGMENTS) {
        return "it has too many segments";
    }
    if (start < USER_BASE || end <= start || end > USER_TOP) {
        return "a segment lies outside the addresses of programs";
    }
    if ((e->flags & ELF_SEG_WRITE) && (e->flags & ELF_SEG_EXEC)) {
        return "a segment is writable and executable";
    }
    *s = (struct program_segment){
        .vaddr = start,
        .bytes = end - start,
        .flags = MAP_READ | (e->flags & ELF_SEG_WRITE ? MAP_WRITE : 0) |
                 (e->flags & ELF_SEG_EXEC ? MAP_EXEC : 0),
        .head = e->vaddr - start,
        .file = elf->file + e->offset,
        .file_bytes = e->file_bytes,
    };
    if (create_segment(s, scratch)) {
        return "there is no memory for a segment";
    }
    p->segment_count++;
    return NULL;
}

const char *program_load(struct program *p, handle_t file, u64 bytes, u64 scratch)
{
    struct elf_segment segment;
    const char *wrong;
    struct elf elf;

    if (!bytes || map(0, file, 0, scratch, ALIGN_UP(bytes, PAGE_SIZE), MAP_READ)) {
        return "it cannot be mapped";
    }
    wrong = elf_open(&elf, (const void *)scratch, bytes);
    if (wrong) {
        return wrong;
    }
    if (!elf.is_64 || elf.type != ELF_TYPE_EXEC) {
        return "it is not a 64-bit program linked at a fixed address";
    }
    memset(p, 0, sizeof(*p));
    p->entry = elf.entry;
    for (u32 i = 0; elf_next(&elf, &i, &segment);) {
        wrong = add_segment(p, &elf, &segment, scratch + ALIGN_UP(bytes, SIZE_2M) + SIZE_2M);
        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}

u64 program_data_bytes(const struct program *p)
{
    u64 bytes = 0;

    for (u32 i = 0; i < p->segment_count; i++) {
        bytes += p->segments[i].flags & MAP_WRITE ? p->segments[i].bytes : 0;
    }
    return bytes;
}

s64 program_map(const struct program *p, handle_t process, handle_t memory, u64 window, u64 offset)
{
    s64 e = 0;

    for (u32 i = 0; i < p->segment_count && !e; i++) {
        const struct program_segment *s = &p->segments[i];

        if (!(s->flags & MAP_WRITE)) {
            e = map(process, s->memory, 0, s->vaddr, s->bytes, s->flags);
            continue;
        }
        memcpy((u8 *)window + offset + s->head, s->file, s->file_bytes);
        e = map(process, memory, offset, s->vaddr, s->bytes, s->flags);
        offset += s->bytes;
    }
    return e;
}
