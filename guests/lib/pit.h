/* SPDX-License-Identifier: MIT */
/* The 8254's counters. Register names: lib/hw/i8254.h. */
#ifndef GUESTS_LIB_PIT_H
#define GUESTS_LIB_PIT_H

#include "guests/lib/cpu.h"
#include "lib/hw/i8254.h"
#include "lib/types.h"

static inline void pit_control(u32 word)
{
    outb(PIT_PORT + PIT_CONTROL, (u8)word);
}

static inline u8 pit_get(u32 counter)
{
    return inb((u16)(PIT_PORT + counter));
}

static inline void pit_put(u32 counter, u8 byte)
{
    outb((u16)(PIT_PORT + counter), byte);
}

static inline u16 pit_get_word(u32 counter)
{
    u8 low = pit_get(counter);

    return (u16)(low | pit_get(counter) << 8);
}

/* Programs a counter in word access and starts it: count 0 is 65536. */
static inline void pit_start(u32 counter, u32 mode, u32 count)
{
    pit_control(PIT_CW_COUNTER(counter) | PIT_CW_WORD | PIT_CW_MODE(mode));
    pit_put(counter, (u8)count);
    pit_put(counter, (u8)(count >> 8));
}

/* Its count now, by a latch. */
static inline u16 pit_count(u32 counter)
{
    pit_control(PIT_CW_COUNTER(counter) | PIT_CW_LATCH);
    return pit_get_word(counter);
}

static inline u8 pit_status(u32 counter)
{
    pit_control(PIT_CW_READ_BACK | PIT_RB_NO_COUNT | PIT_RB_COUNTER(counter));
    return pit_get(counter);
}

/* Counter 0 counts down once and then does nothing for long: no more interrupts. */
static inline void pit_quiet(void)
{
    pit_control(PIT_CW_COUNTER(0) | PIT_CW_WORD | PIT_CW_MODE(0));
}

#endif
