/* SPDX-License-Identifier: MIT */
/* Memory types from MTRRs: against a page by page reading of the manual's rules, and known set-ups.
 */
/* SOURCES: boot/memtype.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/memtype.h"
#include "lib/hw/x86.h"

#define PHYS_BITS 40
#define VALID     MTRR_PHYSMASK_VALID

static struct memtype_map m;

/* A naturally aligned power of two, as firmware makes them. */
static void range(u64 base, u64 bytes, u64 type)
{
    memtype_add_variable(&m, base | type, (~(bytes - 1) & FIELD(PHYS_BITS - 1, 12)) | VALID,
                         PHYS_BITS);
}

static void reset(u8 default_type)
{
    memset(&m, 0, sizeof(m));
    m.default_type = default_type;
}

/* SDM 3A "MTRR Precedences", for one page. */
static int page_type(u64 pa)
{
    bool uc = false, wt = false, wb = false, other = false;

    if (m.fixed_enabled && pa < MEMTYPE_FIXED_END) {
        return m.fixed[pa >> PAGE_SHIFT];
    }
    for (u32 i = 0; i < m.variable_count; i++) {
        if ((pa & m.variable[i].mask) == (m.variable[i].base & m.variable[i].mask)) {
            uc |= m.variable[i].type == MEMTYPE_UC;
            wt |= m.variable[i].type == MEMTYPE_WT;
            wb |= m.variable[i].type == MEMTYPE_WB;
            other |= m.variable[i].type == MEMTYPE_WC;
        }
    }
    if (uc || (other && (wt || wb))) {
        return MEMTYPE_UC;
    }
    return other ? MEMTYPE_WC : wt ? MEMTYPE_WT : wb ? MEMTYPE_WB : m.default_type;
}

static int slow_type(u64 pa, u64 bytes)
{
    int type = page_type(pa);

    for (u64 at = pa; at < pa + bytes; at += PAGE_SIZE) {
        if (page_type(at) != type) {
            return MEMTYPE_NOT_UNIFORM;
        }
    }
    return type;
}

/* What OVMF and many boards do: write-back by default, the hole below 4 GiB uncached. */
static void test_default_write_back(void **state)
{
    (void)state;
    reset(MEMTYPE_WB);
    range(0x80000000, 0x80000000, MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 0, 0x80000000), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 0x80000000, 0x80000000), MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 0x7ffff000, 2 * PAGE_SIZE), MEMTYPE_NOT_UNIFORM);
    assert_int_equal(memtype_of(&m, 4 * SIZE_1G, SIZE_1G), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 0, 8 * SIZE_1G), MEMTYPE_NOT_UNIFORM);
}

/* The other habit: uncached by default, memory in pieces, a hole cut out of one. */
static void test_default_uncached(void **state)
{
    (void)state;
    reset(MEMTYPE_UC);
    range(0, 2 * SIZE_1G, MEMTYPE_WB);
    range(2 * SIZE_1G, SIZE_1G, MEMTYPE_WB);
    range(0xb0000000, 0x10000000, MEMTYPE_UC);
    range(0xa0000000, 0x1000000, MEMTYPE_WC);
    range(0x10000000, 0x1000000, MEMTYPE_WT);
    assert_int_equal(memtype_of(&m, SIZE_1G, SIZE_1G), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, SIZE_1G, 1536ull << 20), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 2 * SIZE_1G, SIZE_1G), MEMTYPE_NOT_UNIFORM);
    assert_int_equal(memtype_of(&m, 0xb0000000, SIZE_2M), MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 0xa0000000, SIZE_2M), MEMTYPE_UC); /* WC over WB: undefined */
    assert_int_equal(memtype_of(&m, 0x10000000, 0x1000000), MEMTYPE_WT);
    assert_int_equal(memtype_of(&m, 3 * SIZE_1G, SIZE_1G), MEMTYPE_UC);
}

/* AMD's way: no MTRR speaks of the memory above 4 GiB. */
static void test_high_memory(void **state)
{
    (void)state;
    reset(MEMTYPE_UC);
    m.high_end = 6 * SIZE_1G;
    range(0, 2 * SIZE_1G, MEMTYPE_WB);
    range(5 * SIZE_1G, 0x10000000, MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 3 * SIZE_1G, SIZE_1G), MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 4 * SIZE_1G, SIZE_1G), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 5 * SIZE_1G, SIZE_2M), MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 6 * SIZE_1G - SIZE_2M, SIZE_2M), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 6 * SIZE_1G, SIZE_2M), MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 6 * SIZE_1G - SIZE_2M, 2 * SIZE_2M), MEMTYPE_NOT_UNIFORM);
    assert_int_equal(memtype_of(&m, 0, 8 * SIZE_1G), MEMTYPE_NOT_UNIFORM);
    m.high_end = 4 * SIZE_1G + SIZE_2M; /* inside of a large block */
    assert_int_equal(memtype_of(&m, 4 * SIZE_1G, SIZE_1G), MEMTYPE_NOT_UNIFORM);
}

static void test_fixed(void **state)
{
    (void)state;
    reset(MEMTYPE_WB);
    m.fixed_enabled = true;
    for (u32 i = 0; i < MEMTYPE_FIXED_COUNT; i++) {
        memtype_set_fixed(&m, i, i == 2 ? 0 : i >= 3 ? 0x0505050505050505 : 0x0606060606060606);
    }
    assert_int_equal(memtype_of(&m, 0, 0xa0000), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 0xa0000, 0x20000), MEMTYPE_UC);
    assert_int_equal(memtype_of(&m, 0xc0000, 0x40000), MEMTYPE_WP);
    assert_int_equal(memtype_of(&m, 0, SIZE_2M), MEMTYPE_NOT_UNIFORM);
    assert_int_equal(memtype_of(&m, 0x9f000, PAGE_SIZE), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 0x9f000, 2 * PAGE_SIZE), MEMTYPE_NOT_UNIFORM);
    memtype_set_fixed(&m, 3, 0x0706050401000605);
    assert_int_equal(memtype_of(&m, 0xc0000, PAGE_SIZE), MEMTYPE_WP);
    assert_int_equal(memtype_of(&m, 0xc1000, PAGE_SIZE), MEMTYPE_WB);
    assert_int_equal(memtype_of(&m, 0xc7000, PAGE_SIZE), 7);
    assert_int_equal(memtype_of(&m, 0x100000, 0x100000), MEMTYPE_WB);
}

static void test_registers(void **state)
{
    (void)state;
    reset(MEMTYPE_UC);
    memtype_add_variable(&m, MEMTYPE_WB, FIELD(39, 30), PHYS_BITS); /* not valid */
    assert_int_equal(m.variable_count, 0);
    memtype_add_variable(&m, FIELD(63, 40) | MEMTYPE_WB, FIELD(63, 30) | VALID, PHYS_BITS);
    assert_int_equal(memtype_of(&m, 0, SIZE_1G), MEMTYPE_WB); /* reserved bits do not count */
    assert_int_equal(memtype_of(&m, SIZE_1G, SIZE_1G), MEMTYPE_UC);
    for (u32 i = 0; i < 2 * MEMTYPE_VARIABLE_MAX; i++) {
        range(0, SIZE_1G, MEMTYPE_WB);
    }
    assert_int_equal(m.variable_count, MEMTYPE_VARIABLE_MAX);
}

/* Random sets, masks with holes among them, against the slow reading. */
static void test_random(void **state)
{
    static const u8 types[] = {MEMTYPE_UC, MEMTYPE_WC, MEMTYPE_WT, MEMTYPE_WB};

    (void)state;
    srand(1);
    for (u32 round = 0; round < 3000; round++) {
        reset(types[rand() % 4]);
        m.fixed_enabled = rand() % 2;
        for (u32 i = 0; i < MEMTYPE_FIXED_COUNT; i++) {
            memtype_set_fixed(&m, i, rand() % 2 ? 0x0606060606060606 : 0x0606000006060606);
        }
        for (u32 n = (u32)rand() % 4; n; n--) {
            u64 bytes = PAGE_SIZE << rand() % 14;
            u64 mask = ~(bytes - 1) & FIELD(PHYS_BITS - 1, 12);
            if (rand() % 8 == 0) {
                mask &= ~(PAGE_SIZE << rand() % 12);
            }
            u64 base = ((u64)rand() % 8192 << PAGE_SHIFT) & mask;
            memtype_add_variable(&m, base | types[rand() % 4], mask | VALID, PHYS_BITS);
        }
        for (u32 n = 0; n < 8; n++) {
            u64 pa = (u64)rand() % 4096 << PAGE_SHIFT;
            u64 bytes = (1 + (u64)rand() % (rand() % 2 ? 8 : 2048)) << PAGE_SHIFT;
            assert_int_equal(memtype_of(&m, pa, bytes), slow_type(pa, bytes));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_write_back),
        cmocka_unit_test(test_default_uncached),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_high_memory),
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
