/* SPDX-License-Identifier: MIT */
/* The local APIC's timer: one-shot and periodic, counting at the rate of the TSC (what CPUID 15h
 * calls the crystal), and TSC-deadline. SDM 3A "APIC Timer". */
#include "arch/arch.h"
#include "kernel/apic.h"
#include "kernel/cpuid.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "kernel/vm.h"

#define SHORTEST_PERIOD (arch_tsc_hz / 50000) /* 20 us: no guest keeps us busy with less */

static bool in_deadline_mode(const struct apic *a)
{
    return APIC_REG(a, APIC_LVT_TIMER) & LVT_TIMER_DEADLINE;
}

/* TSC ticks in one count, as a shift. */
static u32 count_shift(const struct vcpu *v)
{
    u32 divide = APIC_REG(&v->apic, APIC_TIMER_DIVIDE);

    return ((divide & 3) + (divide >> 1 & 4) + 1) % 8 + v->vm->cpuid->crystal_shift;
}

void apic_timer_stop(struct apic *a)
{
    a->timer_tsc = APIC_NEVER;
    a->deadline = 0;
}

void apic_timer_expire(struct vcpu *v, u64 now)
{
    struct apic *a = &v->apic;

    if ((APIC_REG(a, APIC_LVT_TIMER) & LVT_TIMER_MODE) == LVT_TIMER_PERIODIC) {
        /* periods that were missed are not made up for */
        u64 period = MAX(a->period, SHORTEST_PERIOD);
        a->timer_tsc += ((now - a->timer_tsc) / period + 1) * period;
    } else {
        apic_timer_stop(a);
    }
    apic_local(v, APIC_LVT_TIMER);
}

u32 apic_timer_count(struct vcpu *v)
{
    struct apic *a = &v->apic;
    u64 now = arch_tsc();

    if (now >= a->timer_tsc) {
        apic_timer_expire(v, now);
    }
    if (in_deadline_mode(a) || a->timer_tsc == APIC_NEVER) {
        return 0;
    }
    u64 count = (a->timer_tsc - now + BIT(count_shift(v)) - 1) >> count_shift(v);
    return (u32)MIN(count, APIC_REG(a, APIC_TIMER_INITIAL));
}

void apic_timer_start(struct vcpu *v, u32 count)
{
    struct apic *a = &v->apic;

    if (in_deadline_mode(a)) {
        return;
    }
    a->period = (u64)APIC_REG(a, APIC_TIMER_INITIAL) << count_shift(v);
    a->timer_tsc = count ? arch_tsc() + ((u64)count << count_shift(v)) : APIC_NEVER;
}

void apic_timer_divide(struct vcpu *v, u32 value)
{
    u32 left = apic_timer_count(v);

    APIC_REG(&v->apic, APIC_TIMER_DIVIDE) = value;
    apic_timer_start(v, left);
}

/* Arms the timer for a deadline in the guest's TSC, which is in the past for 0. */
static inline void arm_deadline(struct vcpu *v, u64 deadline)
{
    struct apic *a = &v->apic;
    u64 now = arch_tsc(), guest = now + v->tsc_offset;

    if (UNLIKELY(deadline <= guest)) {
        apic_timer_stop(a);
        if (deadline) {
            apic_local(v, APIC_LVT_TIMER);
        }
        return;
    }
    u64 at = deadline - guest + now;
    a->deadline = deadline;
    a->timer_tsc = at >= now ? at : APIC_NEVER;
}

bool apic_set_deadline(struct vcpu *v, u64 value)
{
    if (LIKELY(in_deadline_mode(&v->apic))) {
        arm_deadline(v, value);
        virt->timer_changed(v);
    }
    return true;
}

void apic_tsc_changed(struct vcpu *v)
{
    if (v->apic.deadline) {
        arm_deadline(v, v->apic.deadline);
    }
}
