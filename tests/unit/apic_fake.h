/* SPDX-License-Identifier: MIT */
/* A vm of which the local APICs are real and all else is a fake, for the unit test and the fuzzer.
 * The clock stands still unless the test moves it. */
#ifndef TESTS_UNIT_APIC_FAKE_H
#define TESTS_UNIT_APIC_FAKE_H

#include "tests/host/kernel_host.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/cpuid.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"

#define FAKE_VCPUS 4

static struct vm vm;
static struct vcpu vcpu[FAKE_VCPUS];
static u32 pages[FAKE_VCPUS][PAGE_SIZE / 4];
static struct cpuid_table fake_cpuid;
static struct cpu fake_cpu;
static u64 now;
static u32 woken[FAKE_VCPUS], notified[FAKE_VCPUS], timer_changes;

u64 arch_tsc_hz = 1000000000;

u64 arch_tsc(void)
{
    return now;
}

struct cpu *cpu_this(void)
{
    return &fake_cpu;
}

void host_preempt(void)
{
}

void arch_pause(void)
{
    abort(); /* nobody else holds a lock */
}

void arch_spin_poll(void)
{
}

void vcpu_wake(struct vcpu *v)
{
    woken[v->index]++;
}

void vcpu_notify(struct vcpu *v)
{
    notified[v->index]++;
}

static void fake_timer_changed(struct vcpu *v)
{
    (void)v;
    timer_changes++;
}

static const struct virt fake_virt = {.timer_changed = fake_timer_changed,
                                      .apic_mode = fake_timer_changed};
const struct virt *virt = &fake_virt;

static inline void fake_check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static inline void fake_reset(void)
{
    memset(&vm, 0, sizeof(vm));
    memset(vcpu, 0, sizeof(vcpu));
    memset(pages, 0, sizeof(pages));
    memset(woken, 0, sizeof(woken));
    memset(notified, 0, sizeof(notified));
    now = 1000000000;
    vm.cpuid = &fake_cpuid;
    vm.cpus = FAKE_VCPUS;
    fake_cpuid.crystal_shift = 0;
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        vcpu[i].vm = &vm;
        vcpu[i].index = i;
        vcpu[i].thread = (struct thread *)(8ull * (i + 1)); /* not the current one */
        apic_create(&vcpu[i], pages[i]);
        vm.vcpus[i] = &vcpu[i];
    }
    fake_cpu.current = vcpu[0].thread;
}

/* --- what tests do with them --- */

#define MSR(offset) (MSR_X2APIC_BASE + (offset) / 16)
#define SVR_ON      (SVR_ENABLE | 0xff)

/* The one that tests look at most. */
static struct vcpu *const v = &vcpu[0];

static inline int setup(void **state)
{
    (void)state;
    fake_reset();
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        apic_page_write(&vcpu[i], APIC_SVR, SVR_ON);
    }
    return 0;
}

static inline int setup_x2apic(void **state)
{
    setup(state);
    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        fake_check(apic_set_base(&vcpu[i], vcpu[i].apic.base | APIC_BASE_X2APIC));
    }
    return 0;
}

/* WRMSR. */
static inline bool write_msr(struct vcpu *w, u32 offset, u64 value)
{
    switch (offset) {
    case APIC_EOI:
        return apic_msr_eoi(w, value);
    case APIC_ICR:
        return apic_msr_icr(w, value);
    default:
        return apic_msr_write(w, MSR(offset), value);
    }
}

static inline u64 msr(u32 offset)
{
    u64 value = 0x5555;

    fake_check(apic_msr_read(v, MSR(offset), &value));
    return value;
}

static inline void set_msr(u32 offset, u64 value)
{
    fake_check(write_msr(v, offset, value));
}

/* What the thread of w does before an entry: the vector it delivers, 0 none. */
static inline u32 deliver(struct vcpu *w)
{
    w->hazards &= ~(u32)VCPU_HAZARD_EVENTS;
    apic_collect(w);
    u32 vector = apic_next(&w->apic);
    if (vector) {
        apic_take(&w->apic, vector);
    }
    return vector;
}

/* What a CPU in the guest does when it is notified (SDM 3C "Posted-Interrupt Processing"). */
static inline void take_posted(struct vcpu *w)
{
    w->apic.news[0] = 0;
    for (u32 i = 0; i < 8; i++) {
        APIC_REG(&w->apic, APIC_IRR + 16 * i) |= ((u32 *)w->apic.edge)[i];
        ((u32 *)w->apic.edge)[i] = 0;
    }
    apic_refresh(&w->apic);
}

static inline void eoi(struct vcpu *w)
{
    if (w->apic.base & APIC_BASE_X2APIC) {
        fake_check(apic_msr_eoi(w, 0));
    } else {
        apic_page_write(w, APIC_EOI, 0);
    }
}

static inline void self_ipi(u32 vector)
{
    apic_page_write(v, APIC_ICR, ICR_SELF | vector);
}

static inline void send(u32 to, u32 icr)
{
    apic_page_write(v, APIC_ICR_HIGH, to << 24);
    apic_page_write(v, APIC_ICR, icr);
}

/* Mask of the vCPUs that get a vector now, which is ended there. */
static inline u32 got(u32 vector)
{
    u32 mask = 0;

    for (u32 i = 0; i < FAKE_VCPUS; i++) {
        u32 taken = deliver(&vcpu[i]);
        if (taken) {
            fake_check(taken == vector);
            eoi(&vcpu[i]);
            mask |= 1u << i;
        }
    }
    return mask;
}

static inline u32 esr(void)
{
    apic_page_write(v, APIC_ESR, 0x1234);
    return apic_page_read(v, APIC_ESR);
}

#endif
