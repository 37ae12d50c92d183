/* SPDX-License-Identifier: MIT */
/*
 * The CPU's modes and the registers that choose them: real, protected and 64-bit mode and the ways
 * between them, control registers with their reserved bits and forbidden combinations, PAE's page
 * directory pointers, XCR0, and what ring 3 may not do.
 */
#include "guests/lib/boot.h"
#include "guests/lib/code.h"
#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/mode.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

static struct mode flat(void)
{
    return (struct mode){.cr0 = MODE_CR0};
}

static void transitions(void)
{
    struct mode m;

    for (u32 i = 0; i < 50; i++) {
        m = flat();
        m.eax = i;
        mode_run(&m, CODE(0x40, 0x0f, 0x20, 0xc3)); /* inc eax; mov ebx, cr0 */
        CHECK_EQ_AT(m.vector, -1, "protected mode, round %u", i);
        CHECK_EQ_AT(m.eax, i + 1, "protected mode: eax");
        CHECK_EQ_AT(m.ebx, MODE_CR0, "protected mode: CR0");
        m = flat();
        m.kind = MODE_REAL;
        m.eax = i;
        mode_run(&m, CODE(0x66, 0x40, 0x0f, 0x20, 0xc3)); /* the same in 16-bit code */
        CHECK_EQ_AT(m.vector, -1, "real mode, round %u", i);
        CHECK_EQ_AT(m.eax, i + 1, "real mode: eax");
        CHECK_EQ_AT(m.ebx, MODE_CR0 & ~1u, "real mode: CR0");
    }
    CHECK_EQ(rdmsr(MSR_IA32_EFER) & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
}

static void real_mode(void)
{
    struct mode m = {.cr0 = MODE_CR0, .kind = MODE_REAL};

    mode_run(&m, CODE(0x0f, 0x0b));
    CHECK_EQ(m.vector, VEC_UD);
    CHECK_EQ(m.eip & 0xffff, MODE_BLOB);
    mode_run(&m, CODE(0xcd, 0x1e)); /* int 1e */
    CHECK_EQ(m.vector, 0x1e);
    CHECK_EQ(m.eip & 0xffff, MODE_BLOB + 2);
    m.ebx = 0xffff;
    mode_run(&m, CODE(0x8b, 0x07)); /* mov ax, [bx]: over the segment's end */
    CHECK(m.vector == VEC_GP || cpu_is_tcg(), "over the segment's end: %d", m.vector);
    m.ebx = 0x10000;
    mode_run(&m, CODE(0x67, 0x8a, 0x03)); /* mov al, [ebx] */
    CHECK(m.vector == VEC_GP || cpu_is_tcg(), "behind the segment's end: %d", m.vector);
    m.kind = MODE_UNREAL;
    m.ebx = (u32)(u64)image_start;
    mode_run(&m, CODE(0x67, 0x66, 0x8b, 0x03)); /* mov eax, [ebx]: limits survived the switch */
    CHECK_EQ(m.vector, -1);
    CHECK_EQ(m.eax, *(volatile u32 *)image_start);
    m.kind = MODE_REAL;
    *(volatile u8 *)0x9010 = 0x42;
    m.eax = 0x900;
    m.ebx = 0x10;
    mode_run(&m, CODE(0x8e, 0xc0, 0x26, 0x8a, 0x07)); /* mov es, ax; mov al, es:[bx] */
    CHECK_EQ(m.eax & 0xff, 0x42);
    m.eax = 0xffff;
    m.ebx = 0x10;
    mode_run(&m, CODE(0x8e, 0xc0, 0x26, 0x8a, 0x07));
    CHECK_EQ(m.eax & 0xff, *(volatile u8 *)0x100000);
    m.eax = 0;
    m.ecx = 0;
    mode_run(&m, CODE(0x0f, 0xa2)); /* cpuid */
    CHECK_EQ(m.eax, cpuid(0, 0).eax);
    CHECK_EQ(m.ebx, cpuid(0, 0).ebx);
    m.ecx = MSR_IA32_STAR;
    m.eax = 0x12345678;
    m.edx = 0x9abcdef0;
    mode_run(&m, CODE(0x0f, 0x30));
    CHECK_EQ(m.vector, -1);
    CHECK_EQ(rdmsr(MSR_IA32_STAR), 0x9abcdef012345678);
    /* mov ds, ax; outsb; mov es, ax; insb: segment bases count in string I/O */
    *(volatile u8 *)0x9234 = 0x6b;
    *(volatile u8 *)0x9235 = 0;
    m = (struct mode){.cr0 = MODE_CR0, .kind = MODE_REAL};
    m.eax = 0x920;
    m.esi = 0x34;
    m.edi = 0x35;
    m.edx = 0x3ff;
    mode_run(&m, CODE(0x8e, 0xd8, 0x8e, 0xc0, 0x6e, 0x6c));
    CHECK_EQ(m.vector, -1);
    CHECK_EQ(m.esi, 0x35);
    CHECK_EQ(m.edi, 0x36);
    CHECK_EQ(*(volatile u8 *)0x9235, 0x6b);
}

/* MOV to CR0 in 64-bit mode: what is refused, and what is kept. */
static void cr0(void)
{
    u64 before = read_cr0();
    static const struct {
        const char *name;
        u64 set, clear;
    } bad[] = {
        {"PE without paging off", 0,       CR0_PE         },
        {"PE and PG cleared",     0,       CR0_PE | CR0_PG},
        {"NW without CD",         CR0_NW,  CR0_CD         },
        {"bit 32",                BIT(32), 0              },
        {"bit 63",                BIT(63), 0              },
        {"paging off, 64-bit CS", 0,       CR0_PG         },
    };
    static const u64 kept[] = {CR0_MP, CR0_EM, CR0_TS, CR0_NE, CR0_WP, CR0_AM, CR0_CD};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (cpu_is_tcg()) {
            break; /* it takes them all */
        }
        struct fault f = TRY("mov %0, %%cr0",
                             :
                             : "r"((before | bad[i].set) & ~bad[i].clear)
                             : "memory");

        CHECK(f.vector == VEC_GP && f.error == 0, "%s: vector %d", bad[i].name, f.vector);
        CHECK_EQ_AT(read_cr0(), before, "CR0 after %s", bad[i].name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        for (u32 on = 0; on < 2; on++) {
            u64 want = on ? before | kept[i] : before & ~kept[i];
            struct fault f = TRY("mov %0, %%cr0", : : "r"(want) : "memory");
            u64 got = read_cr0();

            write_cr0(before);
            CHECK_EQ_AT(f.vector, -1, "writing CR0 %lx", want);
            CHECK_EQ_AT(got, want, "CR0");
        }
    }
    write_cr0(before | CR0_CD | CR0_NW);
    CHECK_EQ(read_cr0(), before | CR0_CD | CR0_NW);
    write_cr0(before & ~CR0_ET); /* always 1 */
    CHECK_EQ(read_cr0(), before);
    if (!cpu_is_tcg()) {
        write_cr0(before | BIT(6) | BIT(28)); /* reserved, ignored */
        CHECK_EQ(read_cr0(), before);
    }
    write_cr0(before);
}

static void msw(void)
{
    u64 before = read_cr0(), got = ~0ull;

    __asm__ volatile("smsw %0" : "=r"(got));
    CHECK_EQ(got & 0xffff, before & 0xffff);
    __asm__ volatile("lmsw %w0" : : "r"(before | CR0_TS | CR0_EM));
    CHECK_EQ(read_cr0(), before | CR0_TS | CR0_EM);
    __asm__ volatile("clts");
    CHECK_EQ(read_cr0(), before | CR0_EM);
    __asm__ volatile("lmsw %w0" : : "r"((u64)0)); /* PE cannot be cleared that way */
    CHECK_EQ(read_cr0(), (before & ~(CR0_MP | CR0_EM | CR0_TS)));
    static const u16 word = 0xfff7; /* from memory; only bits 3:0 count */
    __asm__ volatile("lmsw %0" : : "m"(word));
    CHECK_EQ(read_cr0(), (before & ~CR0_TS) | CR0_MP | CR0_EM);
    write_cr0(before);
    static const u16 ts = 0x000b;
    __asm__ volatile("lmsw %0" : : "m"(ts));
    CHECK_EQ(read_cr0(), before | CR0_TS);
    struct fault f = TRY("fnop", : :);
    CHECK_FAULT(f, VEC_NM);
    write_cr0(before);
    f = TRY("fnop", : :);
    CHECK_FAULT(f, -1);
}

static void cr3_cr4(void)
{
    u64 cr3 = read_cr3(), cr4 = read_cr4();
    struct fault f;

    if (!cpu_is_tcg()) {
        f = TRY("mov %0, %%cr4", : : "r"(cr4 & ~CR4_PAE) : "memory");
        CHECK(f.vector == VEC_GP, "PAE cleared in 64-bit mode: %d", f.vector);
        f = TRY("mov %0, %%cr4", : : "r"(cr4 ^ CR4_LA57) : "memory");
        CHECK(f.vector == VEC_GP, "LA57 changed in 64-bit mode: %d", f.vector);
        f = TRY("mov %0, %%cr4", : : "r"(cr4 | BIT(15)) : "memory");
        CHECK(f.vector == VEC_GP, "bit 15: %d", f.vector);
        f = TRY("mov %0, %%cr4", : : "r"(cr4 | BIT(31)) : "memory");
        CHECK(f.vector == VEC_GP, "bit 31: %d", f.vector);
        f = TRY("mov %0, %%cr3", : : "r"(cr3 | 1ull << phys_bits()) : "memory");
        CHECK(f.vector == VEC_GP, "CR3 beyond the physical addresses: %d", f.vector);
        f = TRY("mov %0, %%cr3", : : "r"(cr3 | BIT(62)) : "memory");
        CHECK(f.vector == VEC_GP, "CR3 bit 62: %d", f.vector);
    }
    CHECK_EQ(read_cr4(), cr4);
    CHECK_EQ(read_cr3(), cr3);
    write_cr3(cr3 | PTE_PCD | PTE_PWT);
    CHECK_EQ(read_cr3(), cr3 | PTE_PCD | PTE_PWT);
    write_cr3(cr3);
    if (!(cpuid(1, 0).ecx & BIT(17)) || cpu_is_tcg()) {
        return;
    }
    write_cr3(cr3 | PTE_PWT);
    f = TRY("mov %0, %%cr4", : : "r"(cr4 | CR4_PCIDE) : "memory");
    CHECK(f.vector == VEC_GP, "PCIDE with CR3[11:0] = 8: %d", f.vector);
    write_cr3(cr3);
    write_cr4(cr4 | CR4_PCIDE);
    CHECK_EQ(read_cr4(), cr4 | CR4_PCIDE);
    write_cr3(cr3 | 0x123);
    CHECK_EQ(read_cr3(), cr3 | 0x123);
    write_cr3(cr3 | BIT(63) | 0x124); /* no flush; the bit is not kept */
    CHECK_EQ(read_cr3(), cr3 | 0x124);
    write_cr3(cr3);
    f = TRY("mov %0, %%cr0", : : "r"(read_cr0() & ~CR0_PG) : "memory");
    CHECK(f.vector == VEC_GP, "PG cleared with PCIDE: %d", f.vector);
    write_cr4(cr4);
}

static void cr8(void)
{
    for (u64 v = 0; v < 16; v++) {
        write_cr8(v);
        CHECK_EQ_AT(read_cr8(), v, "CR8");
    }
    write_cr8(0);
    if (!cpu_is_tcg()) {
        struct fault f = TRY("mov %0, %%cr8", : : "r"(16ull));

        CHECK_FAULT(f, VEC_GP);
        f = TRY("mov %0, %%cr8", : : "r"(BIT(63)));
        CHECK_FAULT(f, VEC_GP);
    }
    CHECK_EQ(read_cr8(), 0);
}

/* 32-bit mode: what MOV to CR0, CR4 and CR3 refuse there. */
static void protected_mode(void)
{
    static const u8 to_cr0[] = {0x0f, 0x22, 0xc0}, to_cr4[] = {0x0f, 0x22, 0xe0};
    struct mode m = flat();

    if (cpu_is_tcg()) {
        test_skip("protected mode: QEMU TCG takes all of these");
        return;
    }
    m.eax = MODE_CR0 | (u32)CR0_NW;
    mode_run(&m, to_cr0, sizeof(to_cr0));
    CHECK(m.vector == VEC_GP && m.error == 0, "NW without CD: %d", m.vector);
    m.eax = (MODE_CR0 & ~1u) | (u32)CR0_PG;
    mode_run(&m, to_cr0, sizeof(to_cr0));
    CHECK(m.vector == VEC_GP, "PG without PE: %d", m.vector);
    m.eax = (u32)CR4_PCIDE;
    mode_run(&m, to_cr4, sizeof(to_cr4));
    CHECK(m.vector == VEC_GP, "PCIDE outside 64-bit mode: %d", m.vector);
    m.eax = (u32)CR4_VMXE;
    mode_run(&m, to_cr4, sizeof(to_cr4));
    CHECK(m.vector == VEC_GP || !on_socle(), "VMXE: %d", m.vector);
    m.efer = EFER_LME; /* and PG without PAE */
    m.eax = MODE_CR0 | (u32)CR0_PG;
    mode_run(&m, to_cr0, sizeof(to_cr0));
    CHECK(m.vector == VEC_GP, "LME and PG without PAE: %d", m.vector);
    CHECK_EQ(m.efer, EFER_LME);
}

/* PAE: four pointers, loaded by MOV to CR3, kept until the next one. */
static u64 pdpt[4] ALIGNED(32), other_pdpt[4] ALIGNED(32);
static u64 pd[2][512] ALIGNED(4096);

#define PDPTE_P 1u

static void pae_tables(void)
{
    memset(pdpt, 0, sizeof(pdpt));
    for (u64 i = 0; i < 512; i++) {
        pd[0][i] = i * SIZE_2M | PTE_P | PTE_W | PTE_PS;
        pd[1][i] = i * SIZE_2M | PTE_P | PTE_W | PTE_PS;
    }
    pdpt[0] = (u64)pd[0] | PDPTE_P;
    pdpt[1] = (u64)pd[1] | PDPTE_P;
}

static void pae(void)
{
    static const u8 nothing[] = {0x90}, to_cr3[] = {0x0f, 0x22, 0xd8};
    struct mode m = flat();
    volatile u32 *word = (volatile u32 *)page_alloc(SIZE_2M, SIZE_2M);

    pae_tables();
    m.cr0 |= (u32)CR0_PG;
    m.cr4 = (u32)CR4_PAE;
    m.cr3 = (u32)(u64)pdpt;
    mode_run(&m, nothing, sizeof(nothing));
    CHECK_EQ(m.vector, -1);
    *word = 0xabcdef01;
    m.esi = (u32)(u64)word | 0x40000000;        /* through the second pointer */
    mode_run(&m, CODE(0x8b, 0x06, 0xff, 0x06)); /* mov eax, [esi]; inc dword [esi] */
    CHECK_EQ(m.vector, -1);
    CHECK_EQ(m.eax, 0xabcdef01);
    CHECK_EQ(*word, 0xabcdef02);
    m.esi = 0x80000000u;
    mode_run(&m, CODE(0x8b, 0x06));
    CHECK(m.vector == VEC_PF && m.error == 0 && m.cr2 == 0x80000000u, "no pointer: %d %x %x",
          m.vector, m.error, m.cr2);
    /* mov dword [edi], 0 (the pointer in memory); cpuid; mov eax, [esi]: still mapped. Then CR3
     * anew: gone. */
    m.esi = (u32)(u64)word | 0x40000000;
    m.edi = (u32)(u64)&pdpt[1];
    if (!cpu_is_tcg()) {
        mode_run(&m, CODE(0xc7, 0x07, 0, 0, 0, 0, 0x0f, 0xa2, 0x8b, 0x06));
        CHECK(m.vector == -1 && m.eax == 0xabcdef02, "PDPTE changed in memory: %d %x", m.vector,
              m.eax);
    }
    pdpt[1] = (u64)pd[1] | PDPTE_P;
    mode_run(&m, CODE(0xc7, 0x07, 0, 0, 0, 0, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x8b, 0x06));
    CHECK(m.vector == VEC_PF, "PDPTE gone and CR3 loaded: %d", m.vector);
    pdpt[1] = (u64)pd[1] | PDPTE_P;
    m.ebx = (u32)(u64)other_pdpt; /* the second one instead; with the image in its first pointer */
    memcpy(other_pdpt, pdpt, sizeof(pdpt));
    other_pdpt[2] = (u64)pd[1] | PDPTE_P;
    m.esi = (u32)(u64)word | 0x80000000u;
    mode_run(&m, CODE(0x0f, 0x22, 0xdb, 0x8b, 0x06)); /* mov cr3, ebx; mov eax, [esi] */
    CHECK(m.vector == -1 && m.eax == 0xabcdef02, "another CR3: %d %x", m.vector, m.eax);
    if (cpu_is_tcg()) {
        return; /* it does not check reserved bits of the pointers */
    }
    for (u32 bit = 1; bit < 64; bit++) {
        bool reserved = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= phys_bits();

        if (!reserved) {
            continue;
        }
        other_pdpt[2] = (u64)pd[1] | PDPTE_P | BIT(bit);
        m.eax = m.ebx;
        mode_run(&m, to_cr3, sizeof(to_cr3));
        CHECK(m.vector == VEC_GP && m.error == 0, "PDPTE bit %u: %d", bit, m.vector);
        other_pdpt[2] = BIT(bit); /* not present: whatever */
        m.eax = m.ebx;
        mode_run(&m, to_cr3, sizeof(to_cr3));
        CHECK(m.vector == -1, "PDPTE bit %u, not present: %d", bit, m.vector);
    }
    other_pdpt[2] = (u64)pd[1] | PDPTE_P | BIT(1); /* and when paging is switched on */
    m = flat();
    m.cr4 = (u32)CR4_PAE;
    m.cr3 = (u32)(u64)other_pdpt;
    m.eax = MODE_CR0 | (u32)CR0_PG;
    mode_run(&m, CODE(0x0f, 0x22, 0xc0));
    CHECK(m.vector == VEC_GP, "PG with a bad PDPTE: %d", m.vector);
}

static void xcr0(void)
{
    u64 cr4 = read_cr4(), supported;
    struct fault f;

    if (!(cpuid(1, 0).ecx & BIT(26))) {
        test_skip("xcr0: no XSAVE");
        return;
    }
    write_cr4(cr4 & ~CR4_OSXSAVE);
    f = TRY("xsetbv", : : "a"(1), "c"(0), "d"(0));
    CHECK_FAULT(f, VEC_UD);
    write_cr4(cr4 | CR4_OSXSAVE);
    supported = cpuid(0xd, 0).eax | (u64)cpuid(0xd, 0).edx << 32;
    for (u32 bit = 0; bit < 64; bit++) {
        u64 value = 3 ^ BIT(bit);

        if (bit == 1 || (supported >> bit & 1 && bit != 0)) {
            continue; /* SSE may be off, and what is supported may be on, with conditions */
        }
        if (bit == 9 && cpu_is_tcg()) {
            continue; /* PKRU: it lets guests have all that itself has */
        }
        f = TRY("xsetbv", : : "a"((u32)value), "c"(0), "d"((u32)(value >> 32)));
        CHECK(f.vector == VEC_GP && f.error == 0, "XCR0 %lx: %d", value, f.vector);
    }
    if (supported & 4) {
        f = TRY("xsetbv", : : "a"(5), "c"(0), "d"(0));
        CHECK(f.vector == VEC_GP || cpu_is_tcg(), "AVX without SSE: %d", f.vector);
        f = TRY("xsetbv", : : "a"(7), "c"(0), "d"(0));
        CHECK_FAULT(f, -1);
    }
    if (supported & 0xe0 && !cpu_is_tcg()) {
        for (u32 part = 0x20; part <= 0xc0; part += 0x20) {
            f = TRY("xsetbv", : : "a"(7 | part), "c"(0), "d"(0));
            CHECK(f.vector == VEC_GP, "AVX-512 in part: %x: %d", part, f.vector);
        }
        f = TRY("xsetbv", : : "a"(0xe3), "c"(0), "d"(0));
        CHECK(f.vector == VEC_GP, "AVX-512 without AVX: %d", f.vector);
    }
    f = TRY("xsetbv", : : "a"(1), "c"(1), "d"(0));
    CHECK(f.vector == VEC_GP, "XCR1: %d", f.vector);
    f = TRY("xsetbv", : : "a"(1), "c"(~0u), "d"(0));
    CHECK(f.vector == VEC_GP, "XCR -1: %d", f.vector);
    f = TRY("xsetbv", : : "a"(1), "c"(0), "d"(0));
    CHECK_FAULT(f, -1);
    u32 lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    CHECK(lo == 1 && hi == 0, "XCR0 %x:%x", hi, lo);
    f = user_run(CODE(0x31, 0xc9, 0x31, 0xd2, 0x31, 0xc0, 0xff, 0xc0, 0x0f, 0x01, 0xd1), 0, 0,
                 NULL);
    CHECK_FAULT(f, VEC_GP);
    __asm__ volatile("xsetbv" : : "a"(3), "c"(0), "d"(0));
    write_cr4(cr4);
}

static void debug_registers(void)
{
    struct fault f;

    if (cpu_is_tcg()) {
        return;
    }
    f = TRY("mov %0, %%dr7", : : "r"(BIT(32) | 0x400));
    CHECK_FAULT(f, VEC_GP);
    f = TRY("mov %0, %%dr6", : : "r"(BIT(32)));
    CHECK_FAULT(f, VEC_GP);
    __asm__ volatile("mov %0, %%dr0; mov %1, %%dr3" : : "r"(0x123456789abcdefull), "r"(~0ull));
    (void)cpuid(0, 0);
    u64 a, b;
    __asm__ volatile("mov %%dr0, %0; mov %%dr3, %1" : "=r"(a), "=r"(b));
    CHECK_EQ(a, 0x123456789abcdefull);
    CHECK_EQ(b, ~0ull);
    __asm__ volatile("mov %0, %%dr0; mov %0, %%dr3" : : "r"(0ull));
}

/* Ring 3 gets #GP for all of these, whatever the hypervisor intercepts. */
static void ring3(void)
{
    static const struct {
        const char *name;
        u8 code[8];
        u8 bytes, vector;
    } list[] = {
        {"hlt",          {0xf4},                   1, VEC_GP},
        {"cli",          {0xfa},                   1, VEC_GP},
        {"sti",          {0xfb},                   1, VEC_GP},
        {"clts",         {0x0f, 0x06},             2, VEC_GP},
        {"invd",         {0x0f, 0x08},             2, VEC_GP},
        {"wbinvd",       {0x0f, 0x09},             2, VEC_GP},
        {"rdmsr",        {0x0f, 0x32},             2, VEC_GP},
        {"wrmsr",        {0x0f, 0x30},             2, VEC_GP},
        {"mov cr0",      {0x0f, 0x22, 0xc0},       3, VEC_GP},
        {"mov from cr3", {0x0f, 0x20, 0xd8},       3, VEC_GP},
        {"mov cr8",      {0x44, 0x0f, 0x22, 0xc0}, 4, VEC_GP},
        {"mov dr0",      {0x0f, 0x23, 0xc0},       3, VEC_GP},
        {"lmsw",         {0x0f, 0x01, 0xf0},       3, VEC_GP},
        {"invlpg",       {0x0f, 0x01, 0x3c, 0x24}, 4, VEC_GP},
        {"lgdt",         {0x0f, 0x01, 0x14, 0x24}, 4, VEC_GP},
        {"lidt",         {0x0f, 0x01, 0x1c, 0x24}, 4, VEC_GP},
        {"ltr",          {0x0f, 0x00, 0xd8},       3, VEC_GP},
        {"lldt",         {0x0f, 0x00, 0xd0},       3, VEC_GP},
        {"swapgs",       {0x0f, 0x01, 0xf8},       3, VEC_GP},
        {"in",           {0xec},                   1, VEC_GP},
        {"out",          {0xee},                   1, VEC_GP},
        {"sysret",       {0x0f, 0x07},             2, VEC_GP},
        {"ud2",          {0x0f, 0x0b},             2, VEC_UD},
        {"int 0x80",     {0xcd, 0x80},             2, 0x80  },
        {"int 0x0d",     {0xcd, 0x0d},             2, VEC_GP},
    };
    u64 cr4 = read_cr4(), efer = rdmsr(MSR_IA32_EFER);

    wrmsr(MSR_IA32_EFER, efer | EFER_SCE);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        struct fault f = user_run(list[i].code, list[i].bytes, 0, 0, NULL);

        CHECK(f.vector == list[i].vector, "%s in ring 3: %d", list[i].name, f.vector);
    }
    wrmsr(MSR_IA32_EFER, efer);
    write_cr4(cr4 | CR4_TSD);
    struct fault f = user_run(CODE(0x0f, 0x31, 0xcd, 0x80), 0, 0, NULL);
    CHECK(f.vector == VEC_GP, "rdtsc with TSD: %d", f.vector);
    write_cr4(cr4);
    f = user_run(CODE(0x0f, 0x31, 0xcd, 0x80), 0, 0, NULL);
    CHECK(f.vector == 0x80, "rdtsc without TSD: %d", f.vector);
    f = user_run(CODE(0x0f, 0xa2, 0xcd, 0x80), 0, 0, NULL);
    CHECK(f.vector == 0x80, "cpuid: %d", f.vector);
    f = user_run(CODE(0x0f, 0x01, 0xe0, 0xcd, 0x80), 0, 0, NULL);
    CHECK(f.vector == 0x80, "smsw: %d", f.vector);
    if (cpuid(7, 0).ecx & BIT(2)) {
        write_cr4(cr4 | CR4_UMIP);
        f = user_run(CODE(0x0f, 0x01, 0xe0, 0xcd, 0x80), 0, 0, NULL);
        CHECK(f.vector == VEC_GP, "smsw with UMIP: %d", f.vector);
        f = user_run(CODE(0x0f, 0x01, 0x0c, 0x24, 0xcd, 0x80), 0, 0, NULL);
        CHECK(f.vector == VEC_GP, "sidt with UMIP: %d", f.vector);
        write_cr4(cr4);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"transitions",     transitions    },
        {"real-mode",       real_mode      },
        {"protected-mode",  protected_mode },
        {"cr0",             cr0            },
        {"msw",             msw            },
        {"cr3-cr4",         cr3_cr4        },
        {"cr8",             cr8            },
        {"pae",             pae            },
        {"xcr0",            xcr0           },
        {"debug-registers", debug_registers},
        {"ring3",           ring3          },
    };

    test_all("modes", tests, ARRAY_SIZE(tests));
}
