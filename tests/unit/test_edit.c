/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/manager/edit.c */
/* Lines as persons and scripts type them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "vmm/manager/edit.h"

/* Types text, whose last byte alone completes a line. */
static enum edit_result type(struct edit *e, const char *text)
{
    enum edit_result result = EDIT_MORE;

    for (size_t i = 0; text[i]; i++) {
        assert_int_equal(result, EDIT_MORE);
        result = edit_feed(e, (u8)text[i]);
    }
    return result;
}

static void expect_line(const char *typed, const char *line)
{
    struct edit e = {0};

    assert_int_equal(type(&e, typed), EDIT_LINE);
    assert_string_equal(e.text, line);
    assert_int_equal(e.count, 0);
}

static void test_lines(void **state)
{
    (void)state;
    expect_line("list\r", "list");
    expect_line("list\n", "list");
    expect_line("\r", "");
    expect_line("lisa\bt\r", "list");
    expect_line("x\x7f\x7f\x7flist\r", "list");
    expect_line("kill web\x15list\r", "list");
    expect_line("kill web\x03list\r", "list");
    expect_line("\x01\x07li\tst\x80\xff\x1c\r", "list");
}

static void test_sequences(void **state)
{
    struct edit e = {0};

    (void)state;
    expect_line("li\x1b[Ast\r", "list");
    expect_line("li\x1bOPst\x1b[15~\r", "list");
    expect_line("\x1b[1;5Clist\r", "list");
    expect_line("\x1bxlist\r", "list");
    expect_line("list\x1b\r", "list"); /* a line ends whatever came before */
    expect_line("list\x1b[\r", "list");
    expect_line("list\x1b\x1b[A\r", "list");
    assert_int_equal(type(&e, "li\x1b["), EDIT_MORE);
    assert_int_equal(e.count, 2); /* what the prompt shows */
}

static void test_too_long(void **state)
{
    struct edit e = {0};

    (void)state;
    for (u32 i = 0; i < EDIT_BYTES - 1; i++) {
        assert_int_equal(edit_feed(&e, 'a'), EDIT_MORE);
    }
    assert_int_equal(edit_feed(&e, '\n'), EDIT_LINE); /* as long as may be */
    assert_int_equal(strlen(e.text), EDIT_BYTES - 1);
    for (u32 i = 0; i < 3 * EDIT_BYTES; i++) {
        assert_int_equal(edit_feed(&e, 'a'), EDIT_MORE);
    }
    assert_int_equal(edit_feed(&e, '\b'), EDIT_MORE); /* does not make it good again */
    assert_int_equal(edit_feed(&e, '\n'), EDIT_TOO_LONG);
    assert_string_equal(e.text, "");
    for (u32 i = 0; i < EDIT_BYTES; i++) {
        edit_feed(&e, 'a');
    }
    assert_int_equal(type(&e, "\x15list\n"), EDIT_LINE);
    assert_string_equal(e.text, "list");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
