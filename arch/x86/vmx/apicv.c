/* SPDX-License-Identifier: MIT */
/* A guest's local APIC by the CPU, in x2APIC mode: it reads registers from the APIC page, carries
 * out TPR and EOI there and delivers what is in IRR, without exits. In xAPIC mode, and for all
 * else, the kernel's own way remains. SDM 3C "APIC Virtualization and Virtual Interrupts". */
#include "arch/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/boot.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/vm.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

#define WRITES 2048 /* offset of the part for WRMSR of low MSRs */

/* What the page shows as it is, by offset / 16: ID, version, TPR, PPR, LDR, SVR, ISR to IRR, ESR,
 * ICR, LVT, initial count, divide. Not the current count. */
#define READABLE                                                                                   \
    (FIELD(3, 2) | BIT(8) | BIT(10) | BIT(13) | BIT(15) | FIELD(40, 16) | BIT(48) |                \
     FIELD(56, 50) | BIT(62))
#define WRITABLE (BIT(APIC_TPR / 16) | BIT(APIC_EOI / 16))

static hpa_t msr_bitmap[2]; /* without and with APIC virtualization */

/* Bochs 3.0 and 3.1, which know no hypervisor above them: a notification that finds no request
 * delivers vector 255 there, and one that comes while IF is 0 what else is pending. */
static bool posts_wrong(void)
{
    u32 leaf[4];

    arch_cpuid(1, 0, leaf);
    return boot_info.flags & BOOT_FLAG_EMULATOR && !(leaf[2] & BIT(31));
}

bool vmx_apicv_init(hpa_t bitmap)
{
    msr_bitmap[0] = bitmap;
    vmx_caps.posted = vmx_caps.posted && !posts_wrong();
    klog("APIC virtualization: %s", !vmx_caps.apicv   ? "none"
                                    : vmx_caps.posted ? "with posted interrupts"
                                                      : "without posted interrupts");
    if (!vmx_caps.apicv) {
        return true;
    }
    msr_bitmap[1] = kmem_page_alloc();
    if (!msr_bitmap[1].v) {
        return false;
    }
    u8 *page = arch_pool_ptr(msr_bitmap[1]);
    u64 reads = ~READABLE, writes = ~WRITABLE;
    memcpy(page, arch_pool_ptr(bitmap), PAGE_SIZE);
    memcpy(page + MSR_X2APIC_BASE / 8, &reads, sizeof(reads));
    memcpy(page + WRITES + MSR_X2APIC_BASE / 8, &writes, sizeof(writes));
    return true;
}

/* Which vectors' EOI exits. */
static void write_eoi_exits(struct vmx_vcpu *x, u32 i, u64 vectors)
{
    static const u16 fields[4] = {VMCS_EOI_EXIT_BITMAP_0, VMCS_EOI_EXIT_BITMAP_1,
                                  VMCS_EOI_EXIT_BITMAP_2, VMCS_EOI_EXIT_BITMAP_3};

    x->eoi_exits[i] = vectors;
    vmwrite(fields[i], vectors);
}

void vmx_apic_sync(struct vcpu *v)
{
    const struct apic *a = &v->apic;
    struct vmx_vcpu *x = vmx_of(v);
    u32 rvi = apic_highest(&APIC_REG(a, APIC_IRR), a->irr_words);
    u32 svi = apic_highest(&APIC_REG(a, APIC_ISR), a->isr_words);

    if (vmcs_read16(GUEST_INTR_STATUS) != (svi << 8 | rvi)) {
        vmcs_write16(GUEST_INTR_STATUS, svi << 8 | rvi);
    }
    for (u32 i = 0; i < 4; i++) {
        u64 level = APIC_REG(a, APIC_TMR + 32 * i) | (u64)APIC_REG(a, APIC_TMR + 32 * i + 16) << 32;
        if (level != x->eoi_exits[i]) {
            write_eoi_exits(x, i, level);
        }
    }
}

void vmx_apic_mode(struct vcpu *v)
{
    const u32 cr8_exits = PROC_CR8_LOAD_EXIT | PROC_CR8_STORE_EXIT, shadow = PROC_TPR_SHADOW;
    struct vmx_vcpu *x = vmx_of(v);
    bool on = vmx_caps.apicv && v->vm->flags & VM_APICV && v->apic.base & APIC_BASE_X2APIC;
    bool posted = on && vmx_caps.posted;

    if (on != v->apic.virtualized) {
        v->apic.virtualized = on;
        x->proc = on ? (x->proc | shadow) & ~cr8_exits : (x->proc & ~shadow) | cr8_exits;
        vmcs_write32(PROC_CONTROLS, x->proc);
        vmcs_write32(PROC2_CONTROLS, vmx_caps.proc2 | (on ? (u32)PROC2_APICV : 0));
        vmcs_write64(MSR_BITMAP, msr_bitmap[on].v);
        vmcs_write32(PIN_CONTROLS, vmx_caps.pin | (posted ? (u32)PIN_POSTED_INTR : 0));
        __atomic_store_n(&v->apic.posted, posted, __ATOMIC_SEQ_CST);
        vcpu_set_hazard(v, VCPU_HAZARD_KICK); /* ring 3 may want to look at it */
    }
    if (!on) {
        return;
    }
    if (posted) {
        vmcs_write16(POSTED_VECTOR, VECTOR_POSTED);
        vmcs_write64(POSTED_DESCRIPTOR, arch_pool_hpa(v->apic.edge).v);
    }
    vmcs_write64(VIRTUAL_APIC, arch_pool_hpa(v->apic.regs).v);
    vmcs_write32(TPR_THRESHOLD, 0);
    for (u32 i = 0; i < 4; i++) {
        write_eoi_exits(x, i, 0);
    }
    vmx_apic_sync(v);
}
