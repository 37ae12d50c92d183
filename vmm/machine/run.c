/* SPDX-License-Identifier: MIT */
/*
 * The run loop of a vCPU's thread. Port accesses are settled right here; all the rest is slow and
 * goes through a copy of the vCPU's state. The machine's lock is held while devices are accessed
 * and, for good, by whoever ends the machine.
 */
#include "lib/format.h"
#include "lib/hw/x86.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/walk.h"
#include "vmm/sys.h"

#define INTERRUPTIBILITY_STI_MOVSS FIELD(1, 0)
#define PENDING_DEBUG_BS           BIT(14)

/* The kernel refuses what the VMM asks for. */
static NORETURN void broken(struct vcpu *v, const char *call, s64 result)
{
    machine_lock(v->machine);
    machine_end(v->machine, GUEST_VMM_FAULT, "%s: result %ld", call, result);
}

static void get_state(struct vcpu *v, u64 groups)
{
    s64 e = sys_vcpu_get(v->handle, &v->state, groups);

    if (e) {
        broken(v, "vcpu_get", e);
    }
}

static void set_state(struct vcpu *v, u64 groups)
{
    s64 e = sys_vcpu_set(v->handle, &v->state, groups);

    if (e) {
        broken(v, "vcpu_set", e);
    }
}

static void inject(struct vcpu *v, const struct fault *f)
{
    s64 e = sys_vcpu_inject(v->handle, f->vector, f->flags, f->error, f->address);

    if (e < 0) {
        broken(v, "vcpu_inject", e);
    }
}

/* The guest cannot go on: registers on its console, and the end. */
static NORETURN PRINTF(2, 3) void crash(struct vcpu *v, const char *format, ...)
{
    char reason[START_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    format_vbuffer(reason, sizeof(reason), format, args);
    va_end(args);
    get_state(v, VCPU_STATE_ALL);
    machine_lock(v->machine);
    console_line(v->machine, "%s at rip=%04x:%lx on vcpu %u", reason,
                 (u32)v->state.seg[SEG_CS].selector, v->state.rip, v->index);
    dump_state(v->machine, &v->state);
    machine_end(v->machine, GUEST_CRASH, "%s", reason);
}

/* Single-step: a trap after what was done now. */
static void note_step(struct vcpu *v)
{
    if (!(v->state.rflags & RFLAGS_TF)) {
        return;
    }
    get_state(v, VCPU_STATE_MSR);
    if (!(v->state.msr_debugctl & DEBUGCTL_BTF)) {
        v->state.pending_debug |= PENDING_DEBUG_BS;
        set_state(v, VCPU_STATE_MSR);
    }
}

/* An emulated instruction is done: past it, as the CPU would. */
static void step_over(struct vcpu *v, u8 length)
{
    struct vcpu_state *s = &v->state;

    s->rip += length;
    if (!walk_in_long_mode(s)) {
        s->rip &= 0xffffffff;
    }
    note_step(v);
    s->rflags &= ~RFLAGS_RF;
    s->interruptibility &= ~(u32)INTERRUPTIBILITY_STI_MOVSS;
    set_state(v, VCPU_STATE_GPR | VCPU_STATE_EVENT);
}

/* Devices, and the vCPU's own APIC page, are being accessed for v. */
static void lock_for(struct vcpu *v)
{
    machine_lock(v->machine);
    v->machine->access = v;
}

static u64 string_io(struct vcpu *v, const struct vcpu_exit *x)
{
    struct fault fault;

    get_state(v, VCPU_STATE_GPR | VCPU_STATE_SYS);
    lock_for(v);
    enum emulate_result result = emulate_string_io(&v->machine->board, &v->state, x, &fault);
    machine_unlock(v->machine);
    set_state(v, VCPU_STATE_GPR);
    if (result == EMULATE_FAULT) {
        inject(v, &fault);
    } else if (result == EMULATE_AGAIN) {
        note_step(v);
    }
    return result == EMULATE_DONE ? VCPU_RUN_ADVANCE : VCPU_RUN_RETRY;
}

/* By the whole state, which costs the most. */
static void mmio_slow(struct vcpu *v, const struct vcpu_exit *x)
{
    struct machine *m = v->machine;
    struct fetched f = {0};
    struct fault fault;

    if (x->b & VX_ACCESS_EXEC) {
        crash(v, "execution of unmapped guest-physical address %lx", x->a);
    }
    if ((x->b & VX_ACCESS_EVENT) && !(x->b & VX_ACCESS_WALK)) { /* no instruction did it */
        crash(v, "delivery of an event through unmapped guest-physical address %lx", x->a);
    }
    get_state(v, VCPU_STATE_GPR | VCPU_STATE_SYS | VCPU_STATE_EVENT);
    if (x->b & VX_ACCESS_WALK && x->b & VX_ACCESS_LINEAR_VALID) { /* else our own walk shows it */
        emulate_walk_fault(&v->state, GVA(x->c), &fault);
        inject(v, &fault);
        return;
    }
    lock_for(v);
    enum emulate_result result = emulate_mmio(&m->board, &v->cache, &v->state, &f, &fault);
    machine_unlock(m);
    switch (result) {
    case EMULATE_DONE:
        step_over(v, f.insn.length);
        break;
    case EMULATE_AGAIN:
        note_step(v);
        set_state(v, VCPU_STATE_GPR);
        break;
    case EMULATE_FAULT:
        set_state(v, VCPU_STATE_GPR);
        inject(v, &fault);
        break;
    case EMULATE_UNKNOWN:
        crash(v,
              "access to unmapped guest-physical address %lx by an unknown instruction "
              "(%02x %02x %02x %02x %02x %02x %02x %02x)",
              x->a, f.bytes[0], f.bytes[1], f.bytes[2], f.bytes[3], f.bytes[4], f.bytes[5],
              f.bytes[6], f.bytes[7]);
    }
}

static u64 mmio(struct vcpu *v, struct vcpu_exit *x, u64 *value)
{
    const u64 looked_at = VX_ACCESS_CODE64 | VX_ACCESS_LINEAR_VALID;

    if (UNLIKELY((x->b & looked_at) == VX_ACCESS_LINEAR_VALID)) {
        get_state(v, VCPU_STATE_SYS);
    }
    lock_for(v);
    u64 flags = emulate_cached(&v->machine->board, &v->cache, &v->state, x, value);
    machine_unlock(v->machine);
    if (!flags) {
        mmio_slow(v, x);
        return VCPU_RUN_RETRY;
    }
    return flags;
}

/* What some CPUs do not tell: how long the instruction is, and its register. */
static u64 describe(struct vcpu *v)
{
    struct fetched f = {0};
    struct fault fault;

    get_state(v, VCPU_STATE_GPR | VCPU_STATE_SYS);
    switch (emulate_fetch_system(&v->machine->board, &v->state, &f, &fault)) {
    case EMULATE_DONE:
        return (u64)f.insn.length << VCPU_RUN_LENGTH_SHIFT | (u64)f.insn.reg << VCPU_RUN_GPR_SHIFT;
    case EMULATE_FAULT: /* its page went since then */
        inject(v, &fault);
        break;
    default: /* it was changed since then */
        break;
    }
    return VCPU_RUN_RETRY;
}

/* The CPU's answer to INTR, and what follows an EOI. */
static u64 interrupt(struct vcpu *v, s64 kind, const struct vcpu_exit *x, u64 *value)
{
    struct machine *m = v->machine;

    machine_lock(m);
    if (kind == VX_INTA) {
        *value = (u64)i8259_acknowledge(&m->pic);
    } else {
        ioapic_eoi(&m->ioapic, (u8)x->a);
    }
    machine_unlock(m);
    return kind == VX_INTA ? VCPU_RUN_VALUE : VCPU_RUN_RETRY;
}

/* The paravirtual clock's registers, and what changes it. */
static u64 clock(struct vcpu *v, s64 kind, const struct vcpu_exit *x, u64 *value)
{
    const struct fault gp = {.vector = 13, .flags = VCPU_INJECT_ERROR_CODE};
    const struct pvclock_times times = {x->c, x->d};
    struct pvclock *p = &v->machine->pvclock;
    bool ok = true;

    machine_lock(v->machine);
    pvclock_update(p, v->index, &times);
    if (kind == VX_MSR) {
        ok = x->a & VX_MSR_READ ? pvclock_read(p, v->index, (u32)x->a, value)
                                : pvclock_write(p, v->index, (u32)x->a, x->b);
    }
    machine_unlock(v->machine);
    if (!ok) {
        inject(v, &gp);
    }
    if (kind == VX_CLOCK || !ok) {
        return VCPU_RUN_RETRY;
    }
    return VCPU_RUN_ADVANCE | (x->a & VX_MSR_READ ? VCPU_RUN_VALUE : 0);
}

/* Every exit but plain port accesses. Returns VCPU_RUN_* for the next entry, with *value. */
static u64 settle(struct vcpu *v, s64 kind, struct vcpu_exit *x, u64 *value)
{
    switch (kind) {
    case VX_INTA:
    case VX_EOI:
        return interrupt(v, kind, x, value);
    case VX_IO:
        return string_io(v, x);
    case VX_MMIO:
        return mmio(v, x, value);
    case VX_DECODE:
        return describe(v);
    case VX_KICKED:
        report_vcpu(v, false, 0); /* waits for the lock: the machine may be held */
        return VCPU_RUN_RETRY;
    case VX_MSR:
    case VX_CLOCK:
        return clock(v, kind, x, value);
    case VX_HALTED:
        crash(v, "halted with interrupts off");
    case VX_TRIPLE_FAULT:
        crash(v, "triple fault");
    case VX_ENTRY_FAILURE:
        report_vcpu(v, true, x->a);
        crash(v, "the CPU refuses the guest's state (reason %lx, qualification %lx)", x->a, x->b);
    case VX_NO_MEMORY:
        crash(v, "no memory is left for guest-physical address %lx", x->a);
    case VX_UNKNOWN:
        report_vcpu(v, true, x->a);
        crash(v, "unknown VM exit (reason %lx, qualification %lx)", x->a, x->b);
    default:
        broken(v, "vcpu_run", kind);
    }
}

void vcpu_loop(struct vcpu *v)
{
    struct machine *m = v->machine;
    u64 flags = VCPU_RUN_RETRY;
    u64 value = 0;
    struct vcpu_exit x;

    report_vcpu(v, false, 0);
    for (;;) {
        s64 kind = sys_vcpu_run(v->handle, flags, value, &x);

        if (UNLIKELY(kind != VX_IO || (x.a & VX_IO_STRING))) {
            flags = settle(v, kind, &x, &value);
            continue;
        }
        u16 port = (u16)x.a;
        u8 bytes = (u8)(x.a >> 16);
        const struct host_ports *p = bus_find_port(&m->board.bus, port, bytes);
        machine_lock(m);
        if (x.a & VX_IO_IN) { /* the kernel takes no more than the bytes that were asked for */
            value = p ? p->read(p->device, (u16)(port - p->base), bytes) : ~0ull;
            flags = VCPU_RUN_ADVANCE | VCPU_RUN_VALUE;
        } else {
            flags = VCPU_RUN_ADVANCE;
            if (p) {
                p->write(p->device, (u16)(port - p->base), bytes, (u32)x.b);
            }
        }
        machine_unlock(m);
    }
}
