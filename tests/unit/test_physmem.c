/* SPDX-License-Identifier: MIT */
/* How the loader splits the memory map into the kernel pool and the guest pool, and how the kernel
 * checks it. */
/* SOURCES: boot/memmap.c boot/pool.c kernel/physmem.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "boot/memmap.h"
#include "kernel/physmem.h"

#define K(n)          ((u64)(n) << 10)
#define M(n)          ((u64)(n) << 20)
#define G(n)          ((u64)(n) << 30)

#define POOL_SMALLEST M(6)

#define CAPACITY      2048

static struct bootinfo b;   /* what add() makes, as the firmware gives it */
static struct bootinfo out; /* as the kernel gets it */
static struct physmem m;
static u64 lost;

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

/* Bytes of a type in [base, base + bytes). */
static u64 covered(u64 base, u64 bytes, u32 type)
{
    u64 sum = 0;

    for (u32 i = 0; i < b.range_count; i++) {
        u64 from = MAX(base, b.ranges[i].base);
        u64 to = MIN(base + bytes, b.ranges[i].base + b.ranges[i].bytes);
        sum += b.ranges[i].type == type && to > from ? to - from : 0;
    }
    return sum;
}

/* What holds for every map. */
static void check_split(bool ok)
{
    u64 pool = 0, guest = 0, usable = 0, all = 0;
    u32 pools = 0, guests = 0;

    for (u32 i = 0; i < out.range_count; i++) {
        const struct boot_range *r = &out.ranges[i];
        if (r->type == BOOT_MEM_POOL) {
            /* never what the loader uses: it is written while the loader's tables are in use */
            assert_int_equal(covered(r->base, r->bytes, BOOT_MEM_USABLE), r->bytes);
            pool += r->bytes;
            pools++;
        } else if (r->type == BOOT_MEM_USABLE) {
            assert_int_equal(covered(r->base, r->bytes, BOOT_MEM_USABLE) +
                                 covered(r->base, r->bytes, BOOT_MEM_LOADER),
                             r->bytes);
            guest += r->bytes;
            guests++;
        } else {
            assert_int_not_equal(r->type, BOOT_MEM_LOADER);
            continue;
        }
        assert_true(r->bytes > 0 && r->base >= M(1));
    }
    assert_true(pools <= BOOT_MAX_POOLS && guests <= BOOT_MAX_USABLE);
    usable = covered(M(1), ~PAGE_MASK - M(1), BOOT_MEM_USABLE);
    all = usable + covered(M(1), ~PAGE_MASK - M(1), BOOT_MEM_LOADER);
    assert_int_equal(m.guest_bytes, guest);
    assert_true(!ok || pool >= POOL_SMALLEST);
    /* no more than wanted, but for the alignment of each range */
    assert_true(pool <= M(12) + usable / 32 + pools * SIZE_2M);
    /* nothing is lost, as long as there is room for all ranges */
    assert_int_equal(pool + guest + lost, all);
    assert_true(!lost || guests == BOOT_MAX_USABLE || out.range_count == BOOT_MAX_RANGES);
}

static bool split(void)
{
    static struct boot_range ranges[CAPACITY];
    struct memmap map;

    memmap_init(&map, ranges, CAPACITY);
    for (u32 i = 0; i < b.range_count; i++) {
        memmap_set(&map, b.ranges[i].base, b.ranges[i].bytes, b.ranges[i].type);
    }
    out = b;
    bool ok = memmap_split(&map);
    out.range_count = memmap_copy(&map, out.ranges, BOOT_MAX_RANGES);
    lost = map.lost_bytes;
    const char *wrong = physmem_read(&out, &m);
    assert_int_equal(m.pool_count == 0, wrong != NULL);
    check_split(ok);
    return ok;
}

static u64 pool_bytes(void)
{
    u64 sum = 0;

    for (u32 i = 0; i < m.pool_count; i++) {
        sum += m.pool[i].bytes;
    }
    return sum;
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
    assert_true(pool_bytes() >= M(12) + (G(4) + M(407)) / 32);
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
    assert_true(pool_bytes() + m.guest_bytes >= G(10) + M(2) + 60 * K(20) + K(16));
}

static void test_huge_memory(void **state)
{
    (void)state;
    add(M(1), G(3), BOOT_MEM_USABLE);
    add(G(4), G(8 * 1024), BOOT_MEM_USABLE);
    add(1ull << 51, G(1), BOOT_MEM_USABLE);
    assert_true(split());
    assert_true(pool_bytes() >= G(256));
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
            add(bad[i].r[k].base, bad[i].r[k].bytes, BOOT_MEM_POOL);
        }
        assert_non_null(physmem_read(&b, &m));
    }
}

static void test_bad_counts_are_refused(void **state)
{
    (void)state;
    add(M(1), M(64), BOOT_MEM_POOL);
    assert_null(physmem_read(&b, &m));
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
        assert_non_null(physmem_read(&b, &m));
        *count = counts[i].good;
        assert_null(physmem_read(&b, &m));
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
            u32 type = (u32)rand() % (BOOT_MEM_RESERVED + 1);
            add(at, bytes, type == BOOT_MEM_POOL ? BOOT_MEM_USABLE : type);
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
