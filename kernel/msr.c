/* SPDX-License-Identifier: MIT */
/* The table of guest MSRs. */
#include "kernel/msr.h"

#include "arch/arch.h"
#include "kernel/cpuid.h"
#include "kernel/cr.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"

#define MISC_ENABLE_FAST_STRINGS BIT(0)
#define MISC_ENABLE_BTS_UNAVAIL  BIT(11)
#define MISC_ENABLE_PEBS_UNAVAIL BIT(12)
#define MISC_ENABLE_RESET                                                                          \
    (MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL)
#define PLATFORM_RATIO_SHIFT 8 /* MSR_PLATFORM_INFO: TSC frequency / 100 MHz */
#define PAT_RESET            0x0007040600070406ull

/* EBX of leaf 0 of "AuthenticAMD" */
#define CPUID_AUTH 0x68747541

/* What a table row does. The rows' order is that of the switches below. */
enum msr_kind {
    M_NONE, /* #GP */
    M_TSC,
    M_TSC_ADJUST, /* what writes have added to the TSC, so the offset: it begins with 0 */
    M_EFER,
    M_STAR,
    M_LSTAR,
    M_CSTAR,
    M_FMASK,
    M_KERNEL_GS_BASE,
    M_TSC_AUX,
    M_FS_BASE,
    M_GS_BASE,
    M_SYSENTER_CS,
    M_SYSENTER_ESP,
    M_SYSENTER_EIP,
    M_PAT,
    M_DEBUGCTL,
    M_MISC_ENABLE,
    M_MTRR_DEF_TYPE,
    M_BIOS_SIGN,
    M_BIOS_UPDATE, /* a microcode update: taken and dropped */
    M_ZERO,        /* reads 0, writes fault */
    M_ZERO_RW,     /* reads 0, takes 0 only */
    M_AMD_ZERO,    /* the same, on AMD CPUs */
    M_PLATFORM_INFO,
    M_APIC_BASE,
    M_TSC_DEADLINE,
    M_X2APIC,
    M_X2APIC_EOI,
    M_X2APIC_ICR,
    M_COUNT
};

/* Low MSRs by number, then those from 0xc0000080. An index is one load. */
#define LOW_COUNT  0x840u
#define X2APIC_EOI (MSR_X2APIC_BASE + APIC_EOI / 16)
#define X2APIC_ICR (MSR_X2APIC_BASE + APIC_ICR / 16)
#define HIGH_FIRST 0xc0000080u
#define HIGH_COUNT 0x84u

static const u8 low[LOW_COUNT] = {
    [MSR_IA32_TSC] = M_TSC,
    [MSR_IA32_TSC_ADJUST] = M_TSC_ADJUST,
    [MSR_IA32_PLATFORM_ID] = M_ZERO,
    [MSR_IA32_APIC_BASE] = M_APIC_BASE,
    [MSR_IA32_BIOS_UPDT_TRIG] = M_BIOS_UPDATE,
    [MSR_IA32_BIOS_SIGN_ID] = M_BIOS_SIGN,
    [MSR_PLATFORM_INFO] = M_PLATFORM_INFO,
    [MSR_IA32_MTRRCAP] = M_ZERO, /* no variable, no fixed ranges */
    [MSR_MISC_FEATURES] = M_ZERO_RW,
    [MSR_IA32_SYSENTER_CS] = M_SYSENTER_CS,
    [MSR_IA32_SYSENTER_ESP] = M_SYSENTER_ESP,
    [MSR_IA32_SYSENTER_EIP] = M_SYSENTER_EIP,
    [MSR_IA32_MCG_CAP] = M_ZERO, /* no banks */
    [MSR_IA32_MCG_STATUS] = M_ZERO_RW,
    [MSR_IA32_MISC_ENABLE] = M_MISC_ENABLE,
    [MSR_IA32_DEBUGCTL] = M_DEBUGCTL,
    [MSR_IA32_PAT] = M_PAT,
    [MSR_IA32_MTRR_DEF_TYPE] = M_MTRR_DEF_TYPE,
    [MSR_IA32_TSC_DEADLINE] = M_TSC_DEADLINE,
    [MSR_X2APIC_BASE... X2APIC_EOI - 1] = M_X2APIC,
    [X2APIC_EOI] = M_X2APIC_EOI,
    [X2APIC_EOI + 1 ... X2APIC_ICR - 1] = M_X2APIC,
    [X2APIC_ICR] = M_X2APIC_ICR,
    [X2APIC_ICR + 1 ... LOW_COUNT - 1] = M_X2APIC,
};

static const u8 high[HIGH_COUNT] = {
    [MSR_IA32_EFER - HIGH_FIRST] = M_EFER,
    [MSR_IA32_STAR - HIGH_FIRST] = M_STAR,
    [MSR_IA32_LSTAR - HIGH_FIRST] = M_LSTAR,
    [MSR_IA32_CSTAR - HIGH_FIRST] = M_CSTAR,
    [MSR_IA32_FMASK - HIGH_FIRST] = M_FMASK,
    [MSR_IA32_FS_BASE - HIGH_FIRST] = M_FS_BASE,
    [MSR_IA32_GS_BASE - HIGH_FIRST] = M_GS_BASE,
    [MSR_IA32_KERNEL_GS_BASE - HIGH_FIRST] = M_KERNEL_GS_BASE,
    [MSR_IA32_TSC_AUX - HIGH_FIRST] = M_TSC_AUX,
};

static inline u32 kind_of(u32 index)
{
    if (index < LOW_COUNT) {
        return low[index];
    }
    if (index == MSR_AMD_INT_PENDING) {
        return M_AMD_ZERO;
    }
    return index - HIGH_FIRST < HIGH_COUNT ? high[index - HIGH_FIRST] : M_NONE;
}

/* Where a vCPU keeps the value of a row that is read as it was written; 0: it takes more than that.
 */
static const u16 fields[M_COUNT] = {
    [M_TSC_ADJUST] = offsetof(struct vcpu, tsc_offset),
    [M_STAR] = offsetof(struct vcpu, star),
    [M_LSTAR] = offsetof(struct vcpu, lstar),
    [M_CSTAR] = offsetof(struct vcpu, cstar),
    [M_FMASK] = offsetof(struct vcpu, fmask),
    [M_MISC_ENABLE] = offsetof(struct vcpu, msr[VMSR_MISC_ENABLE]),
    [M_MTRR_DEF_TYPE] = offsetof(struct vcpu, msr[VMSR_MTRR_DEF_TYPE]),
    [M_BIOS_SIGN] = offsetof(struct vcpu, msr[VMSR_BIOS_SIGN]),
    [M_APIC_BASE] = offsetof(struct vcpu, apic.base),
    [M_TSC_DEADLINE] = offsetof(struct vcpu, apic.deadline),
};

static inline u64 *field_of(struct vcpu *v, u32 kind)
{
    return (u64 *)((char *)v + fields[kind]);
}

static bool has_tsc_aux(const struct vcpu *v)
{
    const struct cpuid_table *t = v->vm->cpuid;

    /* 80000001h: EDX bit 27, RDTSCP */
    return cpuid_leaf_of(t, t->dir[CPUID_DIR_EXTENDED + 1])->edx & BIT(27);
}

void msr_reset(struct vcpu *v)
{
    v->star = v->lstar = v->cstar = v->fmask = v->kernel_gs_base = v->tsc_aux = 0;
    v->tsc_offset = 0;
    v->xcr0 = 1;
    v->dr6 = DR6_FIXED;
    v->msr[VMSR_MISC_ENABLE] = MISC_ENABLE_RESET;
    /* what firmware would leave: all memory write-back */
    v->msr[VMSR_MTRR_DEF_TYPE] = MTRR_DEF_TYPE_ENABLE | MEMTYPE_WB;
    v->msr[VMSR_BIOS_SIGN] = 0;
}

bool msr_mtrr_def_type_check(u64 value)
{
    u64 type = value & 0xff;

    return !(value & ~(0xffull | MTRR_DEF_TYPE_ENABLE)) && type <= 6 && type != 2 && type != 3;
}

/* The rows that are not mere fields of the vCPU. */
static bool read_special(struct vcpu *v, u32 index, u64 *value)
{
    switch (kind_of(index)) {
    case M_X2APIC:
    case M_X2APIC_EOI:
    case M_X2APIC_ICR:
        return apic_msr_read(v, index, value);
    case M_TSC:
        *value = arch_tsc() + v->tsc_offset;
        return true;
    case M_EFER:
        *value = virt->read(v, VIRT_EFER);
        return true;
    case M_KERNEL_GS_BASE:
        *value = virt->read(v, VIRT_KERNEL_GS_BASE);
        return true;
    case M_TSC_AUX:
        *value = v->tsc_aux;
        return has_tsc_aux(v);
    case M_FS_BASE:
        *value = virt->read(v, VIRT_FS_BASE);
        return true;
    case M_GS_BASE:
        *value = virt->read(v, VIRT_GS_BASE);
        return true;
    case M_SYSENTER_CS:
        *value = virt->read(v, VIRT_SYSENTER_CS);
        return true;
    case M_SYSENTER_ESP:
        *value = virt->read(v, VIRT_SYSENTER_ESP);
        return true;
    case M_SYSENTER_EIP:
        *value = virt->read(v, VIRT_SYSENTER_EIP);
        return true;
    case M_PAT:
        *value = virt->read(v, VIRT_PAT);
        return true;
    case M_DEBUGCTL:
        *value = virt->read(v, VIRT_DEBUGCTL);
        return true;
    case M_ZERO:
    case M_ZERO_RW:
        *value = 0;
        return true;
    case M_AMD_ZERO:
        *value = 0;
        return cpuid_leaf_of(v->vm->cpuid, v->vm->cpuid->dir[0])->ebx == CPUID_AUTH;
    case M_PLATFORM_INFO:
        *value = (arch_tsc_hz / 100000000) << PLATFORM_RATIO_SHIFT;
        return true;
    default:
        return false;
    }
}

bool msr_read(struct vcpu *v, u32 index, u64 *value)
{
    u32 kind = kind_of(index);

    if (fields[kind]) {
        *value = *field_of(v, kind);
        return true;
    }
    return read_special(v, index, value);
}

NOINLINE static bool write_efer(struct vcpu *v, u64 value)
{
    struct cr_state s = {virt->read(v, VIRT_CR0), 0, 0, virt->read(v, VIRT_EFER), false};

    if (!efer_check(&s, value, v->vm->cpuid->efer_allowed)) {
        return false;
    }
    virt->write(v, VIRT_EFER, (value & ~EFER_LMA) | (s.efer & EFER_LMA));
    return true;
}

NOINLINE static bool write_register(struct vcpu *v, enum virt_reg r, u64 value)
{
    virt->write(v, r, value);
    return true;
}

NOINLINE static bool write_tsc_offset(struct vcpu *v, u64 value)
{
    virt->write(v, VIRT_TSC_OFFSET, value);
    apic_tsc_changed(v);
    vcpu_set_hazard(v, VCPU_HAZARD_CLOCK); /* ring 3's clocks for the guest depend on it */
    return true;
}

NOINLINE static bool write_pat(struct vcpu *v, u64 value)
{
    return pat_check(value) && write_register(v, VIRT_PAT, value);
}

NOINLINE static bool write_mtrr_def_type(struct vcpu *v, u64 value)
{
    if (!msr_mtrr_def_type_check(value)) {
        return false;
    }
    v->msr[VMSR_MTRR_DEF_TYPE] = value;
    return true;
}

static inline bool store(u64 *where, u64 value)
{
    *where = value;
    return true;
}

/* Like msr_exec_rdmsr(): a row stores, or ends in a call. */
bool msr_write(struct vcpu *v, u32 index, u64 value)
{
    switch (kind_of(index)) {
    case M_TSC:
        return write_tsc_offset(v, value - arch_tsc());
    case M_TSC_ADJUST:
        return write_tsc_offset(v, value);
    case M_EFER:
        return write_efer(v, value);
    case M_STAR:
        return write_register(v, VIRT_STAR, value);
    case M_LSTAR:
        return address_canonical(value) && write_register(v, VIRT_LSTAR, value);
    case M_CSTAR:
        return address_canonical(value) && store(&v->cstar, value);
    case M_FMASK:
        return !(value >> 32) && write_register(v, VIRT_FMASK, value);
    case M_KERNEL_GS_BASE:
        return address_canonical(value) && write_register(v, VIRT_KERNEL_GS_BASE, value);
    case M_TSC_AUX:
        return !(value >> 32) && has_tsc_aux(v) && write_register(v, VIRT_TSC_AUX, value);
    case M_FS_BASE:
        return address_canonical(value) && write_register(v, VIRT_FS_BASE, value);
    case M_GS_BASE:
        return address_canonical(value) && write_register(v, VIRT_GS_BASE, value);
    case M_SYSENTER_CS:
        return write_register(v, VIRT_SYSENTER_CS, (u32)value);
    case M_SYSENTER_ESP:
        return address_canonical(value) && write_register(v, VIRT_SYSENTER_ESP, value);
    case M_SYSENTER_EIP:
        return address_canonical(value) && write_register(v, VIRT_SYSENTER_EIP, value);
    case M_PAT:
        return write_pat(v, value);
    case M_DEBUGCTL:
        return !(value & ~DEBUGCTL_BTF) && write_register(v, VIRT_DEBUGCTL, value);
    case M_MISC_ENABLE:
        return !((value ^ MISC_ENABLE_RESET) & ~MISC_ENABLE_FAST_STRINGS) &&
               store(&v->msr[VMSR_MISC_ENABLE], value);
    case M_MTRR_DEF_TYPE:
        return write_mtrr_def_type(v, value);
    case M_BIOS_SIGN:
        return store(&v->msr[VMSR_BIOS_SIGN], value);
    case M_BIOS_UPDATE:
        return true;
    case M_ZERO_RW:
        return !value;
    case M_APIC_BASE:
        return apic_set_base(v, value);
    case M_TSC_DEADLINE:
        return apic_set_deadline(v, value);
    case M_X2APIC:
        return apic_msr_write(v, index, value);
    case M_X2APIC_EOI:
        return apic_msr_eoi(v, value);
    case M_X2APIC_ICR:
        return apic_msr_icr(v, value);
    default: /* unknown, or read-only */
        return false;
    }
}

NOINLINE static bool rdmsr_special(struct vcpu *v)
{
    u64 value = 0;

    if (!read_special(v, (u32)v->gpr[GPR_RCX], &value)) {
        return false;
    }
    v->gpr[GPR_RAX] = (u32)value;
    v->gpr[GPR_RDX] = value >> 32;
    return true;
}

/* Ends in a call or in none, so the compiler saves no register. */
bool msr_exec_rdmsr(struct vcpu *v)
{
    u32 kind = kind_of((u32)v->gpr[GPR_RCX]);

    if (UNLIKELY(!fields[kind])) {
        return rdmsr_special(v);
    }
    u64 value = *field_of(v, kind);
    v->gpr[GPR_RAX] = (u32)value;
    v->gpr[GPR_RDX] = value >> 32;
    return true;
}

bool msr_exec_wrmsr(struct vcpu *v)
{
    return msr_write(v, (u32)v->gpr[GPR_RCX], (u32)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32);
}
