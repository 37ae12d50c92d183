/* SPDX-License-Identifier: MIT */
/* SOURCES: drivers/keyboard.c */
/* Scan codes as a PC's keyboard sends them, and what a terminal would send for the same keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "drivers/keyboard.h"

#define CODES(...) (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__})
#define TEXT(s)    s, sizeof(s) - 1

static void check(const char *what, const u8 *codes, size_t count, const char *want, size_t bytes)
{
    struct keyboard k = {0};
    char got[256];
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        char out[KEYBOARD_MAX];
        u32 more = keyboard_feed(&k, codes[i], out);
        assert_true(more <= KEYBOARD_MAX && n + more <= sizeof(got));
        memcpy(got + n, out, more);
        n += more;
    }
    if (n != bytes || memcmp(got, want, n) != 0) {
        fail_msg("%s: %zu bytes, not %zu, or others", what, n, bytes);
    }
}

static void test_characters(void **state)
{
    (void)state;
    check("qwerty", CODES(0x10, 0x90, 0x11, 0x12, 0x92, 0x91), TEXT("qwe"));
    check("digits", CODES(2, 3, 11, 12, 13), TEXT("120-="));
    check("control keys", CODES(0x1c, 0x0e, 0x0f, 0x01, 0x39), TEXT("\r\x7f\t\x1b "));
    check("rest", CODES(0x1a, 0x1b, 0x27, 0x28, 0x29, 0x2b, 0x33, 0x34, 0x35, 0x2c, 0x32, 0x1e),
          TEXT("[];'`\\,./zma"));
    check("not there", CODES(0, 0x3a, 0x3a, 0x46, 0x54, 0x59, 0x7f, 0xff, 0x80), TEXT(""));
    check("beside shift", CODES(0x56), TEXT("\\"));
}

static void test_modifiers(void **state)
{
    (void)state;
    check("shift", CODES(0x2a, 0x1e, 3, 0xaa, 0x1e), TEXT("A@a"));
    check("both shifts", CODES(0x2a, 0x36, 0xaa, 0x1e, 0xb6, 0x1e), TEXT("Aa"));
    check("caps lock", CODES(0x3a, 0xba, 0x1e, 3, 0x2a, 0x1e, 3, 0xaa, 0x3a, 0x1e), TEXT("A2a@a"));
    check("control", CODES(0x1d, 0x2e, 0x1b, 0x9d, 0x2e),
          TEXT("\x03\x1d"
               "c"));
    check("right control", CODES(0xe0, 0x1d, 0x20, 0xe0, 0x9d, 0x20),
          TEXT("\x04"
               "d"));
    check("control and digits", CODES(0x1d, 3, 4, 7, 0x0c, 0x35, 0x39),
          TEXT("\0\x1b\x1e\x1f\x1f\0"));
    check("control and caps", CODES(0x3a, 0x1d, 0x1e), TEXT("\x01"));
    check("control and Enter", CODES(0x1d, 0x1c), TEXT("\r"));
    check("alt", CODES(0x38, 0x30, 0xb8, 0x30),
          TEXT("\x1b"
               "bb"));
}

static void test_sequences(void **state)
{
    (void)state;
    check("arrows", CODES(0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0x50, 0xe0, 0x4b, 0xe0, 0x4d),
          TEXT("\x1b[A\x1b[B\x1b[D\x1b[C"));
    check("block", CODES(0xe0, 0x47, 0xe0, 0x4f, 0xe0, 0x49, 0xe0, 0x51, 0xe0, 0x52, 0xe0, 0x53),
          TEXT("\x1b[H\x1b[F\x1b[5~\x1b[6~\x1b[2~\x1b[3~"));
    /* keyboards make up shifts around them */
    check("made-up shifts", CODES(0xe0, 0x2a, 0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0xaa, 0x1e),
          TEXT("\x1b[Aa"));
    check("functions", CODES(0x3b, 0x3e, 0x3f, 0x40, 0x44, 0x57, 0x58),
          TEXT("\x1bOP\x1bOS\x1b[15~\x1b[17~\x1b[21~\x1b[23~\x1b[24~"));
    check("shift and Tab", CODES(0x2a, 0x0f), TEXT("\x1b[Z"));
    check("pause", CODES(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x2e), TEXT("c"));
    check("window keys", CODES(0xe0, 0x5b, 0xe0, 0xdb, 0xe0, 0x5d, 0xe0, 0x20), TEXT(""));
}

static void test_pad(void **state)
{
    (void)state;
    check("digits", CODES(0x47, 0x4c, 0x52, 0x53, 0x4a, 0x4e, 0x37), TEXT("750.-+*"));
    check("moves", CODES(0x45, 0x47, 0x48, 0x4c, 0x53, 0x4a), TEXT("\x1b[H\x1b[A\x1b[3~-"));
    check("lock and back", CODES(0x45, 0xc5, 0x45, 0x48), TEXT("8"));
    check("shift", CODES(0x2a, 0x48), TEXT("\x1b[A"));
    check("with E0", CODES(0xe0, 0x1c, 0xe0, 0x35, 0x2a, 0xe0, 0x35), TEXT("\r//"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_modifiers),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_pad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
