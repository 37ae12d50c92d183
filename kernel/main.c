/* SPDX-License-Identifier: MIT */
/* The boot story, in order; and the hooks that arch/ calls on the way back to ring 3. */
#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/boot.h"
#include "kernel/frame.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/physmem.h"
#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/syscall.h"
#include "kernel/thread.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/string.h"

#define CPU_WAIT_PER_S      5 /* a CPU has 1/5 s to come up */
#define STOP_WAIT_PER_S     10
#define FAULT_REPORTS_PER_S 10 /* a serial line takes a hundred */
#define MANAGER_STACK       65536ull
#define MANAGER_WEIGHT      400 /* it serves all guests' consoles */

ARCH_READ_ONLY_AFTER_BOOT struct bootinfo boot_info;
const struct virt *virt;
ARCH_READ_ONLY_AFTER_BOOT struct virt_machine virt_machine;
const char virt_absent[] =
    "this CPU shows neither VT-x nor AMD-V: switch it on in the firmware's setup, or use a CPU "
    "that has it";

static const char *virt_reason = virt_absent;
static const struct virt *const backends[] = {&virt_vmx, &virt_svm};

u64 boot_online_cpus(void)
{
    u64 mask = 0;

    for (u32 i = 0; i < cpu_count; i++) {
        if (__atomic_load_n(&cpus[i]->online, __ATOMIC_ACQUIRE)) {
            mask |= BIT(i);
        }
    }
    return mask;
}

u32 boot_online_count(void)
{
    u32 n = 0;

    for (u64 mask = boot_online_cpus(); mask; mask &= mask - 1) {
        n++;
    }
    return n;
}

const char *boot_virt_name(void)
{
    return virt ? virt->name : virt_reason;
}

/* The first backend that this machine can run; when none can, the reason of the one that is there.
 */
static void choose_backend(void)
{
    for (u32 i = 0; i < ARRAY_SIZE(backends); i++) {
        const char *missing = backends[i]->preflight(&virt_machine);
        if (!missing) {
            virt = backends[i];
            return;
        }
        virt_reason = missing == virt_absent ? virt_reason : missing;
    }
}

/* --- CPUs --- */

static int start_virt(struct cpu *c)
{
    return virt ? virt->cpu_start(c) : E_OK;
}

void kernel_cpu_main(void)
{
    struct cpu *c = cpu_this();

    if (start_virt(c)) {
        klog("cpu %u: %s could not be switched on, the CPU stays unused", c->id, virt->name);
        arch_halt();
    }
    sched_init_cpu(c);
    __atomic_store_n(&c->online, 1, __ATOMIC_RELEASE);
    sched_start();
}

static void start_cpus(void)
{
    struct cpu *c = cpu_this();

    if (start_virt(c)) {
        panic("%s could not be switched on", virt->name);
    }
    sched_init_cpu(c);
    c->online = 1;
    arch_start_cpus(&boot_info);
    u64 until = arch_tsc() + arch_tsc_hz / CPU_WAIT_PER_S;
    while (boot_online_count() < cpu_count && arch_tsc() < until) {
        arch_spin_poll();
        arch_pause();
    }
    klog("cpus: %u of %u running, TSC %lu kHz", boot_online_count(), boot_info.cpu_count,
         arch_tsc_hz / 1000);
}

void boot_stop_this_cpu(void)
{
    struct cpu *c = cpu_this();

    if (virt) {
        vcpu_evict(c);
        virt->cpu_stop(c);
    }
    __atomic_store_n(&c->online, 0, __ATOMIC_RELEASE);
    arch_halt();
}

void boot_shutdown(u32 action)
{
    struct cpu *me = cpu_this();
    u64 until = arch_tsc() + arch_tsc_hz / STOP_WAIT_PER_S;

    if (action == POWER_PANIC) {
        panic("asked for by the operator");
    }
    for (u32 i = 0; i < cpu_count; i++) {
        if (cpus[i] != me && cpus[i]->online) {
            __atomic_or_fetch(&cpus[i]->hazards, CPU_HAZARD_STOP, __ATOMIC_SEQ_CST);
            arch_kick(cpus[i]);
        }
    }
    while (boot_online_cpus() & ~BIT(me->id) && arch_tsc() < until) {
        arch_spin_poll();
        arch_pause();
    }
    if (virt) {
        vcpu_evict(me);
        virt->cpu_stop(me);
    }
    arch_power(action);
}

/* --- the first process --- */

static void start_manager(void)
{
    struct process_args args = {.name = "manager",
                                .memory_bytes = frame_free_bytes(),
                                .kernel_bytes = kmem_free_bytes(),
                                .weight = MANAGER_WEIGHT};
    struct thread_args start = {.entry = boot_info.manager_entry, .stack = USER_TOP - PAGE_SIZE};
    struct thread *t;

    spin_lock(&kernel_lock);
    struct process *p = process_create(&args, NULL, NULL);
    ASSERT(p);
    for (u32 i = 0; i < boot_info.segment_count; i++) {
        const struct boot_segment *s = &boot_info.segments[i];
        u64 flags = MAP_READ | (s->flags & BOOT_SEG_WRITE ? MAP_WRITE : 0) |
                    (s->flags & BOOT_SEG_EXEC ? MAP_EXEC : 0);
        if (aspace_map_fixed(p->aspace, s->vaddr, HPA(s->base), s->bytes, flags)) {
            panic("manager: segment %u cannot be mapped", i);
        }
    }
    struct memory *stack = memory_create(MANAGER_STACK, p);
    if (!stack || aspace_map(p->aspace, &stack->object, 0, start.stack - MANAGER_STACK,
                             MANAGER_STACK, MAP_READ | MAP_WRITE)) {
        panic("manager: no memory for its stack");
    }
    object_unref(&stack->object);
    if (handle_add(p, &system_object, RIGHTS_ALL) != HANDLE_SYSTEM ||
        thread_create(p, &start, &t)) {
        panic("manager: cannot start");
    }
    sched_add(t);
    object_unref(&t->object);
    object_unref(&p->object);
    spin_unlock(&kernel_lock);
}

static void init_memory(void)
{
    static struct physmem physmem;
    const char *wrong = physmem_read(&boot_info, &physmem);

    if (wrong) {
        panic("memory: %s", wrong);
    }
    kmem_init(physmem.pool, physmem.pool_count);
    arch_mmu_init(physmem.pool, physmem.pool_count);
    if (!frame_init(physmem.guest_bytes)) {
        panic("memory: the records of %lu MiB do not fit the kernel pool",
              physmem.guest_bytes >> 20);
    }
    for (u32 i = 0; i < boot_info.range_count; i++) {
        const struct boot_range *r = &boot_info.ranges[i];
        if (r->type == BOOT_MEM_USABLE) {
            frame_add(r->base, r->bytes);
        }
    }
    klog("memory: kernel pool %lu MiB, guest pool %lu MiB", kmem_total_bytes() >> 20,
         frame_total_bytes() >> 20);
}

void kernel_main(const struct bootinfo *bi)
{
    boot_info = *bi;
    arch_early_init(&boot_info);
    klog("kernel at 0x%lx", boot_info.kernel_base);
    if (boot_info.magic != BOOTINFO_MAGIC || boot_info.bytes != sizeof(boot_info)) {
        panic("loader and kernel do not belong together (magic 0x%lx)", boot_info.magic);
    }
    init_memory();
    arch_boot_cpu_init();
    arch_time_init(&boot_info);
    choose_backend();
    klog("virtualization: %s", boot_virt_name());
    start_cpus();
    arch_protect();
    start_manager();
    sched_start();
}

/* --- on the way to ring 3, from idle, and faults --- */

static void handle_stop(struct cpu *c)
{
    if (__atomic_load_n(&c->hazards, __ATOMIC_SEQ_CST) & CPU_HAZARD_STOP) {
        boot_stop_this_cpu();
    }
}

void kernel_idle_hazards(void)
{
    struct cpu *c = cpu_this();

    arch_spin_poll();
    handle_stop(c);
    __atomic_and_fetch(&c->hazards, ~CPU_HAZARD_RESCHED, __ATOMIC_SEQ_CST);
}

void kernel_user_hazards(void)
{
    struct cpu *c = cpu_this();

    arch_spin_poll();
    handle_stop(c);
    if (__atomic_load_n(&c->hazards, __ATOMIC_SEQ_CST) & CPU_HAZARD_RESCHED) {
        sched_yield(arch_tsc());
    }
    if (thread_dying()) {
        thread_end();
    }
}

void kernel_timer(void)
{
    cpu_this()->deadline = ~0ull; /* it has fired, perhaps a little early: arm it anew */
    sched_tick();
}

/* Ring 3 can start as many processes that fault as it likes; the console is not its toy. */
static bool may_report_fault(void)
{
    static u64 second_end;
    static u32 left;

    if (arch_tsc() >= second_end) {
        second_end = arch_tsc() + arch_tsc_hz;
        left = FAULT_REPORTS_PER_S;
    }
    return left && left--;
}

void kernel_user_fault(u32 vector, u64 error, u64 address, u64 rip)
{
    struct thread *t = cpu_this()->current;
    struct process *p = t->process;

    /* error code of a page fault: bit 1 write, bit 4 instruction fetch (SDM 3A "Page-Fault
     * Exceptions") */
    if (vector == 14 && aspace_fault(p->aspace, address, error & BIT(1), error & BIT(4))) {
        return;
    }
    spin_lock(&kernel_lock);
    bool report = !p->dying && may_report_fault();
    process_end(p, PROCESS_FAULT, vector, rip);
    spin_unlock(&kernel_lock);
    if (report) {
        klog("process %s: exception %u (error 0x%lx, address 0x%lx) at rip 0x%lx: ended", p->name,
             vector, error, address, rip);
    }
    thread_end();
}
