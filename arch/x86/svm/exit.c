/* SPDX-License-Identifier: MIT */
/*
 * From VM exit to VM entry: the translation of the hardware's words into struct exit. Nothing is
 * settled on the spot. What a CPU without next-RIP save or decode assists does not tell about an
 * instruction, ring 3 decodes (VX_DECODE); the exit is settled with its answer.
 */
#include "kernel/exit.h"

#include "arch/arch.h"
#include "arch/x86/lapic.h"
#include "arch/x86/svm/svm.h"
#include "lib/hw/x86.h"

/* Without a pause filter, a loop that waits may go on for 1/16384 s between two exits. */
#define PAUSED_SHIFT 14

/* What an exit code says: the kind plus 1. */
#define SKIPPED BIT(7) /* the instruction's length matters */
static const u8 kinds[0xa5] = {
    [0x04] = (EXIT_CR + 1) | SKIPPED, /* CR4 read */
    [0x14] = (EXIT_CR + 1) | SKIPPED, /* CR4 write */
    [0x18] = (EXIT_CR + 1) | SKIPPED, /* CR8 write */
    [0x20 ... 0x3f] = EXIT_DR + 1,    /* DR0 read to DR15 write */
    /* intercepted, because a guest could otherwise keep the CPU busy with them for ever */
    [SVM_DB] = EXIT_EXCEPTION + 1,
    [SVM_AC] = EXIT_EXCEPTION + 1,
    [SVM_MC] = EXIT_NMI + 1,
    [0x60] = EXIT_INTERRUPT + 1,          /* INTR */
    [0x61] = EXIT_NMI + 1,                /* NMI */
    [0x63] = EXIT_INIT + 1,               /* INIT */
    [0x64] = EXIT_INTR_WINDOW + 1,        /* VINTR */
    [0x72] = (EXIT_CPUID + 1) | SKIPPED,  /* CPUID */
    [0x74] = EXIT_NMI_WINDOW + 1,         /* IRET */
    [0x76] = (EXIT_WBINVD + 1) | SKIPPED, /* INVD */
    [SVM_PAUSE] = EXIT_PAUSE + 1,
    [0x78] = (EXIT_HLT + 1) | SKIPPED,       /* HLT */
    [0x7b] = EXIT_IO + 1,                    /* IN, OUT, INS, OUTS */
    [0x7c] = (EXIT_RDMSR + 1) | SKIPPED,     /* and WRMSR */
    [0x7f] = EXIT_TRIPLE_FAULT + 1,          /* shutdown */
    [0x81] = (EXIT_HYPERCALL + 1) | SKIPPED, /* VMMCALL */
    [SVM_ICEBP] = (EXIT_EXCEPTION + 1) | SKIPPED,
    [0x89] = (EXIT_WBINVD + 1) | SKIPPED, /* WBINVD */
    [0x8d] = (EXIT_XSETBV + 1) | SKIPPED, /* XSETBV */
};

/* Does the CPU tell what has to be known about the instruction? */
static bool is_told(const struct vmcb *c)
{
    bool matters = c->exit_code < ARRAY_SIZE(kinds) && kinds[c->exit_code] & SKIPPED;
    bool is_gpr_told = c->exit_code >= SVM_DR0_READ || c->exit_info1 & CR_MOV;

    return !matters || (svm_caps.features & SVM_FEATURE_NEXT_RIP && is_gpr_told);
}

/* Instructions that exit and have no kind there do not exist for a guest (RDPMC does, but there are
 * no counters). */
static u32 kind_of(u64 code)
{
    if (code < ARRAY_SIZE(kinds) && (kinds[code] || code >= SVM_RDPMC)) {
        return kinds[code] ? (kinds[code] & ~(u32)SKIPPED) - 1 : EXIT_UNDEFINED;
    }
    return code == SVM_NPF ? EXIT_NPF : code >= SVM_INVALID ? EXIT_ENTRY_FAILURE : EXIT_UNKNOWN;
}

static void decode_io(struct svm_vcpu *s, struct exit *x)
{
    u32 info = (u32)x->qualification;

    x->io.port = IO_PORT(info);
    x->io.bytes = IO_BYTES(info);
    x->io.in = info & IO_IN;
    x->io.string = info & IO_STRING;
    x->io.rep = info & IO_REP;
    x->io.address_bytes = IO_ADDRESS(info);
    s->next_rip = s->vmcb.exit_info2;
}

/* The linear address is not told. */
static void decode_npf(const struct vmcb *c, struct exit *x)
{
    u64 info = c->exit_info1;

    x->npf.gpa = c->exit_info2;
    x->npf.access = (info & NPF_FETCH   ? VX_ACCESS_EXEC
                     : info & NPF_WRITE ? VX_ACCESS_WRITE
                                        : VX_ACCESS_READ) |
                    (info & NPF_WALK ? VX_ACCESS_WALK : 0);
}

static void decode_exception(struct svm_vcpu *s, struct exit *x, bool own_step)
{
    struct vmcb *c = &s->vmcb;

    if (c->exit_code == SVM_ICEBP) { /* a trap, but the exit comes before it */
        c->rip = s->next_rip;
        x->exception.event = (struct event){EVENT_PRIV_SWEXC, 1, false, 0, 0};
        return;
    }
    x->exception.event = guest_exception((u8)(c->exit_code & 31));
    if (c->exit_code == SVM_DB && own_step) {
        c->dr6 &= ~DR6_BS;
    }
    x->exception.debug = c->dr6 & (FIELD(3, 0) | DR6_BD | DR6_BS);
    if (c->exit_code == SVM_DB && own_step && !x->exception.debug) {
        x->kind = EXIT_NMI_WINDOW;
    }
}

static void decode(struct vcpu *v, struct exit *x, bool own_step)
{
    struct svm_vcpu *s = svm_of(v);
    struct vmcb *c = &s->vmcb;

    *x = (struct exit){
        .kind = kind_of(c->exit_code),
        .hw_reason = (u32)c->exit_code,
        .qualification = c->exit_info1,
        .rip = c->rip,
    };
    switch (x->kind) {
    case EXIT_IO:
        decode_io(s, x);
        break;
    case EXIT_NPF:
        decode_npf(c, x);
        break;
    case EXIT_EXCEPTION:
        decode_exception(s, x, own_step);
        break;
    case EXIT_UNDEFINED: /* FERR: as if CR0.NE were set */
        x->exception.event = guest_exception(x->hw_reason == SVM_RDPMC  ? 13
                                             : x->hw_reason == SVM_FERR ? 16
                                                                        : 6);
        break;
    case EXIT_CR:
        x->cr.number = x->hw_reason & 15;
        x->cr.write = x->hw_reason >= SVM_CR0_WRITE;
        x->cr.gpr = c->exit_info1 & CR_MOV ? c->exit_info1 & 15 : s->gpr;
        break;
    case EXIT_RDMSR:
        x->kind = c->exit_info1 ? EXIT_WRMSR : EXIT_RDMSR;
        break;
    case EXIT_INTERRUPT: /* it is pending still */
        __asm__ volatile("sti\n\tnop\n\tcli" ::: "memory");
        break;
    case EXIT_NMI:
        if (x->hw_reason == SVM_MC) {
            __asm__ volatile("int $18");
        }
        break;
    case EXIT_NMI_WINDOW:
        svm_note_iret(v);
        break;
    default:
        break;
    }
}

bool svm_decoded(struct vcpu *v, u32 length, u32 gpr)
{
    struct svm_vcpu *s = svm_of(v);
    struct exit x;

    s->next_rip = s->vmcb.rip + length;
    s->gpr = (u8)gpr;
    decode(v, &x, false);
    return exit_settle(v, &x);
}

/* Enters once. True: x says why the guest was left. False: ring 3 is asked first. */
static bool enter(struct vcpu *v, struct exit *x)
{
    struct svm_vcpu *s = svm_of(v);
    struct vmcb *c = &s->vmcb;
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
    u64 end = MIN(cpu_this()->slice_end, v->apic.timer_tsc);
    if (s->paused) {
        c->intercept[0] &= ~(u32)INTERCEPT_PAUSE;
        end = MIN(end, arch_tsc() + (arch_tsc_hz >> PAUSED_SHIFT));
    }
    lapic_timer_bound(end);
    svm_enter(v, arch_pool_hpa(c).v, arch_pool_hpa(host->host).v);
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
