/* SPDX-License-Identifier: MIT */
/* The local APIC of the CPU that runs this, in the mode it is in. Register names:
 * lib/hw/lapic.h. */
#ifndef GUESTS_LIB_APIC_H
#define GUESTS_LIB_APIC_H

#include "lib/hw/lapic.h"
#include "lib/types.h"

#define APIC_SPURIOUS 0xff /* the vector that apic_init() sets */

enum apic_mode { APIC_MODE_OFF, APIC_MODE_XAPIC, APIC_MODE_X2APIC };

/* What CPUID says; a local APIC that IA32_APIC_BASE has switched off is not there. */
bool apic_present(void);
bool apic_has_x2(void);
bool apic_has_deadline(void);

/* By IA32_APIC_BASE, and by its legal steps; the boot CPU's choice is everybody's. Going through
 * off resets all registers. */
enum apic_mode apic_mode(void);
void apic_set_mode(enum apic_mode mode);

/* Both PICs masked, x2APIC mode where there is one (xAPIC with the option "apic=x"), then
 * apic_reset(). For the boot CPU; others: apic_join(). */
void apic_init(void);
void apic_join(void);

/* On, every LVT entry masked, timer stopped, TPR 0, nothing in service, no error noted. Mode kept.
 */
void apic_reset(void);

/* Is there one? Then it is initialized, once. */
bool apic_available(void);

/* For a test in that mode: is there one, initialized? False: the test is skipped. */
bool apic_offers(enum apic_mode mode);

u32 apic_read(u32 reg);
void apic_write(u32 reg, u32 value);

u32 apic_id(void);
/* ICR: destination and low half; waits before for the one under way. */
void apic_send(u32 destination, u32 command);
void apic_eoi(void);

/* A vector's bit in APIC_ISR, APIC_TMR or APIC_IRR, and whether the whole register is 0. */
bool apic_bit(u32 set, u32 vector);
bool apic_none(u32 set);

#endif
