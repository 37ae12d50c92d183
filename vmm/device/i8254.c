/* SPDX-License-Identifier: MIT */
/*
 * The interval timer (Intel 8254 datasheet "Mode Definitions") and port 61.
 *
 * Deviation: in modes 2 and 3 line 0 stays high until just before it rises again, where OUT falls
 * for a clock or for half of the period. It is an edge that interrupts, a guest that does not run
 * for a while finds its tick still pending, and half of the wake-ups are saved. Status and port 61
 * show OUT as it is. A count of 1, which modes 2 and 3 do not allow, makes no edges there.
 */
#include "vmm/device/i8254.h"

#include "lib/string.h"
#include "vmm/device/ticks.h"

static u32 mode_of(const struct i8254_counter *c)
{
    u32 mode = (c->control & PIT_CW_MODE_MASK) / PIT_CW_MODE(1);

    return mode > 5 ? mode - 4 : mode;
}

static bool is_periodic(const struct i8254_counter *c)
{
    return mode_of(c) == 2 || mode_of(c) == 3;
}

/* Modes 1 and 5: a rising GATE starts them, and its level does not hold them. */
static bool is_triggered(const struct i8254_counter *c)
{
    return mode_of(c) == 1 || mode_of(c) == 5;
}

static u32 from_bcd(u32 digits)
{
    return (digits >> 12) * 1000 + (digits >> 8 & 15) * 100 + (digits >> 4 & 15) * 10 +
           (digits & 15);
}

static u32 to_bcd(u32 value)
{
    return value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

static u32 modulus(const struct i8254_counter *c)
{
    return c->control & PIT_CW_BCD ? 10000 : 65536;
}

/* The number in CR; 0 stands for the most that can be counted. */
static u32 initial_count(const struct i8254_counter *c)
{
    u32 count = c->control & PIT_CW_BCD ? from_bcd(c->cr) : c->cr;

    return count ? count : modulus(c);
}

/* Clocks of a period of mode 3 in which OUT is high; odd counts are high for one more than low. */
static u32 high_half(const struct i8254_counter *c)
{
    return (c->count + 1) / 2;
}

/* Clocks counted since CE was loaded. */
static u64 position(const struct i8254_counter *c, u64 tick)
{
    return c->running ? tick - c->origin : c->origin;
}

/* What CE holds, as it is read. */
static u16 element(const struct i8254_counter *c, u64 tick)
{
    u64 at = position(c, tick);
    u32 value;

    if (mode_of(c) == 3) { /* counts twos, the odd one is left out, and is loaded each half */
        u32 in_period = (u32)(at % c->count), high = high_half(c);
        value = (c->count & ~1u) - 2 * (in_period < high ? in_period : in_period - high);
    } else if (mode_of(c) == 2) {
        value = c->count - (u32)(at % c->count);
    } else { /* wraps around, and goes on */
        value = c->count + modulus(c) - (u32)(at % modulus(c));
    }
    value %= modulus(c);
    return (u16)(c->control & PIT_CW_BCD ? to_bcd(value) : value);
}

static bool output(const struct i8254_counter *c, u64 tick)
{
    u64 at = position(c, tick);

    if (!c->started) {
        return mode_of(c) != 0;
    }
    switch (mode_of(c)) {
    case 0:
    case 1:
        return at >= c->count;
    case 2:
        return at % c->count != c->count - 1;
    case 3:
        return at % c->count < high_half(c);
    default: /* a strobe of one clock */
        return at != c->count;
    }
}

/* Rising edges of OUT since CE was loaded. */
static u64 rises(const struct i8254_counter *c, u64 tick)
{
    u64 at = position(c, tick);

    if (!c->started) {
        return 0;
    }
    if (is_periodic(c)) {
        return c->count > 1 ? at / c->count : 0;
    }
    return mode_of(c) < 2 ? at >= c->count : at > c->count;
}

static void note_rises(struct i8254_counter *c, u64 tick)
{
    u64 now = rises(c, tick);

    c->rose |= now > c->rises;
    c->rises = now;
}

/* CR goes to CE. In mode 3 that may happen between the halves; the new count then begins with its
 * low half. */
static void load(struct i8254_counter *c)
{
    u64 tick = c->load_tick;
    bool low_half =
        mode_of(c) == 3 && c->started && c->running && position(c, tick) % c->count == high_half(c);

    note_rises(c, tick);
    c->count = initial_count(c);
    c->running = c->gate || is_triggered(c);
    c->origin = c->running ? tick : 0;
    if (low_half) {
        c->origin -= high_half(c);
    }
    c->started = true;
    c->null_count = false;
    c->load_tick = TICKS_NEVER;
    c->rises = 0;
}

/* Brings a counter to a tick: every access begins with it, no matter how late. */
static void counter_sync(struct i8254_counter *c, u64 tick)
{
    if (tick >= c->load_tick) {
        load(c);
    }
    note_rises(c, tick);
}

static void hold(struct i8254_counter *c, u64 tick)
{
    c->origin = position(c, tick);
    c->running = false;
}

/* Stops counting, with OUT at its initial level until CE is loaded again. */
static void halt(struct i8254_counter *c, u64 tick)
{
    hold(c, tick);
    c->started = false;
    c->rises = 0;
    c->load_tick = TICKS_NEVER;
}

static void resume(struct i8254_counter *c, u64 tick)
{
    if (!c->running) {
        c->origin = tick - c->origin;
        c->running = true;
    }
}

static void write_mode(struct i8254_counter *c, u8 value, u64 tick)
{
    halt(c, tick);
    c->control = value & (PIT_CW_RW | PIT_CW_MODE_MASK | PIT_CW_BCD);
    c->cr = 0;
    c->latched = 0;
    c->status_latched = c->write_high = c->read_high = false;
    c->armed = false;
    c->null_count = true;
}

/* CR is complete. When it goes to CE is the mode's affair. */
static void write_count(struct i8254_counter *c, u16 value, u64 tick)
{
    bool first = !c->armed;

    c->cr = value;
    c->armed = c->null_count = true;
    if (is_triggered(c) || (is_periodic(c) && !first && !c->gate)) {
        return; /* a trigger will load it */
    }
    if (mode_of(c) == 0) { /* OUT falls with the write, not with the load */
        halt(c, tick);
    }
    c->load_tick = tick + 1;
    if (is_periodic(c) && c->started && c->running) { /* with the end of the period or half */
        u64 at = position(c, tick) % c->count;
        u32 high = high_half(c);
        c->load_tick = tick + (mode_of(c) == 3 && at < high ? high : c->count) - at;
    }
}

static void write_counter(struct i8254_counter *c, u8 value, u64 tick)
{
    switch (c->control & PIT_CW_RW) {
    case PIT_CW_LSB:
        write_count(c, value, tick);
        return;
    case PIT_CW_MSB:
        write_count(c, (u16)(value << 8), tick);
        return;
    }
    c->write_high = !c->write_high;
    if (!c->write_high) {
        write_count(c, (u16)(value << 8 | c->low), tick);
        return;
    }
    c->low = value;
    if (mode_of(c) == 0) {
        halt(c, tick);
    }
}

static void latch_count(struct i8254_counter *c, u64 tick)
{
    if (!c->latched) { /* what was latched stays until it is read */
        c->ol = element(c, tick);
        c->latched = (c->control & PIT_CW_RW) == PIT_CW_WORD ? 2 : 1;
        c->read_high = false;
    }
}

static void latch_status(struct i8254_counter *c, u64 tick)
{
    if (!c->status_latched) {
        c->status_latched = true;
        c->status = c->control | (output(c, tick) ? PIT_STATUS_OUT : 0) |
                    (c->null_count ? PIT_STATUS_NULL : 0);
    }
}

static u8 read_counter(struct i8254_counter *c, u64 tick)
{
    u32 rw = c->control & PIT_CW_RW;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    u16 value = c->latched ? c->ol : element(c, tick);
    bool high = rw == PIT_CW_MSB || c->read_high;
    c->read_high = rw == PIT_CW_WORD && !c->read_high;
    if (c->latched) {
        c->latched--;
    }
    return (u8)(high ? value >> 8 : value);
}

static void read_back(struct i8254 *p, u8 command, u64 tick)
{
    for (u32 i = 0; i < PIT_COUNTERS; i++) {
        if (!(command & PIT_RB_COUNTER(i))) {
            continue;
        }
        if (!(command & PIT_RB_NO_COUNT)) {
            latch_count(&p->counter[i], tick);
        }
        if (!(command & PIT_RB_NO_STATUS)) {
            latch_status(&p->counter[i], tick);
        }
    }
}

static void write_control(struct i8254 *p, u8 value, u64 tick)
{
    if ((value & PIT_CW_READ_BACK) == PIT_CW_READ_BACK) {
        read_back(p, value, tick);
    } else if ((value & PIT_CW_RW) == PIT_CW_LATCH) {
        latch_count(&p->counter[value >> 6], tick);
    } else {
        write_mode(&p->counter[value >> 6], value, tick);
    }
}

static void set_gate(struct i8254_counter *c, bool gate, u64 tick)
{
    if (gate == c->gate) {
        return;
    }
    c->gate = gate;
    if (gate && (is_periodic(c) || is_triggered(c))) { /* a trigger */
        c->load_tick = c->armed ? tick + 1 : TICKS_NEVER;
    } else if (gate && c->started) {
        resume(c, tick);
    } else if (!gate && is_periodic(c) && c->running) {
        halt(c, tick); /* OUT rises at once, and no end of the period will load */
    } else if (!gate && !is_triggered(c)) {
        hold(c, tick);
        if (mode_of(c) == 4 && c->origin == c->count) { /* a strobe does not outlast its clock */
            c->origin += modulus(c);
        }
    }
}

/* The tick at which counter 0 has to be looked at again: when OUT rises, or before, when a count is
 * loaded in the middle of a period. Its GATE is always high. */
static u64 next_rise(const struct i8254_counter *c)
{
    u32 strobe = mode_of(c) == 4;

    if (is_triggered(c)) {
        return TICKS_NEVER;
    }
    if (c->load_tick != TICKS_NEVER) {
        bool before = c->started && (is_periodic(c) || rises(c, c->load_tick) > c->rises);
        return before ? c->load_tick : c->load_tick + initial_count(c) + strobe;
    }
    if (!c->started || !c->running || (is_periodic(c) ? c->count == 1 : c->rises != 0)) {
        return TICKS_NEVER;
    }
    return c->origin + (c->rises + 1) * c->count + strobe;
}

/* Brings all to a tick; line and timer follow from the state. However many edges were missed, the
 * line shows one. */
static void settle(struct i8254 *p, u64 tick)
{
    struct i8254_counter *c = &p->counter[0];

    for (u32 i = 0; i < PIT_COUNTERS; i++) {
        counter_sync(&p->counter[i], tick);
    }
    if (c->rose) {
        host_irq(p->host, PIT_IRQ, false);
        c->rose = false;
    }
    host_irq(p->host, PIT_IRQ, mode_of(c) != 0 || output(c, tick));
    u64 at_ns = ticks_to_ns(next_rise(c), PIT_HZ);
    if (at_ns != p->timer.at_ns) {
        host_timer_set(p->host, &p->timer, at_ns);
    }
}

static u64 settle_now(struct i8254 *p)
{
    u64 tick = ticks_at(host_time_ns(p->host), PIT_HZ);

    settle(p, tick);
    return tick;
}

static void pit_due(void *device, u64 now_ns)
{
    struct i8254 *p = device;

    settle(p, ticks_at(now_ns, PIT_HZ));
}

static u32 pit_read(void *device, u16 offset, u8 bytes)
{
    struct i8254 *p = device;

    (void)bytes; /* always 1 */
    if (offset == PIT_CONTROL) {
        return 0xff; /* write only */
    }
    return read_counter(&p->counter[offset], settle_now(p));
}

static void pit_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct i8254 *p = device;
    u64 tick = settle_now(p);

    (void)bytes; /* always 1 */
    if (offset == PIT_CONTROL) {
        write_control(p, (u8)value, tick);
    } else {
        write_counter(&p->counter[offset], (u8)value, tick);
    }
    settle(p, tick);
}

static u32 port61_read(void *device, u16 offset, u8 bytes)
{
    struct i8254 *p = device;
    u64 tick = settle_now(p);

    (void)offset;
    (void)bytes;
    return p->port61 | (tick / PIT_REFRESH_CLOCKS % 2 ? PORT61_REFRESH : 0) |
           (output(&p->counter[2], tick) ? PORT61_OUT2 : 0);
}

static void port61_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct i8254 *p = device;

    (void)offset;
    (void)bytes;
    set_gate(&p->counter[2], value & PORT61_GATE2, settle_now(p));
    p->port61 = value & PORT61_MASK;
}

bool i8254_attach(struct i8254 *p, struct machine *host)
{
    struct host_ports ports = {p, pit_read, pit_write, PIT_PORT, PIT_PORTS, HOST_WIDTH_8};
    struct host_ports port61 = {p, port61_read, port61_write, PORT61, 1, HOST_WIDTH_8};

    memset(p, 0, sizeof(*p));
    p->host = host;
    p->timer = (struct host_timer){.due = pit_due, .device = p, .at_ns = HOST_NEVER};
    for (u32 i = 0; i < PIT_COUNTERS; i++) {
        p->counter[i].gate = i != 2;
        p->counter[i].count = 65536;
        write_mode(&p->counter[i], PIT_CW_WORD | PIT_CW_MODE(3), 0);
    }
    settle_now(p);
    return host_add_ports(host, &ports) && host_add_ports(host, &port61);
}
