/* SPDX-License-Identifier: MIT */
/*
 * Programs as the manager starts them: an ELF file of a module, whose read-only segments are laid
 * out once and shared by all processes that run it. No segment is ever writable and executable.
 */
#ifndef VMM_MANAGER_PROGRAM_H
#define VMM_MANAGER_PROGRAM_H

#include "kernel/abi.h"
#include "lib/elf.h"
#include "lib/types.h"

#define PROGRAM_MAX_SEGMENTS 8

struct program_segment {
    u64 vaddr, bytes; /* whole pages */
    u64 flags;        /* MAP_* */
    handle_t memory;  /* contents as at the start; shared when not writable */
    u64 head;         /* first byte of the file's data, from vaddr */
    const u8 *file;
    u64 file_bytes;
};

struct program {
    u64 entry;
    u32 segment_count;
    struct program_segment segments[PROGRAM_MAX_SEGMENTS];
};

/*
 * Lays out the ELF file that is the memory object, of bytes. scratch is a free address of the
 * manager: the file stays mapped there, and twice its segments' size above it is used in passing.
 * NULL, or what is wrong.
 */
const char *program_load(struct program *p, handle_t file, u64 bytes, u64 scratch) MUST_CHECK;

/* Bytes of the writable segments, which each process needs for itself. */
u64 program_data_bytes(const struct program *p);

/* Maps the segments into a process; writable ones from memory at offset, where this call also puts
 * their contents, seen by the manager at window + offset. 0 or E_*. */
s64 program_map(const struct program *p, handle_t process, handle_t memory, u64 window,
                u64 offset) MUST_CHECK;

#endif
