/* SPDX-License-Identifier: MIT */
/* The PC's I/O APIC: Intel 82093AA with the EOI register of version 20h, 24 pins. */
#ifndef VMM_DEVICE_IOAPIC_H
#define VMM_DEVICE_IOAPIC_H

#include "lib/hw/ioapic.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

#define IOAPIC_PINS 24

struct ioapic {
    struct machine *host;
    u8 ioregsel;
    u32 id;    /* IOAPIC_ID_MASK of it */
    u32 lines; /* one bit a pin: asserted */
    u64 ioredtbl[IOAPIC_PINS];
};

/* The state after power-on: ID 0, everything masked, no pin asserted. The devices on the pins are
 * to be reset after it. host stays. */
void ioapic_reset(struct ioapic *io);

/* Resets it and puts it on the bus at IOAPIC_BASE; false: no room. */
bool ioapic_attach(struct ioapic *io, struct machine *host) MUST_CHECK;

/* A pin is asserted or not, whatever its polarity; pins beyond 23 are ignored. */
void ioapic_set_irq(struct ioapic *io, u32 pin, bool level);

/* A CPU ended a level-triggered interrupt. vector is guest-controlled, any value. */
void ioapic_eoi(struct ioapic *io, u8 vector);

#endif
