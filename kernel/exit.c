/* SPDX-License-Identifier: MIT */
/* The table that settles exits. Guests' mistakes are answered as the architecture says; nothing
 * here logs, but for the one report when a guest became impossible. */
#include "kernel/exit.h"

#include "arch/arch.h"
#include "kernel/cpuid.h"
#include "kernel/cr.h"
#include "kernel/hypercall.h"
#include "kernel/msr.h"
#include "kernel/sched.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/hw/kvm.h"
#include "lib/hw/x86.h"

static u64 read_gpr(struct vcpu *v, u32 index)
{
    return index == GPR_RSP ? virt->read(v, VIRT_RSP) : v->gpr[index];
}

static void write_gpr(struct vcpu *v, u32 index, u64 value)
{
    if (index == GPR_RSP) {
        virt->write(v, VIRT_RSP, value);
    } else {
        v->gpr[index] = value;
    }
}

/* The instruction that exited faults. The flags that a fault pushes have RF set. */
static enum exit_action fault(struct vcpu *v, const struct event *e)
{
    virt->write(v, VIRT_RFLAGS, virt->read(v, VIRT_RFLAGS) | RFLAGS_RF);
    vcpu_raise(v, e);
    return EXIT_RESUME;
}

static enum exit_action gp(struct vcpu *v)
{
    return fault(v, &(struct event){EVENT_HWEXC, 13, true, 0, 0});
}

static enum exit_action user(struct vcpu *v, u64 kind, u64 a, u64 b)
{
    v->exit.kind = kind;
    v->exit.a = a;
    v->exit.b = b;
    return EXIT_USER;
}

static enum exit_action on_cpuid(struct vcpu *v, UNUSED struct exit *x)
{
    cpuid_exec(v);
    return EXIT_ADVANCE;
}

/* An MSR that the kernel does not know, or will not take so. */
static enum exit_action other_msr(struct vcpu *v, u64 flags, u64 value)
{
    u32 index = (u32)v->gpr[GPR_RCX];

    if (index - MSR_KVM_FIRST >= MSR_KVM_COUNT) {
        return gp(v);
    }
    if (index == MSR_KVM_STEAL_TIME && !(flags & VX_MSR_READ)) { /* if ring 3 takes it or not */
        v->tell_wait_tsc = value & MSR_KVM_ENABLE ? 0 : VCPU_NEVER_TELL;
    }
    vcpu_tell_clock(v);
    return user(v, VX_MSR, index | flags, value);
}

static enum exit_action on_rdmsr(struct vcpu *v, UNUSED struct exit *x)
{
    return msr_exec_rdmsr(v) ? EXIT_ADVANCE : other_msr(v, VX_MSR_READ, 0);
}

static enum exit_action on_wrmsr(struct vcpu *v, UNUSED struct exit *x)
{
    return msr_exec_wrmsr(v) ? EXIT_ADVANCE
                             : other_msr(v, 0, (u32)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32);
}

static enum exit_action on_hypercall(struct vcpu *v, UNUSED struct exit *x)
{
    hypercall_exec(v, (u32)virt->read(v, VIRT_CPL));
    return EXIT_ADVANCE;
}

static enum exit_action on_io(struct vcpu *v, struct exit *x)
{
    u64 a = x->io.port | (u64)x->io.bytes << 16 | (x->io.in ? VX_IO_IN : 0);

    if (LIKELY(!x->io.string)) {
        return user(v, VX_IO, a, v->gpr[GPR_RAX] & (~0ull >> (64 - 8 * x->io.bytes)));
    }
    v->exit.d = x->io.address_bytes;
    return user(v, VX_IO, a | VX_IO_STRING | (x->io.rep ? VX_IO_REP : 0), 0);
}

static enum exit_action on_hlt(struct vcpu *v, UNUSED struct exit *x)
{
    /* exit_hazards() waits; but the trap of a single step comes at once */
    v->activity = virt->read(v, VIRT_RFLAGS) & RFLAGS_TF ? VCPU_ACTIVE : VCPU_HALTED;
    return EXIT_ADVANCE;
}

static enum exit_action on_pause(UNUSED struct vcpu *v, UNUSED struct exit *x)
{
    sched_pass(); /* it waits for another vCPU */
    return EXIT_RESUME;
}

static enum exit_action on_cr8_write(struct vcpu *v, const struct exit *x)
{
    u64 value = read_gpr(v, x->cr.gpr);
    if (value > 15) {
        return gp(v);
    }
    apic_set_cr8(v, (u32)value);
    return EXIT_ADVANCE;
}

static enum exit_action on_cr(struct vcpu *v, struct exit *x)
{
    const struct cr_state s = {virt->read(v, VIRT_CR0), virt->read(v, VIRT_CR3),
                               virt->read(v, VIRT_CR4), virt->read(v, VIRT_EFER),
                               virt->read(v, VIRT_CS_L)};

    if (!x->cr.write) {
        write_gpr(v, x->cr.gpr, x->cr.number == 8 ? apic_cr8(v) : s.cr4);
        return EXIT_ADVANCE;
    }
    if (x->cr.number == 8) {
        return on_cr8_write(v, x);
    }
    u64 value = read_gpr(v, x->cr.gpr);
    if (!(s.efer & EFER_LMA && s.cs_l)) {
        value = (u32)value;
    }
    if (x->cr.number == 0 && cr0_check(&s, value)) {
        return virt->write_owned(v, VIRT_CR0, value) ? EXIT_ADVANCE : EXIT_RESUME;
    }
    if (x->cr.number == 4 && cr4_check(&s, value, v->vm->cpuid->cr4_allowed)) {
        return virt->write_owned(v, VIRT_CR4, value) ? EXIT_ADVANCE : EXIT_RESUME;
    }
    return gp(v);
}

static enum exit_action on_dr(struct vcpu *v, UNUSED struct exit *x)
{
    virt_give_debug(v);
    return EXIT_RESUME;
}

static enum exit_action on_npf(struct vcpu *v, struct exit *x)
{
    switch (vm_touch(v->vm, GPA(x->npf.gpa), x->npf.access)) {
    case VM_TOUCH_OK:
        return EXIT_RESUME;
    case VM_TOUCH_NO_MEMORY:
        return user(v, VX_NO_MEMORY, x->npf.gpa, 0);
    default:
        break;
    }
    bool apic = ALIGN_DOWN(x->npf.gpa, PAGE_SIZE) == APIC_PAGE && apic_has_page(&v->apic);
    v->exit.c = x->npf.linear;
    v->exit.e = x->rip;
    return user(v, VX_MMIO, x->npf.gpa,
                x->npf.access | virt->code_mode(v, &v->exit.d) |
                    (v->event.type != EVENT_NONE ? VX_ACCESS_EVENT : 0) |
                    (apic ? VX_ACCESS_APIC : 0));
}

static enum exit_action on_interrupt(UNUSED struct vcpu *v, struct exit *x)
{
    if (x->interrupt.vector) {
        arch_interrupt(x->interrupt.vector);
    }
    return EXIT_RESUME;
}

static enum exit_action on_timer(UNUSED struct vcpu *v, UNUSED struct exit *x)
{
    const struct cpu *c = cpu_this();

    /* else it is the timer of v's APIC, which exit_hazards() looks at */
    if (arch_tsc() >= MIN(c->slice_end, c->deadline)) {
        sched_tick();
    }
    return EXIT_RESUME;
}

static enum exit_action on_window(struct vcpu *v, struct exit *x)
{
    virt->set_window(v, x->kind == EXIT_NMI_WINDOW ? WINDOW_NMI : WINDOW_INTERRUPT, false);
    vcpu_set_hazard(v, VCPU_HAZARD_EVENT);
    return EXIT_RESUME;
}

static enum exit_action on_exception(struct vcpu *v, struct exit *x)
{
    /* Intercepted because a guest could otherwise keep the CPU busy with delivering it for ever. */
    if (x->exception.event.vector == 1) {
        virt->write(v, VIRT_DR6, (virt->read(v, VIRT_DR6) & ~FIELD(3, 0)) | x->exception.debug);
        virt->write(v, VIRT_DR7, virt->read(v, VIRT_DR7) & ~DR7_GD);
        virt->write(v, VIRT_DEBUGCTL, 0); /* BTF, the only bit there may be, is cleared, too */
    }
    vcpu_raise(v, &x->exception.event);
    return EXIT_RESUME;
}

static enum exit_action on_xsetbv(struct vcpu *v, UNUSED struct exit *x)
{
    u64 value = (u32)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;

    /* Not all that run guests check the privilege level before the exit. */
    if (virt->read(v, VIRT_CPL) != 0 || (u32)v->gpr[GPR_RCX] != 0 ||
        !xcr0_check(value, v->vm->cpuid->xcr0)) {
        return gp(v);
    }
    virt->write(v, VIRT_XCR0, value);
    return EXIT_ADVANCE;
}

/* No device of a guest's looks at memory behind the caches' back, so there is nothing to write
 * back. */
static enum exit_action on_wbinvd(UNUSED struct vcpu *v, UNUSED struct exit *x)
{
    return EXIT_ADVANCE;
}

static enum exit_action on_undefined(struct vcpu *v, struct exit *x)
{
    return fault(v, &x->exception.event);
}

/* The CPU has carried out the EOI of a level-triggered interrupt. */
static enum exit_action on_eoi(struct vcpu *v, struct exit *x)
{
    apic_end_level(v, (u8)x->qualification);
    return EXIT_RESUME;
}

/* Something outside the guest's world that needs nothing more than to have left guest mode. */
static enum exit_action on_nothing(UNUSED struct vcpu *v, UNUSED struct exit *x)
{
    return EXIT_RESUME;
}

static enum exit_action on_triple_fault(struct vcpu *v, UNUSED struct exit *x)
{
    return user(v, VX_TRIPLE_FAULT, 0, 0);
}

static enum exit_action on_impossible(struct vcpu *v, struct exit *x)
{
    return user(v, x->kind == EXIT_ENTRY_FAILURE ? VX_ENTRY_FAILURE : VX_UNKNOWN, x->hw_reason,
                x->qualification);
}

static enum exit_action (*const handlers[EXIT_COUNT])(struct vcpu *v, struct exit *x) = {
    [EXIT_CPUID] = on_cpuid,
    [EXIT_RDMSR] = on_rdmsr,
    [EXIT_WRMSR] = on_wrmsr,
    [EXIT_HYPERCALL] = on_hypercall,
    [EXIT_IO] = on_io,
    [EXIT_HLT] = on_hlt,
    [EXIT_PAUSE] = on_pause,
    [EXIT_CR] = on_cr,
    [EXIT_DR] = on_dr,
    [EXIT_NPF] = on_npf,
    [EXIT_INTERRUPT] = on_interrupt,
    [EXIT_NMI] = on_nothing,
    [EXIT_TIMER] = on_timer,
    [EXIT_INTR_WINDOW] = on_window,
    [EXIT_NMI_WINDOW] = on_window,
    [EXIT_EXCEPTION] = on_exception,
    [EXIT_XSETBV] = on_xsetbv,
    [EXIT_WBINVD] = on_wbinvd,
    [EXIT_DESCRIPTOR] = on_impossible,
    [EXIT_UNDEFINED] = on_undefined,
    [EXIT_INIT] = on_nothing,
    [EXIT_SIPI] = on_nothing,
    [EXIT_EOI] = on_eoi,
    [EXIT_TRIPLE_FAULT] = on_triple_fault,
    [EXIT_ENTRY_FAILURE] = on_impossible,
    [EXIT_UNKNOWN] = on_impossible,
};

static void trace(const struct vcpu *v, const struct exit *x, u64 now)
{
    struct cpu *c = cpu_this();
    struct cpu_trace *t = &c->trace[c->trace_next++ % CPU_TRACE];

    t->tsc = now;
    t->rip = x->rip;
    t->kind = x->kind;
    t->vcpu = v->vm->id << 8 | v->index;
    t->info = x->qualification;
}

bool exit_settle(struct vcpu *v, struct exit *x)
{
    u64 now = arch_tsc();

    v->exits[x->kind]++;
    vcpu_charge(v, now);
    trace(v, x, now);
    switch (handlers[x->kind](v, x)) {
    case EXIT_USER:
        return false;
    case EXIT_ADVANCE:
        virt->advance(v, 0);
        break;
    case EXIT_RESUME:
        break;
    }
    return exit_hazards(v);
}
