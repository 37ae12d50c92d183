/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/uart16550.c vmm/device/debugcon.c vmm/device/debugexit.c */
/* SOURCES: vmm/machine/bus.c vmm/machine/ram.c lib/format.c tests/unit/fake_host.c */
/* The UART register by register, and the two debug ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/debugcon.h"
#include "vmm/device/debugexit.h"
#include "vmm/device/uart16550.h"

#define PORT 0x3f8
#define IRQ  4

static struct machine m;
static struct uart16550 u;

static int setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    memset(&u, 0xa5, sizeof(u)); /* reset alone must initialise it */
    assert_true(uart16550_attach(&u, &m, PORT, IRQ));
    return 0;
}

static u8 in(u16 reg)
{
    return (u8)bus_in(&m.bus, PORT + reg, 1);
}

static void out(u16 reg, u8 value)
{
    bus_out(&m.bus, PORT + reg, 1, value);
}

static bool irq(void)
{
    return m.irq_levels & (1u << IRQ);
}

static void test_reset_state(void **state)
{
    (void)state;
    assert_int_equal(in(UART_IER), 0);
    assert_int_equal(in(UART_IIR), UART_IIR_NONE);
    assert_int_equal(in(UART_LCR), 0);
    assert_int_equal(in(UART_MCR), 0);
    assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in(UART_MSR), UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD);
    assert_int_equal(in(UART_SCR), 0);
    assert_false(irq());
    assert_int_equal(bus_in(&m.bus, PORT, 2), 0xffff); /* 8 bits only */
}

static void test_print(void **state)
{
    (void)state;
    for (const char *s = "hello\n"; *s; s++) {
        assert_true(in(UART_LSR)&UART_LSR_THRE);
        out(UART_THR, (u8)*s);
    }
    assert_string_equal(m.out, "hello\n");
}

static void test_divisor_latch(void **state)
{
    (void)state;
    out(UART_LCR, UART_LCR_DLAB | UART_LCR_WORD_8);
    out(UART_DLL, 0x34);
    out(UART_DLM, 0x12);
    assert_int_equal(in(UART_DLL), 0x34);
    assert_int_equal(in(UART_DLM), 0x12);
    assert_int_equal(m.out_count, 0); /* nothing was printed */
    out(UART_LCR, UART_LCR_WORD_8);
    assert_int_equal(in(UART_IER), 0);
    out(UART_IER, 0xff);
    assert_int_equal(in(UART_IER), UART_IER_MASK);
    out(UART_SCR, 0x5a);
    assert_int_equal(in(UART_SCR), 0x5a);
}

static void test_typed_input(void **state)
{
    char text[41];

    (void)state;
    m.in = "The FIFO has sixteen places, not more.!!";
    for (u32 i = 0; i < 40; i++) { /* without FIFO: one at a time, and none is lost */
        assert_true(in(UART_LSR)&UART_LSR_DR);
        text[i] = (char)in(UART_RBR);
        if (i == 10) {
            out(UART_FCR, UART_FCR_ENABLE);
        }
    }
    text[40] = 0;
    assert_string_equal(text, "The FIFO has sixteen places, not more.!!");
    assert_false(in(UART_LSR)&UART_LSR_DR);
    assert_false(in(UART_LSR)&UART_LSR_OE);
}

static void test_transmit_interrupt(void **state)
{
    (void)state;
    out(UART_MCR, UART_MCR_OUT2);
    out(UART_IER, UART_IER_ETBEI); /* empty already: says so at once */
    assert_true(irq());
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
    assert_false(irq()); /* reading IIR took it */
    assert_int_equal(in(UART_IIR), UART_IIR_NONE);
    out(UART_THR, 'x');
    assert_true(irq());
    out(UART_MCR, 0); /* OUT2 gates the line */
    assert_false(irq());
    out(UART_MCR, UART_MCR_OUT2);
    assert_true(irq());
    out(UART_IER, 0);
    assert_false(irq());
}

static void test_receive_interrupt(void **state)
{
    (void)state;
    out(UART_MCR, UART_MCR_OUT2);
    out(UART_IER, UART_IER_ERBFI);
    out(UART_FCR, UART_FCR_ENABLE | (2u << UART_FCR_TRIGGER_SHIFT)); /* 8 */
    m.in = "1234567";
    assert_int_equal(in(UART_IIR), UART_IIR_TIMEOUT | UART_IIR_FIFO);
    m.in = "8";
    assert_int_equal(in(UART_IIR), UART_IIR_RDI | UART_IIR_FIFO);
    assert_true(irq());
    for (char c = '1'; c <= '8'; c++) {
        assert_int_equal(in(UART_RBR), c);
    }
    assert_int_equal(in(UART_IIR), UART_IIR_NONE | UART_IIR_FIFO);
    assert_false(irq());
    out(UART_FCR, 0);
    m.in = "9";
    assert_int_equal(in(UART_IIR), UART_IIR_RDI);
    assert_int_equal(in(UART_RBR), '9');
}

/* Input that comes while the guest looks at nothing. */
static void test_input_interrupts(void **state)
{
    (void)state;
    out(UART_MCR, UART_MCR_OUT2);
    m.in = "ab";
    uart16550_poll(&u);
    assert_false(irq());
    assert_int_equal(*m.in, 'a'); /* nothing is taken for a guest that polls */
    out(UART_IER, UART_IER_ERBFI);
    assert_true(irq());
    assert_int_equal(in(UART_RBR), 'a');
    assert_true(irq()); /* what had no room comes after */
    assert_int_equal(in(UART_RBR), 'b');
    assert_false(irq());
    m.in = "c";
    uart16550_poll(&u);
    assert_true(irq());
    assert_int_equal(in(UART_RBR), 'c');
    assert_false(irq());
}

/* A guest that takes one byte for each interrupt, as an edge-triggered input shows them. */
static void test_edges(void **state)
{
    (void)state;
    out(UART_MCR, UART_MCR_OUT2);
    out(UART_IER, UART_IER_ERBFI);
    m.in = "abc";
    uart16550_poll(&u);
    for (u32 edges = 1; edges <= 3; edges++) {
        assert_true(irq());
        assert_int_equal(m.irq_changes, 2 * edges - 1);
        assert_int_equal(in(UART_RBR), "abc"[edges - 1]);
    }
    assert_false(irq());
    out(UART_IER, UART_IER_ETBEI);
    for (u32 edges = 4; edges <= 6; edges++) { /* it does not read IIR */
        assert_true(irq());
        assert_int_equal(m.irq_changes, 2 * edges - 1);
        out(UART_THR, 'x');
    }
    out(UART_FCR, UART_FCR_ENABLE);
    in(UART_IIR);
    m.irq_changes = 0;
    for (u32 i = 0; i < UART_FIFO_SIZE; i++) {
        out(UART_THR, 'x');
    }
    assert_int_equal(m.irq_changes, 1); /* for all of them */
}

static void test_loopback(void **state)
{
    (void)state;
    out(UART_LCR, UART_LCR_WORD_8);
    out(UART_MCR, UART_MCR_LOOP);
    assert_int_equal(in(UART_MSR)&0xf0, 0);
    assert_int_equal(in(UART_MSR), 0); /* the changes were told once */
    m.in = "z";                        /* the outside is cut off */
    out(UART_THR, 0xa5);
    assert_int_equal(m.out_count, 0);
    assert_int_equal(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR);
    assert_int_equal(in(UART_RBR), 0xa5);
    out(UART_LCR, 0); /* five bits */
    out(UART_THR, 0xff);
    assert_int_equal(in(UART_RBR), 0x1f);
    out(UART_LCR, UART_LCR_WORD_8);
    out(UART_THR, 1);
    out(UART_THR, 2); /* nobody read the first */
    assert_int_equal(in(UART_LSR) & (UART_LSR_OE | UART_LSR_DR), UART_LSR_OE | UART_LSR_DR);
    assert_int_equal(in(UART_LSR)&UART_LSR_OE, 0);
    assert_int_equal(in(UART_RBR), 2);
    out(UART_MCR, 0);
    assert_int_equal(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR);
    assert_int_equal(in(UART_RBR), 'z');
}

static void test_modem_loopback(void **state)
{
    static const struct {
        u8 mcr, msr;
    } cases[] = {
        {UART_MCR_RTS,  UART_MSR_CTS},
        {UART_MCR_DTR,  UART_MSR_DSR},
        {UART_MCR_OUT1, UART_MSR_RI },
        {UART_MCR_OUT2, UART_MSR_DCD},
        {0x0f,          0xf0        },
    };

    (void)state;
    out(UART_MCR, UART_MCR_LOOP);
    in(UART_MSR);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        u8 deltas = cases[i].msr >> 4;
        out(UART_MCR, UART_MCR_LOOP | cases[i].mcr);
        /* a ring that begins is no event, one that ends is */
        assert_int_equal(in(UART_MSR), cases[i].msr | (deltas & ~UART_MSR_TERI));
        assert_int_equal(in(UART_MSR), cases[i].msr);
        out(UART_MCR, UART_MCR_LOOP);
        assert_int_equal(in(UART_MSR), deltas);
    }
    out(UART_IER, UART_IER_EDSSI);
    out(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
    assert_int_equal(in(UART_IIR), UART_IIR_MSI);
    assert_false(irq()); /* loopback cuts the line */
    in(UART_MSR);
    assert_int_equal(in(UART_IIR), UART_IIR_NONE);
}

static void test_fifo_loopback(void **state)
{
    (void)state;
    out(UART_LCR, UART_LCR_WORD_8);
    out(UART_MCR, UART_MCR_LOOP);
    out(UART_FCR, UART_FCR_ENABLE | UART_FCR_CLEAR_RX | UART_FCR_CLEAR_TX);
    assert_int_equal(in(UART_IIR)&UART_IIR_FIFO, UART_IIR_FIFO);
    for (u8 i = 0; i < 17; i++) {
        out(UART_THR, i);
    }
    assert_true(in(UART_LSR)&UART_LSR_OE);
    for (u8 i = 0; i < 16; i++) { /* the seventeenth is lost */
        assert_int_equal(in(UART_RBR), i);
    }
    assert_false(in(UART_LSR)&UART_LSR_DR);
    out(UART_THR, 1);
    out(UART_FCR, UART_FCR_ENABLE | UART_FCR_CLEAR_RX);
    assert_false(in(UART_LSR)&UART_LSR_DR);
    out(UART_THR, 1);
    out(UART_FCR, 0); /* switching empties */
    assert_false(in(UART_LSR)&UART_LSR_DR);
    assert_int_equal(in(UART_IIR)&UART_IIR_FIFO, 0);
}

static void test_break(void **state)
{
    u8 lsr;

    (void)state;
    out(UART_MCR, UART_MCR_LOOP);
    out(UART_FCR, UART_FCR_ENABLE);
    out(UART_IER, UART_IER_ELSI | UART_IER_ERBFI);
    out(UART_THR, 7);
    out(UART_LCR, UART_LCR_WORD_8 | UART_LCR_BREAK);
    lsr = in(UART_LSR);
    assert_false(lsr & UART_LSR_BI); /* not at the top yet */
    assert_true(lsr & UART_LSR_FIFO_ERROR);
    assert_int_equal(in(UART_RBR), 7);
    assert_int_equal(in(UART_IIR)&0xf, UART_IIR_RLSI);
    lsr = in(UART_LSR);
    assert_int_equal(lsr & (UART_LSR_BI | UART_LSR_FE), UART_LSR_BI | UART_LSR_FE);
    assert_int_equal(in(UART_LSR) & (UART_LSR_ERRORS | UART_LSR_FIFO_ERROR), 0);
    assert_int_equal(in(UART_RBR), 0);
}

static void test_factory_registers(void **state)
{
    (void)state;
    out(UART_LSR, 0);
    out(UART_MSR, 0);
    assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in(UART_MSR)&0xf0, 0xb0);
    out(UART_MCR, 0xff);
    assert_int_equal(in(UART_MCR), UART_MCR_MASK);
}

static void test_debugcon(void **state)
{
    struct debugcon d;

    (void)state;
    assert_true(debugcon_attach(&d, &m));
    assert_int_equal(bus_in(&m.bus, 0xe9, 1), 0xe9);
    bus_out(&m.bus, 0xe9, 1, 'A');
    bus_out(&m.bus, 0xe9, 2, 'B'); /* wrong width */
    assert_string_equal(m.out, "A");
}

static void test_debugexit(void **state)
{
    struct debugexit d;

    (void)state;
    assert_true(debugexit_attach(&d, &m));
    bus_out(&m.bus, 0xf4, 1, 0);
    bus_out(&m.bus, 0xf4, 2, 0);
    bus_out(&m.bus, 0xf5, 4, 0);
    assert_false(m.ended);
    assert_int_equal(bus_in(&m.bus, 0xf4, 4), 0xffffffff);
    bus_out(&m.bus, 0xf4, 4, 7);
    assert_true(m.ended && m.ending == HOST_END_FAILURE);
    assert_string_equal(m.reason, "debug exit 7");
    bus_out(&m.bus, 0xf4, 4, 0);
    assert_int_equal(m.ending, HOST_END_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_state, setup),
        cmocka_unit_test_setup(test_print, setup),
        cmocka_unit_test_setup(test_divisor_latch, setup),
        cmocka_unit_test_setup(test_typed_input, setup),
        cmocka_unit_test_setup(test_transmit_interrupt, setup),
        cmocka_unit_test_setup(test_receive_interrupt, setup),
        cmocka_unit_test_setup(test_input_interrupts, setup),
        cmocka_unit_test_setup(test_edges, setup),
        cmocka_unit_test_setup(test_loopback, setup),
        cmocka_unit_test_setup(test_modem_loopback, setup),
        cmocka_unit_test_setup(test_fifo_loopback, setup),
        cmocka_unit_test_setup(test_break, setup),
        cmocka_unit_test_setup(test_factory_registers, setup),
        cmocka_unit_test_setup(test_debugcon, setup),
        cmocka_unit_test_setup(test_debugexit, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
