/* SPDX-License-Identifier: MIT */
/* The ACPI reader, on tables that are built here: good ones, damaged ones, and odd ones. */
/* SOURCES: lib/acpi.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/acpi.h"
#include "tests/unit/acpi_check.h"

/* A piece of physical memory. Each table has 1 KiB of it, a DSDT the last 4 KiB. */
#define BASE  0x7f000000ull
#define SLOTS 16
#define SLOT  1024
#define DSDT  12 /* slot */

enum { RSDP, ROOT, MADT, HPET, FADT, SSDT, EXTRA };

static u8 memory[SLOTS * SLOT];
static u32 root_entries, root_width;

static bool read_memory(void *ctx, u64 pa, void *dst, u32 bytes)
{
    (void)ctx;
    assert_true(bytes >= 1 && bytes <= 256);
    if (pa < BASE || pa - BASE > sizeof(memory) - bytes) {
        return false;
    }
    memcpy(dst, memory + (pa - BASE), bytes);
    return true;
}

static u8 *at(u32 slot)
{
    return memory + (size_t)slot * SLOT;
}

static u64 address(u32 slot)
{
    return BASE + (u64)slot * SLOT;
}

static void put(u8 *p, u64 value, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++) {
        p[i] = (u8)(value >> (8 * i));
    }
}

static void seal(u8 *p, u32 bytes, u32 checksum_at)
{
    p[checksum_at] = 0;
    p[checksum_at] = (u8)-acpi_sum(p, bytes);
}

/* Sets a table's header; the content is there already. */
static void finish(u32 slot, const char *signature, u32 bytes)
{
    u8 *p = at(slot);

    memcpy(p, signature, 4);
    put(p + 4, bytes, 4);
    seal(p, bytes, 9);
}

static void add_root(u32 slot)
{
    put(at(ROOT) + 36 + root_entries++ * root_width, address(slot), root_width);
    finish(ROOT, root_width == 8 ? "XSDT" : "RSDT", 36 + root_entries * root_width);
}

static void make_rsdp(u32 revision)
{
    u8 *p = at(RSDP);

    memcpy(p, "RSD PTR ", 8);
    p[15] = (u8)revision;
    put(p + 16, revision ? 0 : address(ROOT), 4);
    if (revision) {
        put(p + 20, 36, 4);
        put(p + 24, address(ROOT), 8);
    }
    seal(p, 20, 8);
    if (revision) {
        seal(p, 36, 32);
    }
}

static u32 madt_bytes;

static u8 *madt_entry(u32 type, u32 bytes)
{
    u8 *p = at(MADT) + madt_bytes;

    p[0] = (u8)type;
    p[1] = (u8)bytes;
    madt_bytes += bytes;
    return p;
}

static void madt_cpu(u32 apic_id, u32 flags)
{
    u8 *p = madt_entry(0, 8);

    p[3] = (u8)apic_id;
    put(p + 4, flags, 4);
}

static void madt_x2cpu(u32 apic_id, u32 flags)
{
    u8 *p = madt_entry(9, 16);

    put(p + 4, apic_id, 4);
    put(p + 8, flags, 4);
}

static void madt_ioapic(u32 base, u32 gsi)
{
    u8 *p = madt_entry(1, 12);

    put(p + 4, base, 4);
    put(p + 8, gsi, 4);
}

static void begin(u32 revision)
{
    memset(memory, 0, sizeof(memory));
    root_entries = 0;
    root_width = revision ? 8 : 4;
    make_rsdp(revision);
    finish(ROOT, revision ? "XSDT" : "RSDT", 36);
    madt_bytes = 44;
    put(at(MADT) + 36, 0xfee00000, 4);
}

static void make_fadt(void)
{
    u8 *p = at(FADT);

    put(p + 40, address(DSDT), 4);
    put(p + 64, 0x404, 4);
    put(p + 68, 0x504, 4);
    put(p + 76, 0x408, 4);
    p[91] = 4;
    finish(FADT, "FACP", 116);
    add_root(FADT);
}

static const u8 s5_bytes[] = {0x08, '_',  'S',  '5',  '_',  0x12, 0x06,
                              0x04, 0x0a, 0x05, 0x0a, 0x07, 0x00};

static void make_dsdt(u32 offset, const u8 *aml, u32 bytes)
{
    memcpy(at(DSDT) + offset, aml, bytes);
    finish(DSDT, "DSDT", 3000);
}

static struct acpi_info info;

static bool read(void)
{
    const struct acpi_memory m = {read_memory, NULL};

    memset(&info, 0xff, sizeof(info));
    return acpi_read(&m, address(RSDP), &info);
}

static void a_pc(u32 revision)
{
    begin(revision);
    madt_cpu(0, 1);
    madt_cpu(2, 1);
    madt_cpu(4, 0); /* not enabled */
    madt_cpu(5, 2); /* could be plugged in later */
    madt_cpu(2, 1); /* twice */
    madt_cpu(0xff, 1);
    madt_x2cpu(2, 1);
    madt_x2cpu(0x123, 1);
    madt_x2cpu(0x124, 0);
    madt_x2cpu(0xffffffff, 1);
    madt_ioapic(0xfec10000, 24);
    madt_ioapic(0xfec00000, 0);
    madt_ioapic(0xfec20000, 48);
    madt_entry(77, 6); /* unknown */
    finish(MADT, "APIC", madt_bytes);
    add_root(MADT);
    at(HPET)[40] = 0;
    put(at(HPET) + 44, 0xfed00000, 8);
    finish(HPET, "HPET", 56);
    add_root(HPET);
    make_fadt();
    make_dsdt(100, s5_bytes, sizeof(s5_bytes));
}

static void good(void **state)
{
    (void)state;
    for (u32 revision = 0; revision <= 2; revision += 2) {
        a_pc(revision);
        assert_true(read());
        acpi_check_info(&info, &(struct acpi_info){
                                   .cpu_count = 3,
                                   .cpu_apic_ids = {0, 2, 0x123},
                                   .lapic_base = 0xfee00000,
                                   .ioapic_base = 0xfec00000,
                                   .hpet_base = 0xfed00000,
                                   .pm_timer_port = 0x408,
                                   .pm_timer_bits = 24,
                                   .pm1a_port = 0x404,
                                   .pm1b_port = 0x504,
                                   .s5_typa = 5,
                                   .s5_typb = 7
        });
    }
}

static void lapic_override(void **state)
{
    u8 *p;

    (void)state;
    begin(2);
    p = madt_entry(5, 12);
    put(p + 4, 0x1fee00000, 8);
    finish(MADT, "APIC", madt_bytes);
    add_root(MADT);
    assert_true(read());
    assert_true(info.lapic_base == 0x1fee00000);
    assert_int_equal(info.cpu_count, 0);
}

static void many_cpus(void **state)
{
    (void)state;
    begin(2);
    /* more than a slot holds: over the slots behind it, which are not in use here */
    for (u32 i = 0; i < ACPI_MAX_CPUS + 10; i++) {
        madt_x2cpu(i, 1);
    }
    finish(MADT, "APIC", madt_bytes);
    add_root(MADT);
    assert_true(read());
    assert_int_equal(info.cpu_count, ACPI_MAX_CPUS);
    assert_int_equal(info.cpus_left_out, 10);
}

/* A damaged entry ends the table; what stood before it counts. */
static void odd_madt(void **state)
{
    static const u8 lengths[] = {0, 1, 200};

    (void)state;
    for (u32 i = 0; i < sizeof(lengths); i++) {
        begin(2);
        madt_cpu(7, 1);
        madt_entry(0, 8)[1] = lengths[i];
        madt_cpu(8, 1);
        finish(MADT, "APIC", madt_bytes);
        add_root(MADT);
        assert_true(read());
        assert_int_equal(info.cpu_count, 1);
        assert_int_equal(info.cpu_apic_ids[0], 7);
    }
    begin(2);
    madt_cpu(7, 1);
    madt_entry(0, 3); /* too short for what it says it is */
    put(at(MADT) + 36, 0x12345, 4);
    finish(MADT, "APIC", madt_bytes);
    add_root(MADT);
    assert_true(read());
    assert_int_equal(info.cpu_count, 1);
    assert_int_equal(info.lapic_base, 0); /* not aligned */
}

static void checksums(void **state)
{
    (void)state;
    a_pc(2);
    at(RSDP)[10] ^= 1;
    assert_false(read());
    assert_int_equal(info.cpu_count, 0);
    a_pc(2);
    memset(at(RSDP), 0, 36);
    assert_false(read());
    a_pc(2);
    at(ROOT)[20] ^= 1;
    assert_false(read());
    a_pc(2);
    at(MADT)[50] ^= 0x80;
    assert_true(read());
    assert_int_equal(info.cpu_count, 0);
    assert_int_equal(info.skipped, 1);
    assert_int_equal(info.hpet_base, 0xfed00000);
    a_pc(2);
    at(DSDT)[200] ^= 0x80;
    assert_true(read());
    assert_int_equal(info.pm1a_port, 0); /* no power-off without _S5_ */
    assert_int_equal(info.pm_timer_port, 0x408);
    a_pc(2);
    put(at(HPET) + 4, 0xffffffff, 4);
    put(at(FADT) + 4, 35, 4);
    assert_true(read());
    assert_int_equal(info.skipped, 2);
    assert_int_equal(info.hpet_base, 0);
    assert_int_equal(info.pm_timer_port, 0);
}

/* The extended half of the RSDP is damaged: the old root table serves. */
static void old_root(void **state)
{
    (void)state;
    a_pc(0);
    at(RSDP)[15] = 2;
    put(at(RSDP) + 20, 36, 4);
    put(at(RSDP) + 24, address(ROOT), 8);
    seal(at(RSDP), 20, 8);
    at(RSDP)[33] = 1;
    seal(at(RSDP), 36, 32);
    at(RSDP)[33] = 2;
    assert_true(read());
    assert_int_equal(info.cpu_count, 3);
}

static void addresses_nowhere(void **state)
{
    (void)state;
    a_pc(2);
    put(at(ROOT) + 36, 0, 8);
    put(at(ROOT) + 44, 0xffffffffffffff00, 8);
    put(at(ROOT) + 52, 0x1000, 8);
    finish(ROOT, "XSDT", 36 + 3 * 8);
    assert_true(read());
    assert_int_equal(info.skipped, 2);
    assert_int_equal(info.cpu_count, 0);
}

static void extended_fadt(void **state)
{
    u8 *p = at(FADT);

    (void)state;
    a_pc(2);
    put(p + 112, BIT(8), 4);
    put(p + 40, 0x1000, 4); /* the extended address of the DSDT counts */
    put(p + 140, address(DSDT), 8);
    p[172] = 1;
    put(p + 176, 0x1804, 8);
    p[184] = 0; /* in memory: cannot be used, the old field counts */
    put(p + 188, 0xfed40000, 8);
    p[208] = 1;
    put(p + 212, 0x1808, 8);
    finish(FADT, "FACP", 244);
    assert_true(read());
    assert_int_equal(info.pm1a_port, 0x1804);
    assert_int_equal(info.pm1b_port, 0x504);
    assert_int_equal(info.pm_timer_port, 0x1808);
    assert_int_equal(info.pm_timer_bits, 32);
    assert_int_equal(info.s5_typa, 5);

    put(p + 112, BIT(20), 4); /* reduced hardware: none of this is there */
    finish(FADT, "FACP", 244);
    assert_true(read());
    assert_int_equal(info.pm1a_port, 0);
    assert_int_equal(info.pm_timer_port, 0);

    a_pc(2);
    p[91] = 0;
    put(p + 64, 0x10000, 4);
    finish(FADT, "FACP", 116);
    assert_true(read());
    assert_int_equal(info.pm_timer_port, 0);
    assert_int_equal(info.pm1a_port, 0);
    assert_int_equal(info.pm1b_port, 0x504);
}

static void s5(const u8 *aml, u32 bytes, bool found, u32 a, u32 b)
{
    /* at every place around the borders of the pieces that are read */
    for (u32 offset = 36; offset < 600; offset++) {
        a_pc(2);
        memset(at(DSDT) + 36, 0, 2900);
        make_dsdt(offset, aml, bytes);
        assert_true(read());
        assert_int_equal(info.pm1a_port, found ? 0x404 : 0);
        assert_int_equal(info.s5_typa, a);
        assert_int_equal(info.s5_typb, b);
    }
    a_pc(2);
    memset(at(DSDT) + 36, 0, 2900);
    make_dsdt(3000 - bytes, aml, bytes); /* and at the end */
    assert_true(read());
    assert_int_equal(info.pm1a_port, found ? 0x404 : 0);
}

static void s5_forms(void **state)
{
    static const u8 root_prefix[] = {0x08, '\\', '_',  'S',  '5',  '_', 0x12,
                                     0x08, 0x04, 0x01, 0x00, 0x00, 0x00};
    static const u8 wide[] = {0x08, '_', 'S',  '5',  '_', 0x12, 0x4a, 0x00, 0x02,
                              0x0b, 6,   0x00, 0x0c, 3,   0,    0,    0};
    static const u8 method[] = {0x14, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x0a, 0x07};
    static const u8 large[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x08, 0x0a, 0x07};
    static const u8 single[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x01, 0x0a, 0x05};
    static const u8 names[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 'A', 'B', 'C', 'D'};
    static const u8 cut[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a};

    (void)state;
    s5(s5_bytes, sizeof(s5_bytes), true, 5, 7);
    s5(root_prefix, sizeof(root_prefix), true, 1, 0);
    s5(wide, sizeof(wide), true, 6, 3);
    s5(method, sizeof(method), false, 0, 0);
    s5(large, sizeof(large), false, 0, 0);
    s5(single, sizeof(single), false, 0, 0);
    s5(names, sizeof(names), false, 0, 0);
    a_pc(2);
    memset(at(DSDT) + 36, 0, 2900);
    make_dsdt(3000 - sizeof(cut), cut, sizeof(cut));
    assert_true(read());
    assert_int_equal(info.pm1a_port, 0);
}

static void s5_in_ssdt(void **state)
{
    (void)state;
    a_pc(2);
    memset(at(DSDT) + 36, 0, 2900);
    finish(DSDT, "DSDT", 3000);
    memcpy(at(SSDT) + 300, s5_bytes, sizeof(s5_bytes));
    finish(SSDT, "SSDT", 500);
    finish(EXTRA, "SSDT", 40);
    add_root(EXTRA);
    add_root(SSDT);
    assert_true(read());
    assert_int_equal(info.pm1a_port, 0x404);
    assert_int_equal(info.s5_typb, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(lapic_override),
        cmocka_unit_test(many_cpus),
        cmocka_unit_test(odd_madt),
        cmocka_unit_test(checksums),
        cmocka_unit_test(old_root),
        cmocka_unit_test(addresses_nowhere),
        cmocka_unit_test(extended_fadt),
        cmocka_unit_test(s5_forms),
        cmocka_unit_test(s5_in_ssdt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
