/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/i8259.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/*
 * The interrupt controllers under arbitrary accesses, lines and acknowledges. Input: operations of
 * 2 bytes. INTR and what an acknowledge gives are foretold from the registers by the datasheet's
 * rules of priority; ISR changes only as the operation allows; and whatever happened, lines that
 * are low ask for nothing and a normal initialization makes every line work again.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/i8259.h"

#define NOBODY 8

static const u16 ports[8] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x20, 0xa0};

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

static u8 requests(const struct i8259_chip *c)
{
    u8 level = c->icw1 & I8259_ICW1_LTIM ? 0xff : c->elcr;

    return (u8)(c->inputs & (level | c->armed) & ~c->imr);
}

/* 0 is the highest priority. */
static u32 rank(const struct i8259_chip *c, u32 n)
{
    return (n + 7 - c->lowest) & 7;
}

/* No input in service keeps this one waiting. */
static bool passes(const struct i8259_chip *c, u32 n, bool master)
{
    bool slave_input = master && !(c->icw1 & I8259_ICW1_SNGL) && (c->icw3 >> n & 1);

    for (u32 s = 0; s < 8; s++) {
        bool counts = (c->isr >> s & 1) && !(c->special_mask && (c->imr >> s & 1));
        if (counts && s == n && !(slave_input && (c->icw4 & I8259_ICW4_SFNM))) {
            return false;
        }
        if (counts && rank(c, s) < rank(c, n)) {
            return false;
        }
    }
    return true;
}

static u32 expected(const struct i8259_chip *c, bool master)
{
    u32 best = NOBODY;

    for (u32 n = 0; n < 8 && c->phase == I8259_READY; n++) {
        if ((requests(c) >> n & 1) && passes(c, n, master) &&
            (best == NOBODY || rank(c, n) < rank(c, best))) {
            best = n;
        }
    }
    return best;
}

static void check_state(const struct machine *m, const struct i8259 *p)
{
    for (u32 i = 0; i < 2; i++) {
        const struct i8259_chip *c = &p->chips[i];
        check(c->pair == p && c->lowest < 8 && c->phase <= I8259_READY);
        check(!(c->icw2 & 7) && !(c->elcr & ~(i ? I8259_ELCR_SLAVE : I8259_ELCR_MASTER)));
        check((c->armed | c->inputs) == 0xff); /* what is low is armed */
    }
    check((p->chips[0].inputs >> 2 & 1) == (expected(&p->chips[1], false) != NOBODY));
    check(m->intr == (expected(&p->chips[0], true) != NOBODY));
    check(m->intr == p->intr);
}

/* ISR of one chip after it took an input, or had none to take. */
static void check_taken(const struct i8259_chip *old, const struct i8259_chip *new, u32 n)
{
    u8 bit = n == NOBODY ? 0 : (u8)(1u << n);

    check(new->isr == (old->icw4 & I8259_ICW4_AEOI ? old->isr & (u8)~bit : old->isr | bit));
    check(new->lowest ==
          (bit && (old->icw4 & I8259_ICW4_AEOI) && old->rotate_aeoi ? n : old->lowest));
}

static void acknowledge(struct i8259 *p)
{
    struct i8259 old = *p;
    const struct i8259_chip *master = &old.chips[0], *slave = &old.chips[1];
    u32 n = expected(master, true), inner = NOBODY;
    u32 vector = master->icw2 + (n == NOBODY ? 7 : n);

    if (n != NOBODY && !(master->icw1 & I8259_ICW1_SNGL) && (master->icw3 >> n & 1)) {
        vector = 0xff;
        if (slave->phase == I8259_READY && (slave->icw3 & 7) == n) {
            inner = expected(slave, false);
            vector = slave->icw2 + (inner == NOBODY ? 7 : inner);
        }
    }
    check(i8259_acknowledge(p) == (int)vector);
    check_taken(master, &p->chips[0], n);
    check_taken(slave, &p->chips[1], inner);
}

static void read_port(struct machine *m, struct i8259 *p, u32 at)
{
    bool command = !(ports[at] & 1);

    if (ports[at] >= I8259_ELCR_PORT) {
        check(bus_in(&m->bus, ports[at], 1) == p->chips[ports[at] & 1].elcr);
        return;
    }

    struct i8259_chip *c = &p->chips[ports[at] >> 7], old = *c;
    u32 value = bus_in(&m->bus, ports[at], 1);
    if (old.poll) {
        u32 n = expected(&old, c == &p->chips[0]);
        check(value == (n == NOBODY ? 0 : I8259_POLL_I | n));
        check_taken(&old, c, n);
        check(!c->poll);
        return;
    }
    check(!memcmp(c, &old, sizeof(old)));
    check(command || value == old.imr);
    check(!command || !old.read_isr || value == old.isr);
    check(!command || old.read_isr || !(value & ~old.inputs));
}

static void write_port(struct machine *m, struct i8259 *p, u32 at, u8 value)
{
    struct i8259 old = *p;

    bus_out(&m->bus, ports[at], 1, value);
    for (u32 i = 0; i < 2; i++) {
        const struct i8259_chip *c = &p->chips[i];
        u8 before = old.chips[i].isr, lost = before & (u8)~c->isr;
        bool own = ports[at] == (i ? I8259_SLAVE_PORT : I8259_MASTER_PORT);
        check(!(c->isr & ~before)); /* nothing is taken by a write */
        check(!lost || own);
        check(!lost || (value & I8259_ICW1) ||
              (!(value & I8259_OCW3) && (value & I8259_OCW2_EOI) && !(lost & (lost - 1))));
        check(!own || !(value & I8259_ICW1) || (!c->isr && !c->imr));
    }
}

static void check_revival(struct machine *m, struct i8259 *p)
{
    static const u8 order[15] = {0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7};
    static const struct {
        u16 port;
        u8 value;
    } writes[] = {
        {0x21,  0xff},
        {0xa1,  0xff},
        {0x20,  0x11},
        {0x21,  0x30},
        {0x21,  0x04},
        {0x21,  0x01},
        {0xa0,  0x11},
        {0xa1,  0x38},
        {0xa1,  0x02},
        {0xa1,  0x01},
        {0x4d0, 0   },
        {0x4d1, 0   },
        {0x21,  0   },
        {0xa1,  0   },
    };

    for (u32 line = 0; line < 16; line++) {
        i8259_set_irq(p, line, false);
    }
    check(!m->intr);
    for (u32 i = 0; i < ARRAY_SIZE(writes); i++) {
        bus_out(&m->bus, writes[i].port, 1, writes[i].value);
    }
    check(!m->intr);
    for (u32 line = 0; line < 16; line++) {
        i8259_set_irq(p, line, true);
    }
    for (u32 i = 0; i < ARRAY_SIZE(order); i++) {
        check(m->intr && i8259_acknowledge(p) == 0x30 + order[i]);
        bus_out(&m->bus, 0xa0, 1, I8259_OCW2_EOI);
        bus_out(&m->bus, 0x20, 1, I8259_OCW2_EOI);
    }
    check(!m->intr);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct machine *m = malloc(sizeof(*m));
    struct i8259 *p = malloc(sizeof(*p));

    fake_host_reset(m);
    check(i8259_attach(p, m));
    for (; size >= 2; data += 2, size -= 2) {
        u32 at = data[0] & 7;

        switch (data[0] >> 4 & 7) {
        case 0:
        case 1:
            write_port(m, p, at, data[1]);
            break;
        case 2:
            read_port(m, p, at);
            break;
        case 3:
            acknowledge(p);
            break;
        case 4: /* a CPU takes what INTR announces */
            if (m->intr) {
                acknowledge(p);
            }
            break;
        case 5: /* an edge, whatever the level was */
            i8259_set_irq(p, data[1] & 31, false);
            i8259_set_irq(p, data[1] & 31, true);
            break;
        case 6:
            i8259_set_irq(p, data[1] & 31, data[0] & 1);
            break;
        default: /* wrong widths do nothing */
            check(bus_in(&m->bus, ports[at], 2) == 0xffff);
            bus_out(&m->bus, ports[at], 2, data[1]);
            break;
        }
        check_state(m, p);
    }
    check_revival(m, p);
    i8259_reset(p);
    check(!m->intr);
    free(p);
    free(m);
    return 0;
}
