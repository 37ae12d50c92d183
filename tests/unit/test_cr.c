/* SPDX-License-Identifier: MIT */
/* SOURCES: kernel/cr.c */
/* Which control register values a guest may load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/cr.h"
#include "lib/hw/x86.h"

#define PAGED (CR0_PE | CR0_PG | CR0_NE | CR0_WP)

/* States a guest may be in before it tries. */
static const struct cr_state real = {.cr0 = CR0_ET};
static const struct cr_state protected = {.cr0 = CR0_PE | CR0_NE};
static const struct cr_state ready_for_long = {.cr0 = CR0_PE, .cr4 = CR4_PAE, .efer = EFER_LME};
static const struct cr_state lme_without_pae = {.cr0 = CR0_PE, .efer = EFER_LME};
static const struct cr_state compat = {
    .cr0 = PAGED, .cr3 = 0x1000, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA};
static const struct cr_state long_mode = {
    .cr0 = PAGED, .cr3 = 0x1000, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA, .cs_l = true};
static const struct cr_state long_pcid = {.cr0 = PAGED,
                                          .cr3 = 0x1001,
                                          .cr4 = CR4_PAE | CR4_PCIDE,
                                          .efer = EFER_LME | EFER_LMA,
                                          .cs_l = true};
static const struct cr_state compat_pcid = {
    .cr0 = PAGED, .cr4 = CR4_PAE | CR4_PCIDE, .efer = EFER_LME | EFER_LMA};

static void test_cr0(void **state)
{
    static const struct {
        const struct cr_state *s;
        u64 value;
        bool ok;
    } cases[] = {
        {&real,            0,                    true },
        {&real,            CR0_PE,               true },
        {&real,            CR0_PE | CR0_PG,      true },
        {&real,            CR0_PG,               false},
        {&real,            CR0_CD | CR0_NW,      true },
        {&real,            CR0_CD,               true },
        {&real,            CR0_NW,               false},
        {&real,            BIT(32),              false},
        {&real,            BIT(63),              false},
        {&real,            0xffffffff & ~CR0_NW, true }, /* reserved bits below 32 are ignored */
        {&protected,       0,                    true },
        {&protected,       PAGED,                true },
        {&ready_for_long,  PAGED,                true },
        {&lme_without_pae, PAGED,                false},
        {&compat,          CR0_PE,               true }, /* leaves IA-32e mode */
        {&compat,          0,                    true },
        {&long_mode,       CR0_PE,               false},
        {&long_mode,       0,                    false},
        {&long_mode,       PAGED & ~CR0_WP,      true },
        {&long_mode,       PAGED | CR0_TS,       true },
        {&long_pcid,       PAGED,                true },
        {&compat_pcid,     CR0_PE,               false},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        if (cr0_check(cases[i].s, cases[i].value) != cases[i].ok) {
            fail_msg("case %u: CR0 = %llx", i, (unsigned long long)cases[i].value);
        }
    }
}

static void test_cr4(void **state)
{
    const u64 allowed = FIELD(10, 0) | CR4_PCIDE | CR4_SMEP | CR4_FSGSBASE;
    static const struct {
        const struct cr_state *s;
        u64 value;
        bool ok;
    } cases[] = {
        {&real,      0,                            true },
        {&real,      CR4_PAE | CR4_PGE | CR4_SMEP, true },
        {&real,      CR4_VMXE,                     false},
        {&real,      CR4_SMXE,                     false},
        {&real,      CR4_SMAP,                     false}, /* CPUID does not offer it here */
        {&real,      BIT(15),                      false},
        {&real,      BIT(63),                      false},
        {&real,      CR4_PCIDE,                    false}, /* outside IA-32e mode */
        {&long_mode, CR4_PAE,                      true },
        {&long_mode, 0,                            false},
        {&long_mode, CR4_PAE | CR4_PCIDE,          true },
        {&compat,    CR4_PAE | CR4_PCIDE,          true },
        {&long_pcid, CR4_PAE | CR4_PCIDE,          true }, /* it was on: CR3 may hold a PCID */
        {&long_pcid, CR4_PAE,                      true },
        {&long_mode, CR4_PAE | CR4_LA57,           false},
    };
    struct cr_state pcid_in_cr3 = long_mode;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        if (cr4_check(cases[i].s, cases[i].value, allowed) != cases[i].ok) {
            fail_msg("case %u: CR4 = %llx", i, (unsigned long long)cases[i].value);
        }
    }
    pcid_in_cr3.cr3 = 0x1001;
    assert_false(cr4_check(&pcid_in_cr3, CR4_PAE | CR4_PCIDE, allowed));
    assert_false(cr4_check(&long_mode, CR4_PAE | CR4_LA57, allowed | CR4_LA57));
    assert_true(cr4_check(&real, CR4_LA57, allowed | CR4_LA57));
}

static void test_efer(void **state)
{
    const u64 allowed = EFER_SCE | EFER_LME | EFER_NXE;

    (void)state;
    assert_true(efer_check(&real, 0, allowed));
    assert_true(efer_check(&real, allowed, allowed));
    assert_true(efer_check(&real, EFER_LMA, allowed)); /* ignored */
    assert_false(efer_check(&real, EFER_SVME, allowed));
    assert_false(efer_check(&real, BIT(1), allowed));
    assert_false(efer_check(&real, BIT(63), allowed));
    assert_false(efer_check(&real, EFER_NXE, EFER_LME));
    assert_true(efer_check(&long_mode, EFER_LME | EFER_NXE, allowed));
    assert_false(efer_check(&long_mode, EFER_NXE, allowed)); /* LME while paging is on */
    assert_true(efer_check(&ready_for_long, 0, allowed));
}

static void test_xcr0(void **state)
{
    const u64 all = FIELD(2, 0) | FIELD(7, 5);
    static const struct {
        u64 value;
        bool ok;
    } cases[] = {
        {0,           false},
        {1,           true },
        {2,           false},
        {3,           true },
        {4,           false},
        {5,           false},
        {7,           true },
        {6,           false},
        {7 | 0x20,    false},
        {7 | 0xc0,    false},
        {7 | 0xe0,    true },
        {3 | 0xe0,    false},
        {1 | BIT(9),  false},
        {7 | 0x18,    false},
        {7 | BIT(63), false},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        if (xcr0_check(cases[i].value, all) != cases[i].ok) {
            fail_msg("XCR0 = %llx", (unsigned long long)cases[i].value);
        }
    }
    assert_false(xcr0_check(7, 3));
    assert_false(xcr0_check(1, 0));
    assert_false(xcr0_check(3 | BIT(17), ~0ull)); /* half of AMX */
    assert_true(xcr0_check(3 | FIELD(18, 17), ~0ull));
    assert_false(xcr0_check(3 | BIT(3), ~0ull)); /* half of MPX */
}

static void test_pat(void **state)
{
    (void)state;
    assert_true(pat_check(PAT_AFTER_RESET));
    for (u32 entry = 0; entry < 8; entry++) {
        for (u64 type = 0; type < 256; type++) {
            bool ok = type == 0 || type == 1 || (type >= 4 && type <= 7);
            assert_int_equal(pat_check(type << (8 * entry)), ok);
        }
    }
}

static void test_canonical(void **state)
{
    (void)state;
    assert_true(address_canonical(0));
    assert_true(address_canonical(0x00007fffffffffff));
    assert_false(address_canonical(0x0000800000000000));
    assert_false(address_canonical(0xffff7fffffffffff));
    assert_true(address_canonical(0xffff800000000000));
    assert_true(address_canonical(~0ull));
}

/* Whole states from ring 3. */
static void test_state(void **state)
{
    const u64 cr4 = FIELD(10, 0) | CR4_PCIDE, efer = EFER_SCE | EFER_LME | EFER_NXE;
    struct cr_state s;

    (void)state;
    assert_true(cr_state_check(&real, cr4, efer));
    assert_true(cr_state_check(&protected, cr4, efer));
    assert_true(cr_state_check(&long_mode, cr4, efer));
    assert_true(cr_state_check(&compat_pcid, cr4, efer));
    s = long_mode;
    s.efer = EFER_LME; /* active, but LMA does not say so */
    assert_false(cr_state_check(&s, cr4, efer));
    s = protected;
    s.efer = EFER_LMA;
    assert_false(cr_state_check(&s, cr4, efer));
    s = long_mode;
    s.cr4 = 0;
    assert_false(cr_state_check(&s, cr4, efer));
    s = real;
    s.cr0 = CR0_PG;
    assert_false(cr_state_check(&s, cr4, efer));
    s = real;
    s.cr4 = CR4_PCIDE;
    assert_false(cr_state_check(&s, cr4, efer));
    s.cr4 = CR4_VMXE;
    assert_false(cr_state_check(&s, cr4, efer));
}

/* Whatever MOV and WRMSR may do from a good state gives a good state. */
static void test_closed(void **state)
{
    const u64 allowed4 = CR4_PAE | CR4_PCIDE | CR4_PGE, allowed_efer = EFER_LME | EFER_NXE;
    u64 seed = 88172645463325252ull;
    struct cr_state s = real;
    u32 taken = 0;

    (void)state;
    for (u32 i = 0; i < 2000000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        u64 bits = seed >> 8;
        switch (seed & 7) {
        case 0:
        case 1: {
            u64 value = s.cr0 ^ (bits & 1 ? CR0_PE : 0) ^ (bits & 2 ? CR0_PG : 0) ^
                        (bits & 4 ? CR0_CD : 0) ^ (bits & 8 ? CR0_NW : 0);
            if (cr0_check(&s, value)) {
                bool on = value & CR0_PG, lme = s.efer & EFER_LME;
                s.efer = on && lme ? s.efer | EFER_LMA : s.efer & ~EFER_LMA;
                s.cr0 = value;
                taken++;
            }
            break;
        }
        case 2:
        case 3: {
            u64 value = s.cr4 ^ (bits & 1 ? CR4_PAE : 0) ^ (bits & 2 ? CR4_PCIDE : 0);
            if (cr4_check(&s, value, allowed4)) {
                s.cr4 = value;
                taken++;
            }
            break;
        }
        case 4: {
            u64 value = s.efer ^ (bits & 1 ? EFER_LME : 0) ^ (bits & 2 ? EFER_NXE : 0);
            if (efer_check(&s, value, allowed_efer)) {
                s.efer = (value & ~EFER_LMA) | (s.efer & EFER_LMA);
                taken++;
            }
            break;
        }
        case 5:
            s.cs_l = bits & 1 && s.efer & EFER_LMA;
            break;
        default:
            s.cr3 = bits & 0xfff;
            break;
        }
        if (!(s.efer & EFER_LMA)) {
            s.cs_l = false;
        }
        assert_true(cr_state_check(&s, allowed4, allowed_efer));
    }
    assert_true(taken > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cr0),   cmocka_unit_test(test_cr4),
        cmocka_unit_test(test_efer),  cmocka_unit_test(test_xcr0),
        cmocka_unit_test(test_pat),   cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_state), cmocka_unit_test(test_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
