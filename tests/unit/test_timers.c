/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/timers.c */
/* The list of timers: order, moving, stopping, and timers that set themselves and each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "vmm/machine/timers.h"

#define COUNT 8

struct model {
    struct timers *list;
    struct host_timer timer;
    struct host_timer *other; /* set to other_ns when this one is due */
    u64 other_ns;
    u32 calls;
    u64 now_ns;
    u32 order; /* which call it was */
};

struct fixture {
    struct timers list;
    struct model models[COUNT];
};

static u32 calls;

static void due(void *device, u64 now_ns)
{
    struct model *m = device;

    assert_true(m->timer.at_ns == HOST_NEVER);
    m->calls++;
    m->now_ns = now_ns;
    m->order = ++calls;
    if (m->other) {
        timers_set(m->list, m->other, m->other_ns);
    }
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){0};
    calls = 0;
    for (u32 i = 0; i < COUNT; i++) {
        f->models[i].list = &f->list;
        f->models[i].timer = (struct host_timer){due, &f->models[i], HOST_NEVER, NULL};
    }
}

static void check_sorted(const struct timers *list, u32 count)
{
    u32 n = 0;

    for (const struct host_timer *t = list->first; t; t = t->next, n++) {
        assert_true(t->at_ns != HOST_NEVER);
        assert_true(!t->next || t->at_ns <= t->next->at_ns);
    }
    assert_int_equal(n, count);
}

static void test_order(void **state)
{
    static const u64 at[COUNT] = {50, 10, 40, 10, 0, 70, 60, 30};
    struct fixture f;

    (void)state;
    setup(&f);
    assert_true(timers_next(&f.list) == HOST_NEVER);
    for (u32 i = 0; i < COUNT; i++) {
        timers_set(&f.list, &f.models[i].timer, at[i]);
        check_sorted(&f.list, i + 1);
    }
    assert_true(timers_next(&f.list) == 0);
    timers_run(&f.list, 40);
    check_sorted(&f.list, 3);
    assert_true(timers_next(&f.list) == 50);
    for (u32 i = 0; i < COUNT; i++) {
        assert_int_equal(f.models[i].calls, at[i] <= 40);
        assert_int_equal(f.models[i].now_ns, at[i] <= 40 ? 40 : 0);
    }
    assert_int_equal(f.models[4].order, 1);
    assert_int_equal(f.models[1].order, 2); /* equal ones in the order they were set */
    assert_int_equal(f.models[3].order, 3);
    assert_int_equal(f.models[2].order, 5);
}

static void test_moved_and_stopped(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    for (u32 i = 0; i < 4; i++) {
        timers_set(&f.list, &f.models[i].timer, 100 + i);
    }
    timers_set(&f.list, &f.models[0].timer, 200);        /* later */
    timers_set(&f.list, &f.models[3].timer, 1);          /* sooner */
    timers_set(&f.list, &f.models[1].timer, 101);        /* the same */
    timers_set(&f.list, &f.models[2].timer, HOST_NEVER); /* not at all */
    timers_set(&f.list, &f.models[5].timer, HOST_NEVER); /* never was */
    check_sorted(&f.list, 3);
    timers_run(&f.list, HOST_NEVER - 1);
    check_sorted(&f.list, 0);
    assert_int_equal(f.models[3].order, 1);
    assert_int_equal(f.models[1].order, 2);
    assert_int_equal(f.models[0].order, 3);
    assert_int_equal(calls, 3);
}

/* A period of nothing: one call a round, so whoever runs the timers can do other things. */
static void test_a_round_ends(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    f.models[0].other = &f.models[0].timer;
    f.models[0].other_ns = 5;
    timers_set(&f.list, &f.models[0].timer, 5);
    timers_run(&f.list, 4);
    assert_int_equal(calls, 0);
    for (u32 i = 1; i <= 3; i++) {
        timers_run(&f.list, 5);
        assert_int_equal(calls, i);
        check_sorted(&f.list, 1);
    }
}

/* One that is due stops another that is due, or brings one in before it. */
static void test_they_set_each_other(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    f.models[0].other = &f.models[1].timer;
    f.models[0].other_ns = HOST_NEVER;
    timers_set(&f.list, &f.models[0].timer, 1);
    timers_set(&f.list, &f.models[1].timer, 2);
    timers_set(&f.list, &f.models[2].timer, 3);
    timers_run(&f.list, 3);
    assert_int_equal(f.models[1].calls, 0);
    assert_int_equal(f.models[2].order, 2);
    check_sorted(&f.list, 0);

    setup(&f);
    f.models[0].other = &f.models[1].timer;
    f.models[0].other_ns = 0;
    timers_set(&f.list, &f.models[0].timer, 1);
    timers_set(&f.list, &f.models[2].timer, 3);
    timers_run(&f.list, 3);
    timers_run(&f.list, 3);
    assert_int_equal(f.models[1].calls, 1);
    assert_int_equal(f.models[2].calls, 1);
    check_sorted(&f.list, 0);
}

/* Against a plain array that does the same. */
static void test_random(void **state)
{
    struct fixture f;
    u64 model[COUNT];

    (void)state;
    setup(&f);
    srand(1);
    for (u32 i = 0; i < COUNT; i++) {
        model[i] = HOST_NEVER;
    }
    for (u32 step = 0; step < 20000; step++) {
        u32 i = (u32)rand() % COUNT;
        u64 at = rand() % 5 ? (u64)(rand() % 100) : HOST_NEVER, least = HOST_NEVER;

        if (rand() % 8) {
            timers_set(&f.list, &f.models[i].timer, at);
            model[i] = at;
        } else {
            timers_run(&f.list, at == HOST_NEVER ? 50 : at);
        }
        for (u32 k = 0; k < COUNT; k++) {
            if (f.models[k].calls) {
                assert_true(model[k] <= f.models[k].now_ns);
                f.models[k].calls = 0;
                model[k] = HOST_NEVER;
            }
            assert_true(model[k] == f.models[k].timer.at_ns);
            least = MIN(least, model[k]);
        }
        assert_true(timers_next(&f.list) == least);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_moved_and_stopped),
        cmocka_unit_test(test_a_round_ends), cmocka_unit_test(test_they_set_each_other),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
