/* SPDX-License-Identifier: MIT */
/* CPUs, time and interrupts of the fake machine, and what of arch/arch.h is about them. */
#include "tests/host/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/abi.h"
#include "kernel/boot.h"
#include "kernel/frame.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "tests/host/fiber.h"
#include "tests/host/ring3.h"

#define STACK_BYTES     (256u << 10) /* sanitized frames are large */
#define DEADLOCK_ROUNDS 1000000u

struct host_cpu {
    struct cpu cpu;
    struct fiber idle;     /* its first coroutine: boot, then the idle thread */
    struct fiber *running; /* what it will go on with */
    u64 timer;             /* arch_timer_set */
    u64 left;              /* ticks of this turn */
    bool kicked, notified;
    bool sleeping; /* in arch_idle */
    bool halted;
    bool up;
    u64 root; /* loaded page tables, 0: the kernel's own */
};

/* A kernel stack: the coroutine's record sits at its lower end. */
struct stack {
    struct fiber fiber;
    struct stack *next_free;
    u8 memory[STACK_BYTES];
};

struct cpu *cpus[MAX_CPUS];
u32 cpu_count;
u64 arch_tsc_hz = HOST_TSC_HZ;
struct machine_config host_config;
u64 host_kmem_before, host_frames_before;

static struct host_cpu machine[HOST_MAX_CPUS];
static struct host_cpu *current; /* the CPU that runs; NULL: the test itself does */
static struct fiber main_fiber;
static struct stack *free_stacks;
static u64 now;
static u64 random_state;
static u32 shootdowns, waits;
static bool stopping, powered_off, verbose;
static u32 power_action;
static char console[1 << 16];
static size_t console_bytes;

/* --- the test's view --- */

u64 host_now(void)
{
    return now + (current ? host_config.quantum - current->left : 0);
}

u64 host_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void host_seed(u32 seed)
{
    random_state = 0x9e3779b97f4a7c15ull * (seed + 1ull);
}

u32 host_shootdowns(void)
{
    return shootdowns;
}

bool host_powered_off(u32 *action)
{
    *action = power_action;
    return powered_off;
}

const char *host_console(void)
{
    return console;
}

void host_console_clear(void)
{
    console_bytes = 0;
    console[0] = 0;
}

void host_verbose(bool on)
{
    verbose = on;
}

bool host_is_root(u64 table)
{
    for (u32 i = 0; i < HOST_MAX_CPUS; i++) {
        if (machine[i].root == table && table) {
            return true;
        }
    }
    return false;
}

void host_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s:%d: failed: ", file, line);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (cpu %d, time %llu, seed %u)\n", current ? (int)current->cpu.id : -1,
            (unsigned long long)now, host_config.seed);
    va_end(args);
    abort();
}

void panic(const char *format, ...)
{
    va_list args;
    char text[256];

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    host_fail("kernel", 0, "panic: %s", text);
}

/* --- turns --- */

static void leave_turn(void)
{
    struct host_cpu *h = current;
    struct fiber *me = h->running;

    fiber_switch(me, &main_fiber);
}

static void take_turn(struct host_cpu *h)
{
    current = h;
    h->left = host_config.quantum;
    fiber_switch(&main_fiber, h->running);
    current = NULL;
}

void host_pause(void)
{
    leave_turn();
}

void host_preempt(void)
{
    if (host_config.interleave && current && !(host_random() & 3)) {
        leave_turn();
    }
}

void arch_pause(void)
{
    if (++waits > DEADLOCK_ROUNDS) {
        host_fail("kernel", 0, "deadlock");
    }
    leave_turn();
}

struct cpu *cpu_this(void)
{
    return current ? &current->cpu : &machine[0].cpu;
}

u64 arch_tsc(void)
{
    if (current && current->left > 1) {
        current->left--;
    }
    return host_now();
}

/* As arch_interrupt() of arch/x86 does it. */
static void take_interrupts(void)
{
    struct host_cpu *h = current;

    if (h->kicked) {
        h->kicked = false;
        h->cpu.interrupts++;
        arch_spin_poll();
    }
    h->notified = false;
    h = current;
    if (h->timer <= arch_tsc()) {
        h->timer = ~0ull;
        h->cpu.interrupts++;
        if (h->cpu.deadline > arch_tsc()) {
            h->timer = h->cpu.deadline;
        } else {
            h->cpu.deadline = ~0ull;
            kernel_timer();
        }
    }
}

void host_user_return(void)
{
    while (__atomic_load_n(&cpu_this()->hazards, __ATOMIC_SEQ_CST)) {
        arch_spin_poll();
        if (__atomic_load_n(&cpu_this()->hazards, __ATOMIC_SEQ_CST)) {
            kernel_user_hazards();
        }
    }
}

void host_spend(u64 ticks)
{
    waits = 0;
    while (ticks) {
        u64 n = ticks < current->left ? ticks : current->left;
        ticks -= n;
        current->left -= n;
        if (!current->left) {
            current->left = 1; /* the clock stays inside this turn */
            leave_turn();
        }
        if (current->kicked || current->notified || current->timer <= host_now()) {
            take_interrupts();
            host_user_return();
        }
    }
}

bool host_spend_in_guest(u64 ticks)
{
    waits = 0;
    current->left -= ticks < current->left ? ticks : current->left;
    if (!current->left) {
        current->left = 1;
        leave_turn();
    }
    return current->kicked || current->timer <= host_now();
}

bool host_notified(void)
{
    bool notified = current->notified;

    current->notified = false;
    return notified;
}

void machine_stop(void)
{
    stopping = true;
    leave_turn();
}

void machine_run(void)
{
    u32 idle_rounds = 0;

    stopping = false;
    while (!stopping) {
        bool busy = false;
        u64 next = ~0ull;
        u32 first = host_config.interleave ? (u32)host_random() : 0;

        for (u32 i = 0; i < host_config.cpus && !stopping; i++) {
            struct host_cpu *h = &machine[(first + i) % host_config.cpus];
            next = h->up && h->timer < next ? h->timer : next;
            if (!h->up || h->halted ||
                (h->sleeping && !h->kicked && !h->notified && h->timer > now)) {
                continue;
            }
            busy = true;
            take_turn(h);
        }
        now += host_config.quantum;
        idle_rounds = busy ? 0 : idle_rounds + 1;
        if (!busy && next == ~0ull) {
            return;
        }
        if (!busy && next > now) {
            now = next;
        }
    }
}

/* --- CPUs --- */

static void cpu_start(struct host_cpu *h, void (*entry)(void *), void *arg)
{
    void *stack =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (stack == MAP_FAILED) {
        abort();
    }
    fiber_init(&h->idle, stack, STACK_BYTES, entry, arg);
    h->running = &h->idle;
    h->timer = ~0ull;
    h->up = true;
}

static void boot_main(void *arg)
{
    kernel_main(arg);
}

static void other_main(void *arg)
{
    (void)arg;
    kernel_cpu_main();
}

void machine_start(const struct bootinfo *bi)
{
    now = HOST_TSC_HZ;
    host_seed(host_config.seed);
    fiber_init_main(&main_fiber);
    machine[0].cpu.self = &machine[0].cpu;
    cpus[0] = &machine[0].cpu;
    cpu_count = 1;
    cpu_start(&machine[0], boot_main, (void *)bi);
    machine_run();
}

void arch_early_init(const struct bootinfo *bi)
{
    (void)bi;
}

void arch_boot_cpu_init(void)
{
}

void arch_time_init(const struct bootinfo *bi)
{
    (void)bi;
}

void arch_start_cpus(const struct bootinfo *bi)
{
    for (u32 i = 1; i < bi->cpu_count; i++) {
        struct host_cpu *h = &machine[i];
        h->cpu.self = &h->cpu;
        h->cpu.id = i;
        h->cpu.apic_id = bi->cpu_apic_ids[i];
        cpus[i] = &h->cpu;
        cpu_count = i + 1;
        cpu_start(h, other_main, NULL);
    }
}

/* The last thing before the first process. */
void arch_protect(void)
{
    host_kmem_before = kmem_free_bytes();
    host_frames_before = frame_free_bytes();
}

void arch_idle(void)
{
    waits = 0;
    current->sleeping = true;
    leave_turn();
    current->sleeping = false;
    take_interrupts();
}

void arch_kick(struct cpu *target)
{
    host_preempt();
    if (target != cpu_this()) {
        CONTAINER_OF(target, struct host_cpu, cpu)->kicked = true;
    }
}

void arch_notify(struct cpu *target)
{
    host_preempt();
    if (target != cpu_this()) {
        CONTAINER_OF(target, struct host_cpu, cpu)->notified = true;
    }
}

void arch_timer_set(u64 tsc)
{
    current->timer = tsc;
}

void arch_halt(void)
{
    for (;;) {
        current->halted = true;
        leave_turn();
    }
}

void arch_power(u32 action)
{
    powered_off = true;
    power_action = action;
    stopping = true;
    arch_halt();
}

void arch_stop_others(void)
{
}

/* One that a VM exit acknowledged. */
void arch_interrupt(u32 vector)
{
    (void)vector;
    take_interrupts();
}

void arch_tlb_flush(void)
{
}

void arch_spin_poll(void)
{
    __atomic_and_fetch(&cpu_this()->hazards, ~(u32)CPU_HAZARD_TLB, __ATOMIC_SEQ_CST);
}

/* Done at once: a CPU of this machine reads the tables at each access. */
void arch_tlb_shootdown(struct aspace *aspace)
{
    (void)aspace;
    shootdowns++;
    host_preempt();
}

/* Once its thread is off the process's list, others may take the tables down: from then on they may
 * be given up only under the kernel lock. */
static bool may_be_gone(void)
{
    struct thread *t = current->cpu.current;

    for (u32 i = 0; t && t->process && i < PROCESS_THREADS; i++) {
        if (t->process->threads[i] == t) {
            return false;
        }
    }
    return t && t->process && current->root && !spin_held(&kernel_lock);
}

void arch_aspace_load(struct aspace *a)
{
    host_preempt();
    CHECK(!may_be_gone());
    current->cpu.aspace = a;
    current->root = a ? a->pt.root : 0;
}

/* --- threads --- */

u64 arch_stack_free_bytes(void)
{
    return 0; /* none is kept */
}

void *arch_stack_alloc(void)
{
    struct stack *s = free_stacks;

    if (host_should_fail()) {
        return NULL;
    }
    if (s) {
        free_stacks = s->next_free;
    } else {
        s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (s == MAP_FAILED) {
            abort();
        }
    }
    return s + 1;
}

void arch_stack_free(void *top)
{
    struct stack *s = (struct stack *)top - 1;

    for (u32 i = 0; i < HOST_MAX_CPUS; i++) {
        CHECK(machine[i].running != &s->fiber);
    }
    s->next_free = free_stacks;
    free_stacks = s;
}

void arch_context_init(struct arch_context *c, void *stack_top, void (*entry)(void *), void *arg)
{
    struct stack *s = (struct stack *)stack_top - 1;

    fiber_init(&s->fiber, s->memory, sizeof(s->memory), entry, arg);
    c->rsp = (u64)&s->fiber;
}

void arch_context_switch(struct arch_context *from, struct arch_context *to)
{
    struct host_cpu *h = current;
    struct fiber *old = from->rsp ? (struct fiber *)from->rsp : &h->idle;
    struct fiber *new = to->rsp ? (struct fiber *)to->rsp : &h->idle;

    CHECK(h->running == old);
    h->running = new;
    fiber_switch(old, new);
}

void arch_enter_user(u64 rip, u64 rsp, u64 rdi)
{
    host_user_return();
    ring3_main(rip, rsp, rdi);
}

/* --- console --- */

void arch_console_write(const char *s, size_t n)
{
    if (verbose) {
        fwrite(s, 1, n, stderr);
    }
    for (size_t i = 0; i < n && console_bytes < sizeof(console) - 1; i++) {
        console[console_bytes++] = s[i];
    }
    console[console_bytes] = 0;
}

size_t arch_console_try_write(const char *s, size_t n)
{
    arch_console_write(s, n);
    return n;
}

u8 arch_port(bool write, u16 port, u8 value)
{
    static u8 ports[1024];

    if (write) {
        ports[port % sizeof(ports)] = value;
    }
    return write ? 0 : ports[port % sizeof(ports)];
}

void arch_backtrace(u64 rbp)
{
    (void)rbp;
}

void arch_panic_dump(void)
{
}
