/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/vga.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The screen in text mode: the registers beside it, and what a row shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/vga.h"

#define MEMORY (1u << 20)

static struct machine m;
static struct vga v;
static char text[VGA_COLUMNS + 1];

static int setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    ram_layout(&m.ram, MEMORY);
    m.ram.base = calloc(1, MEMORY);
    memset(&v, 0xa5, sizeof(v)); /* attach alone must initialise it */
    assert_true(vga_attach(&v, &m));
    return m.ram.base ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(m.ram.base);
    return 0;
}

static void write_register(u8 index, u8 value)
{
    bus_out(&m.bus, VGA_CRTC, 1, index);
    bus_out(&m.bus, VGA_CRTC + 1, 1, value);
}

static u8 read_register(u8 index)
{
    bus_out(&m.bus, VGA_CRTC, 1, index);
    assert_int_equal(bus_in(&m.bus, VGA_CRTC, 1), index);
    return (u8)bus_in(&m.bus, VGA_CRTC + 1, 1);
}

static void put(u32 cell, const char *s)
{
    for (; *s; s++, cell++) {
        m.ram.base[VGA_TEXT + cell * 2 % VGA_TEXT_BYTES] = (u8)*s;
        m.ram.base[VGA_TEXT + cell * 2 % VGA_TEXT_BYTES + 1] = 0x1f; /* a colour is no character */
    }
}

static const char *row(u32 number)
{
    memset(text, 'x', sizeof(text));
    vga_row(&v, number, text);
    return text;
}

static void test_attached(void **state)
{
    (void)state;
    assert_int_equal(read_register(1), VGA_COLUMNS - 1);
    assert_int_equal(read_register(9) & 31, 15); /* lines of a row */
    assert_int_equal((read_register(0x12) | 0x100) + 1, VGA_ROWS * 16);
    for (u32 i = 0; i < 4; i++) {
        assert_int_equal(read_register((u8)(CRTC_START + i)), 0);
    }
    for (u32 i = 0; i < VGA_ROWS; i++) {
        assert_string_equal(row(i), "");
    }
}

static void test_registers(void **state)
{
    (void)state;
    for (u32 i = 0; i < CRTC_COUNT; i++) {
        write_register((u8)i, (u8)(i * 7 + 1));
    }
    for (u32 i = 0; i < CRTC_COUNT; i++) {
        assert_int_equal(read_register((u8)i), (u8)(i * 7 + 1));
    }
    for (u32 i = CRTC_COUNT; i < 0x100; i++) { /* there are no more */
        write_register((u8)i, 0xff);
        assert_int_equal(read_register((u8)i), 0);
    }
    bus_out(&m.bus, VGA_CRTC, 2, 0x120f); /* index and data at once */
    assert_int_equal(bus_in(&m.bus, VGA_CRTC, 2), 0x120f);
    assert_int_equal(read_register(0x0f), 0x12);
    assert_int_equal(bus_in(&m.bus, VGA_CRTC, 4), 0xffffffff);
}

static void test_retrace_comes_and_goes(void **state)
{
    u8 seen = 0, unseen = 0;

    (void)state;
    for (u32 i = 0; i < 4; i++) {
        u8 status = (u8)bus_in(&m.bus, VGA_STATUS, 1);
        seen |= status;
        unseen |= (u8)~status;
        bus_out(&m.bus, VGA_STATUS, 1, 0xff); /* says nothing */
    }
    assert_int_equal(seen, VGA_STATUS_BLANK | VGA_STATUS_RETRACE);
    assert_int_equal(unseen, 0xff);
}

static void test_row(void **state)
{
    char full[VGA_COLUMNS + 1] = {0};

    (void)state;
    put(0, "Hello");
    assert_string_equal(row(0), "Hello");
    put(3 * VGA_COLUMNS + 2, "a  b   ");
    assert_string_equal(row(3), "  a  b");
    memset(full, '#', VGA_COLUMNS);
    put(24 * VGA_COLUMNS, full);
    assert_string_equal(row(24), full);
    assert_string_equal(row(23), "");
    m.ram.count = 0; /* no such memory */
    assert_string_equal(row(24), "");
}

/* Lines stay lines, and nothing that could do something to a terminal comes through. */
static void test_other_characters(void **state)
{
    (void)state;
    put(0, "\xb3\xc4\xcd\xc5\xdb\x1b[2J\n\x7f\x80\xff!\xff ");
    assert_string_equal(row(0), "|-=++?[2J??? !");
    for (u32 c = 1; c < 0x100; c++) {
        char one[2] = {(char)c, 0};
        put(0, one);
        row(0);
        for (u32 i = 0; text[i]; i++) {
            assert_in_range((u8)text[i], ' ', 0x7e);
        }
    }
}

static void test_scrolled(void **state)
{
    const u32 last = VGA_TEXT_BYTES / 2 - VGA_COLUMNS;

    (void)state;
    put(1000, "here");
    write_register(CRTC_START, 1000 >> 8);
    write_register(CRTC_START + 1, 1000 & 0xff);
    assert_string_equal(row(0), "here");
    write_register(CRTC_START, (u8)(last >> 8)); /* and around the end of the page */
    write_register(CRTC_START + 1, (u8)last);
    put(last, "end");
    put(0, "begin");
    assert_string_equal(row(0), "end");
    assert_string_equal(row(1), "begin");
    write_register(CRTC_START, 0xff);
    write_register(CRTC_START + 1, 0xff);
    assert_string_equal(row(0), " begin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_attached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retrace_comes_and_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scrolled, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
