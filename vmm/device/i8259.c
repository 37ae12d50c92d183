/* SPDX-License-Identifier: MIT */
/*
 * The PC's two interrupt controllers (Intel 8259A; ELCR: Intel 82371SB).
 * Deviation: MCS-80 mode gives the vectors of 8086 mode; the buffered-mode bits do nothing, because
 * on a PC wires say which chip is the master.
 */
#include "vmm/device/i8259.h"

#define NONE            8    /* no input */
#define SPURIOUS        7    /* the input that an acknowledge without a request gets */
#define FLOATING        0xff /* a bus that nobody drives */
#define LOWEST_AT_START 7

static struct i8259_chip *master(struct i8259 *p)
{
    return &p->chips[0];
}

static struct i8259_chip *slave(struct i8259 *p)
{
    return &p->chips[1];
}

/* Datasheet "Priority Cell": an edge-triggered request is an input that is high and was low since
 * its last acknowledge; a level-triggered one is an input that is high. */
static u8 irr(const struct i8259_chip *c)
{
    u8 level = c->icw1 & I8259_ICW1_LTIM ? 0xff : c->elcr;

    return c->inputs & (c->armed | level);
}

/* The bits of ISR that hold others back: in special mask mode not those that are masked. */
static u8 in_service(const struct i8259_chip *c)
{
    return c->special_mask ? c->isr & (u8)~c->imr : c->isr;
}

/* Inputs of the master that have a slave. */
static u8 slaves(const struct i8259_chip *c)
{
    return c->icw1 & I8259_ICW1_SNGL ? 0 : c->icw3;
}

/* The first of some inputs in order of priority, or NONE. */
static u32 first(const struct i8259_chip *c, u8 inputs)
{
    for (u32 i = 1; i <= 8; i++) {
        u32 n = (c->lowest + i) & 7;
        if (inputs & BIT(n)) {
            return n;
        }
    }
    return NONE;
}

/* The input that drives INT, or NONE: the first of those that ask and those in service, if it asks.
 * An input in service may ask again only in special fully nested mode, for its slave. */
static u32 pending(const struct i8259_chip *c)
{
    u8 requests = irr(c) & (u8)~c->imr;
    u8 again = c == master(c->pair) && (c->icw4 & I8259_ICW4_SFNM) ? slaves(c) : 0;
    u8 serving = in_service(c);
    u32 n = first(c, requests | serving);

    if (c->phase != I8259_READY || n == NONE) {
        return NONE;
    }
    return (requests & ~(serving & ~again)) & BIT(n) ? n : NONE;
}

static void set_input(struct i8259_chip *c, u32 n, bool level)
{
    if (level) {
        c->inputs |= BIT(n);
    } else {
        c->inputs &= ~BIT(n);
        c->armed |= BIT(n);
    }
}

/* INT of both chips from their state, after every change. */
static void update(struct i8259 *p)
{
    set_input(master(p), I8259_CASCADE, pending(slave(p)) != NONE);
    bool intr = pending(master(p)) != NONE;
    if (intr != p->intr) {
        p->intr = intr;
        host_intr(p->host, intr);
    }
}

static void end_of_interrupt(struct i8259_chip *c, u32 n, bool rotate)
{
    c->isr &= ~BIT(n);
    if (rotate) {
        c->lowest = (u8)n;
    }
}

/* One chip's part of an acknowledge, by INTA or by poll: the input, or NONE. */
static u32 take(struct i8259_chip *c)
{
    u32 n = pending(c);

    if (n == NONE) {
        return NONE;
    }
    c->isr |= BIT(n);
    c->armed &= ~BIT(n);
    if (c->icw4 & I8259_ICW4_AEOI) {
        end_of_interrupt(c, n, c->rotate_aeoi);
    }
    if (c == slave(c->pair)) {
        /* INT falls for a moment even when more is pending, or the master would see no new edge. */
        set_input(master(c->pair), I8259_CASCADE, false);
    }
    return n;
}

int i8259_acknowledge(struct i8259 *p)
{
    struct i8259_chip *c = master(p);
    u32 n = take(c);

    if (n != NONE && (slaves(c) & BIT(n))) { /* the slave of that number gives the vector */
        c = slave(p);
        if (c->phase != I8259_READY || (c->icw3 & I8259_ICW3_ID) != n) {
            update(p);
            return FLOATING;
        }
        n = take(c);
    }
    update(p);
    return (int)(c->icw2 | (n == NONE ? SPURIOUS : n));
}

void i8259_set_irq(struct i8259 *p, u32 line, bool level)
{
    if (line == I8259_CASCADE || line > 15) {
        return;
    }
    set_input(&p->chips[line >> 3], line & 7, level);
    update(p);
}

/* Datasheet "Initialization Command Words 1 and 2": what ICW1 does beside starting the sequence. */
static void write_icw1(struct i8259_chip *c, u8 value)
{
    *c = (struct i8259_chip){
        .pair = c->pair,
        .icw1 = value,
        .icw2 = c->icw2,
        .icw3 = I8259_ICW3_ID,
        .elcr = c->elcr,
        .inputs = c->inputs,
        .armed = (u8)~c->inputs, /* an input that is high must fall first */
        .lowest = LOWEST_AT_START,
        .phase = I8259_AWAITS_ICW2,
    };
}

static void write_ocw2(struct i8259_chip *c, u8 value)
{
    bool rotate = value & I8259_OCW2_R;
    u32 n = value & I8259_OCW2_LEVEL;

    if (value & I8259_OCW2_EOI) {
        if (!(value & I8259_OCW2_SL)) {
            n = first(c, in_service(c)); /* not specific: the one that was taken last */
        }
        if (n != NONE) {
            end_of_interrupt(c, n, rotate);
        }
    } else if (!(value & I8259_OCW2_SL)) {
        c->rotate_aeoi = rotate;
    } else if (rotate) {
        c->lowest = (u8)n;
    }
}

static void write_ocw3(struct i8259_chip *c, u8 value)
{
    c->poll = value & I8259_OCW3_P;
    if (value & I8259_OCW3_RR) {
        c->read_isr = value & I8259_OCW3_RIS;
    }
    if (value & I8259_OCW3_ESMM) {
        c->special_mask = value & I8259_OCW3_SMM;
    }
}

static void write_data(struct i8259_chip *c, u8 value)
{
    u32 after_icw3 = c->icw1 & I8259_ICW1_IC4 ? I8259_AWAITS_ICW4 : I8259_READY;

    switch (c->phase) {
    case I8259_AWAITS_ICW2:
        c->icw2 = value & I8259_ICW2_VECTOR;
        c->phase = c->icw1 & I8259_ICW1_SNGL ? after_icw3 : I8259_AWAITS_ICW3;
        break;
    case I8259_AWAITS_ICW3:
        c->icw3 = value;
        c->phase = after_icw3;
        break;
    case I8259_AWAITS_ICW4:
        c->icw4 = value;
        c->phase = I8259_READY;
        break;
    case I8259_OFF:
    case I8259_READY:
        c->imr = value; /* OCW1 */
        break;
    }
}

static void chip_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct i8259_chip *c = device;
    u8 byte = (u8)value;

    (void)bytes; /* always 1 */
    if (offset == I8259_DATA) {
        write_data(c, byte);
    } else if (byte & I8259_ICW1) {
        write_icw1(c, byte);
    } else if (byte & I8259_OCW3) {
        write_ocw3(c, byte);
    } else {
        write_ocw2(c, byte);
    }
    update(c->pair);
}

static u32 chip_read(void *device, u16 offset, u8 bytes)
{
    struct i8259_chip *c = device;

    (void)bytes;
    if (c->poll) { /* whatever the offset (datasheet "Poll Command") */
        c->poll = false;
        u32 n = take(c);
        update(c->pair);
        return n == NONE ? 0 : I8259_POLL_I | n;
    }
    if (offset == I8259_DATA) {
        return c->imr;
    }
    return c->read_isr ? c->isr : irr(c);
}

static u32 elcr_read(void *device, u16 offset, u8 bytes)
{
    const struct i8259 *p = device;

    (void)bytes;
    return p->chips[offset].elcr;
}

static void elcr_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct i8259 *p = device;

    (void)bytes;
    p->chips[offset].elcr = value & (offset ? I8259_ELCR_SLAVE : I8259_ELCR_MASTER);
    update(p);
}

void i8259_reset(struct i8259 *p)
{
    for (u32 i = 0; i < 2; i++) {
        p->chips[i] = (struct i8259_chip){
            .pair = p,
            .imr = 0xff,
            .armed = 0xff,
            .lowest = LOWEST_AT_START,
            .phase = I8259_OFF,
        };
    }
    p->intr = false;
    host_intr(p->host, false);
}

bool i8259_attach(struct i8259 *p, struct machine *host)
{
    const struct host_ports ranges[] = {
        {master(p), chip_read, chip_write, I8259_MASTER_PORT, I8259_PORTS, HOST_WIDTH_8},
        {slave(p),  chip_read, chip_write, I8259_SLAVE_PORT,  I8259_PORTS, HOST_WIDTH_8},
        {p,         elcr_read, elcr_write, I8259_ELCR_PORT,   I8259_PORTS, HOST_WIDTH_8},
    };

    p->host = host;
    i8259_reset(p);
    for (u32 i = 0; i < ARRAY_SIZE(ranges); i++) {
        if (!host_add_ports(host, &ranges[i])) {
            return false;
        }
    }
    return true;
}
