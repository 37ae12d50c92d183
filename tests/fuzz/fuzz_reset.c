/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/reset.c vmm/device/pci.c vmm/machine/bus.c vmm/machine/ram.c */
/* SOURCES: tests/unit/fake_host.c */
/*
 * The reset ports: the guest ends exactly when a reset was asked for, nothing that is sent to a
 * keyboard or mouse stays without an answer, and neither ever seems to be there. Input: operations
 * of 2 bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/reset.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

struct account {
    u8 command, port92, cf9, ctr;
    bool a20;
};

/* true: a reset */
static bool write_0x64(struct account *a, struct machine *m, u8 byte)
{
    u8 before = (u8)bus_in(&m->bus, 0x64, 1);

    bus_out(&m->bus, 0x64, 1, byte);
    u8 status = (u8)bus_in(&m->bus, 0x64, 1);
    a->command = byte;
    check(status & I8042_STS_A2);
    a->ctr |= byte == 0xaa ? I8042_CTR_SYS : 0;
    a->ctr = byte == 0xad ? a->ctr | I8042_CTR_KBD_DIS : a->ctr;
    a->ctr = byte == 0xae ? a->ctr & (u8)~I8042_CTR_KBD_DIS : a->ctr;
    if (byte == 0x20 || byte == 0xaa || byte == 0xa9 || byte == 0xab || byte == 0xd0) {
        check(status & I8042_STS_OBF);
    } else {
        check((status & I8042_STS_OBF) == (before & I8042_STS_OBF));
    }
    return byte >= 0xf0 && !(byte & 1);
}

static bool write_0x60(struct account *a, struct machine *m, u8 byte)
{
    u8 command = a->command;

    a->command = 0;
    bus_out(&m->bus, 0x60, 1, byte);
    u8 status = (u8)bus_in(&m->bus, 0x64, 1);
    check(!(status & I8042_STS_A2));
    if (command == 0xd1) {
        a->a20 = byte & 2;
        return !(byte & 1);
    }
    if (command == 0x60) {
        a->ctr = byte | I8042_CTR_AUX_DIS;
        return false;
    }
    check((status & I8042_STS_OBF) && (status & I8042_STS_TIMEOUT));
    return false;
}

/* PCI's configuration: an address that is kept, and one function. */
static void look_at_pci(struct machine *m, u32 address, u16 offset)
{
    u32 before = bus_in(&m->bus, 0xcf8, 4);

    bus_out(&m->bus, 0xcf8, 4, address);
    bus_out(&m->bus, 0xcfc + offset, 1, 0x5a);
    u32 id = bus_in(&m->bus, 0xcfc, 4), byte = bus_in(&m->bus, 0xcfc + offset, 1);
    check(bus_in(&m->bus, 0xcf8, 4) == (address & 0x80fffffc));
    check(byte == (id >> 8 * offset & 0xff));
    check((address >> 8 & 0x80ffff) == 0x800000 ? id != ~0u : id == ~0u);
    bus_out(&m->bus, 0xcf8, 4, before);
}

static void read_port(const struct account *a, struct machine *m, u16 port)
{
    u8 status = (u8)bus_in(&m->bus, 0x64, 1), byte = (u8)bus_in(&m->bus, port, 1);

    switch (port) {
    case 0x60:
        check(!((u8)bus_in(&m->bus, 0x64, 1) & I8042_STS_OBF));
        check(!(status & I8042_STS_TIMEOUT) || byte == 0xfe);
        check(!(m->irq_levels & 2));
        break;
    case 0x64:
        check(byte == status);
        break;
    case 0x92:
        check((byte & 2) == (a->a20 ? 2 : 0) && (byte & 1) == (a->port92 & 1));
        break;
    default:
        check(byte == (a->cf9 & 0x0e));
    }
}

static bool write_port(struct account *a, struct machine *m, u16 port, u8 byte)
{
    u8 old;

    switch (port) {
    case 0x60:
        return write_0x60(a, m, byte);
    case 0x64:
        return write_0x64(a, m, byte);
    case 0x92:
        old = a->port92;
        a->port92 = byte;
        a->a20 = byte & 2;
        bus_out(&m->bus, port, 1, byte);
        return !(old & 1) && (byte & 1);
    default:
        old = a->cf9;
        a->cf9 = byte;
        bus_out(&m->bus, port, 1, byte);
        return !(old & 4) && (byte & 4);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const u16 ports[4] = {0x60, 0x64, 0x92, 0xcf9};
    struct machine *m = malloc(sizeof(*m));
    struct reset *r = malloc(sizeof(*r));
    struct account a = {.a20 = true, .ctr = 0x74};

    fake_host_reset(m);
    check(reset_attach(r, m));
    for (; size >= 2; data += 2, size -= 2) {
        u16 port = ports[data[0] & 3];
        bool reset = false;

        m->ended = false;
        if (data[0] & 8) {
            look_at_pci(m, data[1] * 0x01010101u & ~(data[0] & 0x40 ? 0x7fffff00u : 0),
                        data[0] >> 4 & 3);
        } else if (data[0] & 4) {
            reset = write_port(&a, m, port, data[1]);
        } else {
            read_port(&a, m, port);
        }
        check(m->ended == reset && (!reset || m->ending == HOST_END_RESET));
        u8 status = (u8)bus_in(&m->bus, 0x64, 1);
        check(!(status & (I8042_STS_IBF | I8042_STS_AUX)) && (status & I8042_STS_UNLOCK));
        check(r->ctr == a.ctr);
        check(m->irq_levels == ((status & 1) && (a.ctr & 1) ? 1u << I8042_IRQ : 0));
    }
    free(r);
    free(m);
    return 0;
}
