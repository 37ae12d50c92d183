/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/firmware.c vmm/machine/dsdt.c vmm/machine/ram.c vmm/device/fwcfg.c */
/* SOURCES: vmm/machine/bus.c lib/acpi.c tests/unit/fake_host.c */
/* What firmware leaves in memory, as a system finds it: scans, checksums, and the loader's own
 * reader of ACPI tables. That Debian's ACPI tools accept them is shown by
 * tests/tools/test_guest_acpi.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/abi.h"
#include "lib/acpi.h"
#include "lib/hw/acpi_pm.h"
#include "tests/unit/acpi_check.h"
#include "tests/unit/fake_host.h"
#include "vmm/device/fwcfg.h"
#include "vmm/machine/firmware.h"

#define MEMORY (2ull << 20)

static struct ram ram;

static int setup(void **state)
{
    (void)state;
    ram.base = calloc(1, MEMORY);
    ram_layout(&ram, MEMORY);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(ram.base);
    return 0;
}

static u64 get(u64 gpa, u32 bytes)
{
    u64 value = 0;

    assert_true(ram_read(&ram, &value, GPA(gpa), bytes));
    return value;
}

static u8 sum(u64 gpa, u32 bytes)
{
    assert_true(ram_bytes_at(&ram, GPA(gpa)) >= bytes);
    return acpi_sum(ram.base + gpa, bytes);
}

/* The only place in the range that has these bytes on a 16-byte boundary. */
static u64 scan(u64 start, u64 end, const char *signature)
{
    u64 found = 0;

    for (u64 at = start; at < end; at += 16) {
        if (!memcmp(ram.base + at, signature, strlen(signature))) {
            assert_int_equal(found, 0);
            found = at;
        }
    }
    assert_int_not_equal(found, 0);
    return found;
}

static void build(u32 cpus)
{
    struct firmware_args args = {cpus};

    memset(ram.base, 0, MEMORY);
    assert_true(firmware_build(&ram, &args));
}

static bool read_memory(void *ctx, u64 pa, void *dst, u32 bytes)
{
    return ram_read(ctx, dst, GPA(pa), bytes);
}

static void test_acpi(void **state)
{
    struct acpi_memory memory = {read_memory, &ram};
    struct acpi_info info;

    (void)state;
    for (u32 cpus = 1; cpus <= VM_MAX_CPUS; cpus++) {
        build(cpus);
        u64 rsdp = scan(0xe0000, RAM_HIGH, "RSD PTR ");
        assert_int_equal(rsdp, FIRMWARE_RSDP);
        assert_int_equal(sum(rsdp, 20), 0);
        assert_int_equal(sum(rsdp, 36), 0);
        assert_true(acpi_read(&memory, rsdp, &info));
        struct acpi_info want = {.cpu_count = cpus,
                                 .lapic_base = 0xfee00000,
                                 .ioapic_base = 0xfec00000,
                                 .pm_timer_port = 0x608,
                                 .pm_timer_bits = 24,
                                 .pm1a_port = 0x604,
                                 .s5_typa = PM_SLP_TYP_S5};
        for (u32 i = 0; i < cpus; i++) {
            want.cpu_apic_ids[i] = i;
        }
        acpi_check_info(&info, &want);
    }
}

/* RSDT and XSDT list the same tables, in RAM that the map does not call available. */
static void test_root_tables(void **state)
{
    static const char *const names[] = {"FACP", "APIC", "SSDT", "MCFG"};

    (void)state;
    build(4);
    u64 rsdt = get(FIRMWARE_RSDP + 16, 4), xsdt = get(FIRMWARE_RSDP + 24, 8);
    assert_int_equal(get(rsdt + 4, 4), 36 + 4 * 4);
    assert_int_equal(get(xsdt + 4, 4), 36 + 4 * 8);
    for (u32 i = 0; i < 4; i++) {
        u64 table = get(xsdt + 36 + 8 * i, 8);
        u32 bytes = (u32)get(table + 4, 4);
        assert_int_equal(table, get(rsdt + 36 + 4 * i, 4));
        assert_memory_equal(ram.base + table, names[i], 4);
        assert_int_equal(sum(table, bytes), 0);
        assert_true(table >= RAM_BIOS && table + bytes <= RAM_HIGH);
        assert_int_equal(ram_available_at(&ram, GPA(table)), 0);
    }
    u64 fadt = get(rsdt + 36, 4), facs = get(fadt + 36, 4);
    assert_memory_equal(ram.base + facs, "FACS", 4);
    assert_int_equal(facs & 63, 0);
    assert_int_equal(get(fadt + 40, 4), get(fadt + 140, 8)); /* the DSDT, twice */
    assert_int_equal(get(fadt + 116 + 4, 8), 0xcf9);
    assert_int_equal(get(fadt + 128, 1), 6);
    assert_int_equal(get(fadt + 48, 4), 0); /* no SMI */
    u64 mcfg = get(rsdt + 36 + 12, 4);
    assert_int_equal(get(mcfg + 44, 8), 0xc0000000); /* segment 0, bus 0 to 0 */
    assert_int_equal(get(mcfg + 52, 8), 0);
    assert_int_equal(ram_bytes_at(&ram, GPA(get(mcfg + 44, 8))), 0);
}

static void test_madt(void **state)
{
    /* Behind the IOAPIC: IRQ 0 at pin 2 as ISA has it, IRQ 9 level and active high, NMI at LINT1 */
    static const u8 rest[] = {2, 10, 0, 0, 2, 0,  0, 0, 0, 0,    2, 10, 0,
                              9, 9,  0, 0, 0, 13, 0, 4, 6, 0xff, 5, 0,  1};

    (void)state;
    build(1);
    u64 madt = get(get(FIRMWARE_RSDP + 16, 4) + 40, 4);
    assert_int_equal(get(madt + 36, 4), 0xfee00000);
    assert_int_equal(get(madt + 40, 4), 1);
    assert_memory_equal(ram.base + madt + 56, rest, sizeof(rest));
    assert_int_equal(get(madt + 82, 8), 0x0000000100000800);
    assert_int_equal(get(madt + 4, 4), 90);
}

static void test_mp_table(void **state)
{
    (void)state;
    for (u32 cpus = 1; cpus <= VM_MAX_CPUS; cpus++) {
        static const u32 sizes[] = {20, 8, 8, 8, 8};
        u32 counts[5] = {0};

        build(cpus);
        u64 pointer = scan(0xf0000, RAM_HIGH, "_MP_");
        assert_int_equal(sum(pointer, 16), 0);
        u64 table = get(pointer + 4, 4), at = table + 44;
        u64 end = table + get(table + 4, 2);
        assert_memory_equal(ram.base + table, "PCMP", 4);
        assert_int_equal(sum(table, (u32)(end - table)), 0);
        for (u32 i = 0; i < get(table + 34, 2); i++) {
            u8 type = (u8)get(at, 1);
            assert_true(type < 5);
            if (type == 0) {
                assert_int_equal(get(at + 1, 1), counts[0]);              /* APIC ID */
                assert_int_equal(get(at + 3, 1), counts[0] == 0 ? 3 : 1); /* the first one boots */
            }
            if (type == 3) { /* where an ISA line arrives */
                u64 irq = get(at + 5, 1);
                assert_int_equal(get(at + 7, 1), irq ? irq : 2);
                assert_int_equal(get(at + 2, 2), irq == 9 ? 0xd : 0);
            }
            counts[type]++;
            at += sizes[type];
        }
        assert_int_equal(at, end);
        assert_int_equal(counts[0], cpus);
        assert_int_equal(counts[1], 1);
        assert_int_equal(counts[2], 1);
        assert_int_equal(counts[3], 15);
        assert_int_equal(counts[4], 2);
    }
}

static void test_bios_data(void **state)
{
    (void)state;
    build(1);
    assert_int_equal(get(0x400, 2), 0x3f8);
    assert_int_equal(get(0x40e, 2) << 4, RAM_EBDA);
    assert_int_equal(get(0x413, 2) << 10, RAM_EBDA);
    assert_int_equal(get(RAM_EBDA, 1), 1);
    assert_int_equal(get(0x449, 1), 3); /* video mode, columns, CRT controller, rows less one */
    assert_int_equal(get(0x44a, 2), 80);
    assert_int_equal(get(0x463, 2), 0x3d4);
    assert_int_equal(get(0x484, 1), 24);
    assert_int_equal(ram_available_at(&ram, GPA(RAM_EBDA - 1)), 1);
    assert_int_equal(ram_available_at(&ram, GPA(RAM_EBDA)), 0);
}

static void test_refusals(void **state)
{
    struct firmware_args none = {0}, many = {VM_MAX_CPUS + 1}, one = {1};
    struct ram hollow = {.base = ram.base};

    (void)state;
    assert_false(firmware_build(&ram, &none));
    assert_false(firmware_build(&ram, &many));
    assert_false(firmware_build(&hollow, &one)); /* no RAM in the BIOS area */
}

static void select_key(struct machine *m, u16 key)
{
    bus_out(&m->bus, FWCFG_PORT, 2, key);
}

static u64 number(struct machine *m, u16 key, u32 bytes)
{
    u64 value = 0;

    select_key(m, key);
    for (u32 i = 0; i < bytes; i++) {
        value |= (u64)bus_in(&m->bus, FWCFG_PORT + 1, 1) << 8 * i;
    }
    return value;
}

static void test_fwcfg_items(void **state)
{
    static const u64 sizes[] = {MEMORY, 3ull << 30, 5ull << 30};
    static struct machine m;
    static struct fwcfg f;
    struct firmware_args args = {6};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct ram big = {0};
        struct ram_area area;

        ram_layout(&big, sizes[i]);
        fake_host_reset(&m);
        fwcfg_init(&f);
        assert_true(firmware_add_items(&f, &big, &args));
        assert_true(fwcfg_attach(&f, &m));
        assert_true(number(&m, FWCFG_RAM_SIZE, 8) == sizes[i]);
        assert_int_equal(number(&m, FWCFG_NB_CPUS, 2), 6);
        assert_int_equal(number(&m, FWCFG_MAX_CPUS, 2), 6);
        select_key(&m, FWCFG_FILE_FIRST); /* "etc/e820" */
        for (u32 n = 0; n < big.area_count; n++) {
            for (u32 b = 0; b < sizeof(area); b++) {
                ((u8 *)&area)[b] = (u8)bus_in(&m.bus, FWCFG_PORT + 1, 1);
            }
            assert_memory_equal(&area, &big.area[n], sizeof(area));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_acpi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_root_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_madt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mp_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bios_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test(test_fwcfg_items),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
