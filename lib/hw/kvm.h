/* SPDX-License-Identifier: MIT */
/* What guests know of KVM's paravirtual clock (Linux, "KVM CPUID bits" and "KVM-specific MSRs"). */
#ifndef LIB_HW_KVM_H
#define LIB_HW_KVM_H

#include "lib/types.h"

/* CPUID, the leaf after the signature's: EAX */
#define KVM_NO_DELAY        BIT(1) /* nothing is so slow that port 0x80 must be written */
#define KVM_CLOCK           BIT(3) /* MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME */
#define KVM_STEAL_TIME      BIT(5)
#define KVM_CLOCK_STABLE    BIT(24) /* KVM_TIME_STABLE means what it says */

#define MSR_KVM_FIRST       0x4b564d00u
#define MSR_KVM_WALL_CLOCK  0x4b564d00u /* address, to be filled once by each write */
#define MSR_KVM_SYSTEM_TIME 0x4b564d01u /* address, and whether it is used */
#define MSR_KVM_STEAL_TIME  0x4b564d03u
#define MSR_KVM_COUNT       16u
#define MSR_KVM_ENABLE      BIT(0)

/* In guest memory; the version is odd while the rest changes. */
struct kvm_wall_clock {
    u32 version, seconds, nanoseconds; /* since 1970, when the system time was 0 */
};
_Static_assert(sizeof(struct kvm_wall_clock) == 12, "as guests know it");

/* Nanoseconds: system_time + ((TSC - tsc) << shift) * scale / 2^32, per vCPU. */
struct kvm_system_time {
    u32 version, reserved;
    u64 tsc, system_time;
    u32 scale;
    s8 shift; /* to the right when negative */
    u8 flags, reserved2[2];
};
_Static_assert(sizeof(struct kvm_system_time) == 32, "as guests know it");
#define KVM_TIME_STABLE BIT(0) /* the same on all vCPUs */

struct kvm_steal_time {
    u64 steal; /* nanoseconds that the vCPU waited for a CPU, not halted */
    u32 version, flags;
    u8 preempted, reserved[47];
};
_Static_assert(sizeof(struct kvm_steal_time) == 64, "as guests know it");

#endif
