/* SPDX-License-Identifier: MIT */
/* From VM exit to VM entry: the few kinds that are settled on the spot, and for all others the
 * translation of the hardware's words into struct exit. Reads only the fields that a kind defines.
 */
#include "kernel/exit.h"

#include "arch/arch.h"
#include "arch/x86/guest.h"
#include "arch/x86/insn.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/log.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"

#define STAY_SHIFT 7 /* a guest stays for 1/128 s at most */

/* Reasons that say it all; the kind plus 1, 0: see decode(). */
static const u8 plain_kinds[] = {
    [REASON_TRIPLE_FAULT] = EXIT_TRIPLE_FAULT + 1,
    [REASON_INIT] = EXIT_INIT + 1,
    [REASON_SIPI] = EXIT_SIPI + 1,
    [REASON_INTR_WINDOW] = EXIT_INTR_WINDOW + 1,
    [REASON_NMI_WINDOW] = EXIT_NMI_WINDOW + 1,
    [REASON_CPUID] = EXIT_CPUID + 1,
    [REASON_HLT] = EXIT_HLT + 1,
    [REASON_INVD] = EXIT_WBINVD + 1,
    [REASON_VMCALL] = EXIT_HYPERCALL + 1,
    [REASON_EOI] = EXIT_EOI + 1,
    [REASON_MOV_DR] = EXIT_DR + 1,
    [REASON_RDMSR] = EXIT_RDMSR + 1,
    [REASON_WRMSR] = EXIT_WRMSR + 1,
    [REASON_PAUSE] = EXIT_PAUSE + 1,
    [REASON_WBINVD] = EXIT_WBINVD + 1,
    [REASON_XSETBV] = EXIT_XSETBV + 1,
    /* instructions that do not exist for a guest; RDPMC does, but there are no counters */
    [REASON_GETSEC] = EXIT_UNDEFINED + 1,
    [REASON_RDPMC] = EXIT_UNDEFINED + 1,
    [REASON_RSM] = EXIT_UNDEFINED + 1,
    [REASON_VMCLEAR... REASON_VMXON] = EXIT_UNDEFINED + 1,
    [REASON_MWAIT] = EXIT_UNDEFINED + 1,
    [REASON_MONITOR] = EXIT_UNDEFINED + 1,
    [REASON_INVEPT] = EXIT_UNDEFINED + 1,
    [REASON_INVVPID] = EXIT_UNDEFINED + 1,
    [REASON_RDTSCP] = EXIT_UNDEFINED + 1,
    [REASON_INVPCID] = EXIT_UNDEFINED + 1,
    [REASON_VMFUNC] = EXIT_UNDEFINED + 1,
    [REASON_ENCLS] = EXIT_UNDEFINED + 1,
    [REASON_XSAVES] = EXIT_UNDEFINED + 1,
    [REASON_XRSTORS] = EXIT_UNDEFINED + 1,
    [REASON_UMWAIT] = EXIT_UNDEFINED + 1,
    [REASON_TPAUSE] = EXIT_UNDEFINED + 1,
    [REASON_ENCLV] = EXIT_UNDEFINED + 1,
    [REASON_SEAMCALL] = EXIT_UNDEFINED + 1,
    [REASON_TDCALL] = EXIT_UNDEFINED + 1,
};

static void decode_io(UNUSED struct vcpu *v, struct exit *x)
{
    u32 q = (u32)x->qualification;

    x->kind = EXIT_IO;
    x->io.port = (u16)(q >> 16);
    x->io.bytes = (u8)((q & 7) + 1);
    x->io.in = q & BIT(3);
    x->io.string = q & BIT(4);
    x->io.rep = q & BIT(5);
    x->io.address_bytes = 0;
    if (UNLIKELY(x->io.string) && vmx_caps.ins_outs_info) {
        x->io.address_bytes = (u8)(2u << (vmcs_read32(EXIT_INSTR_INFO) >> 7 & 3));
    }
}

static void decode_cr(struct exit *x)
{
    u32 q = (u32)x->qualification, type = q >> 4 & 3;

    /* CLTS and LMSW touch only bits of CR0 that are the guest's own, so they do not exit. */
    x->kind = type < 2 ? EXIT_CR : EXIT_UNKNOWN;
    x->cr.number = q & 15;
    x->cr.write = type == 0;
    x->cr.gpr = q >> 8 & 15;
}

/* An IRET had ended the blocking of NMIs before the fault, and will be executed again. */
static void block_nmi_again(bool unblocked)
{
    if (unblocked && !(vmcs_read32(IDT_VECTORING_INFO) & INTR_INFO_VALID)) {
        vmcs_write32(GUEST_INTERRUPTIBILITY, vmcs_read32(GUEST_INTERRUPTIBILITY) | BLOCKED_BY_NMI);
    }
}

static void decode_npf(struct vcpu *v, struct exit *x)
{
    u64 q = x->qualification;

    x->kind = EXIT_NPF;
    x->npf.gpa = vmcs_read64(GUEST_PHYSICAL_ADDRESS);
    x->npf.access = (q & BIT(0) ? VX_ACCESS_READ : 0) | (q & BIT(1) ? VX_ACCESS_WRITE : 0) |
                    (q & BIT(2) ? VX_ACCESS_EXEC : 0);
    x->npf.linear = 0;
    if (q & BIT(7)) {
        x->npf.linear = vmcs_read(GUEST_LINEAR_ADDRESS);
        x->npf.access |= VX_ACCESS_LINEAR_VALID | (q & BIT(8) ? 0 : VX_ACCESS_WALK);
    }
    block_nmi_again(q & BIT(12));
    vmx_take_vectoring(v);
}

static void decode_exception(struct vcpu *v, struct exit *x)
{
    u32 info = vmcs_read32(EXIT_INTR_INFO);
    u8 vector = INTR_INFO_VECTOR(info);

    if (INTR_INFO_TYPE(info) == EVENT_NMI) {
        x->kind = EXIT_NMI;
        __asm__ volatile("int $2"); /* its IRET ends the blocking of NMIs that the exit left */
        return;
    }
    if (vector == 18) {
        x->kind = EXIT_NMI;
        __asm__ volatile("int $18");
        return;
    }
    x->kind = vector == 1 || vector == 17 ? EXIT_EXCEPTION : EXIT_UNKNOWN;
    x->exception.event = (struct event){INTR_INFO_TYPE(info), vector, 0, 0, 0};
    x->exception.debug = x->qualification & (FIELD(3, 0) | DR6_BD | DR6_BS);
    if (info & INTR_INFO_ERROR) {
        x->exception.event.has_error = 1;
        x->exception.event.error = vmcs_read32(EXIT_INTR_ERROR);
    }
    if (x->exception.event.type >= EVENT_SWINT) {
        x->exception.event.length = (u8)vmcs_read32(EXIT_INSTR_LENGTH);
    }
    block_nmi_again(info & INTR_INFO_UNBLOCKED);
    vmx_take_vectoring(v);
}

static void decode(struct vcpu *v, struct exit *x)
{
    u32 reason = vmcs_read32(EXIT_REASON);

    x->hw_reason = reason;
    x->qualification = vmcs_read(EXIT_QUALIFICATION);
    x->rip = vmcs_read(GUEST_RIP);
    if (UNLIKELY(reason & REASON_ENTRY_FAILURE)) {
        vmcs_write32(ENTRY_INTR_INFO, 0);
        x->kind = EXIT_ENTRY_FAILURE;
        return;
    }
    v->launched = 1;
    switch (reason) {
    case REASON_IO:
        decode_io(v, x);
        return;
    case REASON_EPT_VIOLATION:
        decode_npf(v, x);
        return;
    case REASON_EXTINT:
        x->kind = EXIT_INTERRUPT;
        x->interrupt.vector = INTR_INFO_VECTOR(vmcs_read32(EXIT_INTR_INFO));
        return;
    case REASON_PREEMPT_TIMER:
        x->kind = EXIT_TIMER;
        /* Usually nothing is pending here. But an emulator was seen that lets a guest with
         * RFLAGS.IF = 0 hold off external interrupts, and those of this CPU want to be heard now
         * and then. */
        __asm__ volatile("sti\n\tnop\n\tcli" ::: "memory");
        return;
    case REASON_CR_ACCESS:
        decode_cr(x);
        return;
    case REASON_EXCEPTION_NMI:
        decode_exception(v, x);
        return;
    case REASON_MACHINE_CHECK:
        x->kind = EXIT_NMI;
        __asm__ volatile("int $18");
        return;
    default:
        break;
    }
    u8 kind = reason < ARRAY_SIZE(plain_kinds) ? plain_kinds[reason] : 0;
    x->kind = kind ? kind - 1u : EXIT_UNKNOWN;
    if (x->kind == EXIT_UNDEFINED) {
        x->exception.event = guest_exception(reason == REASON_RDPMC ? 13 : 6);
    }
}

/* Bounds the stay in the guest. The CPU saves the timer at an exit, so it goes on where it was when
 * the fast way enters again. */
void vmx_arm_timer(struct vcpu *v)
{
    const struct cpu *c = cpu_this();
    u64 end = MIN(MIN(c->slice_end, c->deadline), v->apic.timer_tsc);
    s64 left = (s64)(end - arch_tsc());
    u64 most = arch_tsc_hz >> STAY_SHIFT, ticks = left > 0 ? MIN((u64)left, most) : 0;

    vmcs_write32(GUEST_PREEMPT_TIMER, ticks >> vmx_caps.timer_shift);
}

u32 vmx_exit_slow(struct vcpu *v, u32 fast_answer)
{
    struct exit x;
    bool again;

    if (fast_answer == VMX_LAUNCH) { /* settled already */
        v->launched = 1;
        vcpu_charge(v, arch_tsc());
        again = exit_hazards(v);
    } else {
        decode(v, &x);
        again = exit_settle(v, &x);
    }
    if (!again) {
        return VMX_LEAVE;
    }
    vmx_arm_timer(v);
    return v->launched ? VMX_RESUME : VMX_LAUNCH;
}

/* VMLAUNCH or VMRESUME refused a control or host field: our own doing, or state from ring 3 that we
 * did not expect. It ends this guest, nobody else. */
void vmx_entry_failed(struct vcpu *v)
{
    u32 error = vmcs_read32(INSTRUCTION_ERROR);

    vmcs_write32(ENTRY_INTR_INFO, 0);
    v->exits[EXIT_ENTRY_FAILURE]++;
    v->exit.kind = VX_ENTRY_FAILURE;
    v->exit.a = REASON_ENTRY_FAILURE | error << 16;
    v->exit.b = 0;
}

void vmx_run(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);
    u64 cr3 = read_cr3();

    if (UNLIKELY(cr3 != x->host_cr3)) { /* run by another process than last time */
        x->host_cr3 = cr3;
        vmcs_write(HOST_CR3, cr3);
    }
    vmx_arm_timer(v);
    vmx_enter(v);
}
