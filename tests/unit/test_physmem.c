/* SPDX-License-Identifier: MIT */
/* How the memory map is checked and split into the kernel pool and the guest pool. */
/* SOURCES: kernel/physmem.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/buddy.h"
#include "kernel/physmem.h"

#define K(n)          ((u64)(n) << 10)
#define M(n)          ((u64)(n) << 20)
#define G(n)          ((u64)(n) << 30)

#define POOL_SMALLEST M(6)

static struct bootinfo b;
static struct physmem m;

static int setup(void **state)
{
    (void)state;
    memset(&b, 0, sizeof(b));
    b.cpu_count = 1;
    return 0;
}

static void add(u64 base, u64 bytes, u32 type)
{
    b.ranges[b.range_count++] = (struct boot_range){base, bytes, type, 0};
}

static bool inside(u64 base, u64 bytes, u32 type)
{
    for (u32 i = 0; i < b.range_count; i++) {
        const struct boot_range *r = &b.ranges[i];
        if (r->type == type && base >= r->base && bytes <= r->bytes &&
            base - r->base <= r->bytes - bytes) {
            return true;
        }
    }
    return false;
}

static bool overlap(const struct mem_range *x, const struct mem_range *y)
{
    return x->base < y->base + y->bytes && y->base < x->base + x->bytes;
}

/* What holds for every map that passed the check. */
static void check_split(bool ok)
{
    u64 pool = 0, guest = 0, usable = 0, all = 0;

    assert_true(m.pool_count <= PHYSMEM_POOLS && m.guest_count <= PHYSMEM_GUESTS);
    for (u32 i = 0; i < m.pool_count; i++) {
        const struct mem_range *p = &m.pool[i];
        assert_true(p->bytes > 0);
        assert_int_equal((p->base | p->bytes) & PAGE_MASK, 0);
        assert_true(p->base >= M(1));
        /* never what the loader uses: the pool is written while the loader's tables are in use */
        assert_true(inside(p->base, p->bytes, BOOT_MEM_USABLE));
        pool += p->bytes;
        for (u32 k = 0; k < i; k++) {
            assert_false(overlap(p, &m.pool[k]));
        }
        for (u32 k = 0; k < m.guest_count; k++) {
            assert_false(m.guest[k].bytes && overlap(p, &m.guest[k]));
        }
    }
    for (u32 i = 0; i < m.guest_count; i++) {
        const struct mem_range *g = &m.guest[i];
        guest += g->bytes;
        if (!g->bytes) {
            continue;
        }
        assert_int_equal((g->base | g->bytes) & PAGE_MASK, 0);
        assert_true(g->base >= M(1));
        assert_true(inside(g->base, g->bytes, BOOT_MEM_USABLE) ||
                    inside(g->base, g->bytes, BOOT_MEM_LOADER));
        for (u32 k = 0; k < i; k++) {
            assert_false(m.guest[k].bytes && overlap(g, &m.guest[k]));
        }
    }
    for (u32 i = 0; i < b.range_count; i++) {
        u64 base = MAX(b.ranges[i].base, M(1)), end = b.ranges[i].base + b.ranges[i].bytes;
        u64 above = end > base ? end - base : 0;
        usable += b.ranges[i].type == BOOT_MEM_USABLE ? above : 0;
        all +=
            b.ranges[i].type == BOOT_MEM_USABLE || b.ranges[i].type == BOOT_MEM_LOADER ? above : 0;
    }
    assert_int_equal(m.pool_bytes, pool);
    assert_int_equal(m.guest_bytes, guest);
    assert_true(pool + guest <= all);
    assert_true(pool <= usable);
    assert_true(!ok || pool >= POOL_SMALLEST);
    /* no more than wanted, but for the alignment of each range */
    assert_true(pool <= M(12) + usable / 32 + m.pool_count * SIZE_2M);
    /* nothing is lost, as long as there is room for all ranges */
    assert_true(m.guest_count <= BUDDY_MAX_ZONES);
    if (b.range_count <= BUDDY_MAX_ZONES) {
        assert_int_equal(pool + guest, all);
    }
}

static bool split(void)
{
    assert_null(physmem_check(&b));
    bool ok = physmem_split(&b, &m);
    check_split(ok);
    return ok;
}

static void test_pc(void **state)
{
    (void)state;
    add(0, K(640), BOOT_MEM_USABLE);
    add(K(640), K(384), BOOT_MEM_RESERVED);
    add(M(1), M(7), BOOT_MEM_USABLE);
    add(M(8), K(64), BOOT_MEM_FIRMWARE);
    add(M(9), M(1), BOOT_MEM_LOADER);
    add(M(16), M(2), BOOT_MEM_KERNEL);
    add(M(18), M(400), BOOT_MEM_USABLE);
    add(M(450), M(3), BOOT_MEM_MODULE);
    add(M(460), K(64), BOOT_MEM_ACPI);
    add(G(4), G(4), BOOT_MEM_USABLE);
    assert_true(split());
    assert_int_equal(m.pool_count, 1);
    assert_int_equal(m.pool[0].base & (SIZE_2M - 1), 0);
    assert_int_equal(m.pool[0].base + m.pool[0].bytes, G(8)); /* the end of the largest range */
    assert_true(m.pool_bytes >= M(12) + (G(4) + M(407)) / 32);
}

static void test_little_memory(void **state)
{
    (void)state;
    static const struct {
        u64 bytes;
        bool ok;
    } cases[] = {
        {0,           false},
        {PAGE_SIZE,   false},
        {M(2),        false},
        {M(6) - K(4), false},
        {M(6),        true },
        {M(6) + K(4), true },
        {M(8),        true },
        {M(12),       true },
        {M(16),       true },
    };
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(NULL);
        add(0, K(640), BOOT_MEM_USABLE); /* does not count */
        add(M(4), cases[i].bytes, BOOT_MEM_USABLE);
        assert_int_equal(split(), cases[i].ok);
    }
    setup(NULL);
    assert_false(split()); /* no range at all */
}

static void test_range_across_1m(void **state)
{
    (void)state;
    add(K(512), M(32), BOOT_MEM_USABLE);
    add(M(40), M(1), BOOT_MEM_LOADER);
    assert_true(split());
    for (u32 i = 0; i < m.guest_count; i++) {
        assert_true(m.guest[i].base >= M(1));
    }
    setup(NULL);
    add(K(512), M(1), BOOT_MEM_LOADER); /* the loader's may cross it too */
    add(M(4), M(32), BOOT_MEM_USABLE);
    assert_true(split());
}

static void test_pool_of_several_ranges(void **state)
{
    (void)state;
    for (u32 i = 0; i < 8; i++) {
        add(M(1 + 8 * i), M(2) + K(4) * i, BOOT_MEM_USABLE);
    }
    assert_true(split());
    assert_true(m.pool_count > 1);
}

static void test_memory_in_shreds(void **state)
{
    (void)state;
    /* plenty in all, but no piece of 2 MiB */
    for (u32 i = 0; i < 500; i++) {
        add(M(1 + 2 * i), M(1), BOOT_MEM_USABLE);
    }
    assert_false(split());
    assert_int_equal(m.pool_count, 0);
    /* every record in use, half of them the loader's */
    setup(NULL);
    for (u32 i = 0; i < BOOT_MAX_RANGES; i++) {
        add(M(1 + 4 * i), M(2), i & 1 ? BOOT_MEM_LOADER : BOOT_MEM_USABLE);
    }
    assert_true(split());
}

/* More ranges than there are zones: what is left out is small, wherever it lies. */
static void test_many_ranges(void **state)
{
    (void)state;
    for (u32 i = 0; i < 300; i++) {
        add(M(1 + 2 * i), i == 7 ? M(2) : K(4) * (1 + i % 5), BOOT_MEM_USABLE);
    }
    add(G(1), G(2), BOOT_MEM_USABLE);
    add(G(4), G(8), BOOT_MEM_USABLE);
    assert_true(split());
    assert_true(m.pool_bytes + m.guest_bytes >= G(10) + M(2) + 60 * K(20) + K(16));
}

static void test_huge_memory(void **state)
{
    (void)state;
    add(M(1), G(3), BOOT_MEM_USABLE);
    add(G(4), G(8 * 1024), BOOT_MEM_USABLE);
    add(1ull << 51, G(1), BOOT_MEM_USABLE);
    assert_true(split());
    assert_true(m.pool_bytes >= G(256));
}

static void test_bad_maps_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct boot_range r[3];
    } bad[] = {
        {{{M(4), M(1), 0, 0}, {M(2), M(1), 0, 0}}},         /* not sorted */
        {{{M(4), M(2), 0, 0}, {M(5), M(2), 0, 0}}},         /* overlap */
        {{{M(4), M(2), 0, 0}, {M(4), M(2), 0, 0}}},         /* twice */
        {{{M(4), M(2), 0, 0}, {M(6) - K(4), M(2), 0, 0}}},  /* by one page */
        {{{M(4) + 1, M(2), 0, 0}}},                         /* base not aligned */
        {{{M(4), M(2) + 1, 0, 0}}},                         /* size not aligned */
        {{{M(4), ~PAGE_MASK, 0, 0}}},                       /* wraps */
        {{{~PAGE_MASK, PAGE_SIZE, 0, 0}, {0, M(1), 0, 0}}}, /* wraps to exactly 0 */
        {{{M(4), M(2), 0, 0}, {M(8), M(2), 0, 0}, {M(9), M(2), 0, 0}}},
    };
    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        setup(NULL);
        for (u32 k = 0; k < 3 && bad[i].r[k].bytes; k++) {
            b.ranges[b.range_count++] = bad[i].r[k];
        }
        assert_non_null(physmem_check(&b));
    }
}

static void test_bad_counts_are_refused(void **state)
{
    (void)state;
    add(M(1), M(64), BOOT_MEM_USABLE);
    assert_null(physmem_check(&b));
    static const struct {
        size_t at;
        u32 good, bad;
    } counts[] = {
        {offsetof(struct bootinfo, range_count),   1,                 BOOT_MAX_RANGES + 1  },
        {offsetof(struct bootinfo, module_count),  BOOT_MAX_MODULES,  BOOT_MAX_MODULES + 1 },
        {offsetof(struct bootinfo, segment_count), BOOT_MAX_SEGMENTS, BOOT_MAX_SEGMENTS + 1},
        {offsetof(struct bootinfo, cpu_count),     BOOT_MAX_CPUS,     BOOT_MAX_CPUS + 1    },
        {offsetof(struct bootinfo, cpu_count),     1,                 0                    },
        {offsetof(struct bootinfo, range_count),   1,                 ~0u                  },
    };
    for (u32 i = 0; i < ARRAY_SIZE(counts); i++) {
        u32 *count = (u32 *)((u8 *)&b + counts[i].at);
        *count = counts[i].bad;
        assert_non_null(physmem_check(&b));
        *count = counts[i].good;
        assert_null(physmem_check(&b));
    }
}

/* Any map that passes the check is split without losing or doubling anything. */
static void test_random_maps(void **state)
{
    (void)state;
    srand(1);
    for (u32 round = 0; round < 3000; round++) {
        u64 at = 0;
        u32 n = (u32)rand() % (round % 10 ? 40 : BOOT_MAX_RANGES + 1);
        setup(NULL);
        for (u32 i = 0; i < n; i++) {
            u32 scale = (u32)rand() % 18;
            at += (u64)(rand() % 4) << (PAGE_SHIFT + scale / 2);
            u64 bytes = (u64)(rand() % 9) << (PAGE_SHIFT + scale);
            add(at, bytes, (u32)rand() % (BOOT_MEM_RESERVED + 1));
            at += bytes;
        }
        split();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pc, setup),
        cmocka_unit_test_setup(test_little_memory, setup),
        cmocka_unit_test_setup(test_range_across_1m, setup),
        cmocka_unit_test_setup(test_pool_of_several_ranges, setup),
        cmocka_unit_test_setup(test_memory_in_shreds, setup),
        cmocka_unit_test_setup(test_many_ranges, setup),
        cmocka_unit_test_setup(test_huge_memory, setup),
        cmocka_unit_test_setup(test_bad_maps_are_refused, setup),
        cmocka_unit_test_setup(test_bad_counts_are_refused, setup),
        cmocka_unit_test_setup(test_random_maps, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
