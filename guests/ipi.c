/* SPDX-License-Identifier: MIT */
/*
 * IPIs between CPUs: physical, logical and lowest-priority destinations, shorthands, NMIs, and
 * storms of them from all to all. rounds=N: how much of the storms.
 */
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/irq.h"
#include "guests/lib/smp.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define VECTOR 0x41

static u32 count;
static u64 rounds;

/* Each of mask's CPUs takes the vector once, and no other does. */
static void expect(u32 mask, u32 vector, const char *what)
{
    u32 want = 0;

    for (u32 i = 0; i < count; i++) {
        want += mask >> i & 1;
    }
    cpu_sti();
    CHECK(WAIT_UNTIL(irq_times_all(vector) >= want), "%s: %u of %u taken", what,
          irq_times_all(vector), want);
    clock_wait_us(20);
    cpu_cli();
    for (u32 i = 0; i < count; i++) {
        CHECK_EQ_AT(cpus[i].taken[vector], mask >> i & 1, "%s: CPU %u", what, i);
    }
    irq_forget_all();
}

static u32 everybody(void)
{
    return (1u << count) - 1;
}

static bool several(void)
{
    if (count < 2) {
        test_skip("one CPU");
        return false;
    }
    irq_forget_all();
    return true;
}

static void destinations(void)
{
    u32 broadcast = apic_mode() == APIC_MODE_X2APIC ? X2APIC_BROADCAST : XAPIC_BROADCAST;

    if (!several()) {
        return;
    }
    for (u32 i = 0; i < count; i++) {
        apic_send(cpus[i].apic_id, ICR_ASSERT | VECTOR);
        expect(1u << i, VECTOR, "physical");
    }
    apic_send(broadcast, ICR_ASSERT | VECTOR);
    expect(everybody(), VECTOR, "physical, everybody");
    apic_send(0, ICR_ALL | ICR_ASSERT | VECTOR);
    expect(everybody(), VECTOR, "all");
    apic_send(0, ICR_OTHERS | ICR_ASSERT | VECTOR);
    expect(everybody() & ~1u, VECTOR, "all others");
    apic_send(0, ICR_SELF | ICR_ASSERT | VECTOR);
    expect(1, VECTOR, "self");
    apic_send(0x30, ICR_ASSERT | VECTOR);
    expect(0, VECTOR, "nobody");
}

static void set_logical(void *arg)
{
    (void)arg;
    apic_write(APIC_DFR, DFR_FLAT);
    apic_write(APIC_LDR, 1u << (24 + smp_cpu_index() % 8));
}

/* Logical destinations: several at once, and one of several for the lowest priority. */
static void logical(void)
{
    bool x2 = apic_mode() == APIC_MODE_X2APIC;
    u32 members = MIN(count, 8u);

    if (!several()) {
        return;
    }
    if (!x2) {
        CHECK(smp_call_all(set_logical, NULL), "logical IDs");
    }
    irq_forget_all();
    for (u32 i = 0; i < members; i++) {
        apic_send(1u << i, ICR_LOGICAL | ICR_ASSERT | VECTOR);
        expect(1u << i, VECTOR, "logical");
        u32 some = (0x5a >> i | 1u << i) & ((1u << members) - 1);
        apic_send(some, ICR_LOGICAL | ICR_ASSERT | VECTOR);
        expect(some, VECTOR, "logical, several");
    }
    for (u32 i = 0; i < 20; i++) {
        apic_send((1u << members) - 1, ICR_LOGICAL | APIC_LOWEST | ICR_ASSERT | VECTOR);
        cpu_sti();
        CHECK(WAIT_UNTIL(irq_times_all(VECTOR) == i + 1), "lowest priority: %u taken of %u",
              irq_times_all(VECTOR), i + 1);
        cpu_cli();
    }
    clock_wait_us(50);
    cpu_sti();
    cpu_pause();
    cpu_cli();
    CHECK_EQ(irq_times_all(VECTOR), 20);
}

/* Everybody to everybody, each with a vector of the sender's and an answer to wait for. */
static volatile u32 storm_failures;

static void storm_work(void *arg)
{
    u32 me = smp_cpu_index();
    u64 seed = 0x2545f4914f6cdd1dull * (me + 1);

    for (u64 i = 0; i < (u64)arg; i++) {
        u32 to = (u32)(test_random(&seed) >> 8) % count;
        u32 vector = 0x50 + me, before = cpus[to].taken[vector];

        apic_send(cpus[to].apic_id, ICR_ASSERT | vector);
        if (!WAIT_UNTIL(cpus[to].taken[vector] != before)) {
            __atomic_fetch_add(&storm_failures, 1, __ATOMIC_SEQ_CST);
            return;
        }
    }
}

static void storm(void)
{
    u32 total = 0;

    if (!several()) {
        return;
    }
    storm_failures = 0;
    cpu_sti();
    CHECK(smp_call_all(storm_work, (void *)rounds), "all end");
    cpu_cli();
    CHECK_EQ(storm_failures, 0);
    for (u32 i = 0; i < count; i++) {
        CHECK_EQ_AT(irq_times_all(0x50 + i), rounds, "IPIs of CPU %u", i);
        total += irq_times_all(0x50 + i);
    }
    CHECK_EQ(total, rounds * count);
}

/* The same without answers, by broadcasts from all at once: they may merge but not vanish. */
static volatile u32 flood_left;

static void flood_work(void *arg)
{
    for (u64 i = 0; i < (u64)arg; i++) {
        apic_send(0, ICR_OTHERS | ICR_ASSERT | (0x50 + smp_cpu_index()));
    }
    __atomic_fetch_sub(&flood_left, 1, __ATOMIC_SEQ_CST);
    (void)WAIT_UNTIL(flood_left == 0);
}

static void flood(void)
{
    if (!several()) {
        return;
    }
    flood_left = count;
    cpu_sti();
    CHECK(smp_call_all(flood_work, (void *)rounds), "all end");
    cpu_cli();
    for (u32 to = 0; to < count; to++) {
        for (u32 from = 0; from < count; from++) {
            u32 n = cpus[to].taken[0x50 + from];

            CHECK(from == to ? n == 0 : n >= 1 && n <= rounds, "from %u to %u: %u taken", from, to,
                  n);
        }
    }
}

static void nmi(void)
{
    if (!several()) {
        return;
    }
    for (u32 i = 1; i < count; i++) {
        apic_send(cpus[i].apic_id, APIC_NMI | ICR_ASSERT);
        expect(1u << i, VEC_NMI, "NMI");
    }
    apic_send(0, ICR_OTHERS | APIC_NMI | ICR_ASSERT);
    expect(everybody() & ~1u, VEC_NMI, "NMI to all others");
}

/* A baton goes round by NMI. Who waits for it is halted with interrupts off, so from one turn to
 * the next all CPUs are, but that an NMI is on its way to one of them. */
static volatile u32 baton;
extern const u8 baton_look[], baton_halted[];

/* An NMI that comes between the look and the HLT is not slept through. */
static bool take_baton(struct trap_frame *f)
{
    if (f->rip >= (u64)baton_look && f->rip < (u64)baton_halted) {
        f->rip = (u64)baton_halted;
    }
    return irq_count(f);
}

static NOINLINE void halt_until(u32 turn)
{
    while (baton != turn) {
        __asm__ volatile("baton_look: cmpl %0, %1\n\t"
                         "je baton_halted\n\t"
                         "hlt\n"
                         "baton_halted:"
                         :
                         : "r"(turn), "m"(baton)
                         : "memory", "cc");
    }
}

static void baton_work(void *arg)
{
    u32 me = smp_cpu_index(), next = cpus[(me + 1) % count].apic_id;

    cpu_cli();
    for (u32 turn = me; turn < (u64)arg * count; turn += count) {
        halt_until(turn);
        baton = turn + 1;
        apic_send(next, APIC_NMI | ICR_ASSERT);
    }
    cpu_sti();
}

static void halted(void)
{
    if (!several()) {
        return;
    }
    baton = 0;
    trap_handle(VEC_NMI, take_baton);
    CHECK(smp_call_all(baton_work, (void *)(rounds * 5)), "all end");
    cpu_cli();
    trap_handle(VEC_NMI, irq_count);
    CHECK_EQ(baton, rounds * 5 * count);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"destinations", destinations},
        {"logical",      logical     },
        {"storm",        storm       },
        {"flood",        flood       },
        {"nmi",          nmi         },
        {"halted",       halted      },
    };

    rounds = boot_option_number("rounds", 100);
    count = apic_present() ? smp_init() : 1;
    irq_expect(32, 247);
    trap_handle(VEC_NMI, irq_count);
    if (count > 1 && smp_start_all() != count) {
        test_abort("not all CPUs start");
    }
    test_all("ipi", tests, ARRAY_SIZE(tests));
}
