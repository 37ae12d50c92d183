/* SPDX-License-Identifier: MIT */
/*
 * Guest RAM: where it is, and the one accessor through which the VMM touches it. Every address is
 * guest-controlled. Layout as on a PC: 0..640K, 1M..3G, and what is left from 4G.
 */
#ifndef VMM_MACHINE_RAM_H
#define VMM_MACHINE_RAM_H

#include "lib/types.h"

#define RAM_MAX_RANGES 3
#define RAM_LOW_END    0xa0000ull    /* 640K: the hole of video memory and ROMs begins */
#define RAM_HIGH       0x100000ull   /* and ends */
#define RAM_HOLE       0xc0000000ull /* 3G: devices from here to 4G */
#define RAM_ABOVE      0x100000000ull

struct ram_range {
    u64 gpa, bytes;
};

struct ram {
    u8 *base; /* where guest-physical 0 is in this address space; holes are not mapped */
    u32 count;
    struct ram_range range[RAM_MAX_RANGES];
};

/* Divides memory_bytes (whole pages, at least 1M) into ranges; memory in a hole is lost below 1M
 * and moved above 4G at 3G. base stays as it is. */
void ram_layout(struct ram *r, u64 memory_bytes);

/* Bytes of RAM from gpa to the end of its range; 0: no RAM there. */
u64 ram_bytes_at(const struct ram *r, gpa_t gpa);

/* false, and nothing is copied, when a byte of the range is not RAM. */
bool ram_read(const struct ram *r, void *dst, gpa_t gpa, u64 bytes) MUST_CHECK;
bool ram_write(const struct ram *r, gpa_t gpa, const void *src, u64 bytes) MUST_CHECK;
bool ram_zero(const struct ram *r, gpa_t gpa, u64 bytes) MUST_CHECK;

/* Atomically ors bits into the aligned word of 4 or 8 bytes at gpa, if it still holds old. */
void ram_or(const struct ram *r, gpa_t gpa, u64 old, u64 bits, u32 bytes);

#endif
