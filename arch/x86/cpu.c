/* SPDX-License-Identifier: MIT */
/* Features, descriptor tables and system registers of one CPU. */
#include "arch/x86/cpu.h"

#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "arch/x86/trap.h"
#include "lib/string.h"

#define CPUID_1_ECX_X2APIC       BIT(21)
#define CPUID_1_ECX_TSC_DEADLINE BIT(24)
#define CPUID_1_EDX_MCE          BIT(7)
#define CPUID_1_EDX_PGE          BIT(13)
#define CPUID_1_EDX_PAT          BIT(16)
#define CPUID_1_EDX_FXSR         BIT(24)
#define CPUID_7_EBX_TSC_ADJUST   BIT(1)
#define CPUID_7_EBX_SMEP         BIT(7)
#define CPUID_7_EBX_SMAP         BIT(20)
#define CPUID_7_ECX_UMIP         BIT(2)
#define CPUID_81_EDX_NX          BIT(20)
#define CPUID_81_EDX_PAGE1GB     BIT(26)

/* Descriptors with the accessed bit set, so that the CPU need not write it. */
#define DESCRIPTOR_CODE 0x00209b0000000000ull /* 64-bit, DPL 0, limit ignored */
#define DESCRIPTOR_DATA 0x0000930000000000ull
#define DESCRIPTOR_DPL3 (3ull << 45)
#define DESCRIPTOR_TSS  0x0000890000000000ull

#define GATE_INTERRUPT  0x8e /* present, DPL 0, interrupts off */
#define GATE_DPL3       0x60

ARCH_READ_ONLY_AFTER_BOOT struct cpu_features cpu_features;
ARCH_READ_ONLY_AFTER_BOOT struct idt_gate arch_idt[256] ALIGNED(4096);

struct smap_site {
    u64 address, bytes; /* three bytes of instruction */
};
extern const struct smap_site smap_sites_start[], smap_sites_end[];

static u32 cpuid_register(u32 leaf, u32 subleaf, u32 index)
{
    u32 out[4];

    arch_cpuid(leaf, subleaf, out);
    return out[index];
}

enum { EAX, EBX, ECX, EDX };

/* Kernel code is still writable: the loader's tables are. */
static void smap_patch(void)
{
    for (const struct smap_site *s = smap_sites_start; s < smap_sites_end; s++) {
        memcpy((void *)s->address, &s->bytes, 3);
    }
    cpuid_register(0, 0, EAX); /* serializes: what was prefetched is forgotten */
}

/* Firmware may have switched NX off ("execute disable: disabled"); we rely on it. */
static void nx_init(void)
{
    if (!(cpuid_register(0x80000001, 0, EDX) & CPUID_81_EDX_NX) && cpu_features.intel) {
        cpu_features.xd_fix = MISC_ENABLE_XD_DISABLE;
        wrmsr(MSR_IA32_MISC_ENABLE, rdmsr(MSR_IA32_MISC_ENABLE) & ~MISC_ENABLE_XD_DISABLE);
    }
}

void cpu_features_init(void)
{
    struct cpu_features *f = &cpu_features;
    u32 id[4];

    arch_cpuid(0, 0, id);
    f->max_leaf = id[EAX];
    f->intel = id[EBX] == 0x756e6547; /* "Genu" */
    u32 ecx = cpuid_register(1, 0, ECX), edx = cpuid_register(1, 0, EDX);
    f->x2apic = ecx & CPUID_1_ECX_X2APIC;
    f->tsc_deadline = ecx & CPUID_1_ECX_TSC_DEADLINE;
    f->mce = edx & CPUID_1_EDX_MCE;
    f->pge = edx & CPUID_1_EDX_PGE;
    f->pat = edx & CPUID_1_EDX_PAT;
    f->fxsr = edx & CPUID_1_EDX_FXSR;
    if (f->max_leaf >= 7) {
        u32 ebx7 = cpuid_register(7, 0, EBX);
        f->tsc_adjust = ebx7 & CPUID_7_EBX_TSC_ADJUST;
        f->smep = ebx7 & CPUID_7_EBX_SMEP;
        f->smap = ebx7 & CPUID_7_EBX_SMAP;
        f->umip = cpuid_register(7, 0, ECX) & CPUID_7_ECX_UMIP;
    }
    nx_init();
    f->pages_1g = cpuid_register(0x80000001, 0, EDX) & CPUID_81_EDX_PAGE1GB;
    f->phys_bits = 36;
    if (cpuid_register(0x80000000, 0, EAX) >= 0x80000008) {
        f->phys_bits = cpuid_register(0x80000008, 0, EAX) & 0xff;
    }
    if (f->smap) {
        smap_patch();
    }
}

u32 arch_phys_bits(void)
{
    return cpu_features.phys_bits;
}

bool arch_has_1g_pages(void)
{
    return cpu_features.pages_1g;
}

void cpu_tables_init(struct cpu *c, const u64 ist[IST_COUNT])
{
    struct arch_cpu *a = cpu_arch(c);
    u64 base = (u64)&a->tss;
    u64 limit = sizeof(a->tss) - 1;

    a->tss.rsp[0] = c->kernel_rsp;
    a->tss.io_map = sizeof(a->tss);
    for (u32 i = 0; i < IST_COUNT; i++) {
        a->tss.ist[i] = ist[i];
    }
    a->gdt[SEL_KERNEL_CODE / 8] = DESCRIPTOR_CODE;
    a->gdt[SEL_KERNEL_DATA / 8] = DESCRIPTOR_DATA;
    a->gdt[SEL_USER_DATA / 8] = DESCRIPTOR_DATA | DESCRIPTOR_DPL3;
    a->gdt[SEL_USER_CODE / 8] = DESCRIPTOR_CODE | DESCRIPTOR_DPL3;
    a->gdt[SEL_TSS / 8] =
        DESCRIPTOR_TSS | limit | (base & FIELD(23, 0)) << 16 | (base & FIELD(31, 24)) << 32;
    a->gdt[SEL_TSS / 8 + 1] = base >> 32;
}

static void gdt_load(struct arch_cpu *a)
{
    const struct descriptor_table t = {sizeof(a->gdt) - 1, (u64)a->gdt};

    lgdt(&t);
}

void cpu_tables_load(struct cpu *c)
{
    gdt_load(cpu_arch(c));
    __asm__ volatile("pushq %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "mov %1, %%ss\n\t"
                     "mov %2, %%ds\n\t"
                     "mov %2, %%es\n\t"
                     "mov %2, %%fs\n\t"
                     "mov %2, %%gs\n\t"
                     :
                     : "i"(SEL_KERNEL_CODE), "r"(SEL_KERNEL_DATA), "r"(0)
                     : "rax", "memory");
    wrmsr(MSR_IA32_FS_BASE, 0);
    wrmsr(MSR_IA32_GS_BASE, (u64)c); /* after the selector, which cleared it */
    lldt(0);
    ltr(SEL_TSS);
    idt_load();
}

/* SDM 3A "Programming the PAT": no cached line and no translation may have the old type. */
static void pat_init(void)
{
    if (rdmsr(MSR_IA32_PAT) == PAT_VALUE) {
        return;
    }
    u64 cr0 = read_cr0();
    write_cr0((cr0 | CR0_CD) & ~CR0_NW);
    wbinvd();
    write_cr3(read_cr3());
    wrmsr(MSR_IA32_PAT, PAT_VALUE);
    wbinvd();
    write_cr3(read_cr3());
    write_cr0(cr0 & ~(CR0_CD | CR0_NW));
}

void cpu_control_init(bool memory_protection)
{
    const struct cpu_features *f = &cpu_features;
    u64 cr4 = CR4_PAE | (read_cr4() & CR4_VMXE);

    /* TS: the FPU belongs to the guests; #NM ends a ring-3 program that touches it. */
    write_cr0(CR0_PE | CR0_MP | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    cr4 |= (f->mce ? CR4_MCE : 0) | (f->fxsr ? CR4_OSFXSR | CR4_OSXMMEXCPT : 0) |
           (f->umip ? CR4_UMIP : 0) | (read_cr4() & CR4_OSXSAVE);
    write_cr4(cr4); /* PGE off: whatever the loader's tables left in the TLB goes */
    if (f->pat) {
        pat_init();
    }
    if (memory_protection) {
        cr4 |= (f->smep ? CR4_SMEP : 0) | (f->smap ? CR4_SMAP : 0) | (f->pge ? CR4_PGE : 0);
        write_cr4(cr4);
    }
    u64 efer = rdmsr(MSR_IA32_EFER);
    wrmsr(MSR_IA32_EFER, efer | EFER_SCE | EFER_NXE);
    wrmsr(MSR_IA32_SYSENTER_CS, 0); /* SYSENTER in ring 3: #GP */
    write_dr7(0x400);
    arch_syscall_msrs_load();
}

void arch_syscall_msrs_load(void)
{
    wrmsr(MSR_IA32_STAR, (u64)(SEL_STAR_USER | 3) << 48 | (u64)SEL_KERNEL_CODE << 32);
    wrmsr(MSR_IA32_LSTAR, (u64)syscall_entry);
    wrmsr(MSR_IA32_FMASK, ~(RFLAGS_RESERVED | RFLAGS_FIXED)); /* all flags off */
    wrmsr(MSR_IA32_KERNEL_GS_BASE, 0); /* ring 3's, while we are in the kernel */
    gdt_load(cpu_arch(cpu_this()));
}

void idt_init(void)
{
    for (u32 v = 0; v < 256; v++) {
        u64 entry = trap_stubs[v];
        arch_idt[v] = (struct idt_gate){
            .offset_low = (u16)entry,
            .selector = SEL_KERNEL_CODE,
            .type = GATE_INTERRUPT | (v == TRAP_BP ? GATE_DPL3 : 0),
            .offset_middle = (u16)(entry >> 16),
            .offset_high = (u32)(entry >> 32),
        };
    }
    arch_idt[TRAP_NMI].ist = IST_NMI;
    arch_idt[TRAP_DF].ist = IST_DOUBLE_FAULT;
    arch_idt[TRAP_MC].ist = IST_MACHINE_CHECK;
}

void idt_load(void)
{
    const struct descriptor_table t = {sizeof(arch_idt) - 1, (u64)arch_idt};

    lidt(&t);
}
