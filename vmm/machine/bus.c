/* SPDX-License-Identifier: MIT */
/* The machine's address decoding. */
#include "vmm/machine/bus.h"

#include "lib/string.h"

void bus_reset(struct bus *b)
{
    memset(b, 0, sizeof(*b));
}

/* The widths that begin so many ports before the end of a range. */
static u8 widths_before_end(const struct host_ports *range, u32 left)
{
    u8 fit = HOST_WIDTH_8 | (left >= 2 ? HOST_WIDTH_16 : 0) | (left >= 4 ? HOST_WIDTH_32 : 0);

    return range->widths & fit;
}

bool bus_add_ports(struct bus *b, const struct host_ports *range)
{
    u32 end = (u32)range->base + range->count;

    if (!range->count || end > 0x10000 || b->port_count == BUS_MAX_PORTS) {
        return false;
    }
    u32 blocks = b->block_count;
    for (u32 port = range->base; port < end; port++) {
        if (b->block[b->page[port >> 8]][port & 0xff].range) {
            return false;
        }
        if (!b->page[port >> 8] && (port == range->base || !(port & 0xff))) {
            blocks++;
        }
    }
    if (blocks > BUS_MAX_PAGES) {
        return false;
    }

    u32 index = ++b->port_count;
    b->ports[index] = *range;
    for (u32 port = range->base; port < end; port++) {
        if (!b->page[port >> 8]) {
            b->page[port >> 8] = (u8)++b->block_count;
        }
        b->block[b->page[port >> 8]][port & 0xff] =
            (struct bus_port){(u8)index, widths_before_end(range, end - port)};
    }
    return true;
}

bool bus_add_registers(struct bus *b, const struct host_registers *range)
{
    u64 last = range->base.v + range->bytes - 1;

    if (!range->bytes || last < range->base.v || b->register_count == BUS_MAX_REGISTERS) {
        return false;
    }
    for (u32 i = 0; i < b->register_count; i++) {
        const struct host_registers *r = &b->registers[i];
        if (range->base.v <= r->base.v + r->bytes - 1 && r->base.v <= last) {
            return false;
        }
    }
    b->registers[b->register_count++] = *range;
    return true;
}

const struct host_registers *bus_find_registers(const struct bus *b, gpa_t gpa, u8 bytes)
{
    for (u32 i = 0; i < b->register_count; i++) {
        const struct host_registers *r = &b->registers[i];
        u64 offset = gpa.v - r->base.v;

        if (offset < r->bytes) {
            return (r->widths & bytes) && bytes <= r->bytes - offset ? r : NULL;
        }
    }
    return NULL;
}

u64 bus_read(const struct bus *b, gpa_t gpa, u8 bytes)
{
    const struct host_registers *r = bus_find_registers(b, gpa, bytes);

    return r ? r->read(r->device, gpa.v - r->base.v, bytes) & bus_ones(bytes) : bus_ones(bytes);
}

void bus_write(const struct bus *b, gpa_t gpa, u8 bytes, u64 value)
{
    const struct host_registers *r = bus_find_registers(b, gpa, bytes);

    if (r) {
        r->write(r->device, gpa.v - r->base.v, bytes, value & bus_ones(bytes));
    }
}
