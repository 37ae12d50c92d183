/* SPDX-License-Identifier: MIT */
/* SOURCES: lib/screen.c lib/font.c */
/* Any text on a small screen: it stays on it, and whatever it left begun, a new style ends it. */
#include <string.h>

#include "lib/screen.h"
#include "tests/fuzz/check.h"

#define WIDTH  330 /* 41 columns and a margin */
#define HEIGHT 170 /* 10 rows and one */

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct screen s;
    static u32 pixels[HEIGHT][WIDTH];

    CHECK(screen_init(&s, pixels, sizeof(pixels), WIDTH, HEIGHT, WIDTH * 4, false));
    for (size_t i = 0; i < size; i += 16) {
        screen_write(&s, (const char *)data + i, MIN(size - i, (size_t)16));
        CHECK(s.row < s.rows && s.column <= s.columns);
        CHECK(s.dirty_from >= s.dirty_to);
        CHECK(memcmp(s.text, s.shown, sizeof(s.text)) == 0);
    }
    screen_style(&s, SCREEN_ALERT);
    screen_write(&s, "\n!", 2);
    CHECK(s.text[s.row][0].c == '!' && s.text[s.row][0].style == SCREEN_ALERT);
    for (u32 x = 0; x < WIDTH; x++) { /* the margin is nobody's */
        CHECK(pixels[0][x] == pixels[0][0] && pixels[HEIGHT - 1][x] == pixels[0][0]);
    }
    return 0;
}
