/* SPDX-License-Identifier: MIT */
/* Reports to the kernel log: why an entry failed, and a guest's whole state. */
#include "arch/arch.h"
#include "arch/x86/svm/svm.h"
#include "kernel/cpuid.h"
#include "kernel/cr.h"
#include "kernel/log.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"

typedef unsigned long long ull;

static bool page_address(u64 address, u64 bytes)
{
    return !(address & PAGE_MASK) && address + bytes <= BIT(arch_phys_bits());
}

/* APM 2 "Event Injection": what VMRUN refuses. */
static bool event_ok(const struct vmcb *c)
{
    const u32 others = BIT(EVENT_EXTINT) | BIT(EVENT_NMI) | BIT(EVENT_SWINT);
    u32 type = EVENT_TYPE(c->event_inj), vector = EVENT_VECTOR(c->event_inj);

    return !(c->event_inj & EVENT_VALID) || others >> type & 1 ||
           (type == EVENT_HWEXC && vector < 32 && vector != 2);
}

static u32 broken(const struct vcpu *v, bool holds, u64 value, const char *rule)
{
    if (!holds) {
        klog("vm %s vcpu %u: %llx in the VMCB breaks the rule: %s", v->vm->name, v->index,
             (ull)value, rule);
    }
    return !holds;
}

/* The rules for CR0, CR3, CR4 and EFER. */
static u32 check_control_registers(struct vcpu *v)
{
    const u64 efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME;
    const struct vmcb *c = vmcb_of(v);
    bool long_mode = c->efer & EFER_LME && c->cr0 & CR0_PG;
    bool cs_l = c->cs.attributes & ATTR_L, cs_d = c->cs.attributes & ATTR_D;

    return broken(v, c->efer & EFER_SVME, c->efer, "EFER.SVME is set") +
           broken(v, !(c->efer & ~efer), c->efer, "reserved bits of EFER are 0") +
           broken(v, c->cr0 & CR0_CD || !(c->cr0 & CR0_NW), c->cr0, "CR0.NW needs CD") +
           broken(v, !(c->cr0 >> 32), c->cr0, "bits 63:32 of CR0 are 0") +
           broken(v, !(c->cr3 >> arch_phys_bits()), c->cr3, "CR3 is a physical address") +
           broken(v, !(c->cr4 & ~(v->vm->cpuid->cr4_allowed | CR4_MCE)), c->cr4,
                  "reserved bits of CR4 are 0") +
           broken(v, !long_mode || c->cr4 & CR4_PAE, c->cr4, "long mode needs CR4.PAE") +
           broken(v, !long_mode || c->cr0 & CR0_PE, c->cr0, "long mode needs CR0.PE") +
           broken(v, !(long_mode && cs_l && cs_d), c->cs.attributes, "64-bit code has D = 0");
}

u32 svm_check(struct vcpu *v)
{
    const struct vmcb *c = vmcb_of(v);

    return check_control_registers(v) +
           broken(v, !(c->dr6 >> 32), c->dr6, "bits 63:32 of DR6 are 0") +
           broken(v, !(c->dr7 >> 32), c->dr7, "bits 63:32 of DR7 are 0") +
           broken(v, c->intercept[1] & INTERCEPT_VMRUN, c->intercept[1], "VMRUN is intercepted") +
           broken(v, page_address(c->io_map, 3 * PAGE_SIZE), c->io_map, "an I/O map in memory") +
           broken(v, page_address(c->msr_map, 2 * PAGE_SIZE), c->msr_map, "an MSR map in memory") +
           broken(v, page_address(c->nested_cr3, PAGE_SIZE), c->nested_cr3,
                  "nested tables in memory") +
           broken(v, event_ok(c), c->event_inj, "an event that can be injected") +
           broken(v, c->asid && c->asid < svm_caps.asids, c->asid, "an ASID of a guest") +
           broken(v, pat_check(c->pat), c->pat, "eight memory types in the PAT");
}

void svm_dump(struct vcpu *v)
{
    const struct vmcb *c = vmcb_of(v);

    klog("vm %s vcpu %u: exit code %llx, information %llx %llx", v->vm->name, v->index,
         (ull)c->exit_code, (ull)c->exit_info1, (ull)c->exit_info2);
    guest_dump(v);
    klog("  intercepts %x %x %x exceptions %x CR %x %x DR %x ASID %u nested CR3 %llx",
         c->intercept[0], c->intercept[1], c->intercept[2], c->exceptions, c->cr_reads,
         c->cr_writes, c->dr_writes, c->asid, (ull)c->nested_cr3);
    klog("  real CR4 %llx; events: injected %x interrupted %x control %x shadow %x", (ull)c->cr4,
         c->event_inj, c->exit_int_info, c->int_ctl, c->int_state);
    if (!svm_check(v) && c->exit_code >= SVM_INVALID) {
        klog("  no rule that we know is broken");
    }
}
