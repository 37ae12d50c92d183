/* SPDX-License-Identifier: MIT */
/*
 * TLB flushes here and on other CPUs.
 *
 * A CPU that must flush gets a number (tlb_wanted goes up), then the hazard, then an IPI. It clears
 * the hazard first, then reads the number, flushes, and publishes the number as done. So a request
 * that comes after the number was read has set the hazard after it was cleared, and is seen the
 * next time; a request that came before is covered by the flush. The IPI is sent always: a CPU in
 * the kernel finds it pending when it leaves, at the cost of one interrupt, and needs no store and
 * barrier on each way in and out.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/lapic.h"
#include "arch/x86/mmu.h"
#include "arch/x86/msr.h"

static void flush_global(void)
{
    u64 cr4 = read_cr4();

    if (cr4 & CR4_PGE) {
        write_cr4(cr4 & ~CR4_PGE);
        write_cr4(cr4);
    } else {
        write_cr3(read_cr3());
    }
}

void arch_tlb_flush(void)
{
    struct arch_cpu *a = cpu_arch(cpu_this());
    u64 wanted = __atomic_load_n(&a->tlb_wanted, __ATOMIC_SEQ_CST);

    if (__atomic_exchange_n(&a->tlb_global, 0, __ATOMIC_SEQ_CST)) {
        flush_global();
    } else {
        write_cr3(read_cr3());
    }
    __atomic_store_n(&a->tlb_done, wanted, __ATOMIC_RELEASE);
}

void arch_spin_poll(void)
{
    struct cpu *c = cpu_this();

    if (UNLIKELY(__atomic_load_n(&c->hazards, __ATOMIC_RELAXED) & CPU_HAZARD_TLB)) {
        __atomic_and_fetch(&c->hazards, ~(u32)CPU_HAZARD_TLB, __ATOMIC_SEQ_CST);
        arch_tlb_flush();
    }
}

/* Returns the number to wait for. */
static u64 request(struct cpu *c, bool global)
{
    struct arch_cpu *a = cpu_arch(c);

    if (global) {
        __atomic_store_n(&a->tlb_global, 1, __ATOMIC_SEQ_CST);
    }
    u64 number = __atomic_add_fetch(&a->tlb_wanted, 1, __ATOMIC_SEQ_CST);
    __atomic_or_fetch(&c->hazards, CPU_HAZARD_TLB, __ATOMIC_SEQ_CST);
    arch_kick(c);
    return number;
}

/* aspace NULL: everything, everywhere. */
static void shootdown(struct aspace *aspace)
{
    struct cpu *me = cpu_this();
    u64 numbers[MAX_CPUS];

    /* The tables are changed before we look who uses them. A CPU that loads them after that (it
     * stores cpu.aspace, then writes CR3, which serializes) reads the changed ones. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (u32 i = 0; i < cpu_count; i++) {
        struct cpu *c = cpus[i];
        numbers[i] = 0;
        if (c != me && __atomic_load_n(&cpu_arch(c)->up, __ATOMIC_ACQUIRE) &&
            (!aspace || __atomic_load_n(&c->aspace, __ATOMIC_SEQ_CST) == aspace)) {
            numbers[i] = request(c, !aspace);
        }
    }
    if (!aspace) {
        flush_global();
    } else if (me->aspace == aspace) {
        arch_tlb_flush();
    }
    for (u32 i = 0; i < cpu_count; i++) {
        struct arch_cpu *a = cpu_arch(cpus[i]);
        while (numbers[i] && __atomic_load_n(&a->tlb_done, __ATOMIC_ACQUIRE) < numbers[i] &&
               !__atomic_load_n(&a->stopped, __ATOMIC_ACQUIRE)) {
            arch_spin_poll(); /* the other one may be waiting for us */
            arch_pause();
        }
    }
}

void arch_tlb_shootdown(struct aspace *aspace)
{
    shootdown(aspace);
}

void mmu_flush_all(void)
{
    shootdown(NULL);
}

void arch_kick(struct cpu *target)
{
    if (target != cpu_this()) {
        lapic_send(target->apic_id, VECTOR_KICK);
    }
}

void arch_notify(struct cpu *target)
{
    if (target != cpu_this()) {
        lapic_send(target->apic_id, VECTOR_POSTED);
    }
}

void arch_idle(void)
{
    /* STI takes effect after HLT has begun: an interrupt that is pending already ends the HLT */
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}
