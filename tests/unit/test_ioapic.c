/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/ioapic.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The I/O APIC: registers, messages, edge and level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/ioapic.h"

#define PIN   9
#define LEVEL IOAPIC_RTE_TRIGGER

static struct machine m;
static struct ioapic io;

static int setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    memset(&io, 0xa5, sizeof(io)); /* reset alone must initialise it */
    assert_true(ioapic_attach(&io, &m));
    return 0;
}

static u32 in(u64 offset)
{
    return (u32)bus_read(&m.bus, GPA(IOAPIC_BASE + offset), 4);
}

static void out(u64 offset, u32 value)
{
    bus_write(&m.bus, GPA(IOAPIC_BASE + offset), 4, value);
}

static u32 get(u32 index)
{
    out(IOAPIC_IOREGSEL, index);
    return in(IOAPIC_IOWIN);
}

static void set(u32 index, u32 value)
{
    out(IOAPIC_IOREGSEL, index);
    out(IOAPIC_IOWIN, value);
}

static u64 get_entry(u32 pin)
{
    return get(IOAPIC_REDTBL + 2 * pin) | (u64)get(IOAPIC_REDTBL + 2 * pin + 1) << 32;
}

/* The high half first, as systems do it. */
static void set_entry(u32 pin, u64 entry)
{
    set(IOAPIC_REDTBL + 2 * pin + 1, (u32)(entry >> 32));
    set(IOAPIC_REDTBL + 2 * pin, (u32)entry);
}

/* Messages since the last time that this was asked. */
static u32 sent(void)
{
    u32 count = m.message_count;

    m.message_count = 0;
    return count;
}

static void test_registers(void **state)
{
    (void)state;
    assert_int_equal(get(IOAPIC_VER), 0x00170020);
    assert_int_equal(get(IOAPIC_ID), 0);
    set(IOAPIC_ID, 0xffffffff);
    assert_int_equal(get(IOAPIC_ID), 0x0f000000);
    assert_int_equal(get(IOAPIC_ARB), 0x0f000000); /* loaded with the ID */
    set(IOAPIC_ARB, 0);
    set(IOAPIC_VER, 0);
    assert_int_equal(get(IOAPIC_ARB), 0x0f000000);
    assert_int_equal(get(IOAPIC_VER), 0x00170020);
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(get_entry(pin), IOAPIC_RTE_MASK);
        set_entry(pin, ~0ull);
        assert_int_equal(get_entry(pin), 0xfffe00000001afff);
        set_entry(pin, pin | IOAPIC_RTE_MASK);
    }
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(get_entry(pin), pin | IOAPIC_RTE_MASK);
    }
    for (u32 index = 3; index < 256; index++) { /* the reserved ones */
        if (index < IOAPIC_REDTBL || index >= IOAPIC_REDTBL + 2 * IOAPIC_PINS) {
            set(index, 0xffffffff);
            assert_int_equal(get(index), 0);
        }
    }
    assert_int_equal(sent(), 0);
}

static void test_widths(void **state)
{
    (void)state;
    bus_write(&m.bus, GPA(IOAPIC_BASE), 1, IOAPIC_VER); /* in bytes, as some systems do */
    assert_int_equal(bus_read(&m.bus, GPA(IOAPIC_BASE), 1), IOAPIC_VER);
    assert_int_equal(in(IOAPIC_IOREGSEL), IOAPIC_VER);
    assert_int_equal(in(IOAPIC_IOWIN), 0x00170020);
    assert_int_equal(bus_read(&m.bus, GPA(IOAPIC_BASE + IOAPIC_IOWIN), 1), 0);
    assert_int_equal(bus_read(&m.bus, GPA(IOAPIC_BASE + IOAPIC_IOWIN), 2), 0xffff);
    out(IOAPIC_IOREGSEL, 0xffffff00 | IOAPIC_ID); /* eight bits count */
    assert_int_equal(in(IOAPIC_IOREGSEL), IOAPIC_ID);
    bus_write(&m.bus, GPA(IOAPIC_BASE + IOAPIC_IOWIN), 1, 0xff);
    bus_write(&m.bus, GPA(IOAPIC_BASE + IOAPIC_IOWIN + 3), 1, 0xff);
    out(IOAPIC_IOREGSEL, IOAPIC_REDTBL);
    bus_write(&m.bus, GPA(IOAPIC_BASE + IOAPIC_IOWIN), 1, 0xff);
    assert_int_equal(in(IOAPIC_IOWIN), IOAPIC_RTE_MASK);
    out(IOAPIC_IOREGSEL, IOAPIC_ID);
    bus_write(&m.bus, GPA(IOAPIC_BASE + 1), 1, 5);
    out(0x20, 5);
    assert_int_equal(in(IOAPIC_IOREGSEL), IOAPIC_ID);
    assert_int_equal(in(IOAPIC_IOWIN), 0);
    assert_int_equal(in(IOAPIC_EOIR), 0);
    assert_int_equal(in(0x20), 0);
}

static void test_messages(void **state)
{
    static const struct {
        u64 entry, address;
        u32 data;
    } cases[] = {
        {0x31,                                                          0xfee00000, 0x4031},
        {0x31 | LEVEL,                                                  0xfee00000, 0xc031},
        {0x31 | 5ull << 56,                                             0xfee05000, 0x4031},
        {0xfe | 0xffull << 56 | IOAPIC_RTE_DESTMOD,                     0xfeeff004, 0x40fe},
        {0xfe | IOAPIC_RTE_INTPOL | LEVEL,                              0xfee00000, 0xc0fe},
        {0x31 | IOAPIC_DELMOD_LOWEST | IOAPIC_RTE_DESTMOD | 3ull << 56, 0xfee0300c, 0x4131},
        {0x31 | IOAPIC_DELMOD_LOWEST | LEVEL,                           0xfee00008, 0xc131},
 /* an edge whatever the entry says */
        {IOAPIC_DELMOD_NMI | LEVEL,                                     0xfee00000, 0x4400},
        {IOAPIC_DELMOD_SMI,                                             0xfee00000, 0x4200},
        {IOAPIC_DELMOD_INIT | LEVEL,                                    0xfee00000, 0x4500},
        {IOAPIC_DELMOD_EXTINT | LEVEL,                                  0xfee00000, 0x4700},
 /* destination bits 14:8 */
        {0x31 | 1ull << 49 | 2ull << 56,                                0xfee02020, 0x4031},
        {0x31 | 0x7full << 49,                                          0xfee00fe0, 0x4031},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(NULL);
        set_entry(PIN, cases[i].entry);
        assert_int_equal(sent(), 0);
        ioapic_set_irq(&io, PIN, true);
        assert_int_equal(sent(), 1);
        assert_int_equal(m.messages[0].address, cases[i].address);
        assert_int_equal(m.messages[0].data, cases[i].data);
        assert_int_equal(!!(get_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), !!(cases[i].data & 0x8000));
        ioapic_set_irq(&io, PIN, false);
        assert_int_equal(sent(), 0);
    }
}

static void test_every_pin(void **state)
{
    (void)state;
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
        set_entry(pin, 0x40 + pin);
    }
    for (u32 pin = 0; pin < 32; pin++) {
        ioapic_set_irq(&io, pin, true);
        assert_int_equal(sent(), pin < IOAPIC_PINS);
        if (pin < IOAPIC_PINS) {
            assert_int_equal(m.messages[0].data, 0x4040 + pin);
        }
    }
}

static void test_edge(void **state)
{
    (void)state;
    set_entry(PIN, 0x31);
    for (u32 i = 0; i < 3; i++) { /* needs no EOI */
        ioapic_set_irq(&io, PIN, true);
        assert_int_equal(sent(), 1);
        ioapic_set_irq(&io, PIN, true);
        assert_int_equal(sent(), 0);
        ioapic_set_irq(&io, PIN, false);
        assert_int_equal(sent(), 0);
        assert_int_equal(get_entry(PIN), 0x31);
    }
}

static void test_masked_edge_is_lost(void **state)
{
    (void)state;
    set_entry(PIN, 0x31 | IOAPIC_RTE_MASK);
    ioapic_set_irq(&io, PIN, true);
    set_entry(PIN, 0x31);
    assert_int_equal(sent(), 0);
    ioapic_set_irq(&io, PIN, false);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 1);
}

static void test_level(void **state)
{
    (void)state;
    set_entry(PIN, 0x31 | LEVEL);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 1);
    assert_int_equal(get_entry(PIN), 0x31 | LEVEL | IOAPIC_RTE_REMOTE_IRR);
    ioapic_set_irq(&io, PIN, false); /* again while in service: nothing before the EOI */
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 0);
    ioapic_eoi(&io, 0x32);
    assert_int_equal(sent(), 0);
    ioapic_eoi(&io, 0x31); /* asserted still */
    assert_int_equal(sent(), 1);
    assert_true(get_entry(PIN) & IOAPIC_RTE_REMOTE_IRR);
    ioapic_set_irq(&io, PIN, false);
    ioapic_eoi(&io, 0x31);
    assert_int_equal(sent(), 0);
    assert_int_equal(get_entry(PIN), 0x31 | LEVEL);
    ioapic_eoi(&io, 0x31); /* one too many */
    assert_int_equal(sent(), 0);
}

static void test_eoi_register(void **state)
{
    (void)state;
    set_entry(PIN, 0x31 | LEVEL);
    set_entry(PIN + 1, 0x31 | LEVEL); /* two pins on one vector */
    ioapic_set_irq(&io, PIN, true);
    ioapic_set_irq(&io, PIN + 1, true);
    assert_int_equal(sent(), 2);
    ioapic_set_irq(&io, PIN + 1, false);
    out(IOAPIC_EOIR, 0x31);
    assert_int_equal(sent(), 1);
    assert_true(get_entry(PIN) & IOAPIC_RTE_REMOTE_IRR);
    assert_false(get_entry(PIN + 1) & IOAPIC_RTE_REMOTE_IRR);
}

static void test_masked_level(void **state)
{
    (void)state;
    set_entry(PIN, 0x31 | LEVEL | IOAPIC_RTE_MASK);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 0);
    assert_int_equal(get_entry(PIN), 0x31 | LEVEL | IOAPIC_RTE_MASK);
    set_entry(PIN, 0x31 | LEVEL);
    assert_int_equal(sent(), 1);
    set_entry(PIN, 0x31 | LEVEL | IOAPIC_RTE_MASK); /* does not take it back */
    assert_true(get_entry(PIN) & IOAPIC_RTE_REMOTE_IRR);
    set_entry(PIN, 0x31 | LEVEL);
    assert_int_equal(sent(), 0);
    set_entry(PIN, 0x31 | LEVEL | IOAPIC_RTE_MASK);
    ioapic_eoi(&io, 0x31);
    assert_int_equal(sent(), 0);
    assert_false(get_entry(PIN) & IOAPIC_RTE_REMOTE_IRR);
    ioapic_set_irq(&io, PIN, false);
    set_entry(PIN, 0x31 | LEVEL);
    assert_int_equal(sent(), 0);
}

/* Systems end an interrupt without an EOI by making the entry an edge, masked, and back. */
static void test_remote_irr_and_trigger_mode(void **state)
{
    (void)state;
    set_entry(PIN, 0x31 | LEVEL);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 1);
    set_entry(PIN, 0x32 | LEVEL); /* a new vector leaves it alone, and the old EOI misses it */
    ioapic_eoi(&io, 0x31);
    assert_true(get_entry(PIN) & IOAPIC_RTE_REMOTE_IRR);
    assert_int_equal(sent(), 0);
    set_entry(PIN, 0x32 | IOAPIC_RTE_MASK);
    assert_int_equal(get_entry(PIN), 0x32 | IOAPIC_RTE_MASK);
    set_entry(PIN, 0x32 | LEVEL);
    assert_int_equal(sent(), 1); /* asserted still */
    assert_int_equal(m.messages[0].data, 0xc032);
    set_entry(PIN, 0x32); /* an edge entry, unmasked, with the line up: no edge */
    assert_int_equal(sent(), 0);
    set_entry(PIN, IOAPIC_DELMOD_NMI | LEVEL);
    assert_int_equal(sent(), 0);
    set_entry(PIN, 0x33 | LEVEL);
    assert_int_equal(sent(), 1);
    set_entry(PIN, 0x33 | IOAPIC_DELMOD_EXTINT | LEVEL); /* this is edge too */
    assert_false(get_entry(PIN) & IOAPIC_RTE_REMOTE_IRR);
}

static void test_destination_alone(void **state)
{
    (void)state;
    set_entry(PIN, 0x31 | LEVEL);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 1);
    ioapic_set_irq(&io, PIN, false); /* a handler that moves its interrupt to another CPU */
    set(IOAPIC_REDTBL + 2 * PIN + 1, 1u << 24);
    ioapic_eoi(&io, 0x31);
    assert_int_equal(get_entry(PIN), 0x31 | LEVEL | 1ull << 56);
    assert_int_equal(sent(), 0);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(m.messages[0].address, 0xfee01000);
}

static void test_refused_level(void **state)
{
    const u64 waiting = 0x31 | LEVEL | IOAPIC_RTE_DELIVS;

    (void)state;
    m.refuse_messages = true;
    set_entry(PIN, 0x31 | LEVEL);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 1);
    assert_int_equal(get_entry(PIN), waiting); /* looking does not try again */
    assert_int_equal(sent(), 0);
    ioapic_set_irq(&io, 3, true);
    assert_int_equal(sent(), 1);
    ioapic_eoi(&io, 0x99);
    assert_int_equal(sent(), 1);
    set_entry(PIN, 0x31 | LEVEL | IOAPIC_RTE_MASK);
    assert_int_equal(get_entry(PIN), 0x31 | LEVEL | IOAPIC_RTE_MASK); /* taken back */
    set_entry(PIN, 0x31 | LEVEL);
    sent();
    ioapic_set_irq(&io, PIN, false); /* taken back */
    assert_int_equal(get_entry(PIN), 0x31 | LEVEL);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 1);
    m.refuse_messages = false;
    ioapic_set_irq(&io, 3, false);
    assert_int_equal(sent(), 1);
    assert_int_equal(get_entry(PIN), 0x31 | LEVEL | IOAPIC_RTE_REMOTE_IRR);
}

static void test_refused_edge(void **state)
{
    (void)state;
    m.refuse_messages = true;
    set_entry(PIN, 0x31);
    ioapic_set_irq(&io, PIN, true);
    assert_int_equal(sent(), 1);
    assert_int_equal(get_entry(PIN), 0x31);
    m.refuse_messages = false;
    set_entry(PIN, 0x31);
    assert_int_equal(sent(), 0); /* lost */
}

static void test_reset(void **state)
{
    (void)state;
    set(IOAPIC_ID, 1 << 24);
    set_entry(PIN, 0x31 | LEVEL);
    ioapic_set_irq(&io, PIN, true);
    ioapic_reset(&io);
    assert_int_equal(in(IOAPIC_IOREGSEL), 0);
    assert_int_equal(get(IOAPIC_ID), 0);
    assert_int_equal(get_entry(PIN), IOAPIC_RTE_MASK);
    sent();
    set_entry(PIN, 0x31 | LEVEL);
    assert_int_equal(sent(), 0);          /* the pin is not asserted until a device says so */
    assert_false(ioapic_attach(&io, &m)); /* no room: there is one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_registers, setup),
        cmocka_unit_test_setup(test_widths, setup),
        cmocka_unit_test_setup(test_messages, setup),
        cmocka_unit_test_setup(test_every_pin, setup),
        cmocka_unit_test_setup(test_edge, setup),
        cmocka_unit_test_setup(test_masked_edge_is_lost, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_eoi_register, setup),
        cmocka_unit_test_setup(test_masked_level, setup),
        cmocka_unit_test_setup(test_remote_irr_and_trigger_mode, setup),
        cmocka_unit_test_setup(test_destination_alone, setup),
        cmocka_unit_test_setup(test_refused_level, setup),
        cmocka_unit_test_setup(test_refused_edge, setup),
        cmocka_unit_test_setup(test_reset, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
