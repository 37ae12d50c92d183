/* SPDX-License-Identifier: MIT */
/*
 * Multiboot images, versions 1 (specification 0.6.96) and 2 (2.0): found by their header, loaded as
 * ELF (32 or 64 bits, by physical address) or by the header's address fields, started in 32-bit
 * protected mode. A file with headers of both versions is started by version 2.
 *
 * Where things are put: the image where it wants to be; modules behind it, page-aligned, not below
 * 1 MiB; the information block at MULTIBOOT_BLOCK, or behind the modules when the image lies there.
 */
#ifndef VMM_LOAD_MULTIBOOT_H
#define VMM_LOAD_MULTIBOOT_H

#include "vmm/load/load.h"

/* See load_image(). */
bool multiboot_load(const struct load_request *r, struct vcpu_state *state,
                    struct load_error *error);

/* --- between the files of the loader --- */

#define MULTIBOOT_BLOCK       0x9c000
#define MULTIBOOT_BLOCK_BYTES 0x3c00 /* up to RAM_EBDA */
#define MULTIBOOT_LOADER_NAME "Socle"
#define MULTIBOOT_CODE        0x10 /* selectors at the entry; there is no GDT behind them */
#define MULTIBOOT_DATA        0x18

/* The image in guest memory. */
struct mb_image {
    u64 low, high; /* all of it lies in between */
    u64 entry;
};

/* The address fields, which both versions have. */
struct mb_address {
    u32 header_addr, load_addr, load_end_addr, bss_end_addr;
};
#define MB_LOAD_FROM_START 0xffffffff /* load_addr: from the first byte of the file */

/* The information block: made here, copied to guest memory when it is complete. */
struct mb_block {
    u64 gpa;
    u32 bytes;
    bool full; /* something had no room */
    u8 data[MULTIBOOT_BLOCK_BYTES];
};

/* Where one module is in guest memory. */
struct mb_module {
    u32 start, end;
};

bool mb_load_elf(const struct load_request *r, struct mb_image *image, struct load_error *error);
bool mb_load_address(const struct load_request *r, u64 header_offset, const struct mb_address *a,
                     struct mb_image *image, struct load_error *error);
/* Copies the modules, and chooses the block's place. */
bool mb_place(const struct load_request *r, const struct mb_image *image, struct mb_module *modules,
              struct mb_block *block, struct load_error *error);
/* Guest address of n bytes in the block (data NULL: zeroes), aligned to a power of two. */
u32 mb_put(struct mb_block *b, const void *data, u64 n, u32 align);
/* The same for the string "name args" (only "name" when args is empty). */
u32 mb_put_command(struct mb_block *b, const char *name, const char *args);
/* Overwrites bytes that are in the block already. */
void mb_patch(struct mb_block *b, u32 gpa, const void *data, u32 n);
bool mb_finish(const struct load_request *r, const struct mb_block *b, struct load_error *error);

/* Each version: false with error->text empty when the file has no such header. */
bool multiboot1_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error);
bool multiboot2_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error);

#endif
