/* SPDX-License-Identifier: MIT */
/* Registers, priorities and local vector table of a vCPU's local APIC. Its timer is in
 * apic_timer.c, messages to others are in apic_message.c. */
#include "kernel/apic.h"

#include "arch/arch.h"
#include "kernel/cpuid.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

#define LVT_ENTRIES     6
#define VERSION         (0x15u | (LVT_ENTRIES - 1) << 16 | (u32)APIC_VERSION_SUPPRESS_EOI)
#define DFR_MODEL       FIELD(31, 28)
#define ILLEGAL_VECTORS (BIT(APIC_MIN_VECTOR) - 1)
#define REG(a, offset)  APIC_REG(a, offset)

/* --- what each register takes --- */

enum { PAGE_R = 1, PAGE_W = 2, MSR_R = 4, MSR_W = 8, READ = PAGE_R | MSR_R, ALL = 15 };

#define SENSOR (APIC_VECTOR | APIC_DELIVERY | LVT_MASKED)
#define PIN    (SENSOR | LVT_ACTIVE_LOW | APIC_LEVEL)
#define ICR    (APIC_VECTOR | APIC_DELIVERY | ICR_LOGICAL | ICR_ASSERT | APIC_LEVEL | ICR_SHORTHAND)

/* By offset / 16. A write stores the bits of keep; those of ignore may be set, without effect; all
 * others are reserved. */
static const struct {
    u32 access, keep, ignore;
} rules[64] = {
#define RULE(name, ...) [APIC_##name / 16] = {__VA_ARGS__}
#define BANK(name, ...) [APIC_##name / 16 ... APIC_##name / 16 + 7] = {__VA_ARGS__}
    RULE(ID, READ, 0, 0),
    RULE(VERSION, READ, 0, 0),
    RULE(TPR, ALL, 0xff, 0),
    RULE(PPR, READ, 0, 0),
    RULE(EOI, PAGE_R | PAGE_W | MSR_W, 0, 0),
    RULE(LDR, READ | PAGE_W, 0xff000000, 0),
    RULE(DFR, PAGE_R | PAGE_W, DFR_MODEL, 0),
    RULE(SVR, ALL, SVR_VECTOR | SVR_ENABLE | SVR_SUPPRESS_EOI, 0),
    BANK(ISR, READ, 0, 0),
    BANK(TMR, READ, 0, 0),
    BANK(IRR, READ, 0, 0),
    RULE(ESR, ALL, 0, 0),
    RULE(ICR, ALL, ICR, APIC_BUSY),
    RULE(ICR_HIGH, PAGE_R | PAGE_W, 0xff000000, 0),
    RULE(LVT_TIMER, ALL, APIC_VECTOR | LVT_MASKED | LVT_TIMER_MODE, APIC_BUSY),
    RULE(LVT_THERMAL, ALL, SENSOR, APIC_BUSY),
    RULE(LVT_PMC, ALL, SENSOR, APIC_BUSY),
    RULE(LVT_LINT0, ALL, PIN, APIC_BUSY | LVT_REMOTE_IRR),
    RULE(LVT_LINT1, ALL, PIN, APIC_BUSY | LVT_REMOTE_IRR),
    RULE(LVT_ERROR, ALL, APIC_VECTOR | LVT_MASKED, APIC_BUSY),
    RULE(TIMER_INITIAL, ALL, ~0u, 0),
    RULE(TIMER_CURRENT, READ, 0, 0),
    RULE(TIMER_DIVIDE, ALL, DIVIDE_BITS, 0),
    RULE(SELF_IPI, MSR_W, APIC_VECTOR, 0),
};

/* --- priorities --- */

/* SDM 3A "Task and Processor Priorities". */
static void update_ppr(struct apic *a)
{
    u32 tpr = REG(a, APIC_TPR), isrv = apic_highest(&REG(a, APIC_ISR), a->isr_words);

    REG(a, APIC_PPR) = tpr >> 4 >= isrv >> 4 ? tpr : isrv & 0xf0;
}

void apic_refresh(struct apic *a)
{
    a->irr_words = a->isr_words = 0;
    for (u32 i = 0; i < 8; i++) {
        a->irr_words |= REG(a, APIC_IRR + 16 * i) ? 1u << i : 0;
        a->isr_words |= REG(a, APIC_ISR + 16 * i) ? 1u << i : 0;
    }
}

/* --- interrupts of its own --- */

/* SDM 3A "Error Handling": a write to ESR arms the interrupt again. */
static void error(struct vcpu *v, u32 bits)
{
    u32 before = v->apic.errors;

    v->apic.errors |= bits;
    if (!before) {
        apic_local(v, APIC_LVT_ERROR);
    }
}

static inline void accept(struct vcpu *v, u32 vector, bool level)
{
    struct apic *a = &v->apic;
    u32 word = vector / 32, bit = 1u << vector % 32, *tmr = &REG(a, APIC_TMR) + 4 * word;

    if (UNLIKELY(vector < APIC_MIN_VECTOR)) {
        error(v, ESR_RECEIVE_VECTOR);
        return;
    }
    *tmr = level ? *tmr | bit : *tmr & ~bit;
    tmr[(APIC_IRR - APIC_TMR) / 4] |= bit;
    a->irr_words |= 1u << word;
    vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
}

/* ExtINT has no event: see apic_extint(). */
void apic_local(struct vcpu *v, u32 lvt)
{
    struct apic *a = &v->apic;
    u32 entry = REG(a, lvt);

    if (entry & LVT_MASKED) {
        return;
    }
    switch (entry & APIC_DELIVERY) {
    case APIC_FIXED:
        /* the PIC's line is level-triggered if it is told so; nothing else is */
        if (entry & APIC_LEVEL && lvt == APIC_LVT_LINT0) {
            REG(a, lvt) |= LVT_REMOTE_IRR;
        }
        accept(v, entry & APIC_VECTOR, REG(a, lvt) & LVT_REMOTE_IRR);
        break;
    case APIC_NMI:
        __atomic_store_n(&v->nmi_pending, 1, __ATOMIC_SEQ_CST);
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
        break;
    case APIC_INIT:
        __atomic_store_n(&a->start, APIC_START_INIT, __ATOMIC_SEQ_CST);
        vcpu_set_hazard(v, VCPU_HAZARD_START);
        break;
    default:
        break;
    }
}

static u32 signals(const struct apic *a)
{
    return __atomic_load_n(&a->signals, __ATOMIC_SEQ_CST);
}

/* LINT0 in fixed mode and level-triggered: as long as the line is up, each EOI brings another. */
static void sample_line(struct vcpu *v)
{
    u32 entry = REG(&v->apic, APIC_LVT_LINT0);

    if ((entry & (APIC_DELIVERY | APIC_LEVEL | LVT_REMOTE_IRR)) == APIC_LEVEL &&
        signals(&v->apic) & APIC_SIGNAL_LINE) {
        apic_local(v, APIC_LVT_LINT0);
    }
}

bool apic_extint(const struct vcpu *v)
{
    const struct apic *a = &v->apic;
    u32 now = signals(a);

    /* without a local APIC the line is the CPU's INTR */
    return now & APIC_SIGNAL_EXTINT ||
           (now & APIC_SIGNAL_LINE &&
            (!(a->base & APIC_BASE_ENABLE) ||
             (REG(a, APIC_LVT_LINT0) & (APIC_DELIVERY | LVT_MASKED)) == APIC_EXTINT));
}

/* One of the two sets of shared words. */
static inline void collect(struct vcpu *v, u64 *from, u64 *news, bool level)
{
    struct apic *a = &v->apic;

    if (!__atomic_load_n(news, __ATOMIC_SEQ_CST)) {
        return;
    }
    __atomic_store_n(news, 0, __ATOMIC_SEQ_CST); /* first: what comes in now sets it again */
    for (u32 i = 0; i < 8; i++) {
        if (LIKELY(!__atomic_load_n((u32 *)from + i, __ATOMIC_SEQ_CST))) {
            continue;
        }
        u32 bits = __atomic_exchange_n((u32 *)from + i, 0, __ATOMIC_SEQ_CST);
        u32 *irr = &REG(a, APIC_IRR + 16 * i), *tmr = &REG(a, APIC_TMR + 16 * i);

        if (i == 0 && bits & ILLEGAL_VECTORS) {
            error(v, ESR_RECEIVE_VECTOR);
            bits &= ~(u32)ILLEGAL_VECTORS;
        }
        *tmr = level ? *tmr | bits : *tmr & ~bits;
        *irr |= bits;
        a->irr_words |= *irr ? 1u << i : 0;
    }
}

void apic_collect(struct vcpu *v)
{
    struct apic *a = &v->apic;

    collect(v, a->edge, &a->news[0], false);
    collect(v, a->level, &a->news[1], true); /* last: who waits for an EOI gets it */
    if (UNLIKELY(signals(a) & APIC_SIGNAL_ROSE)) {
        __atomic_and_fetch(&a->signals, ~APIC_SIGNAL_ROSE, __ATOMIC_SEQ_CST);
        if (!(REG(a, APIC_LVT_LINT0) & LVT_REMOTE_IRR)) {
            apic_local(v, APIC_LVT_LINT0);
        }
    }
}

NOINLINE void apic_end_level(struct vcpu *v, u32 vector)
{
    struct apic *a = &v->apic;
    u32 *lint0 = &REG(a, APIC_LVT_LINT0);

    if (*lint0 & LVT_REMOTE_IRR && (*lint0 & APIC_VECTOR) == vector) {
        *lint0 &= ~(u32)LVT_REMOTE_IRR;
        sample_line(v);
    }
    if (!(REG(a, APIC_SVR) & SVR_SUPPRESS_EOI)) {
        a->ended = (u8)vector;
        vcpu_set_hazard(v, VCPU_HAZARD_EOI);
    }
}

/* SDM 3A "Signaling Interrupt Servicing Completion". */
static inline void end_of_interrupt(struct vcpu *v)
{
    struct apic *a = &v->apic;
    u32 words = a->isr_words;

    if (UNLIKELY(!words)) {
        return;
    }
    u32 word = apic_bit(words), *isr = &REG(a, APIC_ISR) + 4 * word, n = apic_bit(*isr);
    *isr ^= 1u << n;
    if (LIKELY(!*isr)) {
        words ^= 1u << word;
        a->isr_words = words;
    }
    if (LIKELY(!words)) {
        REG(a, APIC_PPR) = REG(a, APIC_TPR);
    } else {
        update_ppr(a);
    }
    if (UNLIKELY(apic_next(a))) {
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
    }
    if (UNLIKELY(isr[(APIC_TMR - APIC_ISR) / 4] >> n & 1)) {
        apic_end_level(v, 32 * word + n);
    }
}

/* --- registers --- */

/* What senders need to know. */
static void publish(struct apic *a)
{
    u32 at = (a->base & APIC_BASE_ENABLE ? (u32)APIC_AT_ENABLED : 0) |
             (a->base & APIC_BASE_X2APIC ? (u32)APIC_AT_X2APIC : 0) |
             (REG(a, APIC_SVR) & SVR_ENABLE ? (u32)APIC_AT_SOFTWARE : 0) |
             ((REG(a, APIC_DFR) & DFR_MODEL) == DFR_MODEL ? (u32)APIC_AT_FLAT : 0) |
             REG(a, APIC_LDR) >> 24;

    __atomic_store_n(&a->address, at, __ATOMIC_SEQ_CST);
}

/* The ID, and in x2APIC mode what follows from it. */
static void identify(struct vcpu *v)
{
    struct apic *a = &v->apic;

    if (a->base & APIC_BASE_X2APIC) {
        REG(a, APIC_ID) = v->index;
        REG(a, APIC_LDR) = v->index >> 4 << 16 | 1u << (v->index & 15);
    } else {
        REG(a, APIC_ID) = v->index << 24;
    }
    publish(a);
}

void apic_init(struct vcpu *v)
{
    struct apic *a = &v->apic;

    memset(a->regs, 0, 0x400);
    REG(a, APIC_VERSION) = VERSION;
    REG(a, APIC_DFR) = DFR_FLAT;
    REG(a, APIC_SVR) = SVR_AFTER_RESET;
    for (u32 lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16) {
        REG(a, lvt) = LVT_AFTER_RESET;
    }
    a->irr_words = a->isr_words = a->errors = 0;
    apic_timer_stop(a);
    for (u32 i = 0; i < 4; i++) {
        __atomic_store_n(&a->edge[i], 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&a->level[i], 0, __ATOMIC_SEQ_CST);
    }
    __atomic_and_fetch(&a->signals, ~APIC_SIGNAL_EXTINT, __ATOMIC_SEQ_CST);
    identify(v);
}

void apic_create(struct vcpu *v, u32 *page)
{
    v->apic.regs = page;
    v->apic.signals = v->vm->line ? APIC_SIGNAL_LINE : 0;
    v->apic.base = APIC_PAGE | APIC_BASE_ENABLE | (v->index ? 0 : APIC_BASE_BSP);
    apic_init(v);
}

bool apic_set_base(struct vcpu *v, u64 value)
{
    const u64 modes = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    struct apic *a = &v->apic;
    u64 old = a->base & modes, new = value &modes;

    if ((value ^ APIC_PAGE) & ~(modes | APIC_BASE_BSP) || new == APIC_BASE_X2APIC ||
        (old == modes && new == APIC_BASE_ENABLE) || (!old && new == modes)) {
        return false;
    }
    a->base = value;
    if (!new &&old) {
        apic_init(v); /* SDM 3A "Enabling or Disabling the Local APIC" */
    } else if (new != old) {
        REG(a, APIC_ICR_HIGH) = 0;
        identify(v);
    }
    vcpu_set_hazard(v, VCPU_HAZARD_EVENT); /* the PIC's line may be the CPU's now */
    virt->apic_mode(v);
    virt->timer_changed(v);
    return true;
}

static void send_ipi(struct vcpu *v, u64 icr)
{
    struct apic *a = &v->apic;
    bool x2apic = a->base & APIC_BASE_X2APIC;
    u32 to = (u32)(icr >> 32);
    struct apic_message m = {
        .destination = x2apic                        ? to
                       : to >> 24 == XAPIC_BROADCAST ? X2APIC_BROADCAST
                                                     : to >> 24,
        .mode = icr & APIC_DELIVERY,
        .shorthand = icr & ICR_SHORTHAND,
        .vector = (u8)icr,
        .logical = icr & ICR_LOGICAL,
    };

    if (m.vector < APIC_MIN_VECTOR && (m.mode == APIC_FIXED || m.mode == APIC_LOWEST)) {
        error(v, ESR_SEND_VECTOR); /* and whoever receives it notes that, too */
    }
    if (m.mode == APIC_EXTINT ||
        (m.mode == APIC_INIT && (icr & (ICR_ASSERT | APIC_LEVEL)) == APIC_LEVEL)) {
        return; /* reserved; "INIT level de-assert" */
    }
    if (m.mode == APIC_FIXED &&
        (m.shorthand == ICR_SELF || (!m.shorthand && !m.logical && m.destination == v->index))) {
        if (REG(a, APIC_SVR) & SVR_ENABLE) {
            accept(v, m.vector, false);
        }
        return;
    }
    apic_send(v->vm, &m, v);
}

static void write_svr(struct vcpu *v, u32 value)
{
    struct apic *a = &v->apic;

    REG(a, APIC_SVR) = value;
    if (!(value & SVR_ENABLE)) {
        for (u32 lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16) {
            REG(a, lvt) |= LVT_MASKED;
        }
    }
    publish(a);
}

static void write_lvt(struct vcpu *v, u32 lvt, u32 value)
{
    struct apic *a = &v->apic;
    u32 old = REG(a, lvt);

    if (!(REG(a, APIC_SVR) & SVR_ENABLE)) {
        value |= LVT_MASKED;
    }
    if (lvt == APIC_LVT_TIMER && (old ^ value) & LVT_TIMER_DEADLINE) {
        apic_timer_stop(a);
    }
    if (lvt == APIC_LVT_LINT0 && value & APIC_LEVEL) {
        value |= old & LVT_REMOTE_IRR;
    }
    REG(a, lvt) = value;
    if (lvt == APIC_LVT_LINT0) {
        sample_line(v);
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT); /* the line may get through now */
    }
}

static void write_tpr(struct vcpu *v, u32 value)
{
    struct apic *a = &v->apic;

    REG(a, APIC_TPR) = value;
    update_ppr(a);
    if (apic_next(a)) {
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
    }
}

/* A write of bits that were checked. */
static void write_register(struct vcpu *v, u32 offset, u32 value)
{
    struct apic *a = &v->apic;

    switch (offset) {
    case APIC_EOI:
        end_of_interrupt(v);
        break;
    case APIC_TPR:
        write_tpr(v, value);
        break;
    case APIC_ESR:
        REG(a, APIC_ESR) = a->errors;
        a->errors = 0;
        break;
    case APIC_SVR:
        write_svr(v, value);
        break;
    case APIC_DFR:
    case APIC_LDR:
        REG(a, offset) = value | (offset == APIC_DFR ? ~(u32)DFR_MODEL : 0);
        publish(a);
        break;
    case APIC_TIMER_INITIAL:
        if (!(REG(a, APIC_LVT_TIMER) & LVT_TIMER_DEADLINE)) {
            REG(a, offset) = value;
            apic_timer_start(v, value);
        }
        break;
    case APIC_TIMER_DIVIDE:
        apic_timer_divide(v, value);
        break;
    case APIC_ICR_HIGH:
        REG(a, offset) = value;
        break;
    case APIC_SELF_IPI:
        send_ipi(v, ICR_SELF | value);
        break;
    default:
        write_lvt(v, offset, value);
        break;
    }
}

bool apic_msr_read(struct vcpu *v, u32 index, u64 *value)
{
    struct apic *a = &v->apic;
    u32 offset = index % 64 * 16;

    if (!(a->base & APIC_BASE_X2APIC) || !(rules[index % 64].access & MSR_R)) {
        return false;
    }
    if (offset == APIC_TIMER_CURRENT) {
        REG(a, offset) = apic_timer_count(v);
    }
    *value = REG(a, offset) | (u64)REG(a, offset + 4) << 32;
    return true;
}

bool apic_msr_eoi(struct vcpu *v, u64 value)
{
    if (UNLIKELY(!(v->apic.base & APIC_BASE_X2APIC) || value)) {
        return false;
    }
    end_of_interrupt(v);
    return true;
}

bool apic_msr_icr(struct vcpu *v, u64 value)
{
    if (UNLIKELY(!(v->apic.base & APIC_BASE_X2APIC) || value & ICR_RESERVED)) {
        return false;
    }
    struct apic *a = &v->apic;
    REG(a, APIC_ICR) = (u32)value & ~(u32)APIC_BUSY;
    REG(a, APIC_ICR + 4) = (u32)(value >> 32);
    /* the usual one to itself takes no detour */
    u32 low = (u32)value, how = low & (APIC_DELIVERY | ICR_LOGICAL | ICR_SHORTHAND);
    if ((how == ICR_SELF || (!how && value >> 32 == v->index)) &&
        (low & APIC_VECTOR) >= APIC_MIN_VECTOR && REG(a, APIC_SVR) & SVR_ENABLE) {
        accept(v, low & APIC_VECTOR, false);
    } else {
        send_ipi(v, value);
    }
    return true;
}

bool apic_msr_write(struct vcpu *v, u32 index, u64 value)
{
    u32 offset = index % 64 * 16, keep = rules[index % 64].keep;

    if (!(v->apic.base & APIC_BASE_X2APIC) || !(rules[index % 64].access & MSR_W) ||
        value & ~(u64)(keep | rules[index % 64].ignore)) {
        return false;
    }
    write_register(v, offset, (u32)value & keep);
    if (offset >= APIC_LVT_TIMER) {
        virt->timer_changed(v);
    }
    return true;
}

/* SDM 3A "Error Handling": an access to a register that is not there is noted. */
static bool page_has(struct vcpu *v, u32 offset, u32 access)
{
    if (offset % 16 || !apic_has_page(&v->apic)) {
        return false;
    }
    if (offset / 16 >= ARRAY_SIZE(rules) || !rules[offset / 16].access || offset == APIC_SELF_IPI) {
        error(v, ESR_REGISTER);
        return false;
    }
    return rules[offset / 16].access & access;
}

u32 apic_page_read(struct vcpu *v, u32 offset)
{
    if (!page_has(v, offset, PAGE_R)) {
        return 0;
    }
    return offset == APIC_TIMER_CURRENT ? apic_timer_count(v) : REG(&v->apic, offset);
}

void apic_page_write(struct vcpu *v, u32 offset, u32 value)
{
    struct apic *a = &v->apic;

    if (!page_has(v, offset, PAGE_W)) {
        return;
    }
    value &= rules[offset / 16].keep;
    if (offset == APIC_ICR) {
        REG(a, APIC_ICR) = value;
        send_ipi(v, value | (u64)REG(a, APIC_ICR_HIGH) << 32);
    } else {
        write_register(v, offset, value);
    }
}

u32 apic_cr8(const struct vcpu *v)
{
    return REG(&v->apic, APIC_TPR) >> 4;
}

/* SDM 3A "Interaction of Task Priorities between CR8 and APIC": the lower half of TPR becomes 0. */
void apic_set_cr8(struct vcpu *v, u32 value)
{
    if (value << 4 != REG(&v->apic, APIC_TPR)) {
        if (v->apic.virtualized) {
            apic_refresh(&v->apic);
        }
        write_tpr(v, value << 4);
    }
}
