/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/fwcfg.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* fw_cfg through its ports and through orders in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/fwcfg.h"

#define MEMORY (2ull << 20)
#define ORDER  0x1000
#define TARGET 0x2000

static struct machine m;
static struct fwcfg f;
static const u8 kernel[] = "kernel", notes[] = "some notes";

static int setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    m.ram.base = calloc(1, MEMORY);
    ram_layout(&m.ram, MEMORY);
    memset(&f, 0xa5, sizeof(f)); /* fwcfg_init alone must initialise it */
    fwcfg_init(&f);
    assert_true(fwcfg_add(&f, 0x11, kernel, 6));
    assert_true(fwcfg_add_number(&f, FWCFG_NB_CPUS, 0x1234, 2));
    assert_true(fwcfg_add_file(&f, "etc/notes", notes, 10));
    assert_true(fwcfg_add_file(&f, "opt/empty", "", 0));
    assert_true(fwcfg_attach(&f, &m));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(m.ram.base);
    return 0;
}

static void select_key(u16 key)
{
    bus_out(&m.bus, 0x510, 2, key);
}

static u32 in(void)
{
    return bus_in(&m.bus, 0x511, 1);
}

static u64 in_big(u32 bytes)
{
    u64 value = 0;

    while (bytes--) {
        value = value << 8 | in();
    }
    return value;
}

static void test_ports(void **state)
{
    (void)state;
    assert_int_equal(in_big(4), 0x51454d55); /* "QEMU", selected after reset */
    assert_int_equal(in_big(4), 0);          /* and then zeroes */
    select_key(FWCFG_ID);
    assert_int_equal(in_big(8), 3ull << 56);
    select_key(FWCFG_NB_CPUS);
    assert_int_equal(in_big(4), 0x34120000);
    select_key(FWCFG_NB_CPUS | FWCFG_WRITE_CHANNEL);
    assert_int_equal(in(), 0x34);
    bus_out(&m.bus, 0x511, 1, 0xff); /* writes change nothing */
    bus_out(&m.bus, 0x510, 1, 0xff);
    assert_int_equal(in(), 0x12);
    select_key(FWCFG_NB_CPUS);
    assert_int_equal(bus_in(&m.bus, 0x510, 1), 0x34); /* as in QEMU */
    assert_int_equal(bus_in(&m.bus, 0x510, 2), 0xffff);
    assert_int_equal(bus_in(&m.bus, 0x510, 4), 0xffffffff);
    assert_int_equal(in(), 0x12);
    select_key(FWCFG_NB_CPUS | 0x8000); /* another item, which is not there */
    assert_int_equal(in(), 0);
    select_key(0xffff);
    assert_int_equal(in(), 0);
}

static void test_directory(void **state)
{
    static const struct {
        u32 size, key;
        const char *name;
    } files[] = {
        {10, 0x20, "etc/notes"},
        {0,  0x21, "opt/empty"},
    };

    (void)state;
    select_key(FWCFG_FILE_DIR);
    assert_int_equal(in_big(4), 2);
    for (u32 i = 0; i < 2; i++) {
        char name[57] = "";
        assert_int_equal(in_big(4), files[i].size);
        assert_int_equal(in_big(2), files[i].key);
        assert_int_equal(in_big(2), 0);
        for (u32 n = 0; n < 56; n++) {
            name[n] = (char)in();
        }
        assert_string_equal(name, files[i].name);
    }
    select_key(0x20);
    for (u32 i = 0; i < 10; i++) {
        assert_int_equal(in(), notes[i]);
    }
    assert_int_equal(in(), 0);
}

static void test_additions_are_checked(void **state)
{
    char name[57];

    (void)state;
    assert_false(fwcfg_add(&f, 0x11, kernel, 1)); /* taken */
    assert_false(fwcfg_add_number(&f, FWCFG_ID, 1, 2));
    assert_false(fwcfg_add_number(&f, 0x30, 1, 9));
    memset(name, 'x', 56);
    name[56] = 0;
    assert_false(fwcfg_add_file(&f, name, kernel, 1));
    name[55] = 0;
    assert_true(fwcfg_add_file(&f, name, kernel, 1));
    while (f.file_count < FWCFG_MAX_FILES) {
        assert_true(fwcfg_add_file(&f, "more", kernel, 1));
    }
    assert_false(fwcfg_add_file(&f, "more", kernel, 1));
    for (u16 key = 0x100; f.item_count < FWCFG_MAX_ITEMS; key++) {
        assert_true(fwcfg_add_number(&f, key, 1, 8));
    }
    assert_false(fwcfg_add(&f, 0x200, kernel, 1));
    assert_false(fwcfg_add_number(&f, 0x200, 1, 8));
}

/* Carries out an order; its result. */
static u32 order(u32 control, u32 length, u64 address)
{
    struct fwcfg_order o = {__builtin_bswap32(control), __builtin_bswap32(length),
                            __builtin_bswap64(address)};
    u32 result;

    assert_true(ram_write(&m.ram, GPA(ORDER), &o, sizeof(o)));
    bus_out(&m.bus, 0x518, 4, __builtin_bswap32(ORDER));
    assert_true(ram_read(&m.ram, &result, GPA(ORDER), 4));
    assert_memory_equal(m.ram.base + ORDER + 4, (u8 *)&o + 4, 12);
    return __builtin_bswap32(result);
}

static void test_orders(void **state)
{
    u8 *target = m.ram.base + TARGET;

    (void)state;
    assert_int_equal(bus_in(&m.bus, 0x514, 4), 0x554d4551); /* "QEMU CFG" */
    assert_int_equal(bus_in(&m.bus, 0x518, 4), 0x47464320);
    memset(target, 0xee, 32);
    assert_int_equal(order(0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ, 4, TARGET), 0);
    assert_memory_equal(target, "kern\xee", 5);
    assert_int_equal(order(FWCFG_DMA_READ, 1, TARGET + 4), 0); /* it goes on */
    assert_memory_equal(target, "kerne\xee", 6);
    assert_int_equal(order(FWCFG_DMA_READ, 8, TARGET + 5), 0); /* over the end: zeroes */
    assert_memory_equal(target, "kernel\0\0\0\0\0\0\0\xee", 14);
    assert_int_equal(order(0x20 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_SKIP, 5, ~0ull), 0);
    assert_int_equal(in(), 'n'); /* ports and orders share the position */
    assert_int_equal(order(FWCFG_DMA_SKIP, 0xffffffff, 0), 0);
    assert_int_equal(in(), 0);
    assert_int_equal(order(0x20 << 16 | FWCFG_DMA_SELECT, 0xffffffff, ~0ull), 0);
    assert_int_equal(in(), 's');
    assert_int_equal(order(0, 0, 0), 0);
    assert_int_equal(order(0x20 << 16 | FWCFG_DMA_READ, 1, TARGET), 0); /* key without its bit */
    assert_int_equal(*target, 'o');
}

static void test_order_address(void **state)
{
    struct fwcfg_order o = {__builtin_bswap32(0x11 << 16 | FWCFG_DMA_SELECT), 0, 0};

    (void)state;
    /* The upper half counts for one order, and is zero then. */
    assert_true(ram_write(&m.ram, GPA(ORDER), &o, sizeof(o)));
    bus_out(&m.bus, 0x514, 4, __builtin_bswap32(1));
    bus_out(&m.bus, 0x518, 4, __builtin_bswap32(ORDER)); /* 4 GiB too high: nothing is there */
    assert_int_equal(in(), 'Q');
    assert_int_equal(m.ram.base[ORDER + 3], FWCFG_DMA_SELECT);
    bus_out(&m.bus, 0x518, 4, __builtin_bswap32(ORDER));
    assert_int_equal(in(), 'k');
    assert_int_equal(m.ram.base[ORDER + 3], 0);
    /* An order that reaches over the end of memory: its first word can still take the result. */
    bus_out(&m.bus, 0x518, 4, __builtin_bswap32(MEMORY - 8));
    assert_memory_equal(m.ram.base + MEMORY - 8, "\0\0\0\1", 4);
    assert_true(ram_write(&m.ram, GPA(ORDER), &o, sizeof(o)));
    for (u16 port = 0x515; port < 0x518; port++) { /* between the halves: no order */
        bus_out(&m.bus, port, 4, __builtin_bswap32(ORDER));
    }
    assert_int_equal(in(), 'e');
}

static void test_order_errors(void **state)
{
    static const struct {
        u32 control, length;
        u64 address;
    } cases[] = {
        {0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  6,                        0xa0000   },
        {0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  6,                        ~0ull     },
        {0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  6,                        MEMORY - 5},
        {0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  8,                        MEMORY - 7},
        {0x99 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  1,                        ~0ull     },
        {0x99 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  FWCFG_MAX_ZEROES + 1,     TARGET    },
        {0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  FWCFG_MAX_ZEROES + 6 + 1, TARGET    },
        {0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,  0xffffffff,               TARGET    },
        {0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_WRITE, 1,                        TARGET    },
        {0x99 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_WRITE, 1,                        TARGET    },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(order(cases[i].control, cases[i].length, cases[i].address),
                         FWCFG_DMA_ERROR);
    }
    assert_string_equal((const char *)kernel, "kernel");
    assert_int_equal(order(FWCFG_DMA_WRITE, 0, TARGET), 0);
    assert_int_equal(
        order(0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ, FWCFG_MAX_ZEROES + 6, TARGET), 0);
    assert_int_equal(m.ram.base[TARGET + 5], 'l');
    /* Reading wins over writing. */
    assert_int_equal(
        order(0x11 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_WRITE | FWCFG_DMA_READ, 6, TARGET), 0);
}

/* Data that lands on its own order: the copy counts, and the result comes last. */
static void test_order_overwrites_itself(void **state)
{
    struct fwcfg_order o = {__builtin_bswap32(0x20 << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ),
                            __builtin_bswap32(10), __builtin_bswap64(ORDER)};

    (void)state;
    assert_true(ram_write(&m.ram, GPA(ORDER), &o, sizeof(o)));
    bus_out(&m.bus, 0x518, 4, __builtin_bswap32(ORDER));
    assert_memory_equal(m.ram.base + ORDER, "\0\0\0\0 notes", 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_additions_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_overwrites_itself, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
