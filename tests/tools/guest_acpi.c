/* SPDX-License-Identifier: MIT */
/* Builds the firmware's tables for a number of CPUs in a buffer, finds them as a system does, and
 * writes each into a file. usage: guest_acpi CPUS FOLDER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/firmware.h"

static struct ram ram;

static u64 word(u64 gpa, u32 bytes)
{
    u64 value = 0;

    if (!ram_read(&ram, &value, GPA(gpa), bytes)) {
        fprintf(stderr, "%llx is not RAM\n", (unsigned long long)gpa);
        exit(1);
    }
    return value;
}

static void save(const char *folder, u64 gpa, const char *name, u64 bytes)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%.4s.bin", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || ram_bytes_at(&ram, GPA(gpa)) < bytes ||
        fwrite(ram.base + gpa, 1, bytes, f) != bytes || fclose(f)) {
        perror(path);
        exit(1);
    }
}

static void save_table(const char *folder, u64 gpa)
{
    save(folder, gpa, (const char *)ram.base + gpa, word(gpa + 4, 4));
}

int main(int argc, char **argv)
{
    struct firmware_args args = {.cpus = argc == 3 ? (u32)strtoul(argv[1], NULL, 0) : 0};
    u64 rsdp = RAM_BIOS;

    ram.base = calloc(1, 1 << 20);
    ram_layout(&ram, 1 << 20);
    if (!ram.base || !firmware_build(&ram, &args)) {
        fprintf(stderr, "usage: guest_acpi CPUS FOLDER\n");
        return 1;
    }
    while (memcmp(ram.base + rsdp, "RSD PTR ", 8)) {
        rsdp += 16;
    }
    save(argv[2], rsdp, "RSDP", 36);
    u64 rsdt = word(rsdp + 16, 4), xsdt = word(rsdp + 24, 8);
    save_table(argv[2], rsdt);
    save_table(argv[2], xsdt);
    for (u64 at = xsdt + 36; at < xsdt + word(xsdt + 4, 4); at += 8) {
        u64 table = word(at, 8);
        save_table(argv[2], table);
        if (!memcmp(ram.base + table, "FACP", 4)) {
            save_table(argv[2], word(table + 36, 4));  /* FACS */
            save_table(argv[2], word(table + 140, 8)); /* DSDT */
        }
    }
    free(ram.base);
    return 0;
}
