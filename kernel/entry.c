/* SPDX-License-Identifier: MIT */
/* What is due before a guest is entered: events, INIT and SIPI, waiting, scheduling. */
#include "arch/arch.h"
#include "kernel/apic.h"
#include "kernel/boot.h"
#include "kernel/exit.h"
#include "kernel/runqueue.h"
#include "kernel/sched.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"

/* --- events --- */

static void clear_hazard(struct vcpu *v, u32 bits)
{
    __atomic_and_fetch(&v->hazards, ~bits, __ATOMIC_SEQ_CST);
}

/* An event whose delivery an exception replaces: software events come again because RIP is still at
 * their instruction, an interrupt stays in service as on a CPU that had acknowledged it. */
static void requeue(struct vcpu *v, const struct event *e)
{
    if (e->type == EVENT_NMI) {
        __atomic_store_n(&v->nmi_pending, 1, __ATOMIC_SEQ_CST);
    }
}

void vcpu_raise(struct vcpu *v, const struct event *e)
{
    const struct event double_fault = {EVENT_HWEXC, 8, true, 0, 0};

    if (v->event.type == EVENT_NONE) {
        v->event = *e;
    } else {
        switch (event_merge(&v->event, e)) {
        case MERGE_SECOND:
            requeue(v, &v->event);
            v->event = *e;
            break;
        case MERGE_DOUBLE_FAULT:
            v->event = double_fault;
            break;
        case MERGE_TRIPLE_FAULT:
            v->event.type = EVENT_NONE;
            vcpu_set_hazard(v, VCPU_HAZARD_SHUTDOWN);
            return;
        }
    }
    vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
}

static void sync(struct vcpu *v)
{
    apic_refresh(&v->apic);
    virt->apic_sync(v);
}

/* Takes notice of what came in. */
static void collect(struct vcpu *v)
{
    clear_hazard(v, VCPU_HAZARD_EVENTS); /* first: what comes now sets it again */
    apic_collect(v);
    if (v->apic.virtualized) {
        sync(v);
    }
}

/* Puts the most urgent event into the entry and asks for windows for the rest. False: nothing was
 * put, ring 3 has to fetch the PIC's interrupt first. */
static bool deliver(struct vcpu *v)
{
    const struct event nmi = {EVENT_NMI, 2, false, 0, 0};
    bool taken = false;

    if (v->event.type != EVENT_NONE) {
        virt->inject(v, &v->event);
        v->event.type = EVENT_NONE;
        taken = true;
    }
    if (__atomic_load_n(&v->nmi_pending, __ATOMIC_SEQ_CST)) {
        if (!taken && virt->can_take(v, WINDOW_NMI)) {
            __atomic_store_n(&v->nmi_pending, 0, __ATOMIC_SEQ_CST);
            virt->inject(v, &nmi);
            taken = true;
        } else {
            virt->set_window(v, WINDOW_NMI, true);
        }
    }
    u32 vector = v->apic.virtualized ? 0 : apic_next(&v->apic); /* the CPU delivers by itself */
    bool extint = __atomic_load_n(&v->apic.signals, __ATOMIC_SEQ_CST) && apic_extint(v);
    if (taken && (vector || extint)) {
        virt->set_window(v, WINDOW_INTERRUPT, true);
    } else if (extint) {
        if (virt->can_take(v, WINDOW_INTERRUPT)) {
            return false;
        }
        virt->set_window(v, WINDOW_INTERRUPT, true);
    } else if (vector && virt->try_interrupt(v, (u8)vector)) {
        apic_take(&v->apic, vector);
    }
    return true;
}

bool exit_fast_deliver(struct vcpu *v)
{
    struct apic *a = &v->apic;

    clear_hazard(v, VCPU_HAZARD_EVENTS); /* first: what comes now sets it again */
    if (UNLIKELY(v->event.type != EVENT_NONE || v->nmi_pending || apic_has_news(a))) {
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
        return false;
    }
    if (a->virtualized) {
        sync(v);
        return true;
    }
    u32 vector = apic_next(a);
    if (LIKELY(vector) && LIKELY(virt->try_interrupt(v, (u8)vector))) {
        apic_take(a, vector);
    }
    return true;
}

/* INIT, then SIPI (SDM 3A "Multiple-Processor (MP) Initialization"). */
static void take_start(struct vcpu *v)
{
    u32 start = __atomic_exchange_n(&v->apic.start, 0, __ATOMIC_SEQ_CST);

    if (start & APIC_START_INIT) {
        virt->reset(v);
        v->event.type = EVENT_NONE;
        __atomic_store_n(&v->nmi_pending, 0, __ATOMIC_SEQ_CST);
        apic_init(v);
        virt->apic_mode(v);
        v->activity = v->apic.base & APIC_BASE_BSP ? VCPU_ACTIVE : VCPU_WAIT_SIPI;
    }
    if (start & APIC_START_SIPI && v->activity == VCPU_WAIT_SIPI) {
        virt_start(v, (u8)(start >> 8));
        v->activity = VCPU_ACTIVE;
    }
}

/* --- before an entry --- */

static bool leave(struct vcpu *v, u64 kind)
{
    v->exit.kind = kind;
    return false;
}

/* Waits, which may take the thread to another CPU; that time is not the guest's. */
static void pause_guest(struct vcpu *v, void (*wait)(struct vcpu *))
{
    wait(v);
    struct cpu *c = cpu_this();
    bool switched = c->resident != v;
    if (c->msrs_of != v) { /* nor is it if it is not resident */
        vcpu_make_resident(v);
    }
    v->clock_tsc = arch_tsc();
    if (UNLIKELY(v->thread->times.wait_tsc >= v->tell_wait_tsc)) {
        vcpu_set_hazard(v, VCPU_HAZARD_CLOCK);
    }
    if (switched) {
        runqueue_switched(c->runqueue, v->clock_tsc);
    }
}

static void wait_turn(struct vcpu *v)
{
    sched_yield(v->clock_tsc);
}

static bool has_interrupts_on(struct vcpu *v)
{
    return virt->read(v, VIRT_RFLAGS) & RFLAGS_IF;
}

/* v cannot go on by itself. Is that so for all of its vm? One that looks at its hazards is not dead
 * before it takes them (settle_hazards()), so here they come first: otherwise it could take an NMI
 * between one look and the other. */
static bool is_vm_dead(struct vcpu *v)
{
    struct vm *vm = v->vm;
    bool dead = true;

    spin_lock(&vm->cpus_lock);
    __atomic_store_n(&v->dead, 1, __ATOMIC_SEQ_CST);
    for (u32 i = 0; i < VM_MAX_CPUS; i++) {
        struct vcpu *w = vm->vcpus[i];
        u32 news = VCPU_HAZARD_EVENTS | VCPU_HAZARD_START;
        if (w && (__atomic_load_n(&w->hazards, __ATOMIC_SEQ_CST) & news ||
                  !__atomic_load_n(&w->dead, __ATOMIC_SEQ_CST))) {
            dead = false;
        }
    }
    spin_unlock(&vm->cpus_lock);
    return dead;
}

/* Does a vCPU that waits go on? What came in is collected. */
static bool goes_on(struct vcpu *v, bool open)
{
    if (v->activity != VCPU_HALTED ||
        (v->event.type == EVENT_NONE && !__atomic_load_n(&v->nmi_pending, __ATOMIC_SEQ_CST) &&
         !(open && (apic_next(&v->apic) || apic_extint(v))))) {
        return false;
    }
    v->activity = VCPU_ACTIVE;
    return true;
}

/* A vCPU that waits: blocks until there may be a reason to go on. open: interrupts are one. False:
 * SYS_VCPU_RUN returns. */
static bool wait_for_event(struct vcpu *v, bool open)
{
    v->wake_tsc = open ? v->apic.timer_tsc : APIC_NEVER;
    if (!open && is_vm_dead(v)) {
        return leave(v, VX_HALTED);
    }
    pause_guest(v, sched_block_halted);
    return !thread_dying() || leave(v, VX_KICKED);
}

NOINLINE static bool settle_hazards(struct vcpu *v)
{
    for (;;) {
        struct cpu *c = cpu_this();
        if (UNLIKELY(v->clock_tsc >= v->apic.timer_tsc)) {
            apic_timer_expire(v, v->clock_tsc);
        }
        if (v->activity != VCPU_ACTIVE) {
            __atomic_store_n(&v->dead, 0, __ATOMIC_SEQ_CST); /* before hazards are taken */
        }
        u32 ch = __atomic_load_n(&c->hazards, __ATOMIC_ACQUIRE);
        u32 vh = __atomic_load_n(&v->hazards, __ATOMIC_ACQUIRE);

        if (LIKELY(!(ch | vh | v->activity))) {
            if (LIKELY(v->clock_tsc < c->slice_end)) {
                return true;
            }
            sched_tick();
            continue;
        }
        if (ch & CPU_HAZARD_STOP) {
            boot_stop_this_cpu();
        }
        if (ch & CPU_HAZARD_TLB) {
            __atomic_and_fetch(&c->hazards, ~CPU_HAZARD_TLB, __ATOMIC_SEQ_CST);
            arch_tlb_flush();
            continue;
        }
        if (ch & CPU_HAZARD_RESCHED) {
            pause_guest(v, wait_turn);
            if (thread_dying()) {
                return leave(v, VX_KICKED); /* the way to the end of the thread */
            }
            continue;
        }
        if (vh & VCPU_HAZARD_STOP) {
            return leave(v, VX_KICKED);
        }
        if (vh & VCPU_HAZARD_SHUTDOWN) {
            clear_hazard(v, VCPU_HAZARD_SHUTDOWN);
            return leave(v, VX_TRIPLE_FAULT);
        }
        if (vh & VCPU_HAZARD_EOI) {
            clear_hazard(v, VCPU_HAZARD_EOI);
            v->exit.a = v->apic.ended;
            return leave(v, VX_EOI);
        }
        if (vh & VCPU_HAZARD_CLOCK) {
            clear_hazard(v, VCPU_HAZARD_CLOCK);
            vcpu_tell_clock(v);
            return leave(v, VX_CLOCK);
        }
        if (vh & VCPU_HAZARD_KICK) {
            clear_hazard(v, VCPU_HAZARD_KICK);
            return leave(v, VX_KICKED);
        }
        if (vh & VCPU_HAZARD_FLUSH) {
            clear_hazard(v, VCPU_HAZARD_FLUSH); /* first: a later change flushes again */
            virt->flush(v);
            continue;
        }
        if (vh & VCPU_HAZARD_START) {
            clear_hazard(v, VCPU_HAZARD_START); /* first: a later one comes again */
            take_start(v);
            continue;
        }
        collect(v);
        if (v->activity != VCPU_ACTIVE) {
            bool open = v->activity == VCPU_HALTED && has_interrupts_on(v);
            if (!goes_on(v, open)) {
                if (!wait_for_event(v, open)) {
                    return false;
                }
                continue;
            }
        }
        /* Last, since an event that was put into the entry must be entered with. */
        if (LIKELY(deliver(v))) {
            return true;
        }
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT); /* what else there is waits for the answer */
        __atomic_and_fetch(&v->apic.signals, ~APIC_SIGNAL_EXTINT, __ATOMIC_SEQ_CST);
        return leave(v, VX_INTA);
    }
}

bool exit_hazards(struct vcpu *v)
{
    const struct cpu *c = cpu_this();
    u32 any = __atomic_load_n(&c->hazards, __ATOMIC_ACQUIRE) |
              __atomic_load_n(&v->hazards, __ATOMIC_ACQUIRE) | v->activity;

    v->fast_left = EXIT_FAST_RUN;
    /* usually there is nothing to do, which takes no registers */
    if (LIKELY(!any && v->clock_tsc < MIN(v->apic.timer_tsc, c->slice_end))) {
        return true;
    }
    return settle_hazards(v);
}
