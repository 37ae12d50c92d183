/* SPDX-License-Identifier: MIT */
/*
 * The real-time clock (Motorola MC146818A datasheet). Nothing runs while nobody looks: a timer is
 * set only for an interrupt that is enabled and not yet pending.
 *
 * Deviations: an update takes no time (UIP shows the 244 us before it); daylight saving and the
 * square wave are stored and do nothing; other time bases than 32768 Hz count as that one. Leap
 * years follow the calendar, with the century byte.
 */
#include "vmm/device/rtc.h"

#include "lib/string.h"
#include "vmm/device/ticks.h"

#define UIP_TICKS       8 /* 244 us */
#define SECONDS_PER_DAY 86400u

/* --- the bytes of the clock --- */

static u32 decode(const struct rtc *r, u8 byte)
{
    return r->ram[RTC_B] & RTC_B_DM ? byte : (byte >> 4) * 10u + (byte & 15);
}

static u8 encode(const struct rtc *r, u32 value)
{
    return (u8)(r->ram[RTC_B] & RTC_B_DM ? value : value / 10 << 4 | value % 10);
}

static u32 decode_hour(const struct rtc *r, u8 byte)
{
    if (r->ram[RTC_B] & RTC_B_24H) {
        return decode(r, byte);
    }
    return decode(r, byte & (u8)~RTC_HOURS_PM) % 12 + (byte & RTC_HOURS_PM ? 12 : 0);
}

static u8 encode_hour(const struct rtc *r, u32 hour)
{
    if (r->ram[RTC_B] & RTC_B_24H) {
        return encode(r, hour);
    }
    return encode(r, hour % 12 ? hour % 12 : 12) | (hour < 12 ? 0 : RTC_HOURS_PM);
}

static u32 days_in_month(u32 year, u32 month)
{
    static const u8 days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

static void add_days(struct rtc *r, u64 days)
{
    u8 *ram = r->ram;
    u32 year = decode(r, ram[CMOS_CENTURY]) * 100 + decode(r, ram[RTC_YEAR]);
    u32 month = MIN(MAX(decode(r, ram[RTC_MONTH]), 1u), 12u); /* the guest writes what it likes */
    u64 day = decode(r, ram[RTC_DAY]) + days;

    while (day > days_in_month(year, month)) {
        day -= days_in_month(year, month);
        year += month == 12;
        month = month % 12 + 1;
    }
    ram[RTC_WEEKDAY] = encode(r, (u32)((decode(r, ram[RTC_WEEKDAY]) + 6 + days) % 7) + 1);
    ram[RTC_DAY] = encode(r, (u32)day);
    ram[RTC_MONTH] = encode(r, month);
    ram[RTC_YEAR] = encode(r, year % 100);
    ram[CMOS_CENTURY] = encode(r, year / 100 % 100);
}

static u64 second_of_day(const struct rtc *r)
{
    return decode_hour(r, r->ram[RTC_HOURS]) * 3600 + decode(r, r->ram[RTC_MINUTES]) * 60 +
           decode(r, r->ram[RTC_SECONDS]);
}

static void add_seconds(struct rtc *r, u64 seconds)
{
    u64 sum = second_of_day(r) + seconds;
    u32 second = (u32)(sum % SECONDS_PER_DAY);

    r->ram[RTC_SECONDS] = encode(r, second % 60);
    r->ram[RTC_MINUTES] = encode(r, second / 60 % 60);
    r->ram[RTC_HOURS] = encode_hour(r, second / 3600);
    if (sum >= SECONDS_PER_DAY) {
        add_days(r, sum / SECONDS_PER_DAY);
    }
}

/* Updates until the alarm matches, from 1; TICKS_NEVER when an alarm byte is no time at all. */
static u64 updates_to_alarm(const struct rtc *r)
{
    static const struct {
        u32 reg, unit, span; /* the field counts units and starts again after span seconds */
    } fields[3] = {
        {RTC_HOURS_ALARM,   3600, SECONDS_PER_DAY},
        {RTC_MINUTES_ALARM, 60,   3600           },
        {RTC_SECONDS_ALARM, 1,    60             },
    };
    u64 now = second_of_day(r), updates = 1;

    for (u32 i = 0; i < ARRAY_SIZE(fields);) {
        u8 byte = r->ram[fields[i].reg];
        u32 unit = fields[i].unit, span = fields[i].span;
        u32 value = i == 0 ? decode_hour(r, byte) : decode(r, byte);
        u32 have = (u32)((now + updates) % span);
        if ((byte & RTC_ALARM_ANY) == RTC_ALARM_ANY) {
            i++;
        } else if (value >= span / unit ||
                   byte != (i == 0 ? encode_hour(r, value) : encode(r, value))) {
            return TICKS_NEVER;
        } else if (have / unit == value) {
            i++;
        } else { /* to its next beginning; fields above may have gone on with it */
            updates += (value * unit + span - have) % span;
            i = 0;
        }
    }
    return updates;
}

/* --- time --- */

static bool is_held(const struct rtc *r)
{
    return (r->ram[RTC_A] & RTC_A_DV_RESET) == RTC_A_DV_RESET;
}

/* Of the periodic interrupt in ticks, 0: none (datasheet "Periodic Interrupt Rate"). */
static u32 period(const struct rtc *r)
{
    u32 rate = r->ram[RTC_A] & RTC_A_RS;

    if (rate == 0) {
        return 0;
    }
    return 1u << (rate < 3 ? rate + 6 : rate - 1);
}

/* Brings bytes and flags to a tick: every access begins with it, no matter how late. */
static void catch_up(struct rtc *r, u64 tick)
{
    u64 from = r->seen - r->phase, to = tick - r->phase;
    u32 every = period(r);

    r->seen = tick;
    if (is_held(r)) {
        return;
    }
    if (every && from / every != to / every) {
        r->ram[RTC_C] |= RTC_C_PF;
    }
    u64 updates = to / RTC_HZ - from / RTC_HZ;
    if (updates == 0 || (r->ram[RTC_B] & RTC_B_SET)) {
        return;
    }
    r->ram[RTC_C] |= RTC_C_UF;
    if (updates_to_alarm(r) <= updates) {
        r->ram[RTC_C] |= RTC_C_AF;
    }
    add_seconds(r, updates);
}

static bool is_interrupting(const struct rtc *r)
{
    return r->ram[RTC_B] & r->ram[RTC_C] & RTC_C_FLAGS;
}

/* The tick of the next interrupt; none while the line is high, that is, until C is read. */
static u64 next_interrupt(const struct rtc *r)
{
    u64 since = r->seen - r->phase, at = TICKS_NEVER;
    u32 every = period(r);
    u8 b = r->ram[RTC_B];

    if (is_interrupting(r) || is_held(r)) {
        return TICKS_NEVER;
    }
    if ((b & RTC_B_PIE) && every) {
        at = r->seen + every - since % every;
    }
    if (b & RTC_B_SET) {
        return at;
    }
    u64 second = r->seen + RTC_HZ - since % RTC_HZ;
    if (b & RTC_B_UIE) {
        at = MIN(at, second);
    }
    if (b & RTC_B_AIE) {
        u64 updates = updates_to_alarm(r);
        at = updates == TICKS_NEVER ? at : MIN(at, second + (updates - 1) * RTC_HZ);
    }
    return at;
}

static void update_irq(struct rtc *r)
{
    u64 at_ns = ticks_to_ns(next_interrupt(r), RTC_HZ);

    host_irq(r->host, RTC_IRQ, is_interrupting(r));
    if (at_ns != r->timer.at_ns) {
        host_timer_set(r->host, &r->timer, at_ns);
    }
}

static void rtc_due(void *device, u64 now_ns)
{
    struct rtc *r = device;

    catch_up(r, ticks_at(now_ns, RTC_HZ));
    update_irq(r);
}

/* --- registers --- */

static u8 read_a(const struct rtc *r)
{
    u64 in_second = (r->seen - r->phase) % RTC_HZ;
    bool soon = !is_held(r) && !(r->ram[RTC_B] & RTC_B_SET) && in_second >= RTC_HZ - UIP_TICKS;

    return r->ram[RTC_A] | (soon ? RTC_A_UIP : 0);
}

static u8 read_c(struct rtc *r)
{
    u8 value = r->ram[RTC_C] | (is_interrupting(r) ? RTC_C_IRQF : 0);

    r->ram[RTC_C] = 0;
    return value;
}

static u32 rtc_read(void *device, u16 offset, u8 bytes)
{
    struct rtc *r = device;
    u32 reg = r->index & (RTC_BYTES - 1);
    u8 value;

    (void)bytes; /* always 1 */
    if (offset == RTC_INDEX) {
        return 0xff; /* write only */
    }
    catch_up(r, ticks_at(host_time_ns(r->host), RTC_HZ));
    value = reg == RTC_A ? read_a(r) : reg == RTC_C ? read_c(r) : r->ram[reg];
    update_irq(r);
    return value;
}

/* Out of reset, the divider chain is at half: the first update comes after 500 ms. */
static void write_a(struct rtc *r, u8 value)
{
    bool was_held = is_held(r);

    r->ram[RTC_A] = value & (RTC_A_DV | RTC_A_RS);
    if (was_held) {
        r->phase = r->seen - RTC_HZ / 2;
    }
}

static void rtc_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct rtc *r = device;
    u32 reg = r->index & (RTC_BYTES - 1);

    (void)bytes; /* always 1 */
    if (offset == RTC_INDEX) {
        r->index = (u8)value;
        return;
    }
    catch_up(r, ticks_at(host_time_ns(r->host), RTC_HZ));
    switch (reg) {
    case RTC_A:
        write_a(r, (u8)value);
        break;
    case RTC_B: /* SET clears UIE */
        r->ram[RTC_B] = (u8)(value & (value & RTC_B_SET ? ~(u32)RTC_B_UIE : ~0u));
        break;
    case RTC_C:
    case RTC_D:
        break; /* read only */
    default:
        r->ram[reg] = (u8)value;
    }
    update_irq(r);
}

/* --- what firmware leaves --- */

static void put_word(struct rtc *r, u32 at, u64 value)
{
    u16 word = (u16)MIN(value, 0xffffull);

    r->ram[at] = (u8)word;
    r->ram[at + 1] = (u8)(word >> 8);
}

static void fill_ram(struct rtc *r, u64 below_4g, u64 above_4g)
{
    const u64 base = 640 << 10, low = 1 << 20, high = 16 << 20;
    u64 extended_kib = (MAX(below_4g, low) - low) >> 10;
    u32 sum = 0;

    r->ram[CMOS_EQUIPMENT] = CMOS_EQUIPMENT_FPU;
    put_word(r, CMOS_BASE_MEMORY, MIN(below_4g, base) >> 10);
    put_word(r, CMOS_EXT_MEMORY, extended_kib);
    put_word(r, CMOS_EXT_MEMORY_2, extended_kib);
    put_word(r, CMOS_HIGH_MEMORY, (MAX(below_4g, high) - high) >> 16);
    put_word(r, CMOS_4G_MEMORY, above_4g >> 16 & 0xffff);
    r->ram[CMOS_4G_MEMORY + 2] = (u8)(above_4g >> 32);
    for (u32 i = CMOS_FLOPPY; i < CMOS_CHECKSUM; i++) {
        sum += r->ram[i];
    }
    r->ram[CMOS_CHECKSUM] = (u8)(sum >> 8);
    r->ram[CMOS_CHECKSUM + 1] = (u8)sum;
}

bool rtc_attach(struct rtc *r, struct machine *host, u64 memory_below_4g, u64 memory_above_4g)
{
    struct host_ports ports = {r, rtc_read, rtc_write, RTC_PORT, RTC_PORTS, HOST_WIDTH_8};

    memset(r, 0, sizeof(*r));
    r->host = host;
    r->timer = (struct host_timer){.due = rtc_due, .device = r, .at_ns = HOST_NEVER};
    r->phase = r->seen = ticks_at(host_time_ns(host), RTC_HZ);
    r->ram[RTC_A] = RTC_A_DV_32KHZ | 6; /* 1024 Hz */
    r->ram[RTC_B] = RTC_B_24H;
    r->ram[RTC_D] = RTC_D_VRT;
    r->ram[CMOS_CENTURY] = 0x19; /* 1970-01-01, a Thursday, in BCD */
    r->ram[RTC_YEAR] = 0x70;
    r->ram[RTC_MONTH] = r->ram[RTC_DAY] = 0x01;
    r->ram[RTC_WEEKDAY] = 0x05;
    add_seconds(r, host_wall_seconds(host));
    fill_ram(r, memory_below_4g, memory_above_4g);
    update_irq(r);
    return host_add_ports(host, &ports);
}
