/* SPDX-License-Identifier: MIT */
/* Messages between the local APICs of a vm, and to them from its devices. */
#include "arch/arch.h"
#include "kernel/apic.h"
#include "kernel/spinlock.h"
#include "kernel/vcpu.h"
#include "kernel/vm.h"

/* PCI format, SDM 3A "Message Signalled Interrupts". */
#define MSI_ADDRESS            0xfee00000ull
#define MSI_ADDRESS_MASK       FIELD(63, 20)
#define MSI_DESTINATION(a)     ((u32)((a) >> 12) & 0xff)
#define MSI_DESTINATION_EXT(a) ((u32)((a) >> 5) & 0x7f) /* bits 14:8, as KVM's guests have them */
#define MSI_LOGICAL            BIT(2)
#define MSI_REDIRECT           BIT(3)
#define MSI_ASSERT             BIT(14)

/* SDM 3A "Determining IPI Destination". */
static bool is_for(const struct apic_message *m, u32 at, u32 index)
{
    if (m->destination == X2APIC_BROADCAST) {
        return true;
    }
    if (!m->logical) {
        return m->destination == index;
    }
    if (at & APIC_AT_X2APIC) {
        return m->destination >> 16 == index >> 4 && m->destination >> (index & 15) & 1;
    }
    u32 id = at & APIC_AT_LOGICAL;
    if (m->destination > 0xff) {
        return false;
    }
    if (at & APIC_AT_FLAT) {
        return m->destination & id;
    }
    return m->destination >> 4 == id >> 4 && m->destination & id & 15;
}

static bool matches(const struct apic_message *m, const struct vcpu *v, const struct vcpu *from)
{
    u32 at = __atomic_load_n(&v->apic.address, __ATOMIC_SEQ_CST);

    if (!(at & APIC_AT_ENABLED)) {
        return false;
    }
    /* a disabled one takes NMI, INIT and SIPI only */
    if (!(at & APIC_AT_SOFTWARE) && (m->mode <= APIC_LOWEST || m->mode == APIC_EXTINT)) {
        return false;
    }
    switch (m->shorthand) {
    case ICR_SELF:
        return v == from;
    case ICR_ALL:
        return true;
    case ICR_OTHERS:
        return v != from;
    default:
        return is_for(m, at, v->index);
    }
}

/* Whoever runs v, elsewhere or blocked, takes notice. A hazard that is set already was set by one
 * who wakes it, or by its own thread on the way to look. */
static void announce(struct vcpu *v, u32 hazard)
{
    u32 before = __atomic_fetch_or(&v->hazards, hazard, __ATOMIC_SEQ_CST);

    if (!(before & hazard) && v->thread != cpu_this()->current) {
        vcpu_wake(v);
    }
}

/* A CPU that takes a vector by itself leaves TMR alone, so one that has been level-triggered is
 * collected by the thread. Should a notification under way take it all the same, then its EOI is
 * told to ring 3, where no line waits for it. */
static bool is_posted(const struct apic *a, u32 vector)
{
    const u32 *tmr = &APIC_REG(a, APIC_TMR + vector / 32 * 16);

    return __atomic_load_n(&a->posted, __ATOMIC_SEQ_CST) &&
           !(__atomic_load_n(tmr, __ATOMIC_RELAXED) >> vector % 32 & 1);
}

static void put_vector(struct vcpu *v, u32 vector, bool level)
{
    struct apic *a = &v->apic;
    bool thread = level || vector < APIC_MIN_VECTOR; /* it alone can take that */
    u64 *to = thread ? a->level : a->edge;

    __atomic_or_fetch(&to[vector / 64], BIT(vector % 64), __ATOMIC_SEQ_CST);
    u64 told = __atomic_exchange_n(&a->news[thread], 1, __ATOMIC_SEQ_CST);
    if (thread || !is_posted(a, vector)) {
        announce(v, VCPU_HAZARD_EVENT);
    } else if (!told) { /* else another is about to */
        vcpu_set_hazard(v, VCPU_HAZARD_POSTED);
        if (v->thread != cpu_this()->current) {
            vcpu_notify(v);
        }
    }
}

/* The first of several SIPIs counts; an INIT makes those before it void. */
static void put_start(struct apic *a, u32 mode, u8 vector)
{
    u32 old = 0, new;

    if (mode == APIC_INIT) {
        __atomic_store_n(&a->start, APIC_START_INIT, __ATOMIC_SEQ_CST);
        return;
    }
    do {
        new = old &APIC_START_SIPI ? old : old | (u32)APIC_START_SIPI | (u32)vector << 8;
    } while (!__atomic_compare_exchange_n(&a->start, &old, new, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
}

static u32 put(const struct apic_message *m, struct vcpu *v)
{
    struct apic *a = &v->apic;
    u32 hazard = VCPU_HAZARD_EVENT;

    switch (m->mode) {
    case APIC_FIXED:
    case APIC_LOWEST:
        put_vector(v, m->vector, m->level);
        return 1;
    case APIC_NMI:
        __atomic_store_n(&v->nmi_pending, 1, __ATOMIC_SEQ_CST);
        break;
    case APIC_EXTINT:
        __atomic_or_fetch(&a->signals, APIC_SIGNAL_EXTINT, __ATOMIC_SEQ_CST);
        break;
    case APIC_INIT:
    case APIC_STARTUP:
        put_start(a, m->mode, m->vector);
        hazard = VCPU_HAZARD_START;
        break;
    default: /* SMI: there is no SMM; reserved */
        return 0;
    }
    announce(v, hazard);
    return 1;
}

u32 apic_send(struct vm *vm, const struct apic_message *m, struct vcpu *from)
{
    u32 count = 0;

    spin_lock(&vm->cpus_lock);
    /* lowest priority: one after the other, beginning behind the last one that got one */
    for (u32 i = 0; i < vm->cpus; i++) {
        u32 at = m->mode == APIC_LOWEST ? (vm->last_lowest + 1 + i) % vm->cpus : i;
        struct vcpu *v = vm->vcpus[at];

        if (v && matches(m, v, from)) {
            count += put(m, v);
            if (m->mode == APIC_LOWEST) {
                vm->last_lowest = at;
                break;
            }
        }
    }
    spin_unlock(&vm->cpus_lock);
    return count;
}

s64 apic_send_msi(struct vm *vm, u64 address, u64 data)
{
    if ((address & MSI_ADDRESS_MASK) != MSI_ADDRESS || data >> 32) {
        return E_INVAL;
    }
    u32 to = MSI_DESTINATION(address) | MSI_DESTINATION_EXT(address) << 8;
    struct apic_message m = {
        .destination = to == XAPIC_BROADCAST ? X2APIC_BROADCAST : to,
        .mode = data & APIC_DELIVERY,
        .vector = (u8)data,
        .logical = address & MSI_LOGICAL,
        .level = data & APIC_LEVEL,
    };

    if (m.level && !(data & MSI_ASSERT)) {
        return 0;
    }
    if (m.mode == APIC_FIXED && address & MSI_REDIRECT) {
        m.mode = APIC_LOWEST;
    }
    return apic_send(vm, &m, NULL);
}

void apic_set_line(struct vm *vm, bool level)
{
    spin_lock(&vm->cpus_lock);
    bool rose = level && !vm->line;
    vm->line = level;
    for (u32 i = 0; i < VM_MAX_CPUS; i++) {
        struct vcpu *v = vm->vcpus[i];
        if (v && rose) {
            __atomic_or_fetch(&v->apic.signals, APIC_SIGNAL_LINE | APIC_SIGNAL_ROSE,
                              __ATOMIC_SEQ_CST);
            announce(v, VCPU_HAZARD_EVENT);
        } else if (v && !level) {
            __atomic_and_fetch(&v->apic.signals, ~APIC_SIGNAL_LINE, __ATOMIC_SEQ_CST);
        }
    }
    spin_unlock(&vm->cpus_lock);
}
