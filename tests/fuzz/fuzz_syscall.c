/* SPDX-License-Identifier: MIT */
/*
 * Hostile ring 3 on the fake machine: two processes with a few threads make the system calls that
 * the input says, with arguments that are mostly nearly right, run guests whose exits come from the
 * input, touch memory and fault. After each run both are killed, and then everything must be as
 * before: no byte, frame, object or handle is left, and the isolation report is clean. An assertion
 * of the kernel, a use after free or a hang is a finding. With an odd first byte two CPUs race.
 */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdlib.h>
#include <string.h>

#include "kernel/frame.h"
#include "kernel/isolation.h"
#include "kernel/kmem.h"
#include "kernel/memory.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "lib/pagetable.h"
#include "tests/host/backend.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
const char *__asan_default_options(void);

#define STACK_AT     0x40000000ull
#define STACK_BYTES  0x8000ull
#define SHARED_AT    0x50000000ull
#define SHARED_BYTES 0x4000ull
#define WINDOW_AT    0x80000000ull
#define BUDGET       (6ull << 20)
#define BUDGET_BYTES (400ull << 10) /* of kernel memory */
#define RUN_SLICES   15             /* how long the processes get for an input */
#define END_SLICES   4000           /* how long they may take to end */
#define HANDLES      24             /* numbers that are likely to be in use */

static struct {
    const u8 *at, *end;
} input;
static bool started, finished; /* the actors may begin; the input is used up */

/* --- the input --- */

static u64 take(u32 bytes)
{
    u64 value = 0;

    for (u32 i = 0; i < bytes && input.at < input.end; i++) {
        value |= (u64)*input.at++ << (8 * i);
    }
    return value;
}

static u64 edge(void)
{
    static const u64 values[] = {
        0,
        1,
        2,
        7,
        255,
        256,
        PAGE_SIZE - 1,
        PAGE_SIZE,
        PAGE_SIZE + 1,
        SIZE_2M,
        SIZE_2M - PAGE_SIZE,
        SIZE_1G,
        USER_BASE,
        USER_BASE - PAGE_SIZE,
        USER_TOP,
        USER_TOP - PAGE_SIZE,
        1ull << 31,
        ~0u,
        1ull << 32,
        1ull << 38,
        (1ull << 38) - PAGE_SIZE,
        1ull << 47,
        BOOT_PHYSMAP,
        BOOT_KERNEL_BASE,
        0xffff800000000000ull,
        1ull << 63,
        ~0ull >> 1,
        ~0ull,
        ~PAGE_MASK,
        ~0ull - 1,
    };

    return values[take(1) % ARRAY_SIZE(values)];
}

/* A value that is `likely`, or near it, or anything. */
static u64 value(u64 likely)
{
    u64 how = take(1);

    if (how < 200) {
        return likely;
    }
    switch (how & 7) {
    case 0:
        return likely + 1;
    case 1:
        return likely - 1;
    case 2:
        return likely ^ BIT(take(1) & 63);
    case 3:
        return take(8);
    default:
        return edge();
    }
}

static u64 handle(void)
{
    return value(take(1) % HANDLES);
}

static u64 pages(u64 most)
{
    return value((take(1) % most) << PAGE_SHIFT);
}

/* Some place in a process's memory. */
static u64 address(void)
{
    static const u64 places[] = {STACK_AT,  STACK_AT + STACK_BYTES,   STACK_AT + 0x1000,
                                 SHARED_AT, SHARED_AT + SHARED_BYTES, SHARED_AT + 0x2000,
                                 WINDOW_AT, WINDOW_AT + SIZE_2M,      WINDOW_AT + 0x3000,
                                 USER_BASE, USER_TOP - SIZE_2M,       0x60000000ull};

    return value(places[take(1) % ARRAY_SIZE(places)] + (take(1) << PAGE_SHIFT >> 4));
}

/* Where the bytes of a structure lie in ring 3's memory; some of them may be others. */
static u64 structure(void *p, u64 bytes)
{
    u8 *b = p;
    u64 changes = take(1);

    for (u64 i = 0; changes > 240 && i < changes - 240; i++) {
        u64 at = take(2) % bytes;
        b[at] = (u8)take(1);
    }
    return value(user_arg(0, p, bytes));
}

/* --- guests --- */

static void fuzz_guest(struct vcpu *v, struct exit *x)
{
    static const u8 widths[] = {1, 2, 4, 4}, sizes[] = {2, 4, 8, 8}, numbers[] = {0, 3, 4, 8};

    host_spend_in_guest(take(1));
    if (input.at == input.end) {
        x->kind = EXIT_HLT; /* with interrupts on: until it is killed */
        *backend_register(v, VIRT_RFLAGS) |= RFLAGS_IF;
        return;
    }
    x->kind = (u32)(take(1) % EXIT_COUNT);
    v->gpr[take(1) % GPR_COUNT] = value(take(1));
    *backend_register(v, VIRT_RFLAGS) ^= take(1) & 1 ? RFLAGS_IF : 0;
    switch (x->kind) {
    case EXIT_IO:
        x->io.port = (u16)take(2);
        x->io.bytes = widths[take(1) & 3];
        x->io.in = take(1) & 1;
        x->io.string = take(1) & 1;
        x->io.rep = take(1) & 1;
        x->io.address_bytes = sizes[take(1) & 3];
        break;
    case EXIT_NPF:
        x->npf.gpa = take(1) & 1 ? pages(64) : value(take(4));
        x->npf.linear = take(8);
        x->npf.access = (u32)take(1);
        break;
    case EXIT_CR:
        x->cr.number = numbers[take(1) & 3];
        x->cr.gpr = take(1) % GPR_COUNT;
        x->cr.write = take(1) & 1;
        v->gpr[x->cr.gpr] = value(CR0_ET);
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        v->gpr[GPR_RCX] = take(1) & 1 ? 0xc0000080u + take(1) : take(2);
        break;
    case EXIT_CPUID:
        v->gpr[GPR_RAX] = take(1) << (take(1) & 31);
        v->gpr[GPR_RCX] = take(1);
        break;
    case EXIT_HYPERCALL:
        v->gpr[GPR_RAX] = value(take(1) & 3);
        v->gpr[GPR_RDI] = value(take(1));
        break;
    case EXIT_EXCEPTION:
    case EXIT_UNDEFINED:
        x->exception.event = (struct event){EVENT_HWEXC, take(1) & 31, take(1) & 1, 0, 0};
        break;
    default:
        x->hw_reason = (u32)take(1);
        x->qualification = take(1);
    }
}

/* --- ring 3 --- */

static void actor(u64 id);

static void make_process(void)
{
    struct process_args args = {.memory_bytes = pages(64),
                                .kernel_bytes = value(65536 * (take(1) & 3)),
                                .event = (handle_t)(take(1) & 1 ? handle() : 0),
                                .event_bits = value(1),
                                .affinity = value(take(1) & 3)};

    memcpy(args.name, "child", 6);
    SYS(SYS_PROCESS_CREATE, structure(&args, sizeof(args)));
}

static void make_thread(void)
{
    struct thread_args args = {.entry = value(user_code(actor)),
                               .stack = value(STACK_AT + STACK_BYTES - 0x1000 * (take(1) & 7)),
                               .arg = take(1),
                               .affinity = value(take(1) & 3),
                               .weight = (u32)value(100)};
    u64 process = take(1) & 1 ? handle() : 0;

    SYS(SYS_THREAD_CREATE, process, structure(&args, sizeof(args)));
}

static void map(void)
{
    struct map_args args = {.process = (handle_t)(take(1) & 1 ? handle() : 0),
                            .source = (handle_t)handle(),
                            .offset = pages(8),
                            .vaddr = address(),
                            .bytes = pages(8),
                            .flags = value(MAP_READ | (take(1) & (MAP_WRITE | MAP_EXEC)))};

    SYS(SYS_MEMORY_MAP, structure(&args, sizeof(args)));
}

static void make_vm(void)
{
    struct vm_args args = {.cpus = (u32)value(2), .payer = (handle_t)(take(1) & 1 ? handle() : 0)};

    memcpy(args.name, "guest", 6);
    SYS(SYS_VM_CREATE, structure(&args, sizeof(args)));
}

static void run(void)
{
    struct vcpu_exit x;
    u64 h = handle();

    for (u64 i = take(1) & 7; i < 8; i++) {
        s64 kind = sys_run(h, value(take(1) & 3), take(1), &x);
        if (kind < 0) {
            break;
        }
    }
}

static void state(u64 number)
{
    struct vcpu_state s;

    memset(&s, 0, sizeof(s));
    s.rflags = value(RFLAGS_FIXED);
    s.halted = take(1) % 3;
    u64 h = handle(), at = structure(&s, sizeof(s));
    SYS(number, h, at, value(take(1) & VCPU_STATE_ALL));
}

static void info(void)
{
    u64 what = value(take(1) % 5), index = value(take(1) & 3);

    SYS(SYS_SYSTEM_INFO, value(HANDLE_SYSTEM), what, index, address(), value(PAGE_SIZE));
}

/* Right now, while other threads are in the middle of something. */
static void check_isolation(void)
{
    struct isolation_report r;

    spin_lock(&kernel_lock);
    isolation_check(&r);
    for (const struct process *p = process_list; p; p = p->next) {
        CHECK(!p->parent || !(p->affinity & ~p->parent->affinity));
        for (u32 i = 0; i < PROCESS_THREADS; i++) {
            CHECK(!p->threads[i] || !(p->threads[i]->affinity & ~p->affinity));
        }
    }
    spin_unlock(&kernel_lock);
    CHECK_EQUAL(r.wrong_owner, 0);
    CHECK_EQUAL(r.ept_foreign, 0);
    CHECK_EQUAL(r.kernel_maps_guest, 0);
    CHECK_EQUAL(r.write_exec, 0);
    CHECK_EQUAL(r.process_foreign, 0);
}

static void other(void)
{
    u64 how = take(1);

    switch (how & 7) {
    case 0:
        user_read64(address() & ~7ull);
        break;
    case 1:
        user_write64(address() & ~7ull, take(1));
        break;
    case 2:
        host_spend(take(2));
        break;
    case 3:
        if (how > 250) {
            user_exception((u32)take(1) & 31);
        }
        break;
    case 4:
        if (how > 230) {
            check_isolation();
        }
        break;
    default:
        SYS(value(take(1)), handle(), handle(), address(), take(8), take(8));
    }
}

static void step(void)
{
    u64 number = take(1) % (SYS_COUNT + 8);

    switch (number) {
    case SYS_PROCESS_EXIT:
        if (!take(1)) {
            SYS(SYS_PROCESS_EXIT, take(1));
        }
        break;
    case SYS_HANDLE_GRANT: {
        u64 to = take(1) & 1 ? handle() : 0, what = handle();
        SYS(number, to, what, value(take(1) & RIGHTS_ALL));
        break;
    }
    case SYS_PROCESS_CREATE:
        make_process();
        break;
    case SYS_THREAD_CREATE:
        make_thread();
        break;
    case SYS_THREAD_SET: {
        u64 h = handle(), weight = value(100 * (1 + (take(1) & 3)));
        SYS(number, h, weight, value(1 + (take(1) & 3)));
        break;
    }
    case SYS_MEMORY_CREATE:
        SYS(number, pages(20));
        break;
    case SYS_MEMORY_MAP:
        map();
        break;
    case SYS_MEMORY_UNMAP: {
        u64 process = take(1) & 1 ? handle() : 0, at = address();
        SYS(number, process, at, pages(8));
        break;
    }
    case SYS_EVENT_WAIT: {
        u64 h = handle(), mask = value(take(1));
        SYS(number, h, mask, take(1) & 7 ? host_now() + take(3) : 0);
        break;
    }
    case SYS_VM_CREATE:
        make_vm();
        break;
    case SYS_VM_MEMORY: {
        u64 h = handle(), gpa = take(1) & 1 ? pages(64) : value(SIZE_2M);
        u64 bytes = take(1) & 7 ? pages(64) : value(SIZE_2M);
        SYS(number, h, gpa, bytes, value(take(1) & VM_MEMORY_LAZY));
        break;
    }
    case SYS_VCPU_CREATE: {
        u64 h = handle();
        SYS(number, h, value(take(1) & 1));
        break;
    }
    case SYS_VCPU_RUN:
        run();
        break;
    case SYS_VCPU_GET:
    case SYS_VCPU_SET:
        state(number);
        break;
    case SYS_VCPU_INJECT: {
        u64 h = handle(), vector = take(1), flags = value(BIT(take(1) & 7) >> 1);
        SYS(number, h, vector, flags, value(0), take(1));
        break;
    }
    case SYS_VM_INTERRUPT: {
        u64 h = handle(), address = value(APIC_PAGE | (take(1) & 0xf) << 12 | (take(1) & 12));
        SYS(number, h, address, value(take(2)));
        break;
    }
    case SYS_VM_LINE: {
        u64 h = handle();
        SYS(number, h, value(take(1) & 1));
        break;
    }
    case SYS_VCPU_APIC: {
        u64 h = handle(), offset = value((take(1) & 63) * 16);
        SYS(number, h, offset | (take(1) & 1 ? VCPU_APIC_WRITE : 0), value(take(4)));
        break;
    }
    case SYS_PORT:
        SYS(number, value(HANDLE_SYSTEM), value(BIT(take(1) & 31) | take(2)), take(1));
        break;
    case SYS_IRQ: {
        u64 event = handle();
        SYS(number, value(HANDLE_SYSTEM), event, value(take(1) & 15));
        break;
    }
    case SYS_CONSOLE_WRITE: {
        u64 at = address();
        SYS(number, value(HANDLE_SYSTEM), at, value(take(1)));
        break;
    }
    case SYS_SYSTEM_INFO:
        info();
        break;
    default:
        if (number >= SYS_COUNT) {
            other();
        } else {
            u64 h = handle(), second = take(1) & 1 ? address() : value(take(1));
            SYS(number, h, second, take(1), take(1));
        }
    }
}

static void actor(u64 id)
{
    (void)id;
    while (!started) {
        host_spend(1000);
    }
    while (input.at < input.end) {
        step();
    }
    finished = true;
    SYS(SYS_EVENT_WAIT, (u64)SYS(SYS_EVENT_CREATE), 1, 0);
}

/* --- the manager --- */

static s64 good(s64 result)
{
    CHECK(result >= 0);
    return result;
}

static s64 new_process(u64 shared)
{
    s64 p = good(sys_process_new("actor", BUDGET, BUDGET_BYTES, 0, 0));
    s64 stack = good(SYS(SYS_MEMORY_CREATE, STACK_BYTES));

    good(sys_map((u64)p, (u64)stack, 0, STACK_AT, STACK_BYTES, MAP_READ | MAP_WRITE));
    good(sys_map((u64)p, shared, 0, SHARED_AT, SHARED_BYTES, MAP_READ | MAP_WRITE));
    good(SYS(SYS_HANDLE_CLOSE, (u64)stack));
    /* the whole system, but for power */
    good(SYS(SYS_HANDLE_GRANT, (u64)p, HANDLE_SYSTEM, RIGHTS_ALL & ~RIGHT_CONTROL));
    good(SYS(SYS_HANDLE_GRANT, (u64)p, shared, RIGHTS_ALL));
    return p;
}

static void start_thread(s64 p, u64 id)
{
    s64 t = good(sys_thread_new((u64)p, actor, id, STACK_AT + STACK_BYTES - 0x1000 * id));

    good(SYS(SYS_HANDLE_CLOSE, (u64)t));
}

static u32 processes(void)
{
    u32 n = 0;

    for (const struct process *p = process_list; p; p = p->next) {
        n++;
    }
    return n;
}

static void one_run(void)
{
    struct process_info before = {0}, after = {0};

    good(sys_info(0, &before));
    u64 kmem = kmem_free_bytes(), frames = frame_free_bytes();
    s64 shared = good(SYS(SYS_MEMORY_CREATE, SHARED_BYTES));
    s64 a = new_process((u64)shared), b = new_process((u64)shared);
    good(SYS(SYS_HANDLE_GRANT, (u64)a, (u64)b, RIGHTS_ALL));
    /* a guest is ready, that b pays for */
    s64 vm = good(sys_vm_new("guest", 2, (u64)b));
    good(SYS(SYS_VM_MEMORY, (u64)vm, 0, 0x8000, 0));
    good(sys_map((u64)a, (u64)vm, 0, WINDOW_AT, SIZE_2M, MAP_READ | MAP_WRITE));
    s64 vcpu = good(SYS(SYS_VCPU_CREATE, (u64)vm, 0));
    good(SYS(SYS_HANDLE_GRANT, (u64)a, (u64)vm, RIGHTS_ALL));
    good(SYS(SYS_HANDLE_GRANT, (u64)a, (u64)vcpu, RIGHTS_ALL));
    good(SYS(SYS_HANDLE_GRANT, (u64)b, (u64)vcpu, RIGHTS_ALL));
    good(SYS(SYS_HANDLE_CLOSE, (u64)vm));
    good(SYS(SYS_HANDLE_CLOSE, (u64)vcpu));
    good(SYS(SYS_HANDLE_CLOSE, (u64)shared));
    start_thread(a, 0);
    start_thread(a, 1);
    start_thread(b, 0);

    started = true;
    for (u32 i = 0; i < RUN_SLICES * 20 && !finished; i++) {
        host_spend(HOST_SLICE / 20);
    }
    input.at = input.end;
    /* one of them may have gone by itself */
    SYS(SYS_PROCESS_KILL, (u64)a);
    SYS(SYS_PROCESS_KILL, (u64)b);
    good(SYS(SYS_HANDLE_CLOSE, (u64)a));
    good(SYS(SYS_HANDLE_CLOSE, (u64)b));
    for (u32 i = 0; processes() > 1; i++) {
        CHECK(i < END_SLICES * 20);
        host_spend(HOST_SLICE / 20);
    }
    check_isolation();
    CHECK(!vm_list);
    CHECK(memory_list && !memory_list->next); /* the manager's stack */
    CHECK_EQUAL(kmem_free_bytes(), kmem);
    CHECK_EQUAL(frame_free_bytes(), frames);
    CHECK_EQUAL(backend.created, backend.destroyed);
    good(sys_info(0, &after));
    CHECK_EQUAL(after.memory_bytes, before.memory_bytes);
    CHECK_EQUAL(after.kernel_bytes, before.kernel_bytes);
    host_console_clear();
}

static void manager(u64 arg)
{
    if (cpu_this()->current->process->parent) {
        actor(arg); /* an actor's thread that happens to begin here */
    }
    for (;;) {
        machine_stop();
        started = finished = false;
        one_run();
        finished = true;
    }
}

/* The kernel's memory is cleared and filled by the kernel's own rules. */
const char *__asan_default_options(void)
{
    return "max_malloc_fill_size=0:quarantine_size_mb=64:allocator_release_to_os_interval_ms=-1";
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static bool booted;

    if (!booted) {
        booted = true;
        backend_guest = fuzz_guest;
        machine_boot(&(struct machine_config){
            .manager = manager, .cpus = 2, .ram_bytes = 32ull << 20, .interleave = true});
    }
    if (!size) {
        return 0;
    }
    host_config.interleave = data[0] & 1;
    host_seed(data[0]);
    input.at = data + 1;
    input.end = data + size;
    machine_run();
    CHECK(finished && !process_list->next);
    return 0;
}
