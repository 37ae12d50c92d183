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

/* What a table row does. The rows' order is that of the switches below. */
enum msr_kind {
    M_NONE, /* #GP */
    M_TSC,
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
    M_PLATFORM_INFO,
};

/* Low MSRs by number, then those from 0xc0000080. An index is one load. */
#define LOW_COUNT  0x300u
#define HIGH_FIRST 0xc0000080u
#define HIGH_COUNT 0x84u

static const u8 low[LOW_COUNT] = {
    [MSR_IA32_TSC] = M_TSC,
    [MSR_IA32_PLATFORM_ID] = M_ZERO,
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
    return index - HIGH_FIRST < HIGH_COUNT ? high[index - HIGH_FIRST] : M_NONE;
}

static bool has_tsc_aux(const struct vcpu *v)
{
    const struct cpuid_table *t = v->vm->cpuid;
    const struct cpuid_leaf *e1 =
        &t->leaves[t->dir[CPUID_DIR_EXTENDED + 1].first]; /* 80000001h: EDX bit 27, RDTSCP */

    return e1->edx & BIT(27);
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

bool msr_read(struct vcpu *v, u32 index, u64 *value)
{
    switch (kind_of(index)) {
    case M_TSC:
        *value = arch_tsc() + v->tsc_offset;
        return true;
    case M_EFER:
        *value = virt->read(v, VIRT_EFER);
        return true;
    case M_STAR:
        *value = v->star;
        return true;
    case M_LSTAR:
        *value = v->lstar;
        return true;
    case M_CSTAR:
        *value = v->cstar;
        return true;
    case M_FMASK:
        *value = v->fmask;
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
    case M_MISC_ENABLE:
        *value = v->msr[VMSR_MISC_ENABLE];
        return true;
    case M_MTRR_DEF_TYPE:
        *value = v->msr[VMSR_MTRR_DEF_TYPE];
        return true;
    case M_BIOS_SIGN:
        *value = v->msr[VMSR_BIOS_SIGN];
        return true;
    case M_ZERO:
    case M_ZERO_RW:
        *value = 0;
        return true;
    case M_PLATFORM_INFO:
        *value = (arch_tsc_hz / 100000000) << PLATFORM_RATIO_SHIFT;
        return true;
    default:
        return false;
    }
}

static bool write_efer(struct vcpu *v, u64 value)
{
    struct cr_state s = {virt->read(v, VIRT_CR0), 0, 0, virt->read(v, VIRT_EFER), false};

    if (!efer_check(&s, value, v->vm->cpuid->efer_allowed)) {
        return false;
    }
    virt->write(v, VIRT_EFER, (value & ~EFER_LMA) | (s.efer & EFER_LMA));
    return true;
}

static bool store(u64 *where, u64 value, bool valid)
{
    if (valid) {
        *where = value;
    }
    return valid;
}

static bool write_if(struct vcpu *v, enum virt_reg r, u64 value, bool valid)
{
    if (valid) {
        virt->write(v, r, value);
    }
    return valid;
}

bool msr_write(struct vcpu *v, u32 index, u64 value)
{
    switch (kind_of(index)) {
    case M_TSC:
        return write_if(v, VIRT_TSC_OFFSET, value - arch_tsc(), true);
    case M_EFER:
        return write_efer(v, value);
    case M_STAR:
        return write_if(v, VIRT_STAR, value, true);
    case M_LSTAR:
        return write_if(v, VIRT_LSTAR, value, address_canonical(value));
    case M_CSTAR:
        return store(&v->cstar, value, address_canonical(value));
    case M_FMASK:
        return write_if(v, VIRT_FMASK, value, !(value >> 32));
    case M_KERNEL_GS_BASE:
        return write_if(v, VIRT_KERNEL_GS_BASE, value, address_canonical(value));
    case M_TSC_AUX:
        return write_if(v, VIRT_TSC_AUX, value, !(value >> 32) && has_tsc_aux(v));
    case M_FS_BASE:
        return write_if(v, VIRT_FS_BASE, value, address_canonical(value));
    case M_GS_BASE:
        return write_if(v, VIRT_GS_BASE, value, address_canonical(value));
    case M_SYSENTER_CS:
        return write_if(v, VIRT_SYSENTER_CS, (u32)value, true);
    case M_SYSENTER_ESP:
        return write_if(v, VIRT_SYSENTER_ESP, value, address_canonical(value));
    case M_SYSENTER_EIP:
        return write_if(v, VIRT_SYSENTER_EIP, value, address_canonical(value));
    case M_PAT:
        return write_if(v, VIRT_PAT, value, pat_check(value));
    case M_DEBUGCTL:
        return write_if(v, VIRT_DEBUGCTL, value, !(value & ~DEBUGCTL_BTF));
    case M_MISC_ENABLE:
        return store(&v->msr[VMSR_MISC_ENABLE], value,
                     !((value ^ MISC_ENABLE_RESET) & ~MISC_ENABLE_FAST_STRINGS));
    case M_MTRR_DEF_TYPE:
        return store(&v->msr[VMSR_MTRR_DEF_TYPE], value, msr_mtrr_def_type_check(value));
    case M_BIOS_SIGN:
        return store(&v->msr[VMSR_BIOS_SIGN], value, true);
    case M_BIOS_UPDATE:
        return true;
    case M_ZERO_RW:
        return !value;
    default: /* unknown, or read-only */
        return false;
    }
}
