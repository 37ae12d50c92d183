/* SPDX-License-Identifier: MIT */
/*
 * Clocks that tick hz times a second since host_time_ns was 0, exactly: the remainder of a division
 * is never carried along, so there is nothing that could drift.
 */
#ifndef VMM_DEVICE_TICKS_H
#define VMM_DEVICE_TICKS_H

#include "lib/types.h"

#define TICKS_NS_PER_SECOND 1000000000ull
#define TICKS_NEVER         (~0ull)

/* Ticks up to and with time ns. Whole seconds apart, so that the product fits for any hz. */
static inline u64 ticks_at(u64 ns, u32 hz)
{
    return ns / TICKS_NS_PER_SECOND * hz + ns % TICKS_NS_PER_SECOND * hz / TICKS_NS_PER_SECOND;
}

/* The first nanosecond of a tick; TICKS_NEVER stays what it is (and is HOST_NEVER too). */
static inline u64 ticks_to_ns(u64 tick, u32 hz)
{
    if (tick == TICKS_NEVER) {
        return TICKS_NEVER;
    }
    return tick / hz * TICKS_NS_PER_SECOND + (tick % hz * TICKS_NS_PER_SECOND + hz - 1) / hz;
}

#endif
