/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/reset.c vmm/device/pci.c vmm/device/pvpanic.c */
/* SOURCES: vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The ways to reset a PC, A20, and how systems find out that there is no keyboard and no mouse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "lib/hw/pci.h"
#include "lib/hw/pvpanic.h"
#include "tests/unit/fake_host.h"
#include "vmm/device/pci.h"
#include "vmm/device/pvpanic.h"
#include "vmm/device/reset.h"

static struct machine m;
static struct reset r;

static int setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    memset(&r, 0xa5, sizeof(r)); /* attach alone must initialise it */
    assert_true(reset_attach(&r, &m));
    return 0;
}

static u8 in(u16 port)
{
    return (u8)bus_in(&m.bus, port, 1);
}

static void out(u16 port, u8 value)
{
    bus_out(&m.bus, port, 1, value);
}

/* A command with an answer. */
static u8 ask(u8 command)
{
    out(I8042_CMD, command);
    assert_int_equal(in(I8042_STATUS) & (I8042_STS_OBF | I8042_STS_AUX), I8042_STS_OBF);
    u8 value = in(I8042_DATA);
    assert_int_equal(in(I8042_STATUS)&I8042_STS_OBF, 0);
    return value;
}

/* true: the guest was reset since the last call */
static bool was_reset(const char *reason)
{
    bool ended = m.ended && m.ending == HOST_END_RESET && !strcmp(m.reason, reason);

    m.ended = false;
    return ended;
}

static void test_attached(void **state)
{
    (void)state;
    assert_int_equal(in(I8042_STATUS), I8042_STS_SYS | I8042_STS_UNLOCK);
    assert_int_equal(in(PORT92), PORT92_A20);
    assert_int_equal(in(PORTCF9), 0);
    assert_int_equal(bus_in(&m.bus, I8042_DATA, 2), 0xffff);
    assert_int_equal(m.irq_changes, 0);
}

static void test_keyboard_controller_reset(void **state)
{
    static const char *const reason = "reset by the keyboard controller";

    (void)state;
    out(I8042_CMD, I8042_RESET);
    assert_true(was_reset(reason));
    out(I8042_CMD, 0xf0);
    assert_true(was_reset(reason));
    out(I8042_CMD, 0xff); /* pulses nothing */
    out(I8042_CMD, 0xfd); /* A20 only */
    assert_false(m.ended);
    out(I8042_CMD, I8042_WRITE_OUT);
    out(I8042_DATA, 0xdf);
    assert_false(m.ended);
    out(I8042_CMD, I8042_WRITE_OUT);
    out(I8042_DATA, 0xde);
    assert_true(was_reset(reason));
    out(I8042_DATA, 0xfe); /* data is no command */
    assert_false(m.ended);
}

static void test_port92(void **state)
{
    (void)state;
    out(PORT92, 0);
    assert_int_equal(in(PORT92), 0);
    assert_int_equal(ask(I8042_READ_OUT) & I8042_OUT_A20, 0); /* one line, two ports */
    out(PORT92, PORT92_A20);
    assert_int_equal(in(PORT92), PORT92_A20);
    assert_false(m.ended);
    out(PORT92, PORT92_A20 | PORT92_RESET);
    assert_true(was_reset("reset by port 0x92"));
    out(PORT92, PORT92_A20 | PORT92_RESET); /* an edge */
    assert_false(m.ended);
    out(PORT92, 0);
    out(PORT92, PORT92_RESET);
    assert_true(was_reset("reset by port 0x92"));
}

static void test_cf9(void **state)
{
    (void)state;
    out(PORTCF9, PORTCF9_SYS_RST);
    assert_false(m.ended);
    assert_int_equal(in(PORTCF9), PORTCF9_SYS_RST);
    out(PORTCF9, PORTCF9_SYS_RST | PORTCF9_RST_CPU);
    assert_true(was_reset("reset by port 0xcf9"));
    out(PORTCF9, PORTCF9_RST_CPU); /* an edge */
    assert_false(m.ended);
    out(PORTCF9, 0xf1);
    assert_int_equal(in(PORTCF9), 0);
    out(PORTCF9, PORTCF9_FULL | PORTCF9_SYS_RST | PORTCF9_RST_CPU);
    assert_true(was_reset("reset by port 0xcf9"));
}

static u32 config(u32 address, u16 offset, u8 bytes)
{
    bus_out(&m.bus, PCI_ADDRESS, 4, address);
    return bus_in(&m.bus, (u16)(PCI_DATA + offset), bytes);
}

static void test_pci(void **state)
{
    static const u32 nobody[] = {0, 0x80000100, 0x80000800, 0x8000f800, 0x80010000, 0x80ff0000};

    (void)state;
    assert_int_equal(bus_in(&m.bus, PCI_ADDRESS, 4), 0);
    assert_int_equal(config(0xffffffff, 0, 4), 0xffffffff);
    assert_int_equal(bus_in(&m.bus, PCI_ADDRESS, 4), 0x80fffffc);
    for (u32 i = 0; i < ARRAY_SIZE(nobody); i++) {
        assert_int_equal(config(nobody[i], 0, 4), 0xffffffff);
        assert_int_equal(config(nobody[i], 2, 2), 0xffff);
    }
    u32 id = config(0x80000000, 0, 4);
    assert_int_equal(id, 0x00081b36);
    for (u16 i = 0; i < 4; i++) {
        assert_int_equal(config(0x80000000, i, 1), id >> 8 * i & 0xff);
    }
    assert_int_equal(config(0x80000000, 2, 2), id >> 16);
    assert_int_equal(config(0x80000008, 2, 2), 0x0600);
    for (u32 at = 4; at < 0x100; at += 4) { /* no command, no header of another kind, no BAR */
        bus_out(&m.bus, PCI_ADDRESS, 4, 0x80000000 | at);
        bus_out(&m.bus, PCI_DATA, 4, 0xffffffff);
        assert_int_equal(config(0x80000000 | at, 0, 4), at == 8 ? 0x06000000 : 0);
    }
    /* bytes beside the reset register are nobody's, and it does not change the address */
    for (u16 port = PCI_ADDRESS; port < PCI_DATA; port++) {
        out(port, PORTCF9_SYS_RST);
        assert_int_equal(in(port), port == PORTCF9 ? PORTCF9_SYS_RST : 0xff);
    }
    assert_int_equal(bus_in(&m.bus, PCI_ADDRESS, 4), 0x800000fc);
    assert_int_equal(bus_in(&m.bus, PCI_ADDRESS, 2), 0xffff);
    bus_out(&m.bus, PCI_ADDRESS, 4, PORTCF9_RST_CPU << 8);
    assert_false(m.ended);
}

/* The same by memory, and nothing beyond bus 0. */
static void test_pci_window(void **state)
{
    (void)state;
    assert_true(pci_attach(&m));
    for (u32 at = 0; at < PCI_ECAM_FUNCTION; at += 4) {
        u32 want = at < 0x100 ? config(0x80000000 | at, 0, 4) : ~0u;
        bus_write(&m.bus, GPA(PCI_ECAM + at), 4, ~want);
        assert_int_equal(bus_read(&m.bus, GPA(PCI_ECAM + at), 4), want);
        assert_int_equal(bus_read(&m.bus, GPA(PCI_ECAM + at + 2), 2), want >> 16);
        assert_int_equal(bus_read(&m.bus, GPA(PCI_ECAM + at + 3), 1), want >> 24);
        assert_true(bus_read(&m.bus, GPA(PCI_ECAM + at), 8) == ~0ull);
    }
    for (u32 function = 1; function <= PCI_ECAM_BUS / PCI_ECAM_FUNCTION; function++) {
        gpa_t gpa = GPA(PCI_ECAM + function * PCI_ECAM_FUNCTION);
        assert_int_equal(bus_read(&m.bus, gpa, 4), ~0u);
        assert_int_equal(bus_read(&m.bus, gpa, 1), 0xff);
    }
}

/* A panic ends the guest, unless another kernel goes on. */
static void test_panic(void **state)
{
    (void)state;
    assert_true(pvpanic_attach(&m));
    assert_int_equal(in(PVPANIC_PORT), PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);
    out(PVPANIC_PORT, 0);
    out(PVPANIC_PORT, PVPANIC_CRASH_LOADED);
    out(PVPANIC_PORT, 0xfc);
    assert_false(m.ended);
    out(PVPANIC_PORT, PVPANIC_PANICKED);
    assert_true(m.ended && m.ending == HOST_END_CRASH && !strcmp(m.reason, "its kernel panicked"));
}

static void test_a20_by_keyboard_controller(void **state)
{
    (void)state;
    assert_int_equal(ask(I8042_READ_OUT), 0xcf);
    out(I8042_CMD, I8042_WRITE_OUT);
    out(I8042_DATA, 0xdd);
    assert_int_equal(ask(I8042_READ_OUT), 0xcd);
    assert_int_equal(in(PORT92), 0);
    out(I8042_CMD, I8042_WRITE_OUT);
    out(I8042_DATA, 0xdf);
    assert_int_equal(in(PORT92), PORT92_A20);
}

/* As Linux does when nothing tells it that there is no controller. */
static void test_probe_of_linux(void **state)
{
    (void)state;
    assert_int_equal(in(I8042_STATUS)&I8042_STS_OBF, 0); /* nothing to flush: it is there */
    u8 ctr = ask(I8042_READ_CTR);
    assert_int_equal(ctr & (I8042_CTR_KBD_INT | I8042_CTR_AUX_INT), 0);
    out(I8042_CMD, I8042_WRITE_CTR);
    out(I8042_DATA, ctr | I8042_CTR_KBD_DIS);
    assert_int_equal(ask(I8042_READ_CTR), ctr | I8042_CTR_KBD_DIS);
    out(I8042_CMD, 0xd3); /* mouse loopback: an answer, but not the mouse's */
    out(I8042_DATA, 0x5a);
    assert_int_equal(in(I8042_STATUS) & (I8042_STS_OBF | I8042_STS_AUX), I8042_STS_OBF);
    in(I8042_DATA);
    u8 test = ask(I8042_TEST_AUX);
    assert_true(test != 0 && test != 0xfa && test != 0xff);
    assert_int_equal(ask(I8042_SELF_TEST), I8042_SELF_TEST_OK);
    out(I8042_CMD, I8042_WRITE_CTR); /* the keyboard's port, with its interrupt */
    out(I8042_DATA, (u8)((ctr & ~I8042_CTR_KBD_DIS) | I8042_CTR_KBD_INT));
    out(I8042_DATA, 0xf2); /* who are you? */
    assert_true(m.irq_levels & 1u << I8042_IRQ);
    assert_int_equal(in(I8042_STATUS) & (I8042_STS_OBF | I8042_STS_TIMEOUT),
                     I8042_STS_OBF | I8042_STS_TIMEOUT);
    assert_int_equal(in(I8042_DATA), I8042_RESEND);
    assert_int_equal(m.irq_levels, 0);
    assert_int_equal(in(I8042_STATUS) & (I8042_STS_OBF | I8042_STS_TIMEOUT), 0);
}

/* As small systems do. */
static void test_probe_by_interface_tests(void **state)
{
    (void)state;
    out(I8042_CMD, I8042_KBD_OFF);
    out(I8042_CMD, I8042_AUX_OFF);
    assert_int_equal(ask(I8042_READ_CTR) & (I8042_CTR_KBD_DIS | I8042_CTR_AUX_DIS),
                     I8042_CTR_KBD_DIS | I8042_CTR_AUX_DIS);
    out(I8042_CMD, I8042_AUX_ON); /* there is none */
    assert_int_equal(ask(I8042_READ_CTR) & I8042_CTR_AUX_DIS, I8042_CTR_AUX_DIS);
    out(I8042_CMD, I8042_WRITE_CTR);
    out(I8042_DATA, 0);
    assert_int_equal(ask(I8042_READ_CTR), I8042_CTR_AUX_DIS);
    assert_int_equal(in(I8042_STATUS)&I8042_STS_SYS, 0);
    assert_int_equal(ask(I8042_SELF_TEST), I8042_SELF_TEST_OK);
    assert_int_equal(in(I8042_STATUS)&I8042_STS_SYS, I8042_STS_SYS);
    out(I8042_CMD, I8042_KBD_ON);
    assert_int_equal(ask(I8042_READ_CTR) & I8042_CTR_KBD_DIS, 0);
    assert_int_not_equal(ask(I8042_TEST_KBD), 0);
    assert_int_not_equal(ask(I8042_TEST_AUX), 0);
}

static void test_status(void **state)
{
    (void)state;
    out(I8042_CMD, 0x5f); /* unknown */
    assert_int_equal(in(I8042_STATUS), I8042_STS_SYS | I8042_STS_UNLOCK | I8042_STS_A2);
    out(I8042_CMD, I8042_SELF_TEST);
    out(I8042_CMD, I8042_READ_OUT); /* replaces the answer; the output port shows one waits */
    assert_int_equal(in(I8042_DATA), 0xdf);
    assert_int_equal(in(I8042_DATA), 0xdf);
    out(I8042_CMD, I8042_WRITE_CTR);
    out(I8042_CMD, I8042_AUX_ON); /* a command in place of the byte: that one is forgotten */
    out(I8042_DATA, 0xff);
    assert_int_equal(in(I8042_DATA), I8042_RESEND);
    assert_int_equal(in(I8042_STATUS)&I8042_STS_A2, 0);
    assert_int_equal(r.ctr,
                     I8042_CTR_SYS | I8042_CTR_KBD_DIS | I8042_CTR_AUX_DIS | I8042_CTR_XLATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_attached, setup),
        cmocka_unit_test_setup(test_keyboard_controller_reset, setup),
        cmocka_unit_test_setup(test_port92, setup),
        cmocka_unit_test_setup(test_cf9, setup),
        cmocka_unit_test_setup(test_pci, setup),
        cmocka_unit_test_setup(test_pci_window, setup),
        cmocka_unit_test_setup(test_panic, setup),
        cmocka_unit_test_setup(test_a20_by_keyboard_controller, setup),
        cmocka_unit_test_setup(test_probe_of_linux, setup),
        cmocka_unit_test_setup(test_probe_by_interface_tests, setup),
        cmocka_unit_test_setup(test_status, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
