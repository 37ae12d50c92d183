/* SPDX-License-Identifier: MIT */
/*
 * Tests in a guest. A guest lists its tests, test_all() runs those that the command line names
 * (all, when it names none) and prints a line for each; the last line is the guest's verdict:
 *
 *   NAME: SUCCESS (12 tests, 345 checks, 0 skipped)
 *
 * The most severe verdict is kept: SUCCESS, SKIP (nothing here can show it), ERROR (the test itself
 * is broken), FAILURE (what is tested is broken). Exit status 0 for the first two, 2 and 1 for the
 * others. A guest of which some tests were skipped has SUCCESS when others ran.
 */
#ifndef GUESTS_LIB_TEST_H
#define GUESTS_LIB_TEST_H

#include "lib/types.h"

enum verdict { VERDICT_SUCCESS, VERDICT_SKIP, VERDICT_ERROR, VERDICT_FAILURE };

struct test {
    const char *name;
    void (*run)(void);
};

void test_all(const char *guest, const struct test *tests, size_t count);

/* Prints the verdict and ends the guest. */
NORETURN void test_end(void);

/* A check: false is a FAILURE, with the text. "-v" prints those that hold too. Returns ok. */
bool test_check(bool ok, const char *file, int line, const char *format, ...) PRINTF(4, 5);
bool test_check_equal(u64 got, u64 want, const char *file, int line, const char *what);

#define CHECK(ok, ...)      test_check((ok), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_EQ(got, want) test_check_equal((u64)(got), (u64)(want), __FILE__, __LINE__, #got)
/* The same with a text of one's own; the checks of a loop need it to say where they are. */
#define CHECK_EQ_AT(got, want, ...)                                                                \
    ({                                                                                             \
        u64 check_got = (u64)(got), check_want = (u64)(want);                                      \
        char check_text[96];                                                                       \
        format_buffer(check_text, sizeof(check_text), __VA_ARGS__);                                \
        test_check_equal(check_got, check_want, __FILE__, __LINE__, check_text);                   \
    })
/* The fault that TRY gave: its vector (-1 none), and its error code where it has one. */
#define CHECK_FAULT(fault, want_vector)                                                            \
    test_check_equal((u64)(s64)(fault).vector, (u64)(s64)(want_vector), __FILE__, __LINE__,        \
                     "vector of " #fault)

/* The running test cannot show anything here, or is itself at fault; it should then return. */
void test_skip(const char *format, ...) PRINTF(1, 2);
void test_error(const char *format, ...) PRINTF(1, 2);
/* More to tell, without a verdict; only with "-v". */
void test_note(const char *format, ...) PRINTF(1, 2);

/* Ends everything at once as a FAILURE. */
NORETURN void test_abort(const char *format, ...) PRINTF(1, 2);

/* Numbers that look random and are the same in each run. */
u64 test_random(u64 *state);

#endif
