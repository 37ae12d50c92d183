/* SPDX-License-Identifier: MIT */
/*
 * Reader of the few ACPI tables that a boot needs: CPUs and interrupt controllers (MADT), HPET,
 * power management timer and power-off (FADT, and \_S5_ found in the DSDT or an SSDT by its byte
 * pattern, for there is no AML interpreter here). Pure code: physical memory is reached only
 * through a callback, so that it runs on the host too. A table with a wrong length or checksum is
 * skipped as if absent, and a value that makes no sense is left out.
 */
#ifndef LIB_ACPI_H
#define LIB_ACPI_H

#include "lib/types.h"

#define ACPI_MAX_CPUS 256

struct acpi_memory {
    /* Copies bytes (1 to 256) from physical address pa; false when they cannot be read. */
    bool (*read)(void *ctx, u64 pa, void *dst, u32 bytes);
    void *ctx;
};

struct acpi_info {
    u32 cpu_count; /* enabled CPUs, as many as fit; 0: no MADT */
    u32 cpus_left_out;
    u32 cpu_apic_ids[ACPI_MAX_CPUS]; /* no duplicates, in the order of the table */
    u64 lapic_base;                  /* 0 unknown */
    u64 ioapic_base;                 /* the IOAPIC with the lowest interrupt number; 0 unknown */
    u64 hpet_base;                   /* 0 unknown */
    u32 pm_timer_port;               /* 0 unknown */
    u32 pm_timer_bits;               /* 24 or 32 */
    u32 pm1a_port, pm1b_port;        /* PM1 control registers, 0: absent. Only with a valid \_S5_ */
    u32 s5_typa, s5_typb;            /* SLP_TYP, 0 to 7 */
    u32 skipped; /* tables with a wrong length or checksum, or that could not be read */
};

/* Reads what the RSDP at that physical address leads to. False: it is no RSDP, or leads to nothing;
 * *out is then all zero. */
bool acpi_read(const struct acpi_memory *memory, u64 rsdp, struct acpi_info *out);

#endif
