/* SPDX-License-Identifier: MIT */
/*
 * The machine's address decoding: which device answers at a port or at a guest-physical address
 * outside RAM. Illegal widths, accesses over the end of a range and addresses that are nobody's are
 * settled here (reads give all-ones, writes are ignored), so that no model repeats it.
 */
#ifndef VMM_MACHINE_BUS_H
#define VMM_MACHINE_BUS_H

#include "lib/types.h"
#include "vmm/machine/host.h"

#define BUS_MAX_PORTS     24 /* ranges */
#define BUS_MAX_PAGES     12 /* blocks of 256 ports that hold some range */
#define BUS_MAX_REGISTERS 16

/* Ports are found by two table look-ups: page[port >> 8] is the number of a block, which says for
 * the port which range it belongs to, and in which widths it can be accessed. Block 0 and range 0
 * are nobody's. */
struct bus_port {
    u8 range;
    u8 widths; /* HOST_WIDTH_*: those that the range takes, and that end in it */
};

struct bus {
    u8 page[256];
    struct bus_port block[1 + BUS_MAX_PAGES][256];
    struct host_ports ports[1 + BUS_MAX_PORTS];
    struct host_registers registers[BUS_MAX_REGISTERS];
    u32 block_count, port_count, register_count;
};

void bus_reset(struct bus *b);
bool bus_add_ports(struct bus *b, const struct host_ports *range) MUST_CHECK;
bool bus_add_registers(struct bus *b, const struct host_registers *range) MUST_CHECK;

static inline u64 bus_ones(u8 bytes)
{
    return bytes >= 8 ? ~0ull : BIT(bytes * 8) - 1;
}

/* The range that takes this access, or NULL. port is guest-controlled, bytes is 1, 2 or 4. */
static inline const struct host_ports *bus_find_port(const struct bus *b, u16 port, u8 bytes)
{
    const struct bus_port *at = &b->block[b->page[port >> 8]][port & 0xff];

    return at->widths & bytes ? &b->ports[at->range] : NULL;
}

/* bytes is 1, 2 or 4. */
static inline u32 bus_port_ones(u8 bytes)
{
    return 0xffffffffu >> (32 - 8 * bytes);
}

static inline u32 bus_in(const struct bus *b, u16 port, u8 bytes)
{
    const struct host_ports *p = bus_find_port(b, port, bytes);
    u32 ones = bus_port_ones(bytes);

    return p ? p->read(p->device, (u16)(port - p->base), bytes) & ones : ones;
}

static inline void bus_out(const struct bus *b, u16 port, u8 bytes, u32 value)
{
    const struct host_ports *p = bus_find_port(b, port, bytes);

    if (p) {
        p->write(p->device, (u16)(port - p->base), bytes, value & bus_port_ones(bytes));
    }
}

/* The registers that take this access, or NULL; bytes is 1, 2, 4 or 8. */
const struct host_registers *bus_find_registers(const struct bus *b, gpa_t gpa, u8 bytes);

/* An access outside RAM; bytes is 1, 2, 4 or 8. */
u64 bus_read(const struct bus *b, gpa_t gpa, u8 bytes);
void bus_write(const struct bus *b, gpa_t gpa, u8 bytes, u64 value);

#endif
