/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's registers, in xAPIC and in x2APIC mode, and the ways between the modes: what can
 * be read and written, which bits stick, what faults, what a register is after a reset. SDM 3A
 * "Advanced Programmable Interrupt Controller (APIC)". Delivery is in delivery.c.
 */
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/irq.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

#define VECTOR     0x40
#define LVT_PIN    (APIC_VECTOR | APIC_DELIVERY | LVT_ACTIVE_LOW | APIC_LEVEL | LVT_MASKED)
#define LVT_SENSOR (APIC_VECTOR | APIC_DELIVERY | LVT_MASKED)
#define READ_ONLY  (APIC_BUSY | LVT_REMOTE_IRR) /* in LVT entries */

enum { READ = 1, WRITE = 2, BOTH = 3, X2_ONLY = 4, X_ONLY = 8 };

/* bits: those that can be set; loose: those that may or may not. With a value, the register is set
 * to that before its bits are tried. */
static const struct reg {
    u32 reg;
    const char *name;
    u32 access;
    u64 bits, loose;
    u32 value;
} regs[] = {
    {APIC_ID,            "ID",            READ,            0,                        0,             0               },
    {APIC_VERSION,       "version",       READ,            0,                        0,             0               },
    {APIC_TPR,           "TPR",           BOTH,            0xff,                     0,             0               },
    {APIC_APR,           "APR",           READ | X_ONLY,   0,                        0,             0               },
    {APIC_PPR,           "PPR",           READ,            0,                        0,             0               },
    {APIC_EOI,           "EOI",           WRITE,           0,                        0,             0               },
    {APIC_RRD,           "RRD",           READ | X_ONLY,   0,                        0,             0               },
    {APIC_LDR,           "LDR",           READ,            0,                        0,             0               },
    {APIC_SVR,           "SVR",           BOTH,            SVR_VECTOR | SVR_ENABLE,  SVR_FOCUS_OFF, 0x1ff           },
    {APIC_ESR,           "ESR",           BOTH,            0,                        0,             0               },
    {APIC_LVT_TIMER,     "LVT timer",     BOTH,            0x300ff,                  READ_ONLY,     0x10000 | VECTOR},
    {APIC_LVT_THERMAL,   "LVT thermal",   BOTH,            LVT_SENSOR,               READ_ONLY,     0x10000 | VECTOR},
    {APIC_LVT_PMC,       "LVT counters",  BOTH,            LVT_SENSOR,               READ_ONLY,     0x10000 | VECTOR},
    {APIC_LVT_LINT0,     "LVT LINT0",     BOTH,            LVT_PIN,                  READ_ONLY,     0x10000 | VECTOR},
    {APIC_LVT_LINT1,     "LVT LINT1",     BOTH,            LVT_PIN,                  READ_ONLY,     0x10000 | VECTOR},
    {APIC_LVT_ERROR,     "LVT error",     BOTH,            APIC_VECTOR | LVT_MASKED, READ_ONLY,     0x10000 | VECTOR},
    {APIC_TIMER_INITIAL, "initial count", BOTH,            0xffffffff,               0,             0               },
    {APIC_TIMER_CURRENT, "current count", READ,            0,                        0,             0               },
    {APIC_TIMER_DIVIDE,  "divide",        BOTH,            DIVIDE_BITS,              0,             DIVIDE_BY_1     },
    {APIC_SELF_IPI,      "self IPI",      WRITE | X2_ONLY, 0,                        0,             0               },
};

/* QEMU TCG's local APIC keeps any bit, checks no transition, and cannot be switched on again. */
static bool exact(void)
{
    if (on_tcg()) {
        test_skip("QEMU TCG's local APIC is not that exact");
    }
    return !on_tcg();
}

static u32 lvt_entries(void)
{
    return (u32)((apic_read(APIC_VERSION) & APIC_VERSION_MAX_LVT) >> 16) + 1;
}

/* Of what depends on the CPU: bits that this one has beside those of the table. */
static u64 more_bits(u32 reg)
{
    if (reg == APIC_SVR && apic_read(APIC_VERSION) & APIC_VERSION_SUPPRESS_EOI) {
        return SVR_SUPPRESS_EOI;
    }
    return reg == APIC_LVT_TIMER && apic_has_deadline() ? LVT_TIMER_DEADLINE : 0;
}

static bool ready(enum apic_mode mode)
{
    if (!apic_offers(mode)) {
        return false;
    }
    irq_expect(32, 255);
    if (on_tcg()) {
        apic_reset(); /* QEMU TCG cannot switch it on again */
    } else {
        apic_set_mode(APIC_MODE_OFF);
    }
    apic_set_mode(mode);
    return true;
}

/* As after a reset, in the mode it is in. LINT0 and LINT1 may be wired through by firmware, which
 * also may have left it on. */
static void check_reset(const char *when, bool firmware)
{
    static const struct {
        u32 reg, value;
        const char *name;
    } list[] = {
        {APIC_TPR,           0,               "TPR"          },
        {APIC_PPR,           0,               "PPR"          },
        {APIC_ESR,           0,               "ESR"          },
        {APIC_LVT_TIMER,     LVT_AFTER_RESET, "LVT timer"    },
        {APIC_LVT_ERROR,     LVT_AFTER_RESET, "LVT error"    },
        {APIC_LVT_PMC,       LVT_AFTER_RESET, "LVT counters" },
        {APIC_LVT_THERMAL,   LVT_AFTER_RESET, "LVT thermal"  },
        {APIC_TIMER_INITIAL, 0,               "initial count"},
        {APIC_TIMER_CURRENT, 0,               "current count"},
        {APIC_TIMER_DIVIDE,  0,               "divide"       },
    };
    u32 version = apic_read(APIC_VERSION), svr = apic_read(APIC_SVR);

    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        CHECK_EQ_AT(apic_read(list[i].reg), list[i].value, "%s %s", list[i].name, when);
    }
    CHECK(apic_none(APIC_ISR) && apic_none(APIC_TMR) && apic_none(APIC_IRR), "ISR, TMR, IRR %s",
          when);
    CHECK_EQ_AT(apic_id(), cpuid(1, 0).ebx >> 24, "ID %s", when);
    CHECK((version & 0xff) >= 0x10 && (version & 0xff) <= 0x15 && lvt_entries() >= 4, "version %x",
          version);
    if (!firmware) {
        CHECK_EQ_AT(svr, SVR_AFTER_RESET, "SVR %s", when);
        CHECK_EQ_AT(apic_read(APIC_LVT_LINT1), LVT_AFTER_RESET, "LINT1 %s", when);
    }
    if (apic_mode() == APIC_MODE_XAPIC) {
        CHECK_EQ_AT(apic_read(APIC_LDR), 0, "LDR %s", when);
        CHECK_EQ_AT(apic_read(APIC_DFR), DFR_FLAT, "DFR %s", when);
    }
}

/* Runs first: what the guest found when it was started. */
static void start(void)
{
    u64 base = apic_present() ? rdmsr(MSR_IA32_APIC_BASE) : 0;

    if (!base) {
        test_skip("no local APIC");
        return;
    }
    CHECK_EQ(base, APIC_PAGE | APIC_BASE_ENABLE | APIC_BASE_BSP);
    CHECK_EQ(apic_mode(), APIC_MODE_XAPIC);
    check_reset("at the start", true);
}

static void reset(void)
{
    if (!exact() || !ready(APIC_MODE_XAPIC)) {
        return;
    }
    check_reset("after off and on", false);
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
        if ((regs[i].access & (BOTH | X2_ONLY)) == BOTH && regs[i].reg != APIC_ESR) {
            apic_write(regs[i].reg,
                       (u32)(regs[i].bits | more_bits(regs[i].reg)) & ~(u32)LVT_TIMER_DEADLINE);
        }
    }
    apic_write(APIC_LDR, 0x55000000);
    apic_write(APIC_DFR, DFR_CLUSTER);
    apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
    irq_raise(VECTOR);
    CHECK(apic_bit(APIC_IRR, VECTOR), "pending");
    apic_set_mode(APIC_MODE_OFF);
    apic_set_mode(APIC_MODE_XAPIC);
    check_reset("after off and on again", false);
    irq_window();
    CHECK_EQ(irq_taken.count, 0);
}

/* --- x2APIC: registers are MSRs --- */

static const struct reg *find(u32 reg)
{
    static const struct reg command = {APIC_ICR, "ICR", BOTH, 0, 0, 0};
    static const struct reg cmci = {APIC_LVT_CMCI, "LVT CMCI", BOTH,
                                    LVT_SENSOR,    READ_ONLY,  0x10000 | VECTOR};
    static const struct reg vectors = {0, "ISR, TMR or IRR", READ, 0, 0, 0};

    for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
        if (regs[i].reg == reg) {
            return &regs[i];
        }
    }
    if (reg >= APIC_ISR && reg < APIC_ESR) {
        return &vectors;
    }
    if (reg == APIC_LVT_CMCI && lvt_entries() >= 7) {
        return &cmci;
    }
    return reg == APIC_ICR ? &command : NULL;
}

/* Every MSR of the range: there or not, readable, writable. */
static void x2_access(void)
{
    if (!ready(APIC_MODE_X2APIC)) {
        return;
    }
    apic_reset();
    for (u32 n = 0; n < 0x400; n += n < 0x40 ? 1 : 13) {
        const struct reg *r = find(n * 16);
        u32 access = r && !(r->access & X_ONLY) ? r->access : 0;
        u64 value, write = 0;
        struct fault f = try_rdmsr(MSR_X2APIC_BASE + n, &value);

        CHECK(f.vector == (access & READ ? -1 : VEC_GP), "reading %x: vector %d",
              MSR_X2APIC_BASE + n, f.vector);
        if (access & READ && n * 16 != APIC_ICR) {
            CHECK(!(value >> 32), "%s reads as %lx", r->name, value);
        }
        if (n * 16 == APIC_ICR || n * 16 == APIC_SELF_IPI) {
            write = (n * 16 == APIC_ICR ? ICR_SELF | ICR_ASSERT : 0) | VECTOR;
        } else if (access & READ) {
            write = n * 16 == APIC_ESR ? 0 : value;
        }
        f = try_wrmsr(MSR_X2APIC_BASE + n, write);
        CHECK(f.vector == (access & WRITE ? -1 : VEC_GP), "writing %lx to %x: vector %d", write,
              MSR_X2APIC_BASE + n, f.vector);
        irq_window();
    }
    CHECK(irq_times(VECTOR) == 2 && irq_taken.count == 2, "%u interrupts", irq_taken.count);
}

/* Bits that are not there fault, and the register stays as it was. */
static void x2_bits(void)
{
    if (!ready(APIC_MODE_X2APIC)) {
        return;
    }
    apic_reset();
    for (u32 n = 0; n < 0x40; n++) {
        const struct reg *r = find(n * 16);

        if (!r || !(r->access & WRITE) || r->access & X_ONLY || n * 16 == APIC_ICR) {
            continue;
        }
        if (r->value) {
            apic_write(n * 16, r->value);
        }
        for (u32 bit = 0; bit < 64; bit++) {
            u64 value = r->value ^ BIT(bit), got = 0;
            bool good = (r->bits | more_bits(r->reg)) & BIT(bit);

            if (r->loose & BIT(bit) || (r->reg == APIC_SELF_IPI && bit < 8)) {
                continue;
            }
            struct fault f = try_wrmsr(MSR_X2APIC_BASE + n, value);
            CHECK(f.vector == (good ? -1 : VEC_GP) && f.error == 0, "%s, bit %u: vector %d",
                  r->name, bit, f.vector);
            if (r->access & READ) {
                got = rdmsr(MSR_X2APIC_BASE + n);
                CHECK_EQ_AT(got, good ? value : r->value, "%s, bit %u", r->name, bit);
                apic_write(n * 16, r->value);
            }
        }
    }
    static const u8 command_reserved[] = {13, 16, 17, 20, 25, 31};
    for (size_t i = 0; i < sizeof(command_reserved); i++) {
        u64 command = ICR_SELF | ICR_ASSERT | VECTOR | BIT(command_reserved[i]);

        CHECK_EQ_AT(try_wrmsr(MSR_X2APIC_BASE + APIC_ICR / 16, command).vector, VEC_GP,
                    "ICR, bit %u", command_reserved[i]);
    }
    irq_window();
    CHECK_EQ(irq_taken.count, 0);
}

static void x2_identity(void)
{
    u32 id;

    if (!ready(APIC_MODE_X2APIC)) {
        return;
    }
    id = apic_read(APIC_ID);
    CHECK_EQ(id, cpuid(1, 0).ebx >> 24);
    CHECK_EQ(id, cpuid(0xb, 0).edx);
    CHECK_EQ(apic_read(APIC_LDR), id >> 4 << 16 | 1u << (id & 15));
    apic_reset();
    wrmsr(MSR_X2APIC_BASE + APIC_ICR / 16, 0x1234567800000000 | ICR_SELF | ICR_ASSERT | VECTOR);
    CHECK_EQ(rdmsr(MSR_X2APIC_BASE + APIC_ICR / 16),
             0x1234567800000000 | ICR_SELF | ICR_ASSERT | VECTOR);
    irq_window();
    CHECK_EQ(irq_times(VECTOR), 1);
}

/* Outside of x2APIC mode there are no such MSRs. */
static void x2_absent(void)
{
    static const enum apic_mode modes[] = {APIC_MODE_XAPIC, APIC_MODE_OFF};
    u64 value;

    for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
        if (!exact() || !ready(APIC_MODE_XAPIC)) {
            return;
        }
        apic_set_mode(modes[m]);
        for (u32 n = 0; n < 0x400; n += n < 0x40 ? 1 : 29) {
            struct fault f = try_rdmsr(MSR_X2APIC_BASE + n, &value);

            CHECK(f.vector == VEC_GP, "mode %d: reading %x: vector %d", modes[m],
                  MSR_X2APIC_BASE + n, f.vector);
            f = try_wrmsr(MSR_X2APIC_BASE + n, 0);
            CHECK(f.vector == VEC_GP, "mode %d: writing %x: vector %d", modes[m],
                  MSR_X2APIC_BASE + n, f.vector);
        }
    }
    apic_set_mode(APIC_MODE_XAPIC);
}

/* --- xAPIC: registers in a page --- */

static void x_bits(void)
{
    if (!exact() || !ready(APIC_MODE_XAPIC)) {
        return;
    }
    apic_reset();
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
        const struct reg *r = &regs[i];
        u64 bits = r->bits | more_bits(r->reg);
        u32 before;

        if (r->access & X2_ONLY || !(r->access & READ) || r->reg == APIC_ESR) {
            continue;
        }
        if (r->value) {
            apic_write(r->reg, r->value);
        }
        before = apic_read(r->reg);
        if (r->access & WRITE) {
            for (u32 bit = 0; bit < 32; bit++) {
                u64 value = r->value ^ BIT(bit), want = bits & BIT(bit) ? value : r->value;

                apic_write(r->reg, (u32)value);
                CHECK_EQ_AT(apic_read(r->reg) & ~r->loose, want & ~r->loose, "%s, bit %u", r->name,
                            bit);
            }
            apic_write(r->reg, before);
        } else if (r->reg != APIC_ID && r->reg != APIC_LDR) {
            apic_write(r->reg, ~before);
            CHECK_EQ_AT(apic_read(r->reg), before, "%s, which is read-only", r->name);
        }
    }
    for (u32 bit = 0; bit < 32; bit++) {
        apic_write(APIC_LDR, (u32)BIT(bit));
        CHECK_EQ_AT(apic_read(APIC_LDR), bit >= 24 ? BIT(bit) : 0, "LDR, bit %u", bit);
        apic_write(APIC_ICR_HIGH, (u32)BIT(bit));
        CHECK_EQ_AT(apic_read(APIC_ICR_HIGH), bit >= 24 ? BIT(bit) : 0, "ICR high, bit %u", bit);
        apic_write(APIC_DFR, ~(u32)BIT(bit));
        CHECK_EQ_AT(apic_read(APIC_DFR), bit >= 28 ? ~(u32)BIT(bit) : ~0u, "DFR, bit %u", bit);
    }
    for (u32 i = 0; i < 8; i++) {
        static const u32 sets[] = {APIC_ISR, APIC_TMR, APIC_IRR};

        for (u32 s = 0; s < 3; s++) {
            apic_write(sets[s] + i * 16, ~0u);
            CHECK_EQ_AT(apic_read(sets[s] + i * 16), 0, "%x, which is read-only", sets[s] + i * 16);
        }
    }
    irq_window();
    CHECK_EQ(irq_taken.count, 0);
}

static void x_reserved(void)
{
    static const u32 list[] = {0x000, 0x010, 0x040, 0x070, 0x290, 0x2e0, 0x3a0, 0x3d0, 0x3f0};

    if (!exact() || !ready(APIC_MODE_XAPIC)) {
        return;
    }
    apic_reset();
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        (void)apic_read(list[i]);
        apic_write(APIC_ESR, 0);
        CHECK_EQ_AT(apic_read(APIC_ESR) & ESR_REGISTER, ESR_REGISTER, "ESR after reading %x",
                    list[i]);
        apic_write(APIC_ESR, 0);
        CHECK_EQ_AT(apic_read(APIC_ESR), 0, "ESR after two writes");
        apic_write(list[i], ~0u);
        apic_write(APIC_ESR, 0);
        CHECK_EQ_AT(apic_read(APIC_ESR) & ESR_REGISTER, ESR_REGISTER, "ESR after writing %x",
                    list[i]);
        apic_write(APIC_ESR, 0);
    }
}

/* --- modes --- */

static void refused(u64 value, const char *what)
{
    u64 before = rdmsr(MSR_IA32_APIC_BASE);
    struct fault f = try_wrmsr(MSR_IA32_APIC_BASE, value);

    CHECK(f.vector == VEC_GP && f.error == 0, "%s (%lx): vector %d", what, value, f.vector);
    CHECK_EQ_AT(rdmsr(MSR_IA32_APIC_BASE), before, "%s: the register", what);
    wrmsr(MSR_IA32_APIC_BASE, before);
}

static void transitions(void)
{
    u64 off = APIC_PAGE | APIC_BASE_BSP, x = off | APIC_BASE_ENABLE, x2 = x | APIC_BASE_X2APIC;

    if (!exact() || !ready(APIC_MODE_XAPIC)) {
        return;
    }
    for (u32 bit = 0; bit < 64; bit++) {
        if (bit < 8 || bit == 9 || bit >= phys_bits()) {
            refused(x | BIT(bit), "reserved bit");
        }
    }
    if (on_socle()) {
        refused(x ^ 0x1000, "another place");
    }
    refused(off | APIC_BASE_X2APIC, "from xAPIC to x2APIC without enable");
    if (!apic_has_x2()) {
        refused(x2, "x2APIC where there is none");
        return;
    }
    apic_set_mode(APIC_MODE_OFF);
    CHECK_EQ(apic_present(), false);
    refused(off | APIC_BASE_X2APIC, "from off to x2APIC without enable");
    refused(x2, "from off to x2APIC");
    apic_set_mode(APIC_MODE_X2APIC);
    CHECK_EQ(rdmsr(MSR_IA32_APIC_BASE), x2);
    CHECK_EQ(apic_present(), true);
    check_reset("in x2APIC mode", false);
    refused(x, "from x2APIC to xAPIC");
    refused(off | APIC_BASE_X2APIC, "from x2APIC to x2APIC without enable");
    wrmsr(MSR_IA32_APIC_BASE, x2);
    apic_set_mode(APIC_MODE_OFF);
    CHECK_EQ(rdmsr(MSR_IA32_APIC_BASE), off);
    apic_set_mode(APIC_MODE_XAPIC);
    check_reset("in xAPIC mode after x2APIC", false);
}

/* From xAPIC to x2APIC, what the registers hold stays. The page is nobody's then. */
static void kept(void)
{
    if (!ready(APIC_MODE_X2APIC) || !ready(APIC_MODE_XAPIC)) {
        return;
    }
    apic_reset();
    apic_write(APIC_TPR, 0x35);
    apic_write(APIC_LVT_ERROR, LVT_MASKED | 0x77);
    apic_write(APIC_SVR, SVR_ENABLE | 0xef);
    irq_raise(VECTOR);
    apic_set_mode(APIC_MODE_X2APIC);
    CHECK_EQ(apic_read(APIC_TPR), 0x35);
    CHECK_EQ(apic_read(APIC_LVT_ERROR), LVT_MASKED | 0x77);
    CHECK_EQ(apic_read(APIC_SVR), SVR_ENABLE | 0xef);
    CHECK(apic_bit(APIC_IRR, VECTOR), "still pending");
    irq_window();
    CHECK_EQ(irq_times(VECTOR), 1);
    if (on_socle()) {
        volatile u32 *page = (volatile u32 *)APIC_PAGE;

        CHECK_EQ(page[APIC_ID / 4], ~0u);
        page[APIC_TPR / 4] = 0;
        CHECK_EQ(apic_read(APIC_TPR), 0x35);
    }
    apic_write(APIC_TPR, 0);
}

/* SDM 3A "Local APIC State After It Has Been Software Disabled" */
static void software_disable(void)
{
    static const u32 lvt[] = {APIC_LVT_TIMER, APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR};

    if (!exact()) {
        return;
    }
    for (enum apic_mode mode = APIC_MODE_XAPIC; mode <= APIC_MODE_X2APIC; mode++) {
        if ((mode == APIC_MODE_X2APIC && !apic_has_x2()) || !ready(mode)) {
            return;
        }
        trap_handle(VEC_NMI, irq_count);
        apic_reset();
        for (size_t i = 0; i < ARRAY_SIZE(lvt); i++) {
            apic_write(lvt[i], VECTOR + (u32)i);
        }
        apic_write(APIC_SVR, APIC_SPURIOUS);
        for (size_t i = 0; i < ARRAY_SIZE(lvt); i++) {
            CHECK_EQ_AT(apic_read(lvt[i]), LVT_MASKED | (VECTOR + i), "LVT %x, disabled", lvt[i]);
            apic_write(lvt[i], VECTOR + (u32)i);
            CHECK_EQ_AT(apic_read(lvt[i]), LVT_MASKED | (VECTOR + i), "LVT %x, unmasked", lvt[i]);
        }
        irq_raise(0x50); /* not taken, and not kept either */
        irq_window();
        CHECK_EQ(irq_taken.count, 0);
        irq_raise(VEC_NMI);
        __asm__ volatile("nop");
        CHECK_EQ(irq_times(VEC_NMI), 1);
        apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
        irq_window();
        CHECK_EQ(irq_times(0x50), 0);
        CHECK_EQ(apic_read(APIC_LVT_ERROR), LVT_MASKED | (VECTOR + 3));
        irq_raise(0x51); /* pending before it is disabled: there again when it is enabled */
        apic_write(APIC_SVR, APIC_SPURIOUS);
        apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
        irq_window();
        CHECK_EQ(irq_times(0x51), 1);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"start",            start           },
        {"reset",            reset           },
        {"x2-access",        x2_access       },
        {"x2-bits",          x2_bits         },
        {"x2-identity",      x2_identity     },
        {"x2-absent",        x2_absent       },
        {"x-bits",           x_bits          },
        {"x-reserved",       x_reserved      },
        {"transitions",      transitions     },
        {"kept",             kept            },
        {"software-disable", software_disable},
    };

    test_all("apic", tests, ARRAY_SIZE(tests));
}
