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

/* What an exit code says by itself: the kind plus 1, 0: see decode(). */
#define SKIPPED BIT(7) /* the instruction's length matters */
static const u8 plain[0xa5] = {
    [0x04] = (EXIT_CR + 1) | SKIPPED, /* CR4 read */
    [0x14] = (EXIT_CR + 1) | SKIPPED, /* CR4 write */
    [0x18] = (EXIT_CR + 1) | SKIPPED, /* CR8 write */
    [0x20 ... 0x3f] = EXIT_DR + 1,    /* DR0 read to DR15 write */
    [SVM_MC] = EXIT_NMI + 1,          /* machine check */
    [SVM_INTR] = EXIT_INTERRUPT + 1,
    [0x61] = EXIT_NMI + 1,               /* NMI */
    [0x63] = EXIT_INIT + 1,              /* INIT */
    [0x64] = EXIT_INTR_WINDOW + 1,       /* VINTR */
    [0x72] = (EXIT_CPUID + 1) | SKIPPED, /* CPUID */
    [SVM_IRET] = EXIT_NMI_WINDOW + 1,
    [0x76] = (EXIT_WBINVD + 1) | SKIPPED, /* INVD */
    [SVM_PAUSE] = EXIT_PAUSE + 1,
    [0x78] = (EXIT_HLT + 1) | SKIPPED, /* HLT */
    [SVM_MSR] = (EXIT_RDMSR + 1) | SKIPPED,
    [0x7f] = EXIT_TRIPLE_FAULT + 1,          /* shutdown */
    [0x81] = (EXIT_HYPERCALL + 1) | SKIPPED, /* VMMCALL */
    [SVM_ICEBP] = (EXIT_EXCEPTION + 1) | SKIPPED,
    [0x89] = (EXIT_WBINVD + 1) | SKIPPED, /* WBINVD */
    [0x8d] = (EXIT_XSETBV + 1) | SKIPPED, /* XSETBV */
    /* instructions that do not exist for a guest; RDPMC does, but there are no counters */
    [SVM_RDPMC] = EXIT_UNDEFINED + 1,
    [SVM_FERR] = EXIT_UNDEFINED + 1,
    [0x73] = EXIT_UNDEFINED + 1,          /* RSM */
    [0x7a] = EXIT_UNDEFINED + 1,          /* INVLPGA */
    [0x80] = EXIT_UNDEFINED + 1,          /* VMRUN */
    [0x82 ... 0x86] = EXIT_UNDEFINED + 1, /* VMLOAD to SKINIT */
    [0x8a ... 0x8c] = EXIT_UNDEFINED + 1, /* MONITOR, MWAIT */
    [0x8e] = EXIT_UNDEFINED + 1,          /* RDPRU */
    [0xa0 ... 0xa4] = EXIT_UNDEFINED + 1, /* INVLPGB to TLBSYNC */
};

/* Does the CPU tell what has to be known about the instruction? */
static bool is_told(const struct vmcb *c)
{
    bool next = svm_caps.features & SVM_FEATURE_NEXT_RIP;

    if (c->exit_code >= ARRAY_SIZE(plain) || !(plain[c->exit_code] & SKIPPED)) {
        return true;
    }
    return next && (c->exit_code >= SVM_DR0_READ || c->exit_info1 & CR_MOV);
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
    u8 kind = code < ARRAY_SIZE(plain) ? plain[code] & ~(u8)SKIPPED : 0;

    x->kind = kind ? kind - 1u : EXIT_UNKNOWN;
    switch (code) {
    case SVM_MSR:
        x->kind = c->exit_info1 ? EXIT_WRMSR : EXIT_RDMSR;
        break;
    case SVM_INTR: /* it is pending still */
        __asm__ volatile("sti\n\tnop\n\tcli" ::: "memory");
        x->interrupt.vector = 0;
        break;
    case SVM_MC:
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
    } else if (c->exit_code - SVM_EXCEPTION < 32 && c->exit_code != SVM_MC) {
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
    c->tsc_offset = v->tsc_offset;
    c->star = v->star;
    c->lstar = v->lstar;
    c->cstar = v->cstar;
    c->fmask = v->fmask;
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
