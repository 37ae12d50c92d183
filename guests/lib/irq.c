/* SPDX-License-Identifier: MIT */
/* Interrupts on demand, and counted. */
#include "guests/lib/irq.h"

#include "guests/lib/apic.h"
#include "lib/string.h"

struct irq_taken irq_taken;

void irq_raise(u8 vector)
{
    if (vector == VEC_NMI) {
        apic_send(apic_id(), APIC_NMI | ICR_ASSERT);
    } else {
        apic_send(0, ICR_SELF | APIC_FIXED | ICR_ASSERT | vector);
    }
}

void irq_eoi(void)
{
    apic_eoi();
}

bool irq_count(struct trap_frame *f)
{
    struct cpu *cpu = cpu_self();

    if (cpu->index == 0) {
        if (irq_taken.count < IRQ_LOG) {
            irq_taken.vector[irq_taken.count] = f->vector;
            irq_taken.tsc[irq_taken.count] = rdtsc();
        }
        irq_taken.count++;
    }
    cpu->taken[f->vector]++;
    if (f->vector != VEC_NMI && f->vector != APIC_SPURIOUS) {
        apic_eoi();
    }
    return true;
}

void irq_forget(void)
{
    irq_taken.count = 0;
    memset((void *)cpu_self()->taken, 0, sizeof(cpu_self()->taken));
}

void irq_expect(u32 first, u32 last)
{
    for (u32 v = first; v <= last; v++) {
        trap_handle((int)v, irq_count);
    }
    irq_forget();
}

u32 irq_times(u32 vector)
{
    return cpu_self()->taken[vector];
}

u32 irq_times_all(u32 vector)
{
    u32 sum = 0;

    for (u32 i = 0; i < CPU_MAX; i++) {
        sum += cpus[i].taken[vector];
    }
    return sum;
}

void irq_forget_all(void)
{
    irq_taken.count = 0;
    for (u32 i = 0; i < CPU_MAX; i++) {
        memset((void *)cpus[i].taken, 0, sizeof(cpus[i].taken));
    }
}

void irq_window(void)
{
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}
