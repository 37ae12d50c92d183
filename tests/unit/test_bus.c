/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/bus.c vmm/machine/ram.c */
/* Address decoding: who answers where, widths, edges; and the layout of RAM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/bus.h"
#include "vmm/machine/ram.h"

struct device {
    u64 offset, value;
    u32 bytes, reads, writes;
    u64 answer;
};

static u32 port_read(void *device, u16 offset, u8 bytes)
{
    struct device *d = device;

    d->reads++;
    d->offset = offset;
    d->bytes = bytes;
    return (u32)d->answer;
}

static void port_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct device *d = device;

    d->writes++;
    d->offset = offset;
    d->bytes = bytes;
    d->value = value;
}

static u64 register_read(void *device, u64 offset, u8 bytes)
{
    struct device *d = device;

    d->reads++;
    d->offset = offset;
    d->bytes = bytes;
    return d->answer;
}

static void register_write(void *device, u64 offset, u8 bytes, u64 value)
{
    struct device *d = device;

    d->writes++;
    d->offset = offset;
    d->bytes = bytes;
    d->value = value;
}

static struct host_ports ports(struct device *d, u16 base, u16 count, u8 widths)
{
    return (struct host_ports){d, port_read, port_write, base, count, widths};
}

static struct host_registers registers(struct device *d, u64 base, u64 bytes, u8 widths)
{
    return (struct host_registers){d, register_read, register_write, GPA(base), bytes, widths};
}

static void test_ports(void **state)
{
    static const struct {
        u16 port;
        u8 bytes;
        bool mine;
    } cases[] = {
        {0x3f7,  1, false},
        {0x3f8,  1, true },
        {0x3ff,  1, true },
        {0x400,  1, false},
        {0x3f8,  2, true },
        {0x3fe,  2, true },
        {0x3ff,  2, false},
        {0x3f7,  2, false},
        {0x3f8,  4, false},
        {0x2f8,  1, false},
        {0,      1, false},
        {0xffff, 1, false},
        {0xffff, 4, false},
    };
    struct bus *b = malloc(sizeof(*b));
    struct device d = {.answer = 0x11223344};
    struct host_ports p = ports(&d, 0x3f8, 8, HOST_WIDTH_8 | HOST_WIDTH_16);

    (void)state;
    bus_reset(b);
    assert_true(bus_add_ports(b, &p));
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        u32 reads = d.reads, writes = d.writes;
        u32 ones = (u32)bus_ones(cases[i].bytes);
        u32 got = bus_in(b, cases[i].port, cases[i].bytes);

        bus_out(b, cases[i].port, cases[i].bytes, 0xaabbccdd);
        assert_int_equal(d.reads - reads, cases[i].mine);
        assert_int_equal(d.writes - writes, cases[i].mine);
        assert_int_equal(got, cases[i].mine ? 0x11223344 & ones : ones);
        if (cases[i].mine) {
            assert_int_equal(d.offset, cases[i].port - 0x3f8);
            assert_int_equal(d.value, 0xaabbccdd & ones);
            assert_int_equal(d.bytes, cases[i].bytes);
        }
    }
    free(b);
}

/* Each width up to the last place where it fits, in ranges of all sizes. */
static void test_port_widths(void **state)
{
    struct bus *b = malloc(sizeof(*b));
    struct device d = {.answer = 0};

    (void)state;
    for (u16 count = 1; count <= 9; count++) {
        for (u8 widths = 1; widths < 8; widths++) {
            struct host_ports p = ports(&d, 0x2fc, count, widths); /* over the end of a block */
            bus_reset(b);
            assert_true(bus_add_ports(b, &p));
            for (u32 offset = 0; offset < 12; offset++) {
                for (u8 bytes = 1; bytes <= 4; bytes *= 2) {
                    bool fits = (widths & bytes) && offset + bytes <= count;
                    assert_int_equal(bus_find_port(b, (u16)(0x2fc + offset), bytes) != NULL, fits);
                }
            }
        }
    }
    free(b);
}

static void test_port_ranges_are_checked(void **state)
{
    struct bus *b = malloc(sizeof(*b));
    struct device d = {0};
    struct host_ports bad[] = {
        ports(&d, 0x10, 0, 1),    /* empty */
        ports(&d, 0xfff8, 9, 1),  /* beyond the last port */
        ports(&d, 0x100, 2, 1),   /* overlap */
        ports(&d, 0xf0, 0x11, 1), /* overlap at its end */
    };

    (void)state;
    bus_reset(b);
    struct host_ports p = ports(&d, 0x100, 8, 1);
    assert_true(bus_add_ports(b, &p));
    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(bus_add_ports(b, &bad[i]));
    }
    p = ports(&d, 0xfff8, 8, 1);
    assert_true(bus_add_ports(b, &p));
    bus_out(b, 0xffff, 1, 1);
    assert_int_equal(d.offset, 7);
    assert_int_equal(bus_in(b, 0xf5, 1), 0xff); /* nothing of the refused ones stayed */
    free(b);
}

static void test_port_tables_fill_up(void **state)
{
    struct bus *b = malloc(sizeof(*b));
    struct device d = {0};
    u32 n = 0;

    (void)state;
    bus_reset(b);
    for (; n < 100; n++) { /* each in a block of its own */
        struct host_ports p = ports(&d, (u16)(n << 8), 1, 1);
        if (!bus_add_ports(b, &p)) {
            break;
        }
    }
    assert_int_equal(n, BUS_MAX_PAGES);
    for (n = 0; n < 100; n++) { /* no more blocks are needed for these */
        struct host_ports p = ports(&d, (u16)(n + 1), 1, 1);
        if (!bus_add_ports(b, &p)) {
            break;
        }
    }
    assert_int_equal(n, BUS_MAX_PORTS - BUS_MAX_PAGES);
    bus_reset(b);
    struct host_ports all = ports(&d, 0, 0xffff, 1);
    assert_false(bus_add_ports(b, &all)); /* needs more blocks than there are, and takes none */
    struct host_ports some = ports(&d, 0x80, 0x100 * (BUS_MAX_PAGES - 1), 1);
    assert_true(bus_add_ports(b, &some));
    free(b);
}

static void test_registers(void **state)
{
    struct bus *b = malloc(sizeof(*b));
    struct device d = {.answer = 0x1122334455667788};
    struct host_registers r = registers(&d, 0xfec00000, 0x20, HOST_WIDTH_32 | HOST_WIDTH_64);
    struct host_registers top = registers(&d, 0xfffffffffffff000, 0x1000, HOST_WIDTH_8);
    struct host_registers wraps = registers(&d, 0xfffffffffffff800, 0x1000, HOST_WIDTH_8);
    struct host_registers overlaps = registers(&d, 0xfec0001f, 1, HOST_WIDTH_8);

    (void)state;
    bus_reset(b);
    assert_true(bus_add_registers(b, &r));
    assert_false(bus_add_registers(b, &overlaps));
    assert_false(bus_add_registers(b, &wraps));
    assert_true(bus_add_registers(b, &top));
    assert_int_equal(bus_read(b, GPA(0xfec00010), 4), 0x55667788);
    assert_int_equal(d.offset, 0x10);
    assert_true(bus_read(b, GPA(0xfec00018), 8) == 0x1122334455667788);
    u32 reads = d.reads;
    assert_int_equal(bus_read(b, GPA(0xfec0001e), 4), 0xffffffff); /* over the end */
    assert_int_equal(bus_read(b, GPA(0xfec00010), 1), 0xff);       /* width */
    assert_true(bus_read(b, GPA(0xfec00020), 8) == ~0ull);         /* nobody */
    bus_write(b, GPA(0xfebffffe), 4, 1);
    assert_int_equal(d.reads, reads);
    assert_int_equal(d.writes, 0);
    assert_int_equal(bus_read(b, GPA(0xffffffffffffffff), 1), 0x88);
    bus_write(b, GPA(0xfec00004), 4, 0xffffffff12345678);
    assert_int_equal(d.value, 0x12345678);
    free(b);
}

static void test_ram_layout(void **state)
{
    static const struct {
        u64 memory;
        u32 count;
        u64 last_gpa, last_bytes;
    } cases[] = {
        {1ull << 20,          2, 0xb8000,     0x48000                },
        {16ull << 20,         2, 0xb8000,     (16ull << 20) - 0xb8000},
        {3ull << 30,          2, 0xb8000,     (3ull << 30) - 0xb8000 },
        {(3ull << 30) + 4096, 3, 0x100000000, 4096                   },
        {64ull << 30,         3, 0x100000000, 61ull << 30            },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ram r = {0};
        ram_layout(&r, cases[i].memory);
        assert_int_equal(r.count, cases[i].count);
        assert_int_equal(r.range[r.count - 1].gpa, cases[i].last_gpa);
        assert_int_equal(r.range[r.count - 1].bytes, cases[i].last_bytes);
    }
}

/* The map: sorted, no overlap, and all that it calls available is RAM. */
static void test_ram_map(void **state)
{
    static const struct {
        u64 memory;
        u32 count;
        struct ram_area area[4];
    } cases[] = {
        {1ull << 20, 2, {{0, 0x9fc00, RAM_AREA_AVAILABLE}, {0x9fc00, 0x60400, RAM_AREA_RESERVED}}},
        {2ull << 20,
         3,             {{0, 0x9fc00, RAM_AREA_AVAILABLE},
          {0x9fc00, 0x60400, RAM_AREA_RESERVED},
          {0x100000, 0x100000, RAM_AREA_AVAILABLE}}                                   },
        {4ull << 30,
         4,             {{0, 0x9fc00, RAM_AREA_AVAILABLE},
          {0x9fc00, 0x60400, RAM_AREA_RESERVED},
          {0x100000, 0xbff00000, RAM_AREA_AVAILABLE},
          {0x100000000, 0x40000000, RAM_AREA_AVAILABLE}}                              },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ram r = {0};
        ram_layout(&r, cases[i].memory);
        ram_layout(&r, cases[i].memory); /* what was there before does not matter */
        assert_int_equal(r.area_count, cases[i].count);
        for (u32 n = 0; n < r.area_count; n++) {
            const struct ram_area *a = &r.area[n];
            gpa_t last = GPA(a->gpa + a->bytes - 1);
            u64 available = a->type == RAM_AREA_AVAILABLE;
            assert_memory_equal(a, &cases[i].area[n], sizeof(*a));
            assert_int_equal(ram_available_at(&r, GPA(a->gpa)), available * a->bytes);
            assert_int_equal(ram_available_at(&r, last), available);
            assert_true(!available || ram_bytes_at(&r, GPA(a->gpa)) >= a->bytes);
        }
        assert_int_equal(ram_available_at(&r, GPA(~0ull)), 0);
    }
}

static void test_ram_bounds(void **state)
{
    static const struct {
        u64 gpa, bytes;
        bool good;
    } cases[] = {
        {0,         1,     true },
        {0x9ffff,   1,     true },
        {0x9ffff,   2,     false},
        {0xa0000,   1,     false},
        {0xb7fff,   1,     false},
        {0xb7fff,   2,     false},
        {0xb8000,   1,     true },
        {0xbffff,   2,     true },
        {0xfffff,   2,     true },
        {0x100000,  4096,  true },
        {0x1fffff,  1,     true },
        {0x1fffff,  2,     false},
        {0x200000,  1,     false},
        {~0ull,     1,     false},
        {~0ull,     2,     false},
        {0,         ~0ull, false},
        {1,         ~0ull, false},
        {0x200000,  0,     true },
        {~0ull - 7, 16,    false},
    };
    struct ram r = {.base = calloc(1, 0x200000)};
    u8 *buffer = calloc(1, 0x200000);

    (void)state;
    ram_layout(&r, 0x200000);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(ram_read(&r, buffer, GPA(cases[i].gpa), cases[i].bytes), cases[i].good);
        assert_int_equal(ram_write(&r, GPA(cases[i].gpa), buffer, cases[i].bytes), cases[i].good);
        assert_int_equal(ram_zero(&r, GPA(cases[i].gpa), cases[i].bytes), cases[i].good);
    }
    u64 word = 5, old = 5;
    assert_true(ram_write(&r, GPA(0x1000), &word, 8));
    ram_or(&r, GPA(0x1000), 4, 0x20, 8); /* not what is there: unchanged */
    assert_true(ram_read(&r, &old, GPA(0x1000), 8));
    assert_int_equal(old, 5);
    ram_or(&r, GPA(0x1000), 5, 0x20, 8);
    assert_true(ram_read(&r, &old, GPA(0x1000), 8));
    assert_int_equal(old, 0x25);
    ram_or(&r, GPA(0x1004), 0, 1, 4);
    assert_true(ram_read(&r, &old, GPA(0x1000), 8));
    assert_true(old == 0x100000025);
    ram_or(&r, GPA(0x1001), 0, 1, 4); /* not aligned */
    ram_or(&r, GPA(0xfffffff8), 0, 1, 8);
    free(r.base);
    free(buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_port_widths),
        cmocka_unit_test(test_port_ranges_are_checked),
        cmocka_unit_test(test_port_tables_fill_up),
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_ram_layout),
        cmocka_unit_test(test_ram_map),
        cmocka_unit_test(test_ram_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
