/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers: those that a guest may use keep their values and have their effect;
 * values that no CPU takes give #GP(0), and so does every register that is not there.
 */
#include "guests/lib/boot.h"
#include "guests/lib/code.h"
#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define NON_CANONICAL 0x0000800000000000ull

static bool has_rdtscp(void)
{
    return cpuid(0x80000001, 0).edx >> 27 & 1 || (cpuid(7, 0).ecx >> 22 & 1);
}

/* Written values are read back, and the old one is there again afterwards. */
static void keep(void)
{
    static const struct {
        u32 msr;
        const char *name;
        u64 values[3];
    } list[] = {
        {MSR_IA32_SYSENTER_CS,    "SYSENTER_CS",  {0, 0x10, 0xfff8}                                           },
        {MSR_IA32_SYSENTER_ESP,   "SYSENTER_ESP", {0, 0x7fffffffffff, 0xffff800000000000}                     },
        {MSR_IA32_SYSENTER_EIP,   "SYSENTER_EIP", {0, 0x123456789abc, 0xffffffffffffffff}                     },
        {MSR_IA32_STAR,           "STAR",         {0, 0x0023001000000000, 0xffffffffffffffff}                 },
        {MSR_IA32_LSTAR,          "LSTAR",        {0, 0x00007fffffffffff, 0xffff800000000000}                 },
        {MSR_IA32_CSTAR,          "CSTAR",        {0, 0x0000123456789abc, 0xffffffff80000000}                 },
        {MSR_IA32_FMASK,          "FMASK",        {0, 0x200, 0x47700}                                         },
        {MSR_IA32_FS_BASE,        "FS_BASE",      {0x1000, 0x00007fffffffffff, 0xffff800000000000}            },
        {MSR_IA32_GS_BASE,        "GS_BASE",      {0x2000, 0x0000700000000000, 0xffffffffffffffff}            },
        {MSR_IA32_KERNEL_GS_BASE,
         "KERNEL_GS_BASE",                        {0x3000, 0x0000600000000000, 0xffff900000000000}            },
        {MSR_IA32_PAT,            "PAT",          {0x0007040600070406, 0x0606060606060606, 0x0105040007060504}},
    };
    u64 before, got;

    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        struct fault f = try_rdmsr(list[i].msr, &before);

        CHECK_EQ_AT(f.vector, -1, "reading %s", list[i].name);
        for (u32 v = 0; v < 3; v++) {
            f = try_wrmsr(list[i].msr, list[i].values[v]);
            CHECK_EQ_AT(f.vector, -1, "writing %lx to %s", list[i].values[v], list[i].name);
            got = rdmsr(list[i].msr);
            CHECK_EQ_AT(got, list[i].values[v], "%s", list[i].name);
        }
        wrmsr(list[i].msr, before);
        CHECK_EQ_AT(rdmsr(list[i].msr), before, "%s restored", list[i].name);
    }
    if (has_rdtscp()) {
        u32 aux;

        before = rdmsr(MSR_IA32_TSC_AUX);
        wrmsr(MSR_IA32_TSC_AUX, 0x89abcdef);
        CHECK_EQ(rdmsr(MSR_IA32_TSC_AUX), 0x89abcdef);
        if (cpuid(0x80000001, 0).edx >> 27 & 1) {
            __asm__ volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
            CHECK_EQ(aux, 0x89abcdef);
        }
        wrmsr(MSR_IA32_TSC_AUX, before);
    } else {
        CHECK_EQ(try_rdmsr(MSR_IA32_TSC_AUX, &before).vector, VEC_GP);
    }
}

static void expect_gp(u32 msr, u64 value, const char *what)
{
    u64 before, after;
    struct fault f;

    try_rdmsr(msr, &before);
    f = try_wrmsr(msr, value);
    try_rdmsr(msr, &after);
    CHECK(f.vector == VEC_GP && f.has_error && f.error == 0,
          "%s: writing %lx to %x: vector %d error %lx", what, value, msr, f.vector, f.error);
    CHECK_EQ_AT(after, before, "%s: %x after that", what, msr);
}

static void non_canonical(void)
{
    static const u32 list[] = {MSR_IA32_SYSENTER_ESP,  MSR_IA32_SYSENTER_EIP, MSR_IA32_LSTAR,
                               MSR_IA32_CSTAR,         MSR_IA32_FS_BASE,      MSR_IA32_GS_BASE,
                               MSR_IA32_KERNEL_GS_BASE};

    if (cpu_is_tcg()) {
        test_skip("non-canonical: QEMU TCG takes any value");
        return;
    }
    /* AMD's have no SYSENTER in long mode, and take any value for it */
    for (size_t i = cpu_is_amd() ? 2 : 0; i < ARRAY_SIZE(list); i++) {
        expect_gp(list[i], NON_CANONICAL, "not canonical");
        expect_gp(list[i], 0xffff7fffffffffff, "not canonical");
        expect_gp(list[i], 0x8000000000000000, "not canonical");
    }
}

static void efer(void)
{
    u64 before = rdmsr(MSR_IA32_EFER);

    CHECK_EQ(before & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
    wrmsr(MSR_IA32_EFER, before | EFER_SCE);
    CHECK_EQ(rdmsr(MSR_IA32_EFER), before | EFER_SCE);
    wrmsr(MSR_IA32_EFER, before & ~EFER_SCE);
    CHECK_EQ(rdmsr(MSR_IA32_EFER), before & ~EFER_SCE);
    if (cpuid(0x80000001, 0).edx >> 20 & 1) {
        wrmsr(MSR_IA32_EFER, before & ~EFER_NXE);
        CHECK_EQ(rdmsr(MSR_IA32_EFER), before & ~EFER_NXE);
        wrmsr(MSR_IA32_EFER, before | EFER_NXE);
        CHECK_EQ(rdmsr(MSR_IA32_EFER), before | EFER_NXE);
    }
    wrmsr(MSR_IA32_EFER, before & ~EFER_LMA); /* read-only: ignored */
    CHECK_EQ(rdmsr(MSR_IA32_EFER), before);
    if (on_tcg()) {
        return; /* it ignores reserved bits instead of raising #GP */
    }
    expect_gp(MSR_IA32_EFER, before & ~EFER_LME, "LME cleared while paging is on");
    for (u32 bit = 1; bit < 64; bit++) {
        bool amd = bit >= 12 && bit <= 18; /* SVME and the like: shown or not, not ours to say */

        if (bit != 8 && bit != 10 && bit != 11 && !(amd && !on_socle())) {
            expect_gp(MSR_IA32_EFER, before ^ BIT(bit), "reserved bit of EFER");
        }
    }
    CHECK_EQ(rdmsr(MSR_IA32_EFER), before);
}

static void pat(void)
{
    static const u8 good[] = {0, 1, 4, 5, 6, 7};
    u64 before = rdmsr(MSR_IA32_PAT);

    for (u32 entry = 0; entry < 8; entry++) {
        for (u32 type = 0; type < 256; type += type < 8 ? 1 : 31) {
            u64 value = (before & ~(0xffull << entry * 8)) | (u64)type << entry * 8;
            bool ok = false;

            for (size_t i = 0; i < sizeof(good); i++) {
                ok |= type == good[i];
            }
            if (ok) {
                CHECK_EQ_AT(try_wrmsr(MSR_IA32_PAT, value).vector, -1, "PAT %lx", value);
                CHECK_EQ_AT(rdmsr(MSR_IA32_PAT), value, "PAT");
                wrmsr(MSR_IA32_PAT, before);
            } else if (!on_tcg()) {
                expect_gp(MSR_IA32_PAT, value, "PAT type");
            }
        }
    }
    CHECK_EQ(rdmsr(MSR_IA32_PAT), before);
}

static void absent(void)
{
    static const u32 list[] = {
        0x2,        0x3,        0x5f,       0x95,       0x480,      0x481,      0x485,
        0x48b,      0x491,      0x500,      0x1a6,      0x309,      0x38f,      0x570,
        0x1fff,     0x2000,     0x10000,    0x3fffffff, 0x400000f0, 0x40000200, 0x80000000,
        0xbfffffff, 0xc0000010, 0xc0000090, 0xc0000105, 0xc0010015, 0xc0010114, 0xc0010117,
        0xc0011029, 0xc0020000, 0xdeadbeef, 0xffffffff,
    };
    u64 value;

    if (!on_socle()) {
        test_skip("absent: which MSRs another machine has is unknown");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        struct fault f = try_rdmsr(list[i], &value);

        CHECK(f.vector == VEC_GP && f.error == 0, "reading %x: vector %d, error %lx", list[i],
              f.vector, f.error);
        f = try_wrmsr(list[i], 0);
        CHECK(f.vector == VEC_GP && f.error == 0, "writing %x: vector %d, error %lx", list[i],
              f.vector, f.error);
    }
}

/* RDMSR clears the high halves of RAX and RDX; WRMSR ignores them, and that of RCX. */
static void halves(void)
{
    u64 rax = ~0ull, rdx = ~0ull, before = rdmsr(MSR_IA32_KERNEL_GS_BASE);

    __asm__ volatile("rdmsr" : "+a"(rax), "+d"(rdx) : "c"(0xffffffff00000000ull | MSR_IA32_STAR));
    CHECK(!(rax >> 32) && !(rdx >> 32), "rax %lx rdx %lx", rax, rdx);
    __asm__ volatile("wrmsr"
                     :
                     : "a"(0xdeadbeef00001000ull), "d"(0xdeadbeef00000001ull),
                       "c"(0x5555555500000000ull | MSR_IA32_KERNEL_GS_BASE));
    CHECK_EQ(rdmsr(MSR_IA32_KERNEL_GS_BASE), 0x100001000);
    wrmsr(MSR_IA32_KERNEL_GS_BASE, before);
}

/* The bases are those that addressing uses; SWAPGS exchanges the two. */
static void bases(void)
{
    u64 *page = page_zeroed(), got, fs = rdmsr(MSR_IA32_FS_BASE), gs = rdmsr(MSR_IA32_GS_BASE);
    u64 other = rdmsr(MSR_IA32_KERNEL_GS_BASE);

    page[0] = 0x1111;
    page[1] = 0x2222;
    wrmsr(MSR_IA32_FS_BASE, (u64)page);
    __asm__ volatile("mov %%fs:0, %0" : "=r"(got));
    CHECK_EQ(got, 0x1111);
    wrmsr(MSR_IA32_GS_BASE, (u64)page);
    wrmsr(MSR_IA32_KERNEL_GS_BASE, (u64)page + 8);
    __asm__ volatile("mov %%gs:0, %0" : "=r"(got));
    CHECK_EQ(got, 0x1111);
    __asm__ volatile("swapgs; mov %%gs:0, %0" : "=r"(got));
    CHECK_EQ(got, 0x2222);
    CHECK_EQ(rdmsr(MSR_IA32_GS_BASE), (u64)page + 8);
    CHECK_EQ(rdmsr(MSR_IA32_KERNEL_GS_BASE), (u64)page);
    (void)cpuid(0, 0); /* an exit in between changes neither */
    CHECK_EQ(rdmsr(MSR_IA32_GS_BASE), (u64)page + 8);
    CHECK_EQ(rdmsr(MSR_IA32_KERNEL_GS_BASE), (u64)page);
    __asm__ volatile("swapgs");
    wrmsr(MSR_IA32_FS_BASE, fs);
    wrmsr(MSR_IA32_GS_BASE, gs);
    wrmsr(MSR_IA32_KERNEL_GS_BASE, other);
}

static void tsc(void)
{
    u64 a = rdtsc(), b = rdmsr(MSR_IA32_TSC), c = rdtsc();

    if (on_tcg()) {
        test_skip("tsc: QEMU TCG has no such MSR");
        return;
    }
    CHECK(a <= b && b <= c, "rdtsc %lu, rdmsr %lu, rdtsc %lu", a, b, c);
    if (try_wrmsr(MSR_IA32_TSC, c + (1ull << 40)).vector == -1) {
        u64 d = rdtsc();

        CHECK(d > c + (1ull << 40) && d < c + (1ull << 40) + (1ull << 36),
              "%lu, %lu after the write", c, d);
        wrmsr(MSR_IA32_TSC, c);
    }
    if (cpuid(7, 0).ebx & BIT(1)) {
        u64 adjust = rdmsr(MSR_IA32_TSC_ADJUST), before = rdtsc(), after;

        wrmsr(MSR_IA32_TSC_ADJUST, adjust + (1ull << 50));
        after = rdtsc();
        CHECK(after - before - (1ull << 50) < 1ull << 36, "%lu, %lu after TSC_ADJUST", before,
              after);
        CHECK_EQ(rdmsr(MSR_IA32_TSC_ADJUST), adjust + (1ull << 50));
        wrmsr(MSR_IA32_TSC, rdtsc() - (1ull << 50)); /* which is told there */
        after = adjust - rdmsr(MSR_IA32_TSC_ADJUST);
        CHECK(after < 1ull << 36, "TSC_ADJUST %lx before, lower by %lx", adjust, after);
        wrmsr(MSR_IA32_TSC_ADJUST, adjust);
    }
}

/* SYSCALL from ring 3 takes CS, SS, RIP and RFLAGS from where the MSRs say. */
/* written by syscall_target */
extern volatile u64 syscall_cs, syscall_ss, syscall_rflags, syscall_rcx, syscall_r11, stack_syscall;
volatile u64 syscall_cs, syscall_ss, syscall_rflags, syscall_rcx, syscall_r11, stack_syscall;

extern u8 syscall_target[];
__asm__("syscall_target:\n"
        "    mov %cs, syscall_cs\n"
        "    mov %ss, syscall_ss\n"
        "    mov %rcx, syscall_rcx\n"
        "    mov %r11, syscall_r11\n"
        "    mov stack_syscall, %rsp\n"
        "    pushfq\n"
        "    pop syscall_rflags\n"
        "    mov $0x123, %eax\n"
        "    sysretq\n");

static void syscalls(void)
{
    /* syscall; int 0x80 */
    static const u8 code[] = {0x0f, 0x05, 0xcd, 0x80};
    u64 before = rdmsr(MSR_IA32_EFER);
    struct trap_frame regs;
    struct fault f;

    f = user_run(code, sizeof(code), 0, 0, NULL);
    CHECK_FAULT(f, VEC_UD); /* SCE is off */
    stack_syscall = page_alloc(PAGE_SIZE, PAGE_SIZE) + PAGE_SIZE;
    wrmsr(MSR_IA32_EFER, before | EFER_SCE);
    wrmsr(MSR_IA32_STAR, (u64)(SEL_USER_DATA - 8) << 48 | (u64)SEL_CODE64 << 32);
    wrmsr(MSR_IA32_LSTAR, (u64)syscall_target);
    wrmsr(MSR_IA32_FMASK, RFLAGS_DF | RFLAGS_IF);
    f = user_run(code, sizeof(code), 0, RFLAGS_DF | RFLAGS_ID, &regs);
    CHECK_FAULT(f, 0x80);
    CHECK_EQ(regs.rax, 0x123);
    CHECK_EQ(syscall_cs, SEL_CODE64);
    CHECK_EQ(syscall_ss, SEL_CODE64 + 8);
    CHECK_EQ(syscall_rcx, f.rip - 2);
    CHECK_EQ(syscall_r11 & (RFLAGS_DF | RFLAGS_ID), RFLAGS_DF | RFLAGS_ID);
    CHECK_EQ(syscall_rflags & (RFLAGS_DF | RFLAGS_ID), RFLAGS_ID);
    wrmsr(MSR_IA32_EFER, before);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"keep",          keep         },
        {"non-canonical", non_canonical},
        {"efer",          efer         },
        {"pat",           pat          },
        {"absent",        absent       },
        {"halves",        halves       },
        {"bases",         bases        },
        {"tsc",           tsc          },
        {"syscalls",      syscalls     },
    };

    test_all("msr", tests, ARRAY_SIZE(tests));
}
