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

/* Registers that are a field of the VMCB: its offset. */
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
    [VIRT_TSC_OFFSET] = offsetof(struct vmcb, tsc_offset),
    [VIRT_KERNEL_GS_BASE] = offsetof(struct vmcb, kernel_gs_base),
    [VIRT_STAR] = offsetof(struct vmcb, star),
    [VIRT_LSTAR] = offsetof(struct vmcb, lstar),
    [VIRT_FMASK] = offsetof(struct vmcb, fmask),
};

static u64 *field_of(struct vcpu *v, enum virt_reg r)
{
    return (u64 *)((char *)vmcb_of(v) + fields[r]);
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
    case VIRT_XCR0:
        return v->xcr0;
    case VIRT_TSC_AUX:
        return v->tsc_aux;
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
        v->xcr0 = value;
        xsetbv(0, value);
        break;
    case VIRT_TSC_OFFSET:
        v->tsc_offset = value;
        break;
    case VIRT_STAR:
        v->star = value;
        break;
    case VIRT_LSTAR:
        v->lstar = value;
        break;
    case VIRT_FMASK:
        v->fmask = value;
        break;
    case VIRT_TSC_AUX:
        v->tsc_aux = value;
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

/* A single step, or a breakpoint that an emulated instruction met, is due as an exception now. */
static void raise_debug(struct vcpu *v, u64 dr6)
{
    vmcb_of(v)->dr6 |= dr6;
    vcpu_raise(v, &(struct event){EVENT_HWEXC, 1, false, 0, 0});
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

static void set_sys(struct vcpu *v, const struct vcpu_state *s)
{
    struct vmcb *c = vmcb_of(v);

    for (u32 i = 0; i < SEG_COUNT; i++) {
        write_segment(segment(c, i), &s->seg[i]);
    }
    c->cpl = s->seg[SEG_SS].access >> 5 & 3;
    c->gdtr = (struct vmcb_seg){.base = s->gdt_base, .limit = s->gdt_limit};
    c->idtr = (struct vmcb_seg){.base = s->idt_base, .limit = s->idt_limit};
    c->cr0 = s->cr0;
    c->cr3 = s->cr3;
    write_guest_cr4(v, s->cr4);
    svm_write(v, VIRT_EFER, s->efer);
    if (s->cr8 != apic_cr8(v)) { /* what it does not show of TPR stays */
        apic_set_cr8(v, (u32)s->cr8);
    }
    v->cr2 = s->cr2;
}

/* MSRs and debug registers of struct vcpu_state that svm_read() and svm_write() know. */
static const struct {
    u16 offset, reg;
} msrs[] = {
#define MSR(member, reg)                                                                           \
    {                                                                                              \
        offsetof(struct vcpu_state, member), reg                                                   \
    }
    MSR(msr_star, VIRT_STAR),
    MSR(msr_lstar, VIRT_LSTAR),
    MSR(msr_fmask, VIRT_FMASK),
    MSR(msr_kernel_gs_base, VIRT_KERNEL_GS_BASE),
    MSR(msr_tsc_aux, VIRT_TSC_AUX),
    MSR(msr_sysenter_cs, VIRT_SYSENTER_CS),
    MSR(msr_sysenter_esp, VIRT_SYSENTER_ESP),
    MSR(msr_sysenter_eip, VIRT_SYSENTER_EIP),
    MSR(msr_pat, VIRT_PAT),
    MSR(msr_debugctl, VIRT_DEBUGCTL),
    MSR(dr7, VIRT_DR7),
};

static void set_msrs(struct vcpu *v, const struct vcpu_state *s)
{
    if (v->vm->cpuid->xcr0) {
        svm_write(v, VIRT_XCR0, s->xcr0);
    }
    v->cstar = s->msr_cstar;
    for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
        u64 value = *(const u64 *)((const char *)s + msrs[i].offset);
        if (value != svm_read(v, msrs[i].reg)) {
            svm_write(v, msrs[i].reg, value);
        }
    }
    vmcb_of(v)->dr7 = (s->dr7 & ~(BIT(11) | BIT(12) | FIELD(15, 14))) | DR7_FIXED;
    if (s->dr7 & 0xff) {
        svm_give_debug(v); /* breakpoints are armed: their addresses must be there */
    }
    if (s->pending_debug) {
        raise_debug(v, s->pending_debug & ~PENDING_ENABLED);
    }
}

int svm_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups)
{
    struct vmcb *c = vmcb_of(v);

    if (!guest_state_check(v, s, groups)) {
        return E_INVAL;
    }
    if (groups & VCPU_STATE_SYS) {
        set_sys(v, s);
    }
    if (groups & VCPU_STATE_MSR) {
        set_msrs(v, s);
    }
    if (groups & VCPU_STATE_GPR) {
        memcpy(v->gpr, s->gpr, sizeof(v->gpr));
        c->rsp = s->gpr[GPR_RSP];
        c->rip = s->rip;
        c->rflags = (s->rflags & ~RFLAGS_RESERVED) | RFLAGS_FIXED;
    }
    if (groups & VCPU_STATE_EVENT) {
        c->int_state = s->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS) ? 1 : 0;
        if (!(s->interruptibility & BLOCKED_BY_NMI) == svm_of(v)->nmi_masked) {
            svm_mask_nmi(v, !svm_of(v)->nmi_masked);
        }
        v->activity = s->halted;
    }
    return E_OK;
}

void svm_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups)
{
    struct vmcb *c = vmcb_of(v);

    if (groups & VCPU_STATE_GPR) {
        memcpy(s->gpr, v->gpr, sizeof(s->gpr));
        s->gpr[GPR_RSP] = c->rsp;
        s->rip = c->rip;
        s->rflags = c->rflags;
    }
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
        s->cr0 = c->cr0;
        s->cr2 = v->cr2;
        s->cr3 = c->cr3;
        s->cr4 = svm_read(v, VIRT_CR4);
        s->cr8 = apic_cr8(v);
        s->efer = svm_read(v, VIRT_EFER);
    }
    if (groups & VCPU_STATE_MSR) {
        s->xcr0 = v->xcr0;
        s->msr_cstar = v->cstar;
        for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
            *(u64 *)((char *)s + msrs[i].offset) = svm_read(v, msrs[i].reg);
        }
    }
    if (groups & VCPU_STATE_EVENT) {
        s->interruptibility = (u32)svm_read(v, VIRT_INTERRUPTIBILITY);
        s->halted = v->activity;
    }
}

/* APM 2 "Processor Initialization State", the column for INIT; MSRs stay as they are. */
void svm_reset(struct vcpu *v)
{
    static const u32 access[SEG_COUNT] = {
        [SEG_ES] = 0x93, [SEG_CS] = 0x9b, [SEG_SS] = 0x93,   [SEG_DS] = 0x93,
        [SEG_FS] = 0x93, [SEG_GS] = 0x93, [SEG_LDTR] = 0x82, [SEG_TR] = 0x8b,
    };
    struct svm_vcpu *x = svm_of(v);
    struct vmcb *c = x->vmcb;

    for (u32 i = 0; i < SEG_COUNT; i++) {
        write_segment(segment(c, i), &(struct vcpu_seg){.limit = 0xffff, .access = access[i]});
    }
    c->cs.selector = 0xf000;
    c->cs.base = 0xffff0000;
    c->gdtr = c->idtr = (struct vmcb_seg){.limit = 0xffff};
    c->cpl = 0;
    c->cr0 = (c->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
    c->cr3 = 0;
    write_guest_cr4(v, 0);
    c->efer = EFER_SVME;
    c->rflags = RFLAGS_FIXED;
    c->rip = 0xfff0;
    c->rsp = 0;
    c->dr6 = DR6_FIXED;
    c->dr7 = DR7_FIXED;
    c->int_state = c->event_inj = 0;
    if (x->debugctl) {
        svm_write(v, VIRT_DEBUGCTL, 0);
    }
    memset(v->dr, 0, sizeof(v->dr));
    set_debug_live(x, false);
    x->window = x->nmi_wanted = x->iret = x->stepping = false;
    svm_mask_nmi(v, false);
    v->cr2 = 0;
    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[GPR_RDX] = v->vm->cpuid->signature;
}

void svm_start(struct vcpu *v, u8 vector)
{
    struct vmcb *c = vmcb_of(v);

    c->cs.selector = (u16)(vector << 8);
    c->cs.base = (u64)vector << 12;
    c->rip = 0;
}
