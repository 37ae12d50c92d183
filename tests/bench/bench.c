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
#include "tests/bench/bench.h"

u64 bench_samples[BENCH_RUNS];
u64 bench_overhead;

u64 bench_median(void)
{
    for (u32 i = 1; i < BENCH_RUNS; i++) { /* insertion sort */
        u64 v = bench_samples[i];
        u32 j = i;

        for (; j && bench_samples[j - 1] > v; j--) {
            bench_samples[j] = bench_samples[j - 1];
        }
        bench_samples[j] = v;
    }
    return bench_samples[BENCH_RUNS / 2];
}

void bench_report(const char *name, u64 ticks)
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
    u64 pages = page_alloc((BENCH_RUNS + BENCH_WARM + 512) * PAGE_SIZE, SIZE_2M), next = pages,
        whole, zeroing;
    u64 warm;

    whole = MEASURE(*(volatile u8 *)next = 1; next += PAGE_SIZE);
    next = pages;
    warm = MEASURE(*(volatile u8 *)next = 1; next += PAGE_SIZE);
    next = pages;
    zeroing = MEASURE(zero_page(next); next += PAGE_SIZE);
    print("bench: first touch %lu, touch again %lu, zeroing %lu\n", whole, warm, zeroing);
    bench_report("ept-touch-4k", whole - warm > zeroing ? whole - warm - zeroing : 0);
}

void guest_main(void)
{
    if (boot_option("ipi")) {
        bench_ipi(boot_option("ipi"));
        print("bench: SUCCESS\n");
        guest_exit(0);
    }
    bench_overhead = MEASURE(__asm__ volatile("" : : : "memory"));
    bench_report("overhead", bench_overhead);
    bench_report("cpuid", MEASURE((void)cpuid(0, 0)));
    /* an MSR that the kernel settles: no hypervisor lets a guest have this one */
    bench_report("rdmsr", MEASURE((void)rdmsr(MSR_IA32_MISC_ENABLE)));
    u64 value = rdmsr(MSR_IA32_MISC_ENABLE);
    bench_report("wrmsr", MEASURE(wrmsr(MSR_IA32_MISC_ENABLE, value)));
    if (on_socle()) {
        bench_report("vmcall", MEASURE((void)hypercall(HYPERCALL_PING, 0)));
    }
    bench_report("pio-ring3", MEASURE(outb(COM1 + UART_SCR, 0)));
    bench_report("pio-in-ring3", MEASURE((void)inb(COM1 + UART_SCR)));
    touch();
    bench_apic();
    print("bench: SUCCESS\n");
    guest_exit(0);
}
