/* SPDX-License-Identifier: MIT */
/* Control words as data: what we want, what we cannot do without, and what must stay off. */
#include "arch/x86/vmx/caps.h"

#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"

/* A control word: want is taken where the CPU has it; every bit of need must then be set, no bit of
 * never may be (a CPU that forces it on would let exits through that nobody handles). */
struct rule {
    u64 want, never;
};

struct need {
    u64 bit;
    const char *sentence;
};

static const struct rule pin_rule = {
    PIN_EXTINT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS | PIN_PREEMPT_TIMER,
    PIN_POSTED_INTR,
};
static const struct need pin_needs[] = {
    {PIN_EXTINT_EXITING, "this CPU's VT-x cannot intercept external interrupts"  },
    {PIN_NMI_EXITING,    "this CPU's VT-x cannot intercept NMIs"                 },
    {PIN_VIRTUAL_NMIS,
     "this CPU's VT-x has no virtual NMIs; a CPU of 2010 (Westmere) or later has"},
    {PIN_PREEMPT_TIMER,
     "this CPU's VT-x has no preemption timer, without which a guest could keep a "
     "CPU; a CPU of 2010 (Westmere) or later has it"                             },
};

/* CR8 accesses exit because without a TPR shadow they would reach the host's own local APIC. */
static const struct rule proc_rule = {
    PROC_HLT_EXITING | PROC_MWAIT_EXITING | PROC_RDPMC_EXITING | PROC_TSC_OFFSETTING |
        PROC_CR8_LOAD_EXIT | PROC_CR8_STORE_EXIT | PROC_MOV_DR_EXITING | PROC_IO_BITMAPS |
        PROC_MSR_BITMAPS | PROC_MONITOR_EXIT | PROC_SECONDARY,
    PROC_CR3_LOAD_EXIT | PROC_CR3_STORE_EXIT | PROC_INVLPG_EXITING | PROC_RDTSC_EXITING |
        PROC_TERTIARY | PROC_TPR_SHADOW | PROC_MONITOR_TRAP | PROC_UNCOND_IO_EXIT,
};
static const struct need proc_needs[] = {
    {PROC_HLT_EXITING,    "this CPU's VT-x cannot intercept HLT"          },
    {PROC_TSC_OFFSETTING, "this CPU's VT-x has no TSC offset"             },
    {PROC_CR8_LOAD_EXIT,  "this CPU's VT-x cannot intercept loads of CR8" },
    {PROC_CR8_STORE_EXIT, "this CPU's VT-x cannot intercept stores of CR8"},
    {PROC_MOV_DR_EXITING, "this CPU's VT-x cannot intercept MOV DR"       },
    {PROC_RDPMC_EXITING,  "this CPU's VT-x cannot intercept RDPMC"        },
    {PROC_MWAIT_EXITING,  "this CPU's VT-x cannot intercept MWAIT"        },
    {PROC_MONITOR_EXIT,   "this CPU's VT-x cannot intercept MONITOR"      },
    {PROC_IO_BITMAPS,     "this CPU's VT-x has no I/O bitmaps"            },
    {PROC_MSR_BITMAPS,    "this CPU's VT-x has no MSR bitmaps"            },
    {PROC_SECONDARY,      "this CPU's VT-x has no EPT (second-level address translation); a CPU of 2010 "
                     "(Westmere) or later has it"     },
};

static const struct rule proc2_rule = {
    PROC2_ENABLE_EPT | PROC2_UNRESTRICTED | PROC2_ENABLE_VPID | PROC2_WBINVD_EXITING |
        PROC2_ENABLE_RDTSCP | PROC2_ENABLE_INVPCID | PROC2_PAUSE_LOOP_EXITING |
        PROC2_ENCLS_EXITING | PROC2_ENCLV_EXITING | PROC2_CONCEAL_PT,
    PROC2_VIRT_APIC_ACCESSES | PROC2_DESCRIPTOR_EXITING | PROC2_VIRT_X2APIC |
        PROC2_APIC_REGISTER_VIRT | PROC2_VIRT_INTR_DELIVERY | PROC2_VMCS_SHADOWING |
        PROC2_ENABLE_PML | PROC2_ENABLE_XSAVES | PROC2_MODE_BASED_EXECUTE | PROC2_SUB_PAGE_WRITE |
        PROC2_PT_USES_GPA,
};
static const struct need proc2_needs[] = {
    {PROC2_ENABLE_EPT,
     "this CPU's VT-x has no EPT (second-level address translation); a CPU of 2010 "
     "(Westmere) or later has it"                                       },
    {PROC2_UNRESTRICTED,
     "this CPU's VT-x has EPT but no unrestricted guest mode, which guests that "
     "start in real mode need; a CPU of 2010 (Westmere) or later has it"},
    {PROC2_WBINVD_EXITING, "this CPU's VT-x cannot intercept WBINVD"    },
};

static const struct rule exit_rule = {
    EXIT_SAVE_DEBUG | EXIT_HOST_64 | EXIT_ACK_INTERRUPT | EXIT_SAVE_PAT | EXIT_LOAD_PAT |
        EXIT_SAVE_EFER | EXIT_LOAD_EFER | EXIT_SAVE_PREEMPT_TIMER | EXIT_CONCEAL_PT,
    EXIT_LOAD_PERF,
};
static const struct need exit_needs[] = {
    {EXIT_SAVE_DEBUG,         "this CPU's VT-x does not save DR7 on exits"                            },
    {EXIT_HOST_64,            "this CPU's VT-x has no 64-bit host mode"                               },
    {EXIT_ACK_INTERRUPT,      "this CPU's VT-x cannot acknowledge interrupts on exit"                 },
    {EXIT_LOAD_PAT,           "this CPU's VT-x does not switch IA32_PAT; a CPU of 2010 or later does" },
    {EXIT_SAVE_EFER,          "this CPU's VT-x does not save IA32_EFER; a CPU of 2010 or later does"  },
    {EXIT_LOAD_EFER,          "this CPU's VT-x does not switch IA32_EFER; a CPU of 2010 or later does"},
 /* without it a guest with frequent exits starts its slice anew each time */
    {EXIT_SAVE_PREEMPT_TIMER, "this CPU's VT-x does not save the preemption timer on exits"           },
};

static const struct rule entry_rule = {
    ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER | ENTRY_CONCEAL_PT,
    ENTRY_IA32E_GUEST | ENTRY_SMM | ENTRY_DUAL_MONITOR | ENTRY_LOAD_PERF | ENTRY_LOAD_BNDCFGS,
};
static const struct need entry_needs[] = {
    {ENTRY_LOAD_DEBUG, "this CPU's VT-x does not load DR7 on entries"                        },
    {ENTRY_LOAD_PAT,   "this CPU's VT-x does not load IA32_PAT; a CPU of 2010 or later does" },
    {ENTRY_LOAD_EFER,  "this CPU's VT-x does not load IA32_EFER; a CPU of 2010 or later does"},
};

static const char *compute(u32 *word, u64 msr, const struct rule *r, const struct need *needs,
                           size_t count)
{
    *word = vmx_control((u32)r->want, msr);
    if ((u32)msr & ~(u32)(msr >> 32)) {
        return "this CPU's VT-x contradicts itself: a control must be 1 and may not";
    }
    for (size_t i = 0; i < count; i++) {
        if (!(*word & needs[i].bit)) {
            return needs[i].sentence;
        }
    }
    if (*word & r->never) {
        return "this CPU's VT-x forces a control on that Socle does not know how to handle";
    }
    return NULL;
}

#define COMPUTE(caps, m, word)                                                                     \
    compute(&(caps)->word, (m)->word, &word##_rule, word##_needs, ARRAY_SIZE(word##_needs))

static const char *check_ept(struct vmx_caps *c, u64 cap, u32 proc2_must)
{
    if (!(cap & EPT_CAP_WALK_4) || !(cap & EPT_CAP_WB)) {
        return "this CPU's EPT has no four-level tables in write-back memory";
    }
    if (!(cap & EPT_CAP_INVEPT) || !(cap & (EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL))) {
        return "this CPU's EPT cannot be invalidated (no INVEPT)";
    }
    c->ept_levels = 4;
    c->ept_2m = cap & EPT_CAP_2M;
    c->ept_1g = c->ept_2m && cap & EPT_CAP_1G;
    c->ept_ad = cap & EPT_CAP_ACCESSED_DIRTY;
    c->eptp = EPTP_WB | EPTP_LEVELS(4) | (c->ept_ad ? EPTP_ACCESSED_DIRTY : 0);
    c->invept_single = cap & EPT_CAP_INVEPT_SINGLE;
    if (!c->ept_2m) {
        return "this CPU's EPT has no 2 MiB pages";
    }

    /* a tag that cannot be invalidated is worse than none: entries then flush everything */
    if (!(cap & EPT_CAP_INVVPID) || !(cap & (EPT_CAP_INVVPID_SINGLE | EPT_CAP_INVVPID_ALL))) {
        c->proc2 &= ~(u32)PROC2_ENABLE_VPID;
        if (proc2_must & PROC2_ENABLE_VPID) {
            return "this CPU's VT-x forces VPIDs on and cannot invalidate them (no INVVPID)";
        }
    }
    c->vpid = c->proc2 & PROC2_ENABLE_VPID;
    c->invvpid_single = cap & EPT_CAP_INVVPID_SINGLE;
    return NULL;
}

const char *vmx_caps_compute(struct vmx_caps *c, const struct vmx_msrs *m, bool vmx_in_cpuid)
{
    const char *missing;

    *c = (struct vmx_caps){0};
    if (!vmx_in_cpuid) {
        return "this CPU has no VT-x; Socle needs an Intel CPU with VT-x and EPT (2010 or later)";
    }
    if (m->feature_control & FEATURE_CONTROL_LOCK && !(m->feature_control & FEATURE_CONTROL_VMX)) {
        return "VT-x is switched off and locked by the firmware: enable \"Intel Virtualization "
               "Technology\" (VT-x, VMX) in the firmware's setup, then switch the machine off and "
               "on";
    }
    c->basic = m->basic;
    c->revision = (u32)(m->basic & BASIC_REVISION);
    if (m->basic & BASIC_32BIT_ADDRESSES || BASIC_MEMORY_TYPE(m->basic) != MEMTYPE_WB) {
        return "this CPU's VT-x wants its structures in low or uncached memory";
    }
    if ((missing = COMPUTE(c, m, pin)) || (missing = COMPUTE(c, m, proc)) ||
        (missing = COMPUTE(c, m, proc2)) || (missing = COMPUTE(c, m, exit)) ||
        (missing = COMPUTE(c, m, entry)) || (missing = check_ept(c, m->ept_vpid, (u32)m->proc2))) {
        return missing;
    }
    if (!(m->misc & MISC_SAVES_LMA)) {
        return "this CPU's VT-x does not save EFER.LMA on exits";
    }
    c->misc = m->misc;
    c->timer_shift = MISC_TIMER_SHIFT(m->misc);
    c->apicv = m->proc >> 32 & PROC_TPR_SHADOW && !(PROC2_APICV & ~(m->proc2 >> 32));
    c->posted = c->apicv && m->pin >> 32 & PIN_POSTED_INTR;
    c->ins_outs_info = m->basic & BASIC_INS_OUTS_INFO;
    c->cr0_fixed0 = m->cr0_fixed0;
    c->cr0_fixed1 = m->cr0_fixed1;
    c->cr4_fixed0 = m->cr4_fixed0;
    c->cr4_fixed1 = m->cr4_fixed1;
    return NULL;
}

void vmx_msrs_read(struct vmx_msrs *m, u64 (*read)(u32 msr))
{
    *m = (struct vmx_msrs){0};
    m->feature_control = read(MSR_IA32_FEATURE_CONTROL);
    m->basic = read(MSR_IA32_VMX_BASIC);
    bool t = m->basic & BASIC_TRUE_CONTROLS;
    m->pin = read(t ? MSR_IA32_VMX_TRUE_PINBASED : MSR_IA32_VMX_PINBASED);
    m->proc = read(t ? MSR_IA32_VMX_TRUE_PROCBASED : MSR_IA32_VMX_PROCBASED);
    m->exit = read(t ? MSR_IA32_VMX_TRUE_EXIT : MSR_IA32_VMX_EXIT);
    m->entry = read(t ? MSR_IA32_VMX_TRUE_ENTRY : MSR_IA32_VMX_ENTRY);
    m->misc = read(MSR_IA32_VMX_MISC);
    m->cr0_fixed0 = read(MSR_IA32_VMX_CR0_FIXED0);
    m->cr0_fixed1 = read(MSR_IA32_VMX_CR0_FIXED1);
    m->cr4_fixed0 = read(MSR_IA32_VMX_CR4_FIXED0);
    m->cr4_fixed1 = read(MSR_IA32_VMX_CR4_FIXED1);
    if (m->proc >> 32 & PROC_SECONDARY) {
        m->proc2 = read(MSR_IA32_VMX_PROCBASED2);
    }
    if (m->proc2 >> 32 & (PROC2_ENABLE_EPT | PROC2_ENABLE_VPID)) {
        m->ept_vpid = read(MSR_IA32_VMX_EPT_VPID_CAP);
    }
}
