/* SPDX-License-Identifier: MIT */
/*
 * Fills all its free memory with a pattern that depends on address, seed and round, verifies it,
 * and starts again: rounds=N, or as many as take ms=N; seed=N. Meant to run beside guests that
 * misbehave: whoever writes into this guest's memory, or loses a write, is found.
 */
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

static u64 pattern(u64 seed, u64 address)
{
    u64 x = (address ^ seed) * 0x9e3779b97f4a7c15ull;

    return x ^ x >> 29;
}

static void rounds(void)
{
    u64 bytes = ALIGN_DOWN(page_free_bytes(), PAGE_SIZE), count = boot_option_number("rounds", 4);
    u64 seed = boot_option_number("seed", 1), wrong = 0, fresh = 0;
    u64 ticks = boot_option_number("ms", 0) * clock_tsc_hz() / 1000, begin = rdtsc();
    u64 start = page_alloc(bytes, PAGE_SIZE), end = start + bytes;
    bool zeroed = on_socle(); /* a bare machine does not promise that */

    for (u64 a = start; zeroed && a < end; a += 8) {
        fresh += *(volatile u64 *)a != 0;
    }
    CHECK_EQ_AT(fresh, 0, "words that were not zero at first");
    for (u64 round = 0; ticks ? rdtsc() - begin < ticks : round < count; round++) {
        u64 key = seed * 0x10001 + round;

        for (u64 a = start; a < end; a += 8) {
            *(volatile u64 *)a = pattern(key, a);
        }
        for (u64 a = start; a < end; a += 8) {
            u64 got = *(volatile u64 *)a;

            if (got != pattern(key, a) && wrong++ < 8) {
                CHECK_EQ_AT(got, pattern(key, a), "round %lu, word at %lx", round, a);
            }
        }
        print("memcheck: round %lu, %lu KiB\n", round + 1, bytes >> 10);
    }
    CHECK_EQ_AT(wrong, 0, "wrong words over %lu KiB", bytes >> 10);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"rounds", rounds},
    };

    test_all("memcheck", tests, ARRAY_SIZE(tests));
}
