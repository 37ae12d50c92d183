/* SPDX-License-Identifier: MIT */
/*
 * The loader's state, and its parts in the order of the boot story. A function that returns bool
 * returns false after it has told the user why it cannot go on (loader_refuse, loader_error);
 * whoever calls it goes straight to loader_end().
 */
#ifndef BOOT_LOADER_H
#define BOOT_LOADER_H

#include "boot/console.h"
#include "boot/efi.h"
#include "boot/memmap.h"
#include "boot/memtype.h"
#include "boot/preflight.h"
#include "kernel/bootinfo.h"
#include "lib/config.h"

#define MAX_ALLOCATIONS (BOOT_MAX_MODULES + BOOT_MAX_SEGMENTS + 16)

struct allocation {
    u64 base, pages;
    u32 type; /* enum boot_mem_type, for the kernel's memory map */
};

struct loader {
    EFI_HANDLE image;
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *services;
    struct console console;
    bool emulator;
    EFI_FILE_HANDLE folder; /* \socle on the volume that we were started from */

    struct bootinfo *info;
    const char *config_text;
    struct config *config;
    struct cpu_facts cpu;
    struct memtype_map memtypes;
    u64 uncached_bytes; /* of the map, that are left out */
    bool run_guests;    /* false: self-test on a machine without virtualization */

    struct allocation allocations[MAX_ALLOCATIONS];
    u32 allocation_count;
    void *raw_map; /* of the firmware */
    u64 raw_map_bytes;
    struct memmap map;

    u64 hpet_base, ioapic_base; /* 0: unknown, or there is none */
    u16 pm_timer_port;
    u64 kernel_entry, root, stack_top;
    void *gdt;
};

/* --- boot/say.c --- */

/* A line "socle: KIND: ...". Returns false, for who goes no further. */
bool loader_print(struct loader *l, enum screen_style style, const char *kind, const char *format,
                  ...) PRINTF(4, 5);
/* Progress. */
#define loader_say(l, ...) loader_print(l, SCREEN_NORMAL, "loader", __VA_ARGS__)
/* This machine cannot do it. */
#define loader_refuse(l, ...) loader_print(l, SCREEN_ALERT, "refused", __VA_ARGS__)
/* A file is wrong or missing. */
#define loader_error(l, ...) loader_print(l, SCREEN_ALERT, "error", __VA_ARGS__)
/* The same at a place in the configuration. */
#define loader_config_error(l, line, col, format, ...)                                             \
    loader_error(l, "socle.conf:%u:%u: " format, line, col, ##__VA_ARGS__)

/* --- boot/end.c --- */

/* After one of the above: the verdict, then power-off on an emulator, and on a real machine a key
 * or a minute's time to read, and the way back to the firmware with what it returns. */
EFI_STATUS loader_end(struct loader *l);

/* --- boot/memory.c --- */

/* Zeroed pages of their own at an address below limit (0: anywhere), recorded with their type; 0:
 * none left. align is a power of two, at least PAGE_SIZE. */
u64 memory_alloc(struct loader *l, u64 bytes, u64 align, u64 limit, u32 type);
/* The same anywhere, for a file's bytes: only what follows them in the last page is zeroed. */
u64 memory_alloc_file(struct loader *l, u64 bytes, u32 type);
/* One that is not zeroed, for code that the firmware must let run. */
u64 memory_alloc_code(struct loader *l, u64 bytes, u64 limit, u32 type);
/* Gives back what begins at base. */
void memory_free(struct loader *l, u64 base);
void memory_free_all(struct loader *l);
/* Reads the firmware's memory map into l->map, as it will be for the kernel. */
bool memory_read_map(struct loader *l);
/* Ends boot services and fills the ranges of l->info. Does not return when it cannot. */
void memory_exit_boot_services(struct loader *l);

/* --- boot/mtrr.c --- */

/* What the MTRRs say, into l->memtypes. */
void mtrr_read(struct loader *l);

/* --- boot/files.c --- */

#define FILE_MAX_BYTES (16ull << 30)

bool files_open(struct loader *l);
/* Size of a file in \socle, by its name with / between folders. NULL, or why there is none. */
const char *file_size(struct loader *l, const char *name, u64 *bytes) MUST_CHECK;
/* Reads it whole into pages of its own of that type; the rest of the last page is zero. Tells
 * progress. */
bool file_load(struct loader *l, const char *name, u32 type, u64 *base, u64 *bytes);

/* --- boot/platform.c --- */

/* The screen, as early as possible; none is fine. */
void platform_find_screen(struct loader *l);
/* The time of day, while little time has passed since the start. */
void platform_read_clock(struct loader *l);
/* What the CPU can do. */
void platform_read_cpu(struct loader *l);
/* CPUs, interrupt controllers, timers, trampoline. */
bool platform_find(struct loader *l);

/* --- boot/guests.c --- */

/* Reads and parses socle.conf. */
bool guests_read_config(struct loader *l);
/* Every file that the configuration names is there, and memory suffices. */
bool guests_check(struct loader *l);
/* Loads those files as modules. */
bool guests_load(struct loader *l);

/* --- boot/programs.c --- */

/* Kernel, first program, and the programs it starts. */
bool programs_load(struct loader *l);

/* --- boot/tables.c --- */

/* Page tables, stack, GDT for the jump. */
bool tables_build(struct loader *l);

/* --- when the firmware is gone, on our own tables, interrupts off --- */

/* boot/legacy.c: no device interrupts us, whatever firmware left behind, but those that ring 3
 * drives.
 */
void legacy_init(const struct loader *l);
/* boot/clock.c: the rates of TSC and local APIC timer, into l->info. */
void clock_measure(struct loader *l);

#endif
