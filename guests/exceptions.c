/* SPDX-License-Identifier: MIT */
/*
 * Exceptions: every one that can be reached, with its error code and the RIP it leaves, what
 * happens when its delivery fails, when the stack it is delivered to has never been touched, and
 * single-stepping over instructions that leave the guest. External interrupts and NMIs are in
 * interrupts.c.
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
#define UNMAPPED      (MAP_AREA + 0x10000000)
#define DR6_BS        BIT(14)
#define DR6_BD        BIT(13)

/* INT n reaches every vector, never with an error code, and leaves RIP behind it. */
static void software(void)
{
    for (u32 v = 0; v < 256; v++) {
        const u8 code[] = {0xcd, (u8)v};
        struct fault f = code_try(code, sizeof(code), NULL);

        CHECK(f.vector == (int)v && !f.has_error && f.rip == code_base() + 2,
              "int %x: vector %d, error code %d, rip +%lu", v, f.vector, f.has_error,
              f.rip - code_base());
    }
}

static void check_fault(const char *name, struct fault f, int vector, bool has_error, u64 error,
                        u64 rip)
{
    CHECK(f.vector == vector && f.has_error == has_error && f.error == error &&
              f.rip - code_base() == rip,
          "%s: vector %d (%d) error %d:%lx (%d:%lx) rip +%lx (+%lx)", name, f.vector, vector,
          f.has_error, f.error, has_error, error, f.rip - code_base(), rip);
}

static void simple(void)
{
    static const struct {
        const char *name;
        u8 code[12];
        u8 bytes;
        u8 vector;
        bool has_error, compat;
        u16 error;
        u8 rip; /* offset that it leaves */
    } list[] = {
        {"div by zero",           {0x31, 0xc9, 0xf7, 0xf1},          4, VEC_DE, false, false, 0,    2},
        {"icebp",                 {0xf1},                            1, VEC_DB, false, false, 0,    1},
        {"int3",                  {0xcc},                            1, VEC_BP, false, false, 0,    1},
        {"into in compat mode",   {0xb0, 0x7f, 0x04, 0x01, 0xce},    5, VEC_OF, false, true,  0,    5},
        {"into in 64-bit mode",   {0xce},                            1, VEC_UD, false, false, 0,    0},
        {"bound in compat mode",  {0x62, 0x06},                      2, VEC_BR, false, true,  0,    0},
        {"ud2",                   {0x0f, 0x0b},                      2, VEC_UD, false, false, 0,    0},
        {"lock nop",              {0xf0, 0x90},                      2, VEC_UD, false, false, 0,    0},
        {"mov ds, not present",   {0xb8, 0x40, 0, 0, 0, 0x8e, 0xd8}, 7, VEC_NP, true,  false, 0x40, 5},
        {"mov ss, not present",   {0xb8, 0x40, 0, 0, 0, 0x8e, 0xd0}, 7, VEC_SS, true,  false, 0x40, 5},
        {"mov ds, behind GDT",
         {0xb8, 0xf8, 0xff, 0, 0, 0x8e, 0xd8},
         7,                                                             VEC_GP,
         true,                                                                         false,
         0xfff8,                                                                                    5},
        {"mov ss, 0 in compat",   {0x31, 0xc0, 0x8e, 0xd0},          4, VEC_GP, true,  true,  0,    2},
        {"mov cs",                {0x8e, 0xc8},                      2, VEC_UD, false, false, 0,    0},
        {"read not canonical",    {0x48, 0x8b, 0x07},                3, VEC_GP, true,  false, 0,    0},
        {"stack not canonical",   {0x48, 0x8b, 0x04, 0x3c},          4, VEC_SS, true,  false, 0,    0},
        {"ltr of a data segment",
         {0xb8, 0x10, 0, 0, 0, 0x0f, 0x00, 0xd8},
         8,                                                             VEC_GP,
         true,                                                                         false,
         0x10,                                                                                      5},
        {"mov dr4 with CR4.DE",   {0x0f, 0x21, 0xe0},                3, VEC_UD, false, false, 0,    0},
    };
    static u32 bounds[2] ALIGNED(8) = {5, 9};
    u64 cr4 = read_cr4();

    write_cr4(cr4 | CR4_DE);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        struct code_regs regs = {.rdi = NON_CANONICAL, .rsi = (u64)bounds};
        u8 code[16];
        u32 bytes = list[i].bytes;

        if (cpu_is_tcg() &&
            (list[i].vector == VEC_DB || (!list[i].error && list[i].vector == VEC_SS))) {
            continue; /* it does not know ICEBP, and takes [rsp + rdi] for a #GP */
        }
        memcpy(code, list[i].code, bytes);
        struct fault f = (list[i].compat ? code_try32 : code_try)(code, bytes, &regs);
        if (f.rip != code_base() + list[i].rip) {
            /* An emulator of several CPUs was seen to push the RIP behind a faulting instruction
             * when a kick from another CPU came with it, and no exit near. What is wrong with a
             * hypervisor is wrong again. */
            f = (list[i].compat ? code_try32 : code_try)(code, bytes, &regs);
        }
        check_fault(list[i].name, f, list[i].vector, list[i].has_error, list[i].error, list[i].rip);
    }
    write_cr4(cr4);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SEL_DATA));
}

static void fpu(void)
{
    static const u16 unmasked = 0x037b; /* division by zero */
    static const u32 mxcsr_unmasked = 0x1d80, mxcsr = 0x1f80;
    u64 cr0 = read_cr0(), cr4 = read_cr4();

    write_cr0(cr0 | CR0_TS);
    check_fault("fninit with TS", code_try(CODE(0xdb, 0xe3), NULL), VEC_NM, false, 0, 0);
    check_fault("fwait with TS", code_try(CODE(0x9b), NULL), VEC_NM, false, 0, 0);
    __asm__ volatile("clts");
    CHECK_EQ(read_cr0(), cr0);
    write_cr0(cr0 | CR0_EM);
    check_fault("fninit with EM", code_try(CODE(0xdb, 0xe3), NULL), VEC_NM, false, 0, 0);
    write_cr0(cr0);
    __asm__ volatile("fninit; fldcw %0" : : "m"(unmasked));
    /* fld1; fldz; fdivp; fwait: the exception comes at the next x87 instruction */
    check_fault("x87 division by zero",
                code_try(CODE(0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b), NULL), VEC_MF, false, 0,
                6);
    __asm__ volatile("fninit");
    write_cr4(cr4 | CR4_OSFXSR | CR4_OSXMMEXCPT);
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr_unmasked));
    /* mov eax, 1; cvtsi2ss xmm0, eax; xorps xmm1, xmm1; divss xmm0, xmm1 */
    if (!cpu_is_tcg()) {
        check_fault("SSE division by zero",
                    code_try(CODE(0xb8, 1, 0, 0, 0, 0xf3, 0x0f, 0x2a, 0xc0, 0x0f, 0x57, 0xc9, 0xf3,
                                  0x0f, 0x5e, 0xc1),
                             NULL),
                    VEC_XM, false, 0, 12);
    }
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    write_cr4(cr4 & ~CR4_OSFXSR);
    check_fault("SSE without OSFXSR", code_try(CODE(0x0f, 0x57, 0xc9), NULL), VEC_UD, false, 0, 0);
    write_cr4(cr4);
}

static void alignment(void)
{
    /* mov rax, [rsp - 15]; int 0x80 */
    static const u8 code[] = {0x48, 0x8b, 0x44, 0x24, 0xf1, 0xcd, 0x80};
    u64 cr0 = read_cr0();
    struct fault f = user_run(code, sizeof(code), 0, RFLAGS_AC, NULL);

    CHECK_FAULT(f, 0x80);
    if (cpu_is_tcg()) {
        return; /* it has no alignment check */
    }
    write_cr0(cr0 | CR0_AM);
    f = user_run(code, sizeof(code), 0, RFLAGS_AC, NULL);
    CHECK_FAULT(f, VEC_AC);
    CHECK(f.has_error && f.error == 0, "error code %d: %lx", f.has_error, f.error);
    f = user_run(code, sizeof(code), 0, 0, NULL);
    CHECK_FAULT(f, 0x80);
    write_cr0(cr0);
}

static void page_faults(void)
{
    u64 page = (u64)page_zeroed();
    bool nx = rdmsr(MSR_IA32_EFER) & EFER_NXE;
    struct fault f;

    pte_set(UNMAPPED, 1, 0);
    f = TRY("movb (%0), %%al", : : "r"(UNMAPPED + 5) : "rax");
    CHECK(f.vector == VEC_PF && f.error == 0 && f.cr2 == UNMAPPED + 5, "read: %d %lx %lx", f.vector,
          f.error, f.cr2);
    f = TRY("movq %%rax, (%0)", : : "r"(UNMAPPED + PAGE_SIZE - 8));
    CHECK(f.vector == VEC_PF && f.error == PF_WRITE && f.cr2 == UNMAPPED + PAGE_SIZE - 8,
          "write: %d %lx %lx", f.vector, f.error, f.cr2);
    f = TRY("call *%0", : : "r"(UNMAPPED + 0x123));
    CHECK(f.vector == VEC_PF && f.error == (nx ? PF_FETCH : 0) && f.cr2 == UNMAPPED + 0x123 &&
              f.rip == UNMAPPED + 0x123,
          "fetch: %d %lx %lx at %lx", f.vector, f.error, f.cr2, f.rip);
    pte_set(UNMAPPED, 1, page | PTE_P);
    f = TRY("movb $1, (%0)", : : "r"(UNMAPPED));
    CHECK(f.vector == VEC_PF && f.error == (PF_WRITE | PF_PRESENT), "read-only: %d %lx", f.vector,
          f.error);
    if (nx) {
        pte_set(UNMAPPED, 1, page | PTE_P | PTE_NX);
        f = TRY("call *%0", : : "r"(UNMAPPED));
        CHECK(f.vector == VEC_PF && f.error == (PF_FETCH | PF_PRESENT), "no execution: %d %lx",
              f.vector, f.error);
    }
    if (phys_bits() < 52) {
        pte_set(UNMAPPED, 1, page | PTE_P | PTE_W | BIT(51));
        f = TRY("movb (%0), %%al", : : "r"(UNMAPPED) : "rax");
        CHECK(f.vector == VEC_PF &&
                  (f.error | (cpu_is_tcg() ? PF_PRESENT : 0)) == (PF_RSVD | PF_PRESENT),
              "reserved bit: %d %lx", f.vector, f.error);
    }
    pte_set(UNMAPPED, 1, 0);
}

/* --- delivery that fails --- */

static u8 twin_pages[3 * PAGE_SIZE] ALIGNED(4096);

/* An IDT of which vectors from 0x40 on lie on a page of their own. */
static struct idt_gate *split_idt(struct table_pointer *p)
{
    struct idt_gate *gates =
        (struct idt_gate *)(twin_pages + PAGE_SIZE - 0x40 * sizeof(struct idt_gate));

    memcpy(gates, idt, sizeof(idt));
    *p = (struct table_pointer){sizeof(idt) - 1, (u64)gates};
    return gates;
}

/* The error code that names an IDT entry. QEMU TCG counts entries of 8 bytes, twice as many. */
static u64 idt_error(u64 vector)
{
    return vector * (cpu_is_tcg() ? 16 : 8) + 2;
}

static void gates(void)
{
    struct table_pointer p, half = {0x40 * 16 - 1, (u64)idt};
    struct idt_gate *g = split_idt(&p);
    u64 second = (u64)(twin_pages + PAGE_SIZE), entry;
    struct fault f;

    idt[0x50].type = 0x0e; /* not present */
    check_fault("gate not present", code_try(CODE(0xcd, 0x50), NULL), VEC_NP, true, idt_error(0x50),
                0);
    trap_reset_gate(0x50);
    idt[0x50].selector = SEL_DATA;
    check_fault("gate to data", code_try(CODE(0xcd, 0x50), NULL), VEC_GP, true, SEL_DATA, 0);
    trap_reset_gate(0x50);
    __asm__ volatile("lidt %0" : : "m"(half));
    f = code_try(CODE(0xcd, 0x50), NULL);
    __asm__ volatile("lidt %0" : : "m"(idt_pointer));
    check_fault("behind the IDT", f, VEC_GP, true, idt_error(0x50), 0);
    entry = *pte_at(second, 1);
    __asm__ volatile("lidt %0" : : "m"(p));
    pte_set(second, 1, 0);
    f = code_try(CODE(0xcd, 0x50), NULL);
    pte_set(second, 1, entry);
    check_fault("IDT page not present", f, VEC_PF, true, 0, 0);
    CHECK_EQ(f.cr2, (u64)&g[0x50]);
    f = code_try(CODE(0xcd, 0x50), NULL);
    CHECK_FAULT(f, 0x50);
    __asm__ volatile("lidt %0" : : "m"(idt_pointer));
}

/* mov rsp, rdi; then code, whose delivery finds that stack. */
static struct fault on_stack(u64 rsp, const u8 *code, size_t bytes)
{
    struct code_regs regs = {.rdi = rsp, .rsi = UNMAPPED};
    u8 all[16] = {0x48, 0x89, 0xfc};

    memcpy(all + 3, code, bytes);
    return code_try(all, 3 + bytes, &regs);
}

static void double_faults(void)
{
    u64 bad = UNMAPPED + 0x8000;
    struct fault f;

    pte_set(UNMAPPED, 1, 0);
    f = on_stack(bad, CODE(0x48, 0x8b, 0x06)); /* #PF, and #PF for its stack */
    CHECK(f.vector == VEC_DF && f.has_error && f.error == 0, "#PF on no stack: %d %lx", f.vector,
          f.error);
    f = on_stack(bad, CODE(0x50)); /* a push: the same */
    CHECK_FAULT(f, VEC_DF);
    f = on_stack(bad, CODE(0x8e, 0xdf)); /* #GP, then #PF: a page fault is no reason for #DF here */
    CHECK(f.vector == VEC_DF || f.vector == VEC_PF, "#GP on no stack: %d", f.vector);
    f = on_stack(bad, CODE(0x0f, 0x0b)); /* #UD is benign: the #PF comes, and finds no stack: #DF */
    CHECK_FAULT(f, VEC_DF);
    if (!cpu_is_tcg()) {
        f = on_stack(NON_CANONICAL, CODE(0x0f, 0x0b)); /* #UD, #SS, #DF */
        CHECK_FAULT(f, VEC_DF);
    }
    idt[VEC_NP].type = 0x0e; /* #NP's own gate is not present: #NP, #NP, #DF */
    f = code_try(CODE(0xb8, 0x40, 0, 0, 0, 0x8e, 0xd8), NULL);
    CHECK_FAULT(f, VEC_DF);
    trap_reset_gate(VEC_NP);
    idt[VEC_DE].type = 0x0e; /* #DE, #NP: both contributory */
    f = code_try(CODE(0x31, 0xc9, 0xf7, 0xf1), NULL);
    CHECK_FAULT(f, VEC_DF);
    trap_reset_gate(VEC_DE);
    idt[VEC_UD].type = 0x0e; /* #UD, #NP: one after the other */
    f = code_try(CODE(0x0f, 0x0b), NULL);
    CHECK(f.vector == VEC_NP && (f.error & ~1ull) == idt_error(VEC_UD), "#UD without gate: %d %lx",
          f.vector, f.error);
    trap_reset_gate(VEC_UD);
    idt[VEC_PF].type = 0x0e; /* #PF, #NP: double fault */
    f = TRY("movb (%0), %%al", : : "r"(UNMAPPED) : "rax");
    CHECK_FAULT(f, VEC_DF);
    trap_reset_gate(VEC_PF);
    f = TRY("movb (%0), %%al", : : "r"(UNMAPPED) : "rax");
    CHECK_FAULT(f, VEC_PF);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SEL_DATA));
}

/* Stacks that were never touched: where memory comes lazily, delivery itself takes the EPT
 * violation, and the event must be delivered again, whole. straddle: the frame lies on two such
 * pages. */
static void check_lazy(const char *name, struct fault f, int vector, u64 error, u64 rip)
{
    CHECK(f.vector == vector && f.error == error && f.rip - code_base() == rip,
          "%s: vector %d (%d) error %lx (%lx) rip +%lx (+%lx)", name, f.vector, vector, f.error,
          error, f.rip - code_base(), rip);
}

static void lazy_stacks(void)
{
    static const struct {
        const char *name;
        u8 code[8];
        u8 bytes, vector, rip;
        u16 error;
    } list[] = {
        {"int3",                {0xcc},                               1, VEC_BP, 1, 0     },
        {"int 0x60",            {0xcd, 0x60},                         2, 0x60,   2, 0     },
        {"icebp",               {0xf1},                               1, VEC_DB, 1, 0     },
        {"ud2",                 {0x0f, 0x0b},                         2, VEC_UD, 0, 0     },
        {"div",                 {0x31, 0xc9, 0xf7, 0xf1},             4, VEC_DE, 2, 0     },
        {"mov ds, behind GDT",  {0xb8, 0xf8, 0xff, 0, 0, 0x8e, 0xd8}, 7, VEC_GP, 5, 0xfff8},
        {"mov ds, not present", {0xb8, 0x40, 0, 0, 0, 0x8e, 0xd8},    7, VEC_NP, 5, 0x40  },
        {"#PF",                 {0x88, 0x06},                         2, VEC_PF, 0, 2     },
    };

    pte_set(UNMAPPED, 1, 0);
    for (u32 straddle = 0; straddle < 3; straddle++) {
        for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
            u64 fresh = page_alloc(3 * PAGE_SIZE, PAGE_SIZE);
            u64 top = straddle == 0 ? fresh + 3 * PAGE_SIZE : fresh + 2 * PAGE_SIZE + 16 * straddle;
            struct code_regs regs = {.rsi = UNMAPPED + 0x77};
            struct fault f;

            if (cpu_is_tcg() && list[i].vector == VEC_DB) {
                continue;
            }
            trap_set_ist(list[i].vector, 3, top);
            f = code_try(list[i].code, list[i].bytes, &regs);
            trap_set_ist(list[i].vector, 0, 0);
            check_lazy(list[i].name, f, list[i].vector, list[i].error, list[i].rip);
            if (list[i].vector == VEC_PF) {
                CHECK_EQ(f.cr2, UNMAPPED + 0x77);
            }
        }
    }
    for (u32 i = 0; i < 2; i++) { /* and the double fault's, behind a #PF that found no stack */
        u64 fresh = page_alloc(2 * PAGE_SIZE, PAGE_SIZE), before = tss.ist[0];
        struct fault f;

        trap_set_ist(VEC_DF, 1, i ? fresh + PAGE_SIZE + 16 : fresh + 2 * PAGE_SIZE);
        f = on_stack(UNMAPPED + 0x8000, CODE(0x50));
        trap_set_ist(VEC_DF, 1, before);
        CHECK_FAULT(f, VEC_DF);
        CHECK_EQ(f.error, 0);
    }
    /* the INT of ring 3 switches to a stack of ring 0 that is new */
    u64 before = tss.rsp[0];
    tss.rsp[0] = page_alloc(3 * PAGE_SIZE, PAGE_SIZE) + 2 * PAGE_SIZE + 16;
    struct fault f = user_run(CODE(0xcd, 0x80), 0, 0, NULL);
    tss.rsp[0] = before;
    CHECK_FAULT(f, 0x80);
}

/* --- debug --- */

static struct {
    u32 count;
    u64 rip[16], dr6[16];
} steps;

static bool on_step(struct trap_frame *f)
{
    if (steps.count < ARRAY_SIZE(steps.rip)) {
        steps.rip[steps.count] = f->rip;
        steps.dr6[steps.count] = read_dr6();
    }
    steps.count++;
    write_dr6(0xffff0ff0);
    if (steps.count > 40) {
        f->rflags &= ~RFLAGS_TF;
    }
    return true;
}

/* Steps over one instruction between "popf with TF" and "popf without"; it must trap once, behind
 * it, and once behind the second popf's push. extra: more traps that are due at the instruction
 * itself. */
static void step_over(const char *name, const u8 *insn, u32 bytes, struct code_regs regs, u32 extra)
{
    /* pushfq; or [rsp], 0x100; popfq; INSN; pushfq; and [rsp], ~0x100; popfq; the trap after the
     * last popfq does not come: TF was clear when the next one started */
    static const u8 head[] = {0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d};
    static const u8 tail[] = {0x9c, 0x80, 0x64, 0x24, 0x01, 0xfe, 0x9d};
    u8 code[64];
    u64 insn_at = code_base() + sizeof(head), after = insn_at + bytes;
    u64 want[] = {after, after + 1, after + 6, after + 7};
    trap_handler_t before = trap_handle(VEC_DB, on_step);
    struct fault f;

    memcpy(code, head, sizeof(head));
    memcpy(code + sizeof(head), insn, bytes);
    memcpy(code + sizeof(head) + bytes, tail, sizeof(tail));
    steps.count = 0;
    f = code_try(code, sizeof(head) + bytes + sizeof(tail), &regs);
    trap_handle(VEC_DB, before);
    CHECK_EQ_AT(f.vector, -1, "%s: vector", name);
    CHECK_EQ_AT(steps.count, extra + 4, "%s: traps", name);
    for (u32 i = 0; i < MIN(steps.count, extra + 4); i++) {
        u64 rip = i < extra ? insn_at : want[i - extra];

        CHECK_EQ_AT(steps.rip[i] - code_base(), rip - code_base(), "%s: rip of trap %u", name, i);
        CHECK_EQ_AT(steps.dr6[i] & 0xe00f, DR6_BS, "%s: DR6 of trap %u", name, i);
    }
}

static void single_step(void)
{
    struct code_regs io = {.rdx = 0x3ff}, msr = {.rcx = MSR_IA32_KERNEL_GS_BASE}, none = {0};
    u8 *page = page_zeroed();
    struct code_regs string = {.rdx = 0x3ff, .rcx = 3, .rdi = (u64)page, .rsi = (u64)page};

    step_over("nop", CODE(0x90), none, 0);
    step_over("cpuid", CODE(0x0f, 0xa2), none, 0);
    step_over("in", CODE(0xec), io, 0);
    step_over("out", CODE(0xee), io, 0);
    step_over("in from nowhere", CODE(0xed), (struct code_regs){.rdx = 0x1230}, 0);
    step_over("rdmsr", CODE(0x0f, 0x32), msr, 0);
    step_over("wrmsr", CODE(0x0f, 0x30), msr, 0);
    step_over("rdtsc", CODE(0x0f, 0x31), none, 0);
    step_over("mov to cr0", CODE(0x0f, 0x22, 0xc0), (struct code_regs){.rax = read_cr0()}, 0);
    step_over("mov from cr3", CODE(0x0f, 0x20, 0xd8), none, 0);
    step_over("wbinvd", CODE(0x0f, 0x09), none, 0);
    if (!cpu_is_tcg()) {
        step_over("pause", CODE(0xf3, 0x90), none, 0);
    }
    step_over("insb", CODE(0x6c), string, 0);
    step_over("rep outsb of 3", CODE(0xf3, 0x6e), string, 2);
    step_over("rep insb of 3", CODE(0xf3, 0x6c), string, 2);
    if (on_socle()) {
        step_over("hypercall", CODE(0x0f, 0x01, hypercall_opcode()),
                  (struct code_regs){.rax = 0x77777777}, 0);
    }
}

/* MOV SS and POP SS hold back the trap of their own end; the instruction behind them traps for
 * itself. */
static void step_shadow(void)
{
    struct code_regs io = {.rdx = 0x3ff, .rax = SEL_DATA};
    static const struct {
        const char *name;
        u8 code[4];
        u8 bytes;
    } list[] = {
        {"mov ss; nop",   {0x8e, 0xd0, 0x90},       3},
        {"mov ss; cpuid", {0x8e, 0xd0, 0x0f, 0xa2}, 4},
        {"mov ss; in",    {0x8e, 0xd0, 0xec},       3},
        {"mov ss; rdtsc", {0x8e, 0xd0, 0x0f, 0x31}, 4},
    };

    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        step_over(list[i].name, list[i].code, list[i].bytes, io, 0);
    }
}

static void breakpoints(void)
{
    static volatile u64 watched;
    u64 dr7 = 0x400;
    struct fault f;

    if (cpu_is_tcg()) {
        test_skip("breakpoints: a VMRUN of QEMU TCG arms none");
        return;
    }
    __asm__ volatile("mov %0, %%dr0; mov %1, %%dr7"
                     :
                     : "r"(&watched), "r"(dr7 | 1 | 0xdull << 16)); /* write, 4 */
    f = TRY("movl $5, %0", : "=m"(watched));
    CHECK_FAULT(f, VEC_DB);
    CHECK_EQ(read_dr6() & 0xe00f, 1);
    CHECK_EQ(watched, 5);
    write_dr6(0xffff0ff0);
    f = TRY("movl %0, %%eax", : : "m"(watched) : "rax");
    CHECK_FAULT(f, -1);
    (void)cpuid(0, 0); /* the registers stay over an exit */
    outb(0x3ff, 1);
    wrmsr(MSR_IA32_DEBUGCTL, DEBUGCTL_BTF);
    f = TRY("movl $6, %0", : "=m"(watched));
    CHECK_FAULT(f, VEC_DB);
    CHECK_EQ(rdmsr(MSR_IA32_DEBUGCTL), 0); /* as does each debug exception */
    __asm__ volatile("mov %0, %%dr7" : : "r"(dr7));
    write_dr6(0xffff0ff0);
    __asm__ volatile("mov %0, %%dr1; mov %1, %%dr7"
                     :
                     : "r"(code_base() + 2), "r"(dr7 | 4)); /* execution */
    f = code_try(CODE(0x0f, 0xa2, 0x90), NULL);             /* cpuid; nop */
    __asm__ volatile("mov %0, %%dr7" : : "r"(dr7));
    check_fault("execution breakpoint behind cpuid", f, VEC_DB, false, 0, 2);
    CHECK_EQ(read_dr6() & 0xe00f, 2);
    write_dr6(0xffff0ff0);
    __asm__ volatile("mov %0, %%dr7" : : "r"(dr7 | BIT(13))); /* general detect */
    f = TRY("mov %%dr0, %%rax", : : : "rax");
    CHECK_FAULT(f, VEC_DB);
    CHECK_EQ(read_dr6() & 0xe00f, DR6_BD);
    u64 now;
    __asm__ volatile("mov %%dr7, %0" : "=r"(now)); /* the exception cleared it */
    CHECK_EQ(now, dr7);
    write_dr6(0xffff0ff0);
    __asm__ volatile("mov %0, %%dr0; mov %0, %%dr1" : : "r"(0ull));
}

/* An instruction that the hypervisor has to skip, at the very end of the canonical addresses. */
static void canonical_edge(void)
{
    u64 page = page_alloc(PAGE_SIZE, PAGE_SIZE);
    struct fault f;

    if (cpu_is_tcg()) {
        test_skip("canonical edge: QEMU TCG runs on");
        return;
    }
    memcpy((u8 *)page + PAGE_SIZE - 2, (const u8[]){0x0f, 0xa2}, 2);
    pte_set(NON_CANONICAL - PAGE_SIZE, 1, page | PTE_P | PTE_W);
    f = TRY("jmp *%0", : : "r"(NON_CANONICAL - 2) : "rax", "rbx", "rcx", "rdx");
    CHECK(f.vector == VEC_GP && f.error == 0 && f.rip == NON_CANONICAL,
          "vector %d error %lx rip %lx", f.vector, f.error, f.rip);
}

/* All registers live through the exits that the kernel settles. */
static void registers(void)
{
    struct regs r, want;

    for (u32 i = 0; i < 4; i++) {
        static const u8 codes[][3] = {
            {0x0f, 0xa2, 0x90},
            {0x0f, 0x32, 0x90},
            {0x0f, 0x30, 0x90},
            {0x0f, 0x09, 0x90}
        };
        static const char *const names[] = {"cpuid", "rdmsr", "wrmsr", "wbinvd"};

        for (u32 n = 0; n < 15; n++) {
            ((u64 *)&r)[n] = 0x0101010101010101ull * (n + 1);
        }
        r.rflags = 0x8d5;
        r.rax = 0x1000;
        r.rdx = 0;
        r.rcx = i == 0 ? 0 : MSR_IA32_KERNEL_GS_BASE;
        want = r;
        if (i == 0) {
            struct cpuid c = cpuid(0x1000, 0);

            want.rax = c.eax;
            want.rbx = c.ebx;
            want.rcx = c.ecx;
            want.rdx = c.edx;
        } else if (i == 1) {
            wrmsr(MSR_IA32_KERNEL_GS_BASE, 0x0000123456789abc);
            want.rax = 0x56789abc;
            want.rdx = 0x1234;
        }
        code_run(codes[i], 3, &r);
        for (u32 n = 0; n < 16; n++) {
            CHECK_EQ_AT(((u64 *)&r)[n], ((u64 *)&want)[n], "%s: register %u", names[i], n);
        }
    }
    wrmsr(MSR_IA32_KERNEL_GS_BASE, 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"software",       software      },
        {"simple",         simple        },
        {"fpu",            fpu           },
        {"alignment",      alignment     },
        {"page-faults",    page_faults   },
        {"gates",          gates         },
        {"double-faults",  double_faults },
        {"lazy-stacks",    lazy_stacks   },
        {"single-step",    single_step   },
        {"step-shadow",    step_shadow   },
        {"breakpoints",    breakpoints   },
        {"canonical-edge", canonical_edge},
        {"registers",      registers     },
    };

    test_all("exceptions", tests, ARRAY_SIZE(tests));
}
