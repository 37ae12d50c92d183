/* SPDX-License-Identifier: MIT */
/* The instructions that C cannot express, for guest kernels in 64-bit mode, and the names of the
 * bits they work on. */
#ifndef GUESTS_LIB_CPU_H
#define GUESTS_LIB_CPU_H

#include "lib/types.h"

#define CR0_PE                   BIT(0)
#define CR0_MP                   BIT(1)
#define CR0_EM                   BIT(2)
#define CR0_TS                   BIT(3)
#define CR0_ET                   BIT(4)
#define CR0_NE                   BIT(5)
#define CR0_WP                   BIT(16)
#define CR0_AM                   BIT(18)
#define CR0_NW                   BIT(29)
#define CR0_CD                   BIT(30)
#define CR0_PG                   BIT(31)

#define CR4_TSD                  BIT(2)
#define CR4_DE                   BIT(3)
#define CR4_PSE                  BIT(4)
#define CR4_PAE                  BIT(5)
#define CR4_PGE                  BIT(7)
#define CR4_OSFXSR               BIT(9)
#define CR4_OSXMMEXCPT           BIT(10)
#define CR4_UMIP                 BIT(11)
#define CR4_LA57                 BIT(12)
#define CR4_VMXE                 BIT(13)
#define CR4_SMXE                 BIT(14)
#define CR4_FSGSBASE             BIT(16)
#define CR4_PCIDE                BIT(17)
#define CR4_OSXSAVE              BIT(18)
#define CR4_SMEP                 BIT(20)
#define CR4_SMAP                 BIT(21)
#define CR4_PKE                  BIT(22)

#define RFLAGS_CF                BIT(0)
#define RFLAGS_FIXED             BIT(1)
#define RFLAGS_TF                BIT(8)
#define RFLAGS_IF                BIT(9)
#define RFLAGS_DF                BIT(10)
#define RFLAGS_NT                BIT(14)
#define RFLAGS_RF                BIT(16)
#define RFLAGS_AC                BIT(18)
#define RFLAGS_ID                BIT(21)

#define EFER_SCE                 BIT(0)
#define EFER_LME                 BIT(8)
#define EFER_LMA                 BIT(10)
#define EFER_NXE                 BIT(11)

#define MSR_IA32_TSC             0x10
#define MSR_IA32_APIC_BASE       0x1b
#define MSR_IA32_FEATURE_CONTROL 0x3a
#define MSR_IA32_BIOS_UPDT_TRIG  0x79
#define MSR_IA32_SYSENTER_CS     0x174
#define MSR_IA32_SYSENTER_ESP    0x175
#define MSR_IA32_SYSENTER_EIP    0x176
#define MSR_IA32_MISC_ENABLE     0x1a0
#define MSR_IA32_PAT             0x277
#define MSR_EFER                 0xc0000080
#define MSR_STAR                 0xc0000081
#define MSR_LSTAR                0xc0000082
#define MSR_CSTAR                0xc0000083
#define MSR_FMASK                0xc0000084
#define MSR_FS_BASE              0xc0000100
#define MSR_GS_BASE              0xc0000101
#define MSR_KERNEL_GS_BASE       0xc0000102
#define MSR_TSC_AUX              0xc0000103

struct cpuid {
    u32 eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(u32 leaf, u32 subleaf)
{
    struct cpuid r;

    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline u64 rdtsc(void)
{
    u32 lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return lo | (u64)hi << 32;
}

static inline u64 rdmsr(u32 msr)
{
    u32 lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
    return lo | (u64)hi << 32;
}

static inline void wrmsr(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

#define CPU_CR(n)                                                                                  \
    static inline u64 read_cr##n(void)                                                             \
    {                                                                                              \
        u64 v;                                                                                     \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory");                             \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_cr##n(u64 v)                                                          \
    {                                                                                              \
        __asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory");                                 \
    }
CPU_CR(0)
CPU_CR(2)
CPU_CR(3)
CPU_CR(4)
CPU_CR(8)
#undef CPU_CR

static inline u64 read_dr6(void)
{
    u64 v;

    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    return v;
}

static inline void write_dr6(u64 v)
{
    __asm__ volatile("mov %0, %%dr6" : : "r"(v));
}

static inline void invlpg(const volatile void *p)
{
    __asm__ volatile("invlpg (%0)" : : "r"(p) : "memory");
}

static inline void outb(u16 port, u8 v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outw(u16 port, u16 v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outl(u16 port, u32 v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline u8 inb(u16 port)
{
    u8 v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline u16 inw(u16 port)
{
    u16 v;

    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline u32 inl(u16 port)
{
    u32 v;

    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void cpu_cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void cpu_sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline u64 read_rflags(void)
{
    u64 v;

    __asm__ volatile("pushfq; pop %0" : "=r"(v) : : "memory");
    return v;
}

#endif
