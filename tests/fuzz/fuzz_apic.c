/* SPDX-License-Identifier: MIT */
/* HARNESS: kernel */
/* SOURCES: kernel/apic.c kernel/apic_timer.c kernel/apic_message.c */
/*
 * Four local APICs of one guest, in whatever state register writes, messages, lines and time bring
 * them: reserved bits are never stored, priorities follow the SDM's law, what is delivered was
 * asked for and comes in order, each message is delivered or still there, timers expire in the
 * future.
 */
#include "tests/unit/apic_fake.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static const u8 *at, *end;

static u64 take(u32 bytes)
{
    u64 value = 0;

    for (u32 i = 0; i < bytes && at < end; i++) {
        value = value << 8 | *at++;
    }
    return value;
}

/* --- a second opinion on one APIC, from its page alone --- */

static u32 reg(const struct vcpu *w, u32 offset)
{
    return w->apic.regs[offset / 4];
}

static bool bit(const struct vcpu *w, u32 bank, u32 vector)
{
    return reg(w, bank + vector / 32 * 16) >> vector % 32 & 1;
}

static u32 top(const struct vcpu *w, u32 bank)
{
    for (u32 i = 8; i-- > 0;) {
        for (u32 vector = 32 * i + 31; reg(w, bank + 16 * i) && vector; vector--) {
            if (bit(w, bank, vector)) {
                return vector;
            }
        }
    }
    return 0;
}

static const struct {
    u32 offset, may; /* bits that may be set */
} masks[] = {
    {APIC_TPR,          0xff                                               },
    {APIC_SVR,          SVR_VECTOR | SVR_ENABLE | SVR_SUPPRESS_EOI         },
    {APIC_ESR,          ESR_SEND_VECTOR | ESR_RECEIVE_VECTOR | ESR_REGISTER},
    {APIC_LVT_TIMER,    0x700ff                                            },
    {APIC_LVT_THERMAL,  0x107ff                                            },
    {APIC_LVT_PMC,      0x107ff                                            },
    {APIC_LVT_LINT0,    0x1e7ff                                            },
    {APIC_LVT_LINT1,    0x1a7ff                                            },
    {APIC_LVT_ERROR,    0x100ff                                            },
    {APIC_TIMER_DIVIDE, DIVIDE_BITS                                        },
    {APIC_ICR_HIGH,     0xff000000                                         },
    {APIC_ICR,          ~0u & ~(u32)(ICR_RESERVED | APIC_BUSY)             },
    {APIC_EOI,          0                                                  },
    {APIC_SELF_IPI,     0                                                  },
    {APIC_LVT_CMCI,     0                                                  },
};

static void check_registers(const struct vcpu *w)
{
    const struct apic *a = &w->apic;
    bool x2 = a->base & APIC_BASE_X2APIC, on = a->base & APIC_BASE_ENABLE;

    fake_check(!((a->base ^ APIC_PAGE) & ~(APIC_BASE_BSP | APIC_BASE_ENABLE | APIC_BASE_X2APIC)));
    fake_check(on || !x2);
    for (u32 i = 0; i < ARRAY_SIZE(masks); i++) {
        fake_check(!(reg(w, masks[i].offset) & ~masks[i].may));
    }
    fake_check(reg(w, APIC_VERSION) == 0x01050015);
    fake_check(reg(w, APIC_ID) == (x2 ? w->index : w->index << 24));
    fake_check(!x2 || reg(w, APIC_LDR) == 1u << w->index);
    fake_check((reg(w, APIC_DFR) | 0xf0000000) == ~0u);
    if (!(reg(w, APIC_SVR) & SVR_ENABLE)) {
        for (u32 lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16) {
            fake_check(reg(w, lvt) & LVT_MASKED);
        }
    }
}

/* Nothing lies between registers, or behind them; ICR has its upper half there. */
static void check_page(const struct vcpu *w)
{
    bool x2 = w->apic.base & APIC_BASE_X2APIC;

    for (u32 i = 0; i < PAGE_SIZE / 4; i++) {
        fake_check(!(i % 4 || i >= 0x100) || !w->apic.regs[i] || (x2 && i == APIC_ICR / 4 + 1));
    }
}

static void check_priorities(const struct vcpu *w)
{
    u32 tpr = reg(w, APIC_TPR), ppr = reg(w, APIC_PPR), isrv = top(w, APIC_ISR);
    u32 irr_words = 0, isr_words = 0, classes = 0;

    fake_check(ppr == (tpr >> 4 >= isrv >> 4 ? tpr : isrv & 0xf0));
    fake_check(!(reg(w, APIC_ISR) & 0xffff) && !(reg(w, APIC_IRR) & 0xffff) &&
               !(reg(w, APIC_TMR) & 0xffff));
    for (u32 i = 0; i < 8; i++) {
        irr_words |= reg(w, APIC_IRR + 16 * i) ? 1u << i : 0;
        isr_words |= reg(w, APIC_ISR + 16 * i) ? 1u << i : 0;
        /* one of a class can be in service: each was above all before it */
        for (u32 half = 0; half < 2; half++) {
            u32 in_class = reg(w, APIC_ISR + 16 * i) >> 16 * half & 0xffff;
            fake_check(!(in_class & (in_class - 1)));
            classes += in_class != 0;
        }
    }
    fake_check(irr_words == w->apic.irr_words && isr_words == w->apic.isr_words);
    fake_check(classes <= 15);
    u32 next = top(w, APIC_IRR);
    fake_check(apic_next(&w->apic) == (next >> 4 > ppr >> 4 ? next : 0));
}

static void check_timer(const struct vcpu *w)
{
    const struct apic *a = &w->apic;
    bool deadline_mode = reg(w, APIC_LVT_TIMER) & LVT_TIMER_DEADLINE;

    fake_check(!a->deadline || deadline_mode);
    fake_check(!deadline_mode || a->deadline || a->timer_tsc == APIC_NEVER);
    if (deadline_mode && a->timer_tsc != APIC_NEVER) {
        fake_check(a->timer_tsc + w->tsc_offset == a->deadline);
    }
}

static void check(const struct vcpu *w)
{
    u32 address = w->apic.address;

    check_registers(w);
    check_priorities(w);
    check_timer(w);
    fake_check(!(address & APIC_AT_ENABLED) == !(w->apic.base & APIC_BASE_ENABLE));
    fake_check(!(address & APIC_AT_SOFTWARE) == !(reg(w, APIC_SVR) & SVR_ENABLE));
}

/* Whoever has something to look at has been told. */
static void check_hazards(void)
{
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        const struct vcpu *w = &vcpu[i];

        if (w->apic.news[0] || w->apic.news[1] || w->nmi_pending || apic_next(&w->apic)) {
            fake_check(w->hazards & VCPU_HAZARD_EVENTS);
        }
        fake_check(!w->apic.start || w->hazards & VCPU_HAZARD_START);
    }
}

/* --- what happens to them --- */

/* An interrupt is taken: it is the highest there is, and above all that is in service. */
static void deliver_one(struct vcpu *w)
{
    w->hazards &= ~(u32)VCPU_HAZARD_EVENTS;
    w->nmi_pending = 0;
    apic_collect(w);
    u32 vector = apic_next(&w->apic), before = top(w, APIC_ISR);
    if (!vector) {
        return;
    }
    fake_check(vector >= APIC_MIN_VECTOR && bit(w, APIC_IRR, vector));
    fake_check(vector == top(w, APIC_IRR) && vector >> 4 > before >> 4);
    fake_check(vector >> 4 > reg(w, APIC_TPR) >> 4);
    apic_take(&w->apic, vector);
    fake_check(bit(w, APIC_ISR, vector) && !bit(w, APIC_IRR, vector));
    fake_check(top(w, APIC_ISR) == vector);
    if (apic_next(&w->apic)) {
        w->hazards |= VCPU_HAZARD_EVENT;
    }
}

static void end_one(struct vcpu *w)
{
    u32 vector = top(w, APIC_ISR);
    bool level = vector && bit(w, APIC_TMR, vector);
    bool told = level && !(reg(w, APIC_SVR) & SVR_SUPPRESS_EOI);

    if (!(w->apic.base & APIC_BASE_ENABLE)) {
        return;
    }
    w->hazards &= ~(u32)VCPU_HAZARD_EOI;
    eoi(w);
    fake_check(!vector || !bit(w, APIC_ISR, vector));
    fake_check(!(w->hazards & VCPU_HAZARD_EOI) == !told);
    fake_check(!told || w->apic.ended == vector);
}

static void start_all(void)
{
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        struct vcpu *w = &vcpu[i];
        if (w->apic.start & APIC_START_INIT) {
            apic_init(w);
        }
        w->apic.start = 0;
        w->hazards &= ~(u32)VCPU_HAZARD_START;
    }
}

static void pass_time(u64 ticks)
{
    now += ticks;
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        if (now >= vcpu[i].apic.timer_tsc) {
            apic_timer_expire(&vcpu[i], now);
            fake_check(vcpu[i].apic.timer_tsc > now);
        }
    }
}

/* A message of the plain kind is in somebody's words as often as the call says. */
static void send_msi(void)
{
    u64 address = APIC_PAGE | (take(2) & 0xffffc), data = take(2);
    u32 word = (u32)(data & 0xff) / 64, shift = data & 63;
    u32 has = 0;

    s64 count = apic_send_msi(&vm, address, data);
    fake_check(count >= 0 && count <= FAKE_VCPUS);
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        has += (vcpu[i].apic.edge[word] | vcpu[i].apic.level[word]) >> shift & 1;
    }
    if ((data & APIC_DELIVERY) <= APIC_LOWEST) {
        fake_check(has >= count);
        fake_check((data & APIC_DELIVERY) != APIC_LOWEST || count <= 1);
    }
}

static void access_msr(struct vcpu *w)
{
    u32 index = MSR_X2APIC_BASE + (take(1) & 63);
    u64 value = take(1) & 1 ? take(8) : take(3), before[2] = {0, 0};
    bool readable = apic_msr_read(w, index, &before[0]);

    fake_check(!readable || w->apic.base & APIC_BASE_X2APIC);
    if (!write_msr(w, (index - MSR_X2APIC_BASE) * 16, value) && readable) {
        fake_check(apic_msr_read(w, index, &before[1]) && before[0] == before[1]);
    }
}

static void step(struct vcpu *w)
{
    fake_cpu.current = w->thread;
    switch (take(1) % 18) {
    case 0:
        apic_page_write(w, (u32)take(1) * 16 % PAGE_SIZE, (u32)take(4));
        break;
    case 1:
        apic_page_write(w, (u32)take(2) % PAGE_SIZE, (u32)take(4));
        break;
    case 2:
        apic_page_read(w, (u32)take(2) % PAGE_SIZE);
        break;
    case 3:
    case 4:
        access_msr(w);
        break;
    case 5:
        apic_set_base(w, (take(1) & 1 ? APIC_PAGE : take(5)) | (take(1) & 0xd) << 8);
        break;
    case 6:
        pass_time(take(1));
        break;
    case 7:
        pass_time(take(4));
        break;
    case 8:
        apic_set_deadline(w, take(1) & 1 ? now + w->tsc_offset + take(2) : take(8));
        break;
    case 9:
        send_msi();
        break;
    case 10:
        apic_set_line(&vm, take(1) & 1);
        break;
    case 11:
        w->tsc_offset = take(1) & 1 ? take(8) : take(2);
        apic_tsc_changed(w);
        break;
    case 12:
        apic_set_cr8(w, (u32)take(1) & 15);
        break;
    case 13:
        end_one(w);
        break;
    case 14:
        start_all();
        break;
    case 15: /* a notification, of whatever age */
        take_posted(w);
        w->hazards |= VCPU_HAZARD_EVENT; /* the CPU looks at IRR by itself */
        break;
    case 16:
        w->apic.posted = (u32)take(1) & 1;
        break;
    default:
        deliver_one(w);
        break;
    }
}

/* In the end all that is pending can be delivered, once each. */
static void drain(void)
{
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        struct vcpu *w = &vcpu[i];

        if (!(w->apic.base & APIC_BASE_ENABLE)) {
            continue;
        }
        check(w);
        check_page(w);
        apic_timer_stop(&w->apic);
        apic_collect(w);
        apic_set_line(&vm, false);
        apic_set_cr8(w, 15);
        apic_set_cr8(w, 0);
        for (u32 n = 0; n < 2 * 256 && (w->apic.irr_words || w->apic.isr_words); n++) {
            end_one(w);
            deliver_one(w);
            check_priorities(w);
        }
        fake_check(!w->apic.irr_words || reg(w, APIC_TPR) >> 4);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    at = data;
    end = data + size;
    fake_reset();
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        u8 how = (u8)take(1);

        apic_page_write(&vcpu[i], APIC_SVR, how & 1 ? SVR_ON : 0xff);
        apic_page_write(&vcpu[i], APIC_LDR, 1u << (24 + i));
        if (how & 2) {
            apic_set_base(&vcpu[i], vcpu[i].apic.base | APIC_BASE_X2APIC);
        }
    }
    while (at < end) {
        struct vcpu *w = &vcpu[take(1) % FAKE_VCPUS];

        step(w);
        check(w);
        check_hazards();
    }
    drain();
    return 0;
}
