/* SPDX-License-Identifier: MIT */
/* Numbers and bits of control registers, flags and MSRs of x86 CPUs. SDM 3A "System Architecture
 * Overview", SDM 4 "Model-Specific Registers". */
#ifndef LIB_HW_X86_H
#define LIB_HW_X86_H

#include "lib/types.h"

/* CR0 */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

/* CR4 */
#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_SMXE       BIT(14)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)
#define CR4_CET        BIT(23)
#define CR4_PKS        BIT(24)

/* DR6, DR7 */
#define DR6_FIXED    0xffff0ff0ull /* always 1, or 1 when nothing happened */
#define DR6_BD       BIT(13)
#define DR6_BS       BIT(14)
#define DR7_FIXED    BIT(10)
#define DR7_GD       BIT(13)

#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1)

/* RFLAGS */
#define RFLAGS_FIXED    BIT(1) /* always 1 */
#define RFLAGS_CF       BIT(0)
#define RFLAGS_PF       BIT(2)
#define RFLAGS_AF       BIT(4)
#define RFLAGS_ZF       BIT(6)
#define RFLAGS_SF       BIT(7)
#define RFLAGS_TF       BIT(8)
#define RFLAGS_IF       BIT(9)
#define RFLAGS_DF       BIT(10)
#define RFLAGS_OF       BIT(11)
#define RFLAGS_IOPL     FIELD(13, 12)
#define RFLAGS_NT       BIT(14)
#define RFLAGS_RF       BIT(16)
#define RFLAGS_VM       BIT(17)
#define RFLAGS_AC       BIT(18)
#define RFLAGS_ID       BIT(21)
#define RFLAGS_ARITH    (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define RFLAGS_RESERVED (FIELD(63, 22) | BIT(15) | BIT(5) | BIT(3)) /* always 0 */

/* IA32_EFER */
#define MSR_IA32_EFER            0xc0000080u
#define EFER_SCE                 BIT(0)
#define EFER_LME                 BIT(8)
#define EFER_LMA                 BIT(10)
#define EFER_NXE                 BIT(11)
#define EFER_SVME                BIT(12)

#define MSR_IA32_STAR            0xc0000081u
#define MSR_IA32_LSTAR           0xc0000082u
#define MSR_IA32_CSTAR           0xc0000083u
#define MSR_IA32_FMASK           0xc0000084u
#define MSR_IA32_FS_BASE         0xc0000100u
#define MSR_IA32_GS_BASE         0xc0000101u
#define MSR_IA32_KERNEL_GS_BASE  0xc0000102u
#define MSR_IA32_TSC_AUX         0xc0000103u

#define MSR_IA32_TSC             0x10u
#define MSR_IA32_TSC_ADJUST      0x3bu
#define MSR_IA32_APIC_BASE       0x1bu
#define APIC_BASE_BSP            BIT(8)
#define APIC_BASE_X2APIC         BIT(10)
#define APIC_BASE_ENABLE         BIT(11)
#define MSR_IA32_FEATURE_CONTROL 0x3au
#define MSR_IA32_TSC_ADJUST      0x3bu
#define MSR_IA32_ARCH_CAP        0x10au
#define ARCH_CAP_NO_PSCHANGE     BIT(6)
#define MSR_IA32_MTRRCAP         0xfeu
#define MTRRCAP_VCNT             FIELD(7, 0)
#define MTRRCAP_FIX              BIT(8)
#define MSR_IA32_SYSENTER_CS     0x174u
#define MSR_IA32_SYSENTER_ESP    0x175u
#define MSR_IA32_SYSENTER_EIP    0x176u
#define MSR_IA32_MISC_ENABLE     0x1a0u
#define MISC_ENABLE_XD_DISABLE   BIT(34)
#define MSR_IA32_DEBUGCTL        0x1d9u
#define MSR_IA32_MTRR_PHYSBASE0  0x200u /* + 2 * n */
#define MSR_IA32_MTRR_PHYSMASK0  0x201u /* + 2 * n */
#define MTRR_PHYSMASK_VALID      BIT(11)
#define MSR_IA32_MTRR_FIX64K     0x250u
#define MSR_IA32_MTRR_FIX16K     0x258u /* 80000, A0000 */
#define MSR_IA32_MTRR_FIX4K      0x268u /* C0000 .. F8000 */
#define MSR_IA32_PAT             0x277u
#define PAT_AFTER_RESET          0x0007040600070406ull
#define MSR_IA32_MTRR_DEF_TYPE   0x2ffu
#define MTRR_DEF_TYPE_FIX        BIT(10)
#define MTRR_DEF_TYPE_ENABLE     BIT(11)
#define MSR_IA32_TSC_DEADLINE    0x6e0u
#define MSR_X2APIC_BASE          0x800u
#define MSR_IA32_XSS             0xda0u
#define MSR_IA32_PLATFORM_ID     0x17u
#define MSR_IA32_BIOS_UPDT_TRIG  0x79u
#define MSR_IA32_BIOS_SIGN_ID    0x8bu
#define MSR_IA32_MCG_CAP         0x179u
#define MSR_IA32_MCG_STATUS      0x17au
#define MSR_PLATFORM_INFO        0xceu
#define MSR_MISC_FEATURES        0x140u

/* VT-x: SDM 3D "VMX Capability Reporting Facility" */
#define MSR_IA32_VMX_BASIC          0x480u
#define MSR_IA32_VMX_PINBASED       0x481u
#define MSR_IA32_VMX_PROCBASED      0x482u
#define MSR_IA32_VMX_EXIT           0x483u
#define MSR_IA32_VMX_ENTRY          0x484u
#define MSR_IA32_VMX_MISC           0x485u
#define MSR_IA32_VMX_CR0_FIXED0     0x486u
#define MSR_IA32_VMX_CR0_FIXED1     0x487u
#define MSR_IA32_VMX_CR4_FIXED0     0x488u
#define MSR_IA32_VMX_CR4_FIXED1     0x489u
#define MSR_IA32_VMX_PROCBASED2     0x48bu
#define MSR_IA32_VMX_EPT_VPID_CAP   0x48cu
#define MSR_IA32_VMX_TRUE_PINBASED  0x48du
#define MSR_IA32_VMX_TRUE_PROCBASED 0x48eu
#define MSR_IA32_VMX_TRUE_EXIT      0x48fu
#define MSR_IA32_VMX_TRUE_ENTRY     0x490u
#define FEATURE_CONTROL_LOCK        BIT(0)
#define FEATURE_CONTROL_VMX         BIT(2) /* VMXON outside SMX */

/* AMD: BKDG for family 10h "Interrupt Pending Message Register" */
#define MSR_AMD_INT_PENDING 0xc0010055u

/* AMD-V: APM 2 "VM_CR MSR (C001_0114h)" */
#define MSR_VM_CR    0xc0010114u
#define VM_CR_LOCK   BIT(3)
#define VM_CR_SVMDIS BIT(4)

/* AMD: memory from 4 GiB to the top is write-back by default. APM 2 "Extended Memory Type-Range
 * Registers and Top-of-Memory Registers" */
#define MSR_SYSCFG     0xc0010010u
#define SYSCFG_HIGH_WB FIELD(22, 21) /* MtrrTom2En, Tom2ForceMemTypeWB */
#define MSR_TOP_MEM2   0xc001001du
#define TOP_MEM2       FIELD(51, 23)

/* Memory types of MTRR, PAT and EPT. */
#define MEMTYPE_UC 0
#define MEMTYPE_WC 1
#define MEMTYPE_WT 4
#define MEMTYPE_WP 5
#define MEMTYPE_WB 6

#endif
