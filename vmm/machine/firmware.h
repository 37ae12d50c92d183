/* SPDX-License-Identifier: MIT */
/*
 * What a PC's firmware leaves in memory for the system that it starts: ACPI tables and the MP table
 * in the BIOS area, the words of the BIOS data area that old systems read, and what QEMU's fw_cfg
 * device tells. No system calls here.
 */
#ifndef VMM_MACHINE_FIRMWARE_H
#define VMM_MACHINE_FIRMWARE_H

#include "lib/types.h"
#include "vmm/machine/ram.h"

/* Guest-physical; whoever looks for the RSDP scans 0xe0000..RAM_HIGH in steps of 16. */
#define FIRMWARE_RSDP           0xf0000
#define FIRMWARE_RSDP_BYTES     36
#define FIRMWARE_RSDP_OLD_BYTES 20 /* as ACPI 1.0 knows it */

struct firmware_args {
    u32 cpus; /* 1..VM_MAX_CPUS; CPU n has APIC ID n */
};

/* Writes it all; the memory there is zeroed before. To be called before an image is loaded, for it
 * may take its place. false: memory_bytes of ram_layout() was too small, or cpus is out of range.
 */
bool firmware_build(const struct ram *ram, const struct firmware_args *args) MUST_CHECK;

/* Adds the items that depend on the machine: CPUs, memory size, the map "etc/e820". ram must stay
 * where it is. false: no room in f. */
struct fwcfg;
bool firmware_add_items(struct fwcfg *f, const struct ram *ram,
                        const struct firmware_args *args) MUST_CHECK;

/* dsdt.asl, compiled. */
extern const u8 firmware_dsdt[];
extern const u32 firmware_dsdt_bytes;

#endif
