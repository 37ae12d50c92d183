/* SPDX-License-Identifier: MIT */
/* The real-time clock's registers. Names: lib/hw/rtc.h. */
#ifndef GUESTS_LIB_RTC_H
#define GUESTS_LIB_RTC_H

#include "guests/lib/cpu.h"
#include "lib/hw/rtc.h"
#include "lib/types.h"

static inline u8 rtc_read(u8 reg)
{
    outb(RTC_PORT + RTC_INDEX, reg);
    return inb(RTC_PORT + RTC_DATA);
}

static inline void rtc_write(u8 reg, u8 value)
{
    outb(RTC_PORT + RTC_INDEX, reg);
    outb(RTC_PORT + RTC_DATA, value);
}

#endif
