/* SPDX-License-Identifier: MIT */
/* Page tables: what they map, in which order they are written, what they ask to be flushed. */
/* SOURCES: lib/pagetable.c lib/pagetable_format.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/pagetable.h"
#include "tests/unit/pagetable_fake.h"

#define RW (PT_READ | PT_WRITE)
#define RX (PT_READ | PT_EXEC)

static struct fake fake;
static struct pagetable pt;
static bool flush;

static void start(const struct pt_format *format, u64 limit)
{
    fake_init(&fake, format);
    assert_true(pt_init(&pt, format, &fake_memory, &fake, 4, limit));
    flush = false;
}

/* What follows is a new operation. */
static void op(void)
{
    fake_begin(&fake);
    flush = false;
}

static void map(u64 va, u64 pa, u64 bytes, u64 perm)
{
    op();
    assert_true(pt_map(&pt, va, pa, bytes, perm, &flush));
}

/* Everything goes back, and no rule was broken on the way. */
static void finish(void)
{
    pt_destroy(&pt);
    assert_int_equal(pt.tables, 0);
    assert_int_equal(fake.count, 0);
    assert_null(fake.broken);
}

static void expect(u64 va, u64 pa, u64 bytes, u64 perm)
{
    struct pt_leaf leaf;

    assert_true(pt_lookup(&pt, va, &leaf));
    assert_int_equal(leaf.address, pa);
    assert_int_equal(leaf.bytes, bytes);
    assert_int_equal(pt.format->perm(leaf.entry), perm);
}

static void expect_none(u64 va)
{
    struct pt_leaf leaf;

    assert_false(pt_lookup(&pt, va, &leaf));
}

static void test_single_page(void **state)
{
    (void)state;
    start(&pt_format_x86, 0);
    map(0x5000, 0x123000, PAGE_SIZE, RW | PT_USER);
    assert_false(flush);
    assert_int_equal(fake.writes, 4); /* the leaf, and three tables from the last to the first */
    assert_int_equal(pt.tables, 4);
    expect(0x5000, 0x123000, PAGE_SIZE, RW | PT_USER);
    expect(0x5fff, 0x123000, PAGE_SIZE, RW | PT_USER);
    expect_none(0x4fff);
    expect_none(0x6000);
    op();
    assert_true(pt_unmap(&pt, 0x5000, PAGE_SIZE, &flush));
    assert_true(flush);
    expect_none(0x5000);
    finish();
}

static void test_largest_leaves(void **state)
{
    (void)state;
    start(&pt_format_x86_1g, 0);
    op();
    /* 4K, 2M, 1G, 2M, 4K in one range */
    u64 va = SIZE_1G - SIZE_2M - PAGE_SIZE;
    u64 bytes = SIZE_1G + 2 * SIZE_2M + 2 * PAGE_SIZE;
    map(va, va + SIZE_1G, bytes, RX);
    expect(va, va + SIZE_1G, PAGE_SIZE, RX);
    expect(SIZE_1G - 1, 2 * SIZE_1G - SIZE_2M, SIZE_2M, RX);
    expect(SIZE_1G, 2 * SIZE_1G, SIZE_1G, RX);
    expect(2 * SIZE_1G, 3 * SIZE_1G, SIZE_2M, RX);
    expect(2 * SIZE_1G + SIZE_2M, 3 * SIZE_1G + SIZE_2M, PAGE_SIZE, RX);
    expect_none(va - 1);
    expect_none(va + bytes);
    finish();
    /* without 1G leaves; and where the physical address is not aligned alike */
    start(&pt_format_ept, 0);
    map(0, 0, SIZE_1G, RW | PT_MEMTYPE(6));
    expect(SIZE_1G - 1, SIZE_1G - SIZE_2M, SIZE_2M, RW);
    map(SIZE_1G, PAGE_SIZE, SIZE_2M, RW);
    expect(SIZE_1G, PAGE_SIZE, PAGE_SIZE, RW);
    finish();
}

/* A part of a large leaf changes: the rest keeps address and rights, and the split appears at once.
 */
static void test_split(void **state)
{
    static const struct pt_format *const formats[] = {&pt_format_x86_1g, &pt_format_ept_1g};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(formats); i++) {
        start(formats[i], 0);
        map(SIZE_1G, 5 * SIZE_1G, SIZE_1G, RW);
        assert_int_equal(pt.tables, 2);
        op();
        assert_true(pt_protect(&pt, SIZE_1G + 7 * PAGE_SIZE, PAGE_SIZE, PT_READ, &flush));
        assert_true(flush);
        assert_int_equal(pt.tables, 4);
        expect(SIZE_1G, 5 * SIZE_1G, PAGE_SIZE, RW);
        expect(SIZE_1G + 7 * PAGE_SIZE, 5 * SIZE_1G + 7 * PAGE_SIZE, PAGE_SIZE, PT_READ);
        expect(SIZE_1G + SIZE_2M, 5 * SIZE_1G + SIZE_2M, SIZE_2M, RW);
        op();
        assert_true(pt_unmap(&pt, SIZE_1G + SIZE_2M, PAGE_SIZE, &flush));
        assert_true(flush);
        expect_none(SIZE_1G + SIZE_2M);
        expect(SIZE_1G + SIZE_2M + PAGE_SIZE, 5 * SIZE_1G + SIZE_2M + PAGE_SIZE, PAGE_SIZE, RW);
        finish();
    }
}

/* Cache attributes have other places in large leaves than in small ones. */
static void test_split_keeps_attributes(void **state)
{
    struct pt_leaf leaf;

    (void)state;
    start(&pt_format_x86_1g, 0);
    map(0, 0, SIZE_1G, RW | PT_WRITE_COMBINING | PT_GLOBAL);
    op();
    assert_true(pt_unmap(&pt, 0, PAGE_SIZE, &flush));
    assert_true(pt_lookup(&pt, SIZE_2M, &leaf));
    assert_int_equal(leaf.entry, SIZE_2M | pt_format_x86.large_bit |
                                     pt_format_x86.leaf(RW | PT_WRITE_COMBINING | PT_GLOBAL, 1));
    assert_true(pt_lookup(&pt, PAGE_SIZE, &leaf));
    assert_int_equal(leaf.entry,
                     PAGE_SIZE | pt_format_x86.leaf(RW | PT_WRITE_COMBINING | PT_GLOBAL, 0));
    finish();
    start(&pt_format_ept, 0);
    map(0, SIZE_2M, SIZE_2M, RX | PT_MEMTYPE(5));
    op();
    assert_true(pt_protect(&pt, 0, PAGE_SIZE, PT_READ | PT_MEMTYPE(5), &flush));
    assert_true(pt_lookup(&pt, PAGE_SIZE, &leaf));
    assert_int_equal(leaf.entry, (SIZE_2M + PAGE_SIZE) | pt_format_ept.leaf(RX | PT_MEMTYPE(5), 0));
    finish();
}

/* A slot that has a table keeps it; when the table is empty it goes, but not before it is
 * reclaimed. */
static void test_tables_come_and_go(void **state)
{
    (void)state;
    start(&pt_format_x86, 0);
    map(0, SIZE_2M, PAGE_SIZE, RW);
    map(0, 4 * SIZE_2M, SIZE_2M, RW);
    assert_true(flush);
    expect(SIZE_2M - 1, 5 * SIZE_2M - PAGE_SIZE, PAGE_SIZE, RW);
    op();
    assert_true(pt_unmap(&pt, 0, SIZE_2M, &flush));
    assert_int_equal(fake.count, 4); /* another CPU may still walk them */
    assert_int_equal(pt.tables, 4);
    expect_none(0);
    pt_reclaim(&pt);
    assert_int_equal(fake.count, 1);
    assert_int_equal(pt.tables, 1);
    map(0, 4 * SIZE_2M, SIZE_2M, RW);
    assert_false(flush);
    expect(0, 4 * SIZE_2M, SIZE_2M, RW);
    finish();
}

static void test_flush(void **state)
{
    (void)state;
    start(&pt_format_x86, 0);
    map(0, SIZE_2M, 2 * SIZE_2M, RW);
    assert_false(flush); /* nothing was there */
    op();
    assert_true(pt_map(&pt, SIZE_2M + PAGE_SIZE, 2 * SIZE_2M + PAGE_SIZE, PAGE_SIZE, RW, &flush));
    assert_true(pt_protect(&pt, PAGE_SIZE, PAGE_SIZE, RW, &flush));
    assert_true(pt_unmap(&pt, 2 * SIZE_2M, SIZE_1G, &flush));
    assert_false(flush); /* nothing changes */
    assert_int_equal(fake.writes, 0);
    op();
    assert_true(pt_protect(&pt, 0, SIZE_2M, PT_READ, &flush));
    assert_true(flush);
    map(0, 8 * SIZE_2M, SIZE_2M, PT_READ);
    assert_true(flush); /* another frame */
    finish();
}

static void test_limits(void **state)
{
    u64 limit = 0x00007f0000000000ull;

    (void)state;
    start(&pt_format_x86, limit);
    assert_false(pt_map(&pt, limit, 0, PAGE_SIZE, RW, &flush));
    assert_false(pt_map(&pt, limit - PAGE_SIZE, 0, 2 * PAGE_SIZE, RW, &flush));
    assert_false(pt_map(&pt, 0, 0, 0, RW, &flush));
    assert_false(pt_map(&pt, 1, 0, PAGE_SIZE, RW, &flush));
    assert_false(pt_map(&pt, 0, 8, PAGE_SIZE, RW, &flush));
    assert_false(pt_map(&pt, 0, 0, PAGE_SIZE + 1, RW, &flush));
    assert_false(pt_map(&pt, PAGE_SIZE, 0, 0ull - PAGE_SIZE, RW, &flush));
    assert_false(pt_map(&pt, 0, 1ull << 52, PAGE_SIZE, RW, &flush));
    assert_false(pt_map(&pt, 0, (1ull << 52) - PAGE_SIZE, 2 * PAGE_SIZE, RW, &flush));
    assert_false(pt_unmap(&pt, limit, PAGE_SIZE, &flush));
    assert_false(pt_protect(&pt, limit, PAGE_SIZE, RW, &flush));
    expect_none(limit);
    assert_int_equal(fake.count, 1);
    map(limit - PAGE_SIZE, (1ull << 52) - PAGE_SIZE, PAGE_SIZE, RW);
    expect(limit - 1, (1ull << 52) - PAGE_SIZE, PAGE_SIZE, RW);
    /* what others have put behind the limit is neither walked nor freed */
    u64 *root = fake_table(&fake, pt.root);
    root[511] = 0xdead000 | pt_format_x86.table_entry;
    finish();
}

static bool collect(void *arg, u64 va, const struct pt_leaf *leaf)
{
    u64 *out = arg;

    out[++out[0]] = va;
    return leaf->bytes != SIZE_1G;
}

static void count_table(void *arg, u64 table, u32 level)
{
    u32 *levels = arg;

    assert_true(fake_index(table) >= 0);
    levels[level]++;
}

static void test_walk(void **state)
{
    u64 seen[16] = {0};
    u32 levels[4] = {0};

    (void)state;
    start(&pt_format_x86_1g, 0);
    map(0x3000, 0, PAGE_SIZE, RW);
    map(SIZE_2M, 0, SIZE_2M, RW);
    map(4 * SIZE_1G, 0, SIZE_1G, RW);
    map(1ull << 40, 0, PAGE_SIZE, RW);
    pt_walk(&pt, 0x3000, BIT(47), collect, seen);
    assert_int_equal(seen[0], 3); /* the callback ended it at the third */
    assert_int_equal(seen[1], 0x3000);
    assert_int_equal(seen[2], SIZE_2M);
    assert_int_equal(seen[3], 4 * SIZE_1G);
    seen[0] = 0;
    pt_walk(&pt, SIZE_2M + PAGE_SIZE, PAGE_SIZE, collect, seen);
    assert_int_equal(seen[0], 1);
    assert_int_equal(seen[1], SIZE_2M);
    seen[0] = 0;
    pt_walk(&pt, BIT(48), PAGE_SIZE, collect, seen);
    assert_int_equal(seen[0], 0);
    pt_walk_tables(&pt, count_table, levels);
    assert_int_equal(levels[3], 1);
    assert_int_equal(levels[2], 2);
    assert_int_equal(levels[1], 2);
    assert_int_equal(levels[0], 2);
    finish();
}

/* For every number of tables that there may still be: either all is done, or what is done can be
 * undone. */
/* Page by page through the last-level slot: one write each, and never over what is there. */
static void test_last_slot(void **state)
{
    (void)state;
    start(&pt_format_ept, 0);
    assert_null(pt_last_slot(&pt, 0x200000));
    map(0x200000, 0x800000, PAGE_SIZE, RX);
    u64 *slot = pt_last_slot(&pt, 0x201000);
    assert_non_null(slot);
    op();
    assert_true(pt_fill_slot(&pt, slot, 0x55000, RW));
    assert_int_equal(fake.writes, 1);
    expect(0x201000, 0x55000, PAGE_SIZE, RW);
    assert_false(pt_fill_slot(&pt, slot, 0x66000, RW));
    assert_false(pt_fill_slot(&pt, pt_last_slot(&pt, 0x200fff), 0x66000, RW));
    expect(0x201000, 0x55000, PAGE_SIZE, RW);
    expect(0x200000, 0x800000, PAGE_SIZE, RX);
    map(0x40000000, 0x40000000, SIZE_2M, RW);
    assert_null(pt_last_slot(&pt, 0x40000000)); /* a large leaf has no such slot */
    assert_null(pt_last_slot(&pt, 1ull << 48));
    finish();
}

static void test_no_memory(void **state)
{
    (void)state;
    for (u32 tables = 0; tables < 12; tables++) {
        start(&pt_format_x86_1g, 0);
        fake.allow = tables;
        bool mapped = pt_map(&pt, SIZE_1G - PAGE_SIZE, SIZE_1G - PAGE_SIZE, 2 * PAGE_SIZE + SIZE_2M,
                             RW, &flush);
        assert_int_equal(mapped, tables >= 5);
        op();
        assert_true(pt_unmap(&pt, SIZE_1G - PAGE_SIZE, 2 * PAGE_SIZE + SIZE_2M, &flush));
        pt_reclaim(&pt);
        assert_int_equal(fake.count, 1);
        finish();

        /* a split that cannot be made changes nothing */
        start(&pt_format_x86_1g, 0);
        map(0, 0, SIZE_1G, RW);
        fake.allow = tables;
        op();
        bool split = pt_unmap(&pt, PAGE_SIZE, PAGE_SIZE, &flush);
        assert_int_equal(split, tables >= 2);
        if (!split) {
            expect(PAGE_SIZE, 0, SIZE_1G, RW);
            assert_int_equal(fake.count, 2);
        }
        finish();
    }
    fake_init(&fake, &pt_format_x86);
    fake.allow = 0;
    assert_false(pt_init(&pt, &pt_format_x86, &fake_memory, &fake, 4, 0));
}

static void test_formats(void **state)
{
    (void)state;
    /* SDM 3A "Paging": P RW US PWT PCD A D PS/PAT G, NX */
    assert_int_equal(pt_format_x86.leaf(PT_READ, 0), BIT(0) | BIT(5) | BIT(63));
    assert_int_equal(pt_format_x86.leaf(RW | PT_EXEC | PT_USER | PT_GLOBAL, 1),
                     BIT(0) | BIT(1) | BIT(2) | BIT(5) | BIT(6) | BIT(8));
    assert_int_equal(pt_format_x86.leaf(PT_READ | PT_UNCACHED, 0),
                     BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(63));
    assert_int_equal(pt_format_x86.leaf(PT_READ | PT_WRITE_COMBINING, 1),
                     BIT(0) | BIT(3) | BIT(5) | BIT(12) | BIT(63));
    assert_false(pt_format_x86.leaf(0, 0) & pt_format_x86.present_mask);
    assert_int_equal(pt_format_x86.perm(0), 0);
    /* SDM 3C "EPT": R W X, memory type in 5:3; never W without R */
    assert_int_equal(pt_format_ept.leaf(PT_WRITE | PT_MEMTYPE(6), 0), 3 | 6 << 3);
    assert_int_equal(pt_format_ept.leaf(PT_EXEC, 0), 5);
    assert_int_equal(pt_format_ept.leaf(0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_page),
        cmocka_unit_test(test_largest_leaves),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_keeps_attributes),
        cmocka_unit_test(test_tables_come_and_go),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_last_slot),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
