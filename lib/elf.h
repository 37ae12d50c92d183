/* SPDX-License-Identifier: MIT */
/*
 * Reader of ELF executables, 32 and 64 bits, over an untrusted buffer: header and program headers
 * are checked once, at the opening; loadable segments are then handed out one by one. Pure code;
 * nothing of the file is trusted beyond what is said here.
 */
#ifndef LIB_ELF_H
#define LIB_ELF_H

#include "lib/types.h"

#define ELF_MACHINE_386    3
#define ELF_MACHINE_X86_64 62

#define ELF_TYPE_EXEC      2 /* linked at fixed addresses */
#define ELF_TYPE_DYN       3 /* position independent: needs relocation, which nobody here does */

#define ELF_SEG_EXEC       BIT(0)
#define ELF_SEG_WRITE      BIT(1)
#define ELF_SEG_READ       BIT(2)

struct elf {
    const u8 *file;
    u64 bytes;
    u64 entry; /* as the file says: any value */
    bool is_64;
    u16 type;          /* ELF_TYPE_EXEC or ELF_TYPE_DYN */
    u16 machine;       /* ELF_MACHINE_* */
    u32 segment_count; /* program headers of all types */
    u64 segment_table; /* their place in the file */
    u32 segment_entry; /* bytes from one to the next */
};

/*
 * A loadable segment. file_bytes at file + offset lie in the file; file_bytes <= memory_bytes;
 * neither vaddr + memory_bytes nor paddr + memory_bytes wraps (for ELF32: passes 4 GiB).
 * memory_bytes > 0. Segments of one file may overlap, and come in any order.
 */
struct elf_segment {
    u64 offset, file_bytes;
    u64 vaddr, paddr, memory_bytes;
    u32 flags; /* ELF_SEG_* */
};

/* Opens bytes at file, which must stay there. NULL, or a sentence about what is wrong. */
const char *elf_open(struct elf *e, const void *file, u64 bytes) MUST_CHECK;

/* The next loadable segment; *index is 0 to begin. False: no more. */
bool elf_next(const struct elf *e, u32 *index, struct elf_segment *out);

/* The number of 4 or 8 bytes in the first note of that owner and type. False: there is none. */
bool elf_note(const struct elf *e, const char *owner, u32 type, u64 *value);

#endif
