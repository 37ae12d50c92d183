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

static void test_power(void **state)
{
    u32 action;

    (void)state;
    machine_boot(&(struct machine_config){.manager = power, .cpus = 4});
    assert_true(host_powered_off(&action));
    assert_int_equal(action, POWER_REBOOT);
    assert_int_equal(boot_online_cpus() & ~1ull, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_power),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
