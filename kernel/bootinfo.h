/* SPDX-License-Identifier: MIT */
/*
 * What the loader hands to the microkernel: one structure, by value, in physical memory.
 * The loader has parsed everything that needs parsing (ACPI, ELF, configuration); the kernel copies
 * the structure once, checks it and uses the copy.
 *
 * State at the jump to the kernel's entry point: 64-bit mode, interrupts off, boot services gone,
 * RDI = address of struct bootinfo, CR3 = the loader's tables, which map
 *   - all memory up to max(4 GiB, the end of the memory map) at its own address and at
 *     BOOT_PHYSMAP + address, writable;
 *   - the kernel image at its link address, 4 KiB pages, writable and executable;
 * RSP is a stack of at least 16 KiB of the loader's. All of it lies outside of BOOT_MEM_POOL.
 * The PICs are masked, their vectors begin at BOOT_VECTOR_PIC. So is the IOAPIC, but for the ISA
 * lines of BOOT_IRQ_LINES, which come to the boot CPU by BOOT_VECTOR_IRQ + line.
 */
#ifndef KERNEL_BOOTINFO_H
#define KERNEL_BOOTINFO_H

#include "lib/types.h"

#define BOOTINFO_MAGIC 0x656c636f73000004ull /* "socle", layout 4 */
#ifndef BOOT_PHYSMAP                         /* the host's tests give another */
#define BOOT_PHYSMAP 0xffff800000000000ull
#endif
#define BOOT_KERNEL_BASE  0xffffffff80000000ull /* where linker.ld puts the kernel */
#define BOOT_VECTOR_PIC   0x20                  /* below all vectors of the kernel's own */
#define BOOT_VECTOR_IRQ   0xe0
#define BOOT_IRQ_LINES    (BIT(1) | BIT(4)) /* keyboard, COM1: devices that ring 3 drives */

#define BOOT_MAX_RANGES   512
#define BOOT_MAX_POOLS    8
#define BOOT_MAX_USABLE   64
#define BOOT_MAX_MODULES  96
#define BOOT_MAX_CPUS     64
#define BOOT_MAX_SEGMENTS 8
#define BOOT_NAME_LEN     96

/* Memory map, sorted by base, not overlapping, page-aligned. Holes are absent or BOOT_MEM_RESERVED.
 * USABLE (at most BOOT_MAX_USABLE of them) and POOL (at most BOOT_MAX_POOLS) are write-back memory
 * by the MTRRs, above 1 MiB. */
enum boot_mem_type {
    BOOT_MEM_USABLE, /* free, once the kernel has its own tables and stack */
    BOOT_MEM_POOL,   /* the same at once: for the kernel's own use */
    BOOT_MEM_LOADER, /* while the loader runs: in use until the kernel does; then BOOT_MEM_USABLE */
    BOOT_MEM_KERNEL, /* the kernel image */
    BOOT_MEM_MODULE, /* modules and segments of the first program */
    BOOT_MEM_ACPI,   /* ACPI reclaimable: kept, mapped for whoever asks */
    BOOT_MEM_FIRMWARE, /* runtime services, NVS: never touched */
    BOOT_MEM_RESERVED, /* reserved, MMIO, unusable */
};

struct boot_range {
    u64 base, bytes;
    u32 type, pad;
};

/* A file read by the loader, page-aligned, whole pages of its own; the tail of the last page is
 * zero. */
enum boot_module_kind {
    BOOT_MODULE_CONFIG,  /* socle.conf, as read */
    BOOT_MODULE_PROGRAM, /* a ring-3 program (ELF64) other than the manager: vmm.elf, selftest.elf
                          */
    BOOT_MODULE_FILE,    /* a file that the configuration names; name is exactly as written there */
};

struct boot_module {
    u64 base, bytes;
    u32 kind, pad;
    char name[BOOT_NAME_LEN];
};

/* A segment of the first program, manager.elf, already laid out: bytes (page multiple) at base. */
#define BOOT_SEG_WRITE BIT(0)
#define BOOT_SEG_EXEC  BIT(1)

struct boot_segment {
    u64 base, vaddr, bytes;
    u32 flags, pad;
};

/* pixel format of the framebuffer: 32 bits per pixel only; anything else is passed as absent */
enum boot_fb_format {
    BOOT_FB_NONE,
    BOOT_FB_BGRX, /* blue in the lowest byte */
    BOOT_FB_RGBX,
};

struct boot_framebuffer {
    u64 base, bytes;
    u32 width, height, pitch_bytes, format;
};

#define BOOT_CONSOLE_SERIAL BIT(0)
#define BOOT_CONSOLE_SCREEN BIT(1)

#define BOOT_FLAG_SELF_TEST BIT(0) /* [host] self-test: the guests' hardware need not be there */
#define BOOT_FLAG_EMULATOR  BIT(1) /* port 0xe9 reads 0xe9: a Bochs or a QEMU debug console */

struct bootinfo {
    u64 magic;
    u64 bytes;        /* sizeof(struct bootinfo) */
    u64 start_tsc;    /* TSC when the loader started */
    u64 kernel_tsc;   /* and when it started the kernel */
    u64 wall_seconds; /* the time then, since 1970 in UTC; 0: the firmware has no clock */
    u64 kernel_base;  /* physical base of the kernel image, whose first byte is BOOT_KERNEL_BASE */
    u64 kernel_bytes;
    u64 trampoline;    /* a free page below 1 MiB for the start of the other CPUs, 0 when none */
    u64 manager_entry; /* entry point of the first program */
    u64 tsc_hz;        /* 0: no clock tells */
    u64 apic_timer_hz; /* of the local APIC's timer, undivided; 0: it does not count */
    char clock[16];    /* what they were measured against */
    u32 pm1a_port, pm1b_port; /* ACPI PM1 control registers for S5, 0 when unknown */
    u32 s5_typa, s5_typb;     /* SLP_TYP values of \_S5 */
    u32 console;              /* BOOT_CONSOLE_* */
    u32 flags;                /* BOOT_FLAG_* */
    u32 cpu_count;            /* usable CPUs, boot CPU first */
    u32 range_count;
    u32 module_count;
    u32 segment_count;
    u32 cpu_apic_ids[BOOT_MAX_CPUS];
    struct boot_framebuffer fb;
    struct boot_segment segments[BOOT_MAX_SEGMENTS];
    struct boot_module modules[BOOT_MAX_MODULES];
    struct boot_range ranges[BOOT_MAX_RANGES];
};

#endif
