/* SPDX-License-Identifier: MIT */
/* The kernel boots on the fake machine, runs a manager, and is as before when that has ended. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/boot.h"
#include "tests/host/backend.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

static void hello(u64 arg)
{
    static const char text[] = "hello\n";

    (void)arg;
    u64 va = user_arg(0, text, sizeof(text));
    CHECK_EQUAL(SYS(SYS_CONSOLE_WRITE, HANDLE_SYSTEM, va, 6), 6);
    CHECK(strstr(host_console(), "\nhello\n"));
}

static void test_boot(void **state)
{
    (void)state;
    for (u32 cpus = 1; cpus <= HOST_MAX_CPUS; cpus *= 2) {
        assert_true(machine_test(&(struct machine_config){.manager = hello, .cpus = cpus}));
        assert_true(machine_test(&(struct machine_config){
            .manager = hello, .cpus = cpus, .interleave = true, .seed = cpus}));
    }
}

static void power(u64 arg)
{
    (void)arg;
    CHECK_EQUAL(SYS(SYS_SYSTEM_POWER, HANDLE_SYSTEM, POWER_PANIC + 1), E_INVAL);
    SYS(SYS_SYSTEM_POWER, HANDLE_SYSTEM, POWER_REBOOT);
    CHECK(false);
}

/* Every CPU has left virtualization, and is halted. */
static void all_is_off(void)
{
    u32 action;

    CHECK(host_powered_off(&action));
    CHECK_EQUAL(action, POWER_REBOOT);
    CHECK_EQUAL(boot_online_cpus() & ~1ull, 0);
    for (u32 i = 0; i < cpu_count; i++) {
        CHECK(!cpus[i]->resident && !cpus[i]->virt);
    }
}

MACHINE_TEST(test_power, power, .cpus = 4, .after = all_is_off)

static void guest_spins(struct vcpu *v, struct exit *x)
{
    (void)v;
    x->kind = EXIT_CPUID;
}

static void runs_guest(u64 vcpu)
{
    struct vcpu_exit x;

    sys_run(vcpu, 0, 0, &x);
}

/* Power goes while guests run on the other CPUs: those are told, and leave virtualization in order.
 */
static void manager_powers_off(u64 arg)
{
    s64 vm = sys_vm_new("guest", 3, 0);

    (void)arg;
    backend_guest = guest_spins;
    for (u32 i = 0; i < 3; i++) {
        s64 v = SYS(SYS_VCPU_CREATE, (u64)vm, i);
        CHECK(sys_thread_pinned(0, runs_guest, (u64)v, MANAGER_STACK_TOP - 0x1000 * (i + 1),
                                BIT(i + 1), 100) > 0);
    }
    host_spend(5 * HOST_SLICE);
    for (u32 i = 1; i < 4; i++) {
        CHECK(cpus[i]->resident && cpus[i]->virt);
    }
    SYS(SYS_SYSTEM_POWER, HANDLE_SYSTEM, POWER_REBOOT);
    CHECK(false);
}

MACHINE_TEST(test_power_while_guests_run, manager_powers_off, .cpus = 4, .after = all_is_off)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_power_while_guests_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
