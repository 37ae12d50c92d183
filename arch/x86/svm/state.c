/* SPDX-License-Identifier: MIT */
/* Guest registers in the VMCB and in the vCPU object: one by one, and as a whole. */
#include "arch/arch.h"
#include "arch/x86/guest.h"
#include "arch/x86/insn.h"
#include "arch/x86/svm/svm.h"
#include "kernel/cpuid.h"
#include "kernel/exit.h"
#include "kernel/log.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

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
    const struct vmcb *c = x->vmcb;

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
static void write_guest_cr4(struct vcpu *v, u64 value)
{
    struct svm_vcpu *x = svm_of(v);

    x->vmcb->cr4 = value | CR4_MCE;
    x->mce = value & CR4_MCE;
    x->vmcb->cr_reads = x->mce ? 0 : BIT(4);
    svm_flush(v);
}

/* A single step, or a breakpoint that an emulated instruction met, is due as an exception now. */
static void raise_debug(struct vcpu *v, u64 dr6)
{
    vmcb_of(v)->dr6 |= dr6;
    vcpu_raise(v, &(struct event){EVENT_HWEXC, 1, false, 0, 0});
}

void svm_write(struct vcpu *v, enum virt_reg r, u64 value)
{
    struct svm_vcpu *x = svm_of(v);

    if (fields[r]) {
        *field_of(v, r) = value;
    }
    switch (r) {
    case VIRT_CR3:
        svm_flush(v);
        break;
    case VIRT_EFER:
        x->vmcb->efer = value | EFER_SVME;
        svm_flush(v);
        break;
    case VIRT_DEBUGCTL: /* is the CPU's own register while v is resident */
        x->debugctl = value;
        wrmsr(MSR_IA32_DEBUGCTL, value);
        break;
    case VIRT_XCR0:
        xsetbv(0, value);
        break;
    case VIRT_INTERRUPTIBILITY:
        x->vmcb->int_state = value & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS) ? INT_STATE_SHADOW : 0;
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

bool svm_write_owned(struct vcpu *v, enum virt_reg r, u64 value)
{
    ASSERT(r == VIRT_CR4); /* no other write is intercepted */
    write_guest_cr4(v, value);
    return true;
}

void svm_advance(struct vcpu *v, u32 bytes)
{
    struct svm_vcpu *x = svm_of(v);
    struct vmcb *c = x->vmcb;
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

/* --- debug registers: a guest that never touches them costs nothing --- */

static void set_debug_live(struct svm_vcpu *x, bool live)
{
    x->debug_live = live;
    x->vmcb->dr_reads = x->vmcb->dr_writes = live ? 0 : ALL_DEBUG_REGISTERS;
}

void svm_give_debug(struct vcpu *v)
{
    if (!svm_of(v)->debug_live) {
        guest_debug_load(v);
        set_debug_live(svm_of(v), true);
    }
}

void svm_debug_load(struct vcpu *v)
{
    if (svm_of(v)->debug_live) {
        guest_debug_load(v);
    }
    if (svm_of(v)->debugctl) {
        wrmsr(MSR_IA32_DEBUGCTL, svm_of(v)->debugctl);
    }
}

void svm_debug_unload(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);

    if (x->debugctl) {
        wrmsr(MSR_IA32_DEBUGCTL, 0);
    }
    if (x->debug_live) {
        guest_debug_save(v);
        set_debug_live(x, x->vmcb->dr7 & 0xff); /* none armed: wait for the next MOV DR */
    }
}

/* --- whole state --- */

static struct vmcb_seg *segment(struct vmcb *c, u32 i)
{
    struct vmcb_seg *const segments[SEG_COUNT] = {&c->es, &c->cs, &c->ss,   &c->ds,
                                                  &c->fs, &c->gs, &c->ldtr, &c->tr};
    return segments[i];
}

/* What the VMCB calls not present is what ring 3 calls unusable. */
static void write_segment(struct vmcb_seg *to, const struct vcpu_seg *s)
{
    u32 access = s->access & SEG_AR_UNUSABLE ? 0 : s->access;

    *to = (struct vmcb_seg){s->selector, (u16)((access & 0xff) | (access >> 4 & 0xf00)), s->limit,
                            s->base};
}

static void read_segment(const struct vmcb_seg *from, struct vcpu_seg *s)
{
    u32 a = from->attributes;

    *s = (struct vcpu_seg){
        .base = from->base,
        .limit = from->limit,
        .access = (a & 0xff) | (a & 0xf00) << 4 | (a & ATTR_P ? 0 : (u32)SEG_AR_UNUSABLE),
        .selector = from->selector,
    };
}

int svm_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups)
{
    struct vmcb *c = vmcb_of(v);

    if (!guest_state_check(v, s, groups)) {
        return E_INVAL;
    }
    if (groups & VCPU_STATE_SYS) {
        for (u32 i = 0; i < SEG_COUNT; i++) {
            write_segment(segment(c, i), &s->seg[i]);
        }
        c->cpl = s->seg[SEG_SS].access >> 5 & 3;
        c->gdtr = (struct vmcb_seg){.base = s->gdt_base, .limit = s->gdt_limit};
        c->idtr = (struct vmcb_seg){.base = s->idt_base, .limit = s->idt_limit};
        c->cr0 = s->cr0;
        write_guest_cr4(v, s->cr4);
    }
    guest_set_state(v, s, groups);
    return E_OK;
}

void svm_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups)
{
    struct vmcb *c = vmcb_of(v);

    guest_get_state(v, s, groups);
    if (groups & VCPU_STATE_SYS) {
        for (u32 i = 0; i < SEG_COUNT; i++) {
            read_segment(segment(c, i), &s->seg[i]);
        }
        s->seg[SEG_TR].access |= 2; /* busy, which not all that run guests note */
        /* CPL is not in SS here, and after a null selector SS has none */
        s->seg[SEG_SS].access = (s->seg[SEG_SS].access & ~(u32)FIELD(6, 5)) | (u32)c->cpl << 5;
        s->gdt_base = c->gdtr.base;
        s->gdt_limit = c->gdtr.limit;
        s->idt_base = c->idtr.base;
        s->idt_limit = c->idtr.limit;
    }
}

void svm_reset(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);
    struct vcpu_state s;

    guest_init_state(v, &s);
    ASSERT(svm_set_state(v, &s, GUEST_INIT_GROUPS) == E_OK);
    x->vmcb->efer = EFER_SVME;
    x->vmcb->dr6 = DR6_FIXED;
    x->vmcb->dr7 = DR7_FIXED;
    x->vmcb->event_inj = 0;
    if (x->debugctl) {
        svm_write(v, VIRT_DEBUGCTL, 0);
    }
    set_debug_live(x, false);
    x->window = x->nmi_wanted = x->iret = x->stepping = false;
}

void svm_start(struct vcpu *v, u8 vector)
{
    struct vmcb *c = vmcb_of(v);

    c->cs.selector = (u16)(vector << 8);
    c->cs.base = (u64)vector << 12;
    c->rip = 0;
}
