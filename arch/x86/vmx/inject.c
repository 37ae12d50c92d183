/* SPDX-License-Identifier: MIT */
/* Events on their way into a guest: injection at entry, windows, and what an exit interrupted. SDM
 * 3C "VM-Entry Controls for Event Injection", "Information for VM Exits That Occur During Event
 * Delivery". */
#include "arch/x86/guest.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"

bool vmx_can_take(UNUSED struct vcpu *v, enum virt_window w)
{
    u32 blocked = vmcs_read32(GUEST_INTERRUPTIBILITY);

    if (vmcs_read32(ENTRY_INTR_INFO) & INTR_INFO_VALID || vmcs_read(GUEST_PENDING_DEBUG)) {
        return false; /* a debug trap comes before interrupts */
    }
    if (w == WINDOW_NMI) {
        return !(blocked & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS | BLOCKED_BY_NMI));
    }
    return !(blocked & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) && vmcs_read(GUEST_RFLAGS) & RFLAGS_IF;
}

void vmx_set_window(struct vcpu *v, enum virt_window w, bool on)
{
    struct vmx_vcpu *x = vmx_of(v);
    /* Behind an STI an NMI waits for the other window: a CPU may, but need not, hold this one's
     * exit back until the next instruction has ended (SDM 3C "Other Causes of VM Exits"). */
    bool sti = on && vmcs_read32(GUEST_INTERRUPTIBILITY) & BLOCKED_BY_STI;
    u32 bit = w == WINDOW_NMI && !sti ? PROC_NMI_WINDOW : PROC_INTR_WINDOW;
    u32 proc = on ? x->proc | bit : x->proc & ~bit;

    if (proc != x->proc) {
        x->proc = proc;
        vmcs_write32(PROC_CONTROLS, proc);
    }
}

bool vmx_try_interrupt(struct vcpu *v, u8 vector)
{
    u32 blocked = vmcs_read32(GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);

    if (LIKELY(!(blocked | vmcs_read(GUEST_PENDING_DEBUG)) &&
               vmcs_read(GUEST_RFLAGS) & RFLAGS_IF)) {
        vmcs_write32(ENTRY_INTR_INFO, vector | (u32)INTR_INFO_VALID);
        return true;
    }
    vmx_set_window(v, WINDOW_INTERRUPT, true);
    return false;
}

/* The event may come from ring 3, so whatever an entry would refuse is put right here. */
void vmx_inject(UNUSED struct vcpu *v, const struct event *e)
{
    u32 blocked = vmcs_read32(GUEST_INTERRUPTIBILITY);
    u32 vector = e->vector, type = e->type;

    switch (type) {
    case EVENT_EXTINT:
    case EVENT_SWINT:
        break;
    case EVENT_NMI:
        vector = 2;
        break;
    case EVENT_PRIV_SWEXC:
        vector = 1;
        break;
    case EVENT_SWEXC:
        vector = vector == 4 ? 4 : 3;
        break;
    default:
        type = EVENT_HWEXC;
        vector &= 31;
        break;
    }
    u32 info = vector | type << 8 | (u32)INTR_INFO_VALID;
    if (type == EVENT_HWEXC && GUEST_VECTORS_WITH_ERROR & BIT(vector) &&
        vmcs_read(GUEST_CR0) & CR0_PE) {
        info |= INTR_INFO_ERROR;
        vmcs_write32(ENTRY_ERROR_CODE, e->error & 0xffff);
    }
    if (type >= EVENT_SWINT) {
        vmcs_write32(ENTRY_INSTR_LENGTH, e->length >= 1 && e->length <= 15 ? e->length : 1);
    }
    /* delivery ends the shadow of STI and MOV SS; an entry with both is refused */
    if (blocked & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) {
        vmcs_write32(GUEST_INTERRUPTIBILITY, blocked & ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
    }
    vmcs_write32(ENTRY_INTR_INFO, info);
}

void vmx_take_vectoring(struct vcpu *v)
{
    u32 info = vmcs_read32(IDT_VECTORING_INFO);

    if (!(info & INTR_INFO_VALID)) {
        return;
    }
    v->event = (struct event){INTR_INFO_TYPE(info), INTR_INFO_VECTOR(info),
                              info & INTR_INFO_ERROR ? 1 : 0, 0, 0};
    if (v->event.has_error) {
        v->event.error = vmcs_read32(IDT_VECTORING_ERROR);
    }
    if (v->event.type >= EVENT_SWINT) {
        v->event.length = (u8)vmcs_read32(EXIT_INSTR_LENGTH);
    }
    if (v->event.type == EVENT_NMI) {
        /* it is blocked as if delivered, and an entry that injects it again would be refused */
        vmcs_write32(GUEST_INTERRUPTIBILITY, vmcs_read32(GUEST_INTERRUPTIBILITY) & ~BLOCKED_BY_NMI);
    }
    __atomic_or_fetch(&v->hazards, VCPU_HAZARD_EVENT, __ATOMIC_SEQ_CST);
}
