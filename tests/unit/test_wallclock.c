/* SPDX-License-Identifier: MIT */
/* SOURCES: boot/wallclock.c */
/* Dates to seconds: known ones, every day of some centuries, and what is no date. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "boot/wallclock.h"

static void test_known(void **state)
{
    static const struct {
        struct wallclock at;
        u64 seconds;
    } cases[] = {
        {{1970, 1, 1, 0, 0, 0, 0},         0           },
        {{1970, 1, 1, 0, 0, 1, 0},         1           },
        {{2000, 1, 1, 0, 0, 0, 0},         946684800   },
        {{2000, 2, 29, 23, 59, 59, 0},     951868799   },
        {{2038, 1, 19, 3, 14, 8, 0},       0x80000000  },
        {{9999, 12, 31, 23, 59, 59, 0},    253402300799},
        {{2000, 1, 1, 1, 0, 0, -60},       946684800   }, /* an hour east of Greenwich */
        {{1999, 12, 31, 16, 0, 0, 8 * 60}, 946684800   },
        {{1970, 1, 1, 0, 30, 0, -60},      0           }, /* 1969 in UTC */
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(wallclock_seconds(&cases[i].at) == cases[i].seconds);
    }
}

static void test_every_day(void **state)
{
    (void)state;
    for (time_t t = 86399; t < 20000000000; t += 86400) { /* into the year 2603 */
        struct tm tm;
        gmtime_r(&t, &tm);
        struct wallclock w = {(u32)tm.tm_year + 1900,
                              (u32)tm.tm_mon + 1,
                              (u32)tm.tm_mday,
                              (u32)tm.tm_hour,
                              (u32)tm.tm_min,
                              (u32)tm.tm_sec,
                              0};
        assert_true(wallclock_seconds(&w) == (u64)t);
    }
}

static void test_no_date(void **state)
{
    static const struct wallclock cases[] = {
        {0,          0,          0,          0,          0,          0,          0     },
        {1969,       12,         31,         23,         59,         59,         0     },
        {10000,      1,          1,          0,          0,          0,          0     },
        {2001,       2,          29,         0,          0,          0,          0     },
        {2100,       2,          29,         0,          0,          0,          0     },
        {2001,       4,          31,         0,          0,          0,          0     },
        {2001,       0,          1,          0,          0,          0,          0     },
        {2001,       13,         1,          0,          0,          0,          0     },
        {2001,       1,          0,          0,          0,          0,          0     },
        {2001,       1,          1,          24,         0,          0,          0     },
        {2001,       1,          1,          0,          60,         0,          0     },
        {2001,       1,          1,          0,          0,          60,         0     },
        {2001,       1,          1,          0,          0,          0,          1441  },
        {2001,       1,          1,          0,          0,          0,          -1441 },
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, -32768},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(wallclock_seconds(&cases[i]) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_no_date),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
