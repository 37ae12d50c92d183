/* SPDX-License-Identifier: MIT */
/* Reader of ELF executables. Layouts: System V ABI, "Object Files" and "Program Header". */
#include "lib/elf.h"

#include "lib/string.h"

#define SEGMENT_LOAD 1
#define SEGMENT_NOTE 4
#define MANY         0xffff /* PN_XNUM: the count stands elsewhere; no executable needs it */

struct header32 {
    u8 ident[16];
    u16 type, machine;
    u32 version, entry, phoff, shoff, flags;
    u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
} PACKED;

struct header64 {
    u8 ident[16];
    u16 type, machine;
    u32 version;
    u64 entry, phoff, shoff;
    u32 flags;
    u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
} PACKED;

struct segment32 {
    u32 type, offset, vaddr, paddr, filesz, memsz, flags, align;
} PACKED;

struct segment64 {
    u32 type, flags;
    u64 offset, vaddr, paddr, filesz, memsz, align;
} PACKED;

_Static_assert(sizeof(struct header32) == 52 && sizeof(struct header64) == 64, "ELF header");
_Static_assert(sizeof(struct segment32) == 32 && sizeof(struct segment64) == 56, "program header");

struct note {
    u32 owner_bytes, bytes, type; /* then the owner's name, then the contents, each padded to 4 */
};

/* Program header number index, which lies in the file; its type. */
static u32 read_segment(const struct elf *e, u32 index, struct elf_segment *out)
{
    const u8 *at = e->file + e->segment_table + (u64)index * e->segment_entry;

    if (e->is_64) {
        struct segment64 s;

        memcpy(&s, at, sizeof(s));
        *out = (struct elf_segment){s.offset, s.filesz, s.vaddr, s.paddr, s.memsz, s.flags & 7};
        return s.type;
    }
    struct segment32 s;

    memcpy(&s, at, sizeof(s));
    *out = (struct elf_segment){s.offset, s.filesz, s.vaddr, s.paddr, s.memsz, s.flags & 7};
    return s.type;
}

static bool read_loadable(const struct elf *e, u32 index, struct elf_segment *out)
{
    return read_segment(e, index, out) == SEGMENT_LOAD && out->memory_bytes;
}

static bool inside(u64 start, u64 length, u64 limit)
{
    return start <= limit && length <= limit - start;
}

static const char *check_segment(const struct elf *e, const struct elf_segment *s)
{
    u64 reach = e->is_64 ? ~0ull : 1ull << 32;

    if (!inside(s->offset, s->file_bytes, e->bytes)) {
        return "it is cut off: a segment lies behind the end of the file";
    }
    if (s->file_bytes > s->memory_bytes) {
        return "a segment is larger in the file than in memory";
    }
    if (!inside(s->vaddr, s->memory_bytes, reach) || !inside(s->paddr, s->memory_bytes, reach)) {
        return "a segment passes the end of the address space";
    }
    return NULL;
}

static void read_header(struct elf *e)
{
    if (e->is_64) {
        struct header64 h;

        memcpy(&h, e->file, sizeof(h));
        e->entry = h.entry;
        e->type = h.type;
        e->machine = h.machine;
        e->segment_count = h.phnum;
        e->segment_table = h.phoff;
        e->segment_entry = h.phentsize;
        return;
    }
    struct header32 h;

    memcpy(&h, e->file, sizeof(h));
    e->entry = h.entry;
    e->type = h.type;
    e->machine = h.machine;
    e->segment_count = h.phnum;
    e->segment_table = h.phoff;
    e->segment_entry = h.phentsize;
}

const char *elf_open(struct elf *e, const void *file, u64 bytes)
{
    static const u8 magic[4] = {0x7f, 'E', 'L', 'F'};
    const u8 *ident = file;
    bool loads = false;

    memset(e, 0, sizeof(*e));
    if (bytes < sizeof(struct header32) || memcmp(ident, magic, sizeof(magic)) != 0) {
        return "it is not an ELF file";
    }
    e->file = file;
    e->bytes = bytes;
    e->is_64 = ident[4] == 2;
    if ((ident[4] != 1 && ident[4] != 2) || ident[5] != 1 || ident[6] != 1) {
        return "it is an ELF file of an unknown class, byte order or version";
    }
    if (e->is_64 && bytes < sizeof(struct header64)) {
        return "it is cut off in the ELF header";
    }
    read_header(e);
    if (e->machine != ELF_MACHINE_X86_64 && (e->is_64 || e->machine != ELF_MACHINE_386)) {
        return "it is an ELF file for another kind of CPU";
    }
    if (e->type != ELF_TYPE_EXEC && e->type != ELF_TYPE_DYN) {
        return "it is an ELF file, but no executable: was it linked?";
    }
    if (e->segment_count == MANY ||
        e->segment_entry < (e->is_64 ? sizeof(struct segment64) : sizeof(struct segment32)) ||
        !inside(e->segment_table, (u64)e->segment_count * e->segment_entry, bytes)) {
        return "its ELF program headers are damaged or cut off";
    }
    for (u32 i = 0; i < e->segment_count; i++) {
        struct elf_segment s;

        if (read_loadable(e, i, &s)) {
            const char *wrong = check_segment(e, &s);
            if (wrong) {
                return wrong;
            }
            loads = true;
        }
    }
    return loads ? NULL : "it has no segment to load";
}

bool elf_next(const struct elf *e, u32 *index, struct elf_segment *out)
{
    while (*index < e->segment_count) {
        if (read_loadable(e, (*index)++, out)) {
            return true;
        }
    }
    return false;
}

/* Looks through bytes of notes. */
static bool find_note(const u8 *at, u64 bytes, const char *owner, u32 type, u64 *value)
{
    u32 owner_bytes = (u32)strlen(owner) + 1;
    struct note n;

    while (bytes >= sizeof(n)) {
        memcpy(&n, at, sizeof(n));
        u64 contents = sizeof(n) + ALIGN_UP((u64)n.owner_bytes, 4);
        u64 end = contents + ALIGN_UP((u64)n.bytes, 4);
        if (contents + n.bytes > bytes) {
            return false;
        }
        if (n.type == type && n.owner_bytes == owner_bytes && (n.bytes == 4 || n.bytes == 8) &&
            !memcmp(at + sizeof(n), owner, owner_bytes)) {
            *value = 0;
            memcpy(value, at + contents, n.bytes);
            return true;
        }
        at += MIN(end, bytes);
        bytes -= MIN(end, bytes);
    }
    return false;
}

bool elf_note(const struct elf *e, const char *owner, u32 type, u64 *value)
{
    struct elf_segment s;

    for (u32 i = 0; i < e->segment_count; i++) {
        if (read_segment(e, i, &s) == SEGMENT_NOTE && inside(s.offset, s.file_bytes, e->bytes) &&
            find_note(e->file + s.offset, s.file_bytes, owner, type, value)) {
            return true;
        }
    }
    return false;
}
