/* SPDX-License-Identifier: MIT */
/*
 * Delivery by the local APIC, in xAPIC and in x2APIC mode: priorities, what is requested and in
 * service, end of interrupt, interrupts that the CPU sends to itself in every way there is, errors.
 * SDM 3A "Handling Interrupts", "Issuing Interprocessor Interrupts", "Error Handling".
 */
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/irq.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

static bool begin(enum apic_mode mode)
{
    if (!apic_offers(mode)) {
        return false;
    }
    apic_set_mode(mode);
    apic_reset();
    irq_expect(16, 255);
    trap_handle(VEC_NMI, irq_count);
    trap_handle(VEC_MF, NULL);
    trap_handle(VEC_AC, NULL);
    return true;
}

/* Each test runs in both modes. */
#define IN_BOTH_MODES(name)                                                                        \
    static void name##_x(void)                                                                     \
    {                                                                                              \
        if (begin(APIC_MODE_XAPIC)) {                                                              \
            name();                                                                                \
        }                                                                                          \
    }                                                                                              \
    static void name##_x2(void)                                                                    \
    {                                                                                              \
        if (begin(APIC_MODE_X2APIC)) {                                                             \
            name();                                                                                \
        }                                                                                          \
    }

static void check_order(const u8 *want, u32 count, const char *what)
{
    CHECK_EQ_AT(irq_taken.count, count, "interrupts, %s", what);
    for (u32 i = 0; i < MIN(irq_taken.count, count); i++) {
        CHECK_EQ_AT(irq_taken.vector[i], want[i], "interrupt %u, %s", i, what);
    }
}

/* --- priority --- */

/* TPR holds back vectors of its class and below; CR8 is its upper half. */
static void tpr(void)
{
    for (u32 value = 0; value < 256; value += 0x11) {
        u32 class = value >> 4;

        irq_forget();
        apic_write(APIC_TPR, value);
        CHECK_EQ(apic_read(APIC_TPR), value);
        CHECK_EQ(read_cr8(), class);
        CHECK_EQ(apic_read(APIC_PPR), value);
        irq_raise(0x40);
        irq_raise(0xb7);
        irq_window();
        CHECK_EQ_AT(irq_times(0x40), class < 4, "0x40 with TPR %x", value);
        CHECK_EQ_AT(irq_times(0xb7), class < 0xb, "0xb7 with TPR %x", value);
        CHECK_EQ_AT(apic_bit(APIC_IRR, 0x40), class >= 4, "0x40 pending with TPR %x", value);
        cpu_sti();
        apic_write(APIC_TPR, 0); /* now they come, at once */
        __asm__ volatile("nop");
        cpu_cli();
        CHECK_EQ(irq_times(0x40), 1);
        CHECK_EQ(irq_times(0xb7), 1);
    }
    for (u64 class = 0; class < 16; class ++) {
        write_cr8(class);
        CHECK_EQ(read_cr8(), class);
        CHECK_EQ(apic_read(APIC_TPR), class << 4);
    }
    apic_write(APIC_TPR, 0x31);
    write_cr8(3);
    CHECK_EQ(apic_read(APIC_TPR), 0x30);
    write_cr8(15);
    irq_forget();
    irq_raise(0xef);
    cpu_sti();
    write_cr8(14);
    CHECK_EQ(irq_times(0xef), 0);
    write_cr8(13);
    __asm__ volatile("nop");
    cpu_cli();
    CHECK_EQ(irq_times(0xef), 1);
    write_cr8(0);
    if (!cpu_is_tcg()) {
        struct fault f = TRY("mov %0, %%cr8", : : "r"(16ull));

        CHECK_FAULT(f, VEC_GP);
    }
    CHECK_EQ(read_cr8(), 0);
}
IN_BOTH_MODES(tpr)

static u32 nest_step;

/* In service: 0x63. Lower ones and its own class wait, higher ones interrupt. */
static bool on_nest(struct trap_frame *f)
{
    (void)f;
    CHECK_EQ(apic_bit(APIC_ISR, 0x63), 1);
    CHECK_EQ(apic_bit(APIC_IRR, 0x63), 0);
    CHECK_EQ(apic_read(APIC_PPR), 0x60);
    irq_raise(0x42);
    irq_raise(0x6f);
    irq_raise(0x63);
    irq_window();
    CHECK_EQ(irq_taken.count, 0);
    irq_raise(0x70);
    irq_window();
    CHECK_EQ(irq_taken.count, 1);
    CHECK_EQ(irq_times(0x70), 1);
    apic_write(APIC_TPR, 0x65);
    CHECK_EQ(apic_read(APIC_PPR), 0x65);
    apic_write(APIC_TPR, 0x73);
    CHECK_EQ(apic_read(APIC_PPR), 0x73);
    apic_write(APIC_TPR, 0x5f);
    CHECK_EQ(apic_read(APIC_PPR), 0x60);
    apic_write(APIC_TPR, 0);
    nest_step++;
    trap_handle(0x63, irq_count);
    apic_eoi();
    CHECK_EQ(apic_bit(APIC_ISR, 0x63), 0);
    CHECK_EQ(apic_read(APIC_PPR), 0);
    return true;
}

static void nesting(void)
{
    static const u8 want[] = {0x70, 0x6f, 0x63, 0x42};

    nest_step = 0;
    trap_handle(0x63, on_nest);
    irq_raise(0x63);
    irq_window();
    irq_window();
    CHECK_EQ(nest_step, 1);
    check_order(want, sizeof(want), "nested");
}
IN_BOTH_MODES(nesting)

/* --- request and service --- */

static u32 seen;
static bool no_eoi(struct trap_frame *f)
{
    seen = f->vector;
    CHECK_EQ_AT(apic_bit(APIC_ISR, f->vector), 1, "ISR of %x", f->vector);
    CHECK_EQ_AT(apic_bit(APIC_IRR, f->vector), 0, "IRR of %x", f->vector);
    CHECK_EQ_AT(apic_bit(APIC_TMR, f->vector), 0, "TMR of %x", f->vector);
    return true;
}

/* Each vector's way through IRR and ISR. */
static void bits(void)
{
    for (u32 v = 16; v < 256; v += v < 32 ? 5 : 1) {
        trap_handle((int)v, no_eoi);
        seen = 0;
        irq_raise((u8)v);
        CHECK_EQ_AT(apic_bit(APIC_IRR, v), 1, "IRR of %x", v);
        CHECK_EQ_AT(apic_bit(APIC_ISR, v), 0, "ISR of %x", v);
        irq_window();
        CHECK_EQ_AT(seen, v, "vector");
        irq_raise((u8)v); /* one more can wait while the first is in service */
        irq_raise((u8)v);
        CHECK_EQ_AT(apic_bit(APIC_IRR, v) && apic_bit(APIC_ISR, v), 1, "both of %x", v);
        seen = 0;
        irq_window();
        CHECK_EQ_AT(seen, 0, "vector while %x is in service", v);
        apic_eoi();
        irq_window();
        CHECK_EQ_AT(seen, v, "vector");
        apic_eoi();
        seen = 0;
        irq_window();
        CHECK_EQ_AT(seen, 0, "a third of %x", v);
        CHECK(apic_none(APIC_ISR) && apic_none(APIC_IRR), "nothing left of %x", v);
    }
    apic_eoi(); /* of nothing */
    CHECK(apic_none(APIC_ISR), "nothing in service");
}
IN_BOTH_MODES(bits)

/* EOI ends the highest in service. */
static void eoi_order(void)
{
    static const u8 vectors[] = {0x35, 0x58, 0x59, 0x9c, 0xe0};

    for (size_t i = 0; i < sizeof(vectors); i++) {
        trap_handle(vectors[i], no_eoi);
    }
    irq_raise(0x35);
    irq_window();
    irq_raise(0x59);
    irq_window();
    irq_raise(0x9c);
    irq_window();
    irq_raise(0xe0);
    irq_window();
    irq_raise(0x58);
    irq_window();
    CHECK_EQ(seen, 0xe0);
    CHECK(apic_bit(APIC_ISR, 0x35) && apic_bit(APIC_ISR, 0x59) && apic_bit(APIC_ISR, 0x9c) &&
              apic_bit(APIC_ISR, 0xe0) && apic_bit(APIC_IRR, 0x58),
          "four in service, one waits");
    apic_eoi();
    CHECK(!apic_bit(APIC_ISR, 0xe0) && apic_bit(APIC_ISR, 0x9c), "the highest has ended");
    CHECK_EQ(apic_read(APIC_PPR), 0x90);
    apic_eoi();
    CHECK_EQ(apic_read(APIC_PPR), 0x50);
    irq_window();
    CHECK_EQ(seen, 0xe0);
    apic_eoi();
    CHECK_EQ(apic_read(APIC_PPR), 0x30);
    irq_window();
    CHECK_EQ(seen, 0x58);
    apic_eoi();
    apic_eoi();
    CHECK(apic_none(APIC_ISR), "all have ended");
}
IN_BOTH_MODES(eoi_order)

/* What TPR holds back when it is let in is not lost, and nothing is in service for a spurious
 * interrupt, if one comes. */
static void withdrawn(void)
{
    irq_raise(0x41);
    apic_write(APIC_TPR, 0xff);
    irq_window();
    CHECK_EQ(irq_times(0x41), 0);
    CHECK(irq_taken.count <= 1 && irq_times(APIC_SPURIOUS) == irq_taken.count, "%u interrupts",
          irq_taken.count);
    CHECK(apic_none(APIC_ISR), "nothing in service");
    apic_write(APIC_TPR, 0);
    irq_window();
    CHECK_EQ(irq_times(0x41), 1);
}
IN_BOTH_MODES(withdrawn)

/* What waits for IF waits, however often the host is interrupted meanwhile. */
static void held(void)
{
    irq_raise(0x42);
    clock_wait_us(20000);
    CHECK_EQ(irq_taken.count, 0);
    CHECK_EQ(apic_bit(APIC_IRR, 0x42), 1);
    irq_window();
    CHECK_EQ(irq_times(0x42), 1);
}
IN_BOTH_MODES(held)

/* --- to itself --- */

static void one(u32 destination, u32 command, u32 count, const char *what)
{
    irq_forget();
    apic_send(destination, command | ICR_ASSERT | 0x81);
    CHECK_EQ_AT(apic_read(APIC_ICR) & ~APIC_BUSY, command | ICR_ASSERT | 0x81, "ICR, %s", what);
    irq_window();
    CHECK_EQ_AT(irq_times(0x81), count, "taken, %s", what);
    CHECK_EQ_AT(irq_taken.count, count, "all taken, %s", what);
}

static void to_self(void)
{
    bool x2 = apic_mode() == APIC_MODE_X2APIC;
    u32 me = apic_id(), everybody = x2 ? X2APIC_BROADCAST : XAPIC_BROADCAST;
    u32 ldr = apic_read(APIC_LDR);

    one(0, ICR_SELF, 1, "shorthand self");
    one(0x55, ICR_SELF, 1, "shorthand self, with a destination that does not count");
    one(0, ICR_ALL, 1, "shorthand all");
    one(0, ICR_OTHERS, 0, "shorthand all others");
    one(me, 0, 1, "physical");
    one(me, APIC_LOWEST, 1, "physical, lowest priority");
    one(everybody, 0, 1, "physical, to everybody");
    one(me ^ 0x10, 0, 0, "physical, to nobody");
    if (x2) {
        one(ldr, ICR_LOGICAL, 1, "logical");
        one(ldr | 0xff, ICR_LOGICAL, 1, "logical, several");
        one(ldr ^ 0x10000, ICR_LOGICAL, 0, "logical, another cluster");
        one(ldr << 1, ICR_LOGICAL, 0, "logical, another in the cluster");
        one(everybody, ICR_LOGICAL, 1, "logical, to everybody");
        irq_forget();
        wrmsr(MSR_X2APIC_BASE + APIC_SELF_IPI / 16, 0x82);
        irq_window();
        CHECK_EQ(irq_times(0x82), 1);
        return;
    }
    apic_write(APIC_LDR, 0x24000000);
    one(0x24, ICR_LOGICAL, 1, "flat");
    one(0x04, ICR_LOGICAL, 1, "flat, one bit of two");
    one(0xdb, ICR_LOGICAL, 0, "flat, other bits");
    one(0xff, ICR_LOGICAL, 1, "flat, everybody");
    one(0xff, ICR_LOGICAL | APIC_LOWEST, 1, "flat, lowest priority");
    apic_write(APIC_DFR, DFR_CLUSTER);
    one(0x24, ICR_LOGICAL, 1, "cluster");
    one(0x2f, ICR_LOGICAL, 1, "cluster, all in it");
    one(0x2b, ICR_LOGICAL, 0, "cluster, others in it");
    one(0x34, ICR_LOGICAL, 0, "another cluster");
    if (!on_tcg()) {
        one(0xff, ICR_LOGICAL, 1, "cluster, everybody");
    }
    apic_write(APIC_DFR, DFR_FLAT);
    apic_write(APIC_LDR, 0);
    one(0x24, ICR_LOGICAL, 0, "flat, without a logical ID");
}
IN_BOTH_MODES(to_self)

static void nmi(void)
{
    for (u32 i = 1; i <= 3; i++) {
        irq_raise(VEC_NMI);
        __asm__ volatile("nop");
        CHECK_EQ(irq_times(VEC_NMI), i);
    }
    apic_write(APIC_TPR, 0xff); /* does not count for it */
    irq_raise(VEC_NMI);
    __asm__ volatile("nop");
    CHECK_EQ(irq_times(VEC_NMI), 4);
    apic_write(APIC_TPR, 0);
    CHECK(apic_none(APIC_ISR) && apic_none(APIC_IRR), "an NMI leaves nothing");
    apic_send(apic_id(), APIC_INIT | APIC_LEVEL); /* INIT level de-assert: nothing happens */
    CHECK_EQ(irq_taken.count, 4);
}
IN_BOTH_MODES(nmi)

/* --- errors --- */

static u32 errors(void)
{
    apic_write(APIC_ESR, 0);
    return apic_read(APIC_ESR);
}

static void illegal_vectors(void)
{
    if (on_tcg()) {
        test_skip("illegal vectors: QEMU TCG notes none");
        return;
    }
    apic_write(APIC_LVT_ERROR, 0x91);
    CHECK_EQ(errors(), 0);
    for (u32 v = 0; v < 16; v += 3) {
        irq_forget();
        apic_send(0, ICR_SELF | ICR_ASSERT | v);
        CHECK_EQ_AT(errors() & ESR_SEND_VECTOR, ESR_SEND_VECTOR, "ESR after vector %u", v);
        CHECK_EQ_AT(errors(), 0, "ESR after one more write");
        irq_window();
        CHECK(irq_times(0x91) >= 1 && irq_times(0x91) == irq_taken.count,
              "%u error interrupts for vector %u", irq_times(0x91), v);
        CHECK(apic_none(APIC_IRR) && apic_none(APIC_ISR), "vector %u is not taken", v);
    }
    apic_write(APIC_LVT_ERROR, LVT_MASKED | 0x91);
    irq_forget();
    apic_send(0, ICR_SELF | ICR_ASSERT | 3);
    irq_window();
    CHECK_EQ(irq_taken.count, 0);
    CHECK(errors() & ESR_SEND_VECTOR, "noted all the same");
    CHECK_EQ(errors(), 0);
    if (apic_mode() == APIC_MODE_X2APIC) {
        wrmsr(MSR_X2APIC_BASE + APIC_SELF_IPI / 16, 7);
        CHECK(errors() & (ESR_SEND_VECTOR | ESR_RECEIVE_VECTOR), "self IPI of vector 7");
        CHECK_EQ(errors(), 0);
    }
}
IN_BOTH_MODES(illegal_vectors)

/* Many, at random, with all that there is: nothing is lost, nothing comes twice. */
static void storm(void)
{
    static u32 want[256];
    u64 seed = 0x9e3779b97f4a7c15ull;

    for (u32 v = 0; v < 256; v++) {
        want[v] = 0;
    }
    for (u32 i = 0; i < 1000; i++) {
        u64 r = test_random(&seed);

        apic_write(APIC_TPR, (u32)(r >> 40 & 0xff));
        for (u32 n = 0; n <= (r >> 8 & 3); n++) {
            u32 v = 32 + (u32)(r >> (16 + 8 * n)) % (APIC_SPURIOUS - 32);

            want[v] += !apic_bit(APIC_IRR, v);
            irq_raise((u8)v);
        }
        if (r >> 12 & 1) {
            irq_window();
        }
    }
    apic_write(APIC_TPR, 0);
    irq_window();
    for (u32 v = 32; v < APIC_SPURIOUS; v++) {
        CHECK_EQ_AT(irq_times(v), want[v], "times of vector %x", v);
    }
    CHECK(apic_none(APIC_IRR) && apic_none(APIC_ISR), "nothing is left");
}
IN_BOTH_MODES(storm)

void guest_main(void)
{
#define TWO(name, function)                                                                        \
    {name "-x", function##_x},                                                                     \
    {                                                                                              \
        name "-x2", function##_x2                                                                  \
    }
    static const struct test tests[] = {
        TWO("tpr", tpr),
        TWO("nesting", nesting),
        TWO("bits", bits),
        TWO("eoi-order", eoi_order),
        TWO("withdrawn", withdrawn),
        TWO("held", held),
        TWO("to-self", to_self),
        TWO("nmi", nmi),
        TWO("illegal-vectors", illegal_vectors),
        TWO("storm", storm),
    };

    test_all("delivery", tests, ARRAY_SIZE(tests));
}
