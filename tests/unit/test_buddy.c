/* SPDX-License-Identifier: MIT */
/* The buddy allocator of page frames. */
/* SOURCES: kernel/buddy.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "kernel/buddy.h"

#define MAX_FRAMES 300000u
#define ORDER_1G   18

static struct frame *frames;

static int setup(void **state)
{
    (void)state;
    frames = calloc(MAX_FRAMES, sizeof(*frames));
    return frames ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(frames);
    return 0;
}

/* Free blocks as a sorted list of (order, address): what two states are compared by. */
struct shape {
    u32 count;
    u64 blocks[4096];
};

static int compare(const void *a, const void *b)
{
    u64 x = *(const u64 *)a, y = *(const u64 *)b;

    return x < y ? -1 : x > y;
}

/* Reads the free lists; checks that they are well linked, aligned and agree with free_pages. */
static void read_shape(const struct buddy *b, struct shape *s)
{
    u64 pages = 0;

    s->count = 0;
    for (u32 order = 0; order < BUDDY_ORDERS; order++) {
        u32 prev = BUDDY_NONE;
        for (u32 i = b->free_head[order]; i != BUDDY_NONE; i = b->frames[i].next) {
            u64 pa = buddy_address(b, i);
            assert_in_range(i, 0, b->count - 1);
            assert_int_equal(b->frames[i].prev, prev);
            assert_int_equal(b->frames[i].state, FRAME_FREE);
            assert_int_equal(b->frames[i].order, order);
            assert_int_equal(pa & ((PAGE_SIZE << order) - 1), 0);
            /* all of the block is in one zone */
            assert_int_equal(buddy_index(b, pa + (PAGE_SIZE << order) - PAGE_SIZE),
                             i + (1u << order) - 1);
            assert_true(s->count < ARRAY_SIZE(s->blocks));
            s->blocks[s->count++] = pa | order;
            pages += 1ull << order;
            prev = i;
        }
    }
    assert_int_equal(pages, b->free_pages);
    qsort(s->blocks, s->count, sizeof(s->blocks[0]), compare);
}

static void assert_same_shape(const struct shape *a, const struct shape *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->blocks, b->blocks, a->count * sizeof(a->blocks[0]));
}

static const struct {
    u64 base, bytes;
} zones[] = {
    {0x1000,               0x1000               },
    {0x3000,               0x5000               },
    {0x100000,             0x9f000              },
    {0x1ff000,             0x402000             }, /* a page before and after 2 * 2 MiB */
    {SIZE_1G - 0x3000,     0x3000               },
    {SIZE_1G,              SIZE_1G              }, /* one block of the largest order */
    {5 * SIZE_1G - 0x1000, 0x2000               },
    {1ull << 45,           SIZE_2M + 7 * SIZE_2M},
};

static void add_zones(struct buddy *b)
{
    u64 pages = 0;

    buddy_init(b, frames);
    for (u32 i = 0; i < ARRAY_SIZE(zones); i++) {
        assert_true(buddy_add(b, zones[i].base, zones[i].bytes));
        pages += zones[i].bytes >> PAGE_SHIFT;
    }
    assert_true(pages <= MAX_FRAMES);
    assert_int_equal(b->count, pages);
    assert_int_equal(b->free_pages, pages);
}

static void test_zones_begin_with_the_largest_blocks(void **state)
{
    static struct buddy b;
    static struct shape s;

    (void)state;
    buddy_init(&b, frames);
    assert_true(buddy_add(&b, 0x1ff000, 0x402000));
    read_shape(&b, &s);
    assert_int_equal(s.count, 4);
    assert_int_equal(s.blocks[0], 0x1ff000);
    assert_int_equal(s.blocks[1], 0x200000 | 9);
    assert_int_equal(s.blocks[2], 0x400000 | 9);
    assert_int_equal(s.blocks[3], 0x600000);

    add_zones(&b);
    read_shape(&b, &s);
    bool found = false;
    for (u32 i = 0; i < s.count; i++) {
        found |= s.blocks[i] == (SIZE_1G | ORDER_1G);
    }
    assert_true(found);
    /* the records of a machine of 4 TiB are one block */
    assert_in_range((4ull << 40 >> PAGE_SHIFT) * sizeof(struct frame), 1,
                    PAGE_SIZE << (BUDDY_ORDERS - 1));
}

static void test_indices_and_addresses_are_inverse(void **state)
{
    static struct buddy b;

    (void)state;
    add_zones(&b);
    u32 index = 0;
    for (u32 z = 0; z < ARRAY_SIZE(zones); z++) {
        u64 pages = zones[z].bytes >> PAGE_SHIFT;
        for (u64 p = 0; p < pages; p += MAX(1, pages / 8)) {
            u64 pa = zones[z].base + (p << PAGE_SHIFT);
            assert_int_equal(buddy_index(&b, pa), index + p);
            assert_int_equal(buddy_index(&b, pa + PAGE_MASK), index + p);
            assert_int_equal(buddy_address(&b, index + (u32)p), pa);
        }
        index += (u32)pages;
    }
    assert_int_equal(buddy_index(&b, 0), BUDDY_NONE);
    assert_int_equal(buddy_index(&b, 0x2000), BUDDY_NONE);
    assert_int_equal(buddy_index(&b, 0x8000), BUDDY_NONE);
    assert_int_equal(buddy_index(&b, 2 * SIZE_1G), BUDDY_NONE);
    assert_int_equal(buddy_index(&b, ~0ull), BUDDY_NONE);
    assert_int_equal(buddy_address(&b, b.count), 0);
    assert_int_equal(buddy_address(&b, BUDDY_NONE), 0);
}

/* Takes all there is in blocks of one order, frees in another sequence: as at the beginning. */
static void test_exhaustion_and_merge(void **state)
{
    static struct buddy b;
    static struct shape before, after;
    u32 *got = malloc(MAX_FRAMES * sizeof(u32));

    (void)state;
    for (u32 order = 0; order < BUDDY_ORDERS; order++) {
        add_zones(&b);
        read_shape(&b, &before);
        u32 n = 0;
        for (;;) {
            u32 i = buddy_alloc(&b, order);
            if (i == BUDDY_NONE) {
                break;
            }
            assert_int_equal(buddy_address(&b, i) & ((PAGE_SIZE << order) - 1), 0);
            assert_int_equal(b.frames[i].order, order);
            assert_false(buddy_is_free(&b, i));
            assert_false(buddy_is_free(&b, i + (1u << order) - 1));
            got[n++] = i;
        }
        assert_true(n > 0 || order > ORDER_1G);
        assert_int_equal(b.free_pages + ((u64)n << order), b.count);
        for (u32 larger = order; larger < BUDDY_ORDERS; larger++) {
            assert_int_equal(buddy_alloc(&b, larger), BUDDY_NONE);
        }
        /* every second one first, then the rest backwards */
        for (u32 i = 0; i < n; i += 2) {
            buddy_free(&b, got[i], order);
        }
        for (u32 i = n; i-- > 0;) {
            if (i & 1) {
                buddy_free(&b, got[i], order);
            }
        }
        read_shape(&b, &after);
        assert_same_shape(&before, &after);
    }
    free(got);
}

static void test_a_block_may_be_freed_in_parts(void **state)
{
    static struct buddy b;
    static struct shape before, after;

    (void)state;
    add_zones(&b);
    read_shape(&b, &before);
    u32 i = buddy_alloc(&b, 9);
    assert_int_not_equal(i, BUDDY_NONE);
    for (u32 page = 0; page < 512; page += 8) {
        if (page & 8) {
            buddy_free(&b, i + page, 3);
        } else {
            for (u32 k = 0; k < 8; k++) {
                buddy_free(&b, i + page + k, 0);
                assert_true(buddy_is_free(&b, i + page + k));
            }
        }
        if (page + 8 < 512) {
            assert_false(buddy_is_free(&b, i + page + 8));
        }
    }
    read_shape(&b, &after);
    assert_same_shape(&before, &after);
}

static void test_is_free_knows_every_frame(void **state)
{
    static struct buddy b;

    (void)state;
    buddy_init(&b, frames);
    assert_true(buddy_add(&b, 0x5000, 0x1b000));
    for (u32 i = 0; i < b.count; i++) {
        assert_true(buddy_is_free(&b, i));
    }
    u32 one = buddy_alloc(&b, 0), four = buddy_alloc(&b, 2);
    for (u32 i = 0; i < b.count; i++) {
        assert_int_equal(buddy_is_free(&b, i), i != one && !(i >= four && i < four + 4));
    }
    assert_false(buddy_is_free(&b, b.count));
    assert_false(buddy_is_free(&b, BUDDY_NONE));
}

static void test_zones_do_not_merge_with_each_other(void **state)
{
    static struct buddy b;
    static struct shape s;

    (void)state;
    buddy_init(&b, frames);
    assert_true(buddy_add(&b, 0x10000, 0x1000));
    assert_true(buddy_add(&b, 0x11000, 0x1000)); /* its mate by address, in another zone */
    u32 x = buddy_alloc(&b, 0), y = buddy_alloc(&b, 0);
    buddy_free(&b, x, 0);
    buddy_free(&b, y, 0);
    read_shape(&b, &s);
    assert_int_equal(s.count, 2);
    assert_int_equal(buddy_alloc(&b, 1), BUDDY_NONE);
}

static void test_limits_of_zones(void **state)
{
    static struct buddy b;

    (void)state;
    buddy_init(&b, frames);
    assert_false(buddy_add(&b, 0x1000, 0));
    assert_false(buddy_add(&b, 0x1000, 0xfff));
    for (u32 i = 0; i < BUDDY_MAX_ZONES; i++) {
        assert_true(buddy_add(&b, 0x2000ull * i, 0x1000));
    }
    assert_false(buddy_add(&b, 0x2000ull * BUDDY_MAX_ZONES, 0x1000));
    assert_int_equal(b.free_pages, BUDDY_MAX_ZONES);
    for (u32 order = BUDDY_ORDERS - 1; order > 0; order--) {
        assert_int_equal(buddy_alloc(&b, order), BUDDY_NONE);
    }
}

static void test_empty_gives_nothing(void **state)
{
    static struct buddy b;

    (void)state;
    buddy_init(&b, frames);
    for (u32 order = 0; order < BUDDY_ORDERS + 2; order++) {
        assert_int_equal(buddy_alloc(&b, order), BUDDY_NONE);
    }
    assert_int_equal(buddy_index(&b, 0), BUDDY_NONE);
    assert_false(buddy_is_free(&b, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_zones_begin_with_the_largest_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_indices_and_addresses_are_inverse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exhaustion_and_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_block_may_be_freed_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_is_free_knows_every_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zones_do_not_merge_with_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits_of_zones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_gives_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
