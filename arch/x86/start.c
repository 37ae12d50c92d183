/* SPDX-License-Identifier: MIT */
/* The first CPU's way from the loader's jump into the kernel, and what the kernel asks for early.
 */
#include "arch/x86/boot.h"
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/lapic.h"
#include "arch/x86/mmu.h"
#include "arch/x86/msr.h"
#include "kernel/log.h"

struct cpu boot_cpu;
static struct arch_cpu boot_arch ALIGNED(512);

ARCH_READ_ONLY_AFTER_BOOT struct cpu *cpus[MAX_CPUS];
ARCH_READ_ONLY_AFTER_BOOT u32 cpu_count;

static void boot_cpu_tables(void)
{
    u64 ist[IST_COUNT];

    boot_cpu.self = &boot_cpu;
    boot_cpu.arch = &boot_arch;
    boot_cpu.kernel_rsp = (u64)boot_stack_top;
    boot_cpu.deadline = ~0ull;
    boot_arch.up = 1;
    boot_cpu.in_user = 1;
    cpus[0] = &boot_cpu;
    cpu_count = 1;
    for (u32 i = 0; i < IST_COUNT; i++) {
        ist[i] = (u64)boot_stack_top + (i + 1) * (PAGE_SIZE + IST_STACK_BYTES);
    }
    cpu_tables_init(&boot_cpu, ist);
}

void start_boot_cpu(const struct bootinfo *bi)
{
    boot_cpu_tables();
    idt_init();
    cpu_tables_load(&boot_cpu);
    kernel_main(bi);
}

void arch_early_init(const struct bootinfo *bi)
{
    console_init(bi);
    cpu_features_init();
    cpu_control_init(false);
    boot_cpu.apic_id = bi->cpu_apic_ids[0];
    mmu_early_init(bi);
}

void arch_boot_cpu_init(void)
{
    lapic_init();
    if (boot_cpu.apic_id != lapic_id()) {
        klog("cpu 0: APIC ID is %u, the loader said %u", lapic_id(), boot_cpu.apic_id);
        boot_cpu.apic_id = lapic_id();
    }
}
