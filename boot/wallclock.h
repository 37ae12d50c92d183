/* SPDX-License-Identifier: MIT */
/* The firmware's clock on the wall as seconds. Pure. */
#ifndef BOOT_WALLCLOCK_H
#define BOOT_WALLCLOCK_H

#include "lib/types.h"

struct wallclock {
    u32 year, month, day; /* of the Gregorian calendar; month and day from 1 */
    u32 hour, minute, second;
    s32 zone; /* minutes that UTC is ahead of it */
};

/* Seconds since 1970 began in UTC; 0: before that, beyond the year 9999, or no time at all. */
u64 wallclock_seconds(const struct wallclock *w);

#endif
