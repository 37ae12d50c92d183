/* SPDX-License-Identifier: MIT */
/* Reports to the kernel log: a guest's whole state, and why an entry failed. */
#include "arch/arch.h"
#include "arch/x86/guest.h"
#include "arch/x86/vmx/check.h"
#include "arch/x86/vmx/controls.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/log.h"
#include "kernel/vm.h"

typedef unsigned long long ull;

NORETURN static void access_failed(const char *instruction, u32 field)
{
    u32 error = (u32)vmread_anyway(VMCS_INSTRUCTION_ERROR);

    panic("%s of VMCS field %s (%x) failed: %s (%u)", instruction, vmcs_field_name(field), field,
          vmx_instruction_error(error), error);
}

void vmcs_read_failed(u32 field)
{
    access_failed("VMREAD", field);
}

void vmcs_write_failed(u32 field)
{
    access_failed("VMWRITE", field);
}

static bool has_field(u32 encoding)
{
    switch (encoding) {
    case VMCS_VPID:
        return vmx_caps.proc2 & PROC2_ENABLE_VPID;
    case VMCS_ENCLS_BITMAP:
        return vmx_caps.proc2 & PROC2_ENCLS_EXITING;
    case VMCS_ENCLV_BITMAP:
        return vmx_caps.proc2 & PROC2_ENCLV_EXITING;
    case VMCS_GUEST_INTR_STATUS:
    case VMCS_VIRTUAL_APIC:
    case VMCS_EOI_EXIT_BITMAP_0:
    case VMCS_EOI_EXIT_BITMAP_1:
    case VMCS_EOI_EXIT_BITMAP_2:
    case VMCS_EOI_EXIT_BITMAP_3:
    case VMCS_TPR_THRESHOLD:
        return vmx_caps.apicv;
    case VMCS_POSTED_VECTOR:
    case VMCS_POSTED_DESCRIPTOR:
        return vmx_caps.posted;
    case VMCS_PLE_GAP:
    case VMCS_PLE_WINDOW:
        return vmx_caps.proc2 & PROC2_PAUSE_LOOP_EXITING;
    default:
        return true;
    }
}

static const u16 encodings[VMCS_FIELD_COUNT] = {
#define FIELD_ENCODING(name, encoding) [VMCS_INDEX_##name] = (encoding),
    VMCS_FIELDS(FIELD_ENCODING) VMCS_OPTIONAL_FIELDS(FIELD_ENCODING)
#undef FIELD_ENCODING
};

static void log_rule(void *arg, const char *field, u64 value, const char *rule)
{
    const struct vcpu *v = arg;

    klog("vm %s vcpu %u: VMCS field %s = %llx breaks the rule: %s", v->vm->name, v->index, field,
         (ull)value, rule);
}

static u32 check(struct vcpu *v, bool guest)
{
    struct vmcs_snapshot s;
    struct vmx_check c = {.s = &s, .msrs = &vmx_msrs, .report = log_rule, .arg = v};

    for (u32 i = 0; i < VMCS_FIELD_COUNT; i++) {
        s.value[i] = has_field(encodings[i]) ? vmread(encodings[i]) : 0;
    }
    c.phys_bits = arch_phys_bits();
    vmx_check_controls(&c);
    vmx_check_host(&c);
    if (guest) {
        vmx_check_guest(&c);
    }
    return c.broken;
}

void vmx_check_own(struct vcpu *v)
{
    check(v, false);
}

void vmx_dump(struct vcpu *v)
{
    u32 reason = vmcs_read32(EXIT_REASON);

    klog("vm %s vcpu %u: exit reason %x (%s), qualification %llx", v->vm->name, v->index, reason,
         vmx_reason_name(reason), (ull)vmcs_read(EXIT_QUALIFICATION));
    guest_dump(v);
    klog("  controls: pin %x proc %x proc2 %x exit %x entry %x exceptions %x EPTP %llx",
         vmcs_read32(PIN_CONTROLS), vmcs_read32(PROC_CONTROLS), vmcs_read32(PROC2_CONTROLS),
         vmcs_read32(EXIT_CONTROLS), vmcs_read32(ENTRY_CONTROLS), vmcs_read32(EXCEPTION_BITMAP),
         (ull)vmcs_read64(EPT_POINTER));
    klog("  real CR0 %llx CR4 %llx; events: entry %x exit %x vectoring %x",
         (ull)vmcs_read(GUEST_CR0), (ull)vmcs_read(GUEST_CR4), vmcs_read32(ENTRY_INTR_INFO),
         vmcs_read32(EXIT_INTR_INFO), vmcs_read32(IDT_VECTORING_INFO));
    if (!check(v, true) && reason & REASON_ENTRY_FAILURE) {
        klog("  no rule that we know is broken");
    }
}
