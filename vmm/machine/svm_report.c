/* SPDX-License-Identifier: MIT */
/* Why a CPU with AMD-V refuses a vCPU: its VMCB by the rules, on the guest's console. */
#include "vmm/machine/report.h"

#include "lib/hw/x86.h"
#include "vmm/machine/vmx_check.h"

static bool page_address(const struct svm_report *r, u64 address, u64 bytes)
{
    return !(address & PAGE_MASK) && address + bytes <= BIT(r->phys_bits);
}

/* APM 2 "Event Injection": what VMRUN refuses. */
static bool event_ok(const struct vmcb *c)
{
    const u32 others = BIT(INTR_TYPE_EXTINT) | BIT(INTR_TYPE_NMI) | BIT(INTR_TYPE_SWINT);
    u32 type = EVENT_TYPE(c->event_inj), vector = EVENT_VECTOR(c->event_inj);

    return !(c->event_inj & EVENT_VALID) || others >> type & 1 ||
           (type == INTR_TYPE_HWEXC && vector < 32 && vector != 2);
}

static u32 broken(const struct vcpu *v, bool holds, u64 value, const char *rule)
{
    if (!holds) {
        console_line(v->machine, "vcpu %u: %lx in the VMCB breaks the rule: %s", v->index, value,
                     rule);
    }
    return !holds;
}

/* The rules for CR0, CR3, CR4 and EFER. */
static u32 check_control_registers(const struct vcpu *v, const struct svm_report *r)
{
    const u64 efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME;
    const struct vmcb *c = &r->vmcb;
    bool long_mode = c->efer & EFER_LME && c->cr0 & CR0_PG;
    bool cs_l = c->cs.attributes & ATTR_L, cs_d = c->cs.attributes & ATTR_D;

    return broken(v, c->efer & EFER_SVME, c->efer, "EFER.SVME is set") +
           broken(v, !(c->efer & ~efer), c->efer, "reserved bits of EFER are 0") +
           broken(v, c->cr0 & CR0_CD || !(c->cr0 & CR0_NW), c->cr0, "CR0.NW needs CD") +
           broken(v, !(c->cr0 >> 32), c->cr0, "bits 63:32 of CR0 are 0") +
           broken(v, !(c->cr3 >> r->phys_bits), c->cr3, "CR3 is a physical address") +
           broken(v, !(c->cr4 & ~(r->cr4_allowed | CR4_MCE)), c->cr4,
                  "reserved bits of CR4 are 0") +
           broken(v, !long_mode || c->cr4 & CR4_PAE, c->cr4, "long mode needs CR4.PAE") +
           broken(v, !long_mode || c->cr0 & CR0_PE, c->cr0, "long mode needs CR0.PE") +
           broken(v, !(long_mode && cs_l && cs_d), c->cs.attributes, "64-bit code has D = 0");
}

/* The rules of APM 2 "Canonicalization and Consistency Checks". An ASID comes with the first entry.
 */
static u32 check(const struct vcpu *v, const struct svm_report *r, bool entered)
{
    const struct vmcb *c = &r->vmcb;

    return check_control_registers(v, r) +
           broken(v, !(c->dr6 >> 32), c->dr6, "bits 63:32 of DR6 are 0") +
           broken(v, !(c->dr7 >> 32), c->dr7, "bits 63:32 of DR7 are 0") +
           broken(v, c->intercept[1] & INTERCEPT_VMRUN, c->intercept[1], "VMRUN is intercepted") +
           broken(v, page_address(r, c->io_map, 3 * PAGE_SIZE), c->io_map, "an I/O map in memory") +
           broken(v, page_address(r, c->msr_map, 2 * PAGE_SIZE), c->msr_map,
                  "an MSR map in memory") +
           broken(v, page_address(r, c->nested_cr3, PAGE_SIZE), c->nested_cr3,
                  "nested tables in memory") +
           broken(v, event_ok(c), c->event_inj, "an event that can be injected") +
           broken(v, (c->asid || !entered) && c->asid < r->asids, c->asid, "an ASID of a guest") +
           broken(v, vmx_check_pat(c->pat), c->pat, "eight memory types in the PAT");
}

void svm_explain(struct vcpu *v, const struct svm_report *r, bool refused)
{
    struct machine *m = v->machine;
    const struct vmcb *c = &r->vmcb;

    if (!refused) {
        check(v, r, false);
        return;
    }
    console_line(m, "vcpu %u: exit code %lx, information %lx %lx", v->index, c->exit_code,
                 c->exit_info1, c->exit_info2);
    console_line(m, "intercepts %x %x %x exceptions %x CR %x %x DR %x ASID %u nested CR3 %lx",
                 c->intercept[0], c->intercept[1], c->intercept[2], c->exceptions, c->cr_reads,
                 c->cr_writes, c->dr_writes, c->asid, c->nested_cr3);
    console_line(m, "real CR4 %lx; events: injected %x interrupted %x control %x shadow %x", c->cr4,
                 c->event_inj, c->exit_int_info, c->int_ctl, c->int_state);
    if (!check(v, r, true) && c->exit_code >= SVM_INVALID) {
        console_line(m, "no rule that we know is broken");
    }
}
