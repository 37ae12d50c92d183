/* SPDX-License-Identifier: MIT */
/* Socle's signature and hypercalls. */
#include "guests/lib/socle.h"

#include "guests/lib/cpu.h"
#include "lib/string.h"

#define FEATURE_HYPERVISOR BIT(31) /* CPUID.1:ECX */
#define VMCALL             0xc1
#define VMMCALL            0xd9

static void signature(u32 leaf, char name[13])
{
    struct cpuid r = cpuid(leaf, 0);

    memcpy(name, &r.ebx, 4);
    memcpy(name + 4, leaf ? &r.ecx : &r.edx, 4);
    memcpy(name + 8, leaf ? &r.edx : &r.ecx, 4);
    name[12] = 0;
}

static bool signature_is(const char *text)
{
    char name[13];

    if (!(cpuid(1, 0).ecx & FEATURE_HYPERVISOR)) {
        return false;
    }
    signature(0x40000000, name);
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

bool cpu_is_tcg(void)
{
    struct cpuid r = cpuid(0x80000002, 0); /* the brand's first 16 characters */

    return on_tcg() || !memcmp(&r, "QEMU TCG CPU", 12);
}

bool cpu_is_amd(void)
{
    char vendor[13];

    signature(0, vendor);
    return !strcmp(vendor, "AuthenticAMD") || !strcmp(vendor, "HygonGenuine");
}

u8 hypercall_opcode(void)
{
    return cpu_is_amd() ? VMMCALL : VMCALL;
}

extern u8 hypercall_insn[];

NOINLINE u64 hypercall(u64 number, u64 argument)
{
    u64 result;

    __asm__ volatile("hypercall_insn: vmcall"
                     : "=a"(result)
                     : "a"(number), "D"(argument)
                     : "memory");
    return result;
}

/* The right instruction is there once and for all: benches count every one. */
void socle_init(void)
{
    hypercall_insn[2] = hypercall_opcode();
}
