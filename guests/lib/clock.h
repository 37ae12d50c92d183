/* SPDX-License-Identifier: MIT */
/* What the clocks' frequencies are, and reading two clocks at the same time as well as that can be
 * done. */
#ifndef GUESTS_LIB_CLOCK_H
#define GUESTS_LIB_CLOCK_H

#include "lib/types.h"

#define PM_TIMER_MASK 0xffffffu /* the width that every ACPI machine has */

/* Frequencies of TSC and local APIC timer as CPUID tells: by leaf 15h, and by leaf 40000010h; 0: it
 * does not. */
struct clock_told {
    u64 tsc_15, apic_15, tsc_4x10, apic_4x10;
};
struct clock_told clock_told(void);

/* From CPUID, or else measured against the PM timer (TSC) and the TSC (APIC timer). */
u64 clock_tsc_hz(void);
u64 clock_apic_hz(void);

/* Waits in a loop. */
void clock_wait_us(u64 us);
void clock_wait_ticks(u64 ticks);

/* The PM timer, 0 when there is none. */
u32 clock_pm(void);

/* A clock's value, read at some TSC from before to after. */
struct clock_sample {
    u64 before, value, after;
};
#define CLOCK_SAMPLE(expression)                                                                   \
    ({                                                                                             \
        struct clock_sample clock_sample;                                                          \
        clock_sample.before = rdtsc();                                                             \
        clock_sample.value = (expression);                                                         \
        clock_sample.after = rdtsc();                                                              \
        clock_sample;                                                                              \
    })

/* How many ticks of a clock of hz passed between two samples, at least and at most, by the TSC:
 * with slack ticks more on both sides. */
bool clock_agrees(struct clock_sample a, struct clock_sample b, u64 ticks, u64 hz, u64 slack);

#endif
