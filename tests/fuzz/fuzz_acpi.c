/* SPDX-License-Identifier: MIT */
/*
 * The ACPI reader on any physical memory: the input is memory from BASE on, the RSDP at its start.
 * As no fuzzer finds a checksum, those of all known signatures are put right first, unless the
 * first byte of the RSDP's OEM name is odd.
 */
/* SOURCES: lib/acpi.c */
#include <string.h>

#include "lib/acpi.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE      0x10000ull
#define MAX_BYTES 16384

static u8 memory[MAX_BYTES];
static size_t memory_bytes;

static bool read_memory(void *ctx, u64 pa, void *dst, u32 bytes)
{
    (void)ctx;
    CHECK(bytes >= 1 && bytes <= 256);
    if (pa < BASE || memory_bytes < bytes || pa - BASE > memory_bytes - bytes) {
        return false;
    }
    memcpy(dst, memory + (pa - BASE), bytes);
    return true;
}

static void seal(size_t at, size_t bytes, size_t checksum)
{
    u8 sum = 0;

    if (at + bytes > memory_bytes || bytes <= checksum) {
        return;
    }
    memory[at + checksum] = 0;
    for (size_t i = 0; i < bytes; i++) {
        sum = (u8)(sum + memory[at + i]);
    }
    memory[at + checksum] = (u8)-sum;
}

static void seal_all(void)
{
    static const char *const names[] = {"XSDT", "RSDT", "APIC", "HPET", "FACP", "DSDT", "SSDT"};

    for (size_t at = 0; at + 36 <= memory_bytes; at += 4) {
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            if (memcmp(memory + at, names[i], 4) == 0) {
                u32 bytes;

                memcpy(&bytes, memory + at + 4, 4);
                seal(at, bytes, 9);
            }
        }
    }
    seal(0, 20, 8);
    if (memory_bytes >= 36) {
        u32 bytes;

        memcpy(&bytes, memory + 20, 4);
        seal(0, bytes, 32);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct acpi_memory m = {read_memory, NULL};
    static struct acpi_info info;

    memory_bytes = MIN(size, (size_t)MAX_BYTES);
    memcpy(memory, data, memory_bytes);
    if (memory_bytes > 9 && !(memory[9] & 1)) {
        seal_all();
    }
    memset(&info, 0xa5, sizeof(info));
    if (!acpi_read(&m, BASE, &info)) {
        CHECK(!info.cpu_count && !info.hpet_base && !info.pm1a_port && !info.skipped);
        return 0;
    }
    CHECK(info.cpu_count <= ACPI_MAX_CPUS);
    for (u32 i = 0; i < info.cpu_count; i++) {
        for (u32 k = 0; k < i; k++) {
            CHECK(info.cpu_apic_ids[i] != info.cpu_apic_ids[k]);
        }
    }
    CHECK(info.pm1a_port <= 0xffff && info.pm1b_port <= 0xffff && info.pm_timer_port <= 0xffff);
    CHECK(!info.pm_timer_port || info.pm_timer_bits == 24 || info.pm_timer_bits == 32);
    CHECK(info.s5_typa <= 7 && info.s5_typb <= 7);
    CHECK(!(info.hpet_base & 0xff) && !(info.lapic_base & 0xff) && !(info.ioapic_base & 0xff));
    return 0;
}
