/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/rtc.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/*
 * Two clocks with the same accesses: one is left alone while time goes on, the other is looked at
 * after every second, and its bytes are compared with the alarm's there and then. Both have to be
 * the same after each operation. Input: operations of 2 bytes.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/rtc.h"
#include "vmm/device/ticks.h"

#define MAX_SECONDS 6000 /* looked at one by one */

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

struct rig {
    struct machine m;
    struct rtc r;
};

static u8 in(struct rig *g, u8 reg)
{
    bus_out(&g->m.bus, 0x70, 1, reg);
    return (u8)bus_in(&g->m.bus, 0x71, 1);
}

static bool plain(u8 byte, bool binary, u32 low, u32 high, u32 *value)
{
    *value = binary ? byte : (byte >> 4) * 10u + (byte & 15);
    return (binary || ((byte & 15) < 10 && byte < 0xa0)) && *value >= low && *value <= high;
}

/* Seconds since 1970 of the clock's bytes; false when they are no date. */
static bool epoch(const struct rtc *r, s64 *out)
{
    bool binary = r->ram[RTC_B] & RTC_B_DM, day_24h = r->ram[RTC_B] & RTC_B_24H;
    u8 hours = r->ram[RTC_HOURS] & (day_24h ? 0xff : 0x7f);
    u32 s, m, h, day, month, year, century;

    if (!plain(r->ram[RTC_SECONDS], binary, 0, 59, &s) ||
        !plain(r->ram[RTC_MINUTES], binary, 0, 59, &m) ||
        !plain(hours, binary, !day_24h, day_24h ? 23 : 12, &h) ||
        !plain(r->ram[RTC_DAY], binary, 1, 31, &day) ||
        !plain(r->ram[RTC_MONTH], binary, 1, 12, &month) ||
        !plain(r->ram[RTC_YEAR], binary, 0, 99, &year) ||
        !plain(r->ram[CMOS_CENTURY], binary, 0, 98, &century)) {
        return false;
    }
    if (!day_24h) {
        h = h % 12 + (r->ram[RTC_HOURS] & 0x80 ? 12 : 0);
    }
    struct tm t = {.tm_sec = (int)s, .tm_min = (int)m, .tm_hour = (int)h, .tm_mday = (int)day};
    t.tm_mon = (int)month - 1;
    t.tm_year = (int)(century * 100 + year) - 1900;
    *out = (s64)timegm(&t);
    return t.tm_mday == (int)day; /* no 31st of a short month */
}

static bool field_matches(const struct rtc *r, u32 alarm, u32 field)
{
    return (r->ram[alarm] & 0xc0) == 0xc0 || r->ram[alarm] == r->ram[field];
}

/* To at_ns, with a look at each second, which is compared with the alarm byte by byte. */
static void advance_watched(struct rig *g, u64 end_ns)
{
    bool alarmed = false;

    while (g->m.time_ns < end_ns) {
        u64 since = (g->r.seen - g->r.phase) % RTC_HZ;
        u64 next = ticks_to_ns(g->r.seen + RTC_HZ - since, RTC_HZ);
        u8 b = g->r.ram[RTC_B], seconds = g->r.ram[RTC_SECONDS];
        bool runs = !(b & RTC_B_SET) && (g->r.ram[RTC_A] & 0x60) != 0x60;
        bool ends = next <= end_ns;
        s64 before, after;
        bool good = epoch(&g->r, &before);
        bool seen = g->r.ram[RTC_C] & RTC_C_AF;

        if (!(b & RTC_B_AIE)) { /* no interrupt hangs on it: see it afresh in each second */
            alarmed |= seen;
            seen = false;
            g->r.ram[RTC_C] &= (u8)~RTC_C_AF;
        }
        fake_host_advance(&g->m, MIN(next, end_ns) - g->m.time_ns);
        in(g, RTC_D);
        check(!good || (epoch(&g->r, &after) && after - before == (runs && ends)));
        check(runs || g->r.ram[RTC_SECONDS] == seconds);
        bool match = field_matches(&g->r, RTC_SECONDS_ALARM, RTC_SECONDS) &&
                     field_matches(&g->r, RTC_MINUTES_ALARM, RTC_MINUTES) &&
                     field_matches(&g->r, RTC_HOURS_ALARM, RTC_HOURS);
        check(((g->r.ram[RTC_C] & RTC_C_AF) != 0) == (seen || (match && runs && ends)));
        check(!(runs && ends) || (g->r.ram[RTC_C] & RTC_C_UF));
    }
    g->r.ram[RTC_C] |= alarmed ? RTC_C_AF : 0;
}

static void check_line(const struct rig *g)
{
    u8 b = g->r.ram[RTC_B], c = g->r.ram[RTC_C];
    bool line = g->m.irq_levels & 1u << RTC_IRQ;

    check(line == ((b & c & 0x70) != 0));
    check(!(c & 0x8f) && !(g->r.ram[RTC_A] & RTC_A_UIP) && g->r.ram[RTC_D] == 0x80);
    check(!((b & RTC_B_SET) && (b & RTC_B_UIE)));
    if (g->m.timers) { /* only for an interrupt that is to come */
        check((b & 0x70) && !line && g->m.timers->at_ns > g->m.time_ns);
    } else {
        check(line || !(b & RTC_B_UIE) || (g->r.ram[RTC_A] & 0x60) == 0x60);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const u8 regs[32] = {0,  1,  2,  3,    4,    5,    6,    7,    8,  9, 10,
                                11, 12, 13, 0x32, 0x0f, 0xff, 0x15, 11,   10, 5, 4,
                                3,  1,  11, 12,   10,   0x8b, 0x32, 0x7f, 7,  8};
    struct rig *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
    u64 budget = MAX_SECONDS * 1000000000ull;

    fake_host_reset(&a->m);
    a->m.wall_seconds = size ? data[0] * 31556952ull : 0;
    check(rtc_attach(&a->r, &a->m, 128ull << 20, 0));
    fake_host_reset(&b->m);
    b->m.wall_seconds = a->m.wall_seconds;
    check(rtc_attach(&b->r, &b->m, 128ull << 20, 0));
    for (; size >= 2; data += 2, size -= 2) {
        u8 reg = regs[data[0] & 31];
        u64 ns = 0;

        switch (data[0] >> 5) {
        case 0:
        case 1:
            bus_out(&a->m.bus, 0x70, 1, reg);
            bus_out(&a->m.bus, 0x71, 1, data[1]);
            bus_out(&b->m.bus, 0x70, 1, reg);
            bus_out(&b->m.bus, 0x71, 1, data[1]);
            break;
        case 2:
        case 3:
            check(in(a, reg) == in(b, reg));
            break;
        case 4: /* microseconds */
            ns = data[1] * 61000ull;
            break;
        case 5:
            ns = data[1] * 7812345ull;
            break;
        case 6: /* minutes */
            ns = data[1] * 9700000000ull;
            break;
        default:
            check(bus_in(&a->m.bus, 0x70, 1) == 0xff);
        }
        if (ns > budget) {
            break;
        }
        budget -= ns;
        fake_host_advance(&a->m, ns);
        advance_watched(b, b->m.time_ns + ns);
        in(a, RTC_D);
        in(b, RTC_D);
        check(!memcmp(a->r.ram, b->r.ram, sizeof(a->r.ram)) && a->r.seen == b->r.seen);
        check(a->m.irq_levels == b->m.irq_levels);
        check_line(a);
        check_line(b);
    }
    free(a);
    free(b);
    return 0;
}
