/* SPDX-License-Identifier: MIT */
/* Virtual CPUs: life, residency on a CPU, and the system call that runs one. */
#include "kernel/vcpu.h"

#include "arch/arch.h"
#include "kernel/exit.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/msr.h"
#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"

/* What a vCPU's payer is charged for besides struct vcpu: the APIC page, the backend's pages (VMCS,
 * FPU) and its record. */
#define VCPU_EXTRA_BYTES (4 * PAGE_SIZE)

/* Messages from other vCPUs of the vm find v from now on, or not any more. */
static void publish(struct vcpu *v, bool there)
{
    spin_lock(&v->vm->cpus_lock);
    v->vm->vcpus[v->index] = there ? v : NULL;
    spin_unlock(&v->vm->cpus_lock);
}

int vcpu_create(struct vm *vm, u32 index, struct vcpu **out)
{
    if (index >= vm->cpus) {
        return E_INVAL;
    }
    if (vm->vcpus[index]) {
        return E_BUSY;
    }
    struct vcpu *v = process_kalloc_with(vm->payer, sizeof(*v), VCPU_EXTRA_BYTES);
    if (!v) {
        return E_NO_MEMORY;
    }
    v->object = (struct object){OBJECT_VCPU, 1, NULL};
    v->vm = vm;
    v->index = index;
    v->cpu = -1;
    v->event.type = EVENT_NONE;
    v->exit.kind = VX_KICKED; /* nothing that ring 3 could complete */
    v->tell_wait_tsc = VCPU_NEVER_TELL;
    msr_reset(v);
    int error = E_NO_MEMORY;
    hpa_t page = kmem_page_alloc();
    if (!page.v) {
        goto undo_vcpu;
    }
    apic_create(v, arch_pool_ptr(page));
    v->activity = index ? VCPU_WAIT_SIPI : VCPU_ACTIVE;
    v->dead = index != 0;
    error = virt->vcpu_create(v);
    if (error) {
        goto undo_page;
    }
    object_ref(&vm->object);
    publish(v, true);
    *out = v;
    return E_OK;

undo_page:
    kmem_page_free(page);
undo_vcpu:
    process_kfree(vm->payer, v, sizeof(*v) + VCPU_EXTRA_BYTES);
    return error;
}

void vcpu_destroy(struct object *o)
{
    struct vcpu *v = CONTAINER_OF(o, struct vcpu, object);
    struct vm *vm = v->vm;

    ASSERT(v->cpu == -1 && !v->thread);
    publish(v, false);
    for (u32 k = 0; k < EXIT_COUNT; k++) {
        vm->exits[k] += v->exits[k];
    }
    vm->guest_tsc += v->guest_tsc;
    if (v->start_tsc && (!vm->start_tsc || v->start_tsc < vm->start_tsc)) {
        vm->start_tsc = v->start_tsc;
    }
    virt->vcpu_destroy(v);
    kmem_page_free(arch_pool_hpa(v->apic.regs));
    process_kfree(vm->payer, v, sizeof(*v) + VCPU_EXTRA_BYTES);
    object_unref(&vm->object);
}

void vcpu_leave_msrs(struct cpu *c)
{
    if (c->msrs_of) {
        virt->switch_msrs(c->msrs_of, false);
        c->msrs_of = NULL;
    }
}

void vcpu_evict(struct cpu *c)
{
    struct vcpu *v = c->resident;

    if (!v) {
        return;
    }
    ASSERT(v->cpu == (s32)c->id);
    vcpu_leave_msrs(c);
    virt->unload(v);
    c->resident = NULL;
    /* from now on another CPU may load it */
    __atomic_store_n(&v->cpu, -1, __ATOMIC_RELEASE);
}

void vcpu_load(struct vcpu *v)
{
    struct cpu *c = cpu_this();

    if (c->resident != v) {
        ASSERT(__atomic_load_n(&v->cpu, __ATOMIC_ACQUIRE) == -1);
        vcpu_evict(c);
        v->cpu = (s32)c->id;
        c->resident = v;
        virt->load(v);
    }
}

void vcpu_make_resident(struct vcpu *v)
{
    struct cpu *c = cpu_this();

    if (UNLIKELY(c->resident != v)) {
        vcpu_load(v);
    }
    if (c->msrs_of != v) {
        vcpu_leave_msrs(c);
        virt->switch_msrs(v, true);
        c->msrs_of = v;
    }
}

static void wake(struct vcpu *v, void (*interrupt)(struct cpu *))
{
    struct thread *t = v->thread;

    if (t && !sched_wake(t)) {
        sched_kick(t, interrupt);
    }
}

void vcpu_wake(struct vcpu *v)
{
    wake(v, arch_kick);
}

void vcpu_notify(struct vcpu *v)
{
    wake(v, arch_notify);
}

void vcpu_tell_clock(struct vcpu *v)
{
    v->exit.c = v->tsc_offset;
    v->exit.d = v->thread->times.wait_tsc;
    if (v->tell_wait_tsc != VCPU_NEVER_TELL) { /* not for every moment */
        v->tell_wait_tsc = v->exit.d + (arch_tsc_hz >> 10);
    }
}

/* Completes a move to or from a device: the hardware does not tell the instruction's length, ring
 * 3 has decoded it. */
static int settle_mmio(struct vcpu *v, u64 flags, u64 value)
{
    const u64 known = VCPU_RUN_ADVANCE | VCPU_RUN_VALUE | VCPU_RUN_LENGTH | VCPU_RUN_GPR |
                      VCPU_RUN_FLAGS | VCPU_RUN_RFLAGS;
    u32 reg = (flags & VCPU_RUN_GPR) >> VCPU_RUN_GPR_SHIFT;

    if (flags & ~known || !(flags & VCPU_RUN_LENGTH) || reg == GPR_RSP) {
        return E_INVAL;
    }
    if (flags & VCPU_RUN_VALUE) {
        v->gpr[reg] = value;
    }
    v->exit.kind = VX_KICKED; /* an exit is completed once */
    return E_OK;
}

/* The result of an IN or RDMSR; false: the exit was neither. */
NOINLINE static bool take_value(struct vcpu *v, u64 value)
{
    const struct vcpu_exit *x = &v->exit;

    if (x->kind == VX_MSR && x->a & VX_MSR_READ) {
        v->gpr[GPR_RAX] = (u32)value;
        v->gpr[GPR_RDX] = value >> 32;
        return true;
    }
    if (x->kind != VX_IO || !(x->a & VX_IO_IN) || x->a & VX_IO_STRING) {
        return false;
    }
    u32 bits = 8 * ((x->a >> 16) & 7);
    u64 keep = bits == 32 ? 0 : ~0ull << bits; /* a 32-bit IN clears the upper half */
    v->gpr[GPR_RAX] = (v->gpr[GPR_RAX] & keep) | (value & (~0ull >> (64 - bits)));
    return true;
}

/* Completes the instruction whose exit ring 3 has settled. What it says is checked against the exit
 * that it was given, which the kernel keeps. */
static int settle(struct vcpu *v, u64 flags, u64 value)
{
    const struct vcpu_exit *x = &v->exit;

    if (x->kind == VX_MMIO && flags & VCPU_RUN_ADVANCE) {
        return settle_mmio(v, flags, value);
    }
    if (x->kind == VX_DECODE && flags & VCPU_RUN_LENGTH) { /* goes on where the backend left it */
        return flags & ~(VCPU_RUN_LENGTH | VCPU_RUN_GPR) ? E_INVAL : E_OK;
    }
    if (flags & ~(VCPU_RUN_ADVANCE | VCPU_RUN_VALUE)) {
        return E_INVAL;
    }
    if (x->kind == VX_INTA && flags == VCPU_RUN_VALUE) {
        if (value > 255 || v->event.type != EVENT_NONE) {
            return E_INVAL;
        }
        v->event = (struct event){EVENT_EXTINT, (u8)value, false, 0, 0};
        v->exit.kind = VX_KICKED; /* an exit is completed once */
        return E_OK;
    }
    if (!(flags & VCPU_RUN_ADVANCE)) {
        return flags ? E_INVAL : E_OK;
    }
    if (x->kind != VX_IO && x->kind != VX_MSR) {
        return E_INVAL;
    }
    if (flags & VCPU_RUN_VALUE && !take_value(v, value)) {
        return E_INVAL;
    }
    v->exit.kind = VX_KICKED; /* an exit is completed once */
    return E_OK;
}

s64 vcpu_run(struct vcpu *v, u64 flags, u64 value)
{
    u32 length = (flags & VCPU_RUN_LENGTH) >> VCPU_RUN_LENGTH_SHIFT;
    int error = settle(v, flags, value);

    if (UNLIKELY(error)) {
        return error;
    }
    vcpu_make_resident(v);
    if (flags & VCPU_RUN_ADVANCE) {
        if (flags & VCPU_RUN_FLAGS) {
            u64 kept = virt->read(v, VIRT_RFLAGS) & ~RFLAGS_ARITH;
            u64 given = flags >> VCPU_RUN_RFLAGS_SHIFT & RFLAGS_ARITH;
            virt->write(v, VIRT_RFLAGS, kept | given);
        }
        virt->advance(v, length);
    }
    v->clock_tsc = arch_tsc();
    if (UNLIKELY(!v->start_tsc)) {
        v->start_tsc = v->clock_tsc;
    }
    bool enter;
    if (UNLIKELY(v->exit.kind == VX_DECODE && flags)) {
        v->exit.kind = VX_KICKED; /* an exit is completed once */
        enter = virt->decoded(v, length, (flags & VCPU_RUN_GPR) >> VCPU_RUN_GPR_SHIFT);
    } else {
        enter = exit_hazards(v);
    }
    if (enter) {
        virt->run(v);
    }
    vcpu_leave_msrs(cpu_this());
    return (s64)v->exit.kind;
}
