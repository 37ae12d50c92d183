/* SPDX-License-Identifier: MIT */
/*
 * Turns a file into a startable guest: contents of guest memory and the state of the first vCPU.
 * The file is untrusted; what is wrong with it is a sentence, never a fault. No system calls here.
 */
#ifndef VMM_LOAD_LOAD_H
#define VMM_LOAD_LOAD_H

#include "kernel/abi.h"
#include "lib/config.h"
#include "lib/elf.h"
#include "lib/types.h"
#include "vmm/machine/ram.h"

struct load_file {
    const u8 *data;
    u64 bytes;
    const char *name; /* as in the configuration */
    const char *args; /* modules: the rest of its line */
};

struct load_request {
    const struct ram *ram; /* zeroed, but for what firmware_build() put there */
    u32 image;             /* enum config_image */
    struct load_file file;
    struct load_file modules[CONFIG_MAX_MODULES];
    u32 module_count;
    const char *options;
    u64 load_address, entry; /* flat images */
    u32 mode;                /* enum config_mode */
};

struct load_error {
    char text[160]; /* a sentence without full stop that goes on from the file's name */
};

/*
 * Loads r->file with the loader that r->image names. *state holds the state after INIT and becomes
 * the state at the image's entry. false: *error says why not; guest memory and *state are then of
 * no use.
 */
bool load_image(const struct load_request *r, struct vcpu_state *state,
                struct load_error *error) MUST_CHECK;

/* --- for the loaders --- */

/* Sets the text; always returns false. */
bool load_fail(struct load_error *error, const char *format, ...) PRINTF(2, 3);

/* Copies to memory that the map calls available, or fails with a sentence about what (a name for
 * these bytes). */
bool load_copy(const struct load_request *r, u64 gpa, const void *data, u64 bytes, const char *what,
               struct load_error *error) MUST_CHECK;
/* The same with zeroes. */
bool load_zero(const struct load_request *r, u64 gpa, u64 bytes, const char *what,
               struct load_error *error) MUST_CHECK;

/* Fails for bytes at gpa that the guest's image cannot have. */
bool load_no_room(const struct load_request *r, u64 gpa, u64 bytes, const char *what,
                  struct load_error *error);

/* MiB of RAM from address 0 to the first hole above 1 MiB, counting the hole below it. */
u64 load_memory_mib(const struct ram *ram);

/* Copies the segments of an ELF file to their physical addresses below 4 GiB; all of them lie in
 * *low to *high. */
bool load_segments(const struct load_request *r, const struct elf *e, u64 *low, u64 *high,
                   struct load_error *error) MUST_CHECK;

/* Registers cleared, interrupts off, flat 4 GiB segments in protected mode with these selectors. */
void load_protected_state(struct vcpu_state *s, u16 code, u16 data);

#define LOAD_GDT        0x500
#define LOAD_TABLES     0x1000
#define LOAD_TABLES_END (LOAD_TABLES + 6 * PAGE_SIZE)

/* Descriptors: flat code and data, a TSS at 0. */
#define LOAD_CODE_64 0x00af9b000000ffffull
#define LOAD_CODE_32 0x00cf9b000000ffffull
#define LOAD_DATA    0x00cf93000000ffffull
#define LOAD_TSS     0x00008b000000ffffull

/* Gives the protected state a GDT at LOAD_GDT. */
bool load_gdt(const struct load_request *r, struct vcpu_state *s, const u64 *gdt, u32 bytes,
              struct load_error *error) MUST_CHECK;
/* Turns the protected state to 64-bit mode: page tables at LOAD_TABLES map the first 4 GiB to
 * themselves, with pages of 2 MiB, writable, user. CS is to be a 64-bit segment in the GDT, too. */
bool load_long_mode(const struct load_request *r, struct vcpu_state *s,
                    struct load_error *error) MUST_CHECK;

#endif
