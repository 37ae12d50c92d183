/* SPDX-License-Identifier: MIT */
/* Why a CPU with VT-x refuses a vCPU: its VMCS by the rules, on the guest's console. */
#include "vmm/machine/report.h"

#include "lib/hw/vmx.h"
#include "vmm/machine/vmx_check.h"

static const char *reason_name(u64 reason)
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
static const char *instruction_error(u64 error)
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
    case 25:
    case 26:
        return "events blocked by MOV SS";
    default:
        return "other";
    }
}

static void say_rule(void *arg, const char *field, u64 value, const char *rule)
{
    const struct vcpu *v = arg;

    console_line(v->machine, "vcpu %u: VMCS field %s = %lx breaks the rule: %s", v->index, field,
                 value, rule);
}

static u32 check(struct vcpu *v, const struct vmx_report *r, bool guest)
{
    struct vmx_check c = {.s = &r->fields,
                          .msrs = &r->msrs,
                          .phys_bits = (u32)r->phys_bits,
                          .report = say_rule,
                          .arg = v};

    vmx_check_controls(&c);
    vmx_check_host(&c);
    if (guest) {
        vmx_check_guest(&c);
    }
    return c.broken;
}

void vmx_explain(struct vcpu *v, const struct vmx_report *r, bool refused, u64 reason)
{
    struct machine *m = v->machine;
    const u64 *f = r->fields.value;
    u64 error = reason >> 16 & 0x7fff; /* 0: the entry itself began */

    if (!refused) {
        check(v, r, false);
        return;
    }
    console_line(m, "vcpu %u: exit reason %lx (%s%s), qualification %lx", v->index, reason,
                 error ? "no entry: " : "", error ? instruction_error(error) : reason_name(reason),
                 f[VMCS_INDEX_EXIT_QUALIFICATION]);
    console_line(m, "controls: pin %lx proc %lx proc2 %lx exit %lx entry %lx exceptions %lx",
                 f[VMCS_INDEX_PIN_CONTROLS], f[VMCS_INDEX_PROC_CONTROLS],
                 f[VMCS_INDEX_PROC2_CONTROLS], f[VMCS_INDEX_EXIT_CONTROLS],
                 f[VMCS_INDEX_ENTRY_CONTROLS], f[VMCS_INDEX_EXCEPTION_BITMAP]);
    console_line(m, "real cr0 %lx cr4 %lx; events: entry %lx exit %lx vectoring %lx",
                 f[VMCS_INDEX_GUEST_CR0], f[VMCS_INDEX_GUEST_CR4], f[VMCS_INDEX_ENTRY_INTR_INFO],
                 f[VMCS_INDEX_EXIT_INTR_INFO], f[VMCS_INDEX_IDT_VECTORING_INFO]);
    if (!check(v, r, true) && reason & REASON_ENTRY_FAILURE) {
        console_line(m, "no rule that we know is broken");
    }
}
