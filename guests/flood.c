/* SPDX-License-Identifier: MIT */
/* Prints a lot: lines=N numbered lines of all lengths up to 120, so that a lost or doubled byte
 * shows; raw=N bytes of every value after them. Ends well. */
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/test.h"
#include "lib/format.h"

#define MAX_LINE 120

void guest_main(void)
{
    u64 lines = boot_option_number("lines", 200), raw = boot_option_number("raw", 0);
    char text[MAX_LINE + 1];

    for (u64 i = 0; i < lines; i++) {
        size_t n = 10 + i * 7 % (MAX_LINE - 10);
        size_t used = format_buffer(text, sizeof(text), "flood %lu ", i);

        while (used < n) {
            text[used] = (char)('a' + (used + i) % 26);
            used++;
        }
        text[used] = '\n';
        console_write(text, used + 1);
    }
    for (u64 i = 0; i < raw; i++) {
        char c = (char)i;

        console_write(&c, 1);
    }
    print("\nflood: SUCCESS (%lu lines, %lu raw bytes)\n", lines, raw);
    guest_exit(0);
}
