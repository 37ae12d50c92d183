/* SPDX-License-Identifier: MIT */
/*
 * Computes on all its CPUs, and counts what it gets done in windows of time that are the same for
 * all guests, since all have the same clock. Says for each window how much that was, and for which
 * part of it the CPUs were its own: the rest is missing between two looks at the clock. (What is
 * done in that time may differ, on an emulator that gives its CPUs unequal speeds.)
 *
 *   windows=N  how many (4)
 *   ms=N       how long each is (250)
 *   grid=N     the first is a multiple of N by the clock (4); with more, guests that start about
 * the same time more surely choose the same even=N     odd windows (by the clock; guests/storm.c
 * rages in those) give at least N percent of the time of even ones tell       says when a window
 * begins lag=N      no CPU is ever more than N slices behind the straight line of what it gets
 */
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/smp.h"
#include "guests/lib/test.h"

#define CPUS         16
#define MAX_WINDOWS  32
#define MAX_SAMPLES  2048
#define SLICES_PER_S 200
#define BATCH        64 /* steps of work between two looks at the clock */
#define GAP          4  /* so many times the usual between two looks: something else had the CPU */

static u64 window, windows, base, slice;
static u64 had[MAX_WINDOWS]; /* by all CPUs */
static struct worker {
    u64 done[MAX_WINDOWS];   /* batches */
    u64 had[MAX_WINDOWS];    /* ticks */
    u32 sample[MAX_SAMPLES]; /* what it had by the end of each slice's time, in 1/100 slices */
    u64 quickest;            /* ticks for a batch */
} workers[CPUS];

static u64 work(u64 x)
{
    for (u32 i = 0; i < BATCH; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
    }
    return x;
}

static void compute(void *arg)
{
    struct worker *w = &workers[smp_cpu_index() % CPUS];
    u64 end = base + windows * window, x = (u64)arg, now, all = 0;
    u32 samples = 0, told = smp_cpu_index() || !boot_option("tell") ? MAX_WINDOWS : 0;

    w->quickest = ~0ull;
    for (now = rdtsc(); now < base;) {
        u64 before = now;
        x = work(x);
        now = rdtsc();
        w->quickest = MIN(w->quickest, now - before);
    }
    while (now < end) {
        u64 before = now, n = (now - base) / window;

        x = work(x);
        w->done[n]++;
        now = rdtsc();
        u64 step = now - before < GAP * w->quickest ? now - before : w->quickest;
        w->had[n] += step;
        all += step;
        while (samples < MAX_SAMPLES && base + (samples + 1ull) * slice <= now) {
            w->sample[samples++] = (u32)(all * 100 / slice);
        }
        if (n >= told) {
            print("share: in window %u\n", told++);
        }
    }
    __asm__ volatile("" : : "r"(x)); /* the work is wanted */
}

static void tell(void)
{
    u64 ticks_per_ms = MAX(clock_tsc_hz() / 1000, (u64)1);

    for (u64 n = 0; n < windows; n++) {
        u64 done = 0;
        had[n] = 0;
        for (u32 i = 0; i < smp_count(); i++) {
            done += workers[i].done[n];
            had[n] += workers[i].had[n];
        }
        print("share: window %lu of clock %lu: %lu done in %lu us\n", n, base / window + n, done,
              had[n] * 1000 / ticks_per_ms);
    }
}

/* In parts of 100 of a slice. A CPU need not begin where it is on the average. */
static u64 lag_of(const struct worker *w, u64 samples)
{
    s64 all = w->sample[samples - 1], most = 0, sum = 0;

    for (u64 k = 0; k < samples; k++) {
        s64 behind = all * (s64)(k + 1) / (s64)samples - (s64)w->sample[k];
        most = MAX(most, behind);
        sum += behind;
    }
    return (u64)(most - sum / (s64)samples);
}

static void lag(void)
{
    u64 most = boot_option_number("lag", 0), worst = 0;
    u64 samples = MAX(MIN(windows * window / slice, (u64)MAX_SAMPLES), (u64)1);

    for (u32 i = 0; i < smp_count() && most; i++) {
        u64 l = lag_of(&workers[i], samples);
        worst = MAX(worst, l);
        CHECK(l <= most * 100, "CPU %u was %lu of 100 of a slice behind", i, l);
    }
    if (most) {
        print("share: %lu of 100 of a slice behind at most\n", worst);
    }
}

static void even(void)
{
    u64 percent = boot_option_number("even", 0), in[2] = {0};

    if (!percent) {
        return;
    }
    for (u64 n = 0; n < windows; n++) {
        in[(base / window + n) & 1] += had[n];
    }
    print("share: %lu of 1000 in the odd windows\n", in[1] * 1000 / MAX(in[0], (u64)1));
    CHECK(in[1] * 100 >= in[0] * percent, "odd windows gave %lu, even ones %lu", in[1], in[0]);
}

static void measure(void)
{
    u64 hz = clock_tsc_hz(), grid = MAX(boot_option_number("grid", 4), (u64)2) & ~1ull;

    slice = hz / SLICES_PER_S;
    windows = MAX(MIN(boot_option_number("windows", 4), (u64)MAX_WINDOWS), (u64)2) & ~1ull;
    window = hz / 1000 * MAX(boot_option_number("ms", 250), (u64)1);
    smp_init();
    smp_start_all();
    CHECK(smp_count() <= CPUS, "%u CPUs", smp_count());
    base = ((rdtsc() + window / 4) / (grid * window) + 1) * grid * window;
    CHECK(smp_call_all(compute, (void *)base), "all end");
    tell();
    even();
    lag();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"measure", measure}
    };

    test_all("share", tests, 1);
}
