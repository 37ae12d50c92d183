/* SPDX-License-Identifier: MIT */
/* The I/O APIC. Register names: lib/hw/ioapic.h. */
#ifndef GUESTS_LIB_IOAPIC_H
#define GUESTS_LIB_IOAPIC_H

#include "lib/hw/ioapic.h"
#include "lib/types.h"

/* Pins of a PC's ISA interrupts; the PIT's is not its number. */
#define IOAPIC_PIN_PIT  2
#define IOAPIC_PIN_COM1 4
#define IOAPIC_PIN_RTC  8

/* Maps it and masks all pins; their number, 0 when there is none. */
u32 ioapic_init(void);

u32 ioapic_read(u32 index);
void ioapic_write(u32 index, u32 value);

/* An entry. Written with the mask set first, so that no half of it ever counts. */
u64 ioapic_entry(u32 pin);
void ioapic_set(u32 pin, u64 entry);
#define IOAPIC_TO(apic_id) ((u64)(apic_id) << 56)

#endif
