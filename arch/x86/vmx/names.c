/* SPDX-License-Identifier: MIT */
/* Names for reports. */
#include "arch/x86/vmx/controls.h"
#include "arch/x86/vmx/vmx.h"

const char *vmcs_field_name(u32 encoding)
{
    switch (encoding) {
#define FIELD_NAME(name, number)                                                                   \
    case number:                                                                                   \
        return #name;
        VMCS_FIELDS(FIELD_NAME)
        VMCS_OPTIONAL_FIELDS(FIELD_NAME)
#undef FIELD_NAME
    default:
        return "?";
    }
}

const char *vmx_reason_name(u32 reason)
{
    static const char *const names[] = {
        [REASON_EXCEPTION_NMI] = "exception or NMI",
        [REASON_EXTINT] = "external interrupt",
        [REASON_TRIPLE_FAULT] = "triple fault",
        [REASON_INIT] = "INIT",
        [REASON_SIPI] = "SIPI",
        [REASON_INTR_WINDOW] = "interrupt window",
        [REASON_NMI_WINDOW] = "NMI window",
        [REASON_TASK_SWITCH] = "task switch",
        [REASON_CPUID] = "CPUID",
        [REASON_GETSEC] = "GETSEC",
        [REASON_HLT] = "HLT",
        [REASON_INVD] = "INVD",
        [REASON_INVLPG] = "INVLPG",
        [REASON_RDPMC] = "RDPMC",
        [REASON_RDTSC] = "RDTSC",
        [REASON_RSM] = "RSM",
        [REASON_VMCALL] = "VMCALL",
        [REASON_CR_ACCESS] = "MOV CR",
        [REASON_MOV_DR] = "MOV DR",
        [REASON_IO] = "port I/O",
        [REASON_RDMSR] = "RDMSR",
        [REASON_WRMSR] = "WRMSR",
        [REASON_BAD_GUEST_STATE] = "VM-entry failure: invalid guest state",
        [REASON_BAD_MSR_LOAD] = "VM-entry failure: MSR loading",
        [REASON_MWAIT] = "MWAIT",
        [REASON_MONITOR] = "MONITOR",
        [REASON_PAUSE] = "PAUSE",
        [REASON_MACHINE_CHECK] = "VM-entry failure: machine check",
        [REASON_GDTR_IDTR] = "access to GDTR or IDTR",
        [REASON_LDTR_TR] = "access to LDTR or TR",
        [REASON_EPT_VIOLATION] = "EPT violation",
        [REASON_EPT_MISCONFIG] = "EPT misconfiguration",
        [REASON_PREEMPT_TIMER] = "preemption timer",
        [REASON_WBINVD] = "WBINVD",
        [REASON_XSETBV] = "XSETBV",
    };
    u32 basic = reason & 0xffff;

    return basic < ARRAY_SIZE(names) && names[basic] ? names[basic] : "other";
}

/* SDM 3C "VM Instruction Error Numbers" */
const char *vmx_instruction_error(u32 error)
{
    switch (error) {
    case 4:
        return "VMLAUNCH with a VMCS that is not clear";
    case 5:
        return "VMRESUME with a VMCS that was not launched";
    case 7:
        return "invalid control fields";
    case 8:
        return "invalid host-state fields";
    case 12:
        return "access to a VMCS field that does not exist";
    case 13:
        return "VMWRITE to a read-only field";
    case 25:
    case 26:
        return "events blocked by MOV SS";
    case 28:
        return "invalid operand of INVEPT or INVVPID";
    default:
        return "other";
    }
}
