/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/i8259.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The two interrupt controllers, mode by mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/i8259.h"

#define MASTER       I8259_MASTER_PORT
#define SLAVE        I8259_SLAVE_PORT
#define VECTOR       0x30 /* of line 0; line 8 is 8 further */
#define EOI          I8259_OCW2_EOI
#define SPECIFIC(n)  (I8259_OCW2_EOI | I8259_OCW2_SL | (n))
#define ROTATE       (I8259_OCW2_EOI | I8259_OCW2_R)
#define ROTATE_AT(n) (I8259_OCW2_EOI | I8259_OCW2_R | I8259_OCW2_SL | (n))
#define LOWEST(n)    (I8259_OCW2_PRIORITY | (n))
#define READ_IRR     (I8259_OCW3 | I8259_OCW3_RR)
#define READ_ISR     (I8259_OCW3 | I8259_OCW3_RR | I8259_OCW3_RIS)
#define POLL         (I8259_OCW3 | I8259_OCW3_P)
#define SPECIAL_MASK (I8259_OCW3 | I8259_OCW3_ESMM | I8259_OCW3_SMM)
#define NORMAL_MASK  (I8259_OCW3 | I8259_OCW3_ESMM)
#define ICW1         (I8259_ICW1 | I8259_ICW1_IC4)

static struct machine m;
static struct i8259 p;

static void out(u16 port, u8 value)
{
    bus_out(&m.bus, port, 1, value);
}

static u8 in(u16 port)
{
    return (u8)bus_in(&m.bus, port, 1);
}

static u8 read_back(u16 chip, u8 ocw3)
{
    out(chip, ocw3);
    return in(chip);
}

/* As every PC's firmware does it, but for icw1 and icw4. */
static void init(u16 chip, u8 icw1, u8 icw4)
{
    out(chip, icw1);
    out(chip + 1, chip == MASTER ? VECTOR : VECTOR + 8);
    out(chip + 1, chip == MASTER ? BIT(I8259_CASCADE) : I8259_CASCADE);
    if (icw1 & I8259_ICW1_IC4) {
        out(chip + 1, icw4);
    }
}

static int raw_setup(void **state)
{
    (void)state;
    fake_host_reset(&m);
    memset(&p, 0xa5, sizeof(p)); /* reset alone must initialise it */
    assert_true(i8259_attach(&p, &m));
    return 0;
}

static int setup(void **state)
{
    raw_setup(state);
    init(MASTER, ICW1, I8259_ICW4_UPM);
    init(SLAVE, ICW1, I8259_ICW4_UPM);
    return 0;
}

static void raise_line(u32 line)
{
    i8259_set_irq(&p, line, true);
}

static void lower_line(u32 line)
{
    i8259_set_irq(&p, line, false);
}

static void pulse(u32 line)
{
    lower_line(line);
    raise_line(line);
}

/* The CPU takes an interrupt; -1 when INTR is low. */
static int take(void)
{
    return m.intr ? i8259_acknowledge(&p) : -1;
}

static void test_reset_state(void **state)
{
    (void)state;
    assert_int_equal(in(MASTER + 1), 0xff);
    assert_int_equal(in(SLAVE + 1), 0xff);
    assert_int_equal(in(MASTER), 0); /* IRR */
    assert_int_equal(read_back(SLAVE, READ_ISR), 0);
    assert_int_equal(bus_in(&m.bus, I8259_ELCR_PORT, 1), 0);
    assert_int_equal(bus_in(&m.bus, I8259_ELCR_PORT + 1, 1), 0);
    assert_int_equal(bus_in(&m.bus, MASTER, 2), 0xffff); /* 8 bits only */
    out(MASTER + 1, 0xfb); /* the mask can be written and read, but nothing comes before ICW1 */
    out(SLAVE + 1, 0);
    assert_int_equal(in(MASTER + 1), 0xfb);
    for (u32 line = 0; line < 24; line++) {
        raise_line(line);
    }
    assert_int_equal(in(MASTER), 0xfb); /* line 2 has no pin */
    assert_false(m.intr);
}

static void test_reset_of_a_running_pair(void **state)
{
    (void)state;
    raise_line(1);
    assert_true(m.intr);
    i8259_reset(&p);
    assert_false(m.intr);
    assert_int_equal(in(MASTER + 1), 0xff);
    init(MASTER, ICW1, I8259_ICW4_UPM);
    raise_line(1);
    assert_int_equal(take(), VECTOR + 1);
}

static void test_every_line(void **state)
{
    (void)state;
    for (u32 line = 0; line < 16; line++) {
        if (line == I8259_CASCADE) {
            continue;
        }
        assert_int_equal(take(), -1);
        raise_line(line);
        assert_int_equal(take(), VECTOR + (int)line);
        assert_false(m.intr); /* an edge comes once */
        assert_int_equal(read_back(MASTER, READ_ISR), line < 8 ? BIT(line) : BIT(2));
        assert_int_equal(read_back(SLAVE, READ_ISR), line < 8 ? 0 : BIT(line - 8));
        if (line >= 8) {
            out(SLAVE, EOI);
        }
        out(MASTER, EOI);
        assert_int_equal(read_back(MASTER, READ_ISR), 0);
        assert_int_equal(read_back(SLAVE, READ_ISR), 0);
        lower_line(line);
    }
}

static void test_initialization(void **state)
{
    (void)state;
    raise_line(3);
    raise_line(5);
    assert_int_equal(take(), VECTOR + 3);
    out(MASTER + 1, 0x55);
    out(MASTER, SPECIAL_MASK);
    out(MASTER, LOWEST(4));
    out(MASTER, READ_ISR);
    out(MASTER, ICW1);
    assert_false(m.intr); /* not in the middle of it */
    assert_int_equal(i8259_acknowledge(&p), VECTOR + 7);
    assert_int_equal(in(MASTER + 1), 0);
    assert_int_equal(in(MASTER), 0); /* IRR is selected, and the edges are forgotten */
    assert_int_equal(read_back(MASTER, READ_ISR), 0);
    pulse(3);
    out(MASTER + 1, 0x4f); /* the low bits of ICW2 do not count */
    out(MASTER + 1, 0x04);
    assert_false(m.intr);
    out(MASTER + 1, I8259_ICW4_UPM);
    assert_int_equal(take(), 0x4b);
    out(MASTER, EOI);
    assert_int_equal(take(), -1); /* line 5 is high, but did not rise */
    pulse(5);
    pulse(6);
    assert_int_equal(take(), 0x4d); /* the priorities are the normal ones again */
}

static void test_single_without_icw4(void **state)
{
    (void)state;
    out(MASTER, I8259_ICW1 | I8259_ICW1_SNGL);
    out(MASTER + 1, 0x40);
    raise_line(4);
    assert_int_equal(take(), 0x44);
    out(MASTER + 1, 0xef); /* ICW2 was the last one: this is the mask */
    assert_int_equal(in(MASTER + 1), 0xef);
    out(MASTER, EOI);
    out(MASTER + 1, 0);
    raise_line(9); /* IR2 is an input as others are */
    assert_int_equal(take(), 0x42);
    out(MASTER, EOI);
    out(MASTER, I8259_ICW1 | I8259_ICW1_SNGL | I8259_ICW1_IC4);
    out(MASTER + 1, 0x50);
    out(MASTER + 1, I8259_ICW4_AEOI | I8259_ICW4_UPM);
    pulse(4);
    assert_int_equal(take(), 0x54);
    assert_int_equal(read_back(MASTER, READ_ISR), 0);
}

static void test_priorities(void **state)
{
    (void)state;
    raise_line(5);
    assert_int_equal(take(), VECTOR + 5);
    raise_line(6);
    assert_false(m.intr);
    raise_line(12); /* by way of input 2 */
    assert_int_equal(take(), VECTOR + 12);
    raise_line(3);
    assert_false(m.intr);
    raise_line(8);
    assert_false(m.intr); /* higher than 12, but input 2 is in service */
    raise_line(1);
    assert_int_equal(take(), VECTOR + 1);
    out(MASTER, EOI); /* of 1, the last that was taken */
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(2) | BIT(5));
    out(MASTER, EOI);
    assert_int_equal(take(), VECTOR + 8);
    out(SLAVE, EOI);
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_int_equal(take(), VECTOR + 3);
    out(MASTER, SPECIFIC(5)); /* not the one with the highest priority */
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(3));
    out(MASTER, SPECIFIC(3));
    assert_int_equal(take(), VECTOR + 6);
}

static void test_masks(void **state)
{
    (void)state;
    out(MASTER + 1, BIT(4));
    out(SLAVE + 1, BIT(1));
    raise_line(4);
    raise_line(9);
    assert_false(m.intr);
    assert_int_equal(read_back(MASTER, READ_IRR), BIT(4));
    assert_int_equal(read_back(SLAVE, READ_IRR), BIT(1));
    out(MASTER + 1, 0); /* the edge was kept */
    assert_int_equal(take(), VECTOR + 4);
    out(MASTER, EOI);
    out(MASTER + 1, BIT(2));
    out(SLAVE + 1, 0);
    assert_false(m.intr);
    assert_int_equal(read_back(MASTER, READ_IRR), BIT(2));
    out(MASTER + 1, 0);
    assert_true(m.intr);
    out(SLAVE + 1, 0xff);
    assert_false(m.intr);
    out(SLAVE + 1, 0);
    assert_int_equal(take(), VECTOR + 9);
}

static void test_level(void **state)
{
    (void)state;
    bus_out(&m.bus, I8259_ELCR_PORT, 1, 0xff);
    bus_out(&m.bus, I8259_ELCR_PORT + 1, 1, 0xff);
    assert_int_equal(bus_in(&m.bus, I8259_ELCR_PORT, 1), I8259_ELCR_MASTER);
    assert_int_equal(bus_in(&m.bus, I8259_ELCR_PORT + 1, 1), I8259_ELCR_SLAVE);
    for (u32 line = 5; line <= 9; line += 4) {
        raise_line(line);
        for (u32 i = 0; i < 3; i++) { /* again after each EOI */
            assert_int_equal(take(), VECTOR + (int)line);
            assert_false(m.intr);
            if (line == 9) {
                out(SLAVE, EOI);
            }
            out(MASTER, EOI);
            assert_true(m.intr);
        }
        lower_line(line);
        assert_false(m.intr);
    }
    bus_out(&m.bus, I8259_ELCR_PORT + 1, 1, 0);
    raise_line(9);
    assert_int_equal(take(), VECTOR + 9);
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_false(m.intr);
    bus_out(&m.bus, I8259_ELCR_PORT + 1, 1, BIT(1)); /* asserted still, and now that counts */
    assert_true(m.intr);
    init(SLAVE, ICW1, I8259_ICW4_UPM); /* ELCR is no part of the chip */
    assert_int_equal(bus_in(&m.bus, I8259_ELCR_PORT + 1, 1), BIT(1));
    assert_true(m.intr);
}

static void test_ltim(void **state)
{
    (void)state;
    raise_line(0);
    init(MASTER, ICW1 | I8259_ICW1_LTIM, I8259_ICW4_UPM); /* all inputs, 0 to 2 too */
    assert_int_equal(take(), VECTOR);
    out(MASTER, EOI);
    assert_int_equal(take(), VECTOR);
    lower_line(0);
    out(MASTER, EOI);
    assert_false(m.intr);
}

static void test_withdrawn_requests(void **state)
{
    (void)state;
    raise_line(4);
    lower_line(4);
    assert_false(m.intr);
    assert_int_equal(i8259_acknowledge(&p), VECTOR + 7); /* the CPU had begun already */
    assert_int_equal(read_back(MASTER, READ_ISR), 0);    /* that is how systems tell */
    raise_line(7);
    assert_int_equal(take(), VECTOR + 7);
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(7));
    assert_int_equal(i8259_acknowledge(&p), VECTOR + 7);
    out(MASTER, EOI);
    raise_line(4);
    assert_int_equal(take(), VECTOR + 4);
}

/* A slave is asked though it has no request: the master's input 5 is said to have one, number 5. */
static void test_spurious_of_the_slave(void **state)
{
    (void)state;
    out(MASTER, ICW1);
    out(MASTER + 1, VECTOR);
    out(MASTER + 1, BIT(5));
    out(MASTER + 1, I8259_ICW4_UPM);
    raise_line(5);
    assert_int_equal(take(), 0xff); /* the slave is number 2: nobody answers */
    assert_false(m.intr);
    out(MASTER, EOI);
    out(SLAVE, ICW1);
    out(SLAVE + 1, VECTOR + 8);
    out(SLAVE + 1, 5);
    pulse(5);
    assert_int_equal(take(), 0xff); /* in the middle of its initialization */
    out(MASTER, EOI);
    out(SLAVE + 1, I8259_ICW4_UPM);
    pulse(5);
    assert_int_equal(take(), VECTOR + 15);
    assert_int_equal(read_back(SLAVE, READ_ISR), 0);
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(5)); /* the master wants its EOI */
    out(MASTER, EOI);
    raise_line(8);
    assert_int_equal(take(), VECTOR + 2); /* no slave there, says ICW3 */
    lower_line(2);                        /* is no new edge of the slave's INT, which is high */
    out(MASTER, EOI);
    assert_false(m.intr);
}

static void test_automatic_eoi(void **state)
{
    (void)state;
    init(MASTER, ICW1, I8259_ICW4_AEOI | I8259_ICW4_UPM);
    init(SLAVE, ICW1, I8259_ICW4_AEOI | I8259_ICW4_UPM);
    raise_line(10);
    raise_line(11);
    raise_line(6);
    assert_int_equal(take(), VECTOR + 10);
    assert_int_equal(take(), VECTOR + 11); /* a new edge on the cascade */
    assert_int_equal(take(), VECTOR + 6);
    assert_int_equal(take(), -1);
    assert_int_equal(read_back(MASTER, READ_ISR), 0);
    out(MASTER, I8259_OCW2_AEOI_ON); /* whoever was served goes last */
    pulse(3);
    pulse(4);
    assert_int_equal(take(), VECTOR + 3);
    pulse(3);
    assert_int_equal(take(), VECTOR + 4);
    assert_int_equal(take(), VECTOR + 3);
    out(MASTER, I8259_OCW2_AEOI_OFF);
    pulse(3);
    pulse(4);
    assert_int_equal(take(), VECTOR + 4); /* 3 is the lowest, and stays it */
    pulse(4);
    assert_int_equal(take(), VECTOR + 4);
    assert_int_equal(take(), VECTOR + 3);
}

static void test_rotation(void **state)
{
    (void)state;
    out(MASTER, LOWEST(4)); /* so 5 is the highest */
    raise_line(3);
    raise_line(6);
    assert_int_equal(take(), VECTOR + 6);
    assert_false(m.intr);
    out(MASTER, ROTATE); /* 6 is the lowest now */
    assert_int_equal(take(), VECTOR + 3);
    pulse(6);
    raise_line(7);
    assert_int_equal(take(), VECTOR + 7);
    out(MASTER, ROTATE_AT(3)); /* 3 ends, 4 is the highest: 7 is in service, 6 comes before it */
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(7));
    assert_int_equal(take(), VECTOR + 6);
    out(MASTER, EOI);
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(7));
    out(MASTER, I8259_OCW2_SL | 7); /* no operation */
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(7));
    out(MASTER, EOI);
    out(MASTER, ROTATE); /* nothing is in service: nothing happens */
    pulse(3);
    pulse(4);
    assert_int_equal(take(), VECTOR + 4);
}

static void test_special_mask_mode(void **state)
{
    (void)state;
    raise_line(4);
    assert_int_equal(take(), VECTOR + 4);
    raise_line(6);
    assert_false(m.intr);
    out(MASTER + 1, BIT(4));
    assert_false(m.intr);
    out(MASTER, SPECIAL_MASK); /* only 4 itself is held back */
    assert_int_equal(take(), VECTOR + 6);
    pulse(4);
    assert_false(m.intr);
    out(MASTER, EOI); /* does not reach the masked one */
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(4));
    out(MASTER, EOI);
    assert_int_equal(read_back(MASTER, READ_ISR), BIT(4));
    out(MASTER, I8259_OCW3 | I8259_OCW3_SMM); /* without ESMM no change */
    pulse(6);
    assert_true(m.intr);
    out(MASTER, NORMAL_MASK);
    assert_false(m.intr);
    out(MASTER, SPECIFIC(4));
    assert_int_equal(take(), VECTOR + 6);
}

static void test_special_fully_nested(void **state)
{
    (void)state;
    init(MASTER, ICW1, I8259_ICW4_SFNM | I8259_ICW4_UPM);
    raise_line(12);
    assert_int_equal(take(), VECTOR + 12);
    raise_line(13);
    assert_false(m.intr); /* the slave nests as always */
    raise_line(3);
    assert_false(m.intr); /* lower than the slave's input */
    raise_line(9);
    assert_int_equal(take(), VECTOR + 9); /* though input 2 is in service */
    assert_int_equal(read_back(SLAVE, READ_ISR), BIT(1) | BIT(4));
    out(SLAVE, EOI);
    out(SLAVE, EOI);
    assert_int_equal(take(), VECTOR + 13);
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_int_equal(take(), VECTOR + 3);
    pulse(3);
    assert_false(m.intr); /* only a slave's input nests in itself */
    out(MASTER, EOI);
    init(SLAVE, ICW1, I8259_ICW4_SFNM | I8259_ICW4_UPM);
    pulse(9); /* input 1 of the slave, whose ICW3 happens to have bit 1 */
    assert_int_equal(take(), VECTOR + 9);
    pulse(9);
    assert_false(m.intr); /* the mode is the master's */
}

static void test_poll(void **state)
{
    (void)state;
    assert_int_equal(read_back(MASTER, POLL), 0);
    raise_line(5);
    raise_line(14);
    assert_int_equal(read_back(MASTER, POLL), I8259_POLL_I | 2);
    assert_int_equal(read_back(SLAVE, POLL), I8259_POLL_I | 6);
    assert_int_equal(read_back(SLAVE, READ_ISR), BIT(6));
    assert_int_equal(read_back(MASTER, POLL), 0); /* 5 is lower */
    out(SLAVE, EOI);
    out(MASTER, EOI);
    assert_true(m.intr);
    out(MASTER, READ_ISR);
    out(MASTER, POLL);
    assert_int_equal(in(MASTER + 1), I8259_POLL_I | 5); /* the next read, whatever it is */
    assert_false(m.intr);
    assert_int_equal(in(MASTER + 1), 0);  /* once; this is IMR */
    assert_int_equal(in(MASTER), BIT(5)); /* and this ISR */
    raise_line(4);
    out(MASTER, POLL);
    assert_int_equal(read_back(MASTER, READ_IRR), BIT(4)); /* another OCW3 takes it back */
    assert_int_equal(take(), VECTOR + 4);
}

static void test_slave_polled_alone(void **state)
{
    (void)state;
    raise_line(8);
    raise_line(15);
    assert_int_equal(read_back(SLAVE, POLL), I8259_POLL_I | 0);
    assert_false(m.intr); /* INT of the slave fell, so the master has no request */
    out(SLAVE, EOI);
    assert_int_equal(take(), VECTOR + 15);
}

/* The local APIC may take INTR as an ordinary edge, with nobody acknowledging: it follows the line.
 */
static void test_intr_follows_the_line(void **state)
{
    (void)state;
    for (u32 i = 0; i < 3; i++) {
        raise_line(0);
        assert_true(m.intr);
        lower_line(0);
        assert_false(m.intr);
    }
    assert_int_equal(m.intr_changes, 6);
}

static void test_no_room(void **state)
{
    (void)state;
    assert_false(i8259_attach(&p, &m)); /* the ports are taken */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_state, raw_setup),
        cmocka_unit_test_setup(test_reset_of_a_running_pair, setup),
        cmocka_unit_test_setup(test_every_line, setup),
        cmocka_unit_test_setup(test_initialization, setup),
        cmocka_unit_test_setup(test_single_without_icw4, setup),
        cmocka_unit_test_setup(test_priorities, setup),
        cmocka_unit_test_setup(test_masks, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_ltim, setup),
        cmocka_unit_test_setup(test_withdrawn_requests, setup),
        cmocka_unit_test_setup(test_spurious_of_the_slave, setup),
        cmocka_unit_test_setup(test_automatic_eoi, setup),
        cmocka_unit_test_setup(test_rotation, setup),
        cmocka_unit_test_setup(test_special_mask_mode, setup),
        cmocka_unit_test_setup(test_special_fully_nested, setup),
        cmocka_unit_test_setup(test_poll, setup),
        cmocka_unit_test_setup(test_slave_polled_alone, setup),
        cmocka_unit_test_setup(test_intr_follows_the_line, setup),
        cmocka_unit_test_setup(test_no_room, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
