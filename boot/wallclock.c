/* SPDX-License-Identifier: MIT */
/* The firmware's clock on the wall as seconds. */
#include "boot/wallclock.h"

#define MINUTES_PER_DAY (24 * 60)

static bool is_leap(u32 year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static u32 month_days(u32 year, u32 month)
{
    static const u8 days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days in all years before this one, counted from year 1. */
static u32 days_before(u32 year)
{
    u32 y = year - 1;

    return y * 365 + y / 4 - y / 100 + y / 400;
}

u64 wallclock_seconds(const struct wallclock *w)
{
    if (w->year < 1970 || w->year > 9999 || w->month < 1 || w->month > 12 || w->day < 1 ||
        w->day > month_days(w->year, w->month) || w->hour > 23 || w->minute > 59 ||
        w->second > 59 || w->zone < -MINUTES_PER_DAY || w->zone > MINUTES_PER_DAY) {
        return 0;
    }
    u32 days = days_before(w->year) - days_before(1970) + w->day - 1;
    for (u32 month = 1; month < w->month; month++) {
        days += month_days(w->year, month);
    }
    s64 minutes = ((s64)days * 24 + w->hour) * 60 + w->minute + w->zone;
    return minutes < 0 ? 0 : (u64)minutes * 60 + w->second;
}
