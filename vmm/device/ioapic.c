/* SPDX-License-Identifier: MIT */
/*
 * The PC's I/O APIC (Intel 82093AA; EOI register and the format of messages: Intel 82801 "Advanced
 * Programmable Interrupt Controller"). It turns pins into messages; who takes them is not its
 * matter.
 *
 * Polarity is stored and read back, no more: what comes in is "asserted or not", and the ACPI
 * tables and the wiring agree on what that means.
 */
#include "vmm/device/ioapic.h"

#define VERSION       0x20
#define WRITABLE      (FIELD(16, 0) & ~(IOAPIC_RTE_DELIVS | IOAPIC_RTE_REMOTE_IRR))
#define WRITABLE_HIGH (IOAPIC_RTE_EXTDEST | IOAPIC_RTE_DEST)

/* SDM 3A "Message Address Register Format" and "Message Data Register Format" */
#define MSI_ADDRESS    0xfee00000
#define MSI_DEST       FIELD(19, 5) /* the 15 bits of IOAPIC_RTE_DEST and IOAPIC_RTE_EXTDEST */
#define MSI_DEST_SHIFT (49 - 5)
#define MSI_RH         BIT(3) /* one of the destination's CPUs, not all */
#define MSI_DM         BIT(2) /* the destination is logical */
#define MSI_ASSERT     BIT(14)
#define MSI_LEVEL      BIT(15)

/* Only fixed and lowest-priority interrupts can be level-triggered; the other modes are edges
 * whatever the entry says (datasheet "IOREDTBL", DELMOD). */
static bool is_level(u64 entry)
{
    u64 mode = entry & IOAPIC_RTE_DELMOD;

    return (entry & IOAPIC_RTE_TRIGGER) &&
           (mode == IOAPIC_DELMOD_FIXED || mode == IOAPIC_DELMOD_LOWEST);
}

/* A level-triggered pin whose message is due, or was sent and nobody took it. */
static bool is_due(const struct ioapic *io, u32 pin)
{
    u64 entry = io->ioredtbl[pin];

    return (io->lines & BIT(pin)) && is_level(entry) &&
           !(entry & (IOAPIC_RTE_MASK | IOAPIC_RTE_REMOTE_IRR));
}

static bool send(const struct ioapic *io, u64 entry)
{
    bool lowest = (entry & IOAPIC_RTE_DELMOD) == IOAPIC_DELMOD_LOWEST;
    u64 address = MSI_ADDRESS | (entry >> MSI_DEST_SHIFT & MSI_DEST) | (lowest ? MSI_RH : 0) |
                  (entry & IOAPIC_RTE_DESTMOD ? MSI_DM : 0);
    u64 data = (entry & (IOAPIC_RTE_INTVEC | IOAPIC_RTE_DELMOD)) | MSI_ASSERT |
               (is_level(entry) ? MSI_LEVEL : 0);

    return host_message(io->host, address, (u32)data);
}

/* Sends what is due. A level that nobody takes stays due and is tried again at the next change of
 * any pin, write to a register or EOI; nothing else is known here that could have made a
 * local APIC willing. */
static void service(struct ioapic *io)
{
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
        if (is_due(io, pin) && send(io, io->ioredtbl[pin])) {
            io->ioredtbl[pin] |= IOAPIC_RTE_REMOTE_IRR;
        }
    }
}

/* An edge is sent at once or is lost: on a masked pin (datasheet "IOREDTBL", Interrupt Mask), and,
 * as with a chip that writes messages to memory, when nobody takes it. */
void ioapic_set_irq(struct ioapic *io, u32 pin, bool level)
{
    if (pin >= IOAPIC_PINS || level == !!(io->lines & BIT(pin))) {
        return;
    }
    io->lines ^= BIT(pin);

    u64 entry = io->ioredtbl[pin];
    if (level && !is_level(entry) && !(entry & IOAPIC_RTE_MASK)) {
        (void)send(io, entry);
    }
    service(io);
}

void ioapic_eoi(struct ioapic *io, u8 vector)
{
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
        if ((io->ioredtbl[pin] & IOAPIC_RTE_INTVEC) == vector) {
            io->ioredtbl[pin] &= ~IOAPIC_RTE_REMOTE_IRR; /* masked ones too */
        }
    }
    service(io);
}

/* Remote IRR survives a write, also of the mask and the vector, as long as the entry is
 * level-triggered. An edge-triggered entry has none: systems that know no EOI register, or do not
 * trust it, end an interrupt by switching its entry to edge and back. */
static void write_entry(struct ioapic *io, u32 index, u32 value)
{
    u64 *entry = &io->ioredtbl[index / 2];

    if (index & 1) {
        *entry = (*entry & ~FIELD(63, 32)) | ((u64)value << 32 & WRITABLE_HIGH);
    } else {
        *entry = (*entry & ~WRITABLE) | (value & WRITABLE);
    }
    if (!is_level(*entry)) {
        *entry &= ~IOAPIC_RTE_REMOTE_IRR;
    }
}

static u32 read_register(const struct ioapic *io)
{
    u32 index = io->ioregsel - IOAPIC_REDTBL;

    if (index < 2 * IOAPIC_PINS) {
        u64 entry = io->ioredtbl[index / 2] | (is_due(io, index / 2) ? IOAPIC_RTE_DELIVS : 0);
        return (u32)(index & 1 ? entry >> 32 : entry);
    }
    switch (io->ioregsel) {
    case IOAPIC_ID:
    case IOAPIC_ARB: /* loaded with the ID; there is no bus whose use would change it */
        return io->id;
    case IOAPIC_VER:
        return (IOAPIC_PINS - 1) << IOAPIC_VER_MRE_SHIFT | VERSION;
    default:
        return 0;
    }
}

static void write_register(struct ioapic *io, u32 value)
{
    u32 index = io->ioregsel - IOAPIC_REDTBL;

    if (index < 2 * IOAPIC_PINS) {
        write_entry(io, index, value);
        service(io);
    } else if (io->ioregsel == IOAPIC_ID) {
        io->id = value & IOAPIC_ID_MASK;
    }
}

/* Only the index may be accessed in bytes; the data window is for 32 bits (datasheet "IOWIN"). */
static u64 ioapic_read(void *device, u64 offset, u8 bytes)
{
    const struct ioapic *io = device;

    switch (offset) {
    case IOAPIC_IOREGSEL:
        return io->ioregsel;
    case IOAPIC_IOWIN:
        return bytes == 4 ? read_register(io) : 0;
    default:
        return 0;
    }
}

static void ioapic_write(void *device, u64 offset, u8 bytes, u64 value)
{
    struct ioapic *io = device;

    switch (offset) {
    case IOAPIC_IOREGSEL:
        io->ioregsel = (u8)value;
        break;
    case IOAPIC_IOWIN:
        if (bytes == 4) {
            write_register(io, (u32)value);
        }
        break;
    case IOAPIC_EOIR:
        ioapic_eoi(io, (u8)value);
        break;
    default:
        break;
    }
}

void ioapic_reset(struct ioapic *io)
{
    *io = (struct ioapic){.host = io->host};
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
        io->ioredtbl[pin] = IOAPIC_RTE_MASK;
    }
}

bool ioapic_attach(struct ioapic *io, struct machine *host)
{
    struct host_registers registers = {
        .device = io,
        .read = ioapic_read,
        .write = ioapic_write,
        .base = GPA(IOAPIC_BASE),
        .bytes = PAGE_SIZE,
        .widths = HOST_WIDTH_8 | HOST_WIDTH_32,
    };

    io->host = host;
    ioapic_reset(io);
    return host_add_registers(host, &registers);
}
