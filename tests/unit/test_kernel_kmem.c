/* SPDX-License-Identifier: MIT */
/* Kernel memory and frames: the real kernel/kmem.c on a mapping where the kernel has its pool. */
/* HARNESS: kernel */
/* SOURCES: kernel/kmem.c kernel/frame.c kernel/buddy.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/frame.h"
#include "kernel/kmem.h"
#include "kernel/log.h"

#define POOL_BASE  0x1000000ull
#define POOL_BYTES (16ull << 20)
#define RAM_BASE   0x10000000ull

static const struct boot_range pool[] = {
    {POOL_BASE,                  POOL_BYTES, BOOT_MEM_POOL, 0},
    {POOL_BASE + 2 * POOL_BYTES, 0x7000,     BOOT_MEM_POOL, 0},
};

/* --- what they need of the rest --- */

static struct cpu cpu;
static u32 zeroed; /* calls of arch_frame_zero */
static u64 zeroed_bytes;

struct cpu *cpu_this(void)
{
    return &cpu;
}

static u32 locks; /* twice for each lock: before it is taken, and after it was given back */
static bool may_wait;

void host_preempt(void)
{
    locks++;
}

void arch_pause(void)
{
    if (may_wait) {
        _exit(0);
    }
    abort(); /* a lock that is held for ever */
}

void arch_spin_poll(void)
{
}

void arch_frame_zero(hpa_t frame, u64 bytes)
{
    assert_int_equal(frame.v & (bytes - 1), 0);
    zeroed++;
    zeroed_bytes += bytes;
}

void klog(const char *format, ...)
{
    (void)format;
}

void panic(const char *format, ...)
{
    fprintf(stderr, "panic: %s\n", format);
    abort();
}

static int start(void **state)
{
    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(pool); i++) {
        void *at = (void *)(BOOT_PHYSMAP + pool[i].base);
        if (mmap(at, pool[i].bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at) {
            return -1;
        }
        memset(at, 0x5a, pool[i].bytes); /* whatever the firmware left */
    }
    kmem_init(pool, ARRAY_SIZE(pool));
    return 0;
}

/* --- kernel memory --- */

static bool inside(const void *p, u64 bytes)
{
    u64 pa = arch_pool_hpa(p).v;

    for (u32 i = 0; i < ARRAY_SIZE(pool); i++) {
        if (pa >= pool[i].base && pa + bytes <= pool[i].base + pool[i].bytes) {
            return true;
        }
    }
    return false;
}

static bool all_bytes(const void *p, u8 value, u64 bytes)
{
    const u8 *b = p;

    for (u64 i = 0; i < bytes; i++) {
        if (b[i] != value) {
            return false;
        }
    }
    return true;
}

static void test_sizes(void **state)
{
    static const u64 sizes[] = {1,          31,        32,    33,    64,         100,
                                1000,       2047,      2048,  2049,  4095,       4096,
                                4097,       8192,      10000, 65536, 1ull << 20, (1ull << 20) + 1,
                                3ull << 20, 4ull << 20};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
        u8 *p[3];
        for (u32 k = 0; k < (sizes[i] > 1ull << 20 ? 1 : 3); k++) {
            p[k] = kmem_alloc(sizes[i]);
            assert_non_null(p[k]);
            assert_true(inside(p[k], sizes[i]));
            assert_true(all_bytes(p[k], 0, sizes[i]));
            u64 alignment = 32;
            while (alignment < sizes[i] && alignment < PAGE_SIZE) {
                alignment *= 2;
            }
            assert_int_equal((u64)p[k] & (alignment - 1), 0);
            memset(p[k], 0x11 * ((int)k + 1), sizes[i]);
        }
        for (u32 k = 0; k < (sizes[i] > 1ull << 20 ? 1 : 3); k++) {
            assert_true(all_bytes(p[k], (u8)(0x11 * (k + 1)), sizes[i]));
            kmem_free(p[k]);
            /* nothing of it can be read any more (the first word links the free objects) */
            assert_true(all_bytes(p[k] + 8, 0xa5, sizes[i] > 8 ? sizes[i] - 8 : 0));
        }
    }
    assert_null(kmem_alloc((4ull << 20) + 1));
    assert_null(kmem_alloc(~0ull / 2));
    kmem_free(NULL);
}

static void test_pages(void **state)
{
    static hpa_t pages[POOL_BYTES / PAGE_SIZE + 16];
    u64 before = kmem_free_bytes();
    u32 n = 0;

    (void)state;
    for (;;) {
        hpa_t p = kmem_page_alloc();
        if (!p.v) {
            break;
        }
        assert_int_equal(p.v & PAGE_MASK, 0);
        assert_true(all_bytes(arch_pool_ptr(p), 0, PAGE_SIZE));
        assert_true(kmem_owns(p));
        memset(arch_pool_ptr(p), (int)n, PAGE_SIZE);
        pages[n++] = p;
    }
    assert_int_equal(kmem_free_bytes(), 0);
    assert_int_equal(before, (u64)n << PAGE_SHIFT);
    assert_null(kmem_alloc(4096));
    for (u32 i = 0; i < n; i++) {
        assert_true(all_bytes(arch_pool_ptr(pages[i]), (u8)i, PAGE_SIZE));
        kmem_page_free(pages[i]);
        assert_false(kmem_owns(pages[i]));
    }
    assert_int_equal(kmem_free_bytes(), before);
    /* merged again: the largest block can be had */
    void *large = kmem_alloc(4ull << 20);
    assert_non_null(large);
    kmem_free(large);
    assert_false(kmem_owns(HPA(0)));
    assert_false(kmem_owns(HPA(POOL_BASE - PAGE_SIZE)));
    assert_false(kmem_owns(HPA(POOL_BASE + POOL_BYTES)));
    assert_int_equal(kmem_total_bytes(), POOL_BYTES + 0x7000);
}

/* Small objects fill their pages before a new one is taken. */
static void test_small_objects_share_pages(void **state)
{
    void *p[3 * 128];
    u64 before = kmem_free_bytes();

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(p); i++) {
        p[i] = kmem_alloc(20);
        for (u32 k = 0; k < i; k++) {
            assert_ptr_not_equal(p[i], p[k]);
        }
    }
    assert_true(before - kmem_free_bytes() <= 3 * PAGE_SIZE);
    u64 after = kmem_free_bytes();
    for (u32 round = 0; round < 5; round++) {
        for (u32 i = 0; i < ARRAY_SIZE(p); i++) {
            kmem_free(p[(i * 7) % ARRAY_SIZE(p)]);
        }
        for (u32 i = 0; i < ARRAY_SIZE(p); i++) {
            p[(i * 7) % ARRAY_SIZE(p)] = kmem_alloc(1 + i % 32);
        }
        assert_int_equal(kmem_free_bytes(), after);
    }
    for (u32 i = 0; i < ARRAY_SIZE(p); i++) {
        kmem_free(p[i]);
    }
}

static void test_random_use(void **state)
{
    static struct {
        u8 *p;
        u64 bytes;
    } live[200];
    u32 failed = 0;

    (void)state;
    srand(7);
    for (u32 round = 0; round < 20000; round++) {
        u32 i = (u32)rand() % ARRAY_SIZE(live);
        if (live[i].p) {
            assert_true(all_bytes(live[i].p, (u8)i, live[i].bytes));
            kmem_free(live[i].p);
            live[i].p = NULL;
        } else {
            live[i].bytes = 1 + ((u64)rand() & ((64ull << (rand() % 13)) - 1));
            live[i].p = kmem_alloc(live[i].bytes);
            failed += !live[i].p;
            if (live[i].p) {
                assert_true(all_bytes(live[i].p, 0, live[i].bytes));
                memset(live[i].p, (int)i, live[i].bytes);
            }
        }
    }
    for (u32 i = 0; i < ARRAY_SIZE(live); i++) {
        kmem_free(live[i].p);
    }
    assert_true(failed < 10000);
}

/* --- frames --- */

static void test_frames(void **state)
{
    bool free;
    owner_t owner;
    u32 refs;

    (void)state;
    assert_true(frame_init(SIZE_1G + (64ull << 20)));
    frame_add(RAM_BASE, 64ull << 20);
    frame_add(SIZE_1G, SIZE_1G);
    frame_add(8 * SIZE_1G, SIZE_1G); /* more than there are records for */
    assert_int_equal(frame_total_bytes(), SIZE_1G + (64ull << 20));
    u64 before = frame_free_bytes();
    owner_t a = owner_new(), b = owner_new();
    assert_true(a && b && a != b);

    zeroed = 0, zeroed_bytes = 0;
    hpa_t one = frame_alloc(0, a), large = frame_alloc(9, b), huge = frame_alloc(18, a);
    assert_int_equal(huge.v, SIZE_1G);
    assert_int_equal(large.v & (SIZE_2M - 1), 0);
    assert_int_equal(zeroed, 1 + 1 + 512);
    assert_int_equal(zeroed_bytes, PAGE_SIZE + SIZE_2M + SIZE_1G);
    assert_int_equal(before - frame_free_bytes(), PAGE_SIZE + SIZE_2M + SIZE_1G);
    assert_int_equal(frame_alloc(18, a).v, 0);
    assert_int_equal(frame_alloc(19, a).v, 0);

    /* each frame of a block has the tag */
    for (u64 at = 0; at < SIZE_2M; at += PAGE_SIZE) {
        assert_true(frame_query(HPA(large.v + at), &free, &owner, &refs));
        assert_true(!free && owner == b && refs == 1);
    }
    assert_true(frame_query(one, &free, &owner, &refs) && !free && owner == a && refs == 1);
    assert_false(frame_query(HPA(0), &free, &owner, &refs));
    assert_false(frame_query(HPA(2 * SIZE_1G), &free, &owner, &refs));

    /* a part of a block may go before the rest */
    frame_free(HPA(large.v + 3 * PAGE_SIZE), 5 * PAGE_SIZE);
    assert_true(frame_query(HPA(large.v + 7 * PAGE_SIZE), &free, &owner, &refs) && free);
    assert_true(frame_query(HPA(large.v + 8 * PAGE_SIZE), &free, &owner, &refs) && !free);
    frame_free(large, 3 * PAGE_SIZE);
    frame_free(HPA(large.v + 8 * PAGE_SIZE), SIZE_2M - 8 * PAGE_SIZE);
    frame_free(one, PAGE_SIZE);
    frame_free(huge, SIZE_1G);
    assert_int_equal(frame_free_bytes(), before);
    assert_int_equal(frame_alloc(18, a).v, SIZE_1G); /* merged */
    frame_free(HPA(SIZE_1G), SIZE_1G);
    owner_free(a);
    owner_free(b);
}

struct tally {
    u64 bytes, free, next;
};

static void tally(void *arg, const struct frame_use *use)
{
    struct tally *t = arg;

    assert_true(use->base >= t->next && use->bytes && !(use->bytes & PAGE_MASK));
    t->next = use->base + use->bytes;
    t->bytes += use->bytes;
    t->free += use->free ? use->bytes : 0;
    assert_true(use->free || (use->owner && use->refs == 1));
}

static void test_walk_of_frames(void **state)
{
    hpa_t got[64];

    (void)state;
    srand(3);
    for (u32 round = 0; round < 50; round++) {
        struct tally t = {0, 0, 0};
        u32 order[64];
        for (u32 i = 0; i < ARRAY_SIZE(got); i++) {
            order[i] = (u32)rand() % 11;
            got[i] = frame_alloc(order[i], (owner_t)(1 + i));
        }
        for (u32 i = 0; i < ARRAY_SIZE(got); i += 2) {
            frame_free(got[i], PAGE_SIZE << order[i]);
        }
        frame_walk_use(tally, &t);
        assert_int_equal(t.bytes, frame_total_bytes());
        assert_int_equal(t.free, frame_free_bytes());
        for (u32 i = 1; i < ARRAY_SIZE(got); i += 2) {
            frame_free(got[i], PAGE_SIZE << order[i]);
        }
    }
}

static void take_one(void *arg, const struct frame_use *use)
{
    (void)arg;
    (void)use;
    may_wait = true;
    _exit(frame_alloc(0, 1).v ? 1 : 2);
}

/* Frames come and go on other CPUs under this lock alone, so what goes through them all holds it:
 * a frame is never seen, or written to, half on its way. */
static void test_walks_keep_others_out(void **state)
{
    int status;

    (void)state;
    locks = 0;
    frame_claims_reset();
    assert_int_equal(locks, 2);
    pid_t child = fork();
    if (!child) {
        frame_walk_use(take_one, NULL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0); /* it had to wait */
}

static void test_owners(void **state)
{
    static bool seen[1 << 16];
    u32 n = 0;
    owner_t o, last = 0;

    (void)state;
    while ((o = owner_new())) {
        assert_false(seen[o]);
        seen[o] = true;
        last = o;
        n++;
    }
    assert_int_equal(n, 4095); /* 0 is nobody */
    owner_free(last);
    assert_int_equal(owner_new(), last);
    for (u32 i = 1; i <= n; i++) {
        owner_free((owner_t)i);
    }
    /* a number that was given back comes again as late as possible */
    o = owner_new();
    owner_free(o);
    for (u32 i = 0; i < 1000; i++) {
        last = owner_new();
        assert_int_not_equal(last, o);
        owner_free(last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_small_objects_share_pages),
        cmocka_unit_test(test_random_use),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_walk_of_frames),
        cmocka_unit_test(test_walks_keep_others_out),
        cmocka_unit_test(test_owners),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
