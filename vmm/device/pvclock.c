/* SPDX-License-Identifier: MIT */
/*
 * The TSC's rate never changes, so a clock is written when the guest names its place and when a
 * vCPU's TSC was set, and holds for good. All vCPUs' count from the same moment: they say the same
 * unless the guest itself has set their TSCs apart, and the flag of stability says so.
 */
#include "vmm/device/pvclock.h"

#include "lib/hw/kvm.h"
#include "lib/string.h"
#include "vmm/device/ticks.h"

#define STEAL_ALIGN 64
#define TIME_ALIGN  4

static u64 to_ns(const struct pvclock *p, u64 ticks)
{
    return (u64)(((unsigned __int128)ticks * p->ns_per_tick) >> 32);
}

/* A structure whose version is at that offset, version always even: other vCPUs see the odd one
 * first, and the next even one last. */
static bool publish(const struct pvclock *p, u64 gpa, const void *structure, u64 bytes, u64 offset)
{
    u32 version, odd;

    memcpy(&version, (const u8 *)structure + offset, sizeof(version));
    odd = version - 1;
    if (!host_memory_write(p->host, GPA(gpa + offset), &odd, sizeof(odd))) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!host_memory_write(p->host, GPA(gpa), structure, offset) ||
        !host_memory_write(p->host, GPA(gpa + offset + sizeof(version)),
                           (const u8 *)structure + offset + sizeof(version),
                           bytes - offset - sizeof(version))) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return host_memory_write(p->host, GPA(gpa + offset), &version, sizeof(version));
}

/* Aligned, and RAM from its first to its last byte. */
static bool is_place(const struct pvclock *p, u64 gpa, u64 bytes, u64 align)
{
    u8 copy[sizeof(struct kvm_steal_time)];

    return !(gpa & (align - 1)) && host_memory_read(p->host, copy, GPA(gpa), bytes);
}

static u32 next_version(struct pvclock *p)
{
    p->version += 2;
    return p->version;
}

static bool is_stable(const struct pvclock *p)
{
    for (u32 i = 1; i < p->cpu_count; i++) {
        if (p->cpus[i].times.tsc_offset != p->cpus[0].times.tsc_offset) {
            return false;
        }
    }
    return true;
}

static void write_system_time(struct pvclock *p, u32 cpu)
{
    const struct pvclock_cpu *c = &p->cpus[cpu];
    u64 scale = p->ns_per_tick;
    struct kvm_system_time t = {
        .version = next_version(p),
        .tsc = p->start_tsc + c->times.tsc_offset,
        .flags = is_stable(p) ? KVM_TIME_STABLE : 0,
    };

    for (; scale >> 32; scale >>= 1) {
        t.shift++;
    }
    t.scale = (u32)scale;
    if (c->system_time & MSR_KVM_ENABLE) { /* it is RAM, and stays so */
        (void)!publish(p, c->system_time & ~MSR_KVM_ENABLE, &t, sizeof(t),
                       offsetof(struct kvm_system_time, version));
    }
}

static void write_steal_time(struct pvclock *p, u32 cpu)
{
    const struct pvclock_cpu *c = &p->cpus[cpu];
    struct kvm_steal_time t = {
        .steal = to_ns(p, c->times.waited - c->waited_before),
        .version = next_version(p),
    };

    if (c->steal_time & MSR_KVM_ENABLE) {
        (void)!publish(p, c->steal_time & ~MSR_KVM_ENABLE, &t, sizeof(t),
                       offsetof(struct kvm_steal_time, version));
    }
}

void pvclock_init(struct pvclock *p, struct machine *host, u32 cpus, u64 start_tsc, u64 ns_per_tick)
{
    *p = (struct pvclock){
        .host = host,
        .start_tsc = start_tsc,
        .ns_per_tick = ns_per_tick,
        .cpu_count = MIN(cpus, (u32)PVCLOCK_CPUS),
        .wall_seconds = host_wall_seconds(host) - host_time_ns(host) / TICKS_NS_PER_SECOND,
    };
}

bool pvclock_read(const struct pvclock *p, u32 cpu, u32 index, u64 *value)
{
    switch (index) {
    case MSR_KVM_WALL_CLOCK:
        *value = p->wall_clock;
        return true;
    case MSR_KVM_SYSTEM_TIME:
        *value = p->cpus[cpu].system_time;
        return true;
    case MSR_KVM_STEAL_TIME:
        *value = p->cpus[cpu].steal_time;
        return true;
    default:
        return false;
    }
}

static bool set_wall_clock(struct pvclock *p, u64 value)
{
    struct kvm_wall_clock w = {.version = next_version(p), .seconds = (u32)p->wall_seconds};

    if (!is_place(p, value, sizeof(w), TIME_ALIGN)) {
        return false;
    }
    p->wall_clock = value;
    return publish(p, value, &w, sizeof(w), offsetof(struct kvm_wall_clock, version));
}

bool pvclock_write(struct pvclock *p, u32 cpu, u32 index, u64 value)
{
    struct pvclock_cpu *c = &p->cpus[cpu];
    u64 gpa = value & ~MSR_KVM_ENABLE;

    switch (index) {
    case MSR_KVM_WALL_CLOCK:
        return set_wall_clock(p, value);
    case MSR_KVM_SYSTEM_TIME:
        if (value & MSR_KVM_ENABLE &&
            !is_place(p, gpa, sizeof(struct kvm_system_time), TIME_ALIGN)) {
            return false;
        }
        c->system_time = value;
        write_system_time(p, cpu);
        return true;
    case MSR_KVM_STEAL_TIME:
        if (value & MSR_KVM_ENABLE &&
            !is_place(p, gpa, sizeof(struct kvm_steal_time), STEAL_ALIGN)) {
            return false;
        }
        c->steal_time = value;
        if (!c->counts) { /* a CPU that comes back online goes on */
            c->waited_before = c->times.waited;
            c->counts = true;
        }
        write_steal_time(p, cpu);
        return true;
    default:
        return false;
    }
}

void pvclock_update(struct pvclock *p, u32 cpu, const struct pvclock_times *times)
{
    struct pvclock_cpu *c = &p->cpus[cpu];
    bool moved = times->tsc_offset != c->times.tsc_offset;

    c->times = *times;
    for (u32 i = 0; i < p->cpu_count && moved; i++) { /* the others', for their flag */
        write_system_time(p, i);
    }
    write_steal_time(p, cpu);
}
