/* SPDX-License-Identifier: MIT */
/* What a guest kernel is told at its start: by Multiboot 1 or 2, kept as copies. */
#ifndef GUESTS_LIB_BOOT_H
#define GUESTS_LIB_BOOT_H

#include "lib/types.h"

#define BOOT_MAX_RAM     16
#define BOOT_MAX_MODULES 8
#define BOOT_TEXT        256

struct boot_ram {
    u64 base, bytes;
    u32 type; /* 1: usable RAM */
};

struct boot_module {
    u64 base, bytes;
    char text[BOOT_TEXT];
};

struct boot {
    int protocol;             /* 1, 2: Multiboot version */
    char command[BOOT_TEXT];  /* whole command line: file name and options */
    u32 lower_kib, upper_kib; /* basic memory information, 0 when not given */
    u32 ram_count;            /* entries of the memory map */
    struct boot_ram ram[BOOT_MAX_RAM];
    u32 module_count;
    struct boot_module modules[BOOT_MAX_MODULES];
    u64 info, info_bytes; /* where the boot loader left it (bytes: as far as known) */
    u64 memory_end;       /* end of the highest usable RAM */
    u64 memory_bytes;     /* sum of usable RAM */
    char loader[64];
};

extern struct boot boot;

/* First C code; ends the guest when the boot information is not as the protocol says. */
void guest_boot(u32 magic, u32 info);

/* Option NAME=VALUE of the command line: its value's start (ends at a space), or NULL. "NAME" alone
 * counts as an empty value. */
const char *boot_option(const char *name);
/* The same as a number (decimal, or 0x...; K, M, G suffix), or fallback when absent. */
u64 boot_option_number(const char *name, u64 fallback);
/* True when option NAME has exactly that value. */
bool boot_option_is(const char *name, const char *value);
/* Word n (from 0) after the file name that is no option (has no '=' and no leading '-'): copied to
 * out. False: there are not so many. */
bool boot_word(u32 n, char *out, size_t size);

/* Each guest's own entry. Returning ends the guest as test_end() does. */
void guest_main(void);

#endif
