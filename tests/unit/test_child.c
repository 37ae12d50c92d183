/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/manager/child.c vmm/manager/lines.c vmm/manager/program.c tests/unit/fake_sys.c */
/* SOURCES: lib/ring.c lib/elf.c lib/format.c */
/* What a hostile VMM can do to the manager through the area they share: nothing but ugly text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/manager/child.h"
#include "vmm/sys.h"

static struct child c;
static size_t printed_bytes;
static u32 room, signals;
static struct process_info next_info;

s64 sys_call(u64 number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
    (void)a0;
    (void)a2;
    (void)a3;
    (void)a4;
    (void)a5;
    if (number == SYS_PROCESS_INFO) {
        memcpy((void *)a1, &next_info, sizeof(next_info));
    }
    signals += number == SYS_EVENT_SIGNAL;
    return 0;
}

void output_write(struct output *o, const char *text, size_t n)
{
    (void)o;
    (void)text;
    printed_bytes += n;
}

u32 output_room(const struct output *o)
{
    (void)o;
    return room;
}

static int setup(void **state)
{
    (void)state;
    memset(&c, 0, sizeof(c));
    strcpy(c.name, "evil");
    c.shared = calloc(1, sizeof(*c.shared));
    ring_init(&c.out, &c.shared->out, START_RING_BYTES);
    ring_init(&c.in, &c.shared->in, START_INPUT_BYTES);
    printed_bytes = signals = 0;
    room = OUTPUT_BYTES;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(c.shared);
    return 0;
}

static void test_rounds_are_bounded(void **state)
{
    (void)state;
    for (u32 i = 0; i < 100; i++) {
        c.shared->out.head = i * 0x12345678;
        c.shared->out.tail = i * 0x9abcdef1;
        printed_bytes = 0;
        (void)child_print(&c, NULL, i);
        assert_true(printed_bytes <= LINES_ROOM(CHILD_ROUND_BYTES));
    }
    room = LINES_ROOM(CHILD_ROUND_BYTES) - 1; /* no room: nothing is taken */
    c.shared->out.head = 100;
    c.shared->out.tail = 0;
    printed_bytes = 0;
    assert_false(child_print(&c, NULL, 0));
    assert_int_equal(c.shared->out.tail, 0);
    assert_int_equal(printed_bytes, 0);
}

static void test_waiting_is_answered_once(void **state)
{
    u8 text[300] = {0};

    (void)state;
    c.shared->out_waiting = 0xffffffff;
    assert_false(child_print(&c, NULL, 0)); /* nothing read, nobody woken */
    assert_int_equal(signals, 0);
    ring_write(&c.out, text, sizeof(text));
    assert_true(child_print(&c, NULL, 0));
    assert_false(child_print(&c, NULL, 0));
    assert_int_equal(signals, 1);
}

static void test_drain_ends(void **state)
{
    struct process_info info;
    u32 calls = 0;

    (void)state;
    next_info = (struct process_info){.end = PROCESS_RUNNING};
    assert_false(child_ended(&c, &info));
    next_info.end = PROCESS_EXITED;
    assert_true(child_ended(&c, &info));
    c.shared->out.head = 0x80000000; /* never runs empty */
    while (!child_drain(&c, NULL, 0)) {
        assert_true(++calls < 100);
    }
    assert_true(c.shared->out.tail <= START_RING_BYTES);

    assert_true(child_ended(&c, &info));
    room = 0; /* waits for room, without losing anything */
    assert_false(child_drain(&c, NULL, 0));
    assert_int_equal(c.drain_left, START_RING_BYTES);
}

/* While it is drained somebody attaches to another guest: its last words are shown all the same. */
static void test_last_words_are_not_kept(void **state)
{
    static struct view view;
    struct process_info info;

    (void)state;
    c.view = &view;
    next_info = (struct process_info){.end = PROCESS_EXITED};
    ring_write(&c.out, "bye\n", 4);
    assert_true(child_ended(&c, &info));
    view.mode = LINES_KEEP;
    assert_true(child_drain(&c, NULL, 0));
    assert_int_equal(view.count, 0);
    assert_true(printed_bytes >= 4);
}

static void test_reason(void **state)
{
    char text[START_TEXT_BYTES];

    (void)state;
    memset(c.shared->reason, 'x', sizeof(c.shared->reason)); /* no end */
    child_reason(&c, text, sizeof(text));
    assert_int_equal(strlen(text), sizeof(text) - 1);
    strcpy(c.shared->reason, "debug\x1b[2J");
    child_reason(&c, text, sizeof(text));
    assert_string_equal(text, "debug");
    child_reason(&c, text, 3);
    assert_string_equal(text, "de");
}

static void test_end_time(void **state)
{
    static const u64 cases[][2] = {
        {0,     200},
        {99,    200},
        {150,   150},
        {200,   200},
        {~0ull, 200}
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        c.shared->end_tsc = cases[i][0];
        assert_int_equal(child_end_tsc(&c, 100, 200), cases[i][1]);
    }
}

static void test_typing(void **state)
{
    char line[START_INPUT_BYTES + 10];

    (void)state;
    memset(line, 'a', sizeof(line));
    assert_int_equal(child_type(&c, line, sizeof(line)), START_INPUT_BYTES);
    assert_int_equal(child_type(&c, line, 1), 0);
    c.shared->in.tail = 0x80000000; /* a reader that was never there */
    assert_int_equal(child_type(&c, line, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rounds_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_is_answered_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_words_are_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_typing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
