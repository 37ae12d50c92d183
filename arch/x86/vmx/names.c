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
    switch (reason & 0xffff) {
#define REASON_NAME(name, number)                                                                  \
    case number:                                                                                   \
        return #name;
        VMX_REASONS(REASON_NAME)
#undef REASON_NAME
    default:
        return "?";
    }
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
