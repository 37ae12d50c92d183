/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/walk.c vmm/machine/ram.c */
/* Guest page tables of every format, rights, reserved bits, flags; and tables that are rubbish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/machine/walk.h"

#define P      BIT(0)
#define W      BIT(1)
#define U      BIT(2)
#define A      BIT(5)
#define D      BIT(6)
#define LARGE  BIT(7)
#define NX     BIT(63)
#define PHYS   40
#define MEMORY (2ull << 20)

static struct ram ram;
static struct vcpu_state s;

static int setup(void **state)
{
    (void)state;
    ram.base = calloc(1, MEMORY);
    ram_layout(&ram, MEMORY);
    memset(&s, 0, sizeof(s));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(ram.base);
    return 0;
}

static void put64(u64 at, u64 value)
{
    memcpy(ram.base + at, &value, 8);
}

static u64 get64(u64 at)
{
    u64 value;

    memcpy(&value, ram.base + at, 8);
    return value;
}

static void put32(u64 at, u32 value)
{
    memcpy(ram.base + at, &value, 4);
}

static u32 get32(u64 at)
{
    u32 value;

    memcpy(&value, ram.base + at, 4);
    return value;
}

static void user(bool on)
{
    s.seg[SEG_SS].access = on ? 0xc0f3 : 0xc093;
}

/* 4 levels: 0x1000, 0x2000, 0x3000, 0x4000; 4 KiB page at linear 0x7000, 2 MiB at 0x200000, 1 GiB
 * at 0x40000000. */
static void long_mode(void)
{
    s.cr0 = CR0_PE | CR0_PG | CR0_WP;
    s.cr4 = CR4_PAE;
    s.efer = EFER_LME | EFER_LMA | EFER_NXE;
    s.cr3 = 0x1000;
    s.seg[SEG_CS].access = 0xa09b;
    user(false);
    put64(0x1000, 0x2000 | P | W | U);
    put64(0x2000, 0x3000 | P | W | U);
    put64(0x2008, 0x40000000 | P | W | U | LARGE);
    put64(0x3000, 0x4000 | P | W | U);
    put64(0x3008, 0x600000 | P | W | U | LARGE);
    put64(0x4000 + 7 * 8, 0x9000 | P | W | U);
}

static void expect_ok(u64 va, u64 kind, u64 pa)
{
    u64 error = 0;
    gpa_t gpa = GPA(0);

    assert_int_equal(walk(&ram, &s, PHYS, GVA(va), kind, &gpa, &error, NULL), WALK_OK);
    assert_int_equal(gpa.v, pa);
}

static void expect_fault(u64 va, u64 kind, u64 code)
{
    u64 error = 0;
    gpa_t gpa = GPA(0);

    assert_int_equal(walk(&ram, &s, PHYS, GVA(va), kind, &gpa, &error, NULL), WALK_FAULT);
    assert_int_equal(error, code);
}

static void test_no_paging(void **state)
{
    (void)state;
    expect_ok(0x12345678, PF_WRITE, 0x12345678);
    expect_ok(0x112345678, 0, 0x12345678);
}

static void test_long_pages(void **state)
{
    gpa_t gpa;
    u64 error;

    (void)state;
    long_mode();
    expect_ok(0x7123, 0, 0x9123);
    expect_ok(0x212345, 0, 0x612345);
    expect_ok(0x40000000 + 0x3456789a % SIZE_1G, 0, 0x40000000 + 0x3456789a % SIZE_1G);
    expect_fault(0x8000, 0, 0);
    expect_fault(0x8000, PF_WRITE, PF_WRITE);
    expect_fault(0x8000, PF_FETCH, PF_FETCH);
    expect_fault(0x7fffffffffff, 0, 0);
    assert_int_equal(walk(&ram, &s, PHYS, GVA(0x800000000000), 0, &gpa, &error, NULL),
                     WALK_NON_CANONICAL);
    assert_int_equal(walk(&ram, &s, PHYS, GVA(0xffff7fffffffffff), 0, &gpa, &error, NULL),
                     WALK_NON_CANONICAL);
    expect_fault(0xffff800000000000, 0, 0);
    s.cr4 |= CR4_LA57; /* the same tables as five levels: canonical now, and one step deeper */
    put64(0x5000, 0x1000 | P | W | U);
    s.cr3 = 0x5000;
    expect_fault(0x800000000000, 0, 0);
    expect_ok(0x7123, 0, 0x9123);
}

static void test_accessed_and_dirty(void **state)
{
    (void)state;
    long_mode();
    expect_ok(0x7000, 0, 0x9000);
    assert_int_equal(get64(0x1000) & (A | D), A);
    assert_int_equal(get64(0x3000) & (A | D), A);
    assert_int_equal(get64(0x4038) & (A | D), A);
    expect_ok(0x7000, PF_WRITE, 0x9000);
    assert_int_equal(get64(0x4038) & (A | D), A | D);
    assert_int_equal(get64(0x3000) & D, 0);
    expect_ok(0x200000, PF_WRITE, 0x600000);
    assert_int_equal(get64(0x3008) & (A | D), A | D);
    put64(0x4000 + 8 * 8, 0xa000 | P | U); /* a fault leaves no trace */
    expect_fault(0x8000, PF_WRITE, PF_PRESENT | PF_WRITE);
    assert_int_equal(get64(0x4040) & (A | D), 0);
}

static void test_rights(void **state)
{
    static const struct {
        u64 pte;
        bool user;
        u64 kind, cr0, cr4, rflags;
        u64 code; /* ~0: allowed */
    } cases[] = {
        {P | W | U, true,  PF_WRITE, CR0_WP, 0,        0,         ~0ull                          },
        {P | U,     true,  PF_WRITE, CR0_WP, 0,        0,         PF_PRESENT | PF_WRITE | PF_USER},
        {P | U,     true,  PF_WRITE, 0,      0,        0,         PF_PRESENT | PF_WRITE | PF_USER},
        {P,         false, PF_WRITE, 0,      0,        0,         ~0ull                          },
        {P,         false, PF_WRITE, CR0_WP, 0,        0,         PF_PRESENT | PF_WRITE          },
        {P | W,     true,  0,        CR0_WP, 0,        0,         PF_PRESENT | PF_USER           },
        {P | W,     true,  PF_FETCH, CR0_WP, 0,        0,         PF_PRESENT | PF_USER | PF_FETCH},
        {P | NX,    false, PF_FETCH, 0,      0,        0,         PF_PRESENT | PF_FETCH          },
        {P | NX,    false, 0,        0,      0,        0,         ~0ull                          },
        {P | U,     false, PF_FETCH, 0,      0,        0,         ~0ull                          },
        {P | U,     false, PF_FETCH, 0,      CR4_SMEP, 0,         PF_PRESENT | PF_FETCH          },
        {P | U,     false, 0,        0,      CR4_SMAP, 0,         PF_PRESENT                     },
        {P | U,     false, 0,        0,      CR4_SMAP, RFLAGS_AC, ~0ull                          },
        {P | W | U, false, PF_WRITE, 0,      CR4_SMAP, 0,         PF_PRESENT | PF_WRITE          },
        {P | U,     false, PF_FETCH, 0,      CR4_SMAP, 0,         ~0ull                          },
        {P,         false, 0,        0,      CR4_SMAP, 0,         ~0ull                          },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        long_mode();
        s.cr0 = CR0_PE | CR0_PG | cases[i].cr0;
        s.cr4 = CR4_PAE | cases[i].cr4;
        s.rflags = cases[i].rflags;
        user(cases[i].user);
        put64(0x4038, 0x9000 | cases[i].pte);
        if (cases[i].code == ~0ull) {
            expect_ok(0x7000, cases[i].kind, 0x9000);
        } else {
            expect_fault(0x7000, cases[i].kind, cases[i].code);
        }
    }
    long_mode(); /* rights of all levels count */
    put64(0x2000, 0x3000 | P | U);
    expect_fault(0x7000, PF_WRITE, PF_PRESENT | PF_WRITE);
    long_mode();
    put64(0x1000, 0x2000 | P | W | U | NX);
    expect_fault(0x7000, PF_FETCH, PF_PRESENT | PF_FETCH);
}

static void test_reserved(void **state)
{
    static const struct {
        u64 at, bits, va;
    } cases[] = {
        {0x4038, BIT(40), 0x7000    },
        {0x3000, BIT(51), 0x7000    },
        {0x1000, LARGE,   0x7000    },
        {0x3008, BIT(13), 0x200000  },
        {0x2008, BIT(29), 0x40000000},
        {0x2008, BIT(13), 0x40000000},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        long_mode();
        expect_ok(cases[i].va, 0,
                  cases[i].va == 0x7000     ? 0x9000
                  : cases[i].va == 0x200000 ? 0x600000
                                            : 0x40000000);
        put64(cases[i].at, get64(cases[i].at) | cases[i].bits);
        expect_fault(cases[i].va, 0, PF_PRESENT | PF_RESERVED);
    }
    long_mode();
    s.efer &= ~EFER_NXE; /* then NX is reserved, and a fetch is no kind of its own */
    put64(0x4038, 0x9000 | P | NX);
    expect_fault(0x7000, PF_FETCH, PF_PRESENT | PF_RESERVED);
}

static void test_tables_outside_ram(void **state)
{
    (void)state;
    long_mode();
    s.cr3 = 0x40000000;
    expect_fault(0x7000, 0, PF_PRESENT | PF_RESERVED);
    long_mode();
    put64(0x2000, 0xa0000 | P | W | U); /* the hole below 1 MiB */
    expect_fault(0x7000, 0, PF_PRESENT | PF_RESERVED);
    long_mode();
    put64(0x4038, 0x3fffff000 | P | W | U); /* the page itself may be anywhere */
    expect_ok(0x7000, 0, 0x3fffff000);
}

static void test_two_levels(void **state)
{
    (void)state;
    s.cr0 = CR0_PE | CR0_PG | CR0_WP;
    s.cr4 = CR4_PSE;
    s.cr3 = 0x1018; /* the low bits are no part of the address */
    user(false);
    put32(0x1000, 0x2000 | P | W | U);
    put32(0x1004, 0x00c00000 | P | W | LARGE);
    put32(0x1008, 0x00c00000 | P | W | LARGE | (0x12 << 13)); /* PSE-36 */
    put32(0x100c, 0x00c00000 | P | W | LARGE | BIT(21));
    put32(0x2000 + 5 * 4, 0x8000 | P | W);
    expect_ok(0x5678, PF_WRITE, 0x8678);
    assert_int_equal(get32(0x2014) & (A | D), A | D);
    assert_int_equal(get32(0x2018), 0); /* nothing beside it was touched */
    expect_ok(0x412345, 0, 0xc12345);
    expect_ok(0x812345, 0, 0x1200c12345);
    expect_fault(0xc00000, 0, PF_PRESENT | PF_RESERVED);
    expect_ok(0x100005678, 0, 0x8678); /* linear addresses have 32 bits */
    s.cr4 = 0; /* without PSE bit 7 says nothing: a table, outside RAM, of all-ones */
    expect_ok(0x412345, PF_FETCH, 0xfffff345);
}

static void test_pae(void **state)
{
    (void)state;
    s.cr0 = CR0_PE | CR0_PG;
    s.cr4 = CR4_PAE;
    s.efer = EFER_NXE;
    s.cr3 = 0x1020; /* aligned to 32 bytes */
    user(true);
    put64(0x1020, 0x2000 | P); /* has no rights of its own */
    put64(0x1038, 0x3000 | P);
    put64(0x2000, 0x4000 | P | W | U);
    put64(0x3000 + 511 * 8, 0x400000 | P | W | U | LARGE | NX);
    put64(0x4008, 0x200008000 | P | W | U);
    expect_ok(0x1004, PF_WRITE, 0x200008004);
    expect_ok(0xffe01234, 0, 0x401234);
    expect_fault(0xffe01234, PF_FETCH, PF_PRESENT | PF_FETCH | PF_USER);
    assert_int_equal(get64(0x1020), 0x2000 | P); /* nor flags */
    expect_fault(0x40000000, 0, PF_USER);
    put64(0x1020, 0x2000 | P | W);
    expect_fault(0x1004, 0, PF_PRESENT | PF_RESERVED | PF_USER);
    put64(0x1020, 0x2000 | P);
    put64(0x4008, 0x8000 | P | BIT(52));
    expect_fault(0x1004, 0, PF_PRESENT | PF_RESERVED | PF_USER);
}

/* What a cached translation hangs on: every entry on the way, and nothing else. */
static void test_path(void **state)
{
    static const u64 entries[] = {0x1000, 0x2000, 0x3000, 0x4000 + 7 * 8};
    struct walk_path path = {0};
    u64 error;
    gpa_t gpa;

    (void)state;
    long_mode();
    assert_int_equal(walk(&ram, &s, PHYS, GVA(0x7123), PF_WRITE, &gpa, &error, &path), WALK_OK);
    assert_int_equal(path.count, 4);
    assert_true(walk_unchanged(&ram, &path));
    put64(0x4000 + 8 * 8, 0x1234);
    assert_true(walk_unchanged(&ram, &path));
    for (u32 i = 0; i < ARRAY_SIZE(entries); i++) {
        u64 before = get64(entries[i]);
        put64(entries[i], before ^ BIT(20));
        assert_false(walk_unchanged(&ram, &path));
        put64(entries[i], before);
        assert_true(walk_unchanged(&ram, &path));
    }
    assert_int_equal(walk(&ram, &s, PHYS, GVA(0x40000000), 0, &gpa, &error, &path), WALK_OK);
    assert_int_equal(path.count, 2); /* a large page */
    assert_true(walk_unchanged(&ram, &path));
}

/* Random tables, state and addresses: no step outside RAM (the sanitizer sees it), always an
 * answer. */
static void test_rubbish(void **state)
{
    u64 seed = 1;

    (void)state;
    for (u32 round = 0; round < 20000; round++) {
        u64 r[6];
        for (u32 i = 0; i < ARRAY_SIZE(r); i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            r[i] = seed ^ seed >> 29;
        }
        s.cr0 = r[0];
        s.cr3 = r[1] & 0x3fffff;
        s.cr4 = r[2];
        s.efer = r[3] & (EFER_LMA | EFER_NXE);
        s.seg[SEG_SS].access = (u32)r[4];
        for (u32 i = 0; i < 64; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            put64((seed >> 20) % (0xa0000 - 8), seed & 0x8000000003ffffff);
        }
        gpa_t gpa;
        u64 error;
        (void)walk(&ram, &s, 36 + r[5] % 17, GVA(r[5]), r[0] & (PF_WRITE | PF_FETCH), &gpa, &error,
                   NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_paging, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_accessed_and_dirty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reserved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tables_outside_ram, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pae, setup, teardown),
        cmocka_unit_test_setup_teardown(test_path, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rubbish, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
