/* SPDX-License-Identifier: MIT */
/*
 * Guest RAM: where it is, what memory maps tell the guest about it, and the one accessor through
 * which the VMM touches it. Every address is guest-controlled. Layout as on a PC: 0..640K,
 * 736K..3G, and what is left from 4G. Of the first MiB's end 32K are the screen in text mode, and
 * 256K the BIOS area: shadow RAM of ROMs that are not there, and firmware's tables.
 */
#ifndef VMM_MACHINE_RAM_H
#define VMM_MACHINE_RAM_H

#include "lib/types.h"

#define RAM_MAX_RANGES 3
#define RAM_MAX_AREAS  4
#define RAM_EBDA       0x9fc00ull    /* 639K: firmware's own data, as old as the PC */
#define RAM_LOW_END    0xa0000ull    /* 640K: the hole of video memory begins */
#define RAM_TEXT       0xb8000ull    /* and ends: the screen in text mode, */
#define RAM_BIOS       0xc0000ull    /* and the BIOS area */
#define RAM_HIGH       0x100000ull   /* memory for the guest again */
#define RAM_HOLE       0xc0000000ull /* 3G: devices from here to 4G */
#define RAM_ABOVE      0x100000000ull

struct ram_range {
    u64 gpa, bytes;
};

/* An entry of a memory map, laid out as the BIOS call E820, Multiboot and fw_cfg have it. */
struct ram_area {
    u64 gpa, bytes;
    u32 type;
} PACKED;
#define RAM_AREA_AVAILABLE 1
#define RAM_AREA_RESERVED  2
_Static_assert(sizeof(struct ram_area) == 20, "an E820 entry");

struct ram {
    u8 *base; /* where guest-physical 0 is in this address space; holes are not mapped */
    u32 count, area_count;
    struct ram_range range[RAM_MAX_RANGES];
    struct ram_area area[RAM_MAX_AREAS]; /* the memory map */
};

/* Divides memory_bytes (whole pages, at least 1M) into ranges and areas; memory in a hole is lost
 * below 1M and moved above 4G at 3G. base stays as it is. */
void ram_layout(struct ram *r, u64 memory_bytes);

/* Bytes of RAM from gpa to the end of its range; 0: no RAM there. */
u64 ram_bytes_at(const struct ram *r, gpa_t gpa);

/* The same for memory that the map calls available: what firmware keeps for itself is none. */
u64 ram_available_at(const struct ram *r, gpa_t gpa);

/* false, and nothing is copied, when a byte of the range is not RAM. */
bool ram_read(const struct ram *r, void *dst, gpa_t gpa, u64 bytes) MUST_CHECK;
bool ram_write(const struct ram *r, gpa_t gpa, const void *src, u64 bytes) MUST_CHECK;
bool ram_zero(const struct ram *r, gpa_t gpa, u64 bytes) MUST_CHECK;

/* Atomically ors bits into the aligned word of 4 or 8 bytes at gpa, if it still holds old. */
void ram_or(const struct ram *r, gpa_t gpa, u64 old, u64 bits, u32 bytes);

#endif
