/* SPDX-License-Identifier: MIT */
/*
 * Instructions on device memory: each is run on RAM, by the CPU, and on a page of device registers
 * that behave like memory, by the hypervisor; registers, flags and memory must be the same
 * afterwards. Needs the test device ("test-device = yes").
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

#define DEVICE 0xfed80000ull
#define AREA                                                                                       \
    (MAP_AREA + 5 * SIZE_1G)          /* page 0: the device or RAM; page 1: RAM; page 2: nothing   \
                                       */
#define OTHER (AREA + 16 * PAGE_SIZE) /* RAM, for the other end of string instructions */

static u64 ram, second, other; /* physical */
static u64 seed = 7;

static bool have_device(void)
{
    volatile u32 *p = (volatile u32 *)DEVICE;
    u32 before = *p;

    *p = ~before;
    if (*p != ~before) {
        test_skip("no test device");
        return false;
    }
    return true;
}

static void map(bool device)
{
    pte_set(AREA, 1, (device ? DEVICE | PTE_PCD : ram) | PTE_P | PTE_W);
}

static void prepare(void)
{
    if (!ram) {
        ram = (u64)page_zeroed();
        second = (u64)page_zeroed();
        other = (u64)page_zeroed();
    }
    pte_set(AREA + PAGE_SIZE, 1, second | PTE_P | PTE_W);
    pte_set(AREA + 2 * PAGE_SIZE, 1, 0);
    pte_set(OTHER, 1, other | PTE_P | PTE_W);
}

/* Fills 64 bytes at both ends of the first page, where the tests work, and the other pages. */
static void fill(u64 pattern)
{
    u64 state = pattern;

    for (u32 i = 0; i < 8; i++) {
        ((volatile u64 *)AREA)[i] = test_random(&state);
        ((volatile u64 *)AREA)[504 + i] = test_random(&state);
        ((volatile u64 *)AREA)[512 + i] = test_random(&state);
        ((volatile u64 *)OTHER)[i] = test_random(&state);
    }
}

struct image {
    u64 words[32];
};

static void take(struct image *m)
{
    for (u32 i = 0; i < 8; i++) {
        m->words[i] = ((volatile u64 *)AREA)[i];
        m->words[8 + i] = ((volatile u64 *)AREA)[504 + i];
        m->words[16 + i] = ((volatile u64 *)AREA)[512 + i];
        m->words[24 + i] = ((volatile u64 *)OTHER)[i];
    }
}

static void random_regs(struct regs *r)
{
    u64 *words = (u64 *)r;

    for (u32 i = 0; i < sizeof(*r) / 8; i++) {
        words[i] = test_random(&seed);
        if (words[i] & 1) { /* close to where carries and signs change */
            words[i] = (s64)(s8)(words[i] >> 8) * 0x100000001ll;
        }
    }
    r->rflags &= 0x8d5; /* arithmetic flags */
}

/* QEMU TCG with several CPUs loses the flags at a locked access that is not aligned. */
static u64 lost_flags(const char *name, u64 address)
{
    bool locked = !strncmp(name, "xchg", 4) || !strncmp(name, "lock", 4);

    return locked && address & 15 && cpu_is_tcg() ? ~0ull : 0;
}

/* What the CPU did on RAM, and the hypervisor on the device. */
static void compare(const char *name, u32 round, u64 address, const struct regs r[2],
                    const struct image m[2])
{
    CHECK(true, "%s", name);
    for (u32 i = 0; i < sizeof(r[0]) / 8; i++) { /* numbers as in struct regs */
        u64 want = ((const u64 *)&r[0])[i], got = ((const u64 *)&r[1])[i];

        if (want != got) {
            CHECK(false, "%s at %lx, time %u: register %u: RAM %lx, device %lx", name, address,
                  round, i, want, got);
        }
    }
    for (u32 i = 0; i < 32; i++) {
        if (m[0].words[i] != m[1].words[i]) {
            CHECK(false, "%s, time %u: word %u of memory: RAM %lx, device %lx", name, round, i,
                  m[0].words[i], m[1].words[i]);
            return;
        }
    }
}

/* Runs code with *start on RAM, and on the device twice, since the hypervisor may know it the
 * second time; compares everything. Some NOPs before it: what it knows depends on the address. */
static void both(const char *name, const u8 *code, size_t bytes, const struct regs *start,
                 u64 undefined)
{
    u64 pattern = test_random(&seed);
    struct regs r[2];
    struct image m[2];
    u8 padded[64];
    u32 pad = test_random(&seed) & 15;

    memset(padded, 0x90, pad);
    memcpy(padded + pad, code, bytes);
    for (u32 round = 0; round < 3; round++) {
        u32 device = round > 0;

        map(device);
        fill(pattern);
        r[device] = *start;
        code_run(padded, pad + bytes, &r[device]);
        r[device].rflags &= ~(undefined | lost_flags(name, start->rdi));
        take(&m[device]);
        if (device) {
            compare(name, round, start->rdi, r, m);
        }
    }
}

struct form {
    const char *name;
    u8 bytes, code[9];
    u16 undefined; /* flags */
};

#define AF       0x10
#define BT_FLAGS 0x894 /* OF, SF, AF, PF */

/* RDI points to the operand. */
static const struct form forms[] = {
    {"mov r8",         2, {0x88, 0x0f},                               0       },
    {"mov ah",         2, {0x88, 0x27},                               0       },
    {"mov r16",        3, {0x66, 0x89, 0x0f},                         0       },
    {"mov r32",        2, {0x89, 0x0f},                               0       },
    {"mov r64",        3, {0x4c, 0x89, 0x07},                         0       },
    {"mov from 8",     2, {0x8a, 0x0f},                               0       },
    {"mov from ah",    2, {0x8a, 0x27},                               0       },
    {"mov from 16",    3, {0x66, 0x8b, 0x0f},                         0       },
    {"mov from 32",    2, {0x8b, 0x0f},                               0       },
    {"mov from 64",    3, {0x48, 0x8b, 0x0f},                         0       },
    {"mov disp",       3, {0x8b, 0x4f, 0x04},                         0       },
    {"mov disp32",     6, {0x8b, 0x8f, 0xfc, 0xff, 0xff, 0xff},       0       },
    {"mov imm8",       3, {0xc6, 0x07, 0x5a},                         0       },
    {"mov imm16",      5, {0x66, 0xc7, 0x07, 0x34, 0x92},             0       },
    {"mov imm32",      6, {0xc7, 0x07, 0x78, 0x56, 0x34, 0x92},       0       },
    {"mov imm64",      7, {0x48, 0xc7, 0x07, 0x78, 0x56, 0x34, 0x92}, 0       },
    {"movzx 8",        3, {0x0f, 0xb6, 0x0f},                         0       },
    {"movzx 16",       3, {0x0f, 0xb7, 0x0f},                         0       },
    {"movsx 8",        3, {0x0f, 0xbe, 0x0f},                         0       },
    {"movsx 8 to 16",  4, {0x66, 0x0f, 0xbe, 0x0f},                   0       },
    {"movsx 16 to 64", 4, {0x48, 0x0f, 0xbf, 0x0f},                   0       },
    {"movsxd",         3, {0x48, 0x63, 0x0f},                         0       },
    {"movnti",         3, {0x0f, 0xc3, 0x0f},                         0       },
    {"add",            2, {0x01, 0x0f},                               0       },
    {"add 8",          2, {0x00, 0x0f},                               0       },
    {"add 64",         3, {0x48, 0x01, 0x0f},                         0       },
    {"add from",       2, {0x03, 0x0f},                               0       },
    {"add imm",        3, {0x83, 0x07, 0xff},                         0       },
    {"or",             2, {0x09, 0x0f},                               AF      },
    {"or imm",         6, {0x81, 0x0f, 0x00, 0x01, 0x00, 0x80},       AF      },
    {"adc",            2, {0x11, 0x0f},                               0       },
    {"adc 16",         3, {0x66, 0x13, 0x0f},                         0       },
    {"sbb",            2, {0x19, 0x0f},                               0       },
    {"sbb 8",          2, {0x1a, 0x0f},                               0       },
    {"and",            2, {0x21, 0x0f},                               AF      },
    {"and imm",        3, {0x83, 0x27, 0xf0},                         AF      },
    {"sub",            2, {0x29, 0x0f},                               0       },
    {"sub 64",         3, {0x48, 0x2b, 0x0f},                         0       },
    {"xor",            2, {0x31, 0x0f},                               AF      },
    {"cmp",            2, {0x39, 0x0f},                               0       },
    {"cmp from",       2, {0x3b, 0x0f},                               0       },
    {"cmp imm",        3, {0x80, 0x3f, 0x80},                         0       },
    {"test",           2, {0x85, 0x0f},                               AF      },
    {"test imm",       6, {0xf7, 0x07, 0x01, 0x00, 0x00, 0x80},       AF      },
    {"not",            2, {0xf7, 0x17},                               0       },
    {"neg",            2, {0xf7, 0x1f},                               0       },
    {"inc",            2, {0xff, 0x07},                               0       },
    {"dec 8",          2, {0xfe, 0x0f},                               0       },
    {"xchg",           2, {0x87, 0x0f},                               0       },
    {"xchg 8",         2, {0x86, 0x2f},                               0       },
    {"xadd",           3, {0x0f, 0xc1, 0x0f},                         0       },
    {"cmpxchg",        3, {0x0f, 0xb1, 0x0f},                         0       },
    {"lock add",       3, {0xf0, 0x01, 0x0f},                         0       },
    {"lock cmpxchg",   5, {0xf0, 0x48, 0x0f, 0xb1, 0x0f},             0       },
    {"bt imm",         4, {0x0f, 0xba, 0x27, 0x23},                   BT_FLAGS},
    {"bts imm",        4, {0x0f, 0xba, 0x2f, 0x1f},                   BT_FLAGS},
    {"btr imm",        5, {0x48, 0x0f, 0xba, 0x37, 0x3f},             BT_FLAGS},
    {"btc imm",        5, {0x66, 0x0f, 0xba, 0x3f, 0x0f},             BT_FLAGS},
    {"lock bts imm",   5, {0xf0, 0x0f, 0xba, 0x2f, 0x00},             BT_FLAGS},
};

/* Where in the page: aligned, not aligned, across its end into RAM. */
static const u16 offsets[] = {0x10, 0x11, 0x13, 0xff8, 0xffd, 0xfff};

static void moves_and_arithmetic(void)
{
    if (!have_device()) {
        return;
    }
    prepare();
    for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
        for (u32 o = 0; o < ARRAY_SIZE(offsets); o++) {
            struct regs r;

            random_regs(&r);
            r.rdi = AREA + offsets[o];
            both(forms[i].name, forms[i].code, forms[i].bytes, &r, forms[i].undefined);
        }
    }
}

/* CMPXCHG that finds what it expects; moffs; a bit offset in a register, before and behind. */
static void special_forms(void)
{
    static const u8 cmpxchg[] = {0x8b, 0x07, 0x0f, 0xb1, 0x0f}; /* mov eax, [rdi] */
    u8 moffs[] = {0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0, 0xa2, 0, 0, 0, 0, 0, 0, 0, 0};
    u64 at = AREA + 8, to = AREA + 0x21;
    struct regs r;

    if (!have_device()) {
        return;
    }
    prepare();
    random_regs(&r);
    r.rdi = AREA + 0x18;
    both("cmpxchg, equal", cmpxchg, sizeof(cmpxchg), &r, 0);
    memcpy(moffs + 2, &at, 8);
    memcpy(moffs + 11, &to, 8);
    both("moffs", moffs, sizeof(moffs), &r, 0);
    for (u32 op = 0xa3; op <= 0xbb; op += 8) {
        static const s16 bits[] = {0, 31, 32, 100, -1, -33, -128};

        for (u32 i = 0; i < ARRAY_SIZE(bits); i++) {
            const u8 code[] = {0x0f, (u8)op, 0x0f}, wide[] = {0x48, 0x0f, (u8)op, 0x0f};

            random_regs(&r);
            r.rdi = AREA + 0x20;
            r.rcx = (u64)(s64)bits[i];
            both("bit of a register", code, sizeof(code), &r, BT_FLAGS);
            both("bit of a register, 64", wide, sizeof(wide), &r, BT_FLAGS);
        }
    }
}

static void strings(void)
{
    static const struct form string_forms[] = {
        {"rep movsb",   2, {0xf3, 0xa4},       0},
        {"rep movsd",   2, {0xf3, 0xa5},       0},
        {"movsq",       2, {0x48, 0xa5},       0},
        {"rep stosb",   2, {0xf3, 0xaa},       0},
        {"rep stosw",   3, {0xf3, 0x66, 0xab}, 0},
        {"rep lodsd",   2, {0xf3, 0xad},       0},
        {"repe cmpsb",  2, {0xf3, 0xa6},       0},
        {"repne scasb", 2, {0xf2, 0xae},       0},
        {"repe scasd",  2, {0xf3, 0xaf},       0},
    };

    if (!have_device()) {
        return;
    }
    prepare();
    for (u32 i = 0; i < ARRAY_SIZE(string_forms) * 4; i++) {
        const struct form *f = &string_forms[i / 4];
        bool to_device = i & 1, down = i & 2;
        u64 device = AREA + (down ? 0x3c : 0xfd4), memory = OTHER + (down ? 0x3c : 0);
        struct regs r;

        random_regs(&r);
        r.rcx = 7;
        r.rdi = to_device ? device : memory;
        r.rsi = to_device ? memory : device;
        r.rflags |= down ? RFLAGS_DF : 0;
        both(f->name, f->code, f->bytes, &r, 0);
    }
    /* more than the hypervisor does at once */
    map(true);
    struct regs r = {.rcx = PAGE_SIZE, .rdi = AREA, .rax = 0x77};
    code_run(CODE(0xf3, 0xaa), &r);
    CHECK(r.rcx == 0 && r.rdi == AREA + PAGE_SIZE, "rep stosb of a page: %lx left", r.rcx);
    CHECK_EQ(((volatile u64 *)AREA)[511], 0x7777777777777777);
}

/* An access that faults changes nothing, in the device or in the registers. */
static void faults(void)
{
    u64 at = AREA + PAGE_SIZE - 2;
    struct fault f;

    if (!have_device()) {
        return;
    }
    prepare();
    map(true);
    fill(1);
    u64 before = ((volatile u64 *)AREA)[511];
    pte_set(AREA + PAGE_SIZE, 1, 0);
    f = TRY("addl %%eax, (%0)", : : "r"(at), "a"(0x1234567) : "memory", "cc");
    CHECK(f.vector == VEC_PF && f.error == PF_WRITE && f.cr2 == AREA + PAGE_SIZE,
          "into a missing page: %d %lx %lx", f.vector, f.error, f.cr2);
    CHECK_EQ(((volatile u64 *)AREA)[511], before);
    f = TRY("movl (%0), %%eax", : : "r"(at) : "rax", "memory");
    CHECK(f.vector == VEC_PF && f.error == 0 && f.cr2 == AREA + PAGE_SIZE,
          "reading into a missing page: %d %lx %lx", f.vector, f.error, f.cr2);
    pte_set(AREA + PAGE_SIZE, 1, second | PTE_P);
    f = TRY("movl %%eax, (%0)", : : "r"(at) : "memory");
    CHECK(f.vector == VEC_PF && f.error == (PF_WRITE | PF_PRESENT), "into a read-only page: %d %lx",
          f.vector, f.error);
    CHECK_EQ(((volatile u64 *)AREA)[511], before);
    pte_set(AREA, 1, DEVICE | PTE_PCD | PTE_P);
    f = TRY("lock incl (%0)", : : "r"(AREA) : "memory", "cc");
    CHECK(f.vector == VEC_PF && f.error == (PF_WRITE | PF_PRESENT), "a read-only device: %d %lx",
          f.vector, f.error);
    map(true);
    pte_set(AREA + PAGE_SIZE, 1, 0);
    struct regs r = {.rcx = 16, .rdi = AREA + PAGE_SIZE - 8, .rax = 0x5555};
    u64 rcx = r.rcx, rdi = r.rdi;
    f = TRY("rep stosl", : "+c"(rcx), "+D"(rdi) : "a"(r.rax) : "memory");
    CHECK(f.vector == VEC_PF && f.cr2 == AREA + PAGE_SIZE, "REP STOS: %d %lx", f.vector, f.cr2);
    CHECK_EQ(((volatile u64 *)AREA)[511], 0x0000555500005555);
}

/* The same place in the code with another instruction, by writing and by mapping: what was known
 * of it before must not count. */
static void changed_code(void)
{
    u64 va = OTHER + 2 * PAGE_SIZE, page[2] = {(u64)page_zeroed(), (u64)page_zeroed()};
    static const u8 load_rax[] = {0x48, 0x8b, 0x07, 0xc3}, load_rcx[] = {0x48, 0x8b, 0x0f, 0xc3};

    if (!have_device()) {
        return;
    }
    prepare();
    map(true);
    *(volatile u64 *)AREA = 0x1122334455667788;
    for (u32 i = 0; i < 6; i++) {
        bool second_page = i >= 3 && (i & 1), rcx = i & 1;
        u64 a = 1, c = 2;

        pte_set(va, 1, page[second_page] | PTE_P | PTE_W);
        memcpy((void *)va, rcx ? load_rcx : load_rax, sizeof(load_rax));
        for (u32 again = 0; again < 3; again++) {
            a = 1;
            c = 2;
            __asm__ volatile("call *%[code]"
                             : "+a"(a), "+c"(c)
                             : [code] "r"(va), "D"(AREA)
                             : "memory");
            CHECK(a == (rcx ? 1 : 0x1122334455667788) && c == (rcx ? 0x1122334455667788 : 2),
                  "round %u: rax %lx rcx %lx", i, a, c);
        }
    }
}

/* --- 32-bit code, and 16-bit addresses, with tables of 32-bit paging --- */

static u32 pd32[1024] ALIGNED(4096), pt32[1024] ALIGNED(4096);

static void check_mode(const char *name, const u8 *code, size_t bytes, u32 address)
{
    u64 pattern = test_random(&seed);
    struct mode m[2];
    u64 word[2];

    for (u32 round = 0; round < 3; round++) {
        u32 device = round > 0;
        pt32[10] = (u32)(device ? DEVICE : ram) | 7;
        map(device);
        fill(pattern);
        m[device] = (struct mode){.cr0 = MODE_CR0 | (u32)CR0_PG | (u32)CR0_WP,
                                  .cr4 = (u32)CR4_PSE,
                                  .cr3 = (u32)(u64)pd32,
                                  .eax = 0x81828384,
                                  .ebx = address,
                                  .ecx = 5,
                                  .edx = 0xf1f2f3f4,
                                  .esi = address + 0x14,
                                  .edi = address + 4};
        mode_run(&m[device], code, bytes);
        word[device] = *(volatile u64 *)(AREA + 0x10);
    }
    CHECK(m[1].vector == -1 && word[0] == word[1] && m[0].eax == m[1].eax && m[0].ecx == m[1].ecx &&
              m[0].edx == m[1].edx && m[0].esi == m[1].esi && m[0].edi == m[1].edi,
          "%s: vector %d, eax %x %x, edx %x %x, memory %lx %lx", name, m[1].vector, m[0].eax,
          m[1].eax, m[0].edx, m[1].edx, word[0], word[1]);
}

static void other_modes(void)
{
    static const struct form mode_forms[] = {
        {"add",          3, {0x01, 0x53, 0x10},             0},
        {"mov 16",       4, {0x66, 0x8b, 0x53, 0x10},       0},
        {"xchg",         3, {0x87, 0x53, 0x10},             0},
        {"[bx + si]",    4, {0x67, 0x89, 0x57, 0x10},       0},
        {"[si]",         3, {0x67, 0x89, 0x14},             0},
        {"rep movsb",    2, {0xf3, 0xa4},                   0},
        {"rep movsb 16", 3, {0xf3, 0x67, 0xa4},             0},
        {"es",           4, {0x26, 0x00, 0x53, 0x10},       0},
        {"moffs",        5, {0xa1, 0x10, 0xa0, 0x00, 0x00}, 0},
        {"group 1 82",   4, {0x82, 0x43, 0x10, 0x7f},       0},
    };

    if (!have_device()) {
        return;
    }
    prepare();
    for (u32 i = 0; i < 1024; i++) {
        pd32[i] = i << 22 | 0x83; /* 4 MiB pages, all at their own addresses */
        pt32[i] = i << 12 | 3;
    }
    pd32[0] = (u32)(u64)pt32 | 7; /* and the first in small ones: page 10 is the device */
    for (u32 i = 0; i < ARRAY_SIZE(mode_forms); i++) {
        check_mode(mode_forms[i].name, mode_forms[i].code, mode_forms[i].bytes, 0xa000);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"moves-and-arithmetic", moves_and_arithmetic},
        {"special-forms",        special_forms       },
        {"strings",              strings             },
        {"faults",               faults              },
        {"changed-code",         changed_code        },
        {"other-modes",          other_modes         },
    };

    test_all("mmio", tests, ARRAY_SIZE(tests));
}
