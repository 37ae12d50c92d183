/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/pvclock.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/*
 * The paravirtual clock's registers with any values: what is refused changes nothing, and what is
 * taken writes to its own structure alone. Input: operations of 10 bytes: what, vCPU, value.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/hw/kvm.h"
#include "tests/unit/fake_host.h"
#include "vmm/device/pvclock.h"

#define CPUS    3u
#define BYTES   0x110000u
#define NOWHERE (~0ull)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

/* No byte differs but those of the structures that the registers name. */
static void check_memory(const struct pvclock *p, u64 wall, const u8 *memory, u8 *before)
{
    if (wall != NOWHERE) {
        memcpy(before + wall, memory + wall, sizeof(struct kvm_wall_clock));
    }
    for (u32 i = 0; i < CPUS; i++) {
        u64 clock = p->cpus[i].system_time, steal = p->cpus[i].steal_time;
        struct kvm_system_time t;

        if (clock & MSR_KVM_ENABLE) {
            memcpy(&t, memory + clock - 1, sizeof(t));
            memcpy(before + clock - 1, &t, sizeof(t));
        }
        if (steal & MSR_KVM_ENABLE) {
            memcpy(before + steal - 1, memory + steal - 1, sizeof(struct kvm_steal_time));
        }
    }
    check(!memcmp(memory, before, BYTES));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static u8 memory[BYTES], before[BYTES];
    static struct machine m;
    static struct pvclock p;

    fake_host_reset(&m);
    m.ram.base = memory;
    ram_layout(&m.ram, BYTES);
    pvclock_init(&p, &m, CPUS, 12345, (1000000000ull << 32) / 50000000);
    for (; size >= 10; data += 10, size -= 10) {
        u32 what = data[0] % 18, cpu = data[1] % CPUS;
        u64 value, old, wall = NOWHERE;

        memcpy(&value, data + 2, sizeof(value));
        memcpy(before, memory, BYTES);
        if (what >= 16) {
            struct pvclock_times t = p.cpus[cpu].times;
            *(what == 16 ? &t.tsc_offset : &t.waited) = value;
            pvclock_update(&p, cpu, &t);
        } else {
            u32 msr = MSR_KVM_FIRST + what;
            bool known = pvclock_read(&p, cpu, msr, &old);
            bool taken = pvclock_write(&p, cpu, msr, value);

            check(known || !taken);
            check(!known || (pvclock_read(&p, cpu, msr, &wall) && wall == (taken ? value : old)));
            wall = taken && msr == MSR_KVM_WALL_CLOCK ? value : NOWHERE;
        }
        check_memory(&p, wall, memory, before);
    }
    return 0;
}
