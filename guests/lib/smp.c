/* SPDX-License-Identifier: MIT */
/* Start of the other CPUs, and work for them. */
#include "guests/lib/smp.h"

#include "guests/lib/acpi.h"
#include "guests/lib/apic.h"
#include "guests/lib/clock.h"
#include "guests/lib/fwcfg.h"
#include "guests/lib/irq.h"
#include "guests/lib/memory.h"
#include "guests/lib/test.h"
#include "lib/string.h"

#define STACK_BYTES 16384
#define NMI_BYTES   4096
#define EFER_KEPT   (EFER_SCE | EFER_LME | EFER_NXE)

/* smp.asm */
extern u8 smp_trampoline[], smp_trampoline_end[], smp_trampoline_gdt[];
extern u64 smp_stacks[256];
extern u32 smp_cr0, smp_cr3, smp_cr4, smp_efer;
void smp_entry(u32 apic_id);

static u32 cpu_count;
static struct {
    volatile u32 starts, done, asked; /* asked == done: idle */
    smp_work_t work;
    void *arg;
    u64 stack;
    struct smp_found found;
} slots[CPU_MAX];

u32 smp_count(void)
{
    return cpu_count;
}

u32 smp_starts(u32 cpu)
{
    return slots[cpu].starts;
}

struct smp_found smp_found(u32 cpu)
{
    return slots[cpu].found;
}

/* In the mode that this CPU is in, which may not be the boot CPU's yet. */
static u32 raw(u64 base, u32 reg)
{
    return base & APIC_BASE_X2APIC ? (u32)rdmsr(MSR_X2APIC_BASE + reg / 16)
                                   : *(volatile u32 *)(APIC_PAGE + reg);
}

static struct smp_found look(void)
{
    u64 base = rdmsr(MSR_IA32_APIC_BASE);

    return (struct smp_found){
        .base = base,
        .id = base & APIC_BASE_X2APIC ? raw(base, APIC_ID) : raw(base, APIC_ID) >> 24,
        .svr = raw(base, APIC_SVR),
        .tpr = raw(base, APIC_TPR),
        .lint0 = raw(base, APIC_LVT_LINT0),
        .error = raw(base, APIC_LVT_ERROR),
        .timer = raw(base, APIC_LVT_TIMER),
        .initial = raw(base, APIC_TIMER_INITIAL),
        .ldr = raw(base, APIC_LDR),
    };
}

u32 smp_init(void)
{
    const struct acpi_info *acpi = acpi_known();
    u32 next = 1;

    apic_init();
    trap_handle(SMP_WAKE_VECTOR, irq_count);
    cpu_count = MIN(acpi->cpu_count ? acpi->cpu_count : MAX(fwcfg_cpus(), 1u), (u32)CPU_MAX);
    cpus[0].apic_id = apic_id();
    for (u32 i = 0; i < cpu_count; i++) {
        u32 id = acpi->cpu_count ? acpi->cpu_apic_ids[i] : i;

        if (id != cpus[0].apic_id && next < CPU_MAX) {
            cpus[next].index = next;
            cpus[next].apic_id = id;
            slots[next].stack = page_alloc(STACK_BYTES + NMI_BYTES, PAGE_SIZE);
            smp_stacks[id & 255] = slots[next].stack + STACK_BYTES;
            next++;
        }
    }
    memcpy(smp_trampoline_gdt, (const void *)&gdt_pointer, 6);
    memcpy((void *)SMP_PAGE, smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
    return cpu_count;
}

static void copy_registers(void)
{
    smp_cr0 = (u32)read_cr0();
    smp_cr3 = (u32)read_cr3();
    smp_cr4 = (u32)read_cr4();
    smp_efer = (u32)(rdmsr(MSR_IA32_EFER) & EFER_KEPT);
}

/* On the new CPU. Work is taken from the slot; between pieces it halts. */
void smp_entry(u32 apic_id)
{
    u32 me = 0;

    while (me < CPU_MAX && (!cpus[me].index || cpus[me].apic_id != apic_id)) {
        me++;
    }
    if (me == CPU_MAX) {
        test_abort("a CPU with the APIC ID %u that nobody started", apic_id);
    }
    trap_init_cpu(&cpus[me], slots[me].stack + STACK_BYTES + NMI_BYTES);
    slots[me].found = look();
    apic_join();
    slots[me].done = slots[me].asked;
    slots[me].starts++;
    for (;;) {
        cpu_cli();
        if (slots[me].asked == slots[me].done) {
            __asm__ volatile("sti; hlt" : : : "memory");
            continue;
        }
        cpu_sti();
        slots[me].work(slots[me].arg);
        __atomic_store_n(&slots[me].done, slots[me].asked, __ATOMIC_SEQ_CST);
    }
}

void smp_stop(u32 cpu)
{
    apic_send(cpus[cpu].apic_id, APIC_INIT | ICR_ASSERT | APIC_LEVEL);
    apic_send(cpus[cpu].apic_id, APIC_INIT | APIC_LEVEL); /* de-assert; newer ones ignore it */
}

bool smp_start(u32 cpu)
{
    u32 before = slots[cpu].starts;

    copy_registers();
    smp_stop(cpu);
    clock_wait_us(200);
    apic_send(cpus[cpu].apic_id, APIC_STARTUP | ICR_ASSERT | SMP_PAGE >> 12);
    return WAIT_UNTIL(slots[cpu].starts != before);
}

u32 smp_start_all(void)
{
    u32 running = 1;

    for (u32 i = 1; i < cpu_count; i++) {
        running += smp_start(i);
    }
    return running;
}

void smp_call(u32 cpu, smp_work_t work, void *arg)
{
    slots[cpu].work = work;
    slots[cpu].arg = arg;
    __atomic_store_n(&slots[cpu].asked, slots[cpu].asked + 1, __ATOMIC_SEQ_CST);
    apic_send(cpus[cpu].apic_id, APIC_FIXED | ICR_ASSERT | SMP_WAKE_VECTOR);
}

bool smp_wait(u32 cpu)
{
    return WAIT_UNTIL(slots[cpu].asked == slots[cpu].done);
}

bool smp_call_all(smp_work_t work, void *arg)
{
    bool ok = true;

    for (u32 i = 1; i < cpu_count; i++) {
        if (slots[i].starts) {
            smp_call(i, work, arg);
        }
    }
    work(arg);
    for (u32 i = 1; i < cpu_count; i++) {
        ok &= !slots[i].starts || smp_wait(i);
    }
    return ok;
}
