/* SPDX-License-Identifier: MIT */
/*
 * Port input and output: all widths and forms, what they do to registers, string forms in both
 * directions and with all address sizes, page faults in the middle of them, ring 3, and ports that
 * are not there.
 */
#include "guests/lib/boot.h"
#include "guests/lib/code.h"
#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define SCRATCH (COM1 + UART_SCR) /* a byte that stays */
#define NOWHERE 0x1230            /* a port that no machine of these has; the next ones neither */
#define FIFO    16
#define LOW     0x8000 /* RAM below 64 KiB that nobody uses */

/* --- single accesses --- */

static void scratch(void)
{
    for (u32 v = 0; v < 256; v += 15) {
        outb(SCRATCH, (u8)v);
        CHECK_EQ_AT(inb(SCRATCH), v, "scratch register");
    }
}

#define PATTERN 0x1122334455667788ull

static const struct regs before_all = {
    .rax = PATTERN,
    .rcx = 0xc1c2c3c4c5c6c7c8,
    .rdx = 0xd1d2d3d400000000,
    .rbx = 0xb1b2b3b4b5b6b7b8,
    .rbp = 0xe1e2e3e4e5e6e7e8,
    .rsi = 0x5152535455565758,
    .rdi = 0x6162636465666768,
    .r8 = 0x0808080808080808,
    .r9 = 0x0909090909090909,
    .r10 = 0x1010101010101010,
    .r11 = 0x1111111111111111,
    .r12 = 0x1212121212121212,
    .r13 = 0x1313131313131313,
    .r14 = 0x1414141414141414,
    .r15 = 0x1515151515151515,
    .rflags = 0x8d5,
};

/* Runs code with every register set; RAX must become rax, all others stay. */
static void check_regs(const char *what, const u8 *code, size_t bytes, u16 port, u64 rax)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8",
                                        "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rflags"};
    struct regs r = before_all, want = before_all;

    r.rdx |= port;
    want.rdx |= port;
    want.rax = rax;
    code_run(code, bytes, &r);
    for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
        CHECK_EQ_AT(((const u64 *)&r)[i], ((const u64 *)&want)[i], "%s: %s", what, names[i]);
    }
}

static void registers(void)
{
    outb(SCRATCH, 0xa5);
    check_regs("in al, dx", CODE(0xec), SCRATCH, (PATTERN & ~0xffull) | 0xa5);
    check_regs("out dx, al", CODE(0xee), SCRATCH, PATTERN);
    CHECK_EQ(inb(SCRATCH), PATTERN & 0xff);
    check_regs("in al, dx", CODE(0xec), NOWHERE, PATTERN | 0xff);
    check_regs("in ax, dx", CODE(0x66, 0xed), NOWHERE, PATTERN | 0xffff);
    check_regs("in eax, dx", CODE(0xed), NOWHERE, 0xffffffff);
    check_regs("in eax, dx with REX.W", CODE(0x48, 0xed), NOWHERE, 0xffffffff);
    check_regs("in al, imm8", CODE(0xe4, 0xee), 0, PATTERN | 0xff);
    check_regs("in ax, imm8", CODE(0x66, 0xe5, 0xee), 0, PATTERN | 0xffff);
    check_regs("in eax, imm8", CODE(0xe5, 0xec), 0, 0xffffffff);
    check_regs("out dx, al", CODE(0xee), NOWHERE, PATTERN);
    check_regs("out dx, ax", CODE(0x66, 0xef), NOWHERE, PATTERN);
    check_regs("out dx, eax", CODE(0xef), NOWHERE, PATTERN);
    check_regs("out imm8, al", CODE(0xe6, 0xee), 0, PATTERN);
    check_regs("out imm8, ax", CODE(0x66, 0xe7, 0xee), 0, PATTERN);
    check_regs("out imm8, eax", CODE(0xe7, 0xec), 0, PATTERN);
}

/* Widths that a device does not have, and accesses that reach over its end. */
static void widths(void)
{
    if (!on_socle()) {
        test_skip("widths: other machines split them");
        return;
    }
    outb(SCRATCH, 0x5a);
    CHECK_EQ(inw(SCRATCH - 1), 0xffff);
    CHECK_EQ(inw(SCRATCH), 0xffff);
    CHECK_EQ(inl(COM1), 0xffffffff);
    CHECK_EQ(inl(COM1 - 2), 0xffffffff);
    outw(SCRATCH, 0x1234);
    outl(SCRATCH, 0x12345678);
    outl(SCRATCH - 3, 0x12345678);
    CHECK_EQ(inb(SCRATCH), 0x5a);
    outb(PORT_DEBUG_EXIT, 1); /* only 32 bits end the guest */
    outw(PORT_DEBUG_EXIT, 1);
    outl(PORT_DEBUG_EXIT - 1, 1);
    outl(PORT_DEBUG_EXIT - 3, 1);
    outl(PORT_DEBUG_EXIT + 1, 1);
    outb(PORT_DEBUG_EXIT + 1, 1);
    CHECK(true, "still here after narrow writes to the debug exit port");
    (void)inw(PORT_DEBUG);
    outw(PORT_DEBUG, 0x2020);
    CHECK_EQ(inw(0xffff), 0xffff);
    CHECK_EQ(inl(0xfffe), 0xffffffff);
    outl(0xffff, 0);
}

/* --- string forms --- */

static void loopback(bool on)
{
    outb(COM1 + UART_FCR, 0x07);
    outb(COM1 + UART_MCR, on ? UART_MCR_LOOP : 0x03);
}

/* The UART is silent before it changes to loopback, so that no output is lost. */
static void drain(void)
{
    for (u32 i = 0; i < 100000 && !(inb(COM1 + UART_LSR) & UART_LSR_TEMT); i++) {
        cpu_pause();
    }
}

struct form {
    const char *name;
    bool compat;      /* run as 32-bit code */
    bool prefix;      /* 67h */
    u32 address_bits; /* what results */
};

static const struct form forms[] = {
    {"64-bit",           false, false, 64},
    {"64-bit code, 67h", false, true,  32},
    {"32-bit code",      true,  false, 32},
    {"32-bit code, 67h", true,  true,  16},
};

/* Builds [std] [67] [f3] opcode [cld] and runs it. */
static struct fault string_op(const struct form *f, u8 opcode, bool word, bool rep, bool down,
                              struct code_regs *regs)
{
    u8 code[8];
    u32 n = 0;

    code[n++] = down ? 0xfd : 0xfc;
    if (f->prefix) {
        code[n++] = 0x67;
    }
    if (word) {
        code[n++] = 0x66;
    }
    if (rep) {
        code[n++] = 0xf3;
    }
    code[n++] = opcode;
    code[n++] = 0xfc;
    return (f->compat ? code_try32 : code_try)(code, n, regs);
}

#define INSB  0x6c
#define INSD  0x6d
#define OUTSB 0x6e
#define OUTSD 0x6f

/* What a register holds after it was moved by bytes. */
static u64 moved(const struct form *f, u64 before, u64 after)
{
    switch (f->address_bits) {
    case 16:
        return (before & ~0xffffull) | (after & 0xffff);
    case 32:
        return (u32)after;
    default:
        return after;
    }
}

/* REP OUTSB and REP INSB through the UART's loop: bytes arrive in order, registers end right. */
static void one_loop(const struct form *f, bool down, u64 where)
{
    u8 *from = (u8 *)where, *to = (u8 *)where + 64;
    u64 junk = f->address_bits == 64                 ? 0
               : f->address_bits == 32 && !f->compat ? 0x1234500000000
                                                     : 0;
    u64 high = f->address_bits == 16 ? 0x55550000 : junk;
    struct code_regs regs;
    struct fault fault;

    for (u32 i = 0; i < FIFO; i++) {
        from[i] = (u8)(0x40 + i * 3);
        to[i] = 0;
    }
    loopback(true);
    regs = (struct code_regs){.rsi = high | (where + (down ? FIFO - 1 : 0)),
                              .rdi = 0x77,
                              .rcx = high | FIFO,
                              .rdx = COM1,
                              .rax = 0xaa,
                              .rbx = 0xbb};
    u64 rsi = regs.rsi, rcx = regs.rcx;
    fault = string_op(f, OUTSB, false, true, down, &regs);
    CHECK_EQ_AT(fault.vector, -1, "%s OUTSB: vector", f->name);
    CHECK_EQ_AT(regs.rsi, moved(f, rsi, down ? where - 1 : where + FIFO), "%s OUTSB, down %d: rsi",
                f->name, down);
    CHECK_EQ_AT(regs.rcx, moved(f, rcx, 0), "%s OUTSB: rcx", f->name);
    CHECK(regs.rax == 0xaa && regs.rbx == 0xbb && regs.rdx == COM1 && regs.rdi == 0x77,
          "%s OUTSB: other registers", f->name);
    regs = (struct code_regs){.rdi = high | ((u64)to + (down ? FIFO - 1 : 0)),
                              .rsi = 0x66,
                              .rcx = high | FIFO,
                              .rdx = COM1,
                              .rax = 0xaa,
                              .rbx = 0xbb};
    u64 rdi = regs.rdi;
    fault = string_op(f, INSB, false, true, down, &regs);
    loopback(false);
    CHECK_EQ_AT(fault.vector, -1, "%s INSB: vector", f->name);
    CHECK_EQ_AT(regs.rdi, moved(f, rdi, down ? (u64)to - 1 : (u64)to + FIFO),
                "%s INSB, down %d: rdi", f->name, down);
    CHECK_EQ_AT(regs.rcx, moved(f, rcx, 0), "%s INSB: rcx", f->name);
    CHECK(regs.rax == 0xaa && regs.rbx == 0xbb && regs.rdx == COM1 && regs.rsi == 0x66,
          "%s INSB: other registers", f->name);
    for (u32 i = 0; i < FIFO; i++) {
        CHECK_EQ_AT(to[i], from[i], "%s, down %d: byte %u", f->name, down, i);
    }
}

static void strings(void)
{
    drain();
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        one_loop(&forms[i], false, LOW);
        one_loop(&forms[i], true, LOW);
    }
    u64 page = page_alloc(PAGE_SIZE, PAGE_SIZE); /* and at a high linear address */
    pte_set(MAP_AREA, 1, page | PTE_P | PTE_W);
    one_loop(&forms[0], false, MAP_AREA + 100);
    one_loop(&forms[0], true, MAP_AREA + 100);
}

/* Words and doublewords, with and without REP, from a port that is not there. */
static void string_widths(void)
{
    u8 *buffer = page_zeroed();

    for (u32 width = 2; width <= 4; width += 2) {
        for (u32 mode = 0; mode < 8; mode++) {
            const struct form *f = &forms[mode & 1 ? 2 : 0];
            bool rep = mode & 2, down = mode & 4;
            u32 bytes = width * (rep ? 7 : 1);
            u64 start = (u64)buffer + 512, end = down ? start - bytes : start + bytes;
            struct code_regs regs = {.rdi = start, .rcx = 7, .rdx = NOWHERE};
            struct fault fault;

            memset(buffer, 0, PAGE_SIZE);
            fault = string_op(f, INSD, width == 2, rep, down, &regs);
            CHECK_EQ_AT(fault.vector, -1, "INS of %u bytes: vector", width);
            CHECK_EQ_AT(regs.rdi, end, "INS of %u bytes, mode %u: rdi", width, mode);
            CHECK_EQ_AT(regs.rcx, rep ? 0 : 7, "INS of %u bytes, mode %u: rcx", width, mode);
            for (u64 a = (u64)buffer; a < (u64)buffer + PAGE_SIZE; a++) {
                u64 first = down ? end + width : start;
                bool in = a >= first && a < first + bytes;

                if (*(u8 *)a != (in ? 0xff : 0)) {
                    CHECK_EQ_AT(*(u8 *)a, in ? 0xff : 0,
                                "INS of %u bytes, mode %u: byte at start + %lx", width, mode,
                                a - start);
                }
            }
            regs = (struct code_regs){.rsi = start, .rcx = 7, .rdx = NOWHERE};
            fault = string_op(f, OUTSD, width == 2, rep, down, &regs);
            CHECK_EQ_AT(fault.vector, -1, "OUTS of %u bytes: vector", width);
            CHECK_EQ_AT(regs.rsi, end, "OUTS of %u bytes, mode %u: rsi", width, mode);
            CHECK_EQ_AT(regs.rcx, rep ? 0 : 7, "OUTS of %u bytes, mode %u: rcx", width, mode);
        }
    }
}

/* One element without REP; none at all with a count of 0, wherever the address points. */
static void counts(void)
{
    u8 *buffer = page_zeroed();
    struct code_regs regs = {.rsi = (u64)buffer, .rcx = 0, .rdx = SCRATCH};
    struct fault f;

    buffer[0] = 0x3c;
    f = string_op(&forms[0], OUTSB, false, false, false, &regs);
    CHECK_FAULT(f, -1);
    CHECK_EQ(regs.rsi, (u64)buffer + 1);
    CHECK_EQ(regs.rcx, 0);
    CHECK_EQ(inb(SCRATCH), 0x3c);
    regs = (struct code_regs){.rdi = (u64)buffer + 7, .rcx = 5, .rdx = SCRATCH};
    f = string_op(&forms[0], INSB, false, false, false, &regs);
    CHECK_FAULT(f, -1);
    CHECK(buffer[7] == 0x3c && !buffer[6] && !buffer[8], "%x %x %x", buffer[6], buffer[7],
          buffer[8]);
    CHECK_EQ(regs.rcx, 5);
    regs = (struct code_regs){.rdi = MAP_AREA + SIZE_2M, .rsi = MAP_AREA + SIZE_2M, .rdx = SCRATCH};
    f = string_op(&forms[0], INSB, false, true, false, &regs);
    CHECK_FAULT(f, -1);
    f = string_op(&forms[0], OUTSB, false, true, false, &regs);
    CHECK_FAULT(f, -1);
    CHECK(regs.rdi == MAP_AREA + SIZE_2M && regs.rsi == regs.rdi, "rdi %lx rsi %lx", regs.rdi,
          regs.rsi);
    regs = (struct code_regs){
        .rdi = 0x1234500000000ull | LOW, .rcx = 0xffffffff00000003, .rdx = NOWHERE};
    *(volatile u32 *)LOW = 0;
    f = string_op(&forms[1], INSB, false, true, false, &regs);
    CHECK_FAULT(f, -1);
    CHECK_EQ(*(volatile u32 *)LOW, 0x00ffffff);
    CHECK_EQ(regs.rcx, 0);
    CHECK_EQ(regs.rdi, LOW + 3);
}

/* 16-bit addresses wrap at 64 KiB. */
static void wrap(void)
{
    struct code_regs regs = {.rdi = 0x7777fffc, .rcx = 0x11110008, .rdx = NOWHERE};
    struct fault f;

    for (u32 i = 0; i < 4; i++) {
        *(volatile u8 *)(0xfffcul + i) = 0;
        *(volatile u8 *)(0x10000ul + i) = 0;
    }
    f = string_op(&forms[3], INSB, false, true, false, &regs);
    CHECK_FAULT(f, -1);
    CHECK_EQ(*(volatile u32 *)0xfffc, 0xffffffff);
    CHECK_EQ(*(volatile u32 *)0x10000, 0);
    CHECK_EQ(regs.rdi, 0x77770004);
    CHECK_EQ(regs.rcx, 0x11110000);
}

/* OUTS may be told another segment; INS may not. */
static void segments(void)
{
    u8 *buffer = page_zeroed();
    struct code_regs regs = {.rsi = 0x10, .rdx = SCRATCH};
    struct fault f;
    u64 fs = rdmsr(MSR_IA32_FS_BASE);

    buffer[0x10] = 0x99;
    wrmsr(MSR_IA32_FS_BASE, (u64)buffer);
    f = code_try(CODE(0x64, 0x6e), &regs); /* outs dx, byte fs:[rsi] */
    CHECK_FAULT(f, -1);
    CHECK_EQ(inb(SCRATCH), 0x99);
    regs = (struct code_regs){.rdi = (u64)buffer + 0x20, .rdx = SCRATCH};
    f = code_try(CODE(0x64, 0x6c), &regs); /* the override has no effect on insb */
    CHECK_FAULT(f, -1);
    CHECK_EQ(buffer[0x20], 0x99);
    wrmsr(MSR_IA32_FS_BASE, fs);
}

/* --- faults --- */

static struct {
    u64 count, cr2[4], error[4], rcx[4], pointer[4];
    u64 map, flags; /* physical page to put there */
    bool output;
} faults;

static bool on_fault(struct trap_frame *f)
{
    u64 n = faults.count++;

    if (n < 4) {
        faults.cr2[n] = read_cr2();
        faults.error[n] = f->error;
        faults.rcx[n] = f->rcx;
        faults.pointer[n] = faults.output ? f->rsi : f->rdi;
    }
    if (!faults.map || n >= 4) {
        return false;
    }
    pte_set(ALIGN_DOWN(read_cr2(), PAGE_SIZE), 1, faults.map | PTE_P | faults.flags);
    return true;
}

/* A REP that runs into a page which is mapped by the fault's handler, and goes on there. */
static void fault_resume(bool output, u64 flags, u64 error)
{
    u64 pages = page_alloc(2 * PAGE_SIZE, PAGE_SIZE), edge = MAP_AREA + 5 * PAGE_SIZE;
    struct code_regs regs = {.rcx = 8, .rdx = SCRATCH, .rsi = edge - 3, .rdi = edge - 3};
    struct fault f;
    trap_handler_t before = trap_handle(VEC_PF, on_fault);

    memset((void *)pages, 0, 2 * PAGE_SIZE);
    for (u32 i = 0; i < 8; i++) {
        *(u8 *)(pages + PAGE_SIZE - 3 + i) = (u8)(output ? i + 0x70 : 0);
    }
    outb(SCRATCH, 0x42);
    faults.count = 0;
    faults.map = pages + PAGE_SIZE;
    faults.flags = PTE_W;
    faults.output = output;
    pte_set(edge - PAGE_SIZE, 1, pages | PTE_P | PTE_W);
    pte_set(edge, 1, flags ? (pages + PAGE_SIZE) | flags : 0);
    f = string_op(&forms[0], output ? OUTSB : INSB, false, true, false, &regs);
    trap_handle(VEC_PF, before);
    CHECK_FAULT(f, -1);
    CHECK_EQ(faults.count, 1);
    CHECK_EQ(faults.cr2[0], edge);
    CHECK_EQ(faults.error[0], error);
    CHECK_EQ(faults.rcx[0], 5);
    CHECK_EQ(faults.pointer[0], edge);
    CHECK_EQ(regs.rcx, 0);
    CHECK_EQ(output ? regs.rsi : regs.rdi, edge + 5);
    if (output) {
        CHECK_EQ(inb(SCRATCH), 0x77);
    } else {
        for (u32 i = 0; i < 8; i++) {
            CHECK_EQ_AT(*(u8 *)(pages + PAGE_SIZE - 3 + i), 0x42, "byte %u over the edge", i);
        }
        CHECK_EQ(*(u8 *)(pages + PAGE_SIZE + 5), 0);
    }
}

static void page_faults(void)
{
    struct code_regs regs;
    struct fault f;

    fault_resume(false, 0, PF_WRITE);
    fault_resume(true, 0, 0);
    fault_resume(false, PTE_P, PF_WRITE | PF_PRESENT); /* read-only, CR0.WP is set */
    regs = (struct code_regs){.rdi = MAP_AREA + 9 * PAGE_SIZE + 8, .rcx = 3, .rdx = SCRATCH};
    f = string_op(&forms[0], INSB, false, true, true, &regs);
    CHECK_FAULT(f, VEC_PF);
    CHECK_EQ(f.cr2, MAP_AREA + 9 * PAGE_SIZE + 8);
    CHECK_EQ(f.error, PF_WRITE);
    CHECK(regs.rcx == 3 && regs.rdi == MAP_AREA + 9 * PAGE_SIZE + 8, "rcx %lx rdi %lx", regs.rcx,
          regs.rdi);
}

/* Elements that lie on two pages, both there, or only the first. */
static void crossing(void)
{
    u64 first = page_alloc(2 * PAGE_SIZE, PAGE_SIZE), edge = MAP_AREA + 0x21 * PAGE_SIZE;
    struct code_regs regs = {.rcx = 3, .rdx = NOWHERE, .rdi = edge - 6, .rsi = edge - 6};
    struct fault f;

    memset((void *)first, 0, 2 * PAGE_SIZE);
    pte_set(edge - PAGE_SIZE, 1,
            (first + PAGE_SIZE) | PTE_P | PTE_W); /* not neighbours in memory */
    pte_set(edge, 1, first | PTE_P | PTE_W);
    f = string_op(&forms[0], INSD, false, true, false, &regs);
    CHECK_FAULT(f, -1);
    CHECK_EQ(*(u64 *)(first + 2 * PAGE_SIZE - 8) >> 16, 0xffffffffffff);
    CHECK_EQ(*(u64 *)first, 0x0000ffffffffffff);
    pte_set(edge, 1, 0);
    regs = (struct code_regs){.rcx = 3, .rdx = NOWHERE, .rdi = edge - 6};
    f = string_op(&forms[0], INSD, false, true, false, &regs);
    CHECK_FAULT(f, VEC_PF);
    CHECK_EQ(f.error, PF_WRITE);
    CHECK_EQ(ALIGN_DOWN(f.cr2, 4096) == edge || f.cr2 == edge - 2, true);
    CHECK(regs.rcx == 2 && regs.rdi == edge - 2, "rcx %lx rdi %lx", regs.rcx, regs.rdi);
}

static void bad_addresses(void)
{
    struct code_regs regs = {
        .rdi = 0x0000800000000000, .rsi = 0x0000800000000000, .rcx = 1, .rdx = SCRATCH};
    struct fault f = string_op(&forms[0], INSB, false, true, false, &regs);

    if (on_tcg()) {
        test_skip("bad addresses: QEMU TCG checks neither");
        return;
    }
    CHECK_FAULT(f, VEC_GP);
    CHECK_EQ(f.error, 0);
    f = string_op(&forms[0], OUTSB, false, true, false, &regs);
    CHECK_FAULT(f, VEC_GP);
    regs = (struct code_regs){
        .rdi = 0x20000, .rcx = 1, .rdx = SCRATCH, .rax = SEL_DATA16, .rbx = SEL_DATA};
    /* push es; mov es, ax; rep insb; pop es; in 32-bit code: behind the segment's limit */
    f = code_try32(CODE(0x06, 0x8e, 0xc0, 0xf3, 0x6c, 0x07), &regs);
    CHECK_FAULT(f, VEC_GP);
    __asm__ volatile("mov %0, %%es" : : "r"(SEL_DATA));
}

/* Many pages in one instruction. */
static void large(void)
{
    u64 bytes = 256 << 10, buffer = page_alloc(bytes, PAGE_SIZE), wrong = 0;
    struct code_regs regs = {.rdi = buffer + 3, .rcx = bytes / 4 - 2, .rdx = NOWHERE};
    struct fault f;

    memset((void *)buffer, 0, bytes);
    f = string_op(&forms[0], INSD, false, true, false, &regs);
    CHECK_FAULT(f, -1);
    CHECK_EQ(regs.rdi, buffer + bytes - 5);
    for (u64 i = 3; i < bytes - 5; i++) {
        wrong += *(u8 *)(buffer + i) != 0xff;
    }
    CHECK_EQ(wrong, 0);
    CHECK(!*(u8 *)(buffer + 2) && !*(u8 *)(buffer + bytes - 5), "nothing outside");
}

/* --- ring 3 --- */

static void ring3(void)
{
    /* mov dx, SCRATCH; mov al, 0x5d; out dx, al; in al, dx; int 0x80 */
    static const u8 simple[] = {0x66, 0xba, 0xff, 0x03, 0xb0, 0x5d, 0xee, 0xec, 0xcd, 0x80};
    /* mov dx, SCRATCH; mov ecx, 4; rep insb; int 0x80; RDI is the argument */
    static const u8 string[] = {0x66, 0xba, 0xff, 0x03, 0xb9, 4, 0, 0, 0, 0xf3, 0x6c, 0xcd, 0x80};
    u64 page = (u64)page_zeroed(), user = MAP_AREA + 0x4000200000ull;
    struct trap_frame regs;
    struct fault f;

    outb(SCRATCH, 0);
    f = user_run(simple, sizeof(simple), 0, 0, &regs);
    CHECK_FAULT(f, VEC_GP);
    CHECK_EQ(f.error, 0);
    CHECK_EQ(inb(SCRATCH), 0);
    f = user_run(simple, sizeof(simple), 0, 3 << 12, &regs); /* IOPL 3 */
    CHECK_FAULT(f, 0x80);
    CHECK_EQ(regs.rax & 0xff, 0x5d);
    trap_io_allow(SCRATCH, 1, true);
    f = user_run(simple, sizeof(simple), 0, 0, &regs);
    CHECK_FAULT(f, 0x80);
    CHECK_EQ(regs.rax & 0xff, 0x5d);
    pte_set(user, 1, page | PTE_P | PTE_W);
    f = user_run(string, sizeof(string), user + 8, 0, &regs); /* the kernel's page */
    CHECK_FAULT(f, VEC_PF);
    CHECK_EQ(f.cr2, user + 8);
    CHECK_EQ(f.error, PF_USER | PF_WRITE | PF_PRESENT);
    CHECK_EQ(regs.rcx, 4);
    pte_set(user, 1, page | PTE_P | PTE_W | PTE_U);
    f = user_run(string, sizeof(string), user + 8, 0, &regs);
    CHECK_FAULT(f, 0x80);
    CHECK_EQ(*(u64 *)(page + 8), 0x5d5d5d5d);
    trap_io_allow(SCRATCH, 1, false);
    f = user_run(simple, sizeof(simple), 0, 0, &regs);
    CHECK_FAULT(f, VEC_GP);
}

/* Every port once, read; none may be missing an answer. The debug console is silent on reads. */
static void everywhere(void)
{
    u32 ones = 0;

    if (!on_socle()) {
        test_skip("everywhere: reading has effects on a real machine");
        return;
    }
    for (u32 port = 0; port < 0x10000; port += port < 0x500 ? 1 : 31) {
        ones += inb((u16)port) == 0xff;
    }
    CHECK(ones > 3000, "%u ports read as all-ones", ones);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"scratch",       scratch      },
        {"registers",     registers    },
        {"widths",        widths       },
        {"strings",       strings      },
        {"string-widths", string_widths},
        {"counts",        counts       },
        {"wrap",          wrap         },
        {"segments",      segments     },
        {"page-faults",   page_faults  },
        {"crossing",      crossing     },
        {"bad-addresses", bad_addresses},
        {"large",         large        },
        {"ring3",         ring3        },
        {"everywhere",    everywhere   },
    };

    test_all("pio", tests, ARRAY_SIZE(tests));
}
