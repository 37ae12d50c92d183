/* SPDX-License-Identifier: MIT */
/*
 * Does things at random on all its CPUs at once: ports, MSRs, CPUID, accesses to devices, holes and
 * its own memory, local APICs. Whatever it meets, the host must stand and its neighbours must not
 * notice; that it can end itself (a reset, a power-off, a CPU that another sent INIT) is part of
 * it. rounds=N: actions of the CPU that ends the guest; seed=N: those of a run that is to be
 * repeated, else by the clock, so that a guest that is started again does something else. On
 * another machine than Socle nothing is done.
 */
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/irq.h"
#include "guests/lib/memory.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/hw/ioapic.h"

#define WINDOWS     (MAP_AREA + 0x300000000ull) /* two pages per CPU */
#define LOOK_ROUNDS 8192                        /* the first CPU looks after the others so often */
#define RARELY      64                          /* once of so many times, what may end the guest */
#define REP_MAX     40
#define INSN_BYTES  16

struct chaos {
    u64 seed;
    u64 *pte;
    u8 *window, *scratch;
    volatile u64 rounds;
    u64 seen;
} ALIGNED(64);

static struct chaos all[CPU_MAX];
static u64 rounds, limit;
static u32 ended;

static u64 any(struct chaos *c)
{
    return test_random(&c->seed);
}

static u64 below(struct chaos *c, u64 n)
{
    return any(c) % n;
}

/* --- what may fault --- */

/* R15 says where it goes on if it does. */
#define ATTEMPT(insns, ...) __asm__ volatile("leaq 1f(%%rip), %%r15\n\t" insns "\n1:" __VA_ARGS__)

static u64 read_msr(u32 msr)
{
    u32 lo = 0, hi = 0;

    ATTEMPT("rdmsr", : "+a"(lo), "+d"(hi) : "c"(msr) : "r15", "memory");
    return lo | (u64)hi << 32;
}

static void write_msr(u32 msr, u64 value)
{
    ATTEMPT("wrmsr", : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "r15", "memory");
}

/* An interrupt that came of all this; its APIC may be in any mode by now. */
static bool take(struct trap_frame *f)
{
    u64 base = f->vector == VEC_NMI ? 0 : read_msr(MSR_IA32_APIC_BASE);

    if (base & APIC_BASE_X2APIC) {
        write_msr(MSR_X2APIC_BASE + APIC_EOI / 16, 0);
    } else if (base & APIC_BASE_ENABLE) {
        ATTEMPT("movl $0, %0", : "=m"(*(volatile u32 *)(APIC_PAGE + APIC_EOI)) : : "r15", "memory");
    }
    return true;
}

/* A fault of an ATTEMPT; what else comes by one of these vectors is an interrupt. */
static bool skip(struct trap_frame *f)
{
    u64 left = f->r15 - f->rip;

    if (f->r15 >= (u64)image_start && f->r15 < (u64)image_end && left <= INSN_BYTES) {
        f->rip = f->r15;
        return true;
    }
    return f->vector >= APIC_MIN_VECTOR && take(f);
}

/* --- values --- */

/* 0, ones, one bit, or anything. */
static u64 value(struct chaos *c)
{
    u64 r = any(c);

    switch (r >> 60) {
    case 0:
        return 0;
    case 1:
        return ~0ull;
    case 2:
    case 3:
        return BIT(r % 64);
    case 4:
        return r & 0xff;
    default:
        return any(c);
    }
}

/* A command for the ICR: INIT and start-up IPIs are rare. */
static u32 command(struct chaos *c)
{
    u32 r = (u32)any(c) & ~(u32)ICR_RESERVED, mode = r & (u32)APIC_DELIVERY;

    if ((mode == APIC_INIT || mode == APIC_STARTUP) && below(c, RARELY)) {
        r = (r & ~(u32)APIC_DELIVERY) | APIC_FIXED;
    }
    if (mode == APIC_STARTUP && below(c, 4)) {
        return (r & ~(u32)APIC_VECTOR) | SMP_PAGE >> 12;
    }
    return below(c, 8) ? r | 0x20 : r;
}

/* --- ports --- */

static const struct {
    u16 first, count;
    bool grave; /* a write may end the guest, or says something */
} ports[] = {
    {0x20,  2,      false},
    {0xa0,  2,      false},
    {0x4d0, 2,      false},
    {0x40,  4,      false},
    {0x60,  2,      false},
    {0x64,  1,      true },
    {0x70,  2,      false},
    {0x92,  1,      true },
    {0xe9,  1,      true },
    {0xf4,  4,      true },
    {0x3f8, 8,      true },
    {0x510, 2,      false},
    {0x514, 8,      true },
    {0x600, 4,      false},
    {0x604, 2,      true },
    {0x608, 4,      false},
    {0xcf8, 1,      false},
    {0xcf9, 1,      true },
    {0xcfa, 6,      false},
    {0,     0xff,   false},
    {0x100, 0x2f8,  false},
    {0x620, 0x600,  false},
    {0xd00, 0xf2f0, false},
};

static bool grave(u32 port, u32 bytes)
{
    for (u32 i = 0; i < ARRAY_SIZE(ports); i++) {
        if (ports[i].grave && port + bytes > ports[i].first &&
            port < ports[i].first + ports[i].count) {
            return true;
        }
    }
    return false;
}

static void port(struct chaos *c)
{
    u32 i = (u32)below(c, ARRAY_SIZE(ports)), r = (u32)any(c), kind = r % 6;
    u16 p = (u16)(ports[i].first + r / 8 % ports[i].count);
    u32 v = (u32)value(c);

    if (kind >= 3 && grave(p, 1u << (kind - 3)) && below(c, RARELY)) {
        return;
    }
    switch (kind) {
    case 0:
        (void)inb(p);
        break;
    case 1:
        (void)inw(p);
        break;
    case 2:
        (void)inl(p);
        break;
    case 3:
        outb(p, (u8)v);
        break;
    case 4:
        outw(p, (u16)v);
        break;
    default:
        outl(p, v);
        break;
    }
}

/* --- memory --- */

static u64 place(struct chaos *c)
{
    static const u64 devices[] = {IOAPIC_BASE, APIC_PAGE,  0xa0000,    0xb8000,
                                  0xc0000,     0xfed00000, 0xfed80000, 0xfffff000};
    u64 r = any(c), at;

    switch (r % 8) {
    case 0:
    case 1:
        return (u64)c->scratch;
    case 2:
    case 3:
        return devices[(r >> 8) % ARRAY_SIZE(devices)];
    case 4:
        return boot.memory_end + (r >> 8) % SIZE_2M;
    case 5:
        return limit << (r >> 8) % 4; /* may be more than the CPU has: a page fault */
    default:
        at = (r >> 8) % limit;
        return at < boot.memory_end ? (u64)c->scratch : at;
    }
}

/* Two pages anywhere, and an address in them, often across their border. */
static u8 *window(struct chaos *c)
{
    u64 r = any(c);

    for (u32 i = 0; i < 2; i++) {
        u64 flags = any(c) & (PTE_PCD | PTE_PWT | PTE_U);

        c->pte[i] = (place(c) & PTE_ADDRESS) | flags | (below(c, 16) ? PTE_P : 0) |
                    (below(c, 8) ? PTE_W : 0);
        invlpg(c->window + i * PAGE_SIZE);
    }
    return c->window + (r & 1 ? PAGE_SIZE - (r >> 8) % 16 : (r >> 8) % PAGE_SIZE);
}

#define ON(p) : "+m"(*(p)) : "r"(v) : "r15", "memory", "cc"

static void touch(struct chaos *c, u8 *p)
{
    u64 v = value(c), n = below(c, REP_MAX);

    switch (below(c, 14)) {
    case 0:
        ATTEMPT("movb %b1, %0", ON(p));
        break;
    case 1:
        ATTEMPT("movw %w1, %0", ON(p));
        break;
    case 2:
        ATTEMPT("movl %k1, %0", ON(p));
        break;
    case 3:
        ATTEMPT("movq %1, %0", ON(p));
        break;
    case 4:
        ATTEMPT("movzbl %0, %k1", ON(p));
        break;
    case 5:
        ATTEMPT("movl %0, %k1", ON(p));
        break;
    case 6:
        ATTEMPT("movq %0, %1", ON(p));
        break;
    case 7:
        ATTEMPT("lock xaddl %k1, %0", ON(p));
        break;
    case 8:
        ATTEMPT("xchgq %1, %0", ON(p));
        break;
    case 9:
        ATTEMPT("orb $0x10, %0", ON(p));
        break;
    case 10:
        ATTEMPT("btsl %k1, %0", : "+m"(*p) : "r"(v & 31) : "r15", "memory", "cc");
        break;
    case 11:
        ATTEMPT("rep movsb", : "+S"(p), "+c"(n) : "D"(c->scratch) : "r15", "memory");
        break;
    case 12:
        ATTEMPT("rep stosl", : "+D"(p), "+c"(n) : "a"(v) : "r15", "memory");
        break;
    default:
        ATTEMPT("movdqu %0, %%xmm0", ON(p));
        break;
    }
}

static void memory(struct chaos *c)
{
    touch(c, window(c));
}

/* Strings between ports and memory of any kind. */
static void port_string(struct chaos *c)
{
    u64 n = below(c, REP_MAX), p = below(c, 4) ? 0x80 : 0x1000 + below(c, 0xf000);
    u8 *at = window(c);

    switch (below(c, 4)) {
    case 0:
        ATTEMPT("rep insb", : "+D"(at), "+c"(n) : "d"(p) : "r15", "memory");
        break;
    case 1:
        ATTEMPT("rep insl", : "+D"(at), "+c"(n) : "d"(p) : "r15", "memory");
        break;
    case 2:
        ATTEMPT("rep outsb", : "+S"(at), "+c"(n) : "d"(p) : "r15", "memory");
        break;
    default:
        ATTEMPT("rep outsw", : "+S"(at), "+c"(n) : "d"(p) : "r15", "memory");
        break;
    }
}

/* --- MSRs, CPUID --- */

static void msr(struct chaos *c)
{
    static const struct {
        u32 first, count;
    } ranges[] = {
        {0,               0x400     },
        {0x400,           0x1c00    },
        {MSR_X2APIC_BASE, 0x40      },
        {0x1a0,           0x40      },
        {0x6e0,           1         },
        {MSR_IA32_EFER,   4         },
        {0xc0000100,      4         },
        {0xc0000000,      0x2000    },
        {0xc0010000,      0x200     },
        {0x40000000,      0x200     },
        {0,               0xffffffff},
    };
    u32 i = (u32)below(c, ARRAY_SIZE(ranges)), n = ranges[i].first + (u32)below(c, ranges[i].count);
    u64 old = read_msr(n), v = below(c, 2) ? old ^ BIT(below(c, 64)) : value(c);

    if (n == MSR_X2APIC_BASE + APIC_ICR / 16) {
        v = (v & ~FIELD(31, 0)) | command(c);
    }
    if (below(c, 2) || (n == MSR_IA32_APIC_BASE && below(c, RARELY))) {
        return;
    }
    write_msr(n, v);
}

static void leaf(struct chaos *c)
{
    u32 r = (u32)any(c);

    (void)cpuid(r % 3 ? (r & 0xc0000000) | (r >> 4 & 0xff) : r, (u32)value(c));
}

/* --- local APIC --- */

static void apic(struct chaos *c)
{
    u64 base = read_msr(MSR_IA32_APIC_BASE);
    u32 reg = (u32)below(c, PAGE_SIZE / 16) * 16;

    if (base & APIC_BASE_X2APIC && below(c, 8)) {
        if (reg == APIC_ICR || below(c, 4) == 0) {
            write_msr(MSR_X2APIC_BASE + APIC_ICR / 16, any(c) << 32 | command(c));
        } else {
            write_msr(MSR_X2APIC_BASE + reg / 16, value(c));
        }
        return;
    }
    if (reg == APIC_ICR || below(c, 4) == 0) {
        ATTEMPT("movl %1, %0",
                : "=m"(*(volatile u32 *)(APIC_PAGE + APIC_ICR))
                : "r"(command(c))
                : "r15", "memory");
    } else {
        touch(c, (u8 *)APIC_PAGE + reg + (below(c, 8) ? 0 : below(c, 16)));
    }
}

/* --- all of it --- */

static void (*const acts[])(struct chaos *c) = {port, port_string, memory, memory,
                                                msr,  leaf,        apic,   apic};

static void work(void *arg);

/* CPUs that another one stopped, or that lost their way, start anew. */
static void look_after(void)
{
    for (u32 i = 1; i < smp_count(); i++) {
        if (all[i].rounds == all[i].seen && apic_mode() != APIC_MODE_OFF && smp_start(i)) {
            smp_call(i, work, NULL);
        }
        all[i].seen = all[i].rounds;
    }
}

static void work(void *arg)
{
    u32 me = smp_cpu_index();
    struct chaos *c = &all[me];

    (void)arg;
    while (c->rounds < rounds) {
        c->rounds++;
        acts[below(c, ARRAY_SIZE(acts))](c);
        if (!me && c->rounds % LOOK_ROUNDS == 0) {
            look_after();
        }
    }
    if (!__atomic_exchange_n(&ended, 1, __ATOMIC_SEQ_CST)) {
        console_init();
        for (u32 i = 0; i < smp_count(); i++) {
            print("chaos: CPU %u did %lu things\n", i, all[i].rounds);
        }
        guest_exit(0);
    }
}

void guest_main(void)
{
    u64 seed = boot_option_number("seed", rdtsc());

    if (!on_socle()) {
        print("chaos: this is not Socle: nothing is done\n");
        guest_exit(0);
    }
    rounds = boot_option_number("rounds", 20000);
    limit = 1ull << phys_bits();
    (void)clock_tsc_hz();
    print("chaos: seed %lu, %u CPUs\n", seed, smp_init());
    for (u32 i = 0; i < smp_count(); i++) {
        all[i].seed = (seed + i) * 0x9e3779b97f4a7c15ull | 1;
        all[i].window = (u8 *)(WINDOWS + i * 2ull * PAGE_SIZE);
        all[i].pte = pte_at((u64)all[i].window, 1);
        all[i].scratch = page_zeroed();
    }
    for (int v = 0; v < 256; v++) {
        if (v != VEC_DF) {
            trap_handle(v, v == VEC_NMI || v >= 32 ? take : skip);
        }
    }
    if (smp_start_all() != smp_count()) {
        test_abort("not all CPUs came up");
    }
    (void)smp_call_all(work, NULL);
}
