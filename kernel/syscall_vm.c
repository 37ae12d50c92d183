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

static struct vm *vm_of(const struct call *k)
{
    return CONTAINER_OF(k->o, struct vm, object);
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

    vm_get_stats(vm_of(k), &stats);
    return arch_copy_to_user(k->b, &stats, sizeof(stats));
}

s64 sys_vm_memory(const struct call *k)
{
    return k->d >> 32 ? E_INVAL : vm_add_memory(vm_of(k), GPA(k->b), k->c, (u32)k->d);
}

s64 sys_vcpu_create(const struct call *k)
{
    struct vcpu *v;

    if (k->b >= VM_MAX_CPUS) {
        return E_INVAL;
    }
    int error = vcpu_create(vm_of(k), (u32)k->b, &v);
    return error ? error : syscall_new_handle(k->p, &v->object, RIGHTS_ALL);
}

struct vcpu *syscall_bind_vcpu(struct thread *t, u64 h, int *error)
{
    spin_lock(&kernel_lock);
    struct object *o = handle_get(t->process, h, OBJECT_VCPU, RIGHT_CONTROL, error);
    struct vcpu *v = o ? CONTAINER_OF(o, struct vcpu, object) : NULL;
    if (v && (t->vcpu ? t->vcpu != v : v->thread != NULL)) {
        *error = E_BUSY;
        v = NULL;
    } else if (v && !t->vcpu) {
        object_ref(o);
        v->thread = t;
        t->vcpu = v;
    }
    if (v) {
        t->vcpu_handle = h;
    }
    spin_unlock(&kernel_lock);
    return v;
}

static struct vcpu *own_vcpu(const struct call *k, int *error)
{
    return syscall_own_vcpu(cpu_this()->current, k->a, error);
}

#define GROUP(first, last)                                                                         \
    {                                                                                              \
        offsetof(struct vcpu_state, first), offsetof(struct vcpu_state, last) +                    \
                                                sizeof(((struct vcpu_state *)0)->last) -           \
                                                offsetof(struct vcpu_state, first)                 \
    }
/* Where each group of the state lies in it. */
static const struct {
    u16 offset, bytes;
} groups[] = {GROUP(gpr, rflags), GROUP(seg, efer), GROUP(xcr0, pending_debug),
              GROUP(interruptibility, halted)};
_Static_assert(VCPU_STATE_ALL == BIT(ARRAY_SIZE(groups)) - 1, "a row for each group");

static s64 access_state(const struct call *k, bool write)
{
    struct vcpu_state s;
    int error = E_OK;
    struct vcpu *v = own_vcpu(k, &error);

    if (!v) {
        return error;
    }
    if (k->c & ~(u64)VCPU_STATE_ALL || !k->c) {
        return E_INVAL;
    }
    for (u32 i = 0; i < ARRAY_SIZE(groups); i++) {
        u8 *at = (u8 *)&s + groups[i].offset;
        if (k->c & BIT(i)) {
            memset(at, 0, groups[i].bytes); /* padding, which ring 3 sees */
            if (write && arch_copy_from_user(at, k->b + groups[i].offset, groups[i].bytes)) {
                return E_FAULT;
            }
        }
    }
    vcpu_load(v);
    if (write) {
        error = virt_set_state(v, &s, (u32)k->c);
        __atomic_store_n(&v->dead, 0, __ATOMIC_SEQ_CST); /* until it waits again */
    } else {
        virt_get_state(v, &s, (u32)k->c);
    }
    for (u32 i = 0; i < ARRAY_SIZE(groups) && !write; i++) {
        const u8 *at = (const u8 *)&s + groups[i].offset;
        if (k->c & BIT(i) && arch_copy_to_user(k->b + groups[i].offset, at, groups[i].bytes)) {
            return E_FAULT;
        }
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

s64 sys_vcpu_report(const struct call *k)
{
    u64 report[VCPU_REPORT_BYTES / sizeof(u64)] = {0};
    int error = E_OK;
    struct vcpu *v = own_vcpu(k, &error);

    if (!v) {
        return error;
    }
    vcpu_load(v);
    virt->fill_report(v, report);
    return arch_copy_to_user(k->b, report, sizeof(report));
}

static s64 inject_exception(const struct call *k)
{
    bool has_error = k->c & VCPU_INJECT_ERROR_CODE;
    int error = E_OK;

    if (k->c & ~(u64)(VCPU_INJECT_ERROR_CODE | VCPU_INJECT_CR2) || k->b > 31 || k->b == 2 ||
        k->d >> 32) {
        return E_INVAL;
    }
    struct vcpu *v = own_vcpu(k, &error);
    if (!v) {
        return error;
    }
    if (k->c & VCPU_INJECT_CR2) {
        v->cr2 = k->e; /* CR2 is ring 3's own now; the next entry loads the guest's */
    }
    struct event e = {EVENT_HWEXC, (u8)k->b, has_error, 0, has_error ? (u32)k->d : 0};
    vcpu_raise(v, &e);
    return E_OK;
}

s64 sys_vcpu_inject(const struct call *k)
{
    struct vcpu *v = CONTAINER_OF(k->o, struct vcpu, object);

    if (k->c != VCPU_INJECT_NMI && k->c != VCPU_INJECT_KICK) {
        return inject_exception(k);
    }
    if (k->c == VCPU_INJECT_NMI) {
        __atomic_store_n(&v->nmi_pending, 1, __ATOMIC_SEQ_CST);
    }
    vcpu_set_hazard(v, k->c == VCPU_INJECT_NMI ? VCPU_HAZARD_EVENT : VCPU_HAZARD_KICK);
    spin_lock(&v->vm->cpus_lock); /* its thread does not end meanwhile */
    vcpu_wake(v);
    spin_unlock(&v->vm->cpus_lock);
    return E_OK;
}

s64 sys_vm_interrupt(const struct call *k)
{
    return apic_send_msi(vm_of(k), k->b, k->c);
}

s64 sys_vm_line(const struct call *k)
{
    if (k->b > 1) {
        return E_INVAL;
    }
    apic_set_line(vm_of(k), k->b);
    return E_OK;
}

s64 sys_vcpu_apic(const struct call *k)
{
    u32 offset = (u32)(k->b & ~VCPU_APIC_WRITE);
    int error = E_OK;
    struct vcpu *v = own_vcpu(k, &error);

    if (!v) {
        return error;
    }
    if (k->b >> 32 || offset >= PAGE_SIZE || k->c >> 32 || !apic_has_page(&v->apic)) {
        return E_INVAL;
    }
    if (k->b & VCPU_APIC_WRITE) {
        apic_page_write(v, offset, (u32)k->c);
        return 0;
    }
    return apic_page_read(v, offset);
}
