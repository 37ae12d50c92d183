/* SPDX-License-Identifier: MIT */
/*
 * External interrupts and NMIs: pending until they can be taken, taken at exactly the right
 * instruction, in the right order, each once, on stacks that were never touched. The local APIC's
 * IPIs to itself make them pending.
 */
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/code.h"
#include "guests/lib/console.h"
#include "guests/lib/irq.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define LOG 512

static struct {
    u32 count;
    u8 vector[LOG];
    u64 rip[LOG];
    u32 per_vector[256];
} taken;

static bool record(struct trap_frame *f)
{
    if (taken.count < LOG) {
        taken.vector[taken.count] = f->vector;
        taken.rip[taken.count] = f->rip;
    }
    taken.count++;
    taken.per_vector[f->vector]++;
    if (f->vector >= 32) {
        irq_eoi();
    }
    return true;
}

static void forget(void)
{
    memset(&taken, 0, sizeof(taken));
}

static bool ready(void)
{
    if (!apic_available()) {
        test_skip("no way to raise an interrupt here");
        return false;
    }
    for (u32 v = 32; v < 256; v++) {
        trap_handle((int)v, record);
    }
    trap_handle(VEC_NMI, record);
    forget();
    return true;
}

#define EITHER(a, b) ((a) | (b) << 8)

/* An interrupt made pending with IF = 0, then code that opens it; it must be taken at that offset
 * (-1: not at all, before the code's end; EITHER: at one of two). */
static void boundary(const char *name, const u8 *code, size_t bytes, struct code_regs regs,
                     int offset)
{
    struct fault f;

    forget();
    irq_raise(0x40);
    CHECK_EQ_AT(taken.count, 0, "%s: taken with IF = 0", name);
    f = code_try(code, bytes, &regs);
    cpu_cli();
    CHECK_EQ_AT(f.vector, -1, "%s: vector", name);
    if (offset < 0) {
        CHECK_EQ_AT(taken.count, 0, "%s: taken", name);
        __asm__ volatile("sti; nop; cli" : : : "memory");
        CHECK_EQ_AT(taken.count, 1, "%s: taken later", name);
        return;
    }
    CHECK_EQ_AT(taken.count, 1, "%s: taken", name);
    CHECK_EQ_AT(taken.vector[0], 0x40, "%s: vector taken", name);
    if (taken.rip[0] - code_base() != (u64)(offset >> 8)) {
        CHECK_EQ_AT(taken.rip[0] - code_base(), (u64)(offset & 0xff), "%s: taken at offset", name);
    }
}

static void shadows(void)
{
    struct code_regs none = {0}, io = {.rdx = 0x3ff}, nowhere = {.rdx = 0x1230};
    struct code_regs msr = {.rcx = MSR_IA32_KERNEL_GS_BASE}, ss = {.rax = SEL_DATA, .rdx = 0x3ff};
    struct code_regs cr0 = {.rax = read_cr0()};

    if (!ready()) {
        return;
    }
    boundary("nop alone", CODE(0x90), none, -1);
    boundary("sti; nop", CODE(0xfb, 0x90, 0x90, 0xfa), none, 2);
    boundary("sti; cli", CODE(0xfb, 0xfa, 0x90), none, -1);
    boundary("popf", CODE(0x9c, 0x80, 0x4c, 0x24, 0x01, 0x02, 0x9d, 0x90, 0xfa), none, 7);
    boundary("sti; cpuid", CODE(0xfb, 0x0f, 0xa2, 0x90, 0xfa), none, 3);
    boundary("sti; rdmsr", CODE(0xfb, 0x0f, 0x32, 0x90, 0xfa), msr, 3);
    boundary("sti; wrmsr", CODE(0xfb, 0x0f, 0x30, 0x90, 0xfa), msr, 3);
    boundary("sti; in", CODE(0xfb, 0xec, 0x90, 0xfa), io, 2);
    boundary("sti; out", CODE(0xfb, 0xee, 0x90, 0xfa), io, 2);
    boundary("sti; in from nowhere", CODE(0xfb, 0xed, 0x90, 0xfa), nowhere, 2);
    boundary("sti; rdtsc", CODE(0xfb, 0x0f, 0x31, 0x90, 0xfa), none, 3);
    boundary("sti; wbinvd", CODE(0xfb, 0x0f, 0x09, 0x90, 0xfa), none, 3);
    if (!cpu_is_tcg()) {
        boundary("sti; pause", CODE(0xfb, 0xf3, 0x90, 0x90, 0xfa), none, 3);
    }
    boundary("sti; mov cr0", CODE(0xfb, 0x0f, 0x22, 0xc0, 0x90, 0xfa), cr0, 4);
    boundary("sti; hlt", CODE(0xfb, 0xf4, 0x90, 0xfa), none, 2);
    boundary("sti; nop; hlt", CODE(0xfb, 0x90, 0x90, 0xfa), none, 2);
    /* Two in a row: whether the second one holds back interrupts is left open (SDM 2B "STI"). */
    boundary("sti; mov ss; nop", CODE(0xfb, 0x8e, 0xd0, 0x90, 0x90, 0xfa), ss, EITHER(4, 3));
    boundary("sti; mov ss; cpuid", CODE(0xfb, 0x8e, 0xd0, 0x0f, 0xa2, 0x90, 0xfa), ss,
             EITHER(5, 3));
    boundary("sti; mov ss; in", CODE(0xfb, 0x8e, 0xd0, 0xec, 0x90, 0xfa), ss, EITHER(4, 3));
    if (on_socle()) {
        struct code_regs call = {.rax = 0x77777777};

        boundary("sti; hypercall", CODE(0xfb, 0x0f, 0x01, hypercall_opcode(), 0x90, 0xfa), call, 4);
    }
    /* the instruction in the shadow takes an EPT violation, where memory comes lazily */
    struct code_regs fresh = {.rdi = page_alloc(2 * PAGE_SIZE, PAGE_SIZE)};
    boundary("sti; read of a new page", CODE(0xfb, 0x8a, 0x07, 0x90, 0xfa), fresh, 3);
    fresh.rdi += PAGE_SIZE;
    boundary("sti; write to a new page", CODE(0xfb, 0x88, 0x07, 0x90, 0xfa), fresh, 3);
}

static void at_once(void)
{
    if (!ready()) {
        return;
    }
    cpu_sti();
    for (u32 i = 0; i < 10; i++) {
        irq_raise((u8)(0x50 + i));
        __asm__ volatile("nop");
        CHECK_EQ_AT(taken.count, i + 1, "taken with IF = 1");
    }
    cpu_cli();
    for (u32 i = 0; i < 10; i++) {
        CHECK_EQ_AT(taken.vector[i], 0x50 + i, "vector %u", i);
    }
}

static void order(void)
{
    static const u8 raised[] = {0x31, 0x80, 0x41, 0xf0, 0x40, 0x80, 0x21};
    static const u8 want[] = {0xf0, 0x80, 0x41, 0x40, 0x31, 0x21};
    struct fault f;

    if (!ready()) {
        return;
    }
    for (u32 i = 0; i < sizeof(raised); i++) {
        irq_raise(raised[i]);
    }
    f = code_try(CODE(0xfb, 0x90, 0x90, 0x90, 0xfa), NULL);
    CHECK_FAULT(f, -1);
    CHECK_EQ(taken.count, sizeof(want));
    for (u32 i = 0; i < MIN(taken.count, sizeof(want)); i++) {
        CHECK_EQ_AT(taken.vector[i], want[i], "vector %u in order", i);
        CHECK_EQ_AT(taken.rip[i] - code_base(), 2, "place of vector %u", i);
    }
}

static void many(void)
{
    if (!ready()) {
        return;
    }
    for (u32 v = 32; v < 256; v++) {
        irq_raise((u8)v);
    }
    CHECK_EQ(taken.count, 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQ(taken.count, 224);
    for (u32 i = 0; i < MIN(taken.count, 224); i++) {
        CHECK_EQ_AT(taken.vector[i], 255 - i, "vector %u in order", i);
    }
}

static bool nest(struct trap_frame *f)
{
    bool again = taken.per_vector[f->vector] == 0;

    record(f);
    if (again && f->vector < 0xa0) {
        irq_raise((u8)(f->vector + 0x10));
        __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    }
    return true;
}

static void nested(void)
{
    if (!ready()) {
        return;
    }
    for (int v = 0x40; v <= 0xa0; v += 0x10) {
        trap_handle(v, nest);
    }
    irq_raise(0x40);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQ(taken.count, 7);
    for (u32 i = 0; i < MIN(taken.count, 7u); i++) {
        CHECK_EQ_AT(taken.vector[i], 0x40 + i * 0x10, "vector %u", i);
    }
}

static bool in_nmi, nmi_inside;

static bool on_nmi(struct trap_frame *f)
{
    nmi_inside |= in_nmi;
    in_nmi = true;
    record(f);
    if (taken.per_vector[VEC_NMI] == 1) {
        irq_raise(VEC_NMI);
        irq_raise(VEC_NMI); /* one pending is all there can be */
        (void)cpuid(0, 0);
        outb(0x3ff, 0);
        CHECK_EQ(taken.per_vector[VEC_NMI], 1);
    }
    in_nmi = false;
    return true;
}

static void nmi(void)
{
    if (!ready()) {
        return;
    }
    irq_raise(VEC_NMI);
    __asm__ volatile("nop");
    CHECK_EQ(taken.per_vector[VEC_NMI], 1);
    forget();
    trap_handle(VEC_NMI, on_nmi);
    irq_raise(VEC_NMI);
    __asm__ volatile("nop; nop");
    CHECK_EQ(taken.per_vector[VEC_NMI], 2);
    CHECK_EQ(nmi_inside, false);
    forget();
    trap_handle(VEC_NMI, record);
    irq_raise(0x77); /* an NMI does not wait for IF, the interrupt does */
    irq_raise(VEC_NMI);
    __asm__ volatile("nop");
    CHECK_EQ(taken.count, 1);
    CHECK_EQ(taken.vector[0], VEC_NMI);
    __asm__ volatile("sti; nop; cli" : : : "memory");
    CHECK_EQ(taken.count, 2);
    CHECK_EQ(taken.vector[1], 0x77);
}

/* Delivery to stacks that were never touched (see exceptions.c). */
static void lazy_stacks(void)
{
    if (!ready()) {
        return;
    }
    for (u32 i = 0; i < 3; i++) {
        u64 fresh = page_alloc(3 * PAGE_SIZE, PAGE_SIZE);

        forget();
        trap_set_ist(0x60, 3, i == 0 ? fresh + 3 * PAGE_SIZE : fresh + 2 * PAGE_SIZE + 16 * i);
        irq_raise(0x60);
        __asm__ volatile("sti; nop; cli" : : : "memory");
        trap_set_ist(0x60, 0, 0);
        CHECK_EQ(taken.count, 1);
        CHECK_EQ(taken.vector[0], 0x60);
    }
    for (u32 i = 0; i < 2; i++) {
        u64 fresh = page_alloc(3 * PAGE_SIZE, PAGE_SIZE), before = tss.ist[1];

        forget();
        tss.ist[1] = fresh + 2 * PAGE_SIZE + 16 * i;
        irq_raise(VEC_NMI);
        __asm__ volatile("nop");
        tss.ist[1] = before;
        CHECK_EQ(taken.count, 1);
        CHECK_EQ(taken.vector[0], VEC_NMI);
        forget();
        irq_raise(VEC_NMI); /* the block was lifted: another one comes */
        __asm__ volatile("nop");
        CHECK_EQ(taken.count, 1);
    }
}

/* Delivery to a gate that is not there. Where it runs there must be one CPU: an emulator of several
 * was seen to go on with the old RIP on the new stack when a kick came right after the fault. */
static void no_gate(void)
{
    if (!ready()) {
        return;
    }
    if (cpu_is_tcg()) {
        test_skip("QEMU delivers a virtual interrupt again after a fault in its delivery");
        return;
    }
    forget();
    idt[0x61].type = 0x0e;
    irq_raise(0x61);
    struct fault f = code_try(CODE(0xfb, 0x90, 0x90, 0xfa), NULL);
    trap_reset_gate(0x61);
    cpu_cli();
    CHECK_FAULT(f, VEC_NP);
    CHECK_EQ(f.error, 0x61 * 8 + 3); /* EXT is set */
    CHECK_EQ(taken.count, 0);
    irq_eoi(); /* it was acknowledged */
}

static u32 step_order[8], step_count;
static u64 step_rip[8];

static bool on_step(struct trap_frame *f)
{
    if (step_count < 8) {
        step_rip[step_count] = f->rip;
        step_order[step_count++] = f->vector;
    }
    write_dr6(0xffff0ff0);
    if (f->vector >= 32) {
        irq_eoi();
    }
    return true;
}

/* A trap of single-stepping goes before an interrupt that could be taken at the same place. */
static void step(void)
{
    struct fault f;

    if (!ready()) {
        return;
    }
    if (cpu_is_tcg()) {
        test_skip("step: QEMU TCG does not step over STI");
        return;
    }
    trap_handle(VEC_DB, on_step);
    trap_handle(0x40, on_step);
    irq_raise(0x40);
    /* pushfq; or word [rsp], 0x100; popfq; sti; cpuid; nop; cli; pushfq; and ...; popfq */
    f = code_try(CODE(0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0xfb, 0x0f, 0xa2, 0x90, 0xfa, 0x9c,
                      0x80, 0x64, 0x24, 0x01, 0xfe, 0x9d),
                 NULL);
    cpu_cli();
    trap_handle(VEC_DB, NULL);
    CHECK_FAULT(f, -1);
    CHECK(step_count >= 4, "%u traps", step_count);
    CHECK(step_order[0] == VEC_DB && step_rip[0] == code_base() + 8, "first: %u at %lx",
          step_order[0], step_rip[0] - code_base());
    /* that trap ended the shadow of STI: after its IRET the interrupt can be taken at once */
    CHECK(step_order[1] == 0x40 && step_rip[1] == code_base() + 8, "second: %u at %lx",
          step_order[1], step_rip[1] - code_base());
    CHECK(step_order[2] == VEC_DB && step_rip[2] == code_base() + 10, "third: %u at %lx",
          step_order[2], step_rip[2] - code_base());
}

static void storm(void)
{
    u64 seed = 88172645463325252ull;
    u32 raised = 0;

    if (!ready()) {
        return;
    }
    for (u32 i = 0; i < 2000; i++) {
        u64 r = test_random(&seed);
        u8 vector = (u8)(32 + r % 224);

        if (r >> 20 & 1) {
            cpu_sti();
        }
        irq_raise(vector);
        raised++;
        if (r >> 21 & 1) {
            (void)cpuid(0, 0);
        }
        if (r >> 22 & 1) {
            outb(0x3ff, (u8)r);
        }
        __asm__ volatile("sti; nop; nop; cli" : : : "memory");
        if (taken.count != raised || taken.per_vector[vector] == 0) {
            CHECK_EQ_AT(taken.count, raised, "interrupts taken in round %u", i);
            break;
        }
    }
    CHECK_EQ(taken.count, 2000);
}

static void hypercalls(void)
{
    if (!on_socle()) {
        test_skip("hypercalls: this is not Socle");
        return;
    }
    CHECK_EQ(hypercall(HYPERCALL_PING, 0), 1);
    CHECK((s64)hypercall(1, 0x40) < 0, "number 1");
    CHECK((s64)hypercall(0x12345, 0) < 0, "an unknown number");
    CHECK((s64)hypercall(~0ull, ~0ull) < 0, "the largest number");
    trap_handle(0x80, NULL);
    struct trap_frame regs;
    struct fault f =
        user_run(CODE(0x31, 0xc0, 0x0f, 0x01, hypercall_opcode(), 0xcd, 0x80), 0, 0, &regs);
    CHECK_FAULT(f, 0x80);
    CHECK((s64)regs.rax < 0, "from ring 3: %lx", regs.rax);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"shadows",     shadows    },
        {"at-once",     at_once    },
        {"order",       order      },
        {"many",        many       },
        {"nested",      nested     },
        {"nmi",         nmi        },
        {"lazy-stacks", lazy_stacks},
        {"no-gate",     no_gate    },
        {"step",        step       },
        {"storm",       storm      },
        {"hypercalls",  hypercalls },
    };

    test_all("interrupts", tests, ARRAY_SIZE(tests));
}
