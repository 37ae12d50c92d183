/* SPDX-License-Identifier: MIT */
/* Interrupts on demand, by the local APIC's IPIs to itself; and a handler that counts what was
 * taken. */
#ifndef GUESTS_LIB_IRQ_H
#define GUESTS_LIB_IRQ_H

#include "guests/lib/trap.h"
#include "lib/types.h"

/* Makes a vector (16..255) pending, or an NMI (2); where apic_available(). */
void irq_raise(u8 vector);
/* At the end of a handler. */
void irq_eoi(void);

#define IRQ_LOG 64

/* What irq_count() saw on the boot CPU, in order; counts of other CPUs are in struct cpu. */
struct irq_taken {
    volatile u32 count;
    volatile u8 vector[IRQ_LOG];
    volatile u64 tsc[IRQ_LOG];
};
extern struct irq_taken irq_taken;

/* The handler: counts, and ends the interrupt. irq_expect() sets it for a range of vectors and
 * forgets what was counted. */
bool irq_count(struct trap_frame *f);
void irq_expect(u32 first, u32 last);
void irq_forget(void);
/* How often this CPU took the vector, and how often all CPUs together. */
u32 irq_times(u32 vector);
u32 irq_times_all(u32 vector);
/* Forgets what any CPU took. */
void irq_forget_all(void);

/* Lets in what is pending. */
void irq_window(void);

#endif
