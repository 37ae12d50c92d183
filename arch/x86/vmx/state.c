/* SPDX-License-Identifier: MIT */
/* Guest registers in the VMCS and in the vCPU object: one by one, and as a whole. */
#include "arch/arch.h"
#include "arch/x86/guest.h"
#include "arch/x86/insn.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/cpuid.h"
#include "kernel/log.h"
#include "kernel/vm.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

/* Bits of CR0 and CR4 that are not the guest's: it sees them as the shadow says, and an attempt to
 * change them exits. All other bits it changes by itself. */
static u64 cr0_owned(void)
{
    return CR0_NE | CR0_NW | CR0_CD | (vmx_caps.cr0_fixed0 & ~(CR0_PE | CR0_PG));
}

static u64 cr4_owned(const struct vcpu *v)
{
    return ~(v->vm->cpuid->cr4_allowed & vmx_caps.cr4_fixed1 & ~CR4_MCE);
}

/* What the CPU runs with: caches on, #MF by exception, machine checks reach us. */
static u64 cr0_real(u64 cr0)
{
    return (cr0 & ~cr0_owned()) | CR0_NE | CR0_ET | (vmx_caps.cr0_fixed0 & ~(CR0_PE | CR0_PG));
}

static u64 cr4_real(const struct vcpu *v, u64 cr4)
{
    return (cr4 & ~cr4_owned(v)) | vmx_caps.cr4_fixed0 | (CR4_MCE & vmx_caps.cr4_fixed1);
}

static void write_cr0_guest(u64 cr0)
{
    vmcs_write(GUEST_CR0, cr0_real(cr0));
    vmcs_write(CR0_SHADOW, cr0);
}

static void write_cr4_guest(const struct vcpu *v, u64 cr4)
{
    vmcs_write(GUEST_CR4, cr4_real(v, cr4));
    vmcs_write(CR4_SHADOW, cr4);
}

/* The CPU keeps "IA-32e mode guest" equal to EFER.LMA; so do we. */
static void write_efer_guest(struct vcpu *v, u64 efer)
{
    u32 entry = vmcs_read32(ENTRY_CONTROLS);

    vmcs_write64(GUEST_EFER, efer);
    vmcs_write32(ENTRY_CONTROLS, efer & EFER_LMA ? entry | (u32)ENTRY_IA32E_GUEST
                                                 : entry & ~(u32)ENTRY_IA32E_GUEST);
    if (efer & EFER_SCE && vmx_msrs_live(v) && !vmx_of(v)->syscall_live) {
        vmx_syscall_load(v);
    }
}

/* Registers that are a field of the VMCS and nothing else. */
static const u16 plain_fields[VIRT_REG_COUNT] = {
    [VIRT_RIP] = VMCS_GUEST_RIP,
    [VIRT_RSP] = VMCS_GUEST_RSP,
    [VIRT_RFLAGS] = VMCS_GUEST_RFLAGS,
    [VIRT_CR3] = VMCS_GUEST_CR3,
    [VIRT_EFER] = VMCS_GUEST_EFER,
    [VIRT_FS_BASE] = VMCS_GUEST_FS_BASE,
    [VIRT_GS_BASE] = VMCS_GUEST_GS_BASE,
    [VIRT_INTERRUPTIBILITY] = VMCS_GUEST_INTERRUPTIBILITY,
    [VIRT_SYSENTER_CS] = VMCS_GUEST_SYSENTER_CS,
    [VIRT_SYSENTER_ESP] = VMCS_GUEST_SYSENTER_ESP,
    [VIRT_SYSENTER_EIP] = VMCS_GUEST_SYSENTER_EIP,
    [VIRT_PAT] = VMCS_GUEST_PAT,
    [VIRT_DEBUGCTL] = VMCS_GUEST_DEBUGCTL,
    [VIRT_PENDING_DEBUG] = VMCS_GUEST_PENDING_DEBUG,
    [VIRT_DR7] = VMCS_GUEST_DR7,
};

u64 vmx_read(struct vcpu *v, enum virt_reg r)
{
    u64 owned;

    if (plain_fields[r]) {
        return vmread(plain_fields[r]);
    }
    switch (r) {
    case VIRT_CR0:
        owned = cr0_owned();
        return (vmcs_read(GUEST_CR0) & ~owned) | (vmcs_read(CR0_SHADOW) & owned);
    case VIRT_CR4:
        owned = cr4_owned(v);
        return (vmcs_read(GUEST_CR4) & ~owned) | (vmcs_read(CR4_SHADOW) & owned);
    case VIRT_CPL:
        return vmcs_read32(GUEST_SS_ACCESS) >> 5 & 3;
    case VIRT_CS_L:
        return vmcs_read32(GUEST_CS_ACCESS) >> 13 & 1;
    case VIRT_DR6:
        return v->debug_live ? read_dr6() : v->dr6;
    case VIRT_CR2:
        return vmx_msrs_live(v) ? read_cr2() : v->cr2;
    case VIRT_XCR0:
        return v->xcr0;
    case VIRT_TSC_OFFSET:
        return v->tsc_offset;
    case VIRT_KERNEL_GS_BASE:
        return vmx_msrs_live(v) ? rdmsr(MSR_IA32_KERNEL_GS_BASE) : v->kernel_gs_base;
    case VIRT_STAR:
        return v->star;
    case VIRT_LSTAR:
        return v->lstar;
    case VIRT_FMASK:
        return v->fmask;
    case VIRT_TSC_AUX:
        return v->tsc_aux;
    default:
        return 0;
    }
}

/* A field of v that is also a register of the CPU while live. */
static void write_shared(u64 *field, u32 msr, u64 value, bool live)
{
    *field = value;
    if (live) {
        wrmsr(msr, value);
    }
}

void vmx_write(struct vcpu *v, enum virt_reg r, u64 value)
{
    struct vmx_vcpu *x = vmx_of(v);

    if (r == VIRT_EFER) {
        write_efer_guest(v, value);
    } else if (plain_fields[r]) {
        vmwrite(plain_fields[r], value);
    }
    switch (r) {
    case VIRT_CR3:
    case VIRT_EFER:
        vmx_flush_linear(v);
        break;
    case VIRT_DR6:
        v->dr6 = value;
        if (v->debug_live) {
            write_dr6(value);
        }
        break;
    case VIRT_CR2:
        v->cr2 = value;
        if (vmx_msrs_live(v)) {
            write_cr2(value);
        }
        break;
    case VIRT_XCR0:
        v->xcr0 = value;
        xsetbv(0, value);
        break;
    case VIRT_TSC_OFFSET:
        v->tsc_offset = value;
        vmcs_write64(TSC_OFFSET, value);
        break;
    case VIRT_KERNEL_GS_BASE:
        write_shared(&v->kernel_gs_base, MSR_IA32_KERNEL_GS_BASE, value, vmx_msrs_live(v));
        break;
    case VIRT_STAR:
        write_shared(&v->star, MSR_IA32_STAR, value, x->syscall_live);
        break;
    case VIRT_LSTAR:
        write_shared(&v->lstar, MSR_IA32_LSTAR, value, x->syscall_live);
        break;
    case VIRT_FMASK:
        write_shared(&v->fmask, MSR_IA32_FMASK, value, x->syscall_live);
        break;
    case VIRT_TSC_AUX:
        if (vmx_caps.proc2 & PROC2_ENABLE_RDTSCP) { /* else there is no such register */
            write_shared(&v->tsc_aux, MSR_IA32_TSC_AUX, value, vmx_msrs_live(v));
        }
        break;
    default: /* CR0 and CR4: through write_owned() and set_state() only */
        break;
    }
}

bool vmx_write_owned(UNUSED struct vcpu *v, enum virt_reg r, u64 value)
{
    if (r == VIRT_CR0) {
        vmcs_write(CR0_SHADOW, value);
    } else if (r == VIRT_CR4) {
        vmcs_write(CR4_SHADOW, value);
    }
    return false;
}

/* --- segments: ES to TR, and GDTR and IDTR, are in the order of the encodings --- */

#define SEGMENT_FIELD(name, i) ((enum vmcs_field)(VMCS_GUEST_ES_##name + 2 * (i)))
_Static_assert(VMCS_GUEST_IDTR_BASE == SEGMENT_FIELD(BASE, VIRT_IDTR), "segments");
_Static_assert(VMCS_GUEST_IDTR_LIMIT == SEGMENT_FIELD(LIMIT, VIRT_IDTR), "segments");

void vmx_set_segment(UNUSED struct vcpu *v, u32 i, const struct vcpu_seg *s)
{
    vmwrite(SEGMENT_FIELD(BASE, i), s->base);
    vmwrite(SEGMENT_FIELD(LIMIT, i), s->limit);
    if (i < SEG_COUNT) {
        vmwrite(SEGMENT_FIELD(SELECTOR, i), s->selector);
        vmwrite(SEGMENT_FIELD(ACCESS, i), s->access);
    }
}

void vmx_get_segment(UNUSED struct vcpu *v, u32 i, struct vcpu_seg *s)
{
    s->base = vmread(SEGMENT_FIELD(BASE, i));
    s->limit = (u32)vmread(SEGMENT_FIELD(LIMIT, i));
    if (i < SEG_COUNT) {
        s->selector = (u16)vmread(SEGMENT_FIELD(SELECTOR, i));
        s->access = (u32)vmread(SEGMENT_FIELD(ACCESS, i));
    }
}

/* --- PAE page directory pointers --- */

/* A CPU in 32-bit PAE paging holds the four entries that CR3 points to; ring 3 gives only CR3. */
static int load_pdptes(struct vcpu *v, u64 cr3)
{
    u64 entries[4], bytes;
    u64 gpa = cr3 & 0xffffffe0;
    hpa_t frame;

    if (vm_resolve(v->vm, GPA(gpa & ~PAGE_MASK), &frame, &bytes) != VM_TOUCH_OK) {
        return E_INVAL;
    }
    u64 page = (frame.v & ~(bytes - 1)) | (gpa & (bytes - 1) & ~PAGE_MASK);
    const u8 *window = arch_window_open(HPA(page));
    memcpy(entries, window + (gpa & PAGE_MASK), sizeof(entries));
    arch_window_close();
    vmcs_write64(GUEST_PDPTE0, entries[0]);
    vmcs_write64(GUEST_PDPTE1, entries[1]);
    vmcs_write64(GUEST_PDPTE2, entries[2]);
    vmcs_write64(GUEST_PDPTE3, entries[3]);
    return E_OK;
}

int vmx_set_cr(struct vcpu *v, const struct vcpu_state *s)
{
    bool pae32 = s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LMA);
    if (pae32 && load_pdptes(v, s->cr3) != E_OK) {
        return E_INVAL;
    }
    write_cr0_guest(s->cr0);
    write_cr4_guest(v, s->cr4);
    vmx_flush_linear(v);
    return E_OK;
}

u32 vmx_code_mode(UNUSED struct vcpu *v, u64 *cr3)
{
    *cr3 = vmcs_read(GUEST_CR3);
    if (!(vmcs_read64(GUEST_EFER) & EFER_LMA) || !(vmcs_read32(GUEST_CS_ACCESS) & BIT(13))) {
        return 0;
    }
    return vmcs_read(GUEST_CR4) & CR4_LA57 ? VX_ACCESS_CODE64 | VX_ACCESS_LA57 : VX_ACCESS_CODE64;
}

void vmx_reset(struct vcpu *v)
{
    vmcs_write(CR0_MASK, cr0_owned());
    vmcs_write(CR4_MASK, cr4_owned(v));
    guest_reset(v);
    vmcs_write(GUEST_PENDING_DEBUG, 0);
}
