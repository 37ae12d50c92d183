/* SPDX-License-Identifier: MIT */
/* SANITIZE: thread */
/* SOURCES: vmm/machine/lock.c tests/unit/fake_sys.c */
/* The sleeping lock on real threads: what it guards is never seen by two, nobody sleeps for ever,
 * and without a rival it makes no system call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "vmm/machine/lock.h"
#include "vmm/sys.h"

#define THREADS 5
#define ROUNDS  20000

/* An event object as the kernel has it: bits stay until somebody takes them, every waiter wakes. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    u64 bits;
    u32 waits, signals;
    s64 created;
} event = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

s64 sys_call(u64 number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
    u64 got = 0;

    (void)a3;
    (void)a4;
    (void)a5;
    if (number == SYS_EVENT_CREATE) {
        return event.created;
    }
    pthread_mutex_lock(&event.mutex);
    if (a0 != (u64)event.created) {
        got = (u64)E_HANDLE;
    } else if (number == SYS_EVENT_SIGNAL) {
        event.signals++;
        event.bits |= a1;
        pthread_cond_broadcast(&event.changed);
    } else if (number == SYS_EVENT_WAIT && !a2) {
        event.waits++;
        while (!(event.bits & a1)) {
            pthread_cond_wait(&event.changed, &event.mutex);
        }
        got = event.bits & a1;
        event.bits &= ~got;
    }
    pthread_mutex_unlock(&event.mutex);
    return (s64)got;
}

struct shared {
    struct lock lock;
    u64 counter, copy; /* always equal outside the lock; plain, so that a race is seen */
    bool yields;       /* the holder gives way, so that others must sleep */
};

static void *work(void *arg)
{
    struct shared *s = arg;

    for (u32 i = 0; i < ROUNDS; i++) {
        lock_acquire(&s->lock);
        u64 seen = s->counter++;
        if (s->yields && i % 64 == 0) {
            sched_yield();
        }
        s->copy += s->copy == seen;
        lock_release(&s->lock);
    }
    return NULL;
}

static void setup(struct shared *s)
{
    memset(s, 0, sizeof(*s));
    event.bits = event.waits = event.signals = 0;
    event.created = 7;
    assert_int_equal(lock_init(&s->lock), 0);
    assert_int_equal(s->lock.event, 7);
}

static void test_no_rival_no_call(void **state)
{
    struct shared s;

    (void)state;
    setup(&s);
    work(&s);
    assert_int_equal(s.counter, ROUNDS);
    assert_int_equal(s.lock.word, LOCK_FREE);
    assert_int_equal(event.waits + event.signals, 0);
}

static void run_threads(struct shared *s)
{
    pthread_t threads[THREADS];

    for (u32 i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, s), 0);
    }
    for (u32 i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(s->counter, THREADS * ROUNDS);
    assert_int_equal(s->copy, s->counter);
    assert_int_equal(s->lock.word, LOCK_FREE);
}

static void test_rivals(void **state)
{
    struct shared s;

    (void)state;
    setup(&s);
    run_threads(&s);
    setup(&s);
    s.yields = true;
    run_threads(&s);
    assert_true(event.waits > 0); /* else the test shows nothing */
}

/* A signal that comes before the wait is not lost, and an old one only costs a look. */
static void test_old_signal(void **state)
{
    struct shared s;

    (void)state;
    setup(&s);
    event.bits = ~0ull >> 1;
    s.yields = true;
    run_threads(&s);
}

static void test_no_event(void **state)
{
    struct lock l;

    (void)state;
    event.created = E_NO_MEMORY;
    assert_int_equal(lock_init(&l), E_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_rival_no_call),
        cmocka_unit_test(test_rivals),
        cmocka_unit_test(test_old_signal),
        cmocka_unit_test(test_no_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
