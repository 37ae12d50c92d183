/* SPDX-License-Identifier: MIT */
/* The test framework: runs tests, keeps the most severe verdict, prints lines. */
#include "guests/lib/test.h"

#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "lib/format.h"
#include "lib/string.h"

#define MAX_FAILURE_LINES 20 /* of one test: the rest is only counted */

static struct {
    const char *guest;
    enum verdict verdict, current;
    u32 tests, skipped, checks, failures;
    u32 test_checks, test_failures;
    bool verbose;
} state = {.guest = "guest"};

static const char *const names[] = {
    [VERDICT_SUCCESS] = "SUCCESS",
    [VERDICT_SKIP] = "SKIP",
    [VERDICT_ERROR] = "ERROR",
    [VERDICT_FAILURE] = "FAILURE",
};

static bool selected(const char *name)
{
    char word[32];

    if (!boot_word(0, word, sizeof(word))) {
        return true;
    }
    for (u32 i = 0; boot_word(i, word, sizeof(word)); i++) {
        if (!strcmp(word, name)) {
            return true;
        }
    }
    return false;
}

static void run(const struct test *t)
{
    state.current = VERDICT_SUCCESS;
    state.test_checks = state.test_failures = 0;
    t->run();
    state.tests++;
    state.skipped += state.current == VERDICT_SKIP;
    if (state.current != VERDICT_SKIP) {
        state.verdict = MAX(state.verdict, state.current);
        print("%-8s %s (%u checks)\n",
              state.current == VERDICT_SUCCESS ? "ok" : names[state.current], t->name,
              state.test_checks);
    }
}

void test_all(const char *guest, const struct test *tests, size_t count)
{
    state.guest = guest;
    state.verbose = boot_option("-v") != NULL;
    for (size_t i = 0; i < count; i++) {
        if (selected(tests[i].name)) {
            run(&tests[i]);
        }
    }
    if (!state.tests) {
        test_error("no test of that name");
        state.verdict = VERDICT_ERROR;
    }
}

void test_end(void)
{
    static const u32 status[] = {
        [VERDICT_SUCCESS] = 0,
        [VERDICT_SKIP] = 0,
        [VERDICT_ERROR] = 2,
        [VERDICT_FAILURE] = 1,
    };

    if (state.tests && state.tests == state.skipped) {
        state.verdict = MAX(state.verdict, VERDICT_SKIP);
    }
    state.verdict =
        MAX(state.verdict, state.current == VERDICT_SKIP ? VERDICT_SUCCESS : state.current);
    print("%s: %s (%u tests, %u checks, %u skipped)\n", state.guest, names[state.verdict],
          state.tests, state.checks, state.skipped);
    guest_exit(status[state.verdict]);
}

static void line(const char *prefix, const char *format, va_list args)
{
    char text[200];

    format_vbuffer(text, sizeof(text), format, args);
    print("%s%s\n", prefix, text);
}

bool test_check(bool ok, const char *file, int number, const char *format, ...)
{
    char text[160];
    va_list args;

    state.checks++;
    state.test_checks++;
    if (ok && !state.verbose) {
        return true;
    }
    va_start(args, format);
    format_vbuffer(text, sizeof(text), format, args);
    va_end(args);
    if (ok) {
        print("  holds: %s\n", text);
        return true;
    }
    state.failures++;
    state.current = VERDICT_FAILURE;
    if (state.test_failures++ < MAX_FAILURE_LINES) {
        print("  %s:%d: not so: %s\n", file, number, text);
    }
    return false;
}

bool test_check_equal(u64 got, u64 want, const char *file, int number, const char *what)
{
    return test_check(got == want, file, number, "%s is 0x%lx, 0x%lx expected", what, got, want);
}

void test_skip(const char *format, ...)
{
    char prefix[] = "skipped  ";
    va_list args;

    state.current = MAX(state.current, VERDICT_SKIP);
    va_start(args, format);
    line(prefix, format, args);
    va_end(args);
}

void test_error(const char *format, ...)
{
    va_list args;

    state.current = MAX(state.current, VERDICT_ERROR);
    va_start(args, format);
    line("  error: ", format, args);
    va_end(args);
}

void test_note(const char *format, ...)
{
    va_list args;

    if (state.verbose) {
        va_start(args, format);
        line("  ", format, args);
        va_end(args);
    }
}

void test_abort(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line("  aborted: ", format, args);
    va_end(args);
    state.current = state.verdict = VERDICT_FAILURE;
    test_end();
}

u64 test_random(u64 *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}
