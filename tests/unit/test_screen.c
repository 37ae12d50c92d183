/* SPDX-License-Identifier: MIT */
/* The text console on a framebuffer: what is drawn is read back from the pixels through the font.
 */
/* SOURCES: lib/screen.c lib/font.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/font.h"
#include "lib/screen.h"

static struct screen screen;
static u8 *frame;
static u64 frame_bytes;

static void start(u32 width, u32 height, u32 pitch_bytes)
{
    free(frame);
    frame_bytes = (u64)pitch_bytes * height;
    frame = malloc(frame_bytes);
    memset(frame, 0xee, frame_bytes);
    assert_true(screen_init(&screen, frame, frame_bytes, width, height, pitch_bytes, false));
}

static u32 pixel_at(u32 x, u32 y)
{
    u32 value;

    memcpy(&value, frame + (u64)y * screen.pitch_bytes + 4ull * x, 4);
    return value;
}

/* Which character stands there by its pixels; 0: none known. */
static u8 shown_at(u32 row, u32 column)
{
    u32 paper = pixel_at(0, 0); /* the corner: margin or the edge of a character, always free */
    u8 bits[FONT_HEIGHT];

    for (u32 y = 0; y < FONT_HEIGHT; y++) {
        bits[y] = 0;
        for (u32 x = 0; x < FONT_WIDTH; x++) {
            u32 px = screen.left + (column * FONT_WIDTH + x) * screen.scale;
            u32 py = screen.top + (row * FONT_HEIGHT + y) * screen.scale;

            for (u32 k = 0; k < screen.scale * screen.scale; k++) {
                assert_int_equal(pixel_at(px, py),
                                 pixel_at(px + k % screen.scale, py + k / screen.scale));
            }
            bits[y] = (u8)(bits[y] << 1 | (pixel_at(px, py) != paper));
        }
    }
    for (u32 c = FONT_FIRST; c <= FONT_LAST + 1; c++) {
        u32 y = 0;

        while (y < FONT_HEIGHT && bits[y] == font_row((u8)c, y)) {
            y++;
        }
        if (y == FONT_HEIGHT) {
            return (u8)c;
        }
    }
    return 0;
}

static void assert_row(u32 row, const char *text)
{
    size_t n = strlen(text);

    for (u32 column = 0; column < screen.columns; column++) {
        assert_int_equal(shown_at(row, column), column < n ? text[column] : ' ');
    }
}

static void say(const char *text)
{
    screen_write(&screen, text, strlen(text));
}

static void sizes(void **state)
{
    static const struct {
        u32 width, height, scale, columns, rows;
    } cases[] = {
        {640,  480,  1, 80,  30},
        {800,  600,  1, 100, 37},
        {1366, 768,  1, 170, 48},
        {1280, 800,  1, 160, 50},
        {1920, 1080, 2, 120, 33},
        {2560, 1440, 2, 160, 45},
        {3840, 2160, 4, 120, 33},
        {5120, 1440, 3, 213, 30},
        {320,  160,  1, 40,  10},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        start(cases[i].width, cases[i].height, cases[i].width * 4);
        assert_int_equal(screen.scale, cases[i].scale);
        assert_int_equal(screen.columns, cases[i].columns);
        assert_int_equal(screen.rows, cases[i].rows);
    }
    /* whatever the size, the text fits the arrays */
    for (u32 h = 160; h < 9000; h = h * 3 / 2) {
        for (u32 w = 320; w < 9000; w = w * 3 / 2) {
            u32 scale;

            frame_bytes = 0;
            free(frame);
            frame = malloc((u64)w * h * 4);
            assert_true(screen_init(&screen, frame, (u64)w * h * 4, w, h, w * 4, false));
            scale = screen.scale;
            assert_in_range(screen.columns, 1, SCREEN_MAX_COLUMNS);
            assert_in_range(screen.rows, 1, SCREEN_MAX_ROWS);
            assert_true(screen.left + screen.columns * FONT_WIDTH * scale <= w);
            assert_true(screen.top + screen.rows * FONT_HEIGHT * scale <= h);
        }
    }
}

static void refuses(void **state)
{
    static u32 pixels[400 * 200];
    const u64 bytes = sizeof(pixels);

    (void)state;
    assert_true(screen_init(&screen, pixels, bytes, 400, 200, 1600, false));
    assert_false(screen_init(&screen, pixels, bytes - 1, 400, 200, 1600, false));
    assert_false(screen_init(&screen, pixels, bytes, 400, 200, 1596, false));
    assert_false(screen_init(&screen, pixels, bytes, 400, 199, 1602, false));
    assert_false(screen_init(&screen, pixels, bytes, 319, 200, 1600, false));
    assert_false(screen_init(&screen, pixels, bytes, 400, 159, 1600, false));
    assert_false(screen_init(&screen, pixels, bytes, 0, 0, 0, false));
    assert_false(screen_init(&screen, pixels, ~0ull, 100000, 200, 400000, false));
    assert_false(screen_init(&screen, (u8 *)pixels + 1, bytes - 4, 400, 199, 1600, false));
}

static void text(void **state)
{
    (void)state;
    start(640, 480, 640 * 4);
    say("Hello,\tworld\n second");
    say(" line\r>\n\n");
    say("abc\bX\b\b\b\b\bY");
    assert_row(0, "Hello,  world");
    assert_row(1, ">second line");
    assert_row(2, "");
    assert_row(3, "YbX");
    say("\n\x01\xff\x7f");
    assert_int_equal(shown_at(4, 0), 0x7f); /* the box */
    assert_int_equal(shown_at(4, 2), 0x7f);
}

/* What a shell's line editor sends: the cursor is moved, what is behind it is erased. */
static void sequences(void **state)
{
    (void)state;
    start(640, 480, 640 * 4);
    say("/ # echo ac\x1b[1D\x1b[Jbc\x1b[6n\n");
    assert_row(0, "/ # echo abc");
    say("\x1b[1;31mred\x1b[0m \x1b(\x1b[");
    say("?25");
    say("lend");
    assert_row(1, "red end");
    say("\x1b[3;5HXY\x1b[A\x1b[2Da\x1b[2B\x1b[3Cb");
    assert_row(1, "red and");
    assert_row(2, "    XY");
    assert_row(3, "        b");
    say("\x1b[99;99H.\x1b[99;99H\x1b[99A\x1b[99D\x1b[C-\x1b[K");
    assert_row(0, "/-");
    assert_int_equal(shown_at(29, 79), '.');
    say("\x1b[99999999999999999999B\x1b[1;2;3;4;5;6HZ"); /* what is too much changes nothing more */
    assert_row(0, "/Z");
    say("\r\n\x1b[J");
    assert_row(1, "");
    assert_row(29, "");
    assert_row(0, "/Z");
    say("\x1b[2J\x1b[1\n2J");
    assert_row(2, "2J");
    say("\x1b[2J\x1b[H\x1b(B\x1b[mtop\x1b#8\x1b M\x1b[2;1Habcdef\x1b[3D\x1b[1K");
    assert_row(0, "top");
    assert_row(1, "    ef");
    say("\x1b[3;1Hghijkl\x1b[2D\x1b[1J\x1b[99C\x1b[1K"); /* to the cursor, the rows above with it */
    assert_row(0, "");
    assert_row(1, "");
    assert_row(2, "");
    say("\x1b[2J\x1b[H\n\x1b[5");
    assert_row(0, "");
    screen_style(&screen, SCREEN_ALERT); /* a report is not taken for the rest of a sequence */
    say("5C");
    assert_row(1, "5C");
}

static void every_character(void **state)
{
    char line[FONT_LAST - FONT_FIRST + 2];

    (void)state;
    for (u32 c = FONT_FIRST; c <= FONT_LAST; c++) {
        line[c - FONT_FIRST] = (char)c;
        for (u32 d = FONT_FIRST; d < c; d++) { /* no two look the same */
            u32 same = 0;

            for (u32 y = 0; y < FONT_HEIGHT; y++) {
                same += font_row((u8)c, y) == font_row((u8)d, y);
            }
            assert_true(same < FONT_HEIGHT);
        }
    }
    line[sizeof(line) - 1] = 0;
    start(1920, 1080, 1920 * 4 + 64); /* twice the size, and a margin in memory */
    say(line);
    assert_row(0, line);
}

/* A line as long as the screen is wide wraps only when more follows. */
static void wraps(void **state)
{
    char line[81];

    (void)state;
    start(640, 480, 640 * 4);
    memset(line, 'x', 80);
    line[80] = 0;
    say(line);
    say("\n");
    say(line);
    say("y\n");
    assert_row(0, line);
    assert_row(1, line);
    assert_row(2, "y");
}

static void scrolls(void **state)
{
    char line[32];

    (void)state;
    start(640, 480, 640 * 4);
    for (u32 i = 0; i < 100; i++) {
        snprintf(line, sizeof(line), "line number %u\n", i * i);
        say(line);
    }
    for (u32 row = 0; row < 29; row++) {
        snprintf(line, sizeof(line), "line number %u", (71 + row) * (71 + row));
        assert_row(row, line);
    }
    assert_row(29, "");
    for (u32 i = 0; i < 40; i++) { /* one write that is more than a screen */
        say("\n");
    }
    assert_row(0, "");
    say("last");
    assert_row(29, "last");
}

/* Only what changes is written, and nothing is read: rubbish in the framebuffer stays where no
 * character changes and goes nowhere else. */
static void writes_only(void **state)
{
    (void)state;
    start(640, 480, 640 * 4);
    for (u32 i = 0; i < 30; i++) {
        say(i ? "\nsame text" : "same text");
    }
    memset(frame, 0x55, frame_bytes);
    say("\nsame TEXT");
    for (u32 y = 0; y < 480; y++) {
        for (u32 x = 0; x < 640; x++) {
            bool changed = y >= 29 * 16 && x >= 5 * 8 && x < 9 * 8;

            assert_true((pixel_at(x, y) == 0x55555555) == !changed);
        }
    }
}

static void margins(void **state)
{
    (void)state;
    start(650, 490, 700 * 4); /* 81 by 30 characters, with 1 and 5 pixels on each side */
    memset(frame, 0x55, frame_bytes);
    for (u32 i = 0; i < 40; i++) {
        say("################################################################################\n");
        say("--------------------------------------------------------------------------------\n");
    }
    for (u32 y = 0; y < 490; y++) {
        for (u32 x = 0; x < 700; x++) {
            if (y < 5 || y >= 485 || x < 1 || x >= 649) {
                assert_int_equal(pixel_at(x, y), 0x55555555);
            }
        }
    }
}

static void styles(void **state)
{
    u32 normal, bright, paper;

    (void)state;
    start(640, 480, 640 * 4);
    say("-");
    screen_style(&screen, SCREEN_BRIGHT);
    say("-");
    screen_style(&screen, SCREEN_ALERT);
    say("-\n");
    paper = pixel_at(0, 0);
    normal = pixel_at(2, 7);
    bright = pixel_at(10, 7);
    assert_int_not_equal(normal, paper);
    assert_int_equal(bright, 0xffffff);
    assert_int_equal(pixel_at(18, 7) >> 16, 0xff); /* red */
    assert_true(screen_init(&screen, frame, frame_bytes, 640, 480, 640 * 4, true));
    screen_style(&screen, SCREEN_ALERT);
    say("-");
    assert_int_equal(pixel_at(2, 7) & 0xff, 0xff); /* red, in the other order */
}

static void moves(void **state)
{
    u8 *other;

    (void)state;
    start(640, 480, 640 * 4);
    say("one\n");
    other = malloc(frame_bytes);
    memcpy(other, frame, frame_bytes);
    screen_move(&screen, other);
    free(frame);
    frame = other;
    say("two\n");
    assert_row(0, "one");
    assert_row(1, "two");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),     cmocka_unit_test(refuses),
        cmocka_unit_test(text),      cmocka_unit_test(wraps),
        cmocka_unit_test(scrolls),   cmocka_unit_test(writes_only),
        cmocka_unit_test(margins),   cmocka_unit_test(styles),
        cmocka_unit_test(moves),     cmocka_unit_test(every_character),
        cmocka_unit_test(sequences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
