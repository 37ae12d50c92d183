/* SPDX-License-Identifier: MIT */
/*
 * The real-time clock: its registers, the calendar, BCD and 12-hour mode, periodic, update and
 * alarm interrupts, and what firmware leaves in its RAM. Motorola MC146818A datasheet.
 */
#include "guests/lib/rtc.h"
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/irq.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

#define VECTOR    0x68
#define RATE_8192 3
#define RATE_1024 6
#define B_KEPT    (RTC_B_DM | RTC_B_24H)
#define SCRATCH   0x70 /* a byte of RAM that nobody uses */

static u8 flags; /* of register C, as the handler found them */

static bool on_rtc(struct trap_frame *f)
{
    flags |= rtc_read(RTC_C);
    return irq_count(f);
}

static void set_b(u8 enable)
{
    rtc_write(RTC_B, (rtc_read(RTC_B) & B_KEPT) | enable);
}

/* Nothing is enabled, nothing is pending. */
static void quiet(void)
{
    set_b(0);
    (void)rtc_read(RTC_C);
    irq_window();
    (void)rtc_read(RTC_C);
    irq_forget();
    flags = 0;
}

static bool begin(void)
{
    if (!apic_available() || !ioapic_init()) {
        test_skip("no I/O APIC");
        return false;
    }
    apic_reset();
    rtc_write(RTC_A, RTC_A_DV_32KHZ | RATE_1024);
    set_b(0);
    (void)rtc_read(RTC_C);
    irq_expect(32, 255);
    trap_handle(VECTOR, on_rtc);
    ioapic_set(IOAPIC_PIN_RTC, IOAPIC_TO(apic_id()) | VECTOR);
    quiet();
    return true;
}

static bool wait_for(u32 count)
{
    bool ok;

    cpu_sti();
    ok = WAIT_UNTIL(irq_taken.count >= count);
    cpu_cli();
    return ok;
}

static void registers(void)
{
    if (!begin()) {
        return;
    }
    rtc_write(RTC_A, 0x2f);
    CHECK_EQ(rtc_read(RTC_A) & ~RTC_A_UIP, 0x2f);
    rtc_write(RTC_A, 0xa6); /* UIP is read-only */
    CHECK_EQ(rtc_read(RTC_A) & ~RTC_A_UIP, 0x26);
    CHECK_EQ(rtc_read(RTC_D), RTC_D_VRT);
    rtc_write(RTC_D, 0);
    CHECK_EQ(rtc_read(RTC_D), RTC_D_VRT);
    rtc_write(RTC_C, 0xff);
    CHECK_EQ(rtc_read(RTC_C) & 0x0f, 0);
    u8 before = rtc_read(SCRATCH);
    for (u32 i = 0; i < 256; i += 85) {
        rtc_write(SCRATCH, (u8)i);
        CHECK_EQ(rtc_read(SCRATCH), i);
        CHECK_EQ(rtc_read(SCRATCH | RTC_INDEX_NMI_OFF), i);
    }
    rtc_write(SCRATCH, before);
    if (!on_socle()) {
        return;
    }
    u32 sum = 0;
    for (u8 i = CMOS_FLOPPY; i < CMOS_CHECKSUM; i++) {
        sum += rtc_read(i);
    }
    CHECK_EQ(rtc_read(CMOS_CHECKSUM) << 8 | rtc_read(CMOS_CHECKSUM + 1), sum & 0xffff);
}

static void memory_sizes(void)
{
    u64 ext = rtc_read(CMOS_EXT_MEMORY) | (u64)rtc_read(CMOS_EXT_MEMORY + 1) << 8;
    u64 high = rtc_read(CMOS_HIGH_MEMORY) | (u64)rtc_read(CMOS_HIGH_MEMORY + 1) << 8;
    u64 below = 0; /* end of the usable memory below 4 GiB */

    for (u32 i = 0; i < boot.ram_count; i++) {
        u64 end = boot.ram[i].base + boot.ram[i].bytes;

        if (boot.ram[i].type == 1 && end <= 1ull << 32) {
            below = MAX(below, end);
        }
    }
    CHECK_EQ(ext, rtc_read(CMOS_EXT_MEMORY_2) | (u64)rtc_read(CMOS_EXT_MEMORY_2 + 1) << 8);
    if (below > 16 << 20) {
        u64 told = (16 << 20) + (high << 16);

        CHECK(told >= below && told - below <= 1 << 20, "memory ends at %lx, CMOS says %lx", below,
              told);
    } else {
        CHECK_EQ(high, 0);
        CHECK((ext + 1024) << 10 >= below, "memory ends at %lx, CMOS says %lx", below,
              (ext + 1024) << 10);
    }
}

static void periodic(void)
{
    if (!begin()) {
        return;
    }
    rtc_write(RTC_A, RTC_A_DV_32KHZ | RATE_8192);
    (void)rtc_read(RTC_C);
    u64 begun = rdtsc();
    set_b(RTC_B_PIE);
    CHECK(wait_for(20), "%u interrupts", irq_taken.count);
    set_b(0);
    CHECK_EQ(flags & RTC_C_PF, RTC_C_PF);
    for (u32 i = 1; i < MIN(irq_taken.count, (u32)IRQ_LOG); i++) {
        u64 least = (u64)(i - 1) * clock_tsc_hz() / 8192;

        CHECK(irq_taken.tsc[i] - begun >= least, "interrupt %u after %lu ticks, at least %lu", i,
              irq_taken.tsc[i] - begun, least);
    }
    /* not acknowledged, the line stays up: no more edges */
    quiet();
    trap_handle(VECTOR, irq_count);
    set_b(RTC_B_PIE);
    CHECK(wait_for(1), "one more");
    cpu_sti();
    clock_wait_us(2000);
    cpu_cli();
    CHECK(irq_taken.count == 1 || on_tcg(), "%u interrupts", irq_taken.count);
    CHECK_EQ(rtc_read(RTC_C) & (RTC_C_IRQF | RTC_C_PF), RTC_C_IRQF | RTC_C_PF);
    CHECK(wait_for(2), "after reading register C");
    /* many missed periods are one */
    trap_handle(VECTOR, on_rtc);
    (void)rtc_read(RTC_C);
    clock_wait_us(5000);
    irq_forget();
    u64 opened = rdtsc();
    irq_window();
    irq_window();
    u64 most = 2 + (rdtsc() - opened) * 8192 / clock_tsc_hz();
    CHECK(irq_taken.count <= most, "%u interrupts, at most %lu expected", irq_taken.count, most);
    rtc_write(RTC_A, RTC_A_DV_32KHZ); /* rate 0: none */
    quiet();
    set_b(RTC_B_PIE);
    cpu_sti();
    clock_wait_us(3000);
    cpu_cli();
    CHECK_EQ(irq_taken.count, 0);
    set_b(0);
}

/* Sets the clock in the mode that B_KEPT bits of b say, with the next update a half second away. */
static void set_clock(u8 b, const u8 time[7], u8 century)
{
    static const u8 regs[] = {RTC_SECONDS, RTC_MINUTES, RTC_HOURS, RTC_WEEKDAY,
                              RTC_DAY,     RTC_MONTH,   RTC_YEAR};

    rtc_write(RTC_B, b | RTC_B_SET);
    rtc_write(RTC_A, RTC_A_DV_RESET | RATE_1024);
    for (u32 i = 0; i < sizeof(regs); i++) {
        rtc_write(regs[i], time[i]);
    }
    rtc_write(CMOS_CENTURY, century);
    rtc_write(RTC_A, RTC_A_DV_32KHZ | RATE_1024);
    rtc_write(RTC_B, b);
    (void)rtc_read(RTC_C);
}

static void check_clock(const u8 time[7], u8 century, const char *what)
{
    static const u8 regs[] = {RTC_SECONDS, RTC_MINUTES, RTC_HOURS, RTC_WEEKDAY,
                              RTC_DAY,     RTC_MONTH,   RTC_YEAR};

    for (u32 i = 0; i < sizeof(regs); i++) {
        CHECK_EQ_AT(rtc_read(regs[i]), time[i], "%s: register %x", what, regs[i]);
    }
    CHECK_EQ_AT(rtc_read(CMOS_CENTURY), century, "%s: century", what);
}

/* One update each: the end of a century in BCD, of a February in binary and 12-hour mode; and with
 * it the update and the alarm interrupt. */
static void calendar(void)
{
    static const struct {
        u8 b, before[7], after[7], century[2];
        const char *what;
    } list[] = {
        {RTC_B_24H,
         {0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99},
         {0, 0, 0, 7, 1, 1, 0},
         {0x19, 0x20},
         "century" },
        {RTC_B_DM,
         {59, 59, 11 | RTC_HOURS_PM, 4, 28, 2, 24},
         {0, 0, 12, 5, 29, 2, 24},
         {20, 20},
         "leap day"},
    };

    if (!begin()) {
        return;
    }
    u8 kept = rtc_read(RTC_B) & B_KEPT;
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        irq_forget();
        flags = 0;
        set_clock(list[i].b, list[i].before, list[i].century[0]);
        check_clock(list[i].before, list[i].century[0], list[i].what);
        rtc_write(RTC_SECONDS_ALARM, list[i].after[0]);
        rtc_write(RTC_MINUTES_ALARM, list[i].after[1]);
        rtc_write(RTC_HOURS_ALARM, i ? RTC_ALARM_ANY : list[i].after[2]);
        rtc_write(RTC_B, list[i].b | RTC_B_UIE | (i ? 0 : RTC_B_AIE));
        CHECK(wait_for(1), "%s: an interrupt", list[i].what);
        if (!on_tcg()) {
            check_clock(list[i].after, list[i].century[1], list[i].what);
        }
        CHECK_EQ(flags & (RTC_C_UF | RTC_C_AF), RTC_C_UF | RTC_C_AF);
        rtc_write(RTC_B, list[i].b);
        CHECK_EQ(irq_times(VECTOR), 1);
    }
    rtc_write(RTC_B, kept);
}

static u8 next_second(u8 bcd)
{
    return bcd == 0x59 ? 0 : (bcd & 15) == 9 ? (u8)(bcd + 7) : (u8)(bcd + 1);
}

/* UIP rises before an update, and not for long; after it has fallen the time is a new one. */
static void update(void)
{
    static const u8 noon[7] = {0x10, 0, 0x12, 1, 1, 1, 0x30};

    if (!begin() || on_tcg()) {
        return;
    }
    set_clock(RTC_B_24H, noon, 0x20);
    CHECK_EQ(rtc_read(RTC_A) & RTC_A_UIP, 0);
    bool seen = WAIT_UNTIL(rtc_read(RTC_A) & RTC_A_UIP); /* it is there for 244 us of a second */
    u64 begun = rdtsc();
    u8 before = rtc_read(RTC_SECONDS);
    if (!seen || !(rtc_read(RTC_A) & RTC_A_UIP)) {
        test_skip("update: this CPU was away when an update came");
        return;
    }
    CHECK(WAIT_UNTIL(!(rtc_read(RTC_A) & RTC_A_UIP)), "UIP falls");
    u8 after = rtc_read(RTC_SECONDS);
    CHECK(after == next_second(before) || rdtsc() - begun > clock_tsc_hz() / 100,
          "seconds %x, then %x", before, after);
    /* SET holds updates back */
    rtc_write(RTC_B, rtc_read(RTC_B) | RTC_B_SET);
    (void)rtc_read(RTC_C);
    before = rtc_read(RTC_SECONDS);
    clock_wait_us(1200000);
    CHECK_EQ(rtc_read(RTC_SECONDS), before);
    CHECK_EQ(rtc_read(RTC_C) & RTC_C_UF, 0);
    rtc_write(RTC_B, rtc_read(RTC_B) & (u8)~RTC_B_SET);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"registers",    registers   },
        {"memory-sizes", memory_sizes},
        {"periodic",     periodic    },
        {"calendar",     calendar    },
        {"update",       update      },
    };

    test_all("rtc", tests, ARRAY_SIZE(tests));
}
