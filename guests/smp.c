/* SPDX-License-Identifier: MIT */
/*
 * Several CPUs: start by INIT and start-up IPI, APIC IDs, state of their own, TLB shoot-down,
 * locks, stop and restart. With one CPU most of it is skipped. rounds=N: how much of the long ones.
 * IPIs are in ipi.c.
 */
#include "guests/lib/smp.h"
#include "guests/lib/acpi.h"
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/console.h"
#include "guests/lib/fwcfg.h"
#include "guests/lib/irq.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define VECTOR    0x41
#define LEAF_TOPO 0xb
#define TEST_PAGE (MAP_AREA + 0x200000000ull)

static u32 count;
static u64 rounds;

/* --- start --- */

/* A local APIC after reset and after INIT, which keeps the mode (SDM 3A "Local APIC State After an
 * INIT Reset"). */
static void check_found(u32 cpu, u64 mode)
{
    struct smp_found f = smp_found(cpu);

    CHECK_EQ_AT(f.base, APIC_PAGE | mode, "IA32_APIC_BASE of CPU %u", cpu);
    CHECK_EQ_AT(f.id, cpus[cpu].apic_id, "APIC ID of CPU %u", cpu);
    CHECK_EQ_AT(f.svr, SVR_AFTER_RESET, "SVR of CPU %u", cpu);
    CHECK_EQ_AT(f.tpr, 0, "TPR of CPU %u", cpu);
    CHECK_EQ_AT(f.error, LVT_AFTER_RESET, "LVT error of CPU %u", cpu);
    CHECK_EQ_AT(f.timer, LVT_AFTER_RESET, "LVT timer of CPU %u", cpu);
    CHECK_EQ_AT(f.initial, 0, "initial count of CPU %u", cpu);
    if (!on_tcg()) { /* its firmware starts them before */
        CHECK_EQ_AT(f.lint0, LVT_AFTER_RESET, "LINT0 of CPU %u", cpu);
    }
    if (mode & APIC_BASE_X2APIC) {
        CHECK_EQ_AT(f.ldr, f.id >> 4 << 16 | 1u << (f.id & 15), "LDR of CPU %u", cpu);
    } else {
        CHECK_EQ_AT(f.ldr, 0, "LDR of CPU %u", cpu);
    }
}

static void start(void)
{
    u32 want = (u32)boot_option_number("cpus", 0);

    count = smp_init();
    irq_expect(32, 247);
    trap_handle(VEC_NMI, irq_count);
    if (want) {
        CHECK_EQ(count, want);
    }
    if (fwcfg_present()) {
        CHECK_EQ(fwcfg_cpus(), count);
    }
    CHECK_EQ(rdmsr(MSR_IA32_APIC_BASE) & APIC_BASE_BSP, APIC_BASE_BSP);
    for (u32 i = 1; i < count; i++) {
        CHECK_EQ_AT(smp_starts(i), 0, "starts of CPU %u before it was started", i);
    }
    CHECK_EQ(smp_start_all(), count);
    for (u32 i = 1; i < count; i++) {
        check_found(i, APIC_BASE_ENABLE);
    }
}

/* What each CPU sees of itself. */
static struct seen {
    u32 id_1, id_b, id_apic, index;
    u64 base, cr0, cr3, cr4, efer, tsc;
} seen[CPU_MAX];

static void look(void *arg)
{
    struct seen *s = &seen[smp_cpu_index()];

    (void)arg;
    s->index = smp_cpu_index();
    s->id_1 = cpuid(1, 0).ebx >> 24;
    s->id_b = cpuid(0, 0).eax >= LEAF_TOPO ? cpuid(LEAF_TOPO, 0).edx : s->id_1;
    s->id_apic = apic_id();
    s->base = rdmsr(MSR_IA32_APIC_BASE);
    s->cr0 = read_cr0();
    s->cr3 = read_cr3();
    s->cr4 = read_cr4();
    s->efer = rdmsr(MSR_IA32_EFER);
    s->tsc = rdtsc();
}

static void identity(void)
{
    CHECK(smp_call_all(look, NULL), "all answer");
    for (u32 i = 0; i < count; i++) {
        CHECK_EQ_AT(seen[i].index, i, "index");
        CHECK_EQ_AT(seen[i].id_1, cpus[i].apic_id, "APIC ID in CPUID leaf 1 of CPU %u", i);
        CHECK_EQ_AT(seen[i].id_b, cpus[i].apic_id, "APIC ID in CPUID leaf B of CPU %u", i);
        CHECK_EQ_AT(seen[i].id_apic, cpus[i].apic_id, "APIC ID of CPU %u", i);
        CHECK_EQ_AT(!!(seen[i].base & APIC_BASE_BSP), i == 0, "BSP flag of CPU %u", i);
        CHECK_EQ_AT(seen[i].cr0, seen[0].cr0, "CR0 of CPU %u", i);
        CHECK_EQ_AT(seen[i].cr3, seen[0].cr3, "CR3 of CPU %u", i);
        CHECK_EQ_AT(seen[i].cr4, seen[0].cr4, "CR4 of CPU %u", i);
        CHECK_EQ_AT(seen[i].efer, seen[0].efer, "EFER of CPU %u", i);
    }
    if (on_socle() && cpuid(0, 0).eax >= LEAF_TOPO) {
        CHECK_EQ(cpuid(LEAF_TOPO, 0).ebx, 1);
        CHECK_EQ(cpuid(LEAF_TOPO, 1).ebx, count);
    }
}

/* Registers that each CPU has of its own keep their values while all run. */
static volatile u32 wrong_registers;

static void own(void *arg)
{
    u64 mine = 0x1111000 * (smp_cpu_index() + 1ull);

    for (u64 i = 0; i < (u64)arg; i++) {
        wrmsr(MSR_IA32_KERNEL_GS_BASE, mine + i);
        wrmsr(MSR_IA32_LSTAR, mine * 2 + i);
        wrmsr(MSR_IA32_FS_BASE, mine * 3 + i);
        write_cr2(mine * 4 + i);
        __asm__ volatile("mov %0, %%dr0" : : "r"(mine * 5 + i));
        (void)cpuid(0, 0);
        if (i % 16 == 0) {
            clock_wait_us(10);
        }
        u64 dr0;
        __asm__ volatile("mov %%dr0, %0" : "=r"(dr0));
        if (rdmsr(MSR_IA32_KERNEL_GS_BASE) != mine + i || rdmsr(MSR_IA32_LSTAR) != mine * 2 + i ||
            rdmsr(MSR_IA32_FS_BASE) != mine * 3 + i || read_cr2() != mine * 4 + i ||
            dr0 != mine * 5 + i) {
            __atomic_fetch_add(&wrong_registers, 1, __ATOMIC_SEQ_CST);
        }
    }
    __asm__ volatile("mov %0, %%dr0" : : "r"(0ull));
}

static void registers(void)
{
    wrong_registers = 0;
    CHECK(smp_call_all(own, (void *)rounds), "all end");
    CHECK_EQ(wrong_registers, 0);
}

/* One CPU's clock is every CPU's: what one reads after another is not less. */
static struct {
    volatile u64 tsc;
    volatile u32 turn;
    u32 wrong;
} relay;

static void run_relay(void *arg)
{
    u32 me = smp_cpu_index();

    for (u64 i = 0; i < (u64)arg; i++) {
        if (!WAIT_UNTIL(relay.turn % count == me)) {
            return;
        }
        u64 now = rdtsc();
        relay.wrong += now < relay.tsc;
        relay.tsc = now;
        __atomic_fetch_add(&relay.turn, 1, __ATOMIC_SEQ_CST);
    }
}

static void tsc(void)
{
    memset((void *)&relay, 0, sizeof(relay));
    CHECK(smp_call_all(run_relay, (void *)rounds), "all end");
    CHECK_EQ(relay.turn, rounds * count);
    CHECK_EQ(relay.wrong, 0);
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

/* --- memory --- */

static struct {
    volatile u64 *page;
    volatile u32 generation, left, wrong;
    u64 frames[2];
} shoot;

static bool on_shoot(struct trap_frame *f)
{
    (void)f;
    invlpg(shoot.page);
    __atomic_fetch_sub(&shoot.left, 1, __ATOMIC_SEQ_CST);
    apic_eoi();
    return true;
}

static void reader(void *arg)
{
    (void)arg;
    while (shoot.generation != ~0u) {
        u32 before = shoot.generation;
        u64 value = *shoot.page;

        /* between two generations either value is right */
        if (before == shoot.generation && !(before & 1) && value != before / 2 % 2) {
            __atomic_fetch_add(&shoot.wrong, 1, __ATOMIC_SEQ_CST);
        }
        cpu_pause();
    }
}

/* A page changes its frame; after the IPI nobody sees the old one. */
static void shootdown(void)
{
    if (!several()) {
        return;
    }
    shoot.page = (volatile u64 *)TEST_PAGE;
    shoot.wrong = 0;
    shoot.generation = 0;
    for (u64 i = 0; i < 2; i++) {
        shoot.frames[i] = (u64)page_zeroed();
        *(volatile u64 *)shoot.frames[i] = i;
    }
    pte_set(TEST_PAGE, 1, shoot.frames[0] | PTE_P | PTE_W);
    trap_handle(0x48, on_shoot);
    for (u32 i = 1; i < count; i++) {
        smp_call(i, reader, NULL);
    }
    for (u32 i = 1; i <= rounds; i++) {
        __atomic_fetch_add(&shoot.generation, 1, __ATOMIC_SEQ_CST);
        shoot.left = count - 1;
        pte_set(TEST_PAGE, 1, shoot.frames[i % 2] | PTE_P | PTE_W);
        apic_send(0, ICR_OTHERS | ICR_ASSERT | 0x48);
        if (!CHECK(WAIT_UNTIL(shoot.left == 0), "round %u: %u CPUs did not answer", i,
                   shoot.left)) {
            break;
        }
        __atomic_fetch_add(&shoot.generation, 1, __ATOMIC_SEQ_CST);
    }
    shoot.generation = ~0u;
    for (u32 i = 1; i < count; i++) {
        CHECK(smp_wait(i), "CPU %u ends", i);
    }
    trap_handle(0x48, irq_count);
    CHECK_EQ(shoot.wrong, 0);
}

/* A lock of tickets and a plain counter behind it; atomics beside it. */
static struct {
    u32 next, owner;
    volatile u64 plain, inside, wrong;
    u64 atomic;
} lock;

static void lock_work(void *arg)
{
    for (u64 i = 0; i < (u64)arg; i++) {
        u32 mine = __atomic_fetch_add(&lock.next, 1, __ATOMIC_SEQ_CST);

        while (__atomic_load_n(&lock.owner, __ATOMIC_ACQUIRE) != mine) {
            cpu_pause();
        }
        lock.wrong += lock.inside++ != 0;
        lock.plain++;
        lock.inside--;
        __atomic_store_n(&lock.owner, mine + 1, __ATOMIC_RELEASE);
        __atomic_fetch_add(&lock.atomic, 3, __ATOMIC_SEQ_CST);
    }
}

static void locks(void)
{
    memset((void *)&lock, 0, sizeof(lock));
    CHECK(smp_call_all(lock_work, (void *)(rounds * 5)), "all end");
    CHECK_EQ(lock.plain, rounds * 5 * count);
    CHECK_EQ(lock.atomic, rounds * 15 * count);
    CHECK_EQ(lock.wrong, 0);
}

/* --- stop and restart --- */

static volatile u64 beats;

static void spin(void *arg)
{
    if (arg) {
        cpu_cli();
    }
    for (;;) {
        beats++;
    }
}

static void offline(void *arg)
{
    (void)arg;
    for (;;) {
        beats++;
        __asm__ volatile("cli; hlt" : : : "memory");
    }
}

static bool is_still(void)
{
    u64 before = beats;

    clock_wait_us(200);
    return beats == before;
}

static void restart(void)
{
    static const struct {
        smp_work_t work;
        void *arg;
        const char *what;
    } list[] = {
        {spin,    NULL,      "running"                    },
        {spin,    (void *)1, "running with interrupts off"},
        {offline, NULL,      "halted with interrupts off" },
    };

    if (!several()) {
        return;
    }
    for (u32 i = 1; i < count; i++) {
        for (size_t n = 0; n < ARRAY_SIZE(list); n++) {
            u32 before = smp_starts(i);

            beats = 0;
            smp_call(i, list[n].work, list[n].arg);
            CHECK(WAIT_UNTIL(beats != 0), "CPU %u is %s", i, list[n].what);
            smp_stop(i);
            /* an INIT may take a while: one emulator lets no kick through to a CPU that began to
             * run with interrupts off */
            CHECK(WAIT_UNTIL(is_still()), "CPU %u stops, %s", i, list[n].what);
            apic_send(cpus[i].apic_id, ICR_ASSERT | VECTOR); /* nor does an IPI wake it */
            clock_wait_us(50);
            CHECK_EQ(cpus[i].taken[VECTOR], 0);
            CHECK(smp_start(i), "CPU %u starts again, after %s", i, list[n].what);
            CHECK_EQ(smp_starts(i), before + 1);
            apic_send(cpus[i].apic_id, ICR_ASSERT | VECTOR);
            CHECK(WAIT_UNTIL(cpus[i].taken[VECTOR] == 1), "it takes IPIs again");
            irq_forget_all();
        }
    }
    /* a start-up IPI to a CPU that runs does nothing */
    u32 before = smp_starts(1);
    apic_send(cpus[1].apic_id, APIC_STARTUP | ICR_ASSERT | SMP_PAGE >> 12);
    clock_wait_us(100);
    CHECK_EQ(smp_starts(1), before);
    smp_call(1, look, NULL);
    CHECK(smp_wait(1), "it works on");
}

/* What a CPU leaves behind when it is stopped. */
static void dirty(void *arg)
{
    (void)arg;
    cpu_cli();
    apic_write(APIC_TPR, 0x50);
    apic_write(APIC_LVT_ERROR, 0x77);
    apic_write(APIC_TIMER_INITIAL, ~0u);
    apic_send(0, ICR_SELF | ICR_ASSERT | VECTOR);
    write_cr8(7);
    beats = 1;
    for (;;) {
        cpu_pause();
    }
}

static void init_state(void)
{
    if (!several()) {
        return;
    }
    beats = 0;
    smp_call(1, dirty, NULL);
    CHECK(WAIT_UNTIL(beats == 1), "prepared");
    CHECK(smp_start(1), "it starts again");
    check_found(1, rdmsr(MSR_IA32_APIC_BASE) & (APIC_BASE_ENABLE | APIC_BASE_X2APIC));
    clock_wait_us(200);
    CHECK_EQ(cpus[1].taken[VECTOR], 0); /* what was pending is gone */
    smp_call(1, look, NULL);
    CHECK(smp_wait(1), "it works");
    CHECK_EQ(seen[1].id_apic, cpus[1].apic_id);
    CHECK_EQ(seen[1].base & APIC_BASE_BSP, 0);
}

/* Nobody has anything to do: the others take nothing, and the run's report must show few exits. */
static void idle(void)
{
    if (!several() || !apic_has_deadline()) {
        return;
    }
    trap_handle(VECTOR, irq_count);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | VECTOR);
    wrmsr(MSR_IA32_TSC_DEADLINE, rdtsc() + clock_tsc_hz());
    while (!irq_times(VECTOR)) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
    for (u32 i = 1; i < count; i++) {
        u32 all = 0;

        for (u32 v = 0; v < 256; v++) {
            all += cpus[i].taken[v];
        }
        CHECK_EQ_AT(all, 0, "interrupts of CPU %u", i);
    }
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"start",      start     },
        {"identity",   identity  },
        {"registers",  registers },
        {"tsc",        tsc       },
        {"shootdown",  shootdown },
        {"locks",      locks     },
        {"restart",    restart   },
        {"init-state", init_state},
        {"idle",       idle      },
    };

    rounds = boot_option_number("rounds", 100);
    if (!apic_present()) {
        print("smp: SKIP (no local APIC)\n");
        guest_exit(0);
    }
    test_all("smp", tests, ARRAY_SIZE(tests));
}
