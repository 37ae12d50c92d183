/* SPDX-License-Identifier: MIT */
/* What a machine lacks to run guests, in sentences. */
#include "boot/preflight.h"

#include "lib/hw/x86.h"
#include "lib/string.h"

/* SDM 3C "Secondary Processor-Based VM-Execution Controls", as allowed settings in the high half.
 */
#define PROC_SECONDARY     BIT(31 + 32)
#define PROC2_EPT          BIT(1 + 32)
#define PROC2_UNRESTRICTED BIT(7 + 32)
/* SDM 3D "VPID and EPT Capabilities" */
#define EPT_CAP_FOUR_LEVELS BIT(6)
#define EPT_CAP_WRITE_BACK  BIT(14)
/* APM 3 "Function 8000_000Ah: SVM Features" */
#define SVM_FEATURE_NESTED_PAGING BIT(0)

const char *preflight_host(const struct cpu_facts *f)
{
    if (!f->no_execute) {
        return "this CPU does not offer execute-disable (XD, NX): switch it on in the firmware's "
               "setup";
    }
    return NULL;
}

static const char *no_virtualization(const struct cpu_facts *f)
{
    if (f->hypervisor) {
        return "this virtual machine has neither VT-x nor AMD-V: switch on nested virtualization "
               "for it, with a CPU model that offers VMX or SVM";
    }
    if (strcmp(f->vendor, "AuthenticAMD") == 0 || strcmp(f->vendor, "HygonGenuine") == 0) {
        return "this CPU shows no AMD-V: switch on SVM (AMD-V) in the firmware's setup, or use a "
               "CPU that has it";
    }
    return "this CPU shows no VT-x: switch on Intel Virtualization Technology (VT-x, VMX) in the "
           "firmware's setup, or use a CPU that has it";
}

/* APM 2 "Enabling SVM". While VM_CR is not locked, the kernel clears SVMDIS itself. */
static const char *svm_lacks(const struct cpu_facts *f)
{
    if ((f->vm_cr & VM_CR_LOCK) && (f->vm_cr & VM_CR_SVMDIS)) {
        return "AMD-V is locked off by the firmware: switch on SVM (AMD-V) in the firmware's "
               "setup, then power the machine off and on";
    }
    if (!(f->svm_features & SVM_FEATURE_NESTED_PAGING)) {
        return "this CPU's AMD-V has no nested paging, which keeps the guests' memory apart: use "
               "an AMD CPU of 2007 (Barcelona) or newer";
    }
    return NULL;
}

static const char *vtx_lacks(const struct cpu_facts *f)
{
    if ((f->feature_control & FEATURE_CONTROL_LOCK) &&
        !(f->feature_control & FEATURE_CONTROL_VMX)) {
        return "VT-x is locked off by the firmware: switch on Intel Virtualization Technology "
               "(VT-x, "
               "VMX) in the firmware's setup, then power the machine off and on";
    }
    if (!(f->procbased & PROC_SECONDARY) || !(f->procbased2 & PROC2_EPT)) {
        return "this CPU's VT-x has no EPT, which keeps the guests' memory apart: use an Intel "
               "Core i "
               "of 2008 or newer";
    }
    if (!(f->procbased2 & PROC2_UNRESTRICTED)) {
        return "this CPU's VT-x has no unrestricted guest mode, in which guests start: use an "
               "Intel CPU "
               "of 2010 (Westmere) or newer";
    }
    if (!(f->ept_vpid & EPT_CAP_FOUR_LEVELS) || !(f->ept_vpid & EPT_CAP_WRITE_BACK)) {
        return "this CPU's EPT lacks four levels or write-back memory: use another CPU, or let the "
               "hypervisor below offer them";
    }
    return NULL;
}

const char *preflight_guests(const struct cpu_facts *f)
{
    if (f->vmx) {
        return vtx_lacks(f);
    }
    return f->svm ? svm_lacks(f) : no_virtualization(f);
}
