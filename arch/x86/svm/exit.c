/* SPDX-License-Identifier: MIT */
/*
 * From VM exit to VM entry: the translation of the hardware's words into struct exit. Nothing is
 * settled on the spot. What a CPU without next-RIP save or decode assists does not tell about an
 * instruction, ring 3 decodes (VX_DECODE); the exit is settled with its answer.
 */
#include "kernel/exit.h"

#include "arch/arch.h"
#include "arch/x86/guest.h"
#include "arch/x86/lapic.h"
#include "arch/x86/svm/svm.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"

/* Without a pause filter, a loop that waits may go on for 1/16384 s between two exits. */
#define PAUSED_SHIFT 14

/* What an exit code says by itself. */
static const struct plain {
    u8 kind;      /* plus 1; 0: see decode() */
    bool skipped; /* the instruction's length matters */
} plain[SVM_TLBSYNC + 1] = {
    [SVM_CR0_READ + 4] = {EXIT_CR + 1,           true },
    [SVM_CR0_WRITE + 4] = {EXIT_CR + 1,           true },
    [SVM_CR0_WRITE + 8] = {EXIT_CR + 1,           true },
    [SVM_DR0_READ... SVM_DR15_WRITE] = {EXIT_DR + 1,           false},
    [SVM_EXCEPTION + 18] = {EXIT_NMI + 1,          false},
    [SVM_INTR] = {EXIT_INTERRUPT + 1,    false},
    [SVM_NMI] = {EXIT_NMI + 1,          false},
    [SVM_INIT] = {EXIT_INIT + 1,         false},
    [SVM_VINTR] = {EXIT_INTR_WINDOW + 1,  false},
    [SVM_CPUID] = {EXIT_CPUID + 1,        true },
    [SVM_IRET] = {EXIT_NMI_WINDOW + 1,   false},
    [SVM_INVD] = {EXIT_WBINVD + 1,       true },
    [SVM_WBINVD] = {EXIT_WBINVD + 1,       true },
    [SVM_PAUSE] = {EXIT_PAUSE + 1,        false},
    [SVM_HLT] = {EXIT_HLT + 1,          true },
    [SVM_MSR] = {EXIT_RDMSR + 1,        true },
    [SVM_SHUTDOWN] = {EXIT_TRIPLE_FAULT + 1, false},
    [SVM_VMMCALL] = {EXIT_HYPERCALL + 1,    true },
    [SVM_ICEBP] = {EXIT_EXCEPTION + 1,    true },
    [SVM_XSETBV] = {EXIT_XSETBV + 1,       true },
 /* instructions that do not exist for a guest; RDPMC does, but there are no counters */
    [SVM_RDPMC] = {EXIT_UNDEFINED + 1,    false},
    [SVM_FERR] = {EXIT_UNDEFINED + 1,    false},
    [SVM_RSM] = {EXIT_UNDEFINED + 1,    false},
    [SVM_INVLPGA] = {EXIT_UNDEFINED + 1,    false},
    [SVM_VMRUN] = {EXIT_UNDEFINED + 1,    false},
    [SVM_VMLOAD... SVM_SKINIT] = {EXIT_UNDEFINED + 1,    false},
    [SVM_MONITOR... SVM_MWAIT_ARMED] = {EXIT_UNDEFINED + 1,    false},
    [SVM_RDPRU] = {EXIT_UNDEFINED + 1,    false},
    [SVM_INVLPGB... SVM_TLBSYNC] = {EXIT_UNDEFINED + 1,    false},
};

static bool is_cr(u64 code)
{
    return code < SVM_DR0_READ;
}

/* Does the CPU tell what has to be known about the instruction? */
static bool is_told(const struct vmcb *c)
{
    bool next = svm_caps.features & SVM_FEATURE_NEXT_RIP;

    if (c->exit_code >= ARRAY_SIZE(plain) || !plain[c->exit_code].skipped) {
        return true;
    }
    return is_cr(c->exit_code) ? next && c->exit_info1 & CR_MOV : next;
}

static void decode_io(struct svm_vcpu *s, struct exit *x)
{
    u32 info = (u32)x->qualification;

    x->kind = EXIT_IO;
    x->io.port = IO_PORT(info);
    x->io.bytes = IO_BYTES(info);
    x->io.in = info & IO_IN;
    x->io.string = info & IO_STRING;
    x->io.rep = info & IO_REP;
    x->io.address_bytes = IO_ADDRESS(info);
    s->next_rip = s->vmcb->exit_info2;
}

/* The linear address is not told. */
static void decode_npf(const struct vmcb *c, struct exit *x)
{
    u64 info = c->exit_info1;

    x->kind = EXIT_NPF;
    x->npf.gpa = c->exit_info2;
    x->npf.linear = 0;
    x->npf.access = (info & NPF_FETCH   ? VX_ACCESS_EXEC
                     : info & NPF_WRITE ? VX_ACCESS_WRITE
                                        : VX_ACCESS_READ) |
                    (info & NPF_WALK ? VX_ACCESS_WALK : 0);
}

/* Intercepted: #DB and #AC, which a guest could otherwise keep the CPU busy with for ever. */
static void decode_exception(struct vmcb *c, struct exit *x, bool own_step)
{
    u8 vector = (u8)(c->exit_code - SVM_EXCEPTION);

    x->kind = vector == 1 || vector == 17 ? EXIT_EXCEPTION : EXIT_UNKNOWN;
    x->exception.event = (struct event){EVENT_HWEXC, vector, vector == 17, 0, 0};
    if (vector == 1 && own_step) {
        c->dr6 &= ~DR6_BS;
    }
    x->exception.debug = c->dr6 & (FIELD(3, 0) | DR6_BD | DR6_BS);
    if (own_step && vector == 1 && !x->exception.debug) {
        x->kind = EXIT_NMI_WINDOW;
    }
}

static void decode_plain(struct vcpu *v, struct exit *x)
{
    struct svm_vcpu *s = svm_of(v);
    struct vmcb *c = s->vmcb;
    u64 code = c->exit_code;
    u8 kind = code < ARRAY_SIZE(plain) ? plain[code].kind : 0;

    x->kind = kind ? kind - 1u : EXIT_UNKNOWN;
    switch (code) {
    case SVM_MSR:
        x->kind = c->exit_info1 ? EXIT_WRMSR : EXIT_RDMSR;
        break;
    case SVM_INTR: /* it is pending still */
        __asm__ volatile("sti\n\tnop\n\tcli" ::: "memory");
        x->interrupt.vector = 0;
        break;
    case SVM_EXCEPTION + 18:
        __asm__ volatile("int $18");
        break;
    case SVM_IRET:
        svm_note_iret(v);
        break;
    case SVM_ICEBP: /* a trap, but the exit comes before it */
        c->rip = s->next_rip;
        x->exception.event = (struct event){EVENT_PRIV_SWEXC, 1, false, 0, 0};
        x->exception.debug = 0;
        break;
    case SVM_RDPMC:
        x->exception.event = (struct event){EVENT_HWEXC, 13, true, 0, 0};
        break;
    case SVM_FERR: /* as if CR0.NE were set */
        x->exception.event = (struct event){EVENT_HWEXC, 16, false, 0, 0};
        break;
    default:
        if (x->kind == EXIT_UNDEFINED) {
            x->exception.event = (struct event){EVENT_HWEXC, 6, false, 0, 0};
        } else if (x->kind == EXIT_CR) {
            x->cr.number = code & 15;
            x->cr.write = code >= SVM_CR0_WRITE;
            x->cr.gpr = c->exit_info1 & CR_MOV ? c->exit_info1 & 15 : s->gpr;
        }
        break;
    }
}

static void decode(struct vcpu *v, struct exit *x, bool own_step)
{
    struct svm_vcpu *s = svm_of(v);
    struct vmcb *c = s->vmcb;

    x->hw_reason = (u32)c->exit_code;
    x->qualification = c->exit_info1;
    x->rip = c->rip;
    if (x->hw_reason == (u32)SVM_INVALID) {
        x->kind = EXIT_ENTRY_FAILURE;
    } else if (c->exit_code == SVM_IO) {
        decode_io(s, x);
    } else if (c->exit_code == SVM_NPF) {
        decode_npf(c, x);
    } else if (c->exit_code - SVM_EXCEPTION < 32 && c->exit_code != SVM_EXCEPTION + 18) {
        decode_exception(c, x, own_step);
    } else {
        decode_plain(v, x);
    }
}

bool svm_decoded(struct vcpu *v, u32 length, u32 gpr)
{
    struct svm_vcpu *s = svm_of(v);
    struct exit x;

    s->next_rip = s->vmcb->rip + length;
    s->gpr = (u8)gpr;
    decode(v, &x, false);
    return exit_settle(v, &x);
}

/* Enters once. True: x says why the guest was left. False: ring 3 is asked first. */
static bool enter(struct vcpu *v, struct exit *x)
{
    struct svm_vcpu *s = svm_of(v);
    struct vmcb *c = s->vmcb;
    const struct svm_cpu *host = cpu_this()->virt;

    svm_use_tag(v);
    svm_arm_windows(v);
    c->rax = v->gpr[GPR_RAX];
    c->cr2 = v->cr2;
    c->cstar = v->cstar;
    if (UNLIKELY(!s->checked)) {
        s->checked = true;
        svm_check(v);
    }
    u64 end = MIN(cpu_this()->slice_end, v->apic.timer_tsc);
    if (s->paused) {
        c->intercept[0] &= ~(u32)INTERCEPT_PAUSE;
        end = MIN(end, arch_tsc() + (arch_tsc_hz >> PAUSED_SHIFT));
    }
    lapic_timer_bound(end);
    svm_enter(v, arch_pool_hpa(c).v, host->host.v);
    v->gpr[GPR_RAX] = c->rax;
    v->cr2 = c->cr2;
    guest_fpu_sync(v);
    s->next_rip = c->next_rip;
    s->paused = c->exit_code == SVM_PAUSE && !(svm_caps.features & SVM_FEATURE_PAUSE_FILTER);
    c->intercept[0] |= (u32)INTERCEPT_PAUSE;
    bool own_step = svm_take_events(v);
    if (UNLIKELY(!is_told(c))) {
        v->exit.kind = VX_DECODE;
        v->exit.a = c->exit_code;
        return false;
    }
    decode(v, x, own_step);
    return true;
}

void svm_run(struct vcpu *v)
{
    struct exit x;

    while (enter(v, &x) && exit_settle(v, &x)) {
    }
}

/* The next entry looks at it. */
void svm_timer_changed(struct vcpu *v)
{
    (void)v;
}
