/* SPDX-License-Identifier: MIT */
/*
 * selftest.elf: a ring-3 program that is hostile on purpose. The process that the manager starts
 * (the parent) runs the tests and prints; most tests start children, processes made of the same
 * program image, which fault, loop, race, call nonsense, or use up all they have. After each test
 * everything they took must have come back to the kernel.
 */
#ifndef TESTS_RING3_RING3_H
#define TESTS_RING3_RING3_H

#include "lib/types.h"
#include "vmm/machine/start.h"
#include "vmm/sys.h"

/* --- the page that a child and its parent share --- */

#define CHILD_MAGIC 0x646c696863336e72ull
#define CHILD_PAGE  0x12000000ull /* in the child */
#define CHILD_STACK                                                                                \
    0x13000000ull /* thread n's stack ends at CHILD_STACK + (n + 1) * CHILD_STACK_STEP */
#define CHILD_STACK_STEP  0x10000ull
#define CHILD_STACK_BYTES 0x4000ull
#define CHILD_THREADS     4             /* that have a stack prepared */
#define CHILD_FREE        0x40000000ull /* nothing is mapped at or above this */
#define CHILD_TEXT        2048
#define CHILD_COUNTERS    8

struct child_page {
    u64 magic;
    u32 scenario; /* index into scenarios[] */
    u32 virt;
    u64 tsc_hz;
    u64 args[4];
    handle_t handles[8]; /* granted by the parent */
    volatile u64 counters[CHILD_COUNTERS];
    volatile u32 go;      /* set by the parent: start */
    u32 checks, failures; /* by the child */
    u32 text_used;
    char text[CHILD_TEXT]; /* what the child wants to say: lines */
};

/* What a child does. Returning ends it with the number of its failures as status. */
struct scenario {
    const char *name;
    void (*run)(struct child_page *page);
};

enum {
    SCENARIO_FAULT,    /* args[0]: which, faults.c */
    SCENARIO_SPIN,     /* args[0]: threads; each counts */
    SCENARIO_SLEEP,    /* waits for ever */
    SCENARIO_CALLS,    /* hostile system calls */
    SCENARIO_MAPS,     /* memory and its mappings */
    SCENARIO_RIGHTS,   /* handles and rights */
    SCENARIO_RACE_MAP, /* threads map and unmap */
    SCENARIO_PINGPONG, /* threads wake each other */
    SCENARIO_BOMB,     /* args[0]: what it uses up, limits.c */
    SCENARIO_FUZZ,     /* args[0]: seed, args[1]: calls */
    SCENARIO_TIMER,    /* deadlines */
    SCENARIO_VM,       /* virtual machines and vCPUs */
    SCENARIO_CONFINED, /* on the first CPU of args[0]: tries to get others */
    SCENARIO_COUNT
};

extern const struct scenario scenarios[SCENARIO_COUNT];

void scenario_fault(struct child_page *page);
void scenario_spin(struct child_page *page);
void scenario_sleep(struct child_page *page);
void scenario_calls(struct child_page *page);
void scenario_maps(struct child_page *page);
void scenario_rights(struct child_page *page);
void scenario_race_map(struct child_page *page);
void scenario_pingpong(struct child_page *page);
void scenario_bomb(struct child_page *page);
void scenario_fuzz(struct child_page *page);
void scenario_timer(struct child_page *page);
void scenario_vm(struct child_page *page);
void scenario_confined(struct child_page *page);

/* In a child: a check with its text, kept in the page. */
bool child_check(struct child_page *page, bool ok, const char *format, ...) PRINTF(3, 4);

#define EXPECT(page, call, want)                                                                   \
    ({                                                                                             \
        s64 expect_got = (call), expect_want = (want);                                             \
        child_check(page, expect_got == expect_want, "line %d: %s is %ld, not %ld", __LINE__,      \
                    #call, expect_got, expect_want);                                               \
        expect_got;                                                                                \
    })

/* In a child: starts its thread n (1..CHILD_THREADS - 1) at entry(page). Returns its handle or an
 * error. */
s64 child_thread(u32 n, void (*entry)(struct child_page *page), struct child_page *page);
/* A thread has no way to end itself alone: it sleeps until its process ends. */
NORETURN void child_sleep(void);

u64 random_next(u64 *state);

/* --- the parent --- */

struct child {
    handle_t process, memory, event;
    u32 slot;
    struct child_page *page;
};

/* Budgets of a child beside what it starts with; 0: 1 MiB and 256 KiB. */
struct child_options {
    u64 memory_bytes, kernel_bytes;
    u64 affinity; /* of its first thread */
    u64 confine;  /* of all */
    u32 weight;
    u64 args[4];
};

extern const struct test_start *start; /* the parent's parameters */

/* Makes a child and starts it. A handle to grant can be given to it between child_make and
 * child_start. */
bool child_make(struct child *c, u32 scenario, const struct child_options *o);
/* Grants a handle of the parent's and notes it in the page. */
bool child_give(struct child *c, u32 index, handle_t h, u64 rights);
bool child_start(struct child *c, const struct child_options *o);
/* Waits for its end; false: it has not ended after that time (it is then killed and waited for). */
bool child_wait(struct child *c, u64 ms, struct process_info *info);
/* Gives everything back. The child must have ended. */
void child_close(struct child *c);
/* All in one: runs a scenario to its end, prints what the child said; it must exit with status 0.
 */
bool child_run(u32 scenario, const struct child_options *o, u64 ms);

/* Lines to the console; a check with its text, counted. */
void say(const char *format, ...) PRINTF(1, 2);
bool check(bool ok, const char *format, ...) PRINTF(2, 3);

/* Does time pass for this machine's CPUs alone? Not where they are threads of a busy host (QEMU
 * without KVM): how long something takes there says nothing about us. */
bool steady(void);
/* A check of time, made only where it says something. */
#define CHECK_TIME(ok, ...) ((void)(!steady() || check(ok, __VA_ARGS__)))

/* What the kernel has left: equal before and after a test. */
struct memory_left {
    u64 kernel, guest;
};
struct memory_left memory_left(void);

void sleep_ms(u64 ms);
u64 ms_to_tsc(u64 ms);

/* The tests, in order. */
void test_system(void);
void test_faults(void);
void test_loops(void);
void test_calls(void);
void test_maps(void);
void test_rights(void);
void test_races(void);
void test_bombs(void);
void test_timer(void);
void test_shares(void);
void test_pinning(void);
void test_stealing(void);
void test_confinement(void);
void test_family(void);
void test_fuzz(void);
void test_vm(void);

#endif
