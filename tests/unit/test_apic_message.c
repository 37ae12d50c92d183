/* SPDX-License-Identifier: MIT */
/* HARNESS: kernel */
/* SOURCES: kernel/apic.c kernel/apic_timer.c kernel/apic_message.c */
/* Messages between the local APICs of a guest and from its devices, the PIC's line, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/apic_fake.h"

/* --- messages --- */

static void test_physical(void **state)
{
    (void)state;
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        send(i, 0x60 + i);
        assert_int_equal(woken[i], i ? 1 : 0); /* the sender need not be woken */
        assert_int_equal(got(0x60 + i), 1u << i);
    }
    send(4, 0x60);
    send(0xfe, 0x60);
    assert_int_equal(got(0), 0);
    send(0xff, 0x60);
    assert_int_equal(got(0x60), 15);
}

static void test_shorthands(void **state)
{
    (void)state;
    send(3, ICR_ALL | 0x70);
    assert_int_equal(got(0x70), 15);
    send(3, ICR_OTHERS | 0x70);
    assert_int_equal(got(0x70), 14);
    send(3, ICR_SELF | 0x70);
    assert_int_equal(got(0x70), 1);
    send(3, ICR_OTHERS | APIC_NMI);
    assert_int_equal(v->nmi_pending, 0);
    assert_int_equal(vcpu[1].nmi_pending + vcpu[2].nmi_pending + vcpu[3].nmi_pending, 3);
    send(0, APIC_NMI);
    assert_int_equal(v->nmi_pending, 1);
    send(0xff, APIC_SMI);
    send(0xff, APIC_EXTINT);
    send(0xff, 3 << 8);
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        assert_int_equal(vcpu[i].apic.signals, 0);
    }
    assert_int_equal(got(0), 0);
}

static void test_logical(void **state)
{
    static const u8 flat[] = {0x01, 0x82, 0x04, 0x08}, cluster[] = {0x11, 0x12, 0x21, 0x28};

    (void)state;
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        apic_page_write(&vcpu[i], APIC_LDR, (u32)flat[i] << 24);
    }
    send(0x05, ICR_LOGICAL | 0x71);
    assert_int_equal(got(0x71), 5);
    send(0x80, ICR_LOGICAL | 0x71);
    assert_int_equal(got(0x71), 2);
    send(0x70, ICR_LOGICAL | 0x71);
    assert_int_equal(got(0x71), 0);
    send(0xff, ICR_LOGICAL | 0x71);
    assert_int_equal(got(0x71), 15);
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        apic_page_write(&vcpu[i], APIC_LDR, (u32)cluster[i] << 24);
        apic_page_write(&vcpu[i], APIC_DFR, 0);
    }
    send(0x13, ICR_LOGICAL | 0x72);
    assert_int_equal(got(0x72), 3);
    send(0x29, ICR_LOGICAL | 0x72);
    assert_int_equal(got(0x72), 12);
    send(0x3f, ICR_LOGICAL | 0x72);
    assert_int_equal(got(0x72), 0);
    send(0xff, ICR_LOGICAL | 0x72);
    assert_int_equal(got(0x72), 15);
}

static void test_x2apic_destinations(void **state)
{
    (void)state;
    set_msr(APIC_ICR, 2ull << 32 | 0x61);
    assert_int_equal(got(0x61), 4);
    set_msr(APIC_ICR, 0xffull << 32 | 0x61); /* no broadcast here */
    assert_int_equal(got(0x61), 0);
    set_msr(APIC_ICR, 0xffffffffull << 32 | 0x61);
    assert_int_equal(got(0x61), 15);
    set_msr(APIC_ICR, 0x0aull << 32 | ICR_LOGICAL | 0x62);
    assert_int_equal(got(0x62), 10);
    set_msr(APIC_ICR, 0x1000full << 32 | ICR_LOGICAL | 0x62); /* another cluster */
    assert_int_equal(got(0x62), 0);
    set_msr(APIC_SELF_IPI, 0x63);
    assert_int_equal(got(0x63), 1);
    /* one in xAPIC mode is reached, too */
    apic_set_base(&vcpu[2], APIC_PAGE);
    apic_set_base(&vcpu[2], APIC_PAGE | APIC_BASE_ENABLE);
    apic_page_write(&vcpu[2], APIC_SVR, SVR_ON);
    set_msr(APIC_ICR, 2ull << 32 | 0x61);
    assert_int_equal(got(0x61), 4);
}

static void test_lowest_priority(void **state)
{
    u32 taken[FAKE_VCPUS] = {0};

    (void)state;
    for (u32 i = 0; i < 3 * FAKE_VCPUS; i++) {
        send(0xff, APIC_LOWEST | 0x73);
        u32 mask = got(0x73);
        assert_true(mask && !(mask & (mask - 1)));
        taken[__builtin_ctz(mask)]++;
    }
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        assert_int_equal(taken[i], 3);
    }
    send(2, APIC_LOWEST | 0x73);
    assert_int_equal(got(0x73), 4);
    apic_page_write(&vcpu[2], APIC_SVR, 0xff);
    send(2, APIC_LOWEST | 0x73);
    assert_int_equal(got(0x73), 0);
}

static void test_start(void **state)
{
    const u32 init = APIC_INIT | ICR_ASSERT, deassert = APIC_INIT | APIC_LEVEL;

    (void)state;
    send(1, deassert);
    assert_int_equal(vcpu[1].hazards, 0);
    send(1, init);
    assert_int_equal(vcpu[1].apic.start, APIC_START_INIT);
    assert_int_equal(vcpu[1].hazards, VCPU_HAZARD_START);
    assert_int_equal(woken[1], 1);
    send(1, APIC_STARTUP | 0x9a);
    send(1, APIC_STARTUP | 0x55); /* the first one counts */
    assert_int_equal(vcpu[1].apic.start, APIC_START_INIT | APIC_START_SIPI | 0x9a00);
    send(1, init | APIC_LEVEL);
    assert_int_equal(vcpu[1].apic.start, APIC_START_INIT);
    send(0, ICR_OTHERS | APIC_STARTUP | 0x10);
    assert_int_equal(vcpu[3].apic.start, APIC_START_SIPI | 0x1000);
    assert_int_equal(v->apic.start, 0);
    /* by software disabled ones, too */
    apic_page_write(&vcpu[2], APIC_SVR, 0xff);
    send(2, init);
    assert_int_equal(vcpu[2].apic.start, APIC_START_INIT);
}

static s64 msi(u32 to, u32 flags, u32 data)
{
    return apic_send_msi(&vm, 0xfee00000 | (to & 0xff) << 12 | to >> 8 << 5 | flags, data);
}

static void test_msi(void **state)
{
    (void)state;
    assert_int_equal(msi(1, 0, 0x81), 1);
    assert_int_equal(got(0x81), 2);
    assert_int_equal(msi(0xff, 0, 0x81), 4);
    assert_int_equal(got(0x81), 15);
    assert_int_equal(msi(0x101, 0, 0x81), 0);
    assert_int_equal(msi(9, 0, 0x81), 0);
    apic_page_write(&vcpu[2], APIC_LDR, 0x44000000);
    assert_int_equal(msi(4, 4, 0x82), 1);
    assert_int_equal(got(0x82), 4);
    assert_int_equal(msi(0xff, 8, 0x83), 1); /* redirection hint: one of them */
    assert_int_not_equal(got(0x83), 0);
    assert_int_equal(msi(3, 0, APIC_NMI), 1);
    assert_int_equal(vcpu[3].nmi_pending, 1);
    assert_int_equal(msi(3, 0, APIC_SMI), 0);
    assert_int_equal(msi(3, 0, APIC_LEVEL | 0x84), 0); /* de-assert */
    assert_int_equal(got(0), 0);
    assert_int_equal(apic_send_msi(&vm, 0xfed00000, 0x81), E_INVAL);
    assert_int_equal(apic_send_msi(&vm, 0x1fee00000, 0x81), E_INVAL);
    assert_int_equal(apic_send_msi(&vm, 0xfee00000, BIT(32)), E_INVAL);
}

static void test_level(void **state)
{
    (void)state;
    assert_int_equal(msi(0, 0, APIC_LEVEL | 0x4000 | 0x91), 1);
    assert_int_equal(deliver(v), 0x91);
    assert_int_equal(apic_page_read(v, APIC_TMR + 0x40), BIT(0x11));
    eoi(v);
    assert_int_equal(v->hazards, VCPU_HAZARD_EOI);
    assert_int_equal(v->apic.ended, 0x91);
    v->hazards = 0;
    /* the same vector by an edge */
    assert_int_equal(msi(0, 0, 0x91), 1);
    assert_int_equal(deliver(v), 0x91);
    assert_int_equal(apic_page_read(v, APIC_TMR + 0x40), 0);
    eoi(v);
    assert_int_equal(v->hazards, 0);
    /* an IPI is always one */
    send(0xff, APIC_LEVEL | ICR_ASSERT | 0x91);
    assert_int_equal(deliver(&vcpu[1]), 0x91);
    assert_int_equal(apic_page_read(&vcpu[1], APIC_TMR + 0x40), 0);
    assert_int_equal(deliver(v), 0x91);
    eoi(v);
    /* suppressed */
    apic_page_write(v, APIC_SVR, SVR_ON | SVR_SUPPRESS_EOI);
    assert_int_equal(msi(0, 0, APIC_LEVEL | 0x4000 | 0x91), 1);
    assert_int_equal(deliver(v), 0x91);
    eoi(v);
    assert_int_equal(v->hazards, 0);
}

static void test_wakes_once(void **state)
{
    (void)state;
    send(1, 0x50);
    send(1, 0x60);
    send(1, APIC_NMI);
    assert_int_equal(woken[1], 1);
    assert_int_equal(deliver(&vcpu[1]), 0x60);
    send(1, 0x70);
    assert_int_equal(woken[1], 2);
}

/* One notification until somebody has looked; nothing is lost whoever that is. */
static void test_posted(void **state)
{
    struct vcpu *w = &vcpu[1];

    (void)state;
    w->apic.posted = 1;
    send(1, 0x50);
    send(1, 0x61);
    assert_int_equal(notified[1], 1);
    assert_int_equal(w->hazards, VCPU_HAZARD_POSTED);
    take_posted(w); /* in the guest */
    assert_int_equal(apic_next(&w->apic), 0x61);
    send(1, 0x72);
    assert_int_equal(notified[1], 2);
    assert_int_equal(deliver(w), 0x72); /* the thread was first: what is left finds nothing */
    take_posted(w);
    assert_int_equal(w->hazards, 0);
    send(1, 0x83);
    assert_int_equal(notified[1], 3);
    take_posted(w);
    /* what it cannot take by itself, whatever came before */
    send(1, APIC_NMI);
    assert_int_equal(woken[1], 1);
    assert_int_equal(w->hazards, VCPU_HAZARD_EVENTS);
    assert_int_equal(deliver(w), 0x83);
    /* an illegal vector has no bit anywhere */
    send(1, 0x0f);
    assert_int_equal(notified[1], 3);
    take_posted(w);
    assert_int_equal(APIC_REG(&w->apic, APIC_IRR), 0);
    assert_int_equal(deliver(w), 0);
    assert_int_equal(w->apic.errors, ESR_RECEIVE_VECTOR);
    /* to itself: no notification */
    v->apic.posted = 1;
    send(0xff, 0x94);
    assert_int_equal(notified[0], 0);
    assert_int_equal(v->hazards, VCPU_HAZARD_POSTED);
    assert_int_equal(deliver(v), 0x94);
}

/* TMR is the thread's: who has it wrong would lose an EOI that a line waits for. */
static void test_posted_level(void **state)
{
    struct vcpu *w = &vcpu[1];

    (void)state;
    w->apic.posted = 1;
    send(1, 0x50);
    assert_int_equal(msi(1, 0, APIC_LEVEL | 0x4000 | 0x91), 1);
    assert_int_equal(woken[1], 1);
    take_posted(w); /* the notification of 0x50 */
    assert_int_equal(apic_next(&w->apic), 0x50);
    assert_int_equal(deliver(w), 0x91);
    eoi(w);
    assert_int_equal(w->hazards & VCPU_HAZARD_EOI, VCPU_HAZARD_EOI);
    assert_int_equal(w->apic.ended, 0x91);
    assert_int_equal(deliver(w), 0x50);
    eoi(w);
    /* edge-triggered again */
    w->hazards = 0;
    send(1, 0x91);
    assert_int_equal(notified[1], 1);
    assert_int_equal(woken[1], 2);
    assert_int_equal(deliver(w), 0x91);
    eoi(w);
    assert_int_equal(w->hazards & VCPU_HAZARD_EOI, 0);
    send(1, 0x91);
    assert_int_equal(notified[1], 2);
    /* both at once: the line gets its EOI */
    assert_int_equal(msi(1, 0, APIC_LEVEL | 0x4000 | 0x91), 1);
    assert_int_equal(deliver(w), 0x91);
    eoi(w);
    assert_int_equal(w->hazards & VCPU_HAZARD_EOI, VCPU_HAZARD_EOI);
    /* INIT takes all of it */
    assert_int_equal(msi(1, 0, APIC_LEVEL | 0x4000 | 0x92), 1);
    send(1, 0xa2);
    apic_init(w);
    assert_int_equal(deliver(w), 0);
}

/* --- errors --- */

static void test_errors(void **state)
{
    (void)state;
    apic_page_write(v, APIC_LVT_ERROR, 0x77);
    send(1, 0x0f);
    assert_int_equal(apic_page_read(v, APIC_ESR), 0); /* shown by the next write only */
    assert_int_equal(deliver(v), 0x77);
    eoi(v);
    send(1, 0x0e);
    assert_int_equal(deliver(v), 0); /* armed again by a write to ESR */
    assert_int_equal(esr(), ESR_SEND_VECTOR);
    assert_int_equal(apic_page_read(v, APIC_ESR), ESR_SEND_VECTOR);
    assert_int_equal(esr(), 0);
    assert_int_equal(deliver(&vcpu[1]), 0);
    assert_int_equal(vcpu[1].apic.errors, ESR_RECEIVE_VECTOR);
    self_ipi(0);
    assert_int_equal(esr(), ESR_SEND_VECTOR | ESR_RECEIVE_VECTOR);
    assert_int_equal(deliver(v), 0x77);
    eoi(v);
    /* NMI and the like have no vector that counts */
    send(1, APIC_NMI | 3);
    assert_int_equal(esr(), 0);
    /* an error interrupt that is in error itself */
    apic_page_write(v, APIC_LVT_ERROR, 0x05);
    send(1, 0x0f);
    assert_int_equal(deliver(v), 0);
    assert_int_equal(esr(), ESR_SEND_VECTOR | ESR_RECEIVE_VECTOR);
}

/* --- the PIC's line --- */

static void test_extint(void **state)
{
    (void)state;
    apic_set_line(&vm, true);
    assert_int_equal(v->hazards & VCPU_HAZARD_EVENT, VCPU_HAZARD_EVENT);
    assert_int_equal(got(0), 0);
    assert_false(apic_extint(v));
    v->hazards = 0;
    apic_page_write(v, APIC_LVT_LINT0, APIC_EXTINT); /* virtual wire */
    assert_int_equal(v->hazards, VCPU_HAZARD_EVENT);
    assert_true(apic_extint(v));
    assert_int_equal(got(0), 0);
    assert_true(apic_extint(v)); /* by level */
    apic_set_line(&vm, false);
    assert_false(apic_extint(v));
    apic_page_write(v, APIC_LVT_LINT0, LVT_MASKED | APIC_EXTINT);
    apic_set_line(&vm, true);
    assert_false(apic_extint(v));
    /* without a local APIC */
    assert_true(apic_set_base(v, APIC_PAGE | APIC_BASE_BSP));
    assert_true(apic_extint(v));
    apic_set_line(&vm, false);
    assert_false(apic_extint(v));
    /* by a message, from an IOAPIC, unless software has disabled the receiver */
    assert_int_equal(msi(1, 0, APIC_EXTINT), 1);
    assert_true(apic_extint(&vcpu[1]));
    apic_page_write(&vcpu[2], APIC_SVR, 0xff);
    assert_int_equal(msi(2, 0, APIC_EXTINT), 0);
    assert_false(apic_extint(&vcpu[2]));
    assert_int_equal(msi(2, 0, APIC_NMI), 1);
}

static void test_lint0(void **state)
{
    (void)state;
    apic_page_write(v, APIC_LVT_LINT0, 0x58);
    apic_page_write(&vcpu[1], APIC_LVT_LINT0, APIC_NMI);
    apic_set_line(&vm, true);
    apic_set_line(&vm, true);
    assert_int_equal(got(0x58), 1);
    assert_int_equal(vcpu[1].nmi_pending, 1);
    assert_int_equal(got(0x58), 0);
    apic_set_line(&vm, false);
    apic_set_line(&vm, true);
    assert_int_equal(got(0x58), 1);
    apic_set_line(&vm, false);
    /* level-triggered */
    apic_page_write(v, APIC_LVT_LINT0, APIC_LEVEL | 0x59);
    assert_int_equal(deliver(v), 0);
    apic_set_line(&vm, true);
    for (u32 i = 0; i < 3; i++) {
        assert_int_equal(deliver(v), 0x59);
        assert_int_equal(apic_page_read(v, APIC_LVT_LINT0), APIC_LEVEL | LVT_REMOTE_IRR | 0x59);
        assert_int_equal(deliver(v), 0);
        eoi(v);
    }
    assert_int_equal(deliver(v), 0x59);
    apic_set_line(&vm, false);
    eoi(v);
    assert_int_equal(deliver(v), 0);
    assert_int_equal(apic_page_read(v, APIC_LVT_LINT0), APIC_LEVEL | 0x59);
    /* up already when it is unmasked */
    apic_page_write(v, APIC_LVT_LINT0, LVT_MASKED | APIC_LEVEL | 0x59);
    apic_set_line(&vm, true);
    assert_int_equal(deliver(v), 0);
    apic_page_write(v, APIC_LVT_LINT0, APIC_LEVEL | 0x59);
    assert_int_equal(deliver(v), 0x59);
}

static void test_lvt_modes(void **state)
{
    (void)state;
    apic_page_write(v, APIC_LVT_LINT0, APIC_INIT);
    apic_set_line(&vm, true);
    assert_int_equal(got(0), 0);
    assert_int_equal(v->apic.start, APIC_START_INIT);
    assert_int_equal(v->hazards, VCPU_HAZARD_START);
    apic_set_line(&vm, false);
    apic_page_write(v, APIC_LVT_LINT0, APIC_SMI);
    apic_set_line(&vm, true);
    assert_int_equal(got(0), 0);
    assert_int_equal(v->nmi_pending, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_physical, setup),
        cmocka_unit_test_setup(test_shorthands, setup),
        cmocka_unit_test_setup(test_logical, setup),
        cmocka_unit_test_setup(test_x2apic_destinations, setup_x2apic),
        cmocka_unit_test_setup(test_lowest_priority, setup),
        cmocka_unit_test_setup(test_start, setup),
        cmocka_unit_test_setup(test_msi, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_wakes_once, setup),
        cmocka_unit_test_setup(test_posted, setup),
        cmocka_unit_test_setup(test_posted_level, setup),
        cmocka_unit_test_setup(test_errors, setup),
        cmocka_unit_test_setup(test_extint, setup),
        cmocka_unit_test_setup(test_lint0, setup),
        cmocka_unit_test_setup(test_lvt_modes, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
