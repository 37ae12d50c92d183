/* SPDX-License-Identifier: MIT */
/*
 * What exits cost, in TSC ticks as the guest sees them: the median of many single runs, less the
 * cost of reading the TSC. Prints lines "bench: NAME ticks=N".
 */
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"

#define RUNS 201
#define WARM 20

static u64 samples[RUNS];

static u64 median(void)
{
    for (u32 i = 1; i < RUNS; i++) { /* insertion sort */
        u64 v = samples[i];
        u32 j = i;

        for (; j && samples[j - 1] > v; j--) {
            samples[j] = samples[j - 1];
        }
        samples[j] = v;
    }
    return samples[RUNS / 2];
}

static u64 overhead;

/* LFENCE keeps a real CPU from starting the next read before the instruction is over. */
#define MEASURE(...)                                                                               \
    ({                                                                                             \
        for (u32 run = 0; run < RUNS + WARM; run++) {                                              \
            u64 start, end;                                                                        \
            __asm__ volatile("lfence; rdtsc; shl $32, %%rdx; lea (%%rax, %%rdx), %0"               \
                             : "=r"(start)                                                         \
                             :                                                                     \
                             : "rax", "rdx", "memory");                                            \
            __VA_ARGS__;                                                                           \
            __asm__ volatile("lfence; rdtsc; shl $32, %%rdx; lea (%%rax, %%rdx), %0"               \
                             : "=r"(end)                                                           \
                             :                                                                     \
                             : "rax", "rdx", "memory");                                            \
            if (run >= WARM) {                                                                     \
                samples[run - WARM] = end - start;                                                 \
            }                                                                                      \
        }                                                                                          \
        median() - overhead;                                                                       \
    })

static void report(const char *name, u64 ticks)
{
    print("bench: %s ticks=%lu\n", name, ticks);
}

static void zero_page(u64 page)
{
    u64 count = PAGE_SIZE / 8;

    __asm__ volatile("rep stosq" : "+D"(page), "+c"(count) : "a"(0ull) : "memory");
}

/*
 * The first touch of a page: exit, frame, zeroing, table, entry. The zeroing is the hypervisor's
 * work as well but depends on the memory alone; DESIGN's row is "beside the zeroing". So the cost
 * of zeroing a page by REP STOSQ is measured here, in pages that were touched before, and taken
 * off; both are printed.
 */
static void touch(void)
{
    u64 pages = page_alloc((RUNS + WARM + 512) * PAGE_SIZE, SIZE_2M), next = pages, whole, zeroing;
    u64 warm;

    whole = MEASURE(*(volatile u8 *)next = 1; next += PAGE_SIZE);
    next = pages;
    warm = MEASURE(*(volatile u8 *)next = 1; next += PAGE_SIZE);
    next = pages;
    zeroing = MEASURE(zero_page(next); next += PAGE_SIZE);
    print("bench: first touch %lu, touch again %lu, zeroing %lu\n", whole, warm, zeroing);
    report("ept-touch-4k", whole - warm > zeroing ? whole - warm - zeroing : 0);
}

void guest_main(void)
{
    overhead = MEASURE(__asm__ volatile("" : : : "memory"));
    report("overhead", overhead);
    report("cpuid", MEASURE((void)cpuid(0, 0)));
    /* an MSR that the kernel settles: no hypervisor lets a guest have this one */
    report("rdmsr", MEASURE((void)rdmsr(MSR_IA32_MISC_ENABLE)));
    u64 value = rdmsr(MSR_IA32_MISC_ENABLE);
    report("wrmsr", MEASURE(wrmsr(MSR_IA32_MISC_ENABLE, value)));
    if (on_socle()) {
        report("vmcall", MEASURE((void)hypercall(HYPERCALL_PING, 0)));
    }
    report("pio-ring3", MEASURE(outb(COM1 + UART_SCR, 0)));
    report("pio-in-ring3", MEASURE((void)inb(COM1 + UART_SCR)));
    touch();
    print("bench: SUCCESS\n");
    guest_exit(0);
}
