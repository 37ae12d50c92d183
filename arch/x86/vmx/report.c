/* SPDX-License-Identifier: MIT */
/* What explains failures: the fields of a VMCS, for ring 3 to check, and the end when one cannot be
 * had. */
#include "arch/arch.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/log.h"

#define FIELD_ROW(name, encoding) [VMCS_INDEX_##name] = {encoding, #name},
static const struct {
    u32 encoding;
    const char *name;
} fields[VMCS_FIELD_COUNT] = {VMCS_FIELDS(FIELD_ROW) VMCS_OPTIONAL_FIELDS(FIELD_ROW)};
#undef FIELD_ROW

/* SDM 3C "VM Instruction Error Numbers" */
NORETURN static void access_failed(const char *instruction, u32 field)
{
    u32 error = (u32)vmread_anyway(VMCS_INSTRUCTION_ERROR), i = 0;

    while (i < VMCS_FIELD_COUNT - 1 && fields[i].encoding != field) {
        i++;
    }
    panic("%s of VMCS field %s (%x) failed: error %u", instruction, fields[i].name, field, error);
}

void vmcs_read_failed(u32 field)
{
    access_failed("VMREAD", field);
}

void vmcs_write_failed(u32 field)
{
    access_failed("VMWRITE", field);
}

/* Fields that this CPU lacks come last, for to read one changes INSTRUCTION_ERROR. */
void vmx_fill_report(UNUSED struct vcpu *v, void *report)
{
    struct vmx_report *r = report;

    _Static_assert(sizeof(*r) <= VCPU_REPORT_BYTES, "a report fits");
    r->kind = VCPU_REPORT_VMX;
    r->phys_bits = arch_phys_bits();
    r->msrs = vmx_msrs;
    for (u32 i = 0; i < VMCS_FIELD_COUNT; i++) {
        r->fields.value[i] = vmread_anyway(fields[i].encoding);
    }
}
