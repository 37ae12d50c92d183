/* SPDX-License-Identifier: MIT */
/*
 * A machine in a process of the host, on which the real kernel boots: every CPU and every thread is
 * a coroutine, time is a counter, ring-3 programs are C functions (tests/host/ring3.h), physical
 * memory is a mapping and page tables are walked by hand. Everything is deterministic.
 *
 * Kernel code runs without a break until the CPU goes idle or ring 3 spends time. With
 * `interleave`, other CPUs also run at each lock, unlock and call into arch/ (by random numbers
 * from `seed`), so races are found and can be repeated.
 */
#ifndef TESTS_HOST_MACHINE_H
#define TESTS_HOST_MACHINE_H

#include "kernel/cpu.h"
#include "lib/types.h"

#define HOST_TSC_HZ   1000000000ull
#define HOST_SLICE    (HOST_TSC_HZ / 200) /* as kernel/sched.c has it */
#define HOST_MAX_CPUS 8u

/* Physical memory: module and kernel pages, then ranges of RAM. */
#define HOST_MODULE_BASE  0x2000000ull /* two modules */
#define HOST_MODULE_BYTES 0x3000ull
#define HOST_RAM_BASE     0x4000000ull

struct machine_config {
    void (*manager)(u64 arg); /* the first program */
    void (*after)(void);      /* looks at what is left; NULL: machine_check_clean */
    u32 cpus;                 /* 0: 1 */
    u64 ram_bytes;            /* 0: 64 MiB; multiple of 2 MiB */
    u64 quantum;              /* ticks a CPU runs before the next one does; 0: 1/50 of a slice */
    bool interleave;
    u32 seed;
    bool no_virt;    /* the machine cannot run guests */
    bool posted;     /* vCPUs take posted interrupts */
    u32 nested_leaf; /* largest leaf of nested tables; 0: 1 GiB, else as pt_format has it, + 1 */
};

/* Boots the kernel, runs until nothing can happen any more (or machine_stop), once per process. */
void machine_boot(const struct machine_config *config);

/* Runs on after a stop. */
void machine_run(void);

/* From ring 3: machine_run() returns to its caller now. */
void machine_stop(void);

/* In a child process: boots, runs, and checks what every test wants to be true at the end: the
 * manager has ended, all memory is back, nobody claims anything. Returns true when it all held. */
bool machine_test(const struct machine_config *config);

/* The same with `interleave` for seeds 1 to count. */
bool machine_test_races(struct machine_config config, u32 count);

/* A case for cmocka: the manager runs on a machine of one CPU; more settings may follow. */
#define MACHINE_TEST(name, fn, ...)                                                                \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        assert_true(machine_test(&(struct machine_config){.manager = (fn), __VA_ARGS__}));         \
    }

/* After the run: fails the test when memory or objects are left. */
void machine_check_clean(void);

/* Prints and ends the process with a failure. */
NORETURN void host_fail(const char *file, int line, const char *format, ...) PRINTF(3, 4);
#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c)) {                                                                                \
            host_fail(__FILE__, __LINE__, "%s", #c);                                               \
        }                                                                                          \
    } while (0)
#define CHECK_EQUAL(a, b)                                                                          \
    do {                                                                                           \
        long long a_ = (long long)(a), b_ = (long long)(b);                                        \
        if (a_ != b_) {                                                                            \
            host_fail(__FILE__, __LINE__, "%s is %lld (0x%llx), not %lld (0x%llx): %s", #a, a_,    \
                      a_, b_, b_, #b);                                                             \
        }                                                                                          \
    } while (0)

/* --- the clock and CPUs --- */

u64 host_now(void);
u64 host_random(void);
void host_seed(u32 seed);
u32 host_shootdowns(void); /* arch_tlb_shootdown() calls so far */
bool host_powered_off(u32 *action);
const char *host_console(void); /* all that was written */
void host_console_clear(void);
void host_verbose(bool on); /* console to stderr too */

/* Hands this CPU's turn to the others, in the middle of what it does. */
void host_pause(void);

/* The machine's part of the way to ring 3: hazards until there are none. */
void host_user_return(void);

/* From ring 3: spends time; interrupts come in between. */
void host_spend(u64 ticks);

/* From guest mode: spends time. True: an interrupt waits, so the guest exits. */
bool host_spend_in_guest(u64 ticks);
/* From guest mode: has arch_notify() been called for this CPU? Once for each. */
bool host_notified(void);

/* --- kernel memory (tests/host/kmem_malloc.c) --- */

/* The kernel allocation after n more fails, once; ~0: none does. */
void host_fail_after(u32 n);
bool host_should_fail(void); /* counts one allocation */
u32 host_allocations(void);  /* so far, successful or not */
u64 host_lowest_stack(
    void); /* deepest stack address at which kernel memory was freed since the last call */
void host_kmem_limit(u64 bytes);

/* --- physical memory --- */

void *host_phys(u64 pa); /* RAM and modules */
/* What ring 3 of the process on this CPU reaches at va with PT_READ, PT_WRITE, PT_EXEC; NULL: a
 * fault. */
void *host_translate(u64 va, u32 access);
bool host_is_root(u64 table); /* is it loaded on a CPU? */

/* A leaf of the kernel's half that arch_kernel_walk() reports; bytes 0: none. */
struct host_leaf {
    u64 va, pa, bytes, perm;
};
extern struct host_leaf host_planted;

/* What was free before the first process. */
extern u64 host_kmem_before, host_frames_before;

extern struct machine_config host_config;

#endif
