/* SPDX-License-Identifier: MIT */
/*
 * Events on their way into a guest: injection at entry, windows, and what an exit interrupted. APM
 * 2 "Event Injection", "Virtual Interrupts". There is no window for NMIs here: while one is handled
 * the next IRET exits, and if another waits, that IRET is single-stepped.
 */
#include "arch/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lapic.h"
#include "arch/x86/svm/svm.h"
#include "lib/hw/x86.h"

#define ALWAYS_TAKEN (u32)(V_IRQ | V_IGN_TPR | V_PRIO(15))
#define CR4_WRITES   BIT(4)
#define CR8_WRITES   BIT(8)

bool svm_can_take(struct vcpu *v, enum virt_window w)
{
    const struct vmcb *c = vmcb_of(v);
    bool on = w == WINDOW_NMI ? !svm_of(v)->nmi_masked : (bool)(c->rflags & RFLAGS_IF);

    return on && !(c->event_inj & EVENT_VALID) && !(c->int_state & INT_STATE_SHADOW);
}

void svm_set_window(struct vcpu *v, enum virt_window w, bool on)
{
    svm_of(v)->wanted[w] = on;
}

/* As a virtual interrupt, not an injected event: QEMU's VMRUN delivers one of those, and the same
 * again when its thread has to stop before the next exit. */
bool svm_try_interrupt(struct vcpu *v, u8 vector)
{
    struct svm_vcpu *x = svm_of(v);

    x->taken = svm_can_take(v, WINDOW_INTERRUPT);
    x->vmcb.int_vector = vector;
    x->wanted[WINDOW_INTERRUPT] |= !x->taken;
    return x->taken;
}

static void intercept(struct vcpu *v, u32 bit, bool on)
{
    u32 *word = &vmcb_of(v)->intercept[0];

    *word = on ? *word | bit : *word & ~bit;
}

void svm_mask_nmi(struct vcpu *v, bool masked)
{
    svm_of(v)->nmi_masked = masked;
    intercept(v, INTERCEPT_IRET, masked);
}

/* The event may come from ring 3, so whatever an entry would refuse is put right here. */
void svm_inject(struct vcpu *v, const struct event *e)
{
    struct vmcb *c = vmcb_of(v);
    u32 type = e->type, vector = e->vector;

    if (type == EVENT_NMI) {
        vector = 2;
        svm_mask_nmi(v, true);
    } else if (type != EVENT_EXTINT) { /* INT1, INT3 and INTO are exceptions here */
        type = EVENT_HWEXC;
        vector = vector == 2 ? 1 : vector & 31;
    }
    c->event_inj = vector | type << 8 | (u32)EVENT_VALID;
    if (type == EVENT_HWEXC && GUEST_VECTORS_WITH_ERROR & BIT(vector) && c->cr0 & CR0_PE) {
        c->event_inj |= EVENT_ERROR;
        c->event_error = e->error & 0xffff;
    }
    c->int_state = 0; /* delivery ends the shadow of STI and MOV SS */
}

void svm_note_iret(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);

    x->iret = true;
    intercept(v, INTERCEPT_IRET, false);
}

void svm_arm_windows(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);
    const struct apic *a = &v->apic;
    struct vmcb *c = &x->vmcb;
    bool nmi = x->wanted[WINDOW_NMI];
    u32 vector = apic_highest(&APIC_REG(a, APIC_IRR), a->irr_words);
    u32 served = apic_highest(&APIC_REG(a, APIC_ISR), a->isr_words);

    if ((c->cr0 & (CR0_NW | CR0_CD)) == CR0_NW) {
        c->cr0 &= ~CR0_NW; /* an emulator lets a guest set it, and then refuses to run it */
    }
    x->entry_rip = c->rip;
    bool virtual = x->taken || x->wanted[WINDOW_INTERRUPT];
    c->int_ctl = (u32)V_INTR_MASKING | apic_cr8(v) | (virtual ? ALWAYS_TAKEN : 0);
    intercept(v, INTERCEPT_VINTR, !x->taken);
    /* Is it the TPR that holds an interrupt off? Or would even the same CR8 change it? V_IRQ with
     * its priority would tell, but for an emulator that finds equal ones enough. */
    bool held = APIC_REG(a, APIC_TPR) & 15 || (vector >> 4 > served >> 4 && !apic_next(a));
    c->cr_writes = CR4_WRITES | (held ? CR8_WRITES : 0);
    if (x->taken || c->event_inj & EVENT_VALID) {
        if (x->iret) { /* it does not run next: it will exit again */
            x->iret = false;
            intercept(v, INTERCEPT_IRET, true);
        }
        if (nmi && !x->nmi_masked) { /* an exit right after the delivery */
            lapic_send(cpu_this()->apic_id, VECTOR_KICK);
        }
    } else if (nmi && (x->iret || !x->nmi_masked)) {
        /* Deviation: an instruction in a shadow, or an IRET that faults, shows our TF in what it
         * pushes. */
        x->stepping = true;
        x->step_tf = c->rflags & RFLAGS_TF;
        c->rflags |= RFLAGS_TF;
    }
}

/* What runs after an IRET has its own TF. */
static bool end_step(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);
    bool own = x->stepping && !x->step_tf, moved = x->vmcb.rip != x->entry_rip;

    if (own && !(x->iret && moved)) {
        x->vmcb.rflags &= ~RFLAGS_TF;
    }
    if (x->iret) {
        svm_mask_nmi(v, !moved);
    }
    x->stepping = x->iret = false;
    return own;
}

bool svm_take_events(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);
    struct vmcb *c = &x->vmcb;
    /* not taken: another exit came first, or in QEMU (which misnames it) one during its delivery;
     * but not after a fault in its delivery, when QEMU's flag stays too */
    bool here = c->exit_int_info & EVENT_VALID || c->rip == x->entry_rip;
    bool still = x->taken && c->int_ctl & V_IRQ && here;
    u32 info = still ? c->int_vector | (u32)EVENT_VALID : c->exit_int_info;
    u32 type = EVENT_TYPE(info), vector = EVENT_VECTOR(info);
    /* software events do, because RIP is still at their instruction */
    bool comes_again = type == EVENT_SWINT || (type == EVENT_HWEXC && (vector == 3 || vector == 4));
    bool own_step = end_step(v);

    c->event_inj = 0;
    x->taken = false;
    if (info & EVENT_VALID && !comes_again) {
        v->event =
            (struct event){(u8)type, (u8)vector, info & EVENT_ERROR ? 1 : 0, 0, c->exit_int_error};
        if (type == EVENT_NMI) { /* its delivery is still to come */
            svm_mask_nmi(v, false);
        }
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
    }
    if (x->wanted[WINDOW_NMI] && !x->nmi_masked) {
        vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
    }
    u32 tpr = c->int_ctl & (u32)V_TPR;
    if (tpr != apic_cr8(v)) {
        apic_set_cr8(v, tpr & 15);
    }
    return own_step;
}
