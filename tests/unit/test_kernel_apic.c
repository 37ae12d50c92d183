/* SPDX-License-Identifier: MIT */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
/* vCPUs and their local APICs in the running kernel: INIT and SIPI, HLT and what ends it, the PIC's
 * interrupts, ends of level-triggered ones, timers; on one CPU, on several, and in races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/thread.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "tests/host/backend.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define VCPUS     3
#define STACK_AT  0x40000000ull
#define STACK_TOP (STACK_AT + 0x8000)
#define APIC_ON   0x1ff

static s64 vm, vcpus[VCPUS];
static u32 exits[VCPUS][32]; /* by VX_* */
static u64 eois[8], eoi_count;
static s64 inta_answer = -1; /* of the PIC; -1: it has nothing */

static void sleep_ticks(u64 ticks)
{
    s64 e = SYS(SYS_EVENT_CREATE);

    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)e, 1, host_now() + ticks), E_TIMEOUT);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)e), 0);
}

static void settle(void)
{
    sleep_ticks(2 * HOST_SLICE);
}

/* A VMM's thread: it answers what has to be answered, and ends at VX_HALTED. */
static void runs(u64 index)
{
    u64 flags = 0, value = 0;
    struct vcpu_exit x;

    do {
        CHECK(sys_run((u64)vcpus[index], flags, value, &x) >= 0);
        exits[index][x.kind]++;
        flags = 0;
        if (x.kind == VX_INTA) {
            SYS(SYS_VM_LINE, (u64)vm, 0);
            flags = inta_answer >= 0 ? VCPU_RUN_VALUE : 0;
            value = (u64)inta_answer;
        } else if (x.kind == VX_EOI) {
            eois[eoi_count++ % 8] = x.a;
        }
    } while (x.kind != VX_HALTED);
}

static void make(guest_fn guest, u32 count)
{
    backend_guest = guest;
    vm = sys_vm_new("guest", VCPUS, 0);
    CHECK(vm > 0);
    s64 stack = SYS(SYS_MEMORY_CREATE, 0x8000);
    CHECK_EQUAL(sys_map(0, (u64)stack, 0, STACK_AT, 0x8000, MAP_READ | MAP_WRITE), 0);
    for (u32 i = 0; i < count; i++) {
        vcpus[i] = SYS(SYS_VCPU_CREATE, (u64)vm, i);
        CHECK(vcpus[i] > 0);
        apic_page_write(vcpu_of(vcpus[i]), APIC_SVR, APIC_ON); /* the call is for its thread */
    }
    for (u32 i = 0; i < count; i++) {
        CHECK(sys_thread_new(0, runs, i, STACK_TOP - 0x2000 * i) > 0);
    }
}

static s64 message(u32 index, u32 data)
{
    return SYS(SYS_VM_INTERRUPT, (u64)vm, APIC_PAGE | index << 12, data);
}

static void set_if(struct vcpu *v, bool on)
{
    u64 *rflags = backend_register(v, VIRT_RFLAGS);

    *rflags = on ? *rflags | RFLAGS_IF : *rflags & ~RFLAGS_IF;
}

static u32 steps[VCPUS];

/* --- INIT, SIPI --- */

static u64 started_at[VCPUS];

static void guest_restarts(struct vcpu *v, struct exit *x)
{
    if (!steps[v->index]++) {
        started_at[v->index] = *backend_register(v, VIRT_RIP);
    }
    set_if(v, v->index == 0); /* the boot CPU waits, so nothing is ever dead */
    x->kind = EXIT_HLT;
}

static void manager_starts(u64 arg)
{
    (void)arg;
    make(guest_restarts, VCPUS);
    settle();
    CHECK_EQUAL(steps[0], 1);
    CHECK_EQUAL(steps[1] + steps[2], 0); /* they wait for SIPI */
    CHECK_EQUAL(message(1, 0x55), 1);    /* nothing else wakes them */
    settle();
    CHECK_EQUAL(steps[1], 0);
    CHECK_EQUAL(message(1, APIC_STARTUP | 0x12), 1);
    settle();
    CHECK_EQUAL(started_at[1], 0x12000);
    CHECK_EQUAL(steps[1], 1);
    /* a second one does nothing */
    message(1, APIC_STARTUP | 0x34);
    settle();
    CHECK_EQUAL(steps[1], 1);
    CHECK_EQUAL(backend.starts, 1);
}

MACHINE_TEST(test_start, manager_starts)
MACHINE_TEST(test_start_on_two_cpus, manager_starts, .cpus = 2)

static void manager_restarts(u64 arg)
{
    (void)arg;
    make(guest_restarts, VCPUS);
    for (u32 i = 1; i <= 10; i++) {
        steps[1] = steps[2] = 0;
        CHECK_EQUAL(message(1, APIC_INIT), 1);
        CHECK_EQUAL(message(2, APIC_INIT), 1);
        if (i & 1) {
            settle();
        }
        CHECK_EQUAL(message(2, APIC_STARTUP | i), 1);
        CHECK_EQUAL(message(1, APIC_STARTUP | (i + 1)), 1);
        CHECK_EQUAL(message(1, APIC_STARTUP | 0x77), 1);
        settle();
        for (u32 k = 1; k < VCPUS; k++) {
            CHECK_EQUAL(steps[k], 1);
            CHECK_EQUAL(started_at[k], (i + (k == 1)) << 12);
        }
    }
    CHECK_EQUAL(backend.starts, 20);
    /* INIT takes the APIC's state along, and waits */
    CHECK_EQUAL(message(1, APIC_INIT), 1);
    settle();
    CHECK_EQUAL(steps[1], 1);
    CHECK_EQUAL(message(1, 0x55), 0); /* it is off */
    /* INIT of the boot CPU starts it at once */
    steps[0] = 0;
    CHECK_EQUAL(message(0, APIC_INIT), 1);
    settle();
    CHECK_EQUAL(steps[0], 1);
    CHECK_EQUAL(started_at[0], 0xfff0);
    CHECK_EQUAL(exits[0][VX_HALTED] + exits[1][VX_HALTED] + exits[2][VX_HALTED], 0);
}

MACHINE_TEST(test_restart, manager_restarts)
MACHINE_TEST(test_restart_on_two_cpus, manager_restarts, .cpus = 2)

static void test_restart_in_races(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_restarts, .cpus = 3}, 12));
}

/* --- when all are dead --- */

static void guest_dies_slowly(struct vcpu *v, struct exit *x)
{
    steps[v->index]++;
    host_spend_in_guest(1000 * (v->index + 1));
    x->kind = EXIT_HLT; /* with interrupts off */
}

static void manager_deaths(u64 arg)
{
    (void)arg;
    make(guest_dies_slowly, VCPUS);
    message(1, APIC_STARTUP);
    message(2, APIC_STARTUP);
    settle();
    CHECK_EQUAL(steps[0] + steps[1] + steps[2], 3);
    CHECK_EQUAL(exits[0][VX_HALTED] + exits[1][VX_HALTED] + exits[2][VX_HALTED], 1);
}

MACHINE_TEST(test_death, manager_deaths)

static void test_death_in_races(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_deaths, .cpus = 3}, 20));
}

/* A ping-pong of NMIs between vCPUs that halt with interrupts off: as long as one is under way
 * nobody is dead. */
#define PINGS 60

static bool both_run;

static void guest_pings(struct vcpu *v, struct exit *x)
{
    if (!both_run) { /* else the other one could still wait for its SIPI, and all be dead */
        x->kind = EXIT_PAUSE;
        return;
    }
    if (++steps[v->index] < PINGS) {
        apic_page_write(v, APIC_ICR_HIGH, (v->index ^ 1) << 24);
        apic_page_write(v, APIC_ICR, APIC_NMI);
    }
    x->kind = EXIT_HLT;
}

static void manager_pings(u64 arg)
{
    (void)arg;
    make(guest_pings, 2);
    message(1, APIC_STARTUP);
    both_run = true;
    for (u32 i = 0; i < 200 && !(exits[0][VX_HALTED] + exits[1][VX_HALTED]); i++) {
        settle();
    }
    CHECK_EQUAL(exits[0][VX_HALTED] + exits[1][VX_HALTED], 1);
    CHECK(steps[0] >= PINGS || steps[1] >= PINGS);
}

MACHINE_TEST(test_pings, manager_pings)

static void test_pings_in_races(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_pings, .cpus = 2}, 15));
}

/* --- IPIs --- */

static u32 last_vector[VCPUS];

/* vCPU 0 sends one to all others each time it is woken. */
static void guest_broadcasts(struct vcpu *v, struct exit *x)
{
    steps[v->index]++;
    set_if(v, true);
    apic_page_write(v, APIC_EOI, 0);
    if (v->index == 0 && steps[0] > 1) {
        apic_page_write(v, APIC_ICR, ICR_OTHERS | 0x61);
    }
    x->kind = EXIT_HLT;
}

static void manager_broadcasts(u64 arg)
{
    (void)arg;
    make(guest_broadcasts, VCPUS);
    message(1, APIC_STARTUP);
    message(2, APIC_STARTUP);
    settle();
    for (u32 i = 2; i < 40; i++) {
        CHECK_EQUAL(message(0, 0x50), 1);
        settle();
        for (u32 k = 0; k < VCPUS; k++) {
            CHECK_EQUAL(steps[k], i);
        }
    }
}

MACHINE_TEST(test_broadcast, manager_broadcasts)
MACHINE_TEST(test_broadcast_on_four_cpus, manager_broadcasts, .cpus = 4)

static void test_broadcast_in_races(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_broadcasts, .cpus = 3}, 10));
}

/* --- the PIC, level-triggered interrupts --- */

static void guest_takes(struct vcpu *v, struct exit *x)
{
    if (steps[v->index]++) {
        last_vector[v->index] = backend.last_event.vector;
    }
    set_if(v, true);
    apic_page_write(v, APIC_EOI, 0);
    x->kind = EXIT_HLT;
}

static void manager_pic(u64 arg)
{
    (void)arg;
    make(guest_takes, 1);
    settle();
    CHECK_EQUAL(SYS(SYS_VM_LINE, (u64)vm, 1), 0); /* LINT0 is masked */
    settle();
    CHECK_EQUAL(exits[0][VX_INTA], 0);
    CHECK_EQUAL(SYS(SYS_VM_LINE, (u64)vm, 0), 0);
    CHECK_EQUAL(message(0, APIC_EXTINT), 1); /* as an IOAPIC passes it on: without a line */
    settle();
    CHECK_EQUAL(exits[0][VX_INTA], 1);
    CHECK_EQUAL(steps[0], 2); /* awake, and asleep again without an interrupt */
    inta_answer = 0x28;
    for (u32 i = 1; i < 10; i++) {
        CHECK_EQUAL(message(0, APIC_EXTINT), 1);
        settle();
        CHECK_EQUAL(exits[0][VX_INTA], 1 + i);
        CHECK_EQUAL(steps[0], 2 + i);
        CHECK_EQUAL(backend.last_event.vector, 0x28);
        CHECK_EQUAL(backend.last_event.type, EVENT_EXTINT);
    }
    CHECK_EQUAL(exits[0][VX_EOI], 0);
}

MACHINE_TEST(test_pic, manager_pic)

static void guest_wires(struct vcpu *v, struct exit *x)
{
    if (!steps[0]) {
        apic_page_write(v, APIC_LVT_LINT0, APIC_EXTINT);
    }
    guest_takes(v, x);
}

static void manager_virtual_wire(u64 arg)
{
    struct vcpu_exit x;

    (void)arg;
    make(guest_wires, 1);
    inta_answer = 8; /* in real mode all vectors are good */
    settle();
    for (u32 i = 1; i < 10; i++) {
        CHECK_EQUAL(SYS(SYS_VM_LINE, (u64)vm, 1), 0);
        settle();
        CHECK_EQUAL(exits[0][VX_INTA], i);
        CHECK_EQUAL(last_vector[0], 8);
    }
    CHECK_EQUAL(sys_run((u64)vcpus[0], VCPU_RUN_VALUE, 8, &x), E_BUSY);
}

MACHINE_TEST(test_virtual_wire, manager_virtual_wire)

static void manager_level(u64 arg)
{
    (void)arg;
    make(guest_takes, 1);
    settle();
    for (u32 i = 0; i < 8; i++) {
        CHECK_EQUAL(message(0, APIC_LEVEL | ICR_ASSERT | (0x70 + i)), 1);
        settle();
        CHECK_EQUAL(exits[0][VX_EOI], i + 1);
        CHECK_EQUAL(eois[i], 0x70 + i);
    }
    CHECK_EQUAL(steps[0], 9);
}

MACHINE_TEST(test_level, manager_level)

/* --- timers --- */

static u64 wakes[64];

static void guest_ticks(struct vcpu *v, struct exit *x)
{
    u32 n = steps[0]++;

    if (n == 0) {
        set_if(v, true);
        apic_page_write(v, APIC_TIMER_DIVIDE, DIVIDE_BY_1);
        apic_page_write(v, APIC_LVT_TIMER, LVT_TIMER_PERIODIC | 0x42);
        apic_page_write(v, APIC_TIMER_INITIAL, HOST_SLICE);
    } else {
        apic_page_write(v, APIC_EOI, 0);
    }
    wakes[n % 64] = host_now();
    x->kind = EXIT_HLT;
}

static void manager_ticks(u64 arg)
{
    (void)arg;
    make(guest_ticks, 1);
    sleep_ticks(30 * HOST_SLICE);
    CHECK(steps[0] >= 29 && steps[0] <= 31);
    for (u32 i = 2; i < 25; i++) {
        u64 gap = wakes[i] - wakes[i - 1];
        CHECK(gap > HOST_SLICE * 9 / 10 && gap < HOST_SLICE * 11 / 10);
    }
    CHECK_EQUAL(exits[0][VX_HALTED], 0);
}

MACHINE_TEST(test_periodic_timer, manager_ticks)
MACHINE_TEST(test_periodic_timer_on_two_cpus, manager_ticks, .cpus = 2)

static u32 spins;

/* Spins with a timer that is due soon: the guest is left in time. */
static void guest_spins(struct vcpu *v, struct exit *x)
{
    if (spins++ == 0) {
        set_if(v, true);
        apic_page_write(v, APIC_TIMER_DIVIDE, DIVIDE_BY_1);
        apic_page_write(v, APIC_LVT_TIMER, LVT_TIMER_PERIODIC | 0x42);
        apic_page_write(v, APIC_TIMER_INITIAL, HOST_SLICE / 10);
    }
    if (backend.injected > steps[0]) {
        wakes[steps[0]++ % 64] = host_now();
        apic_page_write(v, APIC_EOI, 0);
    }
    host_spend_in_guest(500);
    x->kind = EXIT_CPUID;
}

static void manager_spins(u64 arg)
{
    (void)arg;
    make(guest_spins, 1);
    sleep_ticks(5 * HOST_SLICE);
    CHECK(steps[0] >= 40 && steps[0] <= 51);
    for (u32 i = 1; i < 20; i++) {
        u64 gap = wakes[i] - wakes[i - 1];
        CHECK(gap > HOST_SLICE / 10 - 5000 && gap < HOST_SLICE / 10 + 5000);
    }
}

MACHINE_TEST(test_timer_of_a_spinner, manager_spins, .cpus = 2)

/* Another has the CPU in every other slice: what was due then comes with the first entry. */
static void guest_takes_turns(struct vcpu *v, struct exit *x)
{
    if (v->index == 0) {
        guest_spins(v, x);
    } else {
        host_spend_in_guest(500);
        x->kind = EXIT_CPUID;
    }
}

static void manager_takes_turns(u64 arg)
{
    (void)arg;
    make(guest_takes_turns, 2);
    CHECK_EQUAL(message(1, APIC_STARTUP), 1);
    sleep_ticks(20 * HOST_SLICE);
    CHECK(steps[0] > 90);
}

MACHINE_TEST(test_timer_of_one_that_waits, manager_takes_turns)

/* The shortest period, masked or held back by TPR, in a vCPU that sleeps: others have the CPU. */
static void guest_hammers(struct vcpu *v, struct exit *x)
{
    set_if(v, true);
    apic_page_write(v, APIC_TPR, 0xff);
    apic_page_write(v, APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_page_write(v, APIC_LVT_TIMER, LVT_TIMER_PERIODIC | (v->index ? LVT_MASKED : 0) | 0x42);
    apic_page_write(v, APIC_TIMER_INITIAL, 1);
    x->kind = EXIT_HLT;
}

static void manager_hammers(u64 arg)
{
    (void)arg;
    make(guest_hammers, 2);
    message(1, APIC_STARTUP);
    u64 before = host_now();
    host_spend(20 * HOST_SLICE);
    CHECK(host_now() - before < 60 * HOST_SLICE);
    settle();
}

MACHINE_TEST(test_shortest_period, manager_hammers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_on_two_cpus),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_on_two_cpus),
        cmocka_unit_test(test_restart_in_races),
        cmocka_unit_test(test_death),
        cmocka_unit_test(test_death_in_races),
        cmocka_unit_test(test_pings),
        cmocka_unit_test(test_pings_in_races),
        cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_broadcast_on_four_cpus),
        cmocka_unit_test(test_broadcast_in_races),
        cmocka_unit_test(test_pic),
        cmocka_unit_test(test_virtual_wire),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_periodic_timer),
        cmocka_unit_test(test_periodic_timer_on_two_cpus),
        cmocka_unit_test(test_timer_of_a_spinner),
        cmocka_unit_test(test_timer_of_one_that_waits),
        cmocka_unit_test(test_shortest_period),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
