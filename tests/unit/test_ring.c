/* SPDX-License-Identifier: MIT */
/* SOURCES: lib/ring.c */
/* The ring: order, wrapping, fullness, and a peer that writes rubbish into the indices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ring.h"

#define SIZE 64

struct fixture {
    struct ring ring;
    struct ring_shared *shared;
};

static void setup(struct fixture *f)
{
    f->shared = calloc(1, sizeof(struct ring_shared) + SIZE); /* exact: ASan sees any step over */
    ring_init(&f->ring, f->shared, SIZE);
}

static void test_order(void **state)
{
    struct fixture f;
    u8 next_in = 0, next_out = 0;

    (void)state;
    setup(&f);
    for (u32 round = 0; round < 2000; round++) {
        u8 buffer[SIZE];
        u32 n = (round * 7) % 41;
        for (u32 i = 0; i < n; i++) {
            buffer[i] = (u8)(next_in + i);
        }
        next_in += (u8)ring_write(&f.ring, buffer, n);
        n = ring_read(&f.ring, buffer, (round * 11) % 37);
        for (u32 i = 0; i < n; i++) {
            assert_int_equal(buffer[i], next_out++);
        }
    }
    free(f.shared);
}

static void test_full_and_empty(void **state)
{
    struct fixture f;
    u8 buffer[SIZE * 2] = {0};

    (void)state;
    setup(&f);
    assert_int_equal(ring_read(&f.ring, buffer, sizeof(buffer)), 0);
    assert_int_equal(ring_write(&f.ring, buffer, 0), 0);
    assert_int_equal(ring_write(&f.ring, buffer, sizeof(buffer)), SIZE);
    assert_int_equal(ring_write(&f.ring, buffer, 1), 0);
    assert_int_equal(ring_room(&f.ring), 0);
    assert_int_equal(ring_read(&f.ring, buffer, 1), 1);
    assert_int_equal(ring_room(&f.ring), 1);
    assert_int_equal(ring_write(&f.ring, buffer, 5), 1);
    assert_int_equal(ring_read(&f.ring, buffer, sizeof(buffer)), SIZE);
    free(f.shared);
}

static void test_indices_pass_4g(void **state)
{
    struct fixture f;
    u8 buffer[SIZE];

    (void)state;
    setup(&f);
    f.shared->head = f.shared->tail = 0xfffffff0;
    for (u32 i = 0; i < 20; i++) {
        memset(buffer, (int)i, sizeof(buffer));
        assert_int_equal(ring_write(&f.ring, buffer, 5), 5);
        memset(buffer, 0xff, sizeof(buffer));
        assert_int_equal(ring_read(&f.ring, buffer, SIZE), 5);
        assert_int_equal(buffer[0], i);
        assert_int_equal(buffer[4], i);
    }
    free(f.shared);
}

#define MANY 1000000u

/* Reads all that there is, and notes the first byte that is not the one to come. */
static void *read_many(void *arg)
{
    struct fixture *f = arg;
    u32 wrong = MANY;
    u8 buffer[5];

    for (u32 i = 0, n; i < MANY; i += n) {
        n = ring_read(&f->ring, buffer, (u32)MIN(sizeof(buffer), MANY - i));
        for (u32 k = 0; k < n; k++) {
            wrong = buffer[k] == (u8)(i + k + 1) ? wrong : MIN(wrong, i + k);
        }
    }
    return (void *)(u64)wrong;
}

/* Room that comes while a full ring is written to is not filled with what nobody gave. */
static void test_both_at_once(void **state)
{
    struct fixture f;
    pthread_t thread;
    void *wrong;

    (void)state;
    setup(&f);
    assert_int_equal(pthread_create(&thread, NULL, read_many, &f), 0);
    for (u32 i = 0; i < MANY;) {
        u8 byte[SIZE] = {(u8)(i + 1)};
        u32 n = ring_write(&f.ring, byte, 1);
        assert_true(n <= 1);
        i += n;
    }
    assert_int_equal(pthread_join(thread, &wrong), 0);
    assert_int_equal((u64)wrong, MANY);
    free(f.shared);
}

static void test_hostile_peer(void **state)
{
    static const u32 indices[] = {0,        1,          SIZE - 1,   SIZE,
                                  SIZE + 1, 0x7fffffff, 0x80000000, 0xffffffff};
    struct fixture f;
    u8 buffer[SIZE * 2] = {0};

    (void)state;
    setup(&f);
    for (u32 i = 0; i < ARRAY_SIZE(indices); i++) {
        for (u32 j = 0; j < ARRAY_SIZE(indices); j++) {
            f.shared->head = indices[i];
            f.shared->tail = indices[j];
            assert_true(ring_read(&f.ring, buffer, sizeof(buffer)) <= SIZE);
            f.shared->head = indices[i];
            f.shared->tail = indices[j];
            assert_true(ring_write(&f.ring, buffer, sizeof(buffer)) <= SIZE);
        }
    }
    free(f.shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),           cmocka_unit_test(test_full_and_empty),
        cmocka_unit_test(test_indices_pass_4g), cmocka_unit_test(test_both_at_once),
        cmocka_unit_test(test_hostile_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
