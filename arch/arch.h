/* SPDX-License-Identifier: MIT */
/*
 * What the CPU-neutral kernel asks of the CPU it runs on; arch/x86 implements it. And, at the end,
 * what the architecture's code calls in the kernel.
 *
 * The kernel runs with interrupts off, always; only arch_idle() opens them for one HLT. So
 * interrupts arrive from ring 3, from a guest (as VM exits) and from idle, never in the middle of
 * kernel code. NMI and machine check run on stacks of their own and touch nothing that is not
 * atomic.
 */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include "kernel/cpu.h"
#include "lib/types.h"

struct aspace;
struct thread;

/* A variable that arch_protect() makes read-only. */
#define ARCH_READ_ONLY_AFTER_BOOT __attribute__((section(".data.sealed")))

/* --- CPU --- */

static inline struct cpu *cpu_this(void)
{
    struct cpu *c;
    /* volatile: a thread may be on another CPU after it gave up this one, so no result is reused */
    __asm__ volatile("mov %%gs:0, %0" : "=r"(c));
    return c;
}

static inline void arch_cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(subleaf));
}

/* This CPU's hazards, as they are now. */
static inline u32 cpu_hazards(void)
{
    u32 hazards;
    __asm__ volatile("movl %%gs:%c1, %0" : "=r"(hazards) : "i"(offsetof(struct cpu, hazards)));
    return hazards;
}

static inline u64 arch_tsc(void)
{
    u32 lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (u64)hi << 32;
}

static inline void arch_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

extern u64 arch_tsc_hz; /* as the loader has measured it */

void arch_idle(void); /* sti; hlt; cli: returns after an interrupt was handled */
void arch_kick(
    struct cpu *target); /* makes target pass through the kernel soon; set its hazards first */
void arch_notify(struct cpu *target); /* the same, unless it is in a guest with posted interrupts */
void arch_timer_set(u64 tsc); /* one timer interrupt on this CPU not before tsc; ~0 disarms */
NORETURN void arch_power(u32 action); /* enum power_action, with everything stopped */
NORETURN void arch_halt(void);        /* this CPU stops for good */
void arch_stop_others(void);          /* panic: all other CPUs stop for good; bounded wait */

/* An interrupt that a VM exit acknowledged: does what its gate would have done. */
void arch_interrupt(u32 vector);

/* Flushes this CPU's TLB (all but global entries); a shoot-down that waits for this CPU is served.
 */
void arch_tlb_flush(void);
/* Flushes it on every CPU that has aspace loaded, and returns when all have. Spinning locks
 * elsewhere poll for this (arch_spin_poll), so it is safe with any lock held. */
void arch_tlb_shootdown(struct aspace *aspace);
void arch_spin_poll(void);

/* --- memory --- */

/* The kernel pool is mapped at BOOT_PHYSMAP + physical address, writable, never executable. */
static inline void *arch_pool_ptr(hpa_t pa)
{
    return (void *)(BOOT_PHYSMAP + pa.v);
}
static inline hpa_t arch_pool_hpa(const void *p)
{
    return HPA((u64)p - BOOT_PHYSMAP);
}

/*
 * Frames of the guest pool are reached only through a window of this CPU: one 4 KiB page at a time,
 * used at once and closed. Windows do not nest.
 */
void *arch_window_open(hpa_t frame);
void arch_window_close(void);
void arch_frame_zero(hpa_t frame, u64 bytes); /* 4 KiB or 2 MiB, aligned; its own window */

/* The kernel's own final page tables: image with its segments' rights, pool, device pages. After
 * this call the loader's tables are not used any more. pool: ranges of the kernel pool. */
void arch_mmu_init(const struct boot_range *pool, u32 count);
/* A device's registers, uncached, in the kernel's half. Boot only; never fails after arch_mmu_init.
 */
void *arch_map_device(hpa_t pa, u64 bytes, bool write_combining);
/* Copies the kernel's half into a new process root (a pool page). */
void arch_root_init(u64 *root);
void arch_aspace_load(struct aspace *a); /* CR3, and cpu->aspace; NULL: the kernel's own tables */
u32 arch_phys_bits(void);
bool arch_has_1g_pages(void);
/* Calls fn for each leaf of the kernel's half (isolation report). */
void arch_kernel_walk(bool (*fn)(void *arg, u64 va, u64 pa, u64 bytes, u64 perm), void *arg);

/* Copies between kernel and ring 3 of the current process; any fault gives E_FAULT. Addresses are
 * checked against USER_TOP; SMAP is opened only inside. */
int arch_copy_from_user(void *dst, u64 src, u64 bytes) MUST_CHECK;
int arch_copy_to_user(u64 dst, const void *src, u64 bytes) MUST_CHECK;

/* Does an access by the kernel fault? For self-tests. PT_READ, PT_WRITE (rewrites the byte that is
 * there) or PT_EXEC (calls the address, where a RET must be). */
bool arch_probe_faults(void *address, u32 access);

/* --- threads --- */

#define KERNEL_STACK_BYTES 16384 /* whole pages; guard pages are made by arch_stack_alloc */

/* A kernel stack with an unmapped page below; NULL: no memory. Returns its top. */
void *arch_stack_alloc(void);
void arch_stack_free(void *top);
/* Stacks that were given back are kept for the next threads; how many bytes they are. */
u64 arch_stack_free_bytes(void);

/* Saved kernel context of a thread that is not running: only its stack pointer. */
struct arch_context {
    u64 rsp;
};

/* Prepares a context that starts entry(arg) on the stack; entry never returns. */
void arch_context_init(struct arch_context *c, void *stack_top, void (*entry)(void *), void *arg);
/* Saves the callee-saved registers here and continues there. */
void arch_context_switch(struct arch_context *from, struct arch_context *to);
/* Leaves to ring 3 at entry with RSP and RDI set, all else 0. */
NORETURN void arch_enter_user(u64 rip, u64 rsp, u64 rdi);

/* --- console --- */

/* Early console: serial port and screen as bootinfo says; polled. Writes n bytes whatever it takes.
 */
void arch_console_write(const char *s, size_t n);
/* What the devices take right now without waiting (screen takes all): returns bytes taken. */
size_t arch_console_try_write(const char *s, size_t n);

/* --- devices that ring 3 drives --- */

/* One byte to a port (0), or the byte from it. */
u8 arch_port(bool write, u16 port, u8 value);

/* Backtrace of the caller (rbp 0) or from a frame pointer, by symbol, to the kernel log. */
void arch_backtrace(u64 rbp);
/* For the panic report, to the kernel log: registers of the fault that led to it, if one did,
 * control registers, backtrace. */
void arch_panic_dump(void);

/* --- start-up, in the order kernel/main.c calls them --- */
void arch_early_init(const struct bootinfo *bi); /* console, exception vectors, CPU features */
void arch_boot_cpu_init(void);                   /* after the pool works: the local APIC */
void arch_time_init(const struct bootinfo *bi);  /* LAPIC and arch_tsc_hz */
void arch_start_cpus(
    const struct bootinfo *bi); /* each calls kernel_cpu_main() on its idle stack */
void arch_protect(void);        /* constants and page tables become read-only */

/* --- what arch/x86 calls in the kernel --- */

/* First C code on the boot CPU; kernel/main.c. */
NORETURN void kernel_main(const struct bootinfo *bi);
/* Each other CPU, on its idle stack, interrupts off, cpu_this() valid. */
NORETURN void kernel_cpu_main(void);
/* SYSCALL: frame holds the arguments and takes the results. May block and switch threads. */
struct syscall_frame {
    u64 rdi, rsi, rdx, r10, r8, r9; /* in: arguments; out: payload of SYS_VCPU_RUN */
    u64 rax;                        /* in: number; out: result */
    u64 rip, rflags, rsp;           /* of ring 3 */
};
void kernel_syscall(struct syscall_frame *f);
/* Called with hazards set before a return to ring 3 (after a system call or an interrupt). */
void kernel_user_hazards(void);
/* An exception in ring 3. Resolved (page fault in a guest-memory window): returns. Else the process
 * ends. */
void kernel_user_fault(u32 vector, u64 error, u64 address, u64 rip);
/* An interrupt of an ISA line. */
void kernel_irq(u32 line);
/* The timer armed by arch_timer_set fired on this CPU. */
void kernel_timer(void);

#endif
