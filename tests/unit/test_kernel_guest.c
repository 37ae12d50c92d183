/* SPDX-License-Identifier: MIT */
/* Guests that run, sleep, spin and are ended, on one CPU and on several, and everything that hangs
 * on them: ends in every order, no memory, statistics. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/frame.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/vm.h"
#include "lib/hw/kvm.h"
#include "lib/hw/x86.h"
#include "tests/host/backend.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define BUDGET    (2ull << 20)
#define STACK_AT  0x40000000ull
#define STACK_TOP (STACK_AT + 0x4000)
#define WINDOW    0x80000000ull

static void sleep_ticks(u64 ticks)
{
    s64 e = SYS(SYS_EVENT_CREATE);

    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, (u64)e, 1, host_now() + ticks), E_TIMEOUT);
    user_close(e);
}

/* --- guests --- */

static void guest_spins(struct vcpu *v, struct exit *x)
{
    (void)v;
    host_spend_in_guest(500);
    x->kind = EXIT_CPUID;
}

static void guest_halts(struct vcpu *v, struct exit *x)
{
    (void)v;
    x->kind = EXIT_HLT;
}

static void guest_pauses(struct vcpu *v, struct exit *x)
{
    (void)v;
    x->kind = EXIT_PAUSE;
}

/* --- a machine process, as the manager makes one --- */

static u32 rounds[8];
static struct vcpu_exit last_exit[8];

/* Runs the vCPU of handle arg until it ends with something else than a kick. */
static void runs_vcpu(u64 arg)
{
    do {
        CHECK(sys_run(arg, 0, 0, &last_exit[arg % 8]) >= 0);
        rounds[arg % 8]++;
    } while (last_exit[arg % 8].kind == VX_KICKED);
}

struct machine {
    s64 process, vm, vcpu[2], there[2], thread[2];
};

/* A message for the vCPU of that index. */
static s64 interrupt(const struct machine *m, u32 index, u32 data)
{
    return SYS(SYS_VM_INTERRUPT, (u64)m->vm, APIC_PAGE | index << 12, data);
}

static void make_machine_of(struct machine *m, u32 vcpus, void (*thread)(u64))
{
    m->process = sys_process_new("machine", BUDGET, BUDGET, 0, 0);
    m->vm = sys_vm_new("guest", 2, (u64)m->process);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)m->vm, 0, 0x40000, 0), 0);
    CHECK_EQUAL(sys_map((u64)m->process, (u64)m->vm, 0, WINDOW, 0x40000, MAP_READ | MAP_WRITE), 0);
    s64 stack = SYS(SYS_MEMORY_CREATE, 0x4000);
    CHECK_EQUAL(sys_map((u64)m->process, (u64)stack, 0, STACK_AT, 0x4000, MAP_READ | MAP_WRITE), 0);
    user_close(stack);
    for (u32 i = 0; i < vcpus; i++) {
        m->vcpu[i] = SYS(SYS_VCPU_CREATE, (u64)m->vm, i);
        apic_page_write(vcpu_of(m->vcpu[i]), APIC_SVR, 0x1ff); /* the call is for its thread */
        if (i) {
            CHECK_EQUAL(interrupt(m, i, APIC_STARTUP), 1);
        }
        m->there[i] = SYS(SYS_HANDLE_GRANT, (u64)m->process, (u64)m->vcpu[i], RIGHTS_ALL);
        m->thread[i] =
            sys_thread_new((u64)m->process, thread, (u64)m->there[i], STACK_TOP - 0x2000 * i);
        CHECK(m->thread[i] > 0);
    }
}

static void make_machine(struct machine *m, u32 vcpus)
{
    make_machine_of(m, vcpus, runs_vcpu);
}

/* Whatever a guest does, the end of its process ends it, and soon. */
static void kill_soon(guest_fn guest, u32 vcpus)
{
    struct machine m;
    struct process_info info = {0};

    backend_guest = guest;
    make_machine(&m, vcpus);
    sleep_ticks(10 * HOST_SLICE);
    CHECK_EQUAL(sys_info((u64)m.process, &info), 0);
    CHECK_EQUAL(info.end, PROCESS_RUNNING);
    CHECK_EQUAL(info.threads, vcpus);
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)m.process), 0);
    sleep_ticks(5 * HOST_SLICE);
    CHECK_EQUAL(sys_info((u64)m.process, &info), 0);
    CHECK_EQUAL(info.end, PROCESS_KILLED);
    struct vm_stats stats = {0};
    u64 at = user_arg(2, &stats, sizeof(stats));
    CHECK_EQUAL(SYS(SYS_VM_STATS, (u64)m.vm, at), 0);
    user_read(at, &stats, sizeof(stats));
    for (u32 i = 0; i < vcpus; i++) { /* what a thread had outlives it */
        CHECK(stats.vcpu[i].run_tsc && stats.vcpu[i].longest_wait_tsc <= stats.vcpu[i].wait_tsc);
    }
    CHECK_EQUAL(stats.vcpu[vcpus].run_tsc, 0);
    for (u32 i = 0; i < vcpus; i++) {
        user_close(m.vcpu[i]);
        user_close(m.thread[i]);
    }
    user_check_report();
    user_close(m.vm);
    user_close(m.process);
    user_check_report();
}

static void guest_sleeps(struct vcpu *v, struct exit *x)
{
    *backend_register(v, VIRT_RFLAGS) |= RFLAGS_IF;
    x->kind = EXIT_HLT;
}

static void manager_kills(u64 arg)
{
    (void)arg;
    for (u32 vcpus = 1; vcpus <= 2; vcpus++) {
        kill_soon(guest_spins, vcpus);
        kill_soon(guest_sleeps, vcpus);
        kill_soon(guest_pauses, vcpus);
    }
}

MACHINE_TEST(test_kill, manager_kills)
MACHINE_TEST(test_kill_on_two_cpus, manager_kills, .cpus = 2)
MACHINE_TEST(test_kill_on_four_cpus, manager_kills, .cpus = 4)

static void test_kill_in_races(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_kills, .cpus = 3}, 12));
}

/* --- registers that ring 3 settles --- */

static void guest_uses_msr(struct vcpu *v, struct exit *x)
{
    static bool reads;

    v->gpr[GPR_RCX] = MSR_KVM_SYSTEM_TIME;
    v->gpr[GPR_RDX] = 0xffffffff00000002;
    v->gpr[GPR_RAX] = 0xffffffff00001001;
    x->kind = reads ? EXIT_RDMSR : EXIT_WRMSR;
    reads = !reads;
}

/* Each answer fits the instruction, and completes it once. */
static void settles_msr(u64 handle)
{
    struct vcpu_exit x;

    CHECK_EQUAL(sys_run(handle, 0, 0, &x), VX_MSR);
    CHECK_EQUAL(x.a, MSR_KVM_SYSTEM_TIME);
    CHECK_EQUAL(x.b, 0x200001001);
    CHECK_EQUAL(x.c, 0);
    CHECK_EQUAL(sys_run(handle, VCPU_RUN_ADVANCE | VCPU_RUN_VALUE, 1, &x), E_INVAL);
    CHECK_EQUAL(sys_run(handle, VCPU_RUN_VALUE, 1, &x), E_INVAL);
    u32 advances = backend.advances;
    CHECK_EQUAL(sys_run(handle, VCPU_RUN_ADVANCE, 0, &x), VX_MSR);
    CHECK_EQUAL(backend.advances, advances + 1);
    CHECK_EQUAL(x.a, MSR_KVM_SYSTEM_TIME | VX_MSR_READ);
    CHECK_EQUAL(sys_run(handle, VCPU_RUN_ADVANCE | VCPU_RUN_VALUE, 0x1122334455667788, &x), VX_MSR);
    CHECK_EQUAL(backend.advances, advances + 2);
    rounds[handle % 8] = 100;
}

static void manager_msrs(u64 arg)
{
    struct machine m;

    (void)arg;
    backend_guest = guest_uses_msr;
    make_machine_of(&m, 1, settles_msr);
    sleep_ticks(4 * HOST_SLICE);
    CHECK_EQUAL(rounds[m.there[0] % 8], 100);
}

MACHINE_TEST(test_msrs_of_ring3, manager_msrs)

/* --- HLT --- */

static void manager_halts(u64 arg)
{
    struct machine m;

    (void)arg;
    /* with interrupts off nothing can wake it */
    backend_guest = guest_halts;
    make_machine(&m, 1);
    sleep_ticks(HOST_SLICE);
    CHECK_EQUAL(last_exit[m.there[0] % 8].kind, VX_HALTED);
}

MACHINE_TEST(test_halt_with_interrupts_off, manager_halts)

static u32 halts;

static void guest_counts_halts(struct vcpu *v, struct exit *x)
{
    *backend_register(v, VIRT_RFLAGS) |= RFLAGS_IF;
    apic_page_write(v, APIC_EOI, 0);
    halts++;
    x->kind = EXIT_HLT;
}

/* Each kind of wake ends a HLT, or the call, and only that many times. */
static void manager_wakes(u64 arg)
{
    struct machine m;
    u32 i;

    (void)arg;
    backend_guest = guest_counts_halts;
    make_machine(&m, 1);
    i = (u32)m.there[0] % 8;
    sleep_ticks(HOST_SLICE);
    CHECK_EQUAL(halts, 1);
    for (u32 n = 2; n < 20; n++) {
        if (n & 1) {
            CHECK_EQUAL(interrupt(&m, 0, 0x40 + n), 1);
        } else {
            CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)m.vcpu[0], 0, VCPU_INJECT_NMI), 0);
        }
        sleep_ticks(HOST_SLICE);
        CHECK_EQUAL(halts, n);
        CHECK_EQUAL(backend.last_event.type, n & 1 ? EVENT_EXTINT : EVENT_NMI);
    }
    CHECK_EQUAL(rounds[i], 0);
    halts = 0;
    CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)m.vcpu[0], 0, VCPU_INJECT_KICK), 0);
    sleep_ticks(HOST_SLICE);
    CHECK_EQUAL(rounds[i], 1); /* and asleep again, in the same HLT */
    CHECK_EQUAL(halts, 0);
    CHECK_EQUAL(vcpu_of(m.vcpu[0])->activity, VCPU_HALTED);
}

MACHINE_TEST(test_wakes_from_halt, manager_wakes)
MACHINE_TEST(test_wakes_from_halt_on_two_cpus, manager_wakes, .cpus = 2)

/* A ping-pong of interrupts that races with the way into HLT: none is lost. */
#define PINGS 150

static u32 answers;

static void guest_answers(struct vcpu *v, struct exit *x)
{
    *backend_register(v, VIRT_RFLAGS) |= RFLAGS_IF;
    apic_page_write(v, APIC_EOI, 0);
    answers = backend.injected;
    /* now and then it computes instead, so that it is in the guest when the next one comes */
    x->kind = host_random() & 1 || host_spend_in_guest(3000) ? EXIT_HLT : EXIT_CPUID;
}

static void manager_pings(u64 arg)
{
    struct machine m;

    (void)arg;
    backend_guest = guest_answers;
    make_machine(&m, 1);
    for (u32 i = 1; i <= PINGS; i++) {
        CHECK_EQUAL(interrupt(&m, 0, 0x40), 1);
        u64 until = host_now() + 50 * HOST_SLICE;
        while (answers < i) {
            host_spend(1000);
            CHECK(host_now() < until);
        }
    }
}

static void test_no_interrupt_is_lost(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_pings, .cpus = 2}, 15));
    assert_true(machine_test_races(
        (struct machine_config){.manager = manager_pings, .cpus = 2, .posted = true}, 30));
}

/* --- shares and statistics --- */

/* Two guests that spin and one thread of ring 3 share one CPU; the statistics tell who ran for how
 * long. */
static void manager_shares(u64 arg)
{
    struct machine a, b;
    struct vm_stats s[2];
    struct process_info info = {0};

    (void)arg;
    backend_guest = guest_spins;
    make_machine(&a, 1);
    make_machine(&b, 1);
    sleep_ticks(200 * HOST_SLICE);
    for (u32 i = 0; i < 2; i++) {
        u64 at = user_arg(2, &s[i], sizeof(s[i]));
        CHECK_EQUAL(SYS(SYS_VM_STATS, (u64)(i ? b.vm : a.vm), at), 0);
        user_read(at, &s[i], sizeof(s[i]));
        CHECK(s[i].start_tsc > 0 && s[i].start_tsc < host_now());
        CHECK(s[i].exits[EXIT_CPUID] > 100);
        u64 sum = 0;
        for (u32 k = 0; k < EXIT_COUNT; k++) {
            sum += s[i].exits[k];
        }
        CHECK_EQUAL(sum, s[i].exits_total);
        /* half of the time, to a few in a hundred */
        CHECK(s[i].guest_tsc > 95 * HOST_SLICE && s[i].guest_tsc < 105 * HOST_SLICE);
    }
    CHECK_EQUAL(sys_info((u64)a.process, &info), 0);
    CHECK(info.run_tsc > 95 * HOST_SLICE && info.run_tsc < 105 * HOST_SLICE);
    /* they outlive the vCPU */
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)a.process), 0);
    sleep_ticks(10 * HOST_SLICE);
    user_close(a.vcpu[0]);
    u64 at = user_arg(2, &s[1], sizeof(s[1]));
    CHECK_EQUAL(SYS(SYS_VM_STATS, (u64)a.vm, at), 0);
    user_read(at, &s[1], sizeof(s[1]));
    CHECK(s[1].exits_total >= s[0].exits_total);
    CHECK(s[1].guest_tsc >= s[0].guest_tsc && s[1].guest_tsc < 110 * HOST_SLICE);
}

MACHINE_TEST(test_shares_and_statistics, manager_shares)

/* More vCPUs than CPUs, of guests that never leave guest mode by themselves. */
static void manager_many_spinners(u64 arg)
{
    struct machine m[4];
    struct vm_stats s;

    (void)arg;
    backend_guest = guest_spins;
    for (u32 i = 0; i < 4; i++) {
        make_machine(&m[i], 2);
    }
    sleep_ticks(200 * HOST_SLICE);
    for (u32 i = 0; i < 4; i++) {
        u64 at = user_arg(2, &s, sizeof(s));
        CHECK_EQUAL(SYS(SYS_VM_STATS, (u64)m[i].vm, at), 0);
        user_read(at, &s, sizeof(s));
        CHECK(s.guest_tsc > 180 * HOST_SLICE * cpu_count / 4);
        CHECK(s.guest_tsc < 220 * HOST_SLICE * cpu_count / 4);
    }
    CHECK(backend.loads == backend.unloads + cpu_count || backend.loads > 8);
    user_check_report();
}

MACHINE_TEST(test_many_spinners, manager_many_spinners)
MACHINE_TEST(test_many_spinners_on_four_cpus, manager_many_spinners, .cpus = 4)

/* --- ends in every order --- */

enum piece { PIECE_VM, PIECE_VCPU, PIECE_PROCESS, PIECE_WINDOW, PIECE_THREAD, PIECES };

static void end_piece(struct machine *m, enum piece what)
{
    switch (what) {
    case PIECE_VM:
        user_close(m->vm);
        break;
    case PIECE_VCPU:
        user_close(m->vcpu[0]);
        break;
    case PIECE_PROCESS:
        user_close(m->process);
        break;
    case PIECE_WINDOW:
        CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, WINDOW, 0x40000), 0);
        break;
    default:
        user_close(m->thread[0]);
        break;
    }
}

static void end_in_order(const u32 *order, bool first_killed)
{
    struct machine m;
    u64 frames = frame_free_bytes();

    make_machine(&m, 1);
    CHECK_EQUAL(sys_map(0, (u64)m.vm, 0, WINDOW, 0x40000, MAP_READ | MAP_WRITE), 0);
    user_write64(WINDOW + 0x1000, 1);
    if (first_killed) {
        CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)m.process), 0);
    }
    host_spend(2 * HOST_SLICE); /* the guest's first port access ends its program */
    for (u32 i = 0; i < PIECES; i++) {
        end_piece(&m, order[i]);
        user_check_report();
    }
    host_spend(2 * HOST_SLICE);
    CHECK(!vm_list);
    CHECK_EQUAL(frame_free_bytes(), frames);
}

static void manager_orders(u64 arg)
{
    u32 order[PIECES];

    (void)arg;
    backend_guest = NULL;
    /* all 120 of them: the digits of n choose from what is left */
    for (u32 n = 0; n < 120; n++) {
        u32 left[PIECES] = {0, 1, 2, 3, 4}, rest = n;
        for (u32 i = 0; i < PIECES; i++) {
            u32 k = rest % (PIECES - i);
            rest /= PIECES - i;
            order[i] = left[k];
            left[k] = left[PIECES - 1 - i];
        }
        end_in_order(order, n & 1);
    }
}

MACHINE_TEST(test_ends_in_every_order, manager_orders)

/* --- no memory --- */

static s64 make_guest(void)
{
    struct vcpu_exit x;
    s64 error = 0, v = 0;
    s64 vm = sys_vm_new("guest", 1, 0);

    if (vm < 0) {
        return vm;
    }
    error = SYS(SYS_VM_MEMORY, (u64)vm, 0, 0x3000, 0);
    error = error ? error : SYS(SYS_VM_MEMORY, (u64)vm, SIZE_1G, 0x2000, VM_MEMORY_LAZY);
    v = error ? 0 : SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    error = error ? error : MIN(v, 0);
    error = error ? error : sys_map(0, (u64)vm, 0, WINDOW, 0x3000, MAP_READ | MAP_WRITE);
    /* no CPU runs it here: a thread is bound for ever */
    (void)x;
    if (!error) {
        CHECK_EQUAL(SYS(SYS_MEMORY_UNMAP, 0, WINDOW, 0x3000), 0);
    }
    if (v > 0) {
        user_close(v);
    }
    user_close(vm);
    return error;
}

static void manager_without_memory(u64 arg)
{
    struct process_info before = {0}, after = {0};

    (void)arg;
    CHECK_EQUAL(sys_info(0, &before), 0);
    u32 first = host_allocations();
    CHECK_EQUAL(make_guest(), 0);
    u32 n = host_allocations() - first;
    CHECK(n > 6);
    for (u32 i = 0; i < n; i++) {
        host_fail_after(i);
        CHECK_EQUAL(make_guest(), E_NO_MEMORY);
        host_fail_after(~0u);
        user_check_report();
        CHECK_EQUAL(sys_info(0, &after), 0);
        CHECK_EQUAL(after.kernel_bytes, before.kernel_bytes);
        CHECK_EQUAL(after.memory_bytes, before.memory_bytes);
        CHECK(!vm_list);
    }
}

MACHINE_TEST(test_every_allocation_may_fail, manager_without_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_kill_on_two_cpus),
        cmocka_unit_test(test_kill_on_four_cpus),
        cmocka_unit_test(test_kill_in_races),
        cmocka_unit_test(test_msrs_of_ring3),
        cmocka_unit_test(test_halt_with_interrupts_off),
        cmocka_unit_test(test_wakes_from_halt),
        cmocka_unit_test(test_wakes_from_halt_on_two_cpus),
        cmocka_unit_test(test_no_interrupt_is_lost),
        cmocka_unit_test(test_shares_and_statistics),
        cmocka_unit_test(test_many_spinners),
        cmocka_unit_test(test_many_spinners_on_four_cpus),
        cmocka_unit_test(test_ends_in_every_order),
        cmocka_unit_test(test_every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
