/* SPDX-License-Identifier: MIT */
/* The local APIC of this CPU: x2APIC where there is one, else its page of registers. SDM 3A
 * "Advanced Programmable Interrupt Controller (APIC)". */
#ifndef ARCH_X86_LAPIC_H
#define ARCH_X86_LAPIC_H

#include "lib/types.h"

/* Each CPU: on, with everything masked but what we use. The boot CPU's call chooses the mode. */
void lapic_init(void);
u32 lapic_id(void);
const char *lapic_mode(void);

void lapic_eoi(void);
bool lapic_in_service(u32 vector);

/* Interprocessor interrupts, by APIC ID. */
void lapic_send(u32 apic_id, u32 vector);
void lapic_send_nmi(u32 apic_id);
void lapic_send_init(u32 apic_id);
void lapic_send_startup(u32 apic_id, u32 page);

/* The timer. Each CPU first; timer_hz 0: deadline mode needs none. */
void lapic_timer_init(u64 timer_hz);
void lapic_timer_set(u64 tsc); /* ~0: off */
/* An interrupt at tsc at the latest; what arch_timer_set() asked for comes none the less. */
void lapic_timer_bound(u64 tsc);

#endif
