/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/manager/lines.c lib/format.c */
/* Guests' bytes as lines: nothing that could steer a terminal comes through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "vmm/manager/lines.h"

static char printed[100000];
static size_t printed_bytes;

void output_write(struct output *o, const char *text, size_t n)
{
    (void)o;
    assert_true(printed_bytes + n < sizeof(printed));
    memcpy(printed + printed_bytes, text, n);
    printed_bytes += n;
    printed[printed_bytes] = 0;
}

static int setup(void **state)
{
    (void)state;
    printed_bytes = 0;
    printed[0] = 0;
    return 0;
}

static void add(struct lines *l, const char *text)
{
    lines_add(l, NULL, "web", (const u8 *)text, (u32)strlen(text), 5);
}

static void test_lines(void **state)
{
    struct lines l = {0};

    (void)state;
    add(&l, "hello\r\nwor");
    assert_string_equal(printed, "[web] hello\n");
    add(&l, "ld\n\n");
    assert_string_equal(printed, "[web] hello\n[web] world\n[web] \n");
    lines_flush(&l, NULL, "web"); /* nothing is there */
    add(&l, "login: ");
    lines_flush(&l, NULL, "web");
    assert_string_equal(printed, "[web] hello\n[web] world\n[web] \n[web] login: \n");
}

/* Whoever reads can put together again what was shown before it was complete, or was too long. */
static void test_broken_lines(void **state)
{
    struct lines l = {0};
    char wide[LINES_WIDTH + 2];

    (void)state;
    add(&l, "login: ");
    lines_flush(&l, NULL, "web");
    add(&l, "root\nPass");
    lines_flush(&l, NULL, "web");
    add(&l, "word: ");
    lines_flush(&l, NULL, "web");
    add(&l, "\nhello\n");
    assert_string_equal(printed, "[web] login: \n[web]+ root\n[web] Pass\n[web]+ word: \n"
                                 "[web]+ \n[web] hello\n");
    printed_bytes = 0;
    memset(wide, 'x', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = 0;
    add(&l, wide);
    add(&l, "\n!\n");
    assert_non_null(strstr(printed, "x\n[web]+ x\n[web] !\n"));
}

static void test_control_characters(void **state)
{
    struct lines l = {0};

    (void)state;
    add(&l, "\x1b[2Ja\tb\x07\x7f\x9b"
            "31m\xc2\x9b\n");
    assert_string_equal(printed, "[web] ^[[2Ja\tb^G\\x7f\\x9b31m\\xc2\\x9b\n");
    printed_bytes = 0;
    for (u32 c = 0; c < 256; c++) {
        u8 byte = (u8)c;
        lines_add(&l, NULL, "web", &byte, 1, 0);
    }
    lines_flush(&l, NULL, "web");
    for (size_t i = 0; i < printed_bytes; i++) {
        u8 c = (u8)printed[i];
        assert_true((c >= ' ' && c < 0x7f) || c == '\n' || c == '\t');
    }
}

/* Long lines are broken, and never need more room than was promised. */
static void test_room(void **state)
{
    static const char *const floods[] = {"\n", "x", "\x80", "\x01", "x\n"};
    u8 bytes[256];

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(floods); i++) {
        struct lines l = {0};
        for (u32 j = 0; j < sizeof(bytes); j++) {
            bytes[j] = (u8)floods[i][j % strlen(floods[i])];
        }
        for (u32 round = 0; round < 20; round++) {
            printed_bytes = 0;
            lines_add(&l, NULL, "a-name-that-is-long-1234-256", bytes, sizeof(bytes), 0);
            assert_true(printed_bytes <= LINES_ROOM(sizeof(bytes)));
            assert_true(l.length <= LINES_WIDTH);
        }
    }
}

static void test_since(void **state)
{
    struct lines l = {0};

    (void)state;
    lines_add(&l, NULL, "web", (const u8 *)"a", 1, 10);
    lines_add(&l, NULL, "web", (const u8 *)"b", 1, 20);
    assert_int_equal(l.since_tsc, 10);
}

static void raw(struct view *v, const char *text)
{
    lines_raw(v, NULL, (const u8 *)text, (u32)strlen(text));
}

/* Whoever is attached sees every byte, but no guest speaks with our voice. */
static void test_raw(void **state)
{
    static const char *const same[] = {"\x1b[2J\r\nvi\x07\xff", "socle", "socl:", "sosocle",
                                       "Socle:"};
    static const char *const ours[] = {"socle: end status=0\n",
                                       "ssocle:", "sosocle:", "\nsoclesocle:"};

    for (u32 i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct view v = {0};
        setup(state);
        raw(&v, same[i]);
        assert_string_equal(printed, same[i]);
    }
    for (u32 i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        struct view whole = {0}, parts = {0};
        setup(state);
        raw(&whole, ours[i]);
        raw(&whole, ours[i]);
        assert_null(strstr(printed, "socle:"));
        assert_int_equal(printed_bytes, 2 * (strlen(ours[i]) + 2));
        setup(state);
        for (u32 k = 0; ours[i][k]; k++) {
            raw(&parts, (const char[]){ours[i][k], 0});
        }
        assert_null(strstr(printed, "socle:"));
        assert_int_equal(printed_bytes, strlen(ours[i]) + 2);
    }
}

/* The last bytes are kept, in order, and how many are not. */
static void test_kept(void **state)
{
    static struct view v;
    u8 bytes[LINES_KEPT], in[1000];
    u64 fed = 0;

    (void)state;
    assert_int_equal(view_take(&v, bytes, 10), 0);
    for (u32 round = 0; round < 13; round++) {
        for (u32 i = 0; i < sizeof(in); i++) {
            in[i] = (u8)(fed++ * 7 >> 3);
        }
        view_keep(&v, in, sizeof(in));
        if (round == 3) {
            assert_int_equal(v.lost, 0);
            assert_int_equal(view_take(&v, bytes, 100), 100);
            assert_int_equal(bytes[99], (u8)(99 * 7 >> 3));
        }
    }
    assert_int_equal(v.lost, 13000 - 100 - LINES_KEPT);
    assert_int_equal(view_take(&v, bytes, 5000), LINES_KEPT);
    for (u32 i = 0; i < LINES_KEPT; i++) {
        assert_int_equal(bytes[i], (u8)((13000 - LINES_KEPT + i) * 7 >> 3));
    }
    assert_int_equal(view_take(&v, bytes, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_lines, setup),
        cmocka_unit_test_setup(test_broken_lines, setup),
        cmocka_unit_test_setup(test_control_characters, setup),
        cmocka_unit_test_setup(test_raw, setup),
        cmocka_unit_test(test_kept),
        cmocka_unit_test_setup(test_room, setup),
        cmocka_unit_test_setup(test_since, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
