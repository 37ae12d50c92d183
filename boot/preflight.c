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

const char *preflight_host(const struct cpu_facts *f)
{
    if (!f->no_execute) {
        return "this CPU does not offer execute-disable (XD, NX): switch it on in the firmware's "
               "setup";
    }
    return NULL;
}

static const char *no_vtx(const struct cpu_facts *f)
{
    bool amd = strcmp(f->vendor, "AuthenticAMD") == 0 || strcmp(f->vendor, "HygonGenuine") == 0;

    if (f->svm) {
        return "this CPU offers AMD-V, which this version does not use: guests need an Intel CPU "
               "with "
               "VT-x and EPT";
    }
    if (amd) {
        return "this is an AMD CPU, which has no VT-x: guests need an Intel CPU with VT-x and EPT";
    }
    if (f->hypervisor) {
        return "this virtual machine has no VT-x: switch on nested virtualization for it, with a "
               "CPU "
               "model that offers VMX";
    }
    return "this CPU shows no VT-x: switch on Intel Virtualization Technology (VT-x, VMX) in the "
           "firmware's setup, or use a CPU that has it";
}

const char *preflight_guests(const struct cpu_facts *f)
{
    if (!f->vmx) {
        return no_vtx(f);
    }
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
