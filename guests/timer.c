/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer: one-shot, periodic, TSC deadline. Never early, once when it should be
 * once, and no burst for what was missed. How late an interrupt comes depends on who else runs, so
 * nothing here asks for that. SDM 3A "APIC Timer".
 */
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/irq.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

#define VECTOR 0xd1

static u64 tsc_hz, apic_hz;

static bool begin(void)
{
    if (!apic_available()) {
        test_skip("no local APIC");
        return false;
    }
    apic_reset();
    tsc_hz = clock_tsc_hz();
    apic_hz = clock_apic_hz();
    irq_expect(32, 255);
    return true;
}

static bool begin_deadline(void)
{
    if (!begin()) {
        return false;
    }
    if (!apic_has_deadline()) {
        test_skip("no TSC deadline");
        return false;
    }
    apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | VECTOR);
    return true;
}

/* TSC ticks that so many ticks of the timer's clock last, rounded down. */
static u64 tsc_of(u64 count)
{
    return count * tsc_hz / apic_hz;
}

/* Interrupts on until so many were taken, at most for a second or two. */
static void wait_for(u32 count)
{
    u64 end = rdtsc() + SMP_PATIENCE;

    cpu_sti();
    while (irq_taken.count < count && rdtsc() < end) {
        cpu_pause();
    }
    cpu_cli();
}

/* Interrupts on for a time. */
static void pass(u64 ticks)
{
    cpu_sti();
    clock_wait_ticks(ticks);
    cpu_cli();
}

/* What was to come so many ticks after begun was cancelled just now: it never comes, unless this
 * CPU was away so long that it came before. Waits for twice that time. */
static void check_cancelled(u64 begun, u64 ticks, const char *what)
{
    bool in_time = rdtsc() - begun < ticks;

    pass(2 * ticks);
    CHECK(irq_taken.count == 0 || !in_time, "%s: %u interrupts", what, irq_taken.count);
    irq_forget();
}

/* Starts the timer; the TSC before that. */
static u64 start(u32 mode, u32 count)
{
    u64 now;

    apic_write(APIC_LVT_TIMER, mode | VECTOR);
    now = rdtsc();
    apic_write(APIC_TIMER_INITIAL, count);
    return now;
}

static void one_shot(void)
{
    static const u8 divide[] = {0xb, 0, 1, 2, 3, 8, 9, 0xa}; /* by 1, 2, ... 128 */

    if (!begin()) {
        return;
    }
    for (u32 i = 0; i < ARRAY_SIZE(divide); i++) {
        u32 count = (u32)(apic_hz / 2000) >> i;

        irq_forget();
        apic_write(APIC_TIMER_DIVIDE, divide[i]);
        u64 begun = start(LVT_TIMER_ONE_SHOT, count);
        CHECK_EQ_AT(apic_read(APIC_TIMER_INITIAL), count, "initial count, by %u", 1u << i);
        u32 now = apic_read(APIC_TIMER_CURRENT);
        CHECK(now <= count, "current count %u, by %u", now, 1u << i);
        wait_for(1);
        CHECK_EQ_AT(irq_times(VECTOR), 1, "interrupts, by %u", 1u << i);
        CHECK(irq_taken.tsc[0] - begun >= tsc_of((u64)count << i), "by %u: %lu ticks, %lu expected",
              1u << i, irq_taken.tsc[0] - begun, tsc_of((u64)count << i));
        CHECK_EQ_AT(apic_read(APIC_TIMER_CURRENT), 0, "current count afterwards");
        pass(tsc_of((u64)count << i));
        CHECK_EQ_AT(irq_taken.count, 1, "interrupts later, by %u", 1u << i);
    }
}

/* The current count runs as the TSC does. */
static void counting(void)
{
    struct clock_sample a, b;

    if (!begin()) {
        return;
    }
    for (u32 shift = 0; shift < 8; shift += 7) {
        apic_write(APIC_TIMER_DIVIDE, shift ? DIVIDE_BY_128 : DIVIDE_BY_1);
        start(LVT_TIMER_ONE_SHOT | LVT_MASKED, ~0u);
        a = CLOCK_SAMPLE(apic_read(APIC_TIMER_CURRENT));
        for (u32 i = 0; i < 10; i++) {
            clock_wait_us(300);
            b = CLOCK_SAMPLE(apic_read(APIC_TIMER_CURRENT));
            CHECK(b.value < a.value, "count %lu, then %lu", a.value, b.value);
            CHECK(clock_agrees(a, b, a.value - b.value, apic_hz >> shift, on_tcg() ? 9999 : 2),
                  "divided by %u: %lu of %lu Hz in %lu to %lu TSC ticks of %lu Hz", 1u << shift,
                  a.value - b.value, apic_hz >> shift, b.before - a.after, b.after - a.before,
                  tsc_hz);
        }
    }
    apic_write(APIC_TIMER_INITIAL, 0);
}

static void stopping(void)
{
    u64 begun;
    u32 ms;

    if (!begin()) {
        return;
    }
    ms = (u32)(apic_hz / 1000);
    begun = start(LVT_TIMER_ONE_SHOT, ms);
    apic_write(APIC_TIMER_INITIAL, 0);
    CHECK_EQ(apic_read(APIC_TIMER_CURRENT), 0);
    check_cancelled(begun, tsc_of(ms), "one-shot");
    begun = start(LVT_TIMER_PERIODIC, ms);
    apic_write(APIC_TIMER_INITIAL, 0);
    check_cancelled(begun, tsc_of(ms), "periodic");
    /* started again before its time: the second start counts */
    start(LVT_TIMER_ONE_SHOT, 1000 * ms);
    begun = start(LVT_TIMER_ONE_SHOT, ms);
    wait_for(1);
    CHECK_EQ(irq_times(VECTOR), 1);
    CHECK(irq_taken.tsc[0] - begun >= tsc_of(ms), "after %lu ticks", irq_taken.tsc[0] - begun);
    irq_forget();
    begun = start(LVT_TIMER_ONE_SHOT, ms);
    start(LVT_TIMER_ONE_SHOT, 1000 * ms);
    check_cancelled(begun, tsc_of(ms), "the first start");
    /* masked when it is due: gone */
    start(LVT_TIMER_ONE_SHOT | LVT_MASKED, ms);
    clock_wait_ticks(tsc_of(2 * ms));
    CHECK_EQ(apic_read(APIC_TIMER_CURRENT), 0);
    apic_write(APIC_LVT_TIMER, VECTOR);
    pass(tsc_of(ms));
    CHECK_EQ(irq_taken.count, 0);
    if (!on_tcg()) { /* switched off while it runs: even what came already is forgotten */
        enum apic_mode mode = apic_mode();

        start(LVT_TIMER_ONE_SHOT, ms);
        apic_set_mode(APIC_MODE_OFF);
        apic_set_mode(mode);
        apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
        apic_write(APIC_LVT_TIMER, VECTOR);
        pass(tsc_of(2 * ms));
        CHECK_EQ(irq_taken.count, 0);
    }
}

static void periodic(void)
{
    u64 begun;
    u32 period;

    if (!begin()) {
        return;
    }
    period = (u32)(apic_hz / 2000);
    begun = start(LVT_TIMER_PERIODIC, period);
    for (u32 i = 0; i < 20; i++) {
        u32 now = apic_read(APIC_TIMER_CURRENT);

        CHECK(now <= period, "current count %u of %u", now, period);
        clock_wait_us(37);
    }
    wait_for(20);
    CHECK(irq_times(VECTOR) >= 20, "%u interrupts", irq_times(VECTOR));
    for (u32 i = 0; i < MIN(irq_taken.count, (u32)IRQ_LOG); i++) {
        CHECK(irq_taken.tsc[i] - begun >= tsc_of((u64)period * (i + 1)),
              "interrupt %u after %lu ticks, at least %lu expected", i, irq_taken.tsc[i] - begun,
              tsc_of((u64)period * (i + 1)));
    }
    apic_write(APIC_TIMER_INITIAL, 0);
}

/* Interrupts off for many periods: one interrupt waits, the others are gone. */
static void no_burst(void)
{
    u64 ticks, begun, opened, closed, most;
    u32 period;

    if (!begin()) {
        return;
    }
    period = (u32)(apic_hz / 2000);
    ticks = tsc_of(period);
    begun = start(LVT_TIMER_PERIODIC, period);
    for (u32 i = 0; i < 5; i++) {
        clock_wait_ticks(20 * ticks);
        CHECK(apic_bit(APIC_IRR, VECTOR), "one waits");
        irq_forget();
        opened = rdtsc();
        irq_window();
        clock_wait_ticks(ticks / 8);
        irq_window();
        closed = rdtsc();
        most = 1 + (closed - begun) / ticks - (opened - begun) / ticks + 1;
        CHECK(irq_times(VECTOR) >= 1 && irq_times(VECTOR) <= most,
              "%u interrupts, at most %lu in %lu ticks with a period of %lu", irq_times(VECTOR),
              most, closed - opened, ticks);
    }
    apic_write(APIC_TIMER_INITIAL, 0);
}

static void hog(void *arg)
{
    (void)arg;
    for (;;) {
        __asm__ volatile("");
    }
}

/* Another vCPU takes the CPU away for much longer than a period: what was missed meanwhile is one
 * interrupt, and the next one comes when it is due again. */
static void away(void)
{
    u64 period, longest = 0;

    if (!begin()) {
        return;
    }
    if (smp_init() < 2 || !smp_start(1)) {
        test_skip("away: one CPU");
        return;
    }
    period = tsc_of(apic_hz / 2000);
    smp_call(1, hog, NULL);
    irq_expect(32, 255);
    start(LVT_TIMER_PERIODIC, (u32)(apic_hz / 2000));
    wait_for(IRQ_LOG);
    apic_write(APIC_TIMER_INITIAL, 0);
    smp_stop(1);
    CHECK(irq_taken.count >= IRQ_LOG, "%u interrupts", irq_taken.count);
    for (u32 i = 0; i + 3 < IRQ_LOG; i++) {
        longest = MAX(longest, irq_taken.tsc[i + 1] - irq_taken.tsc[i]);
        /* one that is noted late, one that became due meanwhile, and from then on a period each */
        CHECK(irq_taken.tsc[i + 3] - irq_taken.tsc[i] >= period - period / 16,
              "interrupts %u to %u within %lu ticks, with a period of %lu", i, i + 3,
              irq_taken.tsc[i + 3] - irq_taken.tsc[i], period);
    }
    if (longest < 3 * period) {
        test_skip("away: nobody took the CPU away");
    }
}

static void halting(void)
{
    u32 count;

    if (!begin()) {
        return;
    }
    count = (u32)(apic_hz / 4000);
    for (u32 i = 1; i <= 20; i++) {
        u64 begun = start(LVT_TIMER_ONE_SHOT, count);

        __asm__ volatile("sti; hlt; cli" : : : "memory");
        CHECK_EQ_AT(irq_times(VECTOR), i, "woken");
        CHECK(rdtsc() - begun >= tsc_of(count), "after %lu ticks", rdtsc() - begun);
    }
}

/* --- TSC deadline --- */

static u64 deadline(void)
{
    return rdmsr(MSR_IA32_TSC_DEADLINE);
}

static void arm(u64 tsc)
{
    wrmsr(MSR_IA32_TSC_DEADLINE, tsc);
}

static void past(void)
{
    u64 now;

    if (!begin_deadline()) {
        return;
    }
    CHECK_EQ(deadline(), 0);
    for (u32 i = 1; i <= 50; i++) {
        now = rdtsc();
        arm(i & 1 ? now : i & 2 ? 1 : now - 1000);
        CHECK_EQ(irq_taken.count, i - 1);
        wait_for(i);
        CHECK_EQ_AT(irq_times(VECTOR), i, "taken");
        CHECK_EQ(deadline(), 0);
    }
    pass(tsc_hz / 1000);
    CHECK_EQ(irq_taken.count, 50);
    cpu_sti();
    arm(rdtsc());
    clock_wait_us(50);
    cpu_cli();
    CHECK_EQ(irq_taken.count, 51);
}

static void future(void)
{
    if (!begin_deadline()) {
        return;
    }
    for (u32 i = 0; i < 20; i++) {
        u64 at = rdtsc() + tsc_hz / 8000 * (1 + i % 4);

        irq_forget();
        arm(at);
        u64 shown = deadline();
        CHECK(shown == at || rdtsc() > at, "deadline %lx, %lx expected", shown, at);
        wait_for(1);
        CHECK_EQ(irq_times(VECTOR), 1);
        CHECK(irq_taken.tsc[0] >= at, "%lu ticks early", at - irq_taken.tsc[0]);
        CHECK_EQ(deadline(), 0);
        pass(tsc_hz / 8000);
        CHECK_EQ(irq_times(VECTOR), 1);
    }
    /* with interrupts off it waits */
    irq_forget();
    arm(rdtsc() + tsc_hz / 10000);
    clock_wait_ticks(tsc_hz / 5000);
    CHECK(apic_bit(APIC_IRR, VECTOR) || (cpu_is_tcg() && WAIT_UNTIL(apic_bit(APIC_IRR, VECTOR))),
          "it waits"); /* QEMU TCG's timers are late */
    CHECK_EQ(deadline(), 0);
    irq_window();
    CHECK_EQ(irq_times(VECTOR), 1);
}

static void rearm(void)
{
    u64 ms, at;

    if (!begin_deadline()) {
        return;
    }
    ms = tsc_hz / 1000;
    at = rdtsc();
    arm(at + ms);
    arm(0);
    CHECK_EQ(deadline(), 0);
    check_cancelled(at, ms, "deadline 0");
    arm(rdtsc() + 2000 * ms); /* to an earlier time */
    at = rdtsc() + ms;
    arm(at);
    wait_for(1);
    CHECK(irq_taken.count == 1 && irq_taken.tsc[0] >= at, "%u interrupts", irq_taken.count);
    irq_forget();
    at = rdtsc();
    arm(at + ms); /* to a later one */
    arm(at + 2000 * ms);
    check_cancelled(at, ms, "the first deadline");
    arm(rdtsc() + 1000 * ms); /* to the past */
    arm(1);
    wait_for(1);
    CHECK_EQ(irq_taken.count, 1);
    irq_forget();
    arm(~0ull); /* never */
    pass(ms);
    arm(rdtsc() + (1ull << 62));
    pass(ms);
    arm(0x8000000000000000ull);
    pass(ms);
    CHECK_EQ(irq_taken.count, 0);
    CHECK_EQ(deadline(), 0x8000000000000000ull);
    arm(0);
}

/* SDM 3A "TSC-Deadline Mode": a change of the mode disarms; each mode has its own register. */
static void modes(void)
{
    u64 ms, begun;

    if (!begin_deadline()) {
        return;
    }
    ms = tsc_hz / 1000;
    apic_write(APIC_TIMER_INITIAL, 1000);
    CHECK_EQ(apic_read(APIC_TIMER_CURRENT), 0);
    CHECK(cpu_is_tcg() || !apic_read(APIC_TIMER_INITIAL), "the initial count is not written");
    begun = rdtsc();
    arm(begun + ms);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_ONE_SHOT | VECTOR);
    CHECK_EQ(deadline(), 0);
    check_cancelled(begun, ms, "from deadline to one-shot");
    arm(rdtsc() + ms); /* ignored in other modes */
    CHECK_EQ(deadline(), 0);
    arm(1);
    pass(2 * ms);
    CHECK_EQ(irq_taken.count, 0);
    begun = start(LVT_TIMER_ONE_SHOT, (u32)(apic_hz / 1000));
    apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | VECTOR);
    CHECK_EQ(apic_read(APIC_TIMER_CURRENT), 0);
    check_cancelled(begun, ms, "from one-shot to deadline");
    /* masked: it passes unseen */
    apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | LVT_MASKED | VECTOR);
    arm(rdtsc() + ms / 4);
    clock_wait_ticks(ms);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | VECTOR);
    pass(ms);
    CHECK(irq_taken.count == 0 || cpu_is_tcg(), "masked: %u interrupts", irq_taken.count);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | LVT_MASKED | VECTOR);
    arm(0);
}

static void deadline_halting(void)
{
    if (!begin_deadline()) {
        return;
    }
    for (u32 i = 1; i <= 50; i++) {
        u64 at = rdtsc() + (i % 5 ? tsc_hz / 5000 : 0);

        arm(at);
        __asm__ volatile("sti; hlt; cli" : : : "memory");
        CHECK_EQ_AT(irq_times(VECTOR), i, "woken");
        CHECK(rdtsc() >= at, "at %lu, %lu expected", rdtsc(), at);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"one-shot",         one_shot        },
        {"counting",         counting        },
        {"stopping",         stopping        },
        {"periodic",         periodic        },
        {"no-burst",         no_burst        },
        {"away",             away            },
        {"halting",          halting         },
        {"past",             past            },
        {"future",           future          },
        {"rearm",            rearm           },
        {"modes",            modes           },
        {"deadline-halting", deadline_halting},
    };

    test_all("timer", tests, ARRAY_SIZE(tests));
}
