/* SPDX-License-Identifier: MIT */
/* SOURCES: kernel/event.c */
/* The merge of two exceptions, against the table of SDM 3A "Interrupt 8 - Double Fault Exception".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/event.h"

enum { B, C, P, D }; /* benign, contributory, page fault, double fault */

static const u8 class_of_vector[32] = {
    [0] = C, [8] = D, [10] = C, [11] = C, [12] = C, [13] = C, [14] = P, [20] = P, [21] = C,
};

static const enum event_merge expected[4][4] = {
  /*      then: B             C                    P                    D */
    [B] = {MERGE_SECOND, MERGE_SECOND,       MERGE_SECOND,       MERGE_SECOND      },
    [C] = {MERGE_SECOND, MERGE_DOUBLE_FAULT, MERGE_SECOND,       MERGE_DOUBLE_FAULT},
    [P] = {MERGE_SECOND, MERGE_DOUBLE_FAULT, MERGE_DOUBLE_FAULT, MERGE_DOUBLE_FAULT},
    [D] = {MERGE_SECOND, MERGE_TRIPLE_FAULT, MERGE_TRIPLE_FAULT, MERGE_TRIPLE_FAULT},
};

static struct event exception(u32 vector)
{
    return (struct event){.type = EVENT_HWEXC, .vector = (u8)vector};
}

static void test_all_pairs(void **state)
{
    (void)state;
    for (u32 a = 0; a < 32; a++) {
        for (u32 b = 0; b < 32; b++) {
            struct event first = exception(a), second = exception(b);
            assert_int_equal(event_merge(&first, &second),
                             expected[class_of_vector[a]][class_of_vector[b]]);
        }
    }
}

/* Nothing but an exception merges, whatever its vector looks like. */
static void test_other_types(void **state)
{
    static const u8 types[] = {EVENT_EXTINT, EVENT_NMI, EVENT_SWINT, EVENT_PRIV_SWEXC, EVENT_SWEXC};

    (void)state;
    for (u32 t = 0; t < ARRAY_SIZE(types); t++) {
        for (u32 vector = 0; vector < 32; vector++) {
            struct event other = {.type = types[t], .vector = (u8)vector}, gp = exception(13),
                         df = exception(8);
            assert_int_equal(event_merge(&other, &gp), MERGE_SECOND);
            assert_int_equal(event_merge(&gp, &other), MERGE_SECOND);
            assert_int_equal(event_merge(&df, &other), MERGE_SECOND);
        }
    }
}

/* A chain of faults ends: at most a page fault, another fault, a double fault, a triple fault. */
static void test_chain_ends(void **state)
{
    (void)state;
    for (u32 fault = 0; fault < 32; fault++) {
        struct event in_flight = exception(14), again = exception(fault);
        u32 steps = 0;
        if (class_of_vector[fault] == B) {
            continue;
        }
        for (;;) {
            enum event_merge m = event_merge(&in_flight, &again);
            steps++;
            if (m == MERGE_TRIPLE_FAULT) {
                break;
            }
            in_flight = m == MERGE_DOUBLE_FAULT ? exception(8) : again;
            assert_true(steps < 4);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_pairs),
        cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_chain_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
