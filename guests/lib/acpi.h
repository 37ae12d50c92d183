/* SPDX-License-Identifier: MIT */
/* Where the ACPI tables are, and what they say. */
#ifndef GUESTS_LIB_ACPI_H
#define GUESTS_LIB_ACPI_H

#include "lib/acpi.h"
#include "lib/types.h"

/* What all description tables begin with. */
struct acpi_header {
    char signature[4];
    u32 bytes;
    u8 revision, checksum;
    char oem[6], oem_table[8];
    u32 oem_revision;
    char creator[4];
    u32 creator_revision;
} PACKED;

/* The RSDP, where a BIOS leaves it; NULL: there is none with a good checksum. */
const u8 *acpi_rsdp(void);
/* A table by its signature, through the XSDT or else the RSDT; NULL. Checksums are the caller's
 * business. */
const struct acpi_header *acpi_table(const char *signature);
/* All that lib/acpi.h knows to read; zero where there are no tables. Read once. */
const struct acpi_info *acpi_known(void);

/* Sum of all bytes: 0 is good. */
u8 acpi_sum(const void *p, size_t bytes);

#endif
