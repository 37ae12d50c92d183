/* SPDX-License-Identifier: MIT */
/* Socle's signature and hypercalls; interrupts on demand. */
#include "guests/lib/socle.h"

#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "lib/string.h"

#define LAPIC_BASE         0xfee00000ull
#define LAPIC_EOI          0xb0
#define LAPIC_SVR          0xf0
#define LAPIC_ICR_LOW      0x300
#define LAPIC_ICR_SELF     0x44000 /* shorthand: self; level assert; fixed */
#define LAPIC_ICR_NMI      (4 << 8)
#define LAPIC_SVR_ON       0x1ff
#define FEATURE_HYPERVISOR BIT(31) /* CPUID.1:ECX */

static bool signature_is(const char *text)
{
    struct cpuid r;
    char name[13] = "";

    if (!(cpuid(1, 0).ecx & FEATURE_HYPERVISOR)) {
        return false;
    }
    r = cpuid(0x40000000, 0);
    memcpy(name, &r.ebx, 4);
    memcpy(name + 4, &r.ecx, 4);
    memcpy(name + 8, &r.edx, 4);
    return !strcmp(name, text);
}

bool on_socle(void)
{
    return signature_is("SocleSocle");
}

bool on_tcg(void)
{
    return signature_is("TCGTCGTCGTCG");
}

u64 hypercall(u64 number, u64 argument)
{
    u64 result;

    __asm__ volatile("vmcall" : "=a"(result) : "a"(number), "D"(argument) : "memory");
    return result;
}

static volatile u32 *lapic(u32 offset)
{
    return (volatile u32 *)(LAPIC_BASE + offset);
}

bool irq_available(void)
{
    if (on_socle()) {
        return true;
    }
    if (!(cpuid(1, 0).edx & BIT(9))) {
        return false;
    }
    outb(0x21, 0xff); /* both PICs masked */
    outb(0xa1, 0xff);
    pte_set(LAPIC_BASE, 2, LAPIC_BASE | PTE_P | PTE_W | PTE_PS | PTE_PCD | PTE_PWT);
    *lapic(LAPIC_SVR) = LAPIC_SVR_ON;
    return true;
}

void irq_raise(u8 vector)
{
    if (on_socle()) {
        hypercall(HYPERCALL_INJECT, vector);
    } else {
        *lapic(LAPIC_ICR_LOW) = LAPIC_ICR_SELF | (vector == 2 ? LAPIC_ICR_NMI : vector);
    }
}

void irq_eoi(void)
{
    if (!on_socle()) {
        *lapic(LAPIC_EOI) = 0;
    }
}
