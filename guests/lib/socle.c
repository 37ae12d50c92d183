/* SPDX-License-Identifier: MIT */
/* Socle's signature and hypercalls. */
#include "guests/lib/socle.h"

#include "guests/lib/cpu.h"
#include "lib/string.h"

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
