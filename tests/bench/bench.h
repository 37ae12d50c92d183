/* SPDX-License-Identifier: MIT */
/* How the bench guest measures. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "lib/types.h"

#define BENCH_RUNS 201
#define BENCH_WARM 20 /* runs before, which do not count */

extern u64 bench_samples[BENCH_RUNS];
extern u64 bench_overhead; /* what measuring costs by itself */

/* Of the samples, which it sorts. */
u64 bench_median(void);
void bench_report(const char *name, u64 ticks);

/* LFENCE keeps a real CPU from starting the next read before the instruction is over. */
static inline u64 bench_now(void)
{
    u64 now;

    __asm__ volatile("lfence; rdtsc; shl $32, %%rdx; lea (%%rax, %%rdx), %0"
                     : "=r"(now)
                     :
                     : "rax", "rdx", "memory");
    return now;
}

/* The median of many runs of BEFORE; OPERATION; of which only the operation counts. */
#define MEASURE_AFTER(before, ...)                                                                 \
    ({                                                                                             \
        for (u32 run = 0; run < BENCH_RUNS + BENCH_WARM; run++) {                                  \
            u64 start, end;                                                                        \
            before;                                                                                \
            start = bench_now();                                                                   \
            __VA_ARGS__;                                                                           \
            end = bench_now();                                                                     \
            if (run >= BENCH_WARM) {                                                               \
                bench_samples[run - BENCH_WARM] = end - start;                                     \
            }                                                                                      \
        }                                                                                          \
        bench_median() - bench_overhead;                                                           \
    })
#define MEASURE(...) MEASURE_AFTER((void)0, __VA_ARGS__)

/* apic.c: the rows of the local APIC, I/O APIC and timers; and that of IPIs between two vCPUs,
 * under a name. */
void bench_apic(void);
void bench_ipi(const char *name);

#endif
