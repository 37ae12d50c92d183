/* SPDX-License-Identifier: MIT */
/*
 * What CPUID tells a guest: a table per vm, made from the host's answers through masks that leave
 * only what works here, so that an exit is one look-up. Answers that depend on the vCPU (APIC ID,
 * OSXSAVE, the size of the XSAVE area) are patched in afterwards.
 */
#ifndef KERNEL_CPUID_H
#define KERNEL_CPUID_H

#include "kernel/vcpu.h"
#include "kernel/vm.h"
#include "lib/types.h"

#define CPUID_HYPERVISOR 0x40000000u
#define CPUID_KVM        0x40000100u /* what systems know of KVM: they look in steps of 0x100 */
#define CPUID_EXTENDED   0x80000000u

/* Highest leaves that guests see. */
#define CPUID_MAX_BASIC      0x16u
#define CPUID_MAX_HYPERVISOR 0x40000010u
#define CPUID_MAX_KVM        0x40000101u
#define CPUID_MAX_EXTENDED   0x80000008u

#define CPUID_DIR_HYPERVISOR (CPUID_MAX_BASIC + 1)
#define CPUID_DIR_KVM        (CPUID_DIR_HYPERVISOR + CPUID_MAX_HYPERVISOR - CPUID_HYPERVISOR + 1)
#define CPUID_DIR_EXTENDED   (CPUID_DIR_KVM + CPUID_MAX_KVM - CPUID_KVM + 1)
#define CPUID_DIR_COUNT      (CPUID_DIR_EXTENDED + CPUID_MAX_EXTENDED - CPUID_EXTENDED + 1)
#define CPUID_LEAVES         80

struct cpuid_leaf {
    u32 eax, ebx, ecx, edx;
};

/* What is patched into an answer, per leaf. */
#define CPUID_FIX_BASE     BIT(0) /* leaf 1: APIC ID, OSXSAVE, APIC */
#define CPUID_FIX_TOPOLOGY BIT(1) /* leaf 0Bh: x2APIC ID, the subleaf's number */
#define CPUID_FIX_XSAVE    BIT(2) /* leaf 0Dh: sizes for the current XCR0 */

struct cpuid_dir {
    u16 at;   /* offset of the first answer from the table's start */
    u8 count; /* of subleaves; one more answer follows, to all higher ones. 0: ECX is ignored */
    u8 fix;   /* CPUID_FIX_* */
};

struct cpuid_table {
    struct cpuid_dir dir[CPUID_DIR_COUNT];
    struct cpuid_leaf leaves[CPUID_LEAVES];
    u32 used;         /* entries of leaves[] */
    u32 signature;    /* leaf 1 EAX: what EDX holds after INIT */
    u64 cr4_allowed;  /* CR4 bits that the guest may set */
    u64 efer_allowed; /* EFER bits, without LMA */
    u64 xcr0;         /* state components, 0: no XSAVE */
    u32 phys_bits;
    u32 crystal_shift; /* leaf 15h: the crystal, which clocks the APIC timer, is TSC >> this */
};

/* What the table is made from, apart from the host's own CPUID. */
struct cpuid_inputs {
    void (*host)(u32 leaf, u32 subleaf, u32 out[4]);
    u32 cpus;     /* of the guest, 1..VM_MAX_CPUS */
    u32 features; /* VIRT_FEATURE_* of the backend */
    u64 tsc_hz;
};

void cpuid_build(struct cpuid_table *t, const struct cpuid_inputs *in);

/* A table for a guest of that many CPUs on this machine; NULL: no memory. */
struct cpuid_table *cpuid_create(u32 vcpus);
void cpuid_destroy(struct cpuid_table *t);

/* State components of XCR0 that guests get, from the host's CPUID; 0: no XSAVE. And the bytes that
 * the standard form of XSAVE needs for them. */
u64 cpuid_xcr0_of(void (*host)(u32 leaf, u32 subleaf, u32 out[4]));

/* The answer as the table has it. */
static inline const struct cpuid_leaf *cpuid_leaf_of(const struct cpuid_table *t,
                                                     struct cpuid_dir d)
{
    return (const struct cpuid_leaf *)((const char *)t + d.at);
}

/* Executes CPUID: EAX and ECX choose, EAX to EDX receive. The vCPU is resident. */
void cpuid_exec(struct vcpu *v);

/* The same for the basic leaves that need no more than the table. False: nothing was done. */
static inline bool cpuid_exec_plain(struct vcpu *v)
{
    const struct cpuid_table *t = v->vm->cpuid;
    u32 leaf = (u32)v->gpr[GPR_RAX];

    if (UNLIKELY(leaf > CPUID_MAX_BASIC)) {
        return false;
    }
    struct cpuid_dir d = t->dir[leaf];
    if (UNLIKELY(d.count | d.fix)) {
        return false;
    }
    const struct cpuid_leaf *l = cpuid_leaf_of(t, d);
    v->gpr[GPR_RAX] = l->eax;
    v->gpr[GPR_RBX] = l->ebx;
    v->gpr[GPR_RCX] = l->ecx;
    v->gpr[GPR_RDX] = l->edx;
    return true;
}

#endif
