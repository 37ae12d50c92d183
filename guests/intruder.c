/* SPDX-License-Identifier: MIT */
/*
 * Tries every way out that it can think of, and must find none: physical addresses beyond its
 * memory, all ports, all MSRs, instructions of other modes and of virtualization itself,
 * hypercalls, senseless control registers. Everything must be answered as the architecture says,
 * and its own memory must stay as it was. With "-q", fewer ports and addresses. On another machine
 * than Socle only what is harmless is tried.
 */
#include "guests/lib/boot.h"
#include "guests/lib/code.h"
#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/mode.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/hw/ioapic.h"
#include "lib/hw/lapic.h"
#include "lib/hw/vga.h"
#include "lib/string.h"

static bool quick;
static u64 seed = 0x1db3d743;

/* --- own memory: nobody may change it, by whatever way --- */

#define CANARY_BYTES (1u << 20)

static u64 *canary;

static void canary_fill(void)
{
    canary = (u64 *)page_alloc(CANARY_BYTES, PAGE_SIZE);
    for (u64 i = 0; i < CANARY_BYTES / 8; i++) {
        canary[i] = i * 0x9e3779b97f4a7c15ull;
    }
}

static void canary_check(void)
{
    u64 wrong = 0;

    for (u64 i = 0; i < CANARY_BYTES / 8; i++) {
        wrong += canary[i] != i * 0x9e3779b97f4a7c15ull;
    }
    CHECK_EQ_AT(wrong, 0, "words of its own memory that changed");
}

/* --- physical addresses --- */

static bool is_ram(u64 pa)
{
    for (u32 i = 0; i < boot.ram_count; i++) {
        const struct boot_ram *r = &boot.ram[i];

        if (pa + PAGE_SIZE > r->base && pa < r->base + r->bytes && r->type != 2) {
            return true;
        }
    }
    return false;
}

/* RAM, or a device: the I/O APIC, the local APIC. */
static bool is_taken(u64 pa)
{
    u64 page = ALIGN_DOWN(pa, PAGE_SIZE);

    return is_ram(pa) || page == IOAPIC_BASE || page == APIC_PAGE;
}

static u32 looked_at;

/* Nothing is there: reads are all-ones, writes have no effect. */
static void look_at(u64 pa)
{
    volatile u64 *p;
    u64 first, second;

    if (is_taken(pa)) {
        return;
    }
    p = map_window(pa);
    first = *p;
    *p = 0x0123456789abcdefull;
    second = *p;
    looked_at++;
    if (first != ~0ull || second != ~0ull) {
        CHECK_EQ_AT(first, ~0ull, "what lies at %lx", pa);
        CHECK_EQ_AT(second, ~0ull, "what lies at %lx after a write", pa);
    }
}

static void widths_at(u64 pa)
{
    volatile u8 *p;

    if (is_taken(pa)) {
        return;
    }
    p = map_window(pa);
    CHECK_EQ_AT(*p, 0xff, "byte at %lx", pa);
    CHECK_EQ_AT(*(volatile u16 *)p, 0xffff, "word at %lx", pa);
    CHECK_EQ_AT(*(volatile u32 *)p, 0xffffffff, "doubleword at %lx", pa);
    CHECK_EQ_AT(*(volatile u32 *)(p + 1), 0xffffffff, "doubleword at %lx", pa + 1);
    *p = 1;
    *(volatile u16 *)p = 2;
    *(volatile u32 *)p = 3;
    CHECK_EQ_AT(*p, 0xff, "byte at %lx after writes", pa);
}

static void physical(void)
{
    static const u64 places[] = {
        0xa0000,    0xb0000,    0xb7000,    0xfec01000, 0xfed00000, 0xfed40000, 0xfedff000,
        0xfee01000, 0xffc00000, 0xfff00000, 0xfffff000, 0xe0000000, 0xb0000000,
    };
    u64 end = ALIGN_UP(boot.memory_end, PAGE_SIZE), limit = 1ull << phys_bits();

    if (!on_socle()) {
        test_skip("physical: there may be devices");
        return;
    }
    for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
        look_at(places[i]);
        widths_at(places[i]);
    }
    for (u64 pa = 0xa0000; pa < VGA_TEXT;
         pa += PAGE_SIZE) { /* then come the screen and the BIOS area */
        look_at(pa);
    }
    for (u64 pa = end; pa < end + (quick ? 1 << 20 : 8 << 20) && pa < limit; pa += PAGE_SIZE) {
        look_at(pa);
    }
    print("intruder: %u pages looked at\n", looked_at);
    for (u32 i = 0; i < (quick ? 256 : 2048); i++) {
        look_at(ALIGN_DOWN(end + test_random(&seed) % SIZE_1G, 8) % limit);
    }
    for (u64 pa = SIZE_2M; pa < limit; pa <<= 1) {
        look_at(pa);
        look_at(pa - PAGE_SIZE);
        look_at(pa + PAGE_SIZE);
        look_at(pa | 0xfee00000);
        widths_at(pa);
    }
    for (u32 i = 0; i < (quick ? 256 : 2048); i++) {
        look_at(ALIGN_DOWN(test_random(&seed) % limit, 8));
    }
    look_at(limit - PAGE_SIZE);
    print("intruder: %u pages looked at\n", looked_at);
    CHECK(looked_at > 500, "%u pages", looked_at);
    canary_check();
}

/* Large pages reach over the memory's end: inside it is there, behind it nothing. */
static void large_pages(void)
{
    u64 end = ALIGN_UP(boot.memory_end, SIZE_2M), va = MAP_AREA + 8 * SIZE_1G;

    if (!on_socle()) {
        test_skip("large pages: there may be devices");
        return;
    }
    pte_set(va, 2, end | PTE_P | PTE_W | PTE_PS);
    for (u64 o = 0; o < SIZE_2M; o += 0x21000) {
        CHECK_EQ_AT(*(volatile u32 *)(va + o), 0xffffffff, "behind the end, at %lx", end + o);
        *(volatile u32 *)(va + o) = 0;
    }
    pte_set(va, 2, 0);
    canary_check();
}

/* String I/O straight to and from where nothing is. */
static void string_io(void)
{
    u64 end = ALIGN_UP(boot.memory_end, PAGE_SIZE);
    struct code_regs regs = {.rdx = 0x1230, .rcx = 16};
    struct fault f;

    if (!on_socle()) {
        test_skip("string I/O: there may be devices");
        return;
    }
    outb(COM1 + UART_SCR, 0x11);
    regs.rdi = (u64)map_window(end) + 8;
    f = code_try(CODE(0xf3, 0x6c), &regs);
    CHECK_FAULT(f, -1);
    CHECK_EQ(regs.rcx, 0);
    regs = (struct code_regs){.rdx = COM1 + UART_SCR, .rcx = 1, .rsi = (u64)map_window(end)};
    f = code_try(CODE(0xf3, 0x6e), &regs);
    CHECK_FAULT(f, -1);
    CHECK_EQ(inb(COM1 + UART_SCR), 0xff);
}

/* --- ports --- */

/* The devices of a PC. */
static bool own_port(u32 port)
{
    static const struct {
        u16 first, last;
    } own[] = {
        {0x20,  0x21 }, /* PIC */
        {0x40,  0x43 }, /* PIT */
        {0x60,  0x61 }, /* keyboard controller, system control */
        {0x64,  0x64 },
        {0x70,  0x71 }, /* RTC */
        {0x92,  0x92 },
        {0xa0,  0xa1 },
        {0xe9,  0xe9 }, /* debug console */
        {0xf4,  0xf7 }, /* debug exit */
        {0x3d4, 0x3d5}, /* VGA */
        {0x3da, 0x3da},
        {0x3f8, 0x3ff}, /* COM1 */
        {0x4d0, 0x4d1}, /* PIC: edge or level */
        {0x505, 0x505}, /* panic */
        {0x510, 0x51b}, /* fw_cfg */
        {0x600, 0x60b}, /* ACPI */
        {0xcf8, 0xcff}, /* reset, PCI */
    };

    for (u32 i = 0; i < ARRAY_SIZE(own); i++) {
        if (port >= own[i].first && port <= own[i].last) {
            return true;
        }
    }
    return false;
}

static void port_at(u32 port)
{
    u32 b = inb((u16)port), w = inw((u16)port), l = inl((u16)port);

    if (!own_port(port)) {
        outb((u16)port, 0x5a);
        outw((u16)port, 0x5a5a);
    }
    if (port != PORT_DEBUG_EXIT) {
        outl((u16)port, 0x5a5a5a5a);
    }
    if (!own_port(port) && (b != 0xff || w != 0xffff || l != 0xffffffff)) {
        CHECK(false, "port %x reads %x, %x, %x", port, b, w, l);
    }
}

static void ports(void)
{
    if (!on_socle()) {
        test_skip("ports: there are devices");
        return;
    }
    for (u32 port = 0; port < 0x10000; port += quick && port >= 0x500 ? 13 : 1) {
        port_at(port);
        if (!(port & 0x3fff) && port) {
            print("intruder: ports up to %x\n", port);
        }
    }
    outb(COM1 + UART_MCR,
         UART_MCR_LOOP); /* its own serial port, in a loop so that nothing is said */
    for (u32 i = 0; i < 8; i++) {
        for (u32 v = 0; v < 256; v += 17) {
            if (i != 3 && i != 4) {
                outb((u16)(COM1 + i), (u8)v);
                (void)inb((u16)(COM1 + i));
            }
        }
    }
    console_init();
    CHECK(true, "the ports answered");
    canary_check();
}

/* --- MSRs --- */

static u32 msrs_readable, msrs_tried;

static void msr_range(u32 first, u32 count)
{
    for (u32 i = 0; i < count; i++) {
        u32 msr = first + i, lo = 0, hi = 0;
        struct fault f = TRY("rdmsr", : "+a"(lo), "+d"(hi) : "c"(msr) : "memory");

        msrs_tried++;
        if (f.vector == -1) {
            msrs_readable++;
            test_note("MSR %x is %x:%x", msr, hi, lo);
            f = TRY("wrmsr", : : "c"(msr), "a"(lo), "d"(hi) : "memory");
            CHECK(f.vector == -1 || (f.vector == VEC_GP && f.error == 0),
                  "MSR %x written: vector %d", msr, f.vector);
        } else {
            if (f.vector != VEC_GP || f.error != 0) {
                CHECK(false, "MSR %x: vector %d error %lx", msr, f.vector, f.error);
            }
            for (u32 n = 0; n < 2; n++) {
                f = TRY("wrmsr", : : "c"(msr), "a"(0 - n), "d"(0 - n) : "memory");
                bool write_only = msr == MSR_IA32_BIOS_UPDT_TRIG && f.vector == -1;

                if (f.vector != VEC_GP && !write_only) {
                    CHECK(false, "MSR %x cannot be read, but written: vector %d", msr, f.vector);
                }
            }
        }
    }
    print("intruder: MSRs up to %x\n", first + count - 1);
}

static void msrs(void)
{
    if (!on_socle()) {
        test_skip("msrs: writing back has effects on a real machine");
        return;
    }
    msr_range(0, 0x2000);
    msr_range(0x40000000, 0x200);
    msr_range(0xc0000000, 0x2000);
    msr_range(0xc0010000, 0x200);
    msr_range(0xfffffff0, 16);
    for (u32 i = 0; i < 500; i++) {
        u32 msr = (u32)test_random(&seed);
        u32 lo, hi;
        struct fault f = TRY("rdmsr", : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");

        if (msr > 0x2000 && (msr & ~0x1fffu) != 0xc0000000) {
            CHECK(f.vector == VEC_GP, "MSR %x: vector %d", msr, f.vector);
        }
    }
    print("intruder: %u MSRs tried, %u can be read\n", msrs_tried, msrs_readable);
    CHECK(msrs_readable > 10, "%u MSRs can be read", msrs_readable);
    CHECK(TRY("rdmsr", : : "c"(0x480) : "rax", "rdx").vector == VEC_GP, "VMX_BASIC");
    canary_check();
}

/* --- instructions --- */

static const struct attempt {
    const char *name;
    u8 code[8];
    u8 bytes;
    s8 vector;
    bool long_only; /* other meaning outside 64-bit mode */
} attempts[] = {
    {"VMXON",     {0xf3, 0x0f, 0xc7, 0x37},             4, VEC_UD, false},
    {"VMPTRLD",   {0x0f, 0xc7, 0x37},                   3, VEC_UD, false},
    {"VMPTRST",   {0x0f, 0xc7, 0x3f},                   3, VEC_UD, false},
    {"VMCLEAR",   {0x66, 0x0f, 0xc7, 0x37},             4, VEC_UD, false},
    {"VMREAD",    {0x0f, 0x78, 0xc8},                   3, VEC_UD, false},
    {"VMWRITE",   {0x0f, 0x79, 0xc8},                   3, VEC_UD, false},
    {"VMCALL",    {0x0f, 0x01, 0xc1},                   3, VEC_UD, false},
    {"VMLAUNCH",  {0x0f, 0x01, 0xc2},                   3, VEC_UD, false},
    {"VMRESUME",  {0x0f, 0x01, 0xc3},                   3, VEC_UD, false},
    {"VMXOFF",    {0x0f, 0x01, 0xc4},                   3, VEC_UD, false},
    {"VMFUNC",    {0x0f, 0x01, 0xd4},                   3, VEC_UD, false},
    {"INVEPT",    {0x66, 0x0f, 0x38, 0x80, 0x07},       5, VEC_UD, false},
    {"INVVPID",   {0x66, 0x0f, 0x38, 0x81, 0x07},       5, VEC_UD, false},
    {"GETSEC",    {0x0f, 0x37},                         2, VEC_UD, false},
    {"ENCLS",     {0x0f, 0x01, 0xcf},                   3, VEC_UD, false},
    {"ENCLU",     {0x0f, 0x01, 0xd7},                   3, VEC_UD, false},
    {"ENCLV",     {0x0f, 0x01, 0xc0},                   3, VEC_UD, false},
    {"PCONFIG",   {0x0f, 0x01, 0xc5},                   3, VEC_UD, false},
    {"RSM",       {0x0f, 0xaa},                         2, VEC_UD, false},
    {"VMRUN",     {0x0f, 0x01, 0xd8},                   3, VEC_UD, false},
    {"VMMCALL",   {0x0f, 0x01, 0xd9},                   3, VEC_UD, false},
    {"VMLOAD",    {0x0f, 0x01, 0xda},                   3, VEC_UD, false},
    {"VMSAVE",    {0x0f, 0x01, 0xdb},                   3, VEC_UD, false},
    {"STGI",      {0x0f, 0x01, 0xdc},                   3, VEC_UD, false},
    {"CLGI",      {0x0f, 0x01, 0xdd},                   3, VEC_UD, false},
    {"SKINIT",    {0x0f, 0x01, 0xde},                   3, VEC_UD, false},
    {"INVLPGA",   {0x0f, 0x01, 0xdf},                   3, VEC_UD, false},
    {"TDCALL",    {0x66, 0x0f, 0x01, 0xcc},             4, VEC_UD, false},
    {"SEAMCALL",  {0x66, 0x0f, 0x01, 0xcf},             4, VEC_UD, false},
    {"MONITOR",   {0x0f, 0x01, 0xc8},                   3, VEC_UD, false},
    {"MWAIT",     {0x0f, 0x01, 0xc9},                   3, VEC_UD, false},
    {"RDPMC",     {0x0f, 0x33},                         2, VEC_GP, false},
    {"ud0",       {0x0f, 0xff, 0xc0},                   3, VEC_UD, false},
    {"ud1",       {0x0f, 0xb9, 0xc0},                   3, VEC_UD, false},
    {"wbinvd",    {0x0f, 0x09},                         2, -1,     false},
    {"invd",      {0x0f, 0x08},                         2, -1,     false},
    {"swapgs x2", {0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8}, 6, -1,     true },
};

/* The hypercall, which the other vendor's CPUs do not have. */
static bool own_hypercall(const struct attempt *a)
{
    return a->code[0] == 0x0f && a->code[1] == 0x01 && a->code[2] == hypercall_opcode();
}

static void instructions(void)
{
    u64 page = (u64)page_zeroed(), target = ALIGN_UP(boot.memory_end, PAGE_SIZE);

    if (!on_socle()) {
        test_skip("instructions: another CPU may have them");
        return;
    }
    for (u32 i = 0; i < ARRAY_SIZE(attempts); i++) {
        const struct attempt *a = &attempts[i];
        struct code_regs regs = {.rdi = page, .rax = target, .rsi = page};
        struct mode m = {.cr0 = MODE_CR0, .edi = (u32)page};
        struct fault f;

        if (own_hypercall(a)) {
            continue;
        }
        f = code_try(a->code, a->bytes, &regs);
        CHECK(f.vector == a->vector, "%s: vector %d", a->name, f.vector);
        f = user_run(a->code, a->bytes, MAP_AREA, 0, NULL);
        CHECK(f.vector == VEC_UD || f.vector == VEC_GP, "%s in ring 3: vector %d", a->name,
              f.vector);
        if (a->long_only) {
            continue;
        }
        f = code_try32(a->code, a->bytes, &regs);
        CHECK(f.vector == a->vector, "%s in compatibility mode: vector %d", a->name, f.vector);
        mode_run(&m, a->code, a->bytes);
        CHECK(m.vector == a->vector, "%s in protected mode: vector %d", a->name, m.vector);
        m.kind = MODE_REAL;
        mode_run(&m, a->code, a->bytes);
        CHECK(m.vector == a->vector, "%s in real mode: vector %d", a->name, m.vector);
    }
    for (u32 c = 0; c < 64; c++) { /* RDPMC for all counters */
        struct fault f = TRY("rdpmc", : : "c"(c | (c & 1 ? 1u << 30 : 0)) : "rax", "rdx");

        CHECK(f.vector == VEC_GP, "RDPMC %x: vector %d", c, f.vector);
    }
    canary_check();
}

/* Control registers at random; only what would end this guest by its own doing is left out. */
static void control_registers(void)
{
    u64 cr0 = read_cr0(), cr4 = read_cr4(), efer = rdmsr(MSR_IA32_EFER), accepted = 0;

    for (u32 i = 0; i < 1000 && on_socle(); i++) {
        u64 r = test_random(&seed), high = i & 7 ? FIELD(31, 0) : ~0ull;
        struct fault f;

        f = TRY("mov %0, %%cr0; mov %1, %%cr0",
                :
                : "r"((r & high) | CR0_PE | CR0_PG), "r"(cr0)
                : "memory");
        CHECK(f.vector == -1 || f.vector == VEC_GP, "CR0: vector %d", f.vector);
        accepted += f.vector == -1;
        write_cr0(cr0);
        f = TRY("mov %0, %%cr4; mov %1, %%cr4",
                :
                : "r"((r >> 5 & high) | CR4_PAE), "r"(cr4)
                : "memory");
        CHECK(f.vector == -1 || f.vector == VEC_GP, "CR4: vector %d", f.vector);
        write_cr4(cr4);
        f = TRY("mov %0, %%cr4; mov %1, %%cr4",
                :
                : "r"(BIT(r % 64) | CR4_PAE), "r"(cr4)
                : "memory");
        CHECK(f.vector == -1 || f.vector == VEC_GP, "CR4: vector %d", f.vector);
        accepted += f.vector == -1;
        f = TRY("wrmsr",
                :
                : "c"(MSR_IA32_EFER), "a"((u32)r | EFER_LME | EFER_NXE),
                  "d"(i & 1 ? 0 : (u32)(r >> 32)));
        CHECK(f.vector == -1 || f.vector == VEC_GP, "EFER: vector %d", f.vector);
        wrmsr(MSR_IA32_EFER, efer);
        write_cr4(cr4 | (cpuid(1, 0).ecx >> 26 & 1 ? CR4_OSXSAVE : 0));
        f = TRY("xsetbv", : : "c"(i & 3 ? 0 : (u32)r), "a"((u32)r | 1), "d"((u32)(r >> 32)));
        CHECK(f.vector == -1 || f.vector == VEC_GP || f.vector == VEC_UD, "XSETBV: vector %d",
              f.vector);
        write_cr4(cr4);
    }
    CHECK(!on_socle() || accepted > 10, "%lu values were accepted", accepted);
}

static bool ignore(struct trap_frame *f)
{
    (void)f;
    return true;
}

static void hypercalls(void)
{
    if (!on_socle()) {
        test_skip("hypercalls: this is not Socle");
        return;
    }
    for (u32 v = 32; v < 256; v++) {
        trap_handle((int)v, ignore);
    }
    for (u32 i = 0; i < 2000; i++) {
        struct code_regs regs = {
            .rax = i & 1 ? test_random(&seed) : i,
            .rbx = test_random(&seed),
            .rcx = test_random(&seed),
            .rdx = test_random(&seed),
            .rdi = test_random(&seed),
            .rsi = test_random(&seed),
        };
        struct fault f;

        f = code_try(CODE(0x0f, 0x01, hypercall_opcode()), &regs);
        CHECK(f.vector == -1, "hypercall %lx: vector %d", regs.rax, f.vector);
    }
    __asm__ volatile("sti; nop; cli" : : : "memory");
    for (u32 i = 0; i < 3000; i++) {
        u32 leaf = (u32)test_random(&seed), kind = i % 4;

        (void)cpuid(kind == 0   ? leaf
                    : kind == 1 ? leaf & 0xff
                    : kind == 2 ? 0x80000000 | (leaf & 0xff)
                                : 0x40000000 | (leaf & 0xfff),
                    (u32)test_random(&seed) >> (i & 31));
    }
    canary_check();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"physical",          physical         },
        {"large-pages",       large_pages      },
        {"string-io",         string_io        },
        {"ports",             ports            },
        {"msrs",              msrs             },
        {"instructions",      instructions     },
        {"control-registers", control_registers},
        {"hypercalls",        hypercalls       },
    };

    quick = boot_option("-q") != NULL;
    canary_fill();
    test_all("intruder", tests, ARRAY_SIZE(tests));
}
