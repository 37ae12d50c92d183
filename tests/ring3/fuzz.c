/* SPDX-License-Identifier: MIT */
/* System calls at random, from several threads of a process: nothing comes of it but error codes.
 * The numbers look random and are the same in each run, though threads interleave as they like. */
#include "tests/ring3/ring3.h"

#define AREA (CHILD_FREE + 64 * SIZE_1G)

struct fuzzer {
    struct child_page *page;
    u64 seed;
    u8 buffer[1024];
};

static u64 pick_address(struct fuzzer *f)
{
    static const u64 list[] = {0,
                               USER_BASE,
                               USER_TOP,
                               USER_TOP - PAGE_SIZE,
                               0x0000800000000000,
                               0xffff800000000000,
                               0xffffffff80000000,
                               ~0ull,
                               CHILD_FREE};
    u64 r = random_next(&f->seed);

    switch (r % 8) {
    case 0:
        return list[r / 8 % ARRAY_SIZE(list)];
    case 1:
        return list[r / 8 % ARRAY_SIZE(list)] + (r >> 32) % 4096 - 2048;
    case 2:
        return AREA + (r >> 16) % 16 * PAGE_SIZE;
    case 3:
        return AREA + (r >> 16) % (1 << 20);
    default:
        return (u64)f->buffer + (r >> 16) % 64 * 8;
    }
}

static u64 pick_value(struct fuzzer *f)
{
    u64 r = random_next(&f->seed);

    switch (r % 10) {
    case 0:
        return r;
    case 1:
        return BIT(r >> 8 & 63);
    case 2:
        return BIT(r >> 8 & 63) - 1;
    case 3:
        return (r >> 8) % 64 * PAGE_SIZE;
    case 4:
        return (u32)r;
    case 5:
        return pick_address(f);
    default:
        return (r >> 8) % 40;
    }
}

/* A structure of random values in the buffer; some of its fields often make sense. */
static void fill(struct fuzzer *f, u64 number)
{
    u64 *words = (u64 *)f->buffer, r = random_next(&f->seed);

    for (u32 i = 0; i < sizeof(f->buffer) / 8; i++) {
        words[i] = pick_value(f);
    }
    if (number == SYS_MEMORY_MAP && r & 1) {
        struct map_args *m = (struct map_args *)f->buffer;

        *m = (struct map_args){0,
                               (handle_t)(r >> 8) % 40,
                               (r >> 16) % 4 * PAGE_SIZE,
                               AREA + (r >> 24) % 16 * PAGE_SIZE,
                               (1 + (r >> 32) % 3) * PAGE_SIZE,
                               (r >> 40) % 8};
    } else if (number == SYS_PROCESS_CREATE) {
        struct process_args *p = (struct process_args *)f->buffer;

        *p = (struct process_args){
            .name = "fuzz", .memory_bytes = (r >> 8) % 32768, .kernel_bytes = (r >> 24) % 65536};
    } else if (number == SYS_THREAD_CREATE) {
        struct thread_args *t = (struct thread_args *)f->buffer;

        t->pad = r & 3; /* threads of its own would end it by a fault: seldom */
        t->weight = (u32)(r >> 8) % 20000;
        t->affinity = (r >> 30) & 7;
        t->pad |= (r >> 40) % 64 != 0;
    } else if (number == SYS_VM_CREATE && r & 1) {
        *(struct vm_args *)f->buffer = (struct vm_args){.name = "fuzz", .cpus = (r >> 8) % 20};
    }
}

static void one_call(struct fuzzer *f)
{
    u64 number = random_next(&f->seed) % (SYS_COUNT + 2), a[6];
    struct vcpu_exit exit;
    s64 e;

    if (number == SYS_PROCESS_EXIT) {
        return;
    }
    for (u32 i = 0; i < 6; i++) {
        a[i] = pick_value(f);
    }
    fill(f, number);
    if (a[5] & 1) {
        u32 at = number == SYS_PROCESS_INFO || number == SYS_THREAD_CREATE ||
                         number == SYS_VM_STATS || number == SYS_VCPU_GET ||
                         number == SYS_VCPU_SET || number == SYS_VCPU_REPORT ||
                         number == SYS_CONSOLE_WRITE
                     ? 1
                     : 0;
        a[at] = (u64)f->buffer;
    }
    if (number == SYS_EVENT_WAIT) {
        a[2] = a[2] & 1 ? 1 : sys_tsc() + f->page->tsc_hz / 10000; /* never for ever */
    }
    if (number == SYS_MEMORY_UNMAP && a[1] < AREA && a[1] >= 0x400000) {
        a[1] = AREA + a[1] % 16 * PAGE_SIZE; /* not its own code, data or stack */
    }
    if (number == SYS_HANDLE_CLOSE && a[0] < 4) {
        return;
    }
    if (number == SYS_VCPU_RUN) {
        e = sys_call_vcpu_run(a[0], a[1], a[2], &exit);
    } else {
        e = sys_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    child_check(f->page, e >= E_NOT_FOUND, "call %lu: %ld", number, e);
    if (e > 3 && e < 256 && random_next(&f->seed) % 3 == 0) {
        sys_handle_close((handle_t)e); /* else the table is full soon, and nothing happens */
    }
    __atomic_fetch_add(&f->page->counters[0], 1, __ATOMIC_RELAXED);
}

static void fuzz(struct child_page *page)
{
    u32 me = __atomic_fetch_add(&page->go, 1, __ATOMIC_SEQ_CST);
    struct fuzzer f = {.page = page, .seed = page->args[0] * 7919 + me * 104729 + 1};

    for (u64 i = 0; i < page->args[1]; i++) {
        one_call(&f);
    }
}

static void fuzz_thread(struct child_page *page)
{
    fuzz(page);
    child_sleep();
}

void scenario_fuzz(struct child_page *page)
{
    sys_event_create();
    sys_memory_create(4 * PAGE_SIZE);
    for (u32 i = 1; i < page->args[2]; i++) {
        child_thread(i, fuzz_thread, page);
    }
    fuzz(page);
}

void test_fuzz(void)
{
    u64 calls = 0;

    for (u64 seed = 1; seed <= 8; seed++) {
        struct child_options o = {
            .memory_bytes = 1 << 20,
            .kernel_bytes = 1 << 20,
            .args = {seed, 3000, seed & 1 ? 1 : 3}
        };
        struct process_info info;
        struct child c;

        if (!child_make(&c, SCENARIO_FUZZ, &o)) {
            return;
        }
        if (child_start(&c, &o)) {
            check(child_wait(&c, 20000, &info), "fuzzing with seed %lu ends", seed);
            /* a fault is its own affair: it may have taken its memory or made a thread of nonsense
             */
            bool well =
                info.end == PROCESS_FAULT || (info.end == PROCESS_EXITED && info.status == 0);
            check(well, "fuzzing with seed %lu: end %u, status %ld at %lx: %.*s", seed, info.end,
                  info.status, info.address, (int)MIN(c.page->text_used, 120u), c.page->text);
            calls += c.page->counters[0];
        }
        child_close(&c);
    }
    check(calls > 8000, "%lu calls", calls);
    say("  %lu calls", calls);
}
