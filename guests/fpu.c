/* SPDX-License-Identifier: MIT */
/*
 * Registers that a CPU has only once survive while other guests run: x87, SSE, AVX and AVX-512,
 * XCR0, debug registers, and the MSRs that guests share with the host. Run two or more with
 * different patterns on one CPU: pattern=N, rounds=N, ticks=N (TSC ticks between loading and
 * checking).
 */
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define AREA_BYTES   8192
#define XSTATE_PLAIN (FIELD(7, 0) & ~FIELD(4, 3)) /* components that hold any bytes */

static u8 loaded[AREA_BYTES] ALIGNED(64), saved[AREA_BYTES] ALIGNED(64);
static u64 seed;

static void wait(u64 ticks)
{
    u64 end = rdtsc() + ticks;

    while (rdtsc() < end) {
        cpu_pause();
    }
}

static bool has_xsave(void)
{
    return cpuid(1, 0).ecx >> 26 & 1;
}

static void fill(u64 components)
{
    memset(loaded, 0, sizeof(loaded));
    *(u16 *)loaded = 0x037f;
    loaded[4] = 0xff;                                         /* all x87 registers in use */
    *(u32 *)(loaded + 24) = 0x1f80 | (seed & 1 ? 0x6000 : 0); /* MXCSR, rounding differs */
    for (u32 r = 0; r < 8; r++) {
        *(u64 *)(loaded + 32 + 16 * r) = test_random(&seed) | BIT(63);
        *(u16 *)(loaded + 40 + 16 * r) = (u16)(0x3fff + r);
    }
    for (u32 i = 0; i < 256; i += 8) {
        *(u64 *)(loaded + 160 + i) = test_random(&seed);
    }
    for (u32 c = 2; c < 8; c++) {
        struct cpuid r = cpuid(0xd, c);

        for (u32 i = 0; components >> c & 1 && i < r.eax; i += 8) {
            *(u64 *)(loaded + r.ebx + i) = test_random(&seed);
        }
    }
    *(u64 *)(loaded + 512) = components;
}

static void compare(u64 components, u64 round)
{
    CHECK_EQ_AT(*(u16 *)saved, *(u16 *)loaded, "FCW in round %lu", round);
    CHECK_EQ_AT(*(u32 *)(saved + 24), *(u32 *)(loaded + 24), "MXCSR in round %lu", round);
    for (u32 r = 0; r < 8; r++) {
        CHECK(!memcmp(saved + 32 + 16 * r, loaded + 32 + 16 * r, 10), "ST%u in round %lu", r,
              round);
    }
    for (u32 r = 0; r < 16; r++) {
        CHECK(!memcmp(saved + 160 + 16 * r, loaded + 160 + 16 * r, 16), "XMM%u in round %lu", r,
              round);
    }
    for (u32 c = 2; c < 8; c++) {
        struct cpuid r = cpuid(0xd, c);

        if (components >> c & 1) {
            CHECK(!memcmp(saved + r.ebx, loaded + r.ebx, r.eax), "component %u in round %lu", c,
                  round);
        }
    }
}

static void vectors(void)
{
    u64 rounds = boot_option_number("rounds", 20), ticks = boot_option_number("ticks", 1000000);
    u64 supported = 3;

    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | (has_xsave() ? CR4_OSXSAVE : 0));
    if (has_xsave()) {
        supported = cpuid(0xd, 0).eax & XSTATE_PLAIN;
    }
    for (u64 round = 0; round < rounds; round++) {
        /* XCR0 differs from round to round, and between instances */
        u64 components = (round + boot_option_number("pattern", 1)) & 1 ? supported : 3;
        u32 lo = 3, hi = 0;

        fill(components);
        memset(saved, 0, sizeof(saved));
        if (has_xsave()) {
            __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)components), "d"(0));
            __asm__ volatile("xrstor64 %0" : : "m"(loaded), "a"((u32)components), "d"(0));
        } else {
            __asm__ volatile("fxrstor64 %0" : : "m"(loaded));
        }
        wait(ticks);
        if (has_xsave()) {
            __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
            __asm__ volatile("xsave64 %0" : "=m"(saved) : "a"((u32)components), "d"(0));
        } else {
            __asm__ volatile("fxsave64 %0" : "=m"(saved));
            lo = (u32)components;
        }
        CHECK_EQ_AT(lo, components, "XCR0 in round %lu", round);
        compare(components, round);
    }
}

#define DEBUG_REGISTER(n)                                                                          \
    __asm__ volatile("mov %0, %%dr" #n : : "r"(values[n]));                                        \
    wait(ticks / 4);                                                                               \
    __asm__ volatile("mov %%dr" #n ", %0" : "=r"(got));                                            \
    CHECK_EQ_AT(got, values[n], "DR" #n " in round %lu", round)

static void shared_registers(void)
{
    static const u32 msrs[] = {MSR_IA32_STAR,           MSR_IA32_LSTAR,       MSR_IA32_CSTAR,
                               MSR_IA32_KERNEL_GS_BASE, MSR_IA32_FS_BASE,     MSR_IA32_GS_BASE,
                               MSR_IA32_SYSENTER_ESP,   MSR_IA32_SYSENTER_EIP};
    u64 rounds = boot_option_number("rounds", 20), ticks = boot_option_number("ticks", 1000000);
    bool aux = cpuid(0x80000001, 0).edx >> 27 & 1;

    for (u64 round = 0; round < rounds; round++) {
        u64 values[ARRAY_SIZE(msrs)], got;
        u32 aux_value = (u32)test_random(&seed);

        for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
            values[i] = test_random(&seed) & 0x00007fffffffffff;
            wrmsr(msrs[i], values[i]);
        }
        wrmsr(MSR_IA32_FMASK, values[0] & 0x47700);
        if (aux) {
            wrmsr(MSR_IA32_TSC_AUX, aux_value);
        }
        write_cr2(values[1]);
        wait(ticks / 2);
        for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
            CHECK_EQ_AT(rdmsr(msrs[i]), values[i], "MSR %x in round %lu", msrs[i], round);
        }
        CHECK_EQ_AT(rdmsr(MSR_IA32_FMASK), values[0] & 0x47700, "FMASK in round %lu", round);
        if (aux) {
            u32 now;

            __asm__ volatile("rdtscp" : "=c"(now) : : "rax", "rdx");
            CHECK_EQ_AT(now, aux_value, "TSC_AUX in round %lu", round);
        }
        CHECK_EQ_AT(read_cr2(), values[1], "CR2 in round %lu", round);
        DEBUG_REGISTER(0);
        DEBUG_REGISTER(1);
        DEBUG_REGISTER(2);
        DEBUG_REGISTER(3);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"vectors",   vectors         },
        {"registers", shared_registers},
    };

    seed = boot_option_number("pattern", 1) * 0x9e3779b97f4a7c15ull + 1;
    test_all("fpu", tests, ARRAY_SIZE(tests));
}
