/* SPDX-License-Identifier: MIT */
/*
 * Does CPUID tell the truth? What it shows works, what it hides raises the exception that a CPU
 * without it raises, and the leaves agree with one another.
 */
#include "guests/lib/boot.h"
#include "guests/lib/code.h"
#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/hw/kvm.h"
#include "lib/string.h"

enum reg { EAX, EBX, ECX, EDX };

static u32 feature_reg(u32 leaf, u32 subleaf, enum reg reg)
{
    u32 max = cpuid(leaf & 0xf0000000, 0).eax;
    struct cpuid r = cpuid(leaf, subleaf);

    if (leaf > max) {
        return 0;
    }
    return reg == EAX ? r.eax : reg == EBX ? r.ebx : reg == ECX ? r.ecx : r.edx;
}

static bool feature(u32 leaf, u32 subleaf, enum reg reg, u32 bit)
{
    return feature_reg(leaf, subleaf, reg) >> bit & 1;
}

static void leaves(void)
{
    struct cpuid zero = cpuid(0, 0), extended = cpuid(0x80000000, 0);
    struct cpuid one = cpuid(1, 0), again = cpuid(1, 0);
    char text[49] = "";

    memcpy(text, &zero.ebx, 4);
    memcpy(text + 4, &zero.edx, 4);
    memcpy(text + 8, &zero.ecx, 4);
    print("vendor '%s', leaves to %x and %x", text, zero.eax, extended.eax);
    for (u32 i = 0; i < 12; i++) {
        CHECK(text[i] >= ' ' && text[i] < 127, "vendor byte %u: %x", i, text[i]);
    }
    for (u32 i = 0; i < 3 && extended.eax >= 0x80000004; i++) {
        struct cpuid part = cpuid(0x80000002 + i, 0);

        memcpy(text + 16 * i, &part, 16);
    }
    print(", brand '%s'\n", text);
    CHECK(zero.eax >= 1, "highest leaf %x", zero.eax);
    CHECK(extended.eax >= 0x80000001, "highest extended leaf %x", extended.eax);
    CHECK(!memcmp(&one, &again, sizeof(one)), "leaf 1 twice the same");
    CHECK(one.edx & BIT(0), "FPU");
    CHECK((one.edx & 0x07000000) == 0x07000000, "FXSR, SSE, SSE2: edx %x", one.edx);
    CHECK(one.edx & BIT(6), "PAE");
    CHECK(one.edx & BIT(5), "MSR");
    CHECK(feature(0x80000001, 0, EDX, 29), "long mode");
    CHECK_EQ(one.ebx >> 24, 0); /* the first CPU's APIC id */
    if (zero.eax >= 0xb) {
        for (u32 i = 0; i < 3; i++) {
            struct cpuid b = cpuid(0xb, i);

            CHECK_EQ_AT(b.ecx & 0xff, i, "leaf b.%u: the subleaf it names", i);
            CHECK(!b.ebx || b.edx == 0, "leaf b.%u: x2APIC id %x", i, b.edx);
        }
    }
    if (extended.eax >= 0x80000008) {
        u32 sizes = cpuid(0x80000008, 0).eax;

        CHECK((sizes & 0xff) >= 32 && (sizes & 0xff) <= 52, "physical bits %u", sizes & 0xff);
        CHECK((sizes >> 8 & 0xff) == 48 || (sizes >> 8 & 0xff) == 57, "linear bits %u",
              sizes >> 8 & 0xff);
    }
    CHECK(boot.memory_end <= 1ull << phys_bits(), "memory ends at %lx, %u bits", boot.memory_end,
          phys_bits());
    /* high halves of the registers are zero after CPUID */
    u64 rax = ~0ull & ~0xffffffffull, rbx = ~0ull, rcx = ~0ull << 32, rdx = ~0ull;
    __asm__ volatile("cpuid" : "+a"(rax), "=b"(rbx), "+c"(rcx), "+d"(rdx));
    CHECK(!(rax >> 32 | rbx >> 32 | rcx >> 32 | rdx >> 32), "high halves %lx %lx %lx %lx", rax, rbx,
          rcx, rdx);
}

static void hypervisor(void)
{
    struct cpuid r = cpuid(0x40000000, 0);

    if (!on_socle()) {
        test_skip("hypervisor: this is not Socle");
        return;
    }
    CHECK(r.eax >= 0x40000000 && r.eax < 0x40010000, "highest hypervisor leaf %x", r.eax);
    CHECK(!feature(1, 0, ECX, 5), "VMX is hidden");
    CHECK(!feature(7, 0, EBX, 2), "SGX is hidden");
    CHECK(!feature(1, 0, ECX, 6), "SMX is hidden");
    CHECK(!feature(7, 0, EBX, 14), "MPX is hidden");
    CHECK(!feature(1, 0, ECX, 15) || rdmsr(0x345) != ~0ull, "PDCM, only with its MSR");
    CHECK_EQ(feature_reg(0xa, 0, EAX) & 0xff, 0); /* no performance counters */
    for (u32 leaf = 0x40000001; leaf <= r.eax; leaf++) {
        struct cpuid h = cpuid(leaf, 0);

        test_note("leaf %x: %x %x %x %x", leaf, h.eax, h.ebx, h.ecx, h.edx);
    }
    CHECK_EQ(cpuid(0x40000100, 0).ebx, 0x4b4d564b); /* "KVMK", for who goes by that name */
    CHECK_EQ(cpuid(0x40000100, 0).eax, 0x40000101);
    CHECK_EQ(cpuid(0x40000101, 0).eax,
             KVM_NO_DELAY | KVM_CLOCK | KVM_CLOCK_STABLE | KVM_STEAL_TIME);
    if (r.eax >= 0x40000010) {
        u64 khz = cpuid(0x40000010, 0).eax;
        struct cpuid crystal = cpuid(0x15, 0);

        CHECK(khz > 1000, "TSC %lu kHz", khz);
        if (cpuid(0, 0).eax >= 0x15 && crystal.eax && crystal.ecx) {
            u64 hz = (u64)crystal.ecx * crystal.ebx / crystal.eax;

            CHECK(hz / 1000 >= khz - 1 && hz / 1000 <= khz + 1, "leaf 15h says %lu Hz", hz);
        }
    }
}

/* Each CR4 bit can be set exactly when CPUID shows what it is for. */
static void cr4(void)
{
    static const struct {
        u8 bit;
        u32 leaf;
        enum reg reg;
        u8 feature;
        const char *name;
    } bits[] = {
        {0,  1, EDX, 1,  "VME"     },
        {1,  1, EDX, 1,  "PVI"     },
        {2,  1, EDX, 4,  "TSD"     },
        {3,  1, EDX, 2,  "DE"      },
        {4,  1, EDX, 3,  "PSE"     },
        {6,  1, EDX, 7,  "MCE"     },
        {7,  1, EDX, 13, "PGE"     },
        {9,  1, EDX, 24, "OSFXSR"  },
        {10, 1, EDX, 25, "OSXMM"   },
        {11, 7, ECX, 2,  "UMIP"    },
        {13, 1, ECX, 5,  "VMXE"    },
        {14, 1, ECX, 6,  "SMXE"    },
        {16, 7, EBX, 0,  "FSGSBASE"},
        {17, 1, ECX, 17, "PCIDE"   },
        {18, 1, ECX, 26, "OSXSAVE" },
        {20, 7, EBX, 7,  "SMEP"    },
        {21, 7, EBX, 20, "SMAP"    },
        {22, 7, ECX, 3,  "PKE"     },
        {23, 7, ECX, 7,  "CET"     },
        {24, 7, ECX, 31, "PKS"     },
    };
    u64 before = read_cr4();

    for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
        bool shown = feature(bits[i].leaf, 0, bits[i].reg, bits[i].feature);
        u64 want = before | BIT(bits[i].bit), got;
        struct fault f;

        if (!shown && on_tcg()) {
            continue; /* it lets VME be set, and hangs at VMXE */
        }
        f = TRY("mov %0, %%cr4", : : "r"(want) : "memory");
        if (bits[i].bit == 23 && feature(7, 0, EDX, 20)) {
            shown = true; /* CET: by either of its parts */
        }
        got = read_cr4();
        write_cr4(before);
        CHECK(f.vector == (shown ? -1 : VEC_GP), "CR4.%s: shown %d, vector %d", bits[i].name, shown,
              f.vector);
        CHECK(got == (shown ? want : before), "CR4.%s: %lx after %lx", bits[i].name, got, want);
    }
    for (u32 bit = 32; bit < 64 && !on_tcg(); bit++) {
        struct fault f = TRY("mov %0, %%cr4", : : "r"(before | BIT(bit)) : "memory");

        CHECK(f.vector == VEC_GP && f.error == 0, "CR4 bit %u: vector %d", bit, f.vector);
    }
    CHECK_EQ(read_cr4(), before);
}

/* CPUID.1:ECX.OSXSAVE and 7.0:ECX.OSPKE are copies of CR4 bits, at once. */
static void dynamic(void)
{
    u64 before = read_cr4();

    CHECK_EQ(feature(1, 0, ECX, 27), !!(before & CR4_OSXSAVE));
    if (feature(1, 0, ECX, 26)) {
        write_cr4(before | CR4_OSXSAVE);
        CHECK(feature(1, 0, ECX, 27), "OSXSAVE shows after CR4.OSXSAVE was set");
        write_cr4(before & ~CR4_OSXSAVE);
        CHECK(!feature(1, 0, ECX, 27), "OSXSAVE is gone after it was cleared");
    }
    if (feature(7, 0, ECX, 3)) {
        write_cr4(before | CR4_PKE);
        CHECK(feature(7, 0, ECX, 4), "OSPKE shows after CR4.PKE was set");
        write_cr4(before & ~CR4_PKE);
        CHECK(!feature(7, 0, ECX, 4), "OSPKE is gone after it was cleared");
    }
    write_cr4(before);
    if (feature(0x80000001, 0, EDX, 11)) {
        u64 efer = rdmsr(MSR_IA32_EFER);

        wrmsr(MSR_IA32_EFER, efer | EFER_SCE);
        CHECK(feature(0x80000001, 0, EDX, 11), "SYSCALL");
        wrmsr(MSR_IA32_EFER, efer);
    }
}

/*
 * Instructions that a hypervisor can hide. Shown: no #UD (other faults are the operand's). Hidden:
 * #UD. RDI points to a zeroed page, RCX, RDX, RAX and RBX are 0. OSXSAVE is on.
 */
static void hidden(void)
{
    static const struct {
        const char *name;
        u32 leaf, subleaf;
        enum reg reg;
        u8 bit, bytes;
        u8 code[6];
        bool run; /* may be run when it is shown */
    } list[] = {
        {"MONITOR", 1,          0, ECX, 3,  3, {0x0f, 0x01, 0xc8},             false},
        {"MWAIT",   1,          0, ECX, 3,  3, {0x0f, 0x01, 0xc9},             false},
        {"VMXON",   1,          0, ECX, 5,  4, {0xf3, 0x0f, 0xc7, 0x37},       false},
        {"GETSEC",  1,          0, ECX, 6,  2, {0x0f, 0x37},                   false},
        {"ENCLS",   7,          0, EBX, 2,  3, {0x0f, 0x01, 0xcf},             false},
        {"ENCLU",   7,          0, EBX, 2,  3, {0x0f, 0x01, 0xd7},             false},
        {"INVPCID", 7,          0, EBX, 10, 5, {0x66, 0x0f, 0x38, 0x82, 0x0f}, true },
        {"RDTSCP",  0x80000001, 0, EDX, 27, 3, {0x0f, 0x01, 0xf9},             true },
        {"RDPID",   7,          0, ECX, 22, 4, {0xf3, 0x0f, 0xc7, 0xf8},       true },
        {"XSAVES",  0xd,        1, EAX, 3,  3, {0x0f, 0xc7, 0x2f},             true },
        {"XGETBV",  1,          0, ECX, 26, 3, {0x0f, 0x01, 0xd0},             true },
        {"RDRAND",  1,          0, ECX, 30, 3, {0x0f, 0xc7, 0xf0},             true },
        {"RDSEED",  7,          0, EBX, 18, 3, {0x0f, 0xc7, 0xf8},             true },
        {"PCONFIG", 7,          0, EDX, 18, 3, {0x0f, 0x01, 0xc5},             false},
        {"TPAUSE",  7,          0, ECX, 5,  4, {0x66, 0x0f, 0xae, 0xf1},       false},
        {"VMRUN",   0x80000001, 0, ECX, 2,  3, {0x0f, 0x01, 0xd8},             false},
        {"STGI",    0x80000001, 0, ECX, 2,  3, {0x0f, 0x01, 0xdc},             false},
        {"INVLPGB", 0x80000008, 0, EBX, 3,  3, {0x0f, 0x01, 0xfe},             false},
        {"RDPKRU",  7,          0, ECX, 3,  3, {0x0f, 0x01, 0xee},             false},
    };
    struct code_regs regs;
    u64 before = read_cr4();
    void *page = page_zeroed();

    if (feature(1, 0, ECX, 26)) {
        write_cr4(before | CR4_OSXSAVE | CR4_OSFXSR);
    }
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        bool shown = feature(list[i].leaf, list[i].subleaf, list[i].reg, list[i].bit);
        struct fault f;

        if (!shown && cpu_is_tcg() && (list[i].bit == 18 || list[i].bit == 5)) {
            continue; /* it runs RDSEED and TPAUSE all the same */
        }
        if (shown && !list[i].run) {
            test_note("%s is shown", list[i].name);
            continue;
        }
        regs = (struct code_regs){.rdi = (u64)page, .rsi = (u64)page};
        f = code_try(list[i].code, list[i].bytes, &regs);
        CHECK(f.vector == (shown ? -1 : VEC_UD), "%s: shown %d, vector %d", list[i].name, shown,
              f.vector);
        CHECK(f.vector == -1 || f.rip == code_base(), "%s: fault at +%lu", list[i].name,
              f.rip - code_base());
    }
    write_cr4(before);
}

/* What is shown has its MSRs. */
static void msrs(void)
{
    static const struct {
        const char *name;
        u32 leaf;
        enum reg reg;
        u8 bit;
        u32 msr;
    } list[] = {
        {"MCA",        1,          EDX, 14, 0x179               },
        {"MTRR",       1,          EDX, 12, 0xfe                },
        {"MTRR",       1,          EDX, 12, 0x2ff               },
        {"PAT",        1,          EDX, 16, MSR_IA32_PAT        },
        {"APIC",       1,          EDX, 9,  MSR_IA32_APIC_BASE  },
        {"SEP",        1,          EDX, 11, MSR_IA32_SYSENTER_CS},
        {"TSC",        1,          EDX, 4,  MSR_IA32_TSC        },
        {"RDTSCP",     0x80000001, EDX, 27, MSR_IA32_TSC_AUX    },
        {"SYSCALL",    0x80000001, EDX, 11, MSR_IA32_LSTAR      },
        {"TSC_ADJUST", 7,          EBX, 1,  0x3b                },
        {"deadline",   1,          ECX, 24, 0x6e0               },
        {"x2APIC",     1,          ECX, 21, MSR_IA32_APIC_BASE  },
        {"ARCH_CAPS",  7,          EDX, 29, 0x10a               },
        {"SPEC_CTRL",  7,          EDX, 26, 0x48                },
        {"VMX",        1,          ECX, 5,  0x480               },
    };

    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        if (feature(list[i].leaf, 0, list[i].reg, list[i].bit)) {
            struct fault f = TRY("rdmsr", : : "c"(list[i].msr) : "rax", "rdx", "memory");

            CHECK(f.vector == -1, "%s is shown; MSR %x: vector %d", list[i].name, list[i].msr,
                  f.vector);
        }
    }
}

static void xsetbv(u64 value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}

#define XSAVE_AREA_BYTES 16384
#define XSTATE_CHECKED   (FIELD(7, 0) & ~FIELD(4, 3)) /* components that hold any bytes */

/* A state restored and saved again is the same, component by component. */
static void xsave_roundtrip(u64 xcr0)
{
    u8 *from = (u8 *)page_alloc(XSAVE_AREA_BYTES, PAGE_SIZE);
    u8 *to = (u8 *)page_alloc(XSAVE_AREA_BYTES, PAGE_SIZE);
    u64 seed = 0x1234567 + xcr0, mask = xcr0 & XSTATE_CHECKED;

    memset(from, 0, XSAVE_AREA_BYTES);
    memset(to, 0, XSAVE_AREA_BYTES);
    for (u32 c = 1; c < 63; c++) {
        struct cpuid r = cpuid(0xd, c);

        for (u32 i = 0; mask >> c & 1 && i < (c == 1 ? 256 : r.eax); i++) {
            from[(c == 1 ? 160 : r.ebx) + i] = (u8)test_random(&seed);
        }
    }
    *(u16 *)from = 0x037f;                       /* FCW */
    *(u32 *)(from + 24) = 0x1f80;                /* MXCSR */
    *(u64 *)(from + 32) = 0x8123456789abcdefull; /* ST0, an ordinary number */
    *(u16 *)(from + 40) = 0x3fff;
    from[4] = 1; /* and not empty */
    *(u64 *)(from + 512) = mask;
    __asm__ volatile("xrstor64 %0"
                     :
                     : "m"(*(u8(*)[XSAVE_AREA_BYTES])from), "a"((u32)mask), "d"((u32)(mask >> 32)));
    __asm__ volatile("xsave64 %0"
                     : "=m"(*(u8(*)[XSAVE_AREA_BYTES])to)
                     : "a"((u32)mask), "d"((u32)(mask >> 32)));
    CHECK_EQ_AT(*(u64 *)(to + 512), mask, "XSTATE_BV with XCR0 %lx", xcr0);
    CHECK(!memcmp(from + 32, to + 32, 10), "ST0 with XCR0 %lx", xcr0);
    for (u32 c = 1; c < 63; c++) {
        struct cpuid r = cpuid(0xd, c);
        u32 offset = c == 1 ? 160 : r.ebx;

        if (mask >> c & 1) {
            CHECK(!memcmp(from + offset, to + offset, c == 1 ? 256 : r.eax),
                  "component %u of %u bytes at %u with XCR0 %lx", c, r.eax, offset, xcr0);
        }
    }
    __asm__ volatile("fninit");
}

static void xsave(void)
{
    struct cpuid d = cpuid(0xd, 0);
    u64 supported = d.eax | (u64)d.edx << 32, before = read_cr4(),
        sets[] = {1, 3, 7, 0xe7, supported};

    if (!feature(1, 0, ECX, 26)) {
        struct fault f = TRY("xgetbv", : : "c"(0) : "rax", "rdx");

        CHECK_FAULT(f, VEC_UD);
        return;
    }
    print("XCR0 may hold %lx, %u bytes\n", supported, d.ecx);
    CHECK((supported & 3) == 3, "x87 and SSE: %lx", supported);
    CHECK(!!(supported & 4) == feature(1, 0, ECX, 28), "AVX in both places");
    CHECK(!!(supported & 0xe0) == feature(7, 0, EBX, 16), "AVX-512 in both places");
    write_cr4(before | CR4_OSXSAVE | CR4_OSFXSR | CR4_OSXMMEXCPT);
    for (u32 c = 2; c < 63; c++) {
        struct cpuid r = cpuid(0xd, c);

        if (supported >> c & 1) {
            CHECK(r.eax && r.ebx >= 576 && r.ebx + r.eax <= d.ecx, "component %u: %u at %u of %u",
                  c, r.eax, r.ebx, d.ecx);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        if ((sets[i] & supported) == sets[i] && d.ecx <= XSAVE_AREA_BYTES) {
            u32 lo, hi;

            xsetbv(sets[i]);
            __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
            CHECK_EQ_AT(lo | (u64)hi << 32, sets[i], "XCR0");
            CHECK(cpuid(0xd, 0).ebx <= d.ecx && cpuid(0xd, 0).ebx >= 576, "XCR0 %lx: %u bytes",
                  sets[i], cpuid(0xd, 0).ebx);
            xsave_roundtrip(sets[i]);
        }
    }
    xsetbv(1);
    CHECK_EQ(cpuid(0xd, 0).ebx, 576);
    xsetbv(supported);
    CHECK_EQ(cpuid(0xd, 0).ebx, d.ecx);
    xsetbv(3);
    write_cr4(before);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"leaves",     leaves    },
        {"hypervisor", hypervisor},
        {"cr4",        cr4       },
        {"dynamic",    dynamic   },
        {"hidden",     hidden    },
        {"msrs",       msrs      },
        {"xsave",      xsave     },
    };

    test_all("cpuid", tests, ARRAY_SIZE(tests));
}
