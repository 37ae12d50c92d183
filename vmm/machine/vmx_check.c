/* SPDX-License-Identifier: MIT */
/* The checks of VM-execution, VM-exit and VM-entry controls and of the host-state area. SDM 3C
 * "Checks on VMX Controls and Host-State Area". */
#include "vmm/machine/vmx_check.h"

#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"

void vmx_check_rule(struct vmx_check *c, bool holds, const char *field, u64 value, const char *rule)
{
    if (!holds) {
        c->broken++;
        c->report(c->arg, field, value, rule);
    }
}

bool vmx_check_fixed(u64 value, u64 fixed0, u64 fixed1)
{
    return (value & fixed0) == fixed0 && !(value & ~fixed1);
}

bool vmx_check_pat(u64 value)
{
    for (u32 i = 0; i < 64; i += 8) {
        u8 type = (u8)(value >> i);
        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

static bool allowed(u64 word, u64 msr)
{
    return ((u32)word & (u32)msr) == (u32)msr && !((u32)word & ~(u32)(msr >> 32));
}

static bool page_address(const struct vmx_check *c, u64 address)
{
    return !(address & PAGE_MASK) && !(address >> c->phys_bits);
}

static void check_eptp(struct vmx_check *c)
{
    u64 eptp = SNAP(c, EPT_POINTER), cap = c->msrs->ept_vpid, type = eptp & 7;

    RULE(c, (type == 0 && cap & EPT_CAP_UC) || (type == 6 && cap & EPT_CAP_WB), EPT_POINTER,
         "its memory type is supported");
    RULE(c,
         ((eptp >> 3 & 7) == 3 && cap & EPT_CAP_WALK_4) ||
             ((eptp >> 3 & 7) == 4 && cap & EPT_CAP_WALK_5),
         EPT_POINTER, "its number of levels is supported");
    RULE(c, !(eptp & EPTP_ACCESSED_DIRTY) || cap & EPT_CAP_ACCESSED_DIRTY, EPT_POINTER,
         "accessed and dirty flags are supported");
    RULE(c, !(eptp & FIELD(11, 7)) && !(eptp >> c->phys_bits), EPT_POINTER, "reserved bits are 0");
}

static void check_execution(struct vmx_check *c)
{
    u64 pin = SNAP(c, PIN_CONTROLS), proc = SNAP(c, PROC_CONTROLS);
    u64 proc2 = proc & PROC_SECONDARY ? SNAP(c, PROC2_CONTROLS) : 0;
    const u64 apic = PROC2_VIRT_X2APIC | PROC2_APIC_REGISTER_VIRT | PROC2_VIRT_INTR_DELIVERY;

    RULE(c, allowed(pin, c->msrs->pin), PIN_CONTROLS, "IA32_VMX_PINBASED_CTLS allows it");
    RULE(c, allowed(proc, c->msrs->proc), PROC_CONTROLS, "IA32_VMX_PROCBASED_CTLS allows it");
    RULE(c, allowed(proc2, c->msrs->proc2), PROC2_CONTROLS, "IA32_VMX_PROCBASED_CTLS2 allows it");
    RULE(c, SNAP(c, CR3_TARGET_COUNT) <= 4, CR3_TARGET_COUNT, "at most 4");
    if (proc & PROC_IO_BITMAPS) {
        RULE(c, page_address(c, SNAP(c, IO_BITMAP_A)), IO_BITMAP_A, "a page's physical address");
        RULE(c, page_address(c, SNAP(c, IO_BITMAP_B)), IO_BITMAP_B, "a page's physical address");
    }
    if (proc & PROC_MSR_BITMAPS) {
        RULE(c, page_address(c, SNAP(c, MSR_BITMAP)), MSR_BITMAP, "a page's physical address");
    }
    RULE(c, pin & PIN_NMI_EXITING || !(pin & PIN_VIRTUAL_NMIS), PIN_CONTROLS,
         "virtual NMIs need NMI exiting");
    RULE(c, pin & PIN_VIRTUAL_NMIS || !(proc & PROC_NMI_WINDOW), PROC_CONTROLS,
         "NMI-window exiting needs virtual NMIs");
    RULE(c, !(proc & PROC_TPR_SHADOW) || page_address(c, SNAP(c, VIRTUAL_APIC)), VIRTUAL_APIC,
         "a page's physical address");
    RULE(c, proc & PROC_TPR_SHADOW || !(proc2 & apic), PROC2_CONTROLS,
         "APIC virtualization needs the TPR shadow");
    RULE(c, !(proc2 & PROC2_VIRT_X2APIC) || !(proc2 & PROC2_VIRT_APIC_ACCESSES), PROC2_CONTROLS,
         "x2APIC mode and APIC accesses are not virtualized both");
    RULE(c, !(proc2 & PROC2_VIRT_INTR_DELIVERY) || pin & PIN_EXTINT_EXITING, PIN_CONTROLS,
         "virtual-interrupt delivery needs external-interrupt exiting");
    RULE(c,
         !(pin & PIN_POSTED_INTR) ||
             (proc2 & PROC2_VIRT_INTR_DELIVERY && SNAP(c, EXIT_CONTROLS) & EXIT_ACK_INTERRUPT),
         PIN_CONTROLS, "posted interrupts need virtual-interrupt delivery and acknowledge on exit");
    RULE(c, !(pin & PIN_POSTED_INTR) || SNAP(c, POSTED_VECTOR) <= 255, POSTED_VECTOR,
         "a vector below 256");
    RULE(c,
         !(pin & PIN_POSTED_INTR) ||
             !(SNAP(c, POSTED_DESCRIPTOR) & 63 || SNAP(c, POSTED_DESCRIPTOR) >> c->phys_bits),
         POSTED_DESCRIPTOR, "a physical address, of a multiple of 64");
    RULE(c, !(proc2 & PROC2_ENABLE_VPID) || SNAP(c, VPID) != 0, VPID, "not 0");
    if (proc2 & PROC2_ENABLE_EPT) {
        check_eptp(c);
    }
    RULE(c,
         proc2 & PROC2_ENABLE_EPT || !(proc2 & (PROC2_UNRESTRICTED | PROC2_ENABLE_PML |
                                                PROC2_MODE_BASED_EXECUTE | PROC2_SUB_PAGE_WRITE)),
         PROC2_CONTROLS, "what builds on EPT needs EPT");
}

static void check_exit(struct vmx_check *c)
{
    u64 exit = SNAP(c, EXIT_CONTROLS);

    RULE(c, allowed(exit, c->msrs->exit), EXIT_CONTROLS, "IA32_VMX_EXIT_CTLS allows it");
    RULE(c, SNAP(c, PIN_CONTROLS) & PIN_PREEMPT_TIMER || !(exit & EXIT_SAVE_PREEMPT_TIMER),
         EXIT_CONTROLS, "only an active preemption timer is saved");
    RULE(c, SNAP(c, EXIT_MSR_STORE_COUNT) == 0, EXIT_MSR_STORE_COUNT, "0: there is no such area");
    RULE(c, SNAP(c, EXIT_MSR_LOAD_COUNT) == 0, EXIT_MSR_LOAD_COUNT, "0: there is no such area");
}

static void check_injection(struct vmx_check *c)
{
    u64 info = SNAP(c, ENTRY_INTR_INFO), length = SNAP(c, ENTRY_INSTR_LENGTH);
    u32 type = INTR_INFO_TYPE(info), vector = INTR_INFO_VECTOR(info);
    u64 with_error = BIT(8) | FIELD(14, 10) | BIT(17) | BIT(21);

    if (!(info & INTR_INFO_VALID)) {
        return;
    }
    RULE(c, type != 1 && type != 7, ENTRY_INTR_INFO, "a defined type");
    RULE(c, type != INTR_TYPE_NMI || vector == 2, ENTRY_INTR_INFO, "an NMI has vector 2");
    RULE(c, type != INTR_TYPE_HWEXC || vector <= 31, ENTRY_INTR_INFO,
         "an exception's vector is below 32");
    RULE(c, !(info & FIELD(30, 12)), ENTRY_INTR_INFO, "reserved bits are 0");
    bool error = info & INTR_INFO_ERROR;
    bool has = type == INTR_TYPE_HWEXC && vector <= 31 && with_error & BIT(vector);
    bool real = !(SNAP(c, GUEST_CR0) & CR0_PE);
    if (real || !has) {
        RULE(c, !error, ENTRY_INTR_INFO, "no error code in real mode, or for this event");
    } else {
        RULE(c, error || c->msrs->basic & BASIC_ANY_ERROR_CODE, ENTRY_INTR_INFO,
             "this exception has an error code");
    }
    RULE(c, !error || !(SNAP(c, ENTRY_ERROR_CODE) >> 16), ENTRY_ERROR_CODE, "bits 31:16 are 0");
    if (type == INTR_TYPE_SWINT || type == INTR_TYPE_PRIV_SWEXC || type == INTR_TYPE_SWEXC) {
        RULE(c, length <= 15 && (length > 0 || c->msrs->misc & MISC_ZERO_LENGTH),
             ENTRY_INSTR_LENGTH, "1 to 15 for a software event");
    }
}

static void check_entry(struct vmx_check *c)
{
    u64 entry = SNAP(c, ENTRY_CONTROLS);

    RULE(c, allowed(entry, c->msrs->entry), ENTRY_CONTROLS, "IA32_VMX_ENTRY_CTLS allows it");
    RULE(c, SNAP(c, ENTRY_MSR_LOAD_COUNT) == 0, ENTRY_MSR_LOAD_COUNT, "0: there is no such area");
    RULE(c, !(entry & (ENTRY_SMM | ENTRY_DUAL_MONITOR)), ENTRY_CONTROLS, "no entry to SMM");
    check_injection(c);
}

void vmx_check_controls(struct vmx_check *c)
{
    check_execution(c);
    check_exit(c);
    check_entry(c);
}

#define HOST_SELECTOR(c, name)                                                                     \
    RULE(c, !(SNAP(c, name) & 7), name, "a selector of the GDT with RPL 0")
#define HOST_CANONICAL(c, name)                                                                    \
    RULE(c, vmx_check_canonical(SNAP(c, name)), name, "a canonical address")

void vmx_check_host(struct vmx_check *c)
{
    u64 exit = SNAP(c, EXIT_CONTROLS), efer = SNAP(c, HOST_EFER);

    RULE(c, vmx_check_fixed(SNAP(c, HOST_CR0), c->msrs->cr0_fixed0, c->msrs->cr0_fixed1), HOST_CR0,
         "the fixed bits of IA32_VMX_CR0_FIXED0 and 1");
    RULE(c, vmx_check_fixed(SNAP(c, HOST_CR4), c->msrs->cr4_fixed0, c->msrs->cr4_fixed1), HOST_CR4,
         "the fixed bits of IA32_VMX_CR4_FIXED0 and 1");
    RULE(c, !(SNAP(c, HOST_CR4) & CR4_CET) || SNAP(c, HOST_CR0) & CR0_WP, HOST_CR4,
         "CET needs CR0.WP");
    RULE(c, !(SNAP(c, HOST_CR3) >> c->phys_bits), HOST_CR3, "within the physical-address width");
    HOST_CANONICAL(c, HOST_SYSENTER_ESP);
    HOST_CANONICAL(c, HOST_SYSENTER_EIP);
    if (exit & EXIT_LOAD_PAT) {
        RULE(c, vmx_check_pat(SNAP(c, HOST_PAT)), HOST_PAT, "eight memory types");
    }
    if (exit & EXIT_LOAD_EFER) {
        RULE(c, !(efer & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)), HOST_EFER,
             "reserved bits are 0");
        RULE(c, efer & EFER_LMA && efer & EFER_LME, HOST_EFER, "LMA and LME for a 64-bit host");
    }
    HOST_SELECTOR(c, HOST_ES_SELECTOR);
    HOST_SELECTOR(c, HOST_CS_SELECTOR);
    HOST_SELECTOR(c, HOST_SS_SELECTOR);
    HOST_SELECTOR(c, HOST_DS_SELECTOR);
    HOST_SELECTOR(c, HOST_FS_SELECTOR);
    HOST_SELECTOR(c, HOST_GS_SELECTOR);
    HOST_SELECTOR(c, HOST_TR_SELECTOR);
    RULE(c, SNAP(c, HOST_CS_SELECTOR) != 0, HOST_CS_SELECTOR, "not 0");
    RULE(c, SNAP(c, HOST_TR_SELECTOR) != 0, HOST_TR_SELECTOR, "not 0");
    HOST_CANONICAL(c, HOST_FS_BASE);
    HOST_CANONICAL(c, HOST_GS_BASE);
    HOST_CANONICAL(c, HOST_GDTR_BASE);
    HOST_CANONICAL(c, HOST_IDTR_BASE);
    HOST_CANONICAL(c, HOST_TR_BASE);
    RULE(c, exit & EXIT_HOST_64, EXIT_CONTROLS, "a 64-bit host");
    RULE(c, SNAP(c, HOST_CR4) & CR4_PAE, HOST_CR4, "PAE for a 64-bit host");
    HOST_CANONICAL(c, HOST_RIP);
}
