/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/ioapic.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/*
 * The I/O APIC under arbitrary accesses, pins and EOIs, with CPUs that take messages or refuse
 * them. Input: operations of 2 bytes. A second model here, pin by pin and without pending state,
 * foretells every entry and every message.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/ioapic.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct pin {
    u8 vector, mode, dest, dest_high;
    bool logical, low_active, level, masked; /* as written */
    bool asserted, in_service;
};

struct model {
    struct pin pins[IOAPIC_PINS];
    u32 messages; /* so far */
    u8 index, id;
};

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

static bool level_sensitive(const struct pin *p)
{
    return p->level && p->mode < 2;
}

static bool waits(const struct pin *p)
{
    return p->asserted && level_sensitive(p) && !p->masked && !p->in_service;
}

static u64 entry_of(const struct pin *p)
{
    return p->vector | (u64)p->mode << 8 | (u64)p->logical << 11 | (u64)waits(p) << 12 |
           (u64)p->low_active << 13 | (u64)p->in_service << 14 | (u64)p->level << 15 |
           (u64)p->masked << 16 | (u64)p->dest_high << 49 | (u64)p->dest << 56;
}

static void expect_message(struct model *o, const struct machine *m, const struct pin *p)
{
    u32 i = o->messages++ % 64;
    u64 address = 0xfee00000u | (u32)p->dest << 12 | (u32)p->dest_high << 5 |
                  (p->mode == 1 ? 8u : 0) | (p->logical ? 4u : 0);

    check(m->messages[i].address == address);
    check(m->messages[i].data ==
          (p->vector | (u32)p->mode << 8 | 0x4000u | (level_sensitive(p) ? 0x8000u : 0)));
}

/* Everything that waits was sent once, in the order of the pins. */
static void expect_service(struct model *o, const struct machine *m)
{
    for (u32 i = 0; i < IOAPIC_PINS; i++) {
        if (waits(&o->pins[i])) {
            expect_message(o, m, &o->pins[i]);
            o->pins[i].in_service = !m->refuse_messages;
        }
    }
}

static u32 expected_register(const struct model *o)
{
    if (o->index >= 0x10 && o->index < 0x40) {
        u64 entry = entry_of(&o->pins[(o->index - 0x10) / 2]);
        return (u32)(o->index & 1 ? entry >> 32 : entry);
    }
    return o->index == 1 ? 0x170020 : o->index == 0 || o->index == 2 ? (u32)o->id << 24 : 0;
}

static void model_write(struct model *o, const struct machine *m, u32 value)
{
    if (o->index == 0) {
        o->id = value >> 24 & 15;
    }
    if (o->index < 0x10 || o->index >= 0x40) {
        return;
    }
    struct pin *p = &o->pins[(o->index - 0x10) / 2];
    if (o->index & 1) {
        p->dest = (u8)(value >> 24);
        p->dest_high = value >> 17 & 0x7f;
    } else {
        p->vector = (u8)value;
        p->mode = value >> 8 & 7;
        p->logical = value & 0x800;
        p->low_active = value & 0x2000;
        p->level = value & 0x8000;
        p->masked = value & 0x10000;
    }
    p->in_service = p->in_service && level_sensitive(p);
    expect_service(o, m);
}

static void model_pin(struct model *o, const struct machine *m, u32 pin, bool level)
{
    if (pin >= IOAPIC_PINS || o->pins[pin].asserted == level) {
        return;
    }
    o->pins[pin].asserted = level;
    if (level && !level_sensitive(&o->pins[pin]) && !o->pins[pin].masked) {
        expect_message(o, m, &o->pins[pin]);
    }
    expect_service(o, m);
}

static void model_eoi(struct model *o, const struct machine *m, u8 vector)
{
    for (u32 i = 0; i < IOAPIC_PINS; i++) {
        if (o->pins[i].vector == vector) {
            o->pins[i].in_service = false;
        }
    }
    expect_service(o, m);
}

/* Reads everything through the registers, and leaves the index as it was. */
static void check_registers(struct machine *m, struct model *o)
{
    u8 index = o->index;

    check(bus_read(&m->bus, GPA(IOAPIC_BASE), 4) == index);
    for (u32 i = 0; i < 0x44; i++) {
        o->index = (u8)i;
        bus_write(&m->bus, GPA(IOAPIC_BASE), i & 1 ? 1 : 4, i);
        check(bus_read(&m->bus, GPA(IOAPIC_BASE + 0x10), 4) == expected_register(o));
    }
    o->index = index;
    bus_write(&m->bus, GPA(IOAPIC_BASE), 4, index);
    check(m->message_count == o->messages); /* reading sends nothing */
}

static void odd_access(struct machine *m, u8 where, u8 value)
{
    static const u8 widths[4] = {1, 2, 4, 8};
    u64 offset = where & 0x3f;
    u8 bytes = widths[where >> 6];
    bool legal = bytes == 1 || bytes == 4;

    if (!offset || offset == 0x10) {
        offset++;
    }
    check(bus_read(&m->bus, GPA(IOAPIC_BASE + offset), bytes) == (legal ? 0 : bus_ones(bytes)));
    bus_write(&m->bus, GPA(IOAPIC_BASE + offset), bytes, value);
    bus_write(&m->bus, GPA(IOAPIC_BASE + 0x10), 1, value);
}

/* A useful 32-bit value out of few bits: trigger, mask, polarity, mode and a vector of two. */
static u32 low_half(u8 b)
{
    return 0x30u + (b & 1) + (b & 2 ? 0x8000u : 0) + (b & 4 ? 0x10000u : 0) +
           (b & 8 ? 0x7800u : 0) + (u32)(b >> 4) * 0x100u;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct machine *m = malloc(sizeof(*m));
    struct ioapic *io = malloc(sizeof(*io));
    struct model *o = calloc(1, sizeof(*o));

    fake_host_reset(m);
    check(ioapic_attach(io, m));
    for (u32 i = 0; i < IOAPIC_PINS; i++) {
        o->pins[i].masked = true;
    }
    for (; size >= 2; data += 2, size -= 2) {
        u32 value = data[1] * 0x01010101u;

        switch (data[0] >> 5) {
        case 0:
            o->index = data[1];
            bus_write(&m->bus, GPA(IOAPIC_BASE), data[0] & 1 ? 1 : 4, data[1]);
            break;
        case 1:
            bus_write(&m->bus, GPA(IOAPIC_BASE + 0x10), 4, value);
            model_write(o, m, value);
            break;
        case 2: /* an entry as systems write it */
            o->index = (u8)(0x10 + 2 * (data[0] & 0x1f));
            bus_write(&m->bus, GPA(IOAPIC_BASE), 1, o->index);
            bus_write(&m->bus, GPA(IOAPIC_BASE + 0x10), 4, low_half(data[1]));
            model_write(o, m, low_half(data[1]));
            break;
        case 3:
            ioapic_set_irq(io, data[0] & 0x1f, data[1] & 1);
            model_pin(o, m, data[0] & 0x1f, data[1] & 1);
            break;
        case 4:
            ioapic_eoi(io, data[1]);
            model_eoi(o, m, data[1]);
            break;
        case 5:
            bus_write(&m->bus, GPA(IOAPIC_BASE + 0x40), data[0] & 1 ? 1 : 4, data[1]);
            model_eoi(o, m, data[1]);
            break;
        case 6:
            m->refuse_messages = data[1] & 1;
            break;
        default:
            odd_access(m, data[1], data[0]);
            break;
        }
        check(m->message_count == o->messages);
        if (size < 4 || size % 16 < 2) { /* reading all of them takes long */
            check_registers(m, o);
        }
    }
    free(o);
    free(io);
    free(m);
    return 0;
}
