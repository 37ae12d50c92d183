/* SPDX-License-Identifier: MIT */
/* One CPU as the architecture sees it: features, descriptor tables, stacks for exceptions that come
 * at any time, system registers. */
#ifndef ARCH_X86_CPU_H
#define ARCH_X86_CPU_H

#include "arch/arch.h"
#include "lib/types.h"

/* The GDT. The order of the last three is SYSRET's: SS = STAR base + 8, CS = STAR base + 16. */
#define SEL_KERNEL_CODE 0x08
#define SEL_KERNEL_DATA 0x10
#define SEL_STAR_USER   0x18 /* nothing there: no 32-bit code in ring 3 */
#define SEL_USER_DATA   0x23
#define SEL_USER_CODE   0x2b
#define SEL_TSS         0x30 /* two entries */
#define GDT_ENTRIES     8

/* Stacks of TSS.IST, by their number in an IDT gate. */
enum { IST_NMI = 1, IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_COUNT = IST_MACHINE_CHECK };

#define IST_STACK_BYTES 8192

/* Vectors, above those that the loader has given the legacy interrupt controllers (BOOT_VECTOR_IRQ:
 * ISA lines, one each). */
#define VECTOR_TIMER    0xf0
#define VECTOR_KICK     0xf1
#define VECTOR_POSTED   0xf2 /* notification of posted interrupts */
#define VECTOR_SPURIOUS 0xff

/* SDM 3A "Task Management in 64-bit Mode" */
struct PACKED tss {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7]; /* IST1 is ist[0] */
    u64 reserved2;
    u16 reserved3;
    u16 io_map; /* at the limit: no port is open to ring 3 */
};
_Static_assert(sizeof(struct tss) == 104, "tss");

struct trap_frame;

/* cpu.arch */
struct arch_cpu {
    struct tss tss; /* first: never crosses a page */
    u64 gdt[GDT_ENTRIES] ALIGNED(8);

    /* TLB shoot-downs: asked for and served, in numbers that only grow; shared. */
    u64 tlb_wanted, tlb_done;
    u32 tlb_global; /* shared: the next flush takes global entries too */
    u32 up;         /* shared: takes interrupts */
    u32 stopped;    /* shared: in arch_halt() for good */

    u64 timer_tsc;                  /* what the timer is set to, ~0: nothing */
    const struct trap_frame *fault; /* of the kernel, for the panic report */
    u64 nmis, unexpected;           /* interrupts that nobody asked for */
};

struct cpu_features {
    u32 max_leaf;
    u32 phys_bits;
    bool intel;
    bool pages_1g, pge, mce, pat, fxsr, smep, smap, umip;
    bool x2apic, tsc_deadline, tsc_adjust;
    u64 xd_fix; /* firmware had switched NX off: IA32_MISC_ENABLE must be set right on each CPU */
};

extern struct cpu_features cpu_features;

/* Boot CPU, once: what CPUID says. */
void cpu_features_init(void);

/* Fills c's TSS and GDT (c->arch is there); ist: tops of its stacks. */
void cpu_tables_init(struct cpu *c, const u64 ist[IST_COUNT]);
/* This CPU: GDT, TSS, IDT, segment registers, GS base = c. */
void cpu_tables_load(struct cpu *c);
/* This CPU: EFER, CR0, CR4, PAT, SYSCALL MSRs. memory_protection: SMEP, SMAP and global pages, too.
 */
void cpu_control_init(bool memory_protection);

/* STAR, LSTAR, FMASK, KERNEL_GS_BASE and the GDT's limit as ring 3 needs them: after a guest had
 * its own. */
void arch_syscall_msrs_load(void);

/* The IDT; the same for all CPUs. */
void idt_init(void);
void idt_load(void);
struct PACKED idt_gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, reserved;
};
extern struct idt_gate arch_idt[256];

static inline struct arch_cpu *cpu_arch(struct cpu *c)
{
    return c->arch;
}

/* The first CPU's structures, which exist before memory can be allocated (arch/x86/start.c). */
extern struct cpu boot_cpu;

/* Its stacks, in entry.asm: guard page and KERNEL_STACK_BYTES, then for each IST a guard page and
 * IST_STACK_BYTES. */
extern u8 boot_stacks[], boot_stack_top[];

#endif
