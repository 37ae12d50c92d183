/* SPDX-License-Identifier: MIT */
/* Guest-physical address spaces: RAM and its nested page tables. */
#include "kernel/vm.h"

#include "arch/arch.h"
#include "kernel/cpuid.h"
#include "kernel/kmem.h"
#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"
#include "lib/string.h"

/* Largest guest-physical address that RAM may reach. */
#define GPA_LIMIT (1ull << 38)

/* What a vm's payer is charged for besides struct vm, its tables and its RAM. */
#define VM_EXTRA_BYTES sizeof(struct cpuid_table)

struct vm *vm_list;

struct vm *vm_create(const struct vm_args *args, struct process *payer)
{
    struct vm *vm = process_kalloc_with(payer, sizeof(*vm), VM_EXTRA_BYTES);

    if (!vm) {
        return NULL;
    }
    vm->object = (struct object){OBJECT_VM, 1, NULL};
    memcpy(vm->name, args->name, NAME_LEN);
    vm->name[NAME_LEN - 1] = 0;
    vm->cpus = args->cpus;
    vm->flags = args->flags;
    vm->id = owner_new();
    vm->cpuid = vm->id ? cpuid_create(args->cpus) : NULL;
    if (!vm->cpuid || !pt_init(&vm->npt, virt_machine.nested, &process_pt_memory, payer,
                               virt_machine.nested_levels, 0)) {
        cpuid_destroy(vm->cpuid);
        if (vm->id) {
            owner_free((owner_t)vm->id);
        }
        process_kfree(payer, vm, sizeof(*vm) + VM_EXTRA_BYTES);
        return NULL;
    }
    vm->payer = payer;
    object_ref(&payer->object);
    vm->next = vm_list;
    vm_list = vm;
    return vm;
}

static bool free_leaf(void *arg, UNUSED u64 gpa, const struct pt_leaf *leaf)
{
    struct vm *vm = arg;

    frame_free(HPA(leaf->address), leaf->bytes);
    vm->memory_bytes -= leaf->bytes;
    return true;
}

/* No vCPU and no window is left, for each holds a reference; so no translation is cached under this
 * table but on CPUs that ran it, and a new table with the same root flushes before its first entry.
 */
void vm_destroy(struct object *o)
{
    struct vm *vm = CONTAINER_OF(o, struct vm, object);
    struct process *payer = vm->payer;
    struct vm **at = &vm_list;
    u64 memory = vm->memory_bytes;

    while (*at != vm) {
        at = &(*at)->next;
    }
    *at = vm->next;
    for (u32 i = 0; i < vm->ram_count; i++) {
        pt_walk(&vm->npt, vm->ram[i].gpa, vm->ram[i].bytes, free_leaf, vm);
    }
    pt_destroy(&vm->npt);
    budget_give(&payer->memory, memory);
    cpuid_destroy(vm->cpuid);
    owner_free((owner_t)vm->id);
    process_kfree(payer, vm, sizeof(*vm) + VM_EXTRA_BYTES);
    object_unref(&payer->object);
}

static const struct vm_ram *find_ram(const struct vm *vm, u64 gpa)
{
    for (u32 i = 0, n = __atomic_load_n(&vm->ram_count, __ATOMIC_ACQUIRE); i < n; i++) {
        if (gpa - vm->ram[i].gpa < vm->ram[i].bytes) {
            return &vm->ram[i];
        }
    }
    return NULL;
}

/* Gives the guest a zeroed frame at gpa, where it has none; slot is gpa's own, if known. Lock held.
 */
static bool add_frame(struct vm *vm, u64 gpa, u64 *slot)
{
    u64 perm = virt_machine.nested_ram;
    bool flush = false;

    if (!budget_take(&vm->payer->memory, PAGE_SIZE)) {
        return false;
    }
    hpa_t frame = frame_alloc(0, (owner_t)vm->id);
    if (!frame.v) {
        goto undo_budget;
    }
    if (!(slot && pt_fill_slot(&vm->npt, slot, frame.v, perm)) &&
        !pt_map(&vm->npt, gpa, frame.v, PAGE_SIZE, perm, &flush)) {
        goto undo_frame;
    }
    vm->memory_bytes += PAGE_SIZE;
    return true;

undo_frame:
    frame_free(frame, PAGE_SIZE);
undo_budget:
    budget_give(&vm->payer->memory, PAGE_SIZE);
    return false;
}

/* Present already: another vCPU or a window came first, or the CPU's cached "absent" was stale.
 * Lock held. */
static enum vm_touch touch_locked(struct vm *vm, u64 gpa, struct pt_leaf *leaf)
{
    const struct vm_ram *ram = find_ram(vm, gpa);

    if (!ram) {
        return VM_TOUCH_NOT_RAM;
    }
    u64 *slot = pt_last_slot(&vm->npt, gpa);
    bool present = slot ? *slot & vm->npt.format->present_mask : pt_lookup(&vm->npt, gpa, leaf);
    if (present) {
        return VM_TOUCH_OK;
    }
    if (!(ram->flags & VM_MEMORY_LAZY)) {
        return VM_TOUCH_NOT_RAM; /* not given yet, or never for want of memory */
    }
    return add_frame(vm, ALIGN_DOWN(gpa, PAGE_SIZE), slot) ? VM_TOUCH_OK : VM_TOUCH_NO_MEMORY;
}

enum vm_touch vm_touch(struct vm *vm, gpa_t gpa, UNUSED u32 access)
{
    struct pt_leaf leaf;
    /* RAM has all permissions */
    if (!find_ram(vm, gpa.v)) { /* without the lock: ranges only come, never go */
        return VM_TOUCH_NOT_RAM;
    }
    spin_lock(&vm->lock);
    enum vm_touch result = touch_locked(vm, gpa.v, &leaf);
    spin_unlock(&vm->lock);
    return result;
}

enum vm_touch vm_resolve(struct vm *vm, gpa_t gpa, hpa_t *frame, u64 *leaf_bytes)
{
    struct pt_leaf leaf;

    spin_lock(&vm->lock);
    enum vm_touch result = touch_locked(vm, gpa.v, &leaf);
    if (result == VM_TOUCH_OK && !pt_lookup(&vm->npt, gpa.v, &leaf)) {
        result = VM_TOUCH_NO_MEMORY;
    }
    spin_unlock(&vm->lock);
    if (result == VM_TOUCH_OK) {
        *frame = HPA(leaf.address + (ALIGN_DOWN(gpa.v, PAGE_SIZE) & (leaf.bytes - 1)));
        *leaf_bytes = leaf.bytes;
    }
    return result;
}

/* Largest block that alignment, size and format allow. */
static u32 best_order(const struct vm *vm, u64 gpa, u64 bytes)
{
    if (vm->npt.format->largest_leaf >= 2 && !(gpa & (SIZE_1G - 1)) && bytes >= SIZE_1G) {
        return 18;
    }
    if (vm->npt.format->largest_leaf >= 1 && !(gpa & (SIZE_2M - 1)) && bytes >= SIZE_2M) {
        return 9;
    }
    return 0;
}

/* Zeroes a block without keeping others from the CPU. False: the thread is to end. */
static bool zero_block(hpa_t frame, u64 bytes)
{
    u64 step = bytes >= SIZE_2M ? SIZE_2M : PAGE_SIZE;

    for (u64 at = 0; at < bytes; at += step) {
        arch_frame_zero(HPA(frame.v + at), step);
        if (__atomic_load_n(&cpu_this()->hazards, __ATOMIC_RELAXED) & CPU_HAZARD_RESCHED) {
            sched_yield(arch_tsc());
        }
        if (thread_dying()) {
            return false;
        }
    }
    return true;
}

/* Gives the guest a block of 2^order frames at gpa. No lock held. */
static int add_block(struct vm *vm, u64 gpa, u32 order)
{
    u64 bytes = PAGE_SIZE << order;
    int error = E_NO_MEMORY;
    bool flush = false;

    if (!budget_take(&vm->payer->memory, bytes)) {
        return E_NO_MEMORY;
    }
    hpa_t frame = frame_reserve(order);
    if (!frame.v) {
        goto undo_budget;
    }
    if (!zero_block(frame, bytes)) {
        error = E_DEAD;
        goto undo_frame;
    }
    spin_lock(&vm->lock);
    bool mapped = pt_map(&vm->npt, gpa, frame.v, bytes, virt_machine.nested_ram, &flush);
    if (mapped) {
        frame_give(frame, bytes, (owner_t)vm->id);
        vm->memory_bytes += bytes;
    }
    spin_unlock(&vm->lock);
    if (mapped) {
        return E_OK;
    }

undo_frame:
    frame_free(frame, bytes);
undo_budget:
    budget_give(&vm->payer->memory, bytes);
    return error;
}

static int populate(struct vm *vm, u64 gpa, u64 bytes)
{
    for (u64 done = 0; done < bytes;) {
        u32 order = best_order(vm, gpa + done, bytes - done);
        int error = add_block(vm, gpa + done, order);

        while (error == E_NO_MEMORY && order) { /* too fragmented for large leaves */
            order = order == 18 ? 9 : 0;
            error = add_block(vm, gpa + done, order);
        }
        if (error) {
            return error;
        }
        done += PAGE_SIZE << order;
    }
    return E_OK;
}

/* What was given before an error stays the guest's until the vm ends. */
int vm_add_memory(struct vm *vm, gpa_t gpa, u64 bytes, u32 flags)
{
    int error = E_OK;

    if (!bytes || (gpa.v | bytes) & PAGE_MASK || gpa.v >= GPA_LIMIT || bytes > GPA_LIMIT - gpa.v ||
        flags & ~(u32)VM_MEMORY_LAZY) {
        return E_INVAL;
    }
    spin_lock(&vm->lock);
    for (u32 i = 0; i < vm->ram_count; i++) {
        if (gpa.v < vm->ram[i].gpa + vm->ram[i].bytes && vm->ram[i].gpa < gpa.v + bytes) {
            error = E_BUSY;
        }
    }
    if (!error && vm->ram_count == VM_MAX_RAM) {
        error = E_LIMIT;
    }
    if (!error) {
        vm->ram[vm->ram_count] = (struct vm_ram){gpa.v, bytes, flags};
        __atomic_store_n(&vm->ram_count, vm->ram_count + 1, __ATOMIC_RELEASE);
    }
    spin_unlock(&vm->lock);
    return error || flags & VM_MEMORY_LAZY ? error : populate(vm, gpa.v, bytes);
}

void vm_get_stats(struct vm *vm, struct vm_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (u32 k = 0; k < EXIT_COUNT; k++) {
        out->exits[k] = vm->exits[k];
    }
    out->guest_tsc = vm->guest_tsc;
    out->start_tsc = vm->start_tsc;
    memcpy(out->vcpu, vm->times, sizeof(out->vcpu));
    for (u32 i = 0; i < VM_MAX_CPUS; i++) {
        struct vcpu *v = vm->vcpus[i];
        if (!v) {
            continue;
        }
        for (u32 k = 0; k < EXIT_COUNT; k++) {
            out->exits[k] += v->exits[k];
        }
        out->guest_tsc += v->guest_tsc;
        if (v->thread) {
            thread_add_times(&out->vcpu[i], &v->thread->times);
        }
        if (v->start_tsc && (!out->start_tsc || v->start_tsc < out->start_tsc)) {
            out->start_tsc = v->start_tsc;
        }
    }
    for (u32 k = 0; k < EXIT_COUNT; k++) {
        out->exits_total += out->exits[k];
    }
    out->memory_bytes = vm->memory_bytes;
    out->table_bytes = (u64)vm->npt.tables << PAGE_SHIFT;
}
