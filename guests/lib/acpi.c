/* SPDX-License-Identifier: MIT */
/* Finds ACPI tables as a BIOS leaves them (ACPI 6.4 "Finding the RSDP on IA-PC Systems"). */
#include "guests/lib/acpi.h"

#include "guests/lib/boot.h"
#include "lib/string.h"

#define BIOS_START   0xe0000u
#define BIOS_END     0x100000u
#define EBDA_SEGMENT 0x40eu
#define RSDP_V1      20 /* bytes of the first version, which has a checksum of its own */
#define RSDP_RSDT    16
#define RSDP_XSDT    24
#define RSDP_VERSION 15

u8 acpi_sum(const void *p, size_t bytes)
{
    const u8 *b = p;
    u8 sum = 0;

    while (bytes--) {
        sum = (u8)(sum + *b++);
    }
    return sum;
}

static const u8 *at(u64 pa)
{
    const u8 *p = (const u8 *)pa;

    __asm__("" : "+r"(p)); /* low memory is there, whatever the compiler thinks of it */
    return p;
}

static const u8 *find(u64 start, u64 end)
{
    for (u64 pa = start; pa + RSDP_V1 <= end; pa += 16) {
        if (!memcmp(at(pa), "RSD PTR ", 8) && !acpi_sum(at(pa), RSDP_V1)) {
            return at(pa);
        }
    }
    return NULL;
}

const u8 *acpi_rsdp(void)
{
    u64 ebda = (u64)(*(const u16 *)at(EBDA_SEGMENT)) << 4;
    const u8 *p = ebda >= 0x80000 && ebda < 0xa0000 ? find(ebda, ebda + 1024) : NULL;

    return p ? p : find(BIOS_START, BIOS_END);
}

const struct acpi_header *acpi_table(const char *signature)
{
    const u8 *rsdp = acpi_rsdp();
    u64 root = 0;
    u32 entry = 4;

    if (!rsdp) {
        return NULL;
    }
    if (rsdp[RSDP_VERSION] >= 2) {
        memcpy(&root, rsdp + RSDP_XSDT, 8);
        entry = 8;
    }
    if (!root) {
        memcpy(&root, rsdp + RSDP_RSDT, 4);
        entry = 4;
    }
    const struct acpi_header *h = (const struct acpi_header *)at(root);
    for (u32 o = sizeof(*h); o + entry <= h->bytes; o += entry) {
        u64 pa = 0;

        memcpy(&pa, (const u8 *)h + o, entry);
        if (!memcmp(at(pa), signature, 4)) {
            return (const struct acpi_header *)at(pa);
        }
    }
    return NULL;
}

static bool read(void *ctx, u64 pa, void *dst, u32 bytes)
{
    (void)ctx;
    if (pa + bytes > 1ull << 32) {
        return false;
    }
    memcpy(dst, at(pa), bytes);
    return true;
}

const struct acpi_info *acpi_known(void)
{
    static struct acpi_info info;
    static bool known;
    const struct acpi_memory memory = {read, NULL};

    if (!known && acpi_rsdp()) {
        (void)acpi_read(&memory, (u64)acpi_rsdp(), &info);
    }
    known = true;
    return &info;
}
