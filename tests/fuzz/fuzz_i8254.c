/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/i8254.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/*
 * The interval timer against a second one, below, that is stepped clock by clock as the datasheet
 * tells it. Input: operations of 3 bytes. Each read has to give the same byte, and the line one
 * rising edge for each of OUT 0, or for all that were missed.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/i8254.h"
#include "vmm/device/ticks.h"

#define MAX_TICKS 3000 /* but for one long wait */

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

/* One counter as the datasheet's block diagram has it. */
struct chip {
    u8 control, low;
    bool gate, out, null_count;
    bool armed;     /* CR was written */
    bool pending;   /* CR goes to CE with the next clock */
    bool trigger;   /* GATE rose */
    bool loaded;    /* CE is known */
    bool stopped;   /* by the first byte of a count, mode 0 */
    bool strobe;    /* CE has not been zero yet, modes 4 and 5 */
    bool undefined; /* a count that the datasheet forbids: nothing is said of CE and OUT */
    bool second_write, second_read;
    u32 cr, ce;  /* numbers, 1..modulus; ce 0 is 0 */
    bool odd;    /* mode 3 */
    u8 queue[3]; /* latched bytes, to be read next */
    u32 queued;
    bool status, count; /* what of it is latched */
    bool count_known;
    u64 rises;
};

static u32 mode(const struct chip *c)
{
    u32 m = c->control >> 1 & 7;

    return m >= 6 ? m & 3 : m;
}

static u32 top(const struct chip *c)
{
    return c->control & 1 ? 10000 : 65536;
}

static void set_out(struct chip *c, bool out)
{
    c->rises += out && !c->out;
    c->out = out;
}

static void transfer(struct chip *c)
{
    c->pending = c->trigger = false;
    c->null_count = false;
    c->loaded = true;
    c->stopped = false;
    c->strobe = true;
    c->ce = mode(c) == 3 ? c->cr & ~1u : c->cr;
    c->odd = c->cr & 1;
}

static void decrement(struct chip *c)
{
    c->ce = (c->ce + top(c) - 1) % top(c);
}

static void clock_periodic(struct chip *c)
{
    if (c->pending || c->trigger) {
        transfer(c);
        set_out(c, true);
    } else if (!c->loaded || !c->gate) {
        return;
    } else if (mode(c) == 2) {
        if (c->ce == 1) {
            transfer(c);
            set_out(c, true);
        } else {
            decrement(c);
            set_out(c, c->ce != 1);
        }
    } else if (c->ce == (c->out && c->odd ? 0u : 2u)) {
        transfer(c);
        set_out(c, !c->out);
    } else {
        c->ce -= 2;
    }
}

static void clock_chip(struct chip *c)
{
    u32 m = mode(c);

    if (c->undefined) {
        return;
    }
    if (m == 2 || m == 3) {
        clock_periodic(c);
        return;
    }
    bool triggered = m == 1 || m == 5;
    if (triggered ? c->trigger : c->pending) {
        transfer(c);
        set_out(c, m == 4 || m == 5);
    } else if (c->loaded && !c->stopped && (triggered || c->gate)) {
        decrement(c);
        if (m < 2 && c->ce == 0) {
            set_out(c, true);
        } else if (m > 3) {
            set_out(c, c->ce != 0 || !c->strobe);
            c->strobe &= c->ce != 0;
        }
    } else if (m == 4) {
        set_out(c, true);
    }
}

static void chip_mode(struct chip *c, u8 control)
{
    bool line = mode(c) != 0 || c->out;
    bool out;

    c->control = control & 0x3f;
    out = mode(c) != 0;
    c->rises += out && !line; /* OUT of a periodic mode may rise unseen: the line never fell */
    c->out = out;
    c->null_count = true;
    c->armed = c->pending = c->trigger = c->loaded = c->stopped = c->undefined = false;
    c->second_write = c->second_read = c->status = c->count = false;
    c->queued = 0;
}

static void chip_count(struct chip *c, u32 value)
{
    u32 m = mode(c), digits = value;
    bool first = !c->armed;

    if (c->control & 1) {
        value = 0;
        for (u32 i = 0; i < 4; i++) {
            c->undefined |= (digits >> (12 - 4 * i) & 15) > 9;
            value = value * 10 + (digits >> (12 - 4 * i) & 15);
        }
    }
    c->undefined |= value == 1 && (m == 2 || m == 3);
    c->cr = value ? value : top(c);
    c->armed = c->null_count = true;
    c->pending |= m == 0 || m == 4 || ((m == 2 || m == 3) && first);
    if (m == 0) {
        c->out = false;
    }
}

static void chip_write(struct chip *c, u8 byte)
{
    u32 rw = c->control >> 4;

    if (rw != 3) {
        chip_count(c, rw == 1 ? byte : (u32)byte << 8);
    } else if (c->second_write) {
        c->second_write = false;
        chip_count(c, c->low | (u32)byte << 8);
    } else {
        c->second_write = true;
        c->low = byte;
        if (mode(c) == 0) {
            c->stopped = true;
            c->out = c->pending = false;
        }
    }
}

static u16 chip_value(const struct chip *c)
{
    u32 v = c->ce % top(c);

    return (u16)(c->control & 1 ? v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12
                                : v);
}

static void chip_latch_count(struct chip *c)
{
    u32 rw = c->control >> 4;
    u16 value = chip_value(c);

    if (c->count) {
        return;
    }
    c->count = true;
    c->count_known = c->loaded && !c->undefined;
    c->second_read = false;
    if (rw & 1) {
        c->queue[c->queued++] = (u8)value;
    }
    if (rw & 2) {
        c->queue[c->queued++] = (u8)(value >> 8);
    }
}

static void chip_latch_status(struct chip *c)
{
    if (!c->status) {
        c->status = true;
        memmove(c->queue + 1, c->queue, 2);
        c->queue[0] = (u8)(c->control | (c->out ? 0x80 : 0) | (c->null_count ? 0x40 : 0));
        c->queued++;
    }
}

static void chip_gate(struct chip *c, bool gate)
{
    u32 m = mode(c);

    if (gate && !c->gate && m != 0 && m != 4) {
        c->trigger = c->armed;
    }
    c->gate = gate;
    if (!gate && (m == 2 || m == 3 || m == 4)) {
        c->out = true;
    }
}

/* Compares a byte that was read from the model. */
static void chip_read(struct chip *c, u8 byte)
{
    u32 rw = c->control >> 4;
    bool known = c->loaded && !c->undefined;
    u8 want;

    if (c->queued) {
        want = c->queue[0];
        if (c->status) {
            c->status = false;
            check(byte == want || (c->undefined && !((byte ^ want) & 0x3f)));
            known = false;
        } else {
            known = c->count_known;
            c->second_read = rw == 3 && !c->second_read;
        }
        memmove(c->queue, c->queue + 1, 2);
        c->queued--;
        c->count &= c->queued != 0;
    } else {
        u16 value = chip_value(c);
        want = (u8)(rw == 2 || c->second_read ? value >> 8 : value);
        c->second_read = rw == 3 && !c->second_read;
    }
    check(!known || byte == want);
}

struct rig {
    struct machine m;
    struct i8254 p;
    struct chip chip[3];
    u64 tick;
};

static void advance(struct rig *r, u32 ticks, u32 within, bool late)
{
    u64 target = r->tick + ticks;
    u64 start = ticks_to_ns(target, PIT_HZ), end = ticks_to_ns(target + 1, PIT_HZ);
    u64 ns = MAX(start + (end - start) * within / 16, r->m.time_ns);
    u64 rises = r->chip[0].rises;
    u32 changes = r->m.irq_changes;

    for (u32 i = 0; i < ticks; i++) {
        for (u32 n = 0; n < 3; n++) {
            clock_chip(&r->chip[n]);
        }
    }
    r->tick = target;
    if (late) {
        r->m.time_ns = ns;
        fake_host_advance(&r->m, 0);
    } else {
        fake_host_advance(&r->m, ns - r->m.time_ns);
    }
    rises = r->chip[0].rises - rises;
    changes = r->m.irq_changes - changes;
    check(r->chip[0].undefined || (changes + 1) / 2 == (late ? rises != 0 : rises));
}

static void write_port(struct rig *r, u32 port, u8 byte)
{
    u32 before = r->m.irq_changes;
    bool level = r->m.irq_levels & 1, undefined = r->chip[0].undefined;
    u64 rises = r->chip[0].rises;

    bus_out(&r->m.bus, (u16)port, 1, byte);
    if (port == PORT61) {
        chip_gate(&r->chip[2], byte & 1);
    } else if (port != 0x43) {
        chip_write(&r->chip[port - 0x40], byte);
    } else if (byte >> 6 == 3) {
        for (u32 i = 0; i < 3; i++) {
            if ((byte & 2 << i) && !(byte & 0x20)) {
                chip_latch_count(&r->chip[i]);
            }
            if ((byte & 2 << i) && !(byte & 0x10)) {
                chip_latch_status(&r->chip[i]);
            }
        }
    } else if (byte & 0x30) {
        chip_mode(&r->chip[byte >> 6], byte);
    } else {
        chip_latch_count(&r->chip[byte >> 6]);
    }
    u32 changes = r->m.irq_changes - before;
    bool now = r->m.irq_levels & 1;
    check(changes <= 1 && (undefined || (now && !level) == (r->chip[0].rises != rises)));
}

static void read_port(struct rig *r, u32 port)
{
    u8 byte = (u8)bus_in(&r->m.bus, (u16)port, 1);
    const struct chip *c = &r->chip[2];

    if (port == PORT61) {
        check(!(byte & 0xc0) && (byte & 1) == c->gate);
        check(((byte & PORT61_REFRESH) != 0) == (r->tick / 18 % 2));
        check(c->undefined || ((byte & PORT61_OUT2) != 0) == c->out);
    } else if (port == 0x43) {
        check(byte == 0xff);
    } else {
        chip_read(&r->chip[port - 0x40], byte);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const u32 ports[8] = {0x40, 0x41, 0x42, 0x43, 0x43, PORT61, 0x40, 0x42};
    struct rig *r = calloc(1, sizeof(*r));
    u64 limit = MAX_TICKS;

    fake_host_reset(&r->m);
    check(i8254_attach(&r->p, &r->m));
    for (u32 i = 0; i < 3; i++) {
        r->chip[i].out = true;
        r->chip[i].gate = i != 2;
        r->chip[i].control = 0x36; /* as attached */
        chip_mode(&r->chip[i], 0x36);
    }
    for (; size >= 3 && r->tick < limit; data += 3, size -= 3) {
        u32 port = ports[data[0] & 7], argument = data[1] | (u32)data[2] << 8;

        switch (data[0] >> 3 & 3) {
        case 0:
            read_port(r, port);
            break;
        case 1:
            write_port(r, port, data[1]);
            break;
        case 2: /* a few clocks, or more, on time */
            advance(r, data[0] & 0x20 ? data[1] : data[1] & 15, data[2] & 15, false);
            break;
        default: /* or late; seldom far */
            argument %= data[0] == 0xff && limit == MAX_TICKS ? 12000 : 64;
            limit += argument >= 64 ? argument : 0;
            advance(r, argument, data[2] & 15, data[0] & 0x20);
        }
        read_port(r, PORT61); /* changes nothing */
        const struct chip *c = &r->chip[0];
        bool line = r->m.irq_levels & 1;
        check(c->undefined || line == (mode(c) != 0 || c->out));
        check(!r->m.timers || r->m.timers->at_ns > r->m.time_ns);
    }
    free(r);
    return 0;
}
