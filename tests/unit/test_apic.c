/* SPDX-License-Identifier: MIT */
/* HARNESS: kernel */
/* SOURCES: kernel/apic.c kernel/apic_timer.c kernel/apic_message.c */
/* The local APIC of a guest as the SDM describes it: registers, the states of IA32_APIC_BASE,
 * priorities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/apic_fake.h"

/* --- registers --- */

static void check_after_reset(struct vcpu *w)
{
    assert_int_equal(apic_page_read(w, APIC_ID), w->index << 24);
    assert_int_equal(apic_page_read(w, APIC_VERSION), 0x01050015);
    assert_int_equal(apic_page_read(w, APIC_DFR), ~0u);
    assert_int_equal(apic_page_read(w, APIC_SVR), 0xff);
    for (u32 lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16) {
        assert_int_equal(apic_page_read(w, lvt), LVT_MASKED);
    }
    static const u32 zero[] = {
        APIC_TPR, APIC_PPR,      APIC_LDR,           APIC_ESR,           APIC_ICR,
        APIC_EOI, APIC_ICR_HIGH, APIC_TIMER_INITIAL, APIC_TIMER_CURRENT, APIC_TIMER_DIVIDE};
    for (u32 i = 0; i < ARRAY_SIZE(zero); i++) {
        assert_int_equal(apic_page_read(w, zero[i]), 0);
    }
    for (u32 i = 0; i < 24; i++) {
        assert_int_equal(apic_page_read(w, APIC_ISR + 16 * i), 0);
    }
    assert_int_equal(w->apic.errors, 0);
}

static void test_reset(void **state)
{
    (void)state;
    fake_reset();
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        check_after_reset(&vcpu[i]);
        assert_int_equal(vcpu[i].apic.base, i ? 0xfee00800 : 0xfee00900);
    }
    /* INIT: the same, wherever it was; the ID and IA32_APIC_BASE stay */
    setup(state);
    apic_page_write(v, APIC_LDR, 0x42000000);
    apic_page_write(v, APIC_TPR, 0x30);
    apic_page_write(v, APIC_LVT_TIMER, 0x55);
    apic_page_write(v, APIC_TIMER_INITIAL, 1000);
    self_ipi(0x44);
    assert_int_equal(deliver(v), 0x44);
    self_ipi(0x55);
    self_ipi(3);
    send(1, 0x66);
    apic_init(v);
    apic_init(&vcpu[1]);
    check_after_reset(v);
    assert_int_equal(v->apic.timer_tsc, APIC_NEVER);
    assert_int_equal(got(0), 0);
}

static void test_page_registers(void **state)
{
    static const struct {
        u32 offset, written, read;
    } rows[] = {
        {APIC_ID,            ~0u,        0         },
        {APIC_VERSION,       0,          0x01050015},
        {APIC_TPR,           ~0u,        0xff      },
        {APIC_PPR,           0x11,       0xff      }, /* follows TPR */
        {APIC_TPR,           0,          0         },
        {APIC_LDR,           ~0u,        0xff000000},
        {APIC_DFR,           0,          0x0fffffff},
        {APIC_DFR,           0xf0000000, ~0u       },
        {APIC_SVR,           ~0u,        0x000011ff},
        {APIC_ISR,           ~0u,        0         },
        {APIC_TMR + 0x70,    ~0u,        0         },
        {APIC_IRR + 0x10,    ~0u,        0         },
        {APIC_ICR_HIGH,      ~0u,        0xff000000},
        {APIC_LVT_TIMER,     ~0u,        0x000700ff},
        {APIC_LVT_TIMER,     0,          0         },
        {APIC_LVT_THERMAL,   ~0u,        0x000107ff},
        {APIC_LVT_PMC,       ~0u,        0x000107ff},
        {APIC_LVT_LINT0,     ~0u,        0x0001a7ff},
        {APIC_LVT_LINT1,     ~0u,        0x0001a7ff},
        {APIC_LVT_ERROR,     ~0u,        0x000100ff},
        {APIC_TIMER_CURRENT, ~0u,        0         },
        {APIC_TIMER_DIVIDE,  ~0u,        0xb       },
        {APIC_EOI,           ~0u,        0         },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        apic_page_write(v, rows[i].offset, rows[i].written);
        if (apic_page_read(v, rows[i].offset) != rows[i].read) {
            fail_msg("register %x is %x, not %x", rows[i].offset, apic_page_read(v, rows[i].offset),
                     rows[i].read);
        }
    }
    assert_int_equal(esr(), 0);
}

static void test_page_without_registers(void **state)
{
    static const u32 none[] = {0x000, 0x010, 0x040, 0x090, 0x0c0, 0x290, 0x2e0,
                               0x2f0, 0x3a0, 0x3d0, 0x3f0, 0x400, 0xff0};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(none); i++) {
        assert_int_equal(apic_page_read(v, none[i]), 0);
        assert_int_equal(esr(), ESR_REGISTER);
        apic_page_write(v, none[i], ~0u);
        assert_int_equal(esr(), ESR_REGISTER);
        assert_int_equal(esr(), 0);
    }
    /* between registers there is nothing, not even an error */
    apic_page_write(v, APIC_TPR + 4, 0x20);
    assert_int_equal(apic_page_read(v, APIC_TPR + 4), 0);
    assert_int_equal(apic_page_read(v, APIC_TPR), 0);
    assert_int_equal(esr(), 0);
}

static void test_msrs(void **state)
{
    static const struct {
        u32 offset;
        bool read;
        u64 good, bad; /* good 1: none can be written */
    } rows[] = {
        {APIC_ID,            true,  1,           0          },
        {APIC_VERSION,       true,  1,           0          },
        {APIC_TPR,           true,  0xff,        0x100      },
        {APIC_PPR,           true,  1,           0          },
        {APIC_EOI,           false, 0,           1          },
        {APIC_LDR,           true,  1,           0          },
        {APIC_DFR,           false, 1,           0          },
        {APIC_SVR,           true,  0x11fe,      0x200      },
        {APIC_ISR + 0x70,    true,  1,           0          },
        {APIC_TMR,           true,  1,           0          },
        {APIC_IRR,           true,  1,           0          },
        {APIC_ESR,           true,  0,           1          },
        {APIC_LVT_CMCI,      false, 1,           0          },
        {APIC_ICR,           true,  0x400000055, 0x2055     },
        {APIC_ICR_HIGH,      false, 1,           0          },
        {APIC_TIMER_INITIAL, true,  0xffffffff,  0x100000000}, /* while it counts */
        {APIC_LVT_TIMER,     true,  0x700ff,     0x80000    },
        {APIC_LVT_THERMAL,   true,  0x107ff,     0x20000    },
        {APIC_LVT_PMC,       true,  0x107ff,     0x8000     },
        {APIC_LVT_LINT0,     true,  0x1a7ff,     0x20000    },
        {APIC_LVT_LINT1,     true,  0x1a7ff,     0x800      },
        {APIC_LVT_ERROR,     true,  0x100ff,     0x100      },
        {APIC_TIMER_CURRENT, true,  1,           0          },
        {APIC_TIMER_DIVIDE,  true,  0xb,         0x4        },
        {APIC_SELF_IPI,      false, 0xff,        0x100      },
        {0x000,              false, 1,           0          },
        {APIC_APR,           false, 1,           0          },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        u64 value = 0x5555, after = 0;
        bool readable = apic_msr_read(v, MSR(rows[i].offset), &value);

        assert_int_equal(readable, rows[i].read);
        if (!readable) {
            assert_int_equal(value, 0x5555);
        }
        assert_false(write_msr(v, rows[i].offset, rows[i].bad));
        assert_false(write_msr(v, rows[i].offset, 1ull << 32 | rows[i].bad));
        if (readable) {
            assert_true(apic_msr_read(v, MSR(rows[i].offset), &after));
            assert_int_equal(after, value);
        }
        if (rows[i].good == 1) {
            assert_false(write_msr(v, rows[i].offset, value));
            continue;
        }
        assert_true(write_msr(v, rows[i].offset, rows[i].good));
        if (readable) {
            assert_int_equal(msr(rows[i].offset), rows[i].good);
        }
    }
    assert_int_equal(msr(APIC_ID), 0);
    assert_int_equal(msr(APIC_LDR), 1);
    assert_int_equal(vcpu[3].apic.regs[APIC_ID / 4], 3);
    assert_int_equal(vcpu[3].apic.regs[APIC_LDR / 4], 8);
}

/* --- IA32_APIC_BASE --- */

static void test_base(void **state)
{
    const u64 off = APIC_PAGE | APIC_BASE_BSP, on = off | APIC_BASE_ENABLE,
              x2 = on | APIC_BASE_X2APIC, bad = off | APIC_BASE_X2APIC;
    static const u64 never[] = {0, BIT(0), BIT(7), BIT(9), BIT(12), BIT(36), BIT(52), BIT(63)};
    u64 value;

    (void)state;
    assert_int_equal(v->apic.base, on);
    for (u32 i = 1; i < ARRAY_SIZE(never); i++) {
        assert_false(apic_set_base(v, on ^ never[i]));
    }
    assert_false(apic_msr_read(v, MSR(APIC_ID), &value));
    assert_false(write_msr(v, APIC_EOI, 0));
    assert_false(apic_set_base(v, bad));
    apic_page_write(v, APIC_TPR, 0x20);
    apic_page_write(v, APIC_LVT_LINT1, 0x400);
    apic_page_write(v, APIC_ICR_HIGH, 0x3000000);
    assert_true(apic_set_base(v, on));

    /* to x2APIC: the state stays, but for ID, LDR and the upper half of ICR */
    assert_true(apic_set_base(v, x2));
    assert_int_equal(msr(APIC_TPR), 0x20);
    assert_int_equal(msr(APIC_LVT_LINT1), 0x400);
    assert_int_equal(msr(APIC_SVR), SVR_ON);
    assert_int_equal(msr(APIC_ICR) >> 32, 0);
    assert_false(apic_has_page(&v->apic));
    assert_int_equal(apic_page_read(v, APIC_VERSION), 0);
    assert_false(apic_set_base(v, on));
    assert_false(apic_set_base(v, bad));
    /* INIT leaves it in x2APIC mode */
    apic_init(v);
    assert_int_equal(msr(APIC_TPR), 0);
    assert_int_equal(msr(APIC_ID), 0);
    assert_int_equal(msr(APIC_LDR), 1);
    assert_int_equal(v->apic.base, x2);

    /* off, which resets it; and only by xAPIC mode on again */
    set_msr(APIC_TPR, 0x40);
    assert_true(apic_set_base(v, off));
    assert_false(apic_msr_read(v, MSR(APIC_ID), &value));
    assert_int_equal(apic_page_read(v, APIC_VERSION), 0);
    assert_false(apic_set_base(v, x2));
    assert_true(apic_set_base(v, on));
    check_after_reset(v);
}

static void test_disabled_takes_nothing(void **state)
{
    struct apic_message nmi = {.destination = X2APIC_BROADCAST, .mode = APIC_NMI};

    (void)state;
    assert_true(apic_set_base(&vcpu[2], APIC_PAGE));
    assert_int_equal(apic_send(&vm, &nmi, NULL), 3);
    assert_int_equal(vcpu[2].nmi_pending, 0);
    assert_int_equal(vcpu[3].nmi_pending, 1);
    /* disabled by software: no interrupts, but NMI, INIT, SIPI */
    apic_page_write(&vcpu[1], APIC_SVR, 0xff);
    send(1, 0x55);
    assert_int_equal(got(0x55), 0);
    send(1, APIC_NMI);
    assert_int_equal(vcpu[1].nmi_pending, 1);
    apic_page_write(v, APIC_SVR, 0xff);
    self_ipi(0x55);
    assert_int_equal(got(0x55), 0);
}

static void test_software_disable(void **state)
{
    (void)state;
    self_ipi(0x44);
    self_ipi(0x55);
    assert_int_equal(deliver(v), 0x55);
    apic_page_write(v, APIC_LVT_LINT1, 0x400);
    apic_page_write(v, APIC_SVR, 0x0ff);
    for (u32 lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16) {
        apic_page_write(v, lvt, 0x31);
        assert_int_equal(apic_page_read(v, lvt), LVT_MASKED | 0x31);
    }
    eoi(v); /* what was there before goes on */
    assert_int_equal(deliver(v), 0x44);
    apic_page_write(v, APIC_SVR, SVR_ON); /* the masks stay until software clears them */
    assert_int_equal(apic_page_read(v, APIC_LVT_LINT1), LVT_MASKED | 0x31);
    apic_page_write(v, APIC_LVT_LINT1, 0x400);
    assert_int_equal(apic_page_read(v, APIC_LVT_LINT1), 0x400);
}

/* --- priorities --- */

static void test_order(void **state)
{
    static const u8 raised[] = {0x31, 0x80, 0x41, 0xf0, 0x40, 0x80, 0x21, 0xff, 0x10};
    static const u8 want[] = {0xff, 0x80, 0x41, 0x40, 0x31, 0x21, 0x10};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(raised); i++) {
        self_ipi(raised[i]);
    }
    for (u32 i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(deliver(v), want[i]);
        assert_int_equal(deliver(v), 0); /* the same or a lower class waits */
        assert_int_equal(apic_page_read(v, APIC_PPR), want[i] & 0xf0);
        eoi(v);
        if (want[i] == 0xff) {
            assert_int_equal(deliver(v), 0xf0);
            eoi(v);
        }
    }
    assert_int_equal(deliver(v), 0);
    eoi(v); /* of nothing */
    assert_int_equal(apic_page_read(v, APIC_PPR), 0);
}

static void test_nesting(void **state)
{
    (void)state;
    for (u32 vector = 0x20; vector <= 0xf0; vector += 0x10) {
        self_ipi(vector);
        assert_int_equal(deliver(v), vector);
    }
    for (u32 vector = 0xf0; vector >= 0x20; vector -= 0x10) {
        assert_int_equal(apic_page_read(v, APIC_PPR), vector);
        eoi(v);
    }
    assert_int_equal(apic_page_read(v, APIC_PPR), 0);
}

static void test_tpr(void **state)
{
    (void)state;
    apic_page_write(v, APIC_TPR, 0x45);
    assert_int_equal(apic_page_read(v, APIC_PPR), 0x45);
    assert_int_equal(apic_cr8(v), 4);
    self_ipi(0x4f);
    assert_int_equal(deliver(v), 0);
    self_ipi(0x50);
    assert_int_equal(deliver(v), 0x50);
    assert_int_equal(apic_page_read(v, APIC_PPR), 0x50);
    apic_page_write(v, APIC_TPR, 0x57); /* the same class: the whole TPR */
    assert_int_equal(apic_page_read(v, APIC_PPR), 0x57);
    eoi(v);
    v->hazards = 0;
    apic_set_cr8(v, 4);
    assert_int_equal(v->hazards, 0);
    apic_set_cr8(v, 3); /* opens the way */
    assert_int_equal(v->hazards, VCPU_HAZARD_EVENT);
    assert_int_equal(apic_page_read(v, APIC_TPR), 0x30);
    assert_int_equal(deliver(v), 0x4f);
    apic_page_write(v, APIC_TPR, 0x31);
    apic_set_cr8(v, 3); /* clears what CR8 does not show */
    assert_int_equal(apic_page_read(v, APIC_TPR), 0x30);
    assert_int_equal(apic_page_read(v, APIC_PPR), 0x40); /* in service */
}

static void test_eoi_looks_again(void **state)
{
    (void)state;
    self_ipi(0x40);
    assert_int_equal(deliver(v), 0x40);
    self_ipi(0x41);
    assert_int_equal(deliver(v), 0);
    assert_int_equal(v->hazards, 0);
    eoi(v);
    assert_int_equal(v->hazards, VCPU_HAZARD_EVENT);
    assert_int_equal(deliver(v), 0x41);
    eoi(v);
    assert_int_equal(v->hazards, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset),
        cmocka_unit_test_setup(test_page_registers, setup),
        cmocka_unit_test_setup(test_page_without_registers, setup),
        cmocka_unit_test_setup(test_msrs, setup_x2apic),
        cmocka_unit_test_setup(test_base, setup),
        cmocka_unit_test_setup(test_disabled_takes_nothing, setup),
        cmocka_unit_test_setup(test_software_disable, setup),
        cmocka_unit_test_setup(test_order, setup),
        cmocka_unit_test_setup(test_nesting, setup),
        cmocka_unit_test_setup(test_tpr, setup),
        cmocka_unit_test_setup(test_eoi_looks_again, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
