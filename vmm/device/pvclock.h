/* SPDX-License-Identifier: MIT */
/* The paravirtual clock and the account of stolen time, as guests know them from KVM: structures in
 * guest memory, whose addresses MSRs take. */
#ifndef VMM_DEVICE_PVCLOCK_H
#define VMM_DEVICE_PVCLOCK_H

#include "lib/types.h"
#include "vmm/machine/host.h"

#define PVCLOCK_CPUS 16

/* What the kernel tells of a vCPU's time, both in ticks of the TSC. */
struct pvclock_times {
    u64 tsc_offset; /* the guest's TSC less the host's */
    u64 waited;     /* its thread for a CPU, since it exists */
};

struct pvclock_cpu {
    u64 system_time, steal_time; /* MSRs, as written */
    struct pvclock_times times;
    u64 waited_before; /* the guest began to count, which it does once */
    bool counts;
};

struct pvclock {
    struct machine *host;
    u64 start_tsc, ns_per_tick;
    u64 wall_clock; /* MSR, as written */
    u64 wall_seconds;
    u32 version, cpu_count;
    struct pvclock_cpu cpus[PVCLOCK_CPUS];
};

/* host_time_ns() is (host's TSC - start_tsc) * ns_per_tick / 2^32; cpus at most PVCLOCK_CPUS. */
void pvclock_init(struct pvclock *p, struct machine *host, u32 cpus, u64 start_tsc,
                  u64 ns_per_tick);

/* RDMSR and WRMSR by a vCPU; index and value are guest-controlled. false: #GP(0), and nothing has
 * changed. An address is refused unless all of its structure is RAM, aligned. */
bool pvclock_read(const struct pvclock *p, u32 cpu, u32 index, u64 *value);
bool pvclock_write(struct pvclock *p, u32 cpu, u32 index, u64 value);

/* The times of a vCPU as of now; the guest's structures say them, if it has any. */
void pvclock_update(struct pvclock *p, u32 cpu, const struct pvclock_times *times);

#endif
