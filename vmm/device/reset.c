/* SPDX-License-Identifier: MIT */
/*
 * Resets, and a keyboard controller with nothing behind it. A system that looks for a keyboard or a
 * mouse gets an answer to everything that it sends: both interfaces fail their test, the mouse's
 * cannot be switched on, and a byte for a device comes back as a time-out. So it never has to wait.
 *
 * Deviations: every kind of reset ends the guest, who is started again if its configuration says
 * so. The controller knows the commands below and ignores others. A20 can be read back as written
 * but memory never wraps.
 */
#include "vmm/device/reset.h"

#include "lib/hw/pci.h"
#include "lib/string.h"
#include "vmm/device/pci.h"

static void reset_now(struct reset *r, const char *reason)
{
    host_end(r->host, HOST_END_RESET, reason);
}

/* --- the keyboard controller --- */

static void update_irq(const struct reset *r)
{
    host_irq(r->host, I8042_IRQ, (r->status & I8042_STS_OBF) && (r->ctr & I8042_CTR_KBD_INT));
}

static void answer(struct reset *r, u8 byte, u8 flags)
{
    r->data = byte;
    r->status = (r->status & I8042_STS_A2) | I8042_STS_OBF | flags;
}

static u8 output_port(const struct reset *r)
{
    return I8042_OUT_IDLE | I8042_OUT_NO_RESET | (r->a20 ? I8042_OUT_A20 : 0) |
           (r->status & I8042_STS_OBF ? I8042_OUT_KBD_INT : 0);
}

static void write_command(struct reset *r, u8 command)
{
    r->command = 0;
    r->status |= I8042_STS_A2;
    switch (command) {
    case I8042_READ_CTR:
        answer(r, r->ctr, 0);
        break;
    case I8042_WRITE_CTR:
    case I8042_WRITE_OUT:
        r->command = command;
        break;
    case I8042_TEST_AUX:
    case I8042_TEST_KBD:
        answer(r, I8042_CLOCK_LOW, 0);
        break;
    case I8042_SELF_TEST:
        r->ctr |= I8042_CTR_SYS;
        answer(r, I8042_SELF_TEST_OK, 0);
        break;
    case I8042_KBD_OFF:
        r->ctr |= I8042_CTR_KBD_DIS;
        break;
    case I8042_KBD_ON:
        r->ctr &= (u8)~I8042_CTR_KBD_DIS;
        break;
    case I8042_READ_OUT:
        answer(r, output_port(r), 0);
        break;
    default: /* AUX_ON and AUX_OFF too: the mouse's interface is off */
        if ((command & I8042_PULSE) == I8042_PULSE && !(command & I8042_OUT_NO_RESET)) {
            reset_now(r, "reset by the keyboard controller");
        }
    }
}

static void write_data(struct reset *r, u8 byte)
{
    u8 command = r->command;

    r->command = 0;
    r->status &= (u8)~I8042_STS_A2;
    if (command == I8042_WRITE_CTR) {
        r->ctr = byte | I8042_CTR_AUX_DIS;
    } else if (command == I8042_WRITE_OUT) {
        r->a20 = byte & I8042_OUT_A20;
        if (!(byte & I8042_OUT_NO_RESET)) {
            reset_now(r, "reset by the keyboard controller");
        }
    } else { /* for a keyboard, or for a mouse by a command that is ignored here */
        answer(r, I8042_RESEND, I8042_STS_TIMEOUT);
    }
}

static u32 data_read(void *device, u16 offset, u8 bytes)
{
    struct reset *r = device;

    (void)offset;
    (void)bytes;
    r->status &= I8042_STS_A2;
    update_irq(r);
    return r->data; /* an empty buffer gives its last byte again */
}

static void data_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)offset;
    (void)bytes;
    write_data(device, (u8)value);
    update_irq(device);
}

static u32 status_read(void *device, u16 offset, u8 bytes)
{
    const struct reset *r = device;

    (void)offset;
    (void)bytes;
    return r->status | (r->ctr & I8042_CTR_SYS) | I8042_STS_UNLOCK;
}

static void command_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)offset;
    (void)bytes;
    write_command(device, (u8)value);
    update_irq(device);
}

/* --- the chipset's ports --- */

static u32 port92_read(void *device, u16 offset, u8 bytes)
{
    const struct reset *r = device;

    (void)offset;
    (void)bytes;
    return r->port92 | (r->a20 ? PORT92_A20 : 0);
}

static void port92_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct reset *r = device;
    bool rise = value & ~r->port92 & PORT92_RESET;

    (void)offset;
    (void)bytes;
    r->a20 = value & PORT92_A20;
    r->port92 = (u8)(value ^ (value & PORT92_A20));
    if (rise) {
        reset_now(r, "reset by port 0x92");
    }
}

/* The address of PCI's configuration, 32 bits; in the middle of it a byte of its own. */
static u32 cf8_read(void *device, u16 offset, u8 bytes)
{
    const struct reset *r = device;

    if (bytes == 4) {
        return r->pci_address;
    }
    return offset == PORTCF9 - PCI_ADDRESS ? r->cf9 : ~0u;
}

static void cf8_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct reset *r = device;
    bool rise = value & ~r->cf9 & PORTCF9_RST_CPU;

    if (bytes == 4) {
        r->pci_address = value & PCI_ADDRESS_MASK;
        return;
    }
    if (offset != PORTCF9 - PCI_ADDRESS) {
        return;
    }
    r->cf9 = value & (PORTCF9_SYS_RST | PORTCF9_RST_CPU | PORTCF9_FULL);
    if (rise) {
        reset_now(r, "reset by port 0xcf9");
    }
}

/* A word of configuration space, from the byte offset; where no function is, all ones. */
static u32 pci_read(void *device, u16 offset, u8 bytes)
{
    const struct reset *r = device;
    u32 function = (r->pci_address & ~PCI_ADDRESS_ENABLE) >> 8;

    (void)bytes;
    if (!(r->pci_address & PCI_ADDRESS_ENABLE)) {
        return ~0u;
    }
    return pci_config(function, r->pci_address & 0xfc) >> 8 * offset;
}

static void pci_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)device;
    (void)offset;
    (void)bytes;
    (void)value;
}

bool reset_attach(struct reset *r, struct machine *host)
{
    const struct host_ports ports[] = {
        {r, data_read,   data_write,    I8042_DATA,   1, HOST_WIDTH_8                                },
        {r, status_read, command_write, I8042_STATUS, 1, HOST_WIDTH_8                                },
        {r, port92_read, port92_write,  PORT92,       1, HOST_WIDTH_8                                },
        {r, cf8_read,    cf8_write,     PCI_ADDRESS,  4, HOST_WIDTH_8 | HOST_WIDTH_32                },
        {r, pci_read,    pci_write,     PCI_DATA,     4, HOST_WIDTH_8 | HOST_WIDTH_16 | HOST_WIDTH_32},
    };
    bool good = true;

    memset(r, 0, sizeof(*r));
    r->host = host;
    r->a20 = true;
    r->ctr = I8042_CTR_SYS | I8042_CTR_KBD_DIS | I8042_CTR_AUX_DIS | I8042_CTR_XLATE;
    update_irq(r);
    for (u32 i = 0; i < ARRAY_SIZE(ports); i++) {
        good = good && host_add_ports(host, &ports[i]);
    }
    return good;
}
