/* SPDX-License-Identifier: MIT */
/* Guest registers in the VMCB and in the vCPU object: one by one, and as a whole. */
#include "arch/arch.h"
#include "arch/x86/insn.h"
#include "arch/x86/svm/svm.h"
#include "kernel/exit.h"
#include "kernel/log.h"
#include "lib/hw/x86.h"

#define ALL_DEBUG_REGISTERS 0xffff
#define PENDING_ENABLED     BIT(12) /* of vcpu_state.pending_debug: a breakpoint was met */

/* Registers that are a field of the VMCB, or of the vCPU (an entry copies it): its offset. */
#define OWN BIT(15)
static const u16 fields[VIRT_REG_COUNT] = {
    [VIRT_RIP] = offsetof(struct vmcb, rip),
    [VIRT_RSP] = offsetof(struct vmcb, rsp),
    [VIRT_RFLAGS] = offsetof(struct vmcb, rflags),
    [VIRT_CR0] = offsetof(struct vmcb, cr0),
    [VIRT_CR3] = offsetof(struct vmcb, cr3),
    [VIRT_FS_BASE] = offsetof(struct vmcb, fs.base),
    [VIRT_GS_BASE] = offsetof(struct vmcb, gs.base),
    [VIRT_SYSENTER_CS] = offsetof(struct vmcb, sysenter_cs),
    [VIRT_SYSENTER_ESP] = offsetof(struct vmcb, sysenter_esp),
    [VIRT_SYSENTER_EIP] = offsetof(struct vmcb, sysenter_eip),
    [VIRT_PAT] = offsetof(struct vmcb, pat),
    [VIRT_DR6] = offsetof(struct vmcb, dr6),
    [VIRT_DR7] = offsetof(struct vmcb, dr7),
    [VIRT_KERNEL_GS_BASE] = offsetof(struct vmcb, kernel_gs_base),
    [VIRT_CR2] = OWN | offsetof(struct vcpu, cr2),
    [VIRT_XCR0] = OWN | offsetof(struct vcpu, xcr0),
    [VIRT_TSC_OFFSET] = OWN | offsetof(struct vcpu, tsc_offset),
    [VIRT_STAR] = OWN | offsetof(struct vcpu, star),
    [VIRT_LSTAR] = OWN | offsetof(struct vcpu, lstar),
    [VIRT_FMASK] = OWN | offsetof(struct vcpu, fmask),
    [VIRT_TSC_AUX] = OWN | offsetof(struct vcpu, tsc_aux),
};

static u64 *field_of(struct vcpu *v, enum virt_reg r)
{
    return (u64 *)((fields[r] & OWN ? (char *)v : (char *)vmcb_of(v)) + (fields[r] & ~OWN));
}

u64 svm_read(struct vcpu *v, enum virt_reg r)
{
    const struct svm_vcpu *x = svm_of(v);
    const struct vmcb *c = &x->vmcb;

    if (fields[r]) {
        return *field_of(v, r);
    }
    switch (r) {
    case VIRT_CR4:
        return (c->cr4 & ~CR4_MCE) | (x->mce ? CR4_MCE : 0);
    case VIRT_EFER:
        return c->efer & ~EFER_SVME;
    case VIRT_CPL:
        return c->cpl;
    case VIRT_CS_L:
        return c->cs.attributes & ATTR_L ? 1 : 0;
    case VIRT_INTERRUPTIBILITY: /* which of the two shadows it is, the CPU does not tell */
        return (c->int_state & INT_STATE_SHADOW ? BLOCKED_BY_STI : 0) |
               (x->nmi_masked ? BLOCKED_BY_NMI : 0);
    case VIRT_DEBUGCTL:
        return x->debugctl;
    default:
        return 0;
    }
}

/* Machine checks reach us whatever the guest wants. It has to ask for CR4 only as long as that
 * shows. */
bool svm_write_owned(struct vcpu *v, enum virt_reg r, u64 value)
{
    struct svm_vcpu *x = svm_of(v);

    ASSERT(r == VIRT_CR4); /* no other write is intercepted */
    x->vmcb.cr4 = value | CR4_MCE;
    x->mce = value & CR4_MCE;
    x->vmcb.cr_reads = x->mce ? 0 : BIT(4);
    svm_flush(v);
    return true;
}

/* A single step, or a breakpoint that an emulated instruction met, is due as an exception now. */
static void raise_debug(struct vcpu *v, u64 dr6)
{
    const struct event e = guest_exception(1);

    vmcb_of(v)->dr6 |= dr6;
    vcpu_raise(v, &e);
}

void svm_write(struct vcpu *v, enum virt_reg r, u64 value)
{
    struct svm_vcpu *x = svm_of(v);

    if (fields[r]) {
        *field_of(v, r) = value;
    }
    switch (r) {
    case VIRT_EFER:
        x->vmcb.efer = value | EFER_SVME;
        svm_flush(v);
        break;
    case VIRT_DEBUGCTL: /* is the CPU's own register while v is resident */
        if (x->debugctl != value) {
            x->debugctl = value;
            wrmsr(MSR_IA32_DEBUGCTL, value);
        }
        break;
    case VIRT_XCR0:
        xsetbv(0, value);
        break;
    case VIRT_INTERRUPTIBILITY:
        x->vmcb.int_state = value & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS) ? INT_STATE_SHADOW : 0;
        if (x->nmi_masked != (bool)(value & BLOCKED_BY_NMI)) {
            svm_mask_nmi(v, !x->nmi_masked);
        }
        break;
    case VIRT_PENDING_DEBUG:
        raise_debug(v, value & ~PENDING_ENABLED);
        break;
    case VIRT_TSC_AUX:
        if (cpu_this()->msrs_of == v) {
            wrmsr(MSR_IA32_TSC_AUX, value);
        }
        break;
    default:
        break;
    }
}

void svm_advance(struct vcpu *v, u32 bytes)
{
    struct svm_vcpu *x = svm_of(v);
    struct vmcb *c = &x->vmcb;
    u64 next = bytes ? c->rip + bytes : x->next_rip;
    bool is_64 = c->efer & EFER_LMA && c->cs.attributes & ATTR_L;

    c->rip = is_64 ? next : (u32)next;
    c->int_state = 0; /* a shadow of STI or MOV SS ends with the instruction */
    if (c->rflags & RFLAGS_TF && !(x->debugctl & DEBUGCTL_BTF)) {
        raise_debug(v, DR6_BS);
    }
    c->rflags &= ~RFLAGS_RF; /* it suppressed this instruction's breakpoint */
}

u32 svm_code_mode(struct vcpu *v, u64 *cr3)
{
    const struct vmcb *c = vmcb_of(v);

    *cr3 = c->cr3;
    return c->efer & EFER_LMA && c->cs.attributes & ATTR_L ? VX_ACCESS_CODE64 : 0;
}

void svm_intercept_debug(struct vcpu *v, bool on)
{
    vmcb_of(v)->dr_reads = vmcb_of(v)->dr_writes = on ? ALL_DEBUG_REGISTERS : 0;
}

/* --- whole state --- */

static struct vmcb_seg *segment(struct vcpu *v, u32 i)
{
    struct vmcb *c = vmcb_of(v);
    struct vmcb_seg *const segments[] = {&c->es, &c->cs,   &c->ss, &c->ds,   &c->fs,
                                         &c->gs, &c->ldtr, &c->tr, &c->gdtr, &c->idtr};
    return segments[i];
}

/* What the VMCB calls not present is what ring 3 calls unusable. */
void svm_set_segment(struct vcpu *v, u32 i, const struct vcpu_seg *s)
{
    u32 access = s->access & SEG_AR_UNUSABLE ? 0 : s->access;
    u16 attributes = (u16)((access & 0xff) | (access >> 4 & 0xf00));

    *segment(v, i) = (struct vmcb_seg){s->selector, attributes, s->limit, s->base};
    if (i == SEG_SS) {
        vmcb_of(v)->cpl = s->access >> 5 & 3;
    }
}

void svm_get_segment(struct vcpu *v, u32 i, struct vcpu_seg *s)
{
    const struct vmcb_seg *from = segment(v, i);
    u32 a = from->attributes, access = (a & 0xff) | (a & 0xf00) << 4;

    if (i == SEG_TR) {
        access |= 2; /* busy, which not all that run guests note */
    } else if (i == SEG_SS) {
        /* CPL is not in SS here, and after a null selector SS has none */
        access = (access & ~(u32)FIELD(6, 5)) | (u32)vmcb_of(v)->cpl << 5;
    }
    access |= a & ATTR_P ? 0 : (u32)SEG_AR_UNUSABLE;
    *s = (struct vcpu_seg){from->base, from->limit, access, from->selector, {0}};
}

int svm_set_cr(struct vcpu *v, const struct vcpu_state *s)
{
    vmcb_of(v)->cr0 = s->cr0;
    svm_write_owned(v, VIRT_CR4, s->cr4); /* which flushes, too */
    return E_OK;
}

void svm_reset(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);

    guest_reset(v);
    x->wanted[WINDOW_INTERRUPT] = x->wanted[WINDOW_NMI] = x->iret = x->stepping = false;
}
