/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/pvclock.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The paravirtual clock: what it writes where, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "lib/hw/kvm.h"
#include "tests/unit/fake_host.h"
#include "vmm/device/pvclock.h"

#define START_TSC 1000000ull

static struct machine m;
static struct pvclock p;
static u8 memory[0x100000 + 0x10000];

static void start(u32 cpus, u64 hz)
{
    fake_host_reset(&m);
    memset(memory, 0xa5, sizeof(memory));
    m.ram.base = memory;
    ram_layout(&m.ram, sizeof(memory));
    m.wall_seconds = 946684800;
    memset(&p, 0xa5, sizeof(p)); /* init alone must initialise it */
    pvclock_init(&p, &m, cpus, START_TSC, (1000000000ull << 32) / hz);
}

static struct kvm_system_time time_at(u64 gpa)
{
    struct kvm_system_time t;

    memcpy(&t, memory + gpa, sizeof(t));
    return t;
}

static u64 read_clock(const struct kvm_system_time *t, u64 tsc)
{
    u64 delta = tsc - t->tsc;

    assert_true(t->shift >= 0);
    return t->system_time + (u64)(((unsigned __int128)(delta << t->shift) * t->scale) >> 32);
}

static void test_rate(void **state)
{
    static const u64 rates[] = {1000000, 50000000, 999999999, 1000000000, 2300000000, 8000000000};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rates); i++) {
        u64 hz = rates[i], day = 86400;

        start(1, hz);
        assert_true(pvclock_write(&p, 0, MSR_KVM_SYSTEM_TIME, 0x1000 | MSR_KVM_ENABLE));
        struct kvm_system_time t = time_at(0x1000);
        assert_int_equal(t.version & 1, 0);
        assert_int_equal(t.flags, KVM_TIME_STABLE);
        assert_int_equal(read_clock(&t, START_TSC), 0);
        u64 ns = read_clock(&t, START_TSC + day * hz);
        assert_in_range(ns, day * 1000000000 - 100000, day * 1000000000); /* of 86.4 s * 10^12 */
        assert_int_equal(memory[0xfff], 0xa5);
        assert_int_equal(memory[0x1020], 0xa5);
    }
}

static void test_offsets(void **state)
{
    const struct pvclock_times zero = {0, 0}, later = {5000, 0};
    u32 version;

    (void)state;
    start(2, 1000000000);
    assert_true(pvclock_write(&p, 0, MSR_KVM_SYSTEM_TIME, 0x1000 | MSR_KVM_ENABLE));
    version = time_at(0x1000).version;
    pvclock_update(&p, 0, &zero);
    assert_int_equal(time_at(0x1000).version, version); /* nothing has changed */
    pvclock_update(&p, 1, &later);                      /* which has no clock */
    assert_int_equal(time_at(0x1000).flags, 0);
    assert_int_equal(time_at(0x1000).tsc, START_TSC);
    assert_true(pvclock_write(&p, 1, MSR_KVM_SYSTEM_TIME, 0x2004 | MSR_KVM_ENABLE));
    assert_int_equal(time_at(0x2004).tsc, START_TSC + 5000);
    pvclock_update(&p, 0, &later);
    assert_int_equal(time_at(0x1000).tsc, START_TSC + 5000);
    assert_int_equal(time_at(0x1000).flags, KVM_TIME_STABLE);
    assert_int_equal(time_at(0x2004).flags, KVM_TIME_STABLE);
    assert_true(pvclock_write(&p, 1, MSR_KVM_SYSTEM_TIME, 0x2004)); /* off: left as it is */
    pvclock_update(&p, 1, &zero);
    assert_int_equal(time_at(0x2004).tsc, START_TSC + 5000);
}

static void test_wall(void **state)
{
    struct kvm_wall_clock w;

    (void)state;
    start(1, 1000000000);
    m.time_ns = 5000000000; /* the moment that counts is the start's */
    assert_true(pvclock_write(&p, 0, MSR_KVM_WALL_CLOCK, 0x3000));
    memcpy(&w, memory + 0x3000, sizeof(w));
    assert_int_equal(w.version & 1, 0);
    assert_int_equal(w.seconds, 946684800);
    assert_int_equal(w.nanoseconds, 0);
    assert_int_equal(memory[0x300c], 0xa5);

    m.time_ns = 8000000000; /* also when the guest's time had begun long before the model did */
    pvclock_init(&p, &m, 1, START_TSC, 1ull << 32);
    assert_true(pvclock_write(&p, 0, MSR_KVM_WALL_CLOCK, 0x3000));
    memcpy(&w, memory + 0x3000, sizeof(w));
    assert_int_equal(w.seconds, 946684800);
}

static void test_steal(void **state)
{
    const struct pvclock_times before = {0, 7000}, later = {0, 9500};
    struct kvm_steal_time t;
    u64 value;

    (void)state;
    start(1, 1000000000);
    pvclock_update(&p, 0, &before);
    assert_true(pvclock_write(&p, 0, MSR_KVM_STEAL_TIME, 0x1040 | MSR_KVM_ENABLE));
    memcpy(&t, memory + 0x1040, sizeof(t));
    assert_int_equal(t.steal, 0); /* what was before is not the guest's to know */
    assert_int_equal(t.version & 1, 0);
    pvclock_update(&p, 0, &later);
    memcpy(&t, memory + 0x1040, sizeof(t));
    assert_int_equal(t.steal, 2500);
    assert_int_equal(t.preempted | t.flags, 0);
    assert_true(pvclock_read(&p, 0, MSR_KVM_STEAL_TIME, &value));
    assert_int_equal(value, 0x1040 | MSR_KVM_ENABLE);
    assert_true(pvclock_write(&p, 0, MSR_KVM_STEAL_TIME, 0)); /* the CPU goes offline, */
    assert_true(pvclock_write(&p, 0, MSR_KVM_STEAL_TIME, 0x2040 | MSR_KVM_ENABLE)); /* and back */
    memcpy(&t, memory + 0x2040, sizeof(t));
    assert_int_equal(t.steal, 2500); /* never runs backwards */

    start(1, 1000000000); /* nor when nothing was stolen before it began */
    assert_true(pvclock_write(&p, 0, MSR_KVM_STEAL_TIME, 0x1040 | MSR_KVM_ENABLE));
    pvclock_update(&p, 0, &later);
    assert_true(pvclock_write(&p, 0, MSR_KVM_STEAL_TIME, 0x2040 | MSR_KVM_ENABLE));
    memcpy(&t, memory + 0x2040, sizeof(t));
    assert_int_equal(t.steal, 9500);
}

static void test_refused(void **state)
{
    static const u64 bad[] = {
        0x1002,     0x9fffc,    0xa0000,       0x110000,   0x10fffc,
        1ull << 32, 1ull << 63, ~0ull & ~7ull, ~0ull - 63, 0xfee00000,
    };
    static const u32 list[] = {MSR_KVM_SYSTEM_TIME, MSR_KVM_STEAL_TIME, MSR_KVM_WALL_CLOCK};
    u8 before[sizeof(memory)];
    u64 value;

    (void)state;
    start(1, 1000000000);
    memcpy(before, memory, sizeof(memory));
    for (u32 i = 0; i < ARRAY_SIZE(list); i++) {
        u64 on = list[i] == MSR_KVM_WALL_CLOCK ? 0 : MSR_KVM_ENABLE;
        for (u32 b = 0; b < ARRAY_SIZE(bad); b++) {
            assert_false(pvclock_write(&p, 0, list[i], bad[b] | on));
            assert_true(pvclock_read(&p, 0, list[i], &value));
            assert_int_equal(value, 0);
        }
    }
    assert_false(pvclock_write(&p, 0, MSR_KVM_STEAL_TIME, 0x1020 | MSR_KVM_ENABLE));
    for (u32 i = 0; i < MSR_KVM_COUNT; i++) {
        bool known = i == 0 || i == 1 || i == 3;
        assert_int_equal(pvclock_read(&p, 0, MSR_KVM_FIRST + i, &value), known);
        assert_true(known || !pvclock_write(&p, 0, MSR_KVM_FIRST + i, 0x1000));
    }
    assert_memory_equal(before, memory, sizeof(memory));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),  cmocka_unit_test(test_offsets), cmocka_unit_test(test_wall),
        cmocka_unit_test(test_steal), cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
