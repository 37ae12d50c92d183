/* SPDX-License-Identifier: MIT */
/* Bits of the VMCS control fields, of exit reasons and exit information. SDM 3C "Virtual Machine
 * Control Structures", "VMX Capability Reporting Facility", "VMX Basic Exit Reasons". */
#ifndef LIB_HW_VMX_H
#define LIB_HW_VMX_H

#include "lib/types.h"

/* Pin-based VM-execution controls */
#define PIN_EXTINT_EXITING BIT(0)
#define PIN_NMI_EXITING    BIT(3)
#define PIN_VIRTUAL_NMIS   BIT(5)
#define PIN_PREEMPT_TIMER  BIT(6)
#define PIN_POSTED_INTR    BIT(7)

/* Primary processor-based VM-execution controls */
#define PROC_INTR_WINDOW    BIT(2)
#define PROC_TSC_OFFSETTING BIT(3)
#define PROC_HLT_EXITING    BIT(7)
#define PROC_INVLPG_EXITING BIT(9)
#define PROC_MWAIT_EXITING  BIT(10)
#define PROC_RDPMC_EXITING  BIT(11)
#define PROC_RDTSC_EXITING  BIT(12)
#define PROC_CR3_LOAD_EXIT  BIT(15)
#define PROC_CR3_STORE_EXIT BIT(16)
#define PROC_TERTIARY       BIT(17)
#define PROC_CR8_LOAD_EXIT  BIT(19)
#define PROC_CR8_STORE_EXIT BIT(20)
#define PROC_TPR_SHADOW     BIT(21)
#define PROC_NMI_WINDOW     BIT(22)
#define PROC_MOV_DR_EXITING BIT(23)
#define PROC_UNCOND_IO_EXIT BIT(24)
#define PROC_IO_BITMAPS     BIT(25)
#define PROC_MONITOR_TRAP   BIT(27)
#define PROC_MSR_BITMAPS    BIT(28)
#define PROC_MONITOR_EXIT   BIT(29)
#define PROC_SECONDARY      BIT(31)

/* Secondary processor-based VM-execution controls */
#define PROC2_VIRT_APIC_ACCESSES BIT(0)
#define PROC2_ENABLE_EPT         BIT(1)
#define PROC2_DESCRIPTOR_EXITING BIT(2)
#define PROC2_ENABLE_RDTSCP      BIT(3)
#define PROC2_VIRT_X2APIC        BIT(4)
#define PROC2_ENABLE_VPID        BIT(5)
#define PROC2_WBINVD_EXITING     BIT(6)
#define PROC2_UNRESTRICTED       BIT(7)
#define PROC2_APIC_REGISTER_VIRT BIT(8)
#define PROC2_VIRT_INTR_DELIVERY BIT(9)
#define PROC2_PAUSE_LOOP_EXITING BIT(10)
#define PROC2_ENABLE_INVPCID     BIT(12)
#define PROC2_VMCS_SHADOWING     BIT(14)
#define PROC2_ENCLS_EXITING      BIT(15)
#define PROC2_ENABLE_PML         BIT(17)
#define PROC2_CONCEAL_PT         BIT(19)
#define PROC2_ENABLE_XSAVES      BIT(20)
#define PROC2_MODE_BASED_EXECUTE BIT(22)
#define PROC2_SUB_PAGE_WRITE     BIT(23)
#define PROC2_PT_USES_GPA        BIT(24)
#define PROC2_ENCLV_EXITING      BIT(28)

#define PROC2_APICV              (PROC2_VIRT_X2APIC | PROC2_APIC_REGISTER_VIRT | PROC2_VIRT_INTR_DELIVERY)

/* VM-exit controls */
#define EXIT_SAVE_DEBUG         BIT(2)
#define EXIT_HOST_64            BIT(9)
#define EXIT_LOAD_PERF          BIT(12)
#define EXIT_ACK_INTERRUPT      BIT(15)
#define EXIT_SAVE_PAT           BIT(18)
#define EXIT_LOAD_PAT           BIT(19)
#define EXIT_SAVE_EFER          BIT(20)
#define EXIT_LOAD_EFER          BIT(21)
#define EXIT_SAVE_PREEMPT_TIMER BIT(22)
#define EXIT_CONCEAL_PT         BIT(24)

/* VM-entry controls */
#define ENTRY_LOAD_DEBUG   BIT(2)
#define ENTRY_IA32E_GUEST  BIT(9)
#define ENTRY_SMM          BIT(10)
#define ENTRY_DUAL_MONITOR BIT(11)
#define ENTRY_LOAD_PERF    BIT(13)
#define ENTRY_LOAD_PAT     BIT(14)
#define ENTRY_LOAD_EFER    BIT(15)
#define ENTRY_LOAD_BNDCFGS BIT(16)
#define ENTRY_CONCEAL_PT   BIT(17)

/* IA32_VMX_BASIC */
#define BASIC_REVISION        FIELD(30, 0)
#define BASIC_32BIT_ADDRESSES BIT(48)
#define BASIC_MEMORY_TYPE(b)  (((b) >> 50) & 15)
#define BASIC_INS_OUTS_INFO   BIT(54)
#define BASIC_TRUE_CONTROLS   BIT(55)
#define BASIC_ANY_ERROR_CODE  BIT(56) /* an event may lack the error code that its vector has */

/* IA32_VMX_MISC */
#define MISC_TIMER_SHIFT(m) ((u32)(m)&31)
#define MISC_SAVES_LMA      BIT(5)  /* exits store EFER.LMA into "IA-32e mode guest" */
#define MISC_ZERO_LENGTH    BIT(30) /* software events of length 0 may be injected */

/* IA32_VMX_EPT_VPID_CAP */
#define EPT_CAP_WALK_4         BIT(6)
#define EPT_CAP_WALK_5         BIT(7)
#define EPT_CAP_UC             BIT(8)
#define EPT_CAP_WB             BIT(14)
#define EPT_CAP_2M             BIT(16)
#define EPT_CAP_1G             BIT(17)
#define EPT_CAP_INVEPT         BIT(20)
#define EPT_CAP_ACCESSED_DIRTY BIT(21)
#define EPT_CAP_INVEPT_SINGLE  BIT(25)
#define EPT_CAP_INVEPT_ALL     BIT(26)
#define EPT_CAP_INVVPID        BIT(32)
#define EPT_CAP_INVVPID_SINGLE BIT(41)
#define EPT_CAP_INVVPID_ALL    BIT(42)

/* EPTP */
#define EPTP_WB             6
#define EPTP_LEVELS(n)      ((u64)((n)-1) << 3)
#define EPTP_ACCESSED_DIRTY BIT(6)

/* Types of INVEPT and INVVPID */
#define INVEPT_SINGLE  1
#define INVEPT_ALL     2
#define INVVPID_SINGLE 1
#define INVVPID_ALL    2

/* Exit reasons */
#define REASON_ENTRY_FAILURE BIT(31)
/* One list: enum, names for reports. */
#define VMX_REASONS(X)                                                                             \
    X(EXCEPTION_NMI, 0)                                                                            \
    X(EXTINT, 1)                                                                                   \
    X(TRIPLE_FAULT, 2)                                                                             \
    X(INIT, 3)                                                                                     \
    X(SIPI, 4)                                                                                     \
    X(INTR_WINDOW, 7)                                                                              \
    X(NMI_WINDOW, 8)                                                                               \
    X(TASK_SWITCH, 9)                                                                              \
    X(CPUID, 10)                                                                                   \
    X(GETSEC, 11)                                                                                  \
    X(HLT, 12)                                                                                     \
    X(INVD, 13)                                                                                    \
    X(INVLPG, 14)                                                                                  \
    X(RDPMC, 15)                                                                                   \
    X(RDTSC, 16)                                                                                   \
    X(RSM, 17)                                                                                     \
    X(VMCALL, 18)                                                                                  \
    X(VMCLEAR, 19)                                                                                 \
    X(VMLAUNCH, 20)                                                                                \
    X(VMPTRLD, 21)                                                                                 \
    X(VMPTRST, 22)                                                                                 \
    X(VMREAD, 23)                                                                                  \
    X(VMRESUME, 24)                                                                                \
    X(VMWRITE, 25)                                                                                 \
    X(VMXOFF, 26)                                                                                  \
    X(VMXON, 27)                                                                                   \
    X(CR_ACCESS, 28)                                                                               \
    X(MOV_DR, 29)                                                                                  \
    X(IO, 30)                                                                                      \
    X(RDMSR, 31)                                                                                   \
    X(WRMSR, 32)                                                                                   \
    X(BAD_GUEST_STATE, 33)                                                                         \
    X(BAD_MSR_LOAD, 34)                                                                            \
    X(MWAIT, 36)                                                                                   \
    X(MONITOR_TRAP, 37)                                                                            \
    X(MONITOR, 39)                                                                                 \
    X(PAUSE, 40)                                                                                   \
    X(MACHINE_CHECK, 41)                                                                           \
    X(TPR_BELOW, 43)                                                                               \
    X(APIC_ACCESS, 44)                                                                             \
    X(EOI, 45)                                                                                     \
    X(GDTR_IDTR, 46)                                                                               \
    X(LDTR_TR, 47)                                                                                 \
    X(EPT_VIOLATION, 48)                                                                           \
    X(EPT_MISCONFIG, 49)                                                                           \
    X(INVEPT, 50)                                                                                  \
    X(RDTSCP, 51)                                                                                  \
    X(PREEMPT_TIMER, 52)                                                                           \
    X(INVVPID, 53)                                                                                 \
    X(WBINVD, 54)                                                                                  \
    X(XSETBV, 55)                                                                                  \
    X(APIC_WRITE, 56)                                                                              \
    X(RDRAND, 57)                                                                                  \
    X(INVPCID, 58)                                                                                 \
    X(VMFUNC, 59)                                                                                  \
    X(ENCLS, 60)                                                                                   \
    X(RDSEED, 61)                                                                                  \
    X(PML_FULL, 62)                                                                                \
    X(XSAVES, 63)                                                                                  \
    X(XRSTORS, 64)                                                                                 \
    X(UMWAIT, 67)                                                                                  \
    X(TPAUSE, 68)                                                                                  \
    X(ENCLV, 70)                                                                                   \
    X(SEAMCALL, 76)                                                                                \
    X(TDCALL, 77)

enum vmx_reason {
#define REASON_ENUM(name, number) REASON_##name = number,
    VMX_REASONS(REASON_ENUM)
#undef REASON_ENUM
};

/* Interruption information: VM-entry, VM-exit and IDT-vectoring fields alike. Type in bits 10:8 is
 * enum event_type. */
#define INTR_INFO_VECTOR(i) ((u8)(i))
#define INTR_INFO_TYPE(i)   ((u8)((i) >> 8 & 7))
#define INTR_INFO_ERROR     BIT(11) /* an error code is valid, or to be delivered */
#define INTR_INFO_UNBLOCKED BIT(12) /* VM-exit field: NMI unblocking due to IRET */
#define INTR_INFO_VALID     BIT(31)

/* Interruptibility state, activity state, pending debug exceptions */
#define ENCLAVE_INTERRUPT BIT(4)
#define ACTIVITY_ACTIVE   0
#define ACTIVITY_HLT      1
#define ACTIVITY_SIPI     3
#define PENDING_DEBUG_BS  BIT(14)

#endif
