/* SPDX-License-Identifier: MIT */
/* System calls about virtual machines and their CPUs. Every argument is ring 3's. */
#include "kernel/abi.h"
#include "kernel/apic.h"
#include "kernel/exit.h"
#include "kernel/syscall.h"
#include "kernel/thread.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/string.h"

static struct vm *get_vm(const struct call *k, u32 rights, int *error)
{
    struct object *o = handle_get(k->p, k->a, OBJECT_VM, rights, error);

    return o ? CONTAINER_OF(o, struct vm, object) : NULL;
}

static struct vcpu *get_vcpu(const struct call *k, int *error)
{
    struct object *o = handle_get(k->p, k->a, OBJECT_VCPU, RIGHT_CONTROL, error);

    return o ? CONTAINER_OF(o, struct vcpu, object) : NULL;
}

s64 sys_vm_create(const struct call *k)
{
    struct vm_args args;
    struct process *payer = k->p;
    int error = E_OK;

    if (!virt) {
        return E_UNSUPPORTED;
    }
    if (arch_copy_from_user(&args, k->a, sizeof(args))) {
        return E_FAULT;
    }
    if (!syscall_name_ok(args.name) || !args.cpus || args.cpus > VM_MAX_CPUS ||
        args.flags & ~(u32)VM_APICV) {
        return E_INVAL;
    }
    if (args.payer) {
        struct object *o = handle_get(k->p, args.payer, OBJECT_PROCESS, RIGHT_CONTROL, &error);
        if (!o) {
            return error;
        }
        payer = CONTAINER_OF(o, struct process, object);
    }
    struct vm *vm = vm_create(&args, payer);
    return vm ? syscall_new_handle(k->p, &vm->object, RIGHTS_ALL) : E_NO_MEMORY;
}

s64 sys_vm_stats(const struct call *k)
{
    struct vm_stats stats;
    int error = E_OK;
    struct vm *vm = get_vm(k, RIGHT_READ, &error);

    if (!vm) {
        return error;
    }
    vm_get_stats(vm, &stats);
    return arch_copy_to_user(k->b, &stats, sizeof(stats));
}

/* Long: only the look-up needs the kernel lock. */
s64 sys_vm_memory(const struct call *k)
{
    int error = E_OK;

    spin_lock(&kernel_lock);
    struct vm *vm = get_vm(k, RIGHT_CONTROL, &error);
    if (vm) {
        object_ref(&vm->object);
    }
    spin_unlock(&kernel_lock);
    if (!vm) {
        return error;
    }
    error = k->d >> 32 ? E_INVAL : vm_add_memory(vm, GPA(k->b), k->c, (u32)k->d);
    spin_lock(&kernel_lock);
    object_unref(&vm->object);
    spin_unlock(&kernel_lock);
    return error;
}

s64 sys_vcpu_create(const struct call *k)
{
    struct vcpu *v;
    int error = E_OK;
    struct vm *vm = get_vm(k, RIGHT_CONTROL, &error);

    if (!vm) {
        return error;
    }
    if (k->b >= VM_MAX_CPUS) {
        return E_INVAL;
    }
    error = vcpu_create(vm, (u32)k->b, &v);
    return error ? error : syscall_new_handle(k->p, &v->object, RIGHTS_ALL);
}

/* The caller may touch v's state: it runs v, or nobody does. */
static bool may_access(const struct vcpu *v)
{
    return !v->thread || v->thread == cpu_this()->current;
}

/* A vCPU that no thread runs stays on no CPU. */
static void release(struct vcpu *v)
{
    struct cpu *c = cpu_this();

    vcpu_leave_msrs(c);
    if (!v->thread) {
        vcpu_evict(c);
    }
}

/* The state is built in kernel memory and copied whole: it does not fit the stack twice. */
static s64 access_state(const struct call *k, bool write)
{
    struct vcpu_state s;
    int error = E_OK;
    struct vcpu *v = get_vcpu(k, &error);

    if (!v) {
        return error;
    }
    if (k->c & ~(u64)VCPU_STATE_ALL || !k->c) {
        return E_INVAL;
    }
    if (!may_access(v)) {
        return E_BUSY;
    }
    memset(&s, 0, sizeof(s));
    if (write && arch_copy_from_user(&s, k->b, sizeof(s))) {
        return E_FAULT;
    }
    vcpu_make_resident(v);
    if (write) {
        error = virt->set_state(v, &s, (u32)k->c);
        __atomic_store_n(&v->dead, 0, __ATOMIC_SEQ_CST); /* until it waits again */
    } else {
        virt->get_state(v, &s, (u32)k->c);
    }
    release(v);
    if (!write && arch_copy_to_user(k->b, &s, sizeof(s))) {
        return E_FAULT;
    }
    return error;
}

s64 sys_vcpu_get(const struct call *k)
{
    return access_state(k, false);
}

s64 sys_vcpu_set(const struct call *k)
{
    return access_state(k, true);
}

static s64 inject_exception(struct vcpu *v, const struct call *k)
{
    bool has_error = k->c & VCPU_INJECT_ERROR_CODE;

    if (k->c & ~(u64)(VCPU_INJECT_ERROR_CODE | VCPU_INJECT_CR2) || k->b > 31 || k->b == 2 ||
        k->d >> 32) {
        return E_INVAL;
    }
    if (!may_access(v)) {
        return E_BUSY;
    }
    vcpu_make_resident(v);
    if (k->c & VCPU_INJECT_CR2) {
        vcpu_leave_msrs(cpu_this()); /* saves CR2; the next entry loads the new value */
        v->cr2 = k->e;
    }
    struct event e = {EVENT_HWEXC, (u8)k->b, has_error, 0, has_error ? (u32)k->d : 0};
    vcpu_raise(v, &e);
    release(v);
    return E_OK;
}

s64 sys_vcpu_inject(const struct call *k)
{
    int error = E_OK;
    struct vcpu *v = get_vcpu(k, &error);

    if (!v) {
        return error;
    }
    switch (k->c) {
    case VCPU_INJECT_NMI:
        __atomic_store_n(&v->nmi_pending, 1, __ATOMIC_SEQ_CST);
        __atomic_or_fetch(&v->hazards, VCPU_HAZARD_EVENT, __ATOMIC_SEQ_CST);
        vcpu_wake(v);
        return E_OK;
    case VCPU_INJECT_KICK:
        __atomic_or_fetch(&v->hazards, VCPU_HAZARD_KICK, __ATOMIC_SEQ_CST);
        vcpu_wake(v);
        return E_OK;
    default:
        return inject_exception(v, k);
    }
}

s64 sys_vm_interrupt(const struct call *k)
{
    int error = E_OK;
    struct vm *vm = get_vm(k, RIGHT_CONTROL, &error);

    return vm ? apic_send_msi(vm, k->b, k->c) : error;
}

s64 sys_vm_line(const struct call *k)
{
    int error = E_OK;
    struct vm *vm = get_vm(k, RIGHT_CONTROL, &error);

    if (vm && k->b <= 1) {
        apic_set_line(vm, k->b);
        return E_OK;
    }
    return vm ? E_INVAL : error;
}

static s64 access_apic(struct vcpu *v, const struct call *k)
{
    u32 offset = (u32)(k->b & ~VCPU_APIC_WRITE);

    if (k->b >> 32 || offset >= PAGE_SIZE || k->c >> 32 || !apic_has_page(&v->apic)) {
        return E_INVAL;
    }
    if (!may_access(v)) {
        return E_BUSY;
    }
    if (k->b & VCPU_APIC_WRITE) {
        apic_page_write(v, offset, (u32)k->c);
        return 0;
    }
    return apic_page_read(v, offset);
}

/* Like SYS_VCPU_RUN: a thread that uses the handle of its vCPU needs no look-up and no lock. */
s64 sys_vcpu_apic(const struct call *k)
{
    struct thread *t = cpu_this()->current;
    int error = E_OK;

    if (LIKELY(t->vcpu && t->vcpu_handle == k->a)) {
        return access_apic(t->vcpu, k);
    }
    spin_lock(&kernel_lock);
    struct vcpu *v = get_vcpu(k, &error);
    s64 result = v ? access_apic(v, k) : error;
    spin_unlock(&kernel_lock);
    return result;
}
