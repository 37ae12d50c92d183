/* SPDX-License-Identifier: MIT */
/*
 * The 8254: control words, latches and read-back, modes 0, 2 and 3, BCD, the gate of counter 2, and
 * counter 0's interrupt. Never early; how late depends on who else runs. Intel 8254 datasheet.
 */
#include "guests/lib/pit.h"
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/irq.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

#define VECTOR 0x62
#define MS     1193 /* a millisecond's clocks, nearly */

static bool begin(void)
{
    if (!apic_available() || !ioapic_init()) {
        test_skip("no I/O APIC");
        return false;
    }
    apic_reset();
    pit_quiet();
    outb(PORT61, 0);
    irq_expect(32, 255);
    irq_window(); /* what the last test left */
    irq_forget();
    ioapic_set(IOAPIC_PIN_PIT, IOAPIC_TO(apic_id()) | VECTOR);
    return true;
}

/* QEMU TCG's own PIT stops for no gate and no control word, and knows no BCD. */
static bool begin_exact(void)
{
    if (on_tcg()) {
        test_skip("QEMU TCG's PIT is not that exact");
        return false;
    }
    return begin();
}

/* Starts counter 0 in a mode whose output is high at once: that edge is no interrupt here. */
static u64 start_periodic(u32 mode, u32 clocks)
{
    u64 now;

    ioapic_set(IOAPIC_PIN_PIT, IOAPIC_RTE_MASK);
    irq_window();
    irq_forget();
    pit_control(PIT_CW_COUNTER(0) | PIT_CW_WORD | PIT_CW_MODE(mode));
    ioapic_set(IOAPIC_PIN_PIT, IOAPIC_TO(apic_id()) | VECTOR);
    now = rdtsc();
    pit_put(0, (u8)clocks);
    pit_put(0, (u8)(clocks >> 8));
    return now;
}

/* TSC ticks that so many clocks last, rounded down. */
static u64 tsc_of(u64 clocks)
{
    return clocks * clock_tsc_hz() / PIT_HZ;
}

static void wait_for(u32 count)
{
    u64 end = rdtsc() + SMP_PATIENCE;

    cpu_sti();
    while (irq_taken.count < count && rdtsc() < end) {
        cpu_pause();
    }
    cpu_cli();
}

static void status(void)
{
    if (!begin_exact()) {
        return;
    }
    for (u32 counter = 0; counter < PIT_COUNTERS; counter += 2) {
        for (u32 mode = 0; mode < 6; mode++) {
            for (u32 rw = PIT_CW_LSB; rw <= PIT_CW_WORD; rw += PIT_CW_LSB) {
                u32 word = rw | PIT_CW_MODE(mode) | (mode & 1 ? PIT_CW_BCD : 0);

                pit_control(PIT_CW_COUNTER(counter) | word);
                u8 got = pit_status(counter);
                CHECK_EQ_AT(got & 0x3f, word, "status of counter %u, mode %u", counter, mode);
                CHECK_EQ_AT(!!(got & PIT_STATUS_OUT), mode != 0, "output, mode %u", mode);
                CHECK_EQ_AT(!!(got & PIT_STATUS_NULL), 1, "null count, mode %u", mode);
            }
        }
        pit_start(counter, 2, 0xffff);
        clock_wait_us(20);
        CHECK_EQ(pit_status(counter) & (PIT_STATUS_NULL | PIT_STATUS_OUT), PIT_STATUS_OUT);
    }
    pit_control(PIT_CW_COUNTER(0) | PIT_CW_WORD | PIT_CW_MODE(7)); /* is mode 3 */
    CHECK_EQ(pit_status(0) & PIT_CW_MODE_MASK & ~PIT_CW_MODE(4), PIT_CW_MODE(3));
    CHECK_EQ(irq_times(VECTOR), 0);
}

/* Was this CPU away so long that a counter may have gone round? */
static bool is_late(u64 begun)
{
    return rdtsc() - begun > tsc_of(60000);
}

/* A latched count stays until it was read; a second latch before that does nothing. */
static void latches(void)
{
    u16 first, second;

    if (!begin()) {
        return;
    }
    u64 begun = rdtsc();
    pit_start(0, 2, 0);
    clock_wait_us(50);
    pit_control(PIT_CW_COUNTER(0) | PIT_CW_LATCH);
    clock_wait_us(100);
    first = pit_count(0); /* the first latch's */
    second = pit_count(0);
    CHECK((first > second && first - second >= 100 * PIT_HZ / 1000000 - 1) || is_late(begun),
          "%u, then %u", first, second);
    /* read-back of status and count: status first, then the count */
    pit_control(PIT_CW_READ_BACK | PIT_RB_COUNTER(0) | PIT_RB_COUNTER(2));
    clock_wait_us(100);
    CHECK_EQ(pit_get(0) & 0x3f, PIT_CW_WORD | PIT_CW_MODE(2));
    first = pit_get_word(0);
    second = pit_count(0);
    CHECK(first > second || is_late(begun), "%u, then %u", first, second);
    (void)pit_get(2);
    (void)pit_get_word(2);
    /* access to one byte */
    pit_control(PIT_CW_COUNTER(0) | PIT_CW_MSB | PIT_CW_MODE(2));
    pit_put(0, 0x80);
    clock_wait_us(20);
    u8 high = pit_get(0);
    CHECK(high && high <= 0x80, "high byte %x of a count from 0x8000", high);
    pit_control(PIT_CW_COUNTER(0) | PIT_CW_LSB | PIT_CW_MODE(2));
    pit_put(0, 0x40);
    clock_wait_us(20);
    for (u32 i = 0; i < 20; i++) {
        pit_control(PIT_CW_COUNTER(0) | PIT_CW_LATCH);
        u8 low = pit_get(0);
        CHECK(low >= 1 && low <= 0x40, "low byte %x of a count from 0x40", low);
    }
    pit_quiet();
}

static void mode0(void)
{
    if (!begin_exact()) {
        return;
    }
    for (u32 clocks = MS / 4; clocks <= MS; clocks += MS / 4) {
        irq_forget();
        u64 begun = rdtsc();
        pit_start(0, 0, clocks);
        CHECK(!(pit_status(0) & PIT_STATUS_OUT) || rdtsc() - begun > tsc_of(clocks), "output low");
        wait_for(1);
        CHECK_EQ(irq_times(VECTOR), 1);
        CHECK(irq_taken.tsc[0] - begun >= tsc_of(clocks), "after %lu ticks, at least %lu expected",
              irq_taken.tsc[0] - begun, tsc_of(clocks));
        CHECK(pit_status(0) & PIT_STATUS_OUT, "output high");
        cpu_sti();
        clock_wait_ticks(tsc_of(2 * clocks));
        cpu_cli();
        CHECK_EQ(irq_taken.count, 1);
        CHECK(pit_count(0) > 0xff00 - 8 * MS || rdtsc() - begun > tsc_of(8 * MS),
              "it counts on, from ffff: %x", pit_count(0));
    }
    /* a new count starts it anew, also with the old one under way */
    irq_forget();
    u64 started = rdtsc(), old = 50000;
    pit_start(0, 0, (u16)old);
    u64 begun = rdtsc();
    pit_put(0, (u8)MS);
    pit_put(0, MS >> 8);
    bool away = rdtsc() - started >= tsc_of(old); /* so long that the old one ran out */
    u16 now = pit_count(0);
    CHECK(now <= MS || rdtsc() - begun > tsc_of(MS), "the new count, not the old one: %u", now);
    wait_for(1);
    CHECK((irq_times(VECTOR) == 1 && irq_taken.tsc[0] - begun >= tsc_of(MS)) || away,
          "%u interrupts", irq_taken.count);
    /* a control word alone stops it */
    irq_forget();
    begun = rdtsc();
    pit_start(0, 0, MS);
    pit_quiet();
    bool in_time = rdtsc() - begun < tsc_of(MS);
    cpu_sti();
    clock_wait_ticks(tsc_of(2 * MS));
    cpu_cli();
    CHECK(irq_taken.count == 0 || !in_time, "%u interrupts", irq_taken.count);
}

static void periodic(void)
{
    if (!begin()) {
        return;
    }
    for (u32 mode = 2; mode <= (on_tcg() ? 2 : 3); mode++) {
        u32 clocks = MS / 2;

        u64 begun = start_periodic(mode, clocks);
        wait_for(20);
        CHECK(irq_times(VECTOR) >= 20, "%u interrupts, mode %u", irq_times(VECTOR), mode);
        for (u32 i = 0; i < MIN(irq_taken.count, (u32)IRQ_LOG); i++) {
            CHECK(irq_taken.tsc[i] - begun >= tsc_of((u64)clocks * (i + 1)),
                  "mode %u, interrupt %u after %lu ticks, at least %lu expected", mode, i,
                  irq_taken.tsc[i] - begun, tsc_of((u64)clocks * (i + 1)));
        }
        pit_quiet();
    }
}

static void no_burst(void)
{
    u64 ticks, begun, opened, closed, most;
    u32 clocks = MS / 2;

    if (!begin()) {
        return;
    }
    ticks = tsc_of(clocks);
    for (u32 mode = 2; mode <= 3; mode++) {
        begun = start_periodic(mode, clocks);
        for (u32 i = 0; i < 4; i++) {
            clock_wait_ticks(20 * ticks);
            CHECK(WAIT_UNTIL(apic_bit(APIC_IRR, VECTOR)), "one waits");
            irq_forget();
            opened = rdtsc();
            irq_window();
            clock_wait_ticks(ticks / 8);
            irq_window();
            closed = rdtsc();
            most = 2 + (closed - begun) / ticks - (opened - begun) / ticks;
            CHECK(irq_times(VECTOR) >= 1 && irq_times(VECTOR) <= most,
                  "mode %u: %u interrupts, at most %lu expected", mode, irq_times(VECTOR), most);
        }
        pit_quiet();
    }
}

/* Mode 3 counts down by two, twice for each period; mode 2 by one. */
static void counting(void)
{
    u32 highs = 0, lows = 0;

    if (!begin_exact()) {
        return;
    }
    pit_start(2, 2, 1000);
    outb(PORT61, PORT61_GATE2);
    for (u32 i = 0; i < 200; i++) {
        u16 count = pit_count(2);

        CHECK(count >= 1 && count <= 1000, "count %u of 1000", count);
    }
    pit_start(2, 3, 1000);
    clock_wait_us(10);
    for (u32 i = 0; i < 200; i++) {
        u16 count = pit_count(2);

        CHECK(count >= 2 && count <= 1000 && !(count & 1), "count %u of 1000, mode 3", count);
        highs += !!(inb(PORT61) & PORT61_OUT2);
        clock_wait_us(7);
        lows += !(pit_status(2) & PIT_STATUS_OUT);
    }
    CHECK(highs > 20 && highs < 180, "output high %u times of 200", highs);
    CHECK(lows > 20 && lows < 180, "output low %u times of 200", lows);
    pit_control(PIT_CW_COUNTER(2) | PIT_CW_WORD | PIT_CW_MODE(2) | PIT_CW_BCD);
    pit_put(2, 0x00);
    pit_put(2, 0x10);
    clock_wait_us(10);
    for (u32 i = 0; i < 200; i++) {
        u16 count = pit_count(2);
        bool good = count >= 1 && count <= 0x1000;

        for (u32 digit = 0; digit < 16; digit += 4) {
            good &= (count >> digit & 15) < 10;
        }
        CHECK(good, "count %x of 1000 in BCD", count);
    }
    outb(PORT61, 0);
}

static void gate(void)
{
    u16 first, second;

    if (!begin_exact()) {
        return;
    }
    pit_start(2, 0, 20000);
    clock_wait_us(50);
    first = pit_count(2);
    CHECK_EQ(inb(PORT61) & (PORT61_GATE2 | PORT61_OUT2), 0);
    clock_wait_us(50);
    second = pit_count(2);
    CHECK_EQ(second, first); /* the gate is closed */
    u64 begun = rdtsc();
    outb(PORT61, PORT61_GATE2);
    clock_wait_us(200);
    outb(PORT61, 0);
    bool in_time = rdtsc() - begun < tsc_of(second);
    first = pit_count(2);
    CHECK((first < second && second - first >= 200 * PIT_HZ / 1000000 - 2) || !in_time,
          "%u, then %u", second, first);
    clock_wait_us(50);
    CHECK_EQ(pit_count(2), first);
    /* its output by port 61, as systems calibrate with it */
    outb(PORT61, PORT61_GATE2);
    begun = rdtsc();
    pit_start(2, 0, 2 * MS);
    CHECK(WAIT_UNTIL(inb(PORT61) & PORT61_OUT2), "the output rises");
    CHECK(rdtsc() - begun >= tsc_of(2 * MS), "after %lu ticks, at least %lu expected",
          rdtsc() - begun, tsc_of(2 * MS));
    outb(PORT61, 0);
    CHECK(inb(PORT61) & PORT61_OUT2, "and stays");
    /* memory refresh toggles */
    u8 before = inb(PORT61) & PORT61_REFRESH;
    CHECK(WAIT_UNTIL((inb(PORT61) & PORT61_REFRESH) != before), "refresh toggles");
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"status",   status  },
        {"latches",  latches },
        {"mode0",    mode0   },
        {"periodic", periodic},
        {"no-burst", no_burst},
        {"counting", counting},
        {"gate",     gate    },
    };

    test_all("pit", tests, ARRAY_SIZE(tests));
}
