/* SPDX-License-Identifier: MIT */
/* The loader's memory map, against a model of one byte per page. */
/* SOURCES: boot/memmap.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/memmap.h"

#define PAGES 64
#define HOLE  0xff

static struct boot_range ranges[PAGES + 8], out[PAGES + 8];
static struct memmap map;

static void check_order(const struct boot_range *r, u32 count)
{
    for (u32 i = 0; i < count; i++) {
        assert_true(r[i].bytes > 0 && !(r[i].bytes & PAGE_MASK) && !(r[i].base & PAGE_MASK));
        assert_true(!i || r[i].base >= r[i - 1].base + r[i - 1].bytes);
    }
}

static void check_model(const u8 *model)
{
    u8 seen[PAGES];
    u32 count;

    check_order(map.ranges, map.count);
    count = memmap_copy(&map, out, ARRAY_SIZE(out));
    memset(seen, HOLE, sizeof(seen));
    check_order(out, count);
    for (u32 i = 0; i < count; i++) {
        for (u64 p = out[i].base >> PAGE_SHIFT; p < (out[i].base + out[i].bytes) >> PAGE_SHIFT;
             p++) {
            seen[p] = (u8)out[i].type;
        }
        /* neighbours of one type are joined */
        assert_false(i && out[i].type == out[i - 1].type &&
                     out[i].base == out[i - 1].base + out[i - 1].bytes);
    }
    assert_memory_equal(seen, model, PAGES);
}

static void against_a_model(void **state)
{
    u8 model[PAGES];
    u32 random = 1;

    (void)state;
    for (u32 run = 0; run < 300; run++) {
        memset(model, HOLE, sizeof(model));
        memmap_init(&map, ranges, ARRAY_SIZE(ranges));
        for (u32 step = 0; step < 40; step++) {
            random = random * 1103515245 + 12345;
            u32 first = random >> 16 & (PAGES - 1), n = random >> 24 & 15, type = random >> 28 & 3;

            n = n > PAGES - first ? PAGES - first : n;
            memmap_set(&map, first * PAGE_SIZE, n * PAGE_SIZE, type);
            memset(model + first, (int)type, n);
            check_model(model);
        }
    }
}

static void rounding(void **state)
{
    (void)state;
    memmap_init(&map, ranges, ARRAY_SIZE(ranges));
    memmap_set(&map, 0x1001, 0x1fff, BOOT_MEM_USABLE); /* narrowed to one page */
    memmap_set(&map, 0x5fff, 2, BOOT_MEM_KERNEL);      /* widened to two */
    memmap_set(&map, 0x8001, 0xffe, BOOT_MEM_USABLE);  /* to none */
    memmap_set(&map, 0x9000, 0, BOOT_MEM_KERNEL);
    memmap_set(&map, ~0ull - 100, 200, BOOT_MEM_KERNEL);
    memmap_set(&map, ~0ull - 100, 10, BOOT_MEM_KERNEL);
    assert_int_equal(map.count, 2);
    assert_int_equal(map.ranges[0].base, 0x2000);
    assert_int_equal(map.ranges[0].bytes, 0x1000);
    assert_int_equal(map.ranges[1].base, 0x5000);
    assert_int_equal(map.ranges[1].bytes, 0x2000);
    assert_int_equal(memmap_bytes(&map, BOOT_MEM_USABLE), 0x1000);
    assert_int_equal(memmap_end(&map), 0x7000);
    memmap_set(&map, 0x10000, 0x1000, BOOT_MEM_RESERVED);
    assert_int_equal(memmap_end(&map), 0x7000);
}

static void covers(void **state)
{
    (void)state;
    memmap_init(&map, ranges, ARRAY_SIZE(ranges));
    assert_int_equal(memmap_end(&map), 0);
    memmap_set(&map, 0x1000, 0x1000, BOOT_MEM_USABLE);
    memmap_set(&map, 0x2000, 0x1000, BOOT_MEM_ACPI);
    memmap_set(&map, 0x4000, 0x1000, BOOT_MEM_RESERVED);
    assert_true(memmap_covers(&map, 0x1000, 0x2000));
    assert_true(memmap_covers(&map, 0x1ff0, 0x20));
    assert_false(memmap_covers(&map, 0xfff, 2));
    assert_false(memmap_covers(&map, 0x2fff, 2));
    assert_false(memmap_covers(&map, 0x3000, 1));
    assert_true(memmap_covers(&map, 0x4fff, 1));
    assert_false(memmap_covers(&map, 0x4fff, 2));
    assert_false(memmap_covers(&map, ~0ull, 2));
}

/* When there is no room, what is lost is memory, never the knowledge of what is in use. */
static void too_many(void **state)
{
    u32 count, used = 0;

    (void)state;
    memmap_init(&map, ranges, ARRAY_SIZE(ranges));
    for (u32 i = 0; i < 20; i++) {
        memmap_set(&map, i * 3 * PAGE_SIZE, (i == 7 ? 2 : 1) * PAGE_SIZE,
                   i % 4 == 3   ? BOOT_MEM_KERNEL
                   : i % 4 == 2 ? BOOT_MEM_RESERVED
                                : BOOT_MEM_USABLE);
    }
    count = memmap_copy(&map, out, 8);
    assert_int_equal(count, 8);
    check_order(out, count);
    for (u32 i = 0; i < count; i++) {
        used += out[i].type == BOOT_MEM_KERNEL;
        assert_true(out[i].type != BOOT_MEM_RESERVED);
    }
    assert_int_equal(used, 5);
    assert_int_equal(map.lost_bytes, 7 * PAGE_SIZE);

    memmap_init(&map, ranges, 2);
    memmap_set(&map, 0, 10 * PAGE_SIZE, BOOT_MEM_USABLE);
    memmap_set(&map, 2 * PAGE_SIZE, PAGE_SIZE, BOOT_MEM_KERNEL);
    check_order(map.ranges, map.count);
    assert_int_equal(map.count, 2);
    assert_false(memmap_covers(&map, 2 * PAGE_SIZE, PAGE_SIZE) &&
                 memmap_bytes(&map, BOOT_MEM_KERNEL) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(rounding),
        cmocka_unit_test(covers),
        cmocka_unit_test(too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
