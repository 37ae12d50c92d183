/* SPDX-License-Identifier: MIT */
/* Exceptions and interrupts after their entry: who deals with them. */
#include "arch/x86/trap.h"

#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/lapic.h"
#include "arch/x86/msr.h"
#include "arch/x86/smp.h"
#include "kernel/abi.h"
#include "kernel/log.h"

/* Made by FIXUP in smap.inc. */
struct fixup {
    u64 rip, target, user_only;
};
extern const struct fixup fixups_start[], fixups_end[];

static const char *const names[TRAP_EXCEPTIONS] = {
    [0] = "divide error",
    [1] = "debug",
    [2] = "NMI",
    [3] = "breakpoint",
    [4] = "overflow",
    [5] = "bound range",
    [6] = "invalid opcode",
    [7] = "device not available",
    [8] = "double fault",
    [10] = "invalid TSS",
    [11] = "segment not present",
    [12] = "stack fault",
    [13] = "general protection",
    [14] = "page fault",
    [16] = "x87 error",
    [17] = "alignment check",
    [18] = "machine check",
    [19] = "SIMD error",
    [20] = "virtualization exception",
    [21] = "control protection",
};

static NORETURN void fault_panic(const struct trap_frame *f)
{
    const char *name = f->vector < TRAP_EXCEPTIONS ? names[f->vector] : NULL;

    cpu_arch(cpu_this())->fault = f;
    panic("%s (vector %lu, error 0x%lx) at 0x%lx, CR2 0x%lx", name ? name : "exception", f->vector,
          f->error, f->rip, read_cr2());
}

/* A fault of the kernel at a place that expects one? */
static bool fixup(struct trap_frame *f)
{
    bool page_fault = f->vector == TRAP_PF;
    bool fetch = page_fault && (f->error & PF_ERROR_FETCH);

    if (!page_fault && f->vector != TRAP_GP) {
        return false;
    }
    /* a call that could not fetch its first instruction: its return address says who called */
    u64 rip = fetch ? *(const u64 *)f->rsp : f->rip;
    for (const struct fixup *x = fixups_start; x < fixups_end; x++) {
        if (x->rip == rip && !(x->user_only && page_fault && read_cr2() >= USER_TOP)) {
            f->rip = x->target;
            f->rsp += fetch ? 8 : 0;
            return true;
        }
    }
    return false;
}

void trap_handle(struct trap_frame *f)
{
    if (f->vector >= TRAP_EXCEPTIONS) {
        arch_interrupt((u32)f->vector);
    } else if (f->cs & 3) {
        u64 address = f->vector == TRAP_PF ? read_cr2() : 0;
        kernel_user_fault((u32)f->vector, f->error, address, f->rip);
    } else if (!fixup(f)) {
        fault_panic(f);
    }
}

void arch_interrupt(u32 vector)
{
    struct cpu *c = cpu_this();

    c->interrupts++;
    switch (vector) {
    case VECTOR_TIMER:
        cpu_arch(c)->timer_tsc = ~0ull;
        lapic_eoi();
        if (c->deadline > arch_tsc()) {
            /* the timer's counter was too small for the whole way, or the interrupt had been on its
             * way when a later deadline was set */
            lapic_timer_set(c->deadline);
        } else {
            c->deadline = ~0ull;
            kernel_timer();
        }
        break;
    case VECTOR_KICK:
        lapic_eoi();
        arch_spin_poll(); /* all else is seen when the hazards are looked at, on the way back */
        break;
    case VECTOR_POSTED: /* its guest is not in the CPU now: the hazard that was set tells it */
        lapic_eoi();
        break;
    case VECTOR_SPURIOUS:
        break; /* not in service: no EOI */
    case BOOT_VECTOR_IRQ ... BOOT_VECTOR_IRQ + IRQ_LINES - 1:
        lapic_eoi();
        kernel_irq(vector - BOOT_VECTOR_IRQ);
        break;
    default:
        cpu_arch(c)->unexpected++;
        if (lapic_in_service(vector)) {
            lapic_eoi();
        }
        break;
    }
}

void trap_user_hazards(void)
{
    struct cpu *c = cpu_this();

    arch_spin_poll();
    if (__atomic_load_n(&c->hazards, __ATOMIC_SEQ_CST)) {
        kernel_user_hazards();
    }
}

void trap_bad_rip(u64 rip)
{
    kernel_user_fault(TRAP_GP, 0, 0, rip);
}

#define MSR_IA32_MCG_CAP    0x179u
#define MCG_CAP_COUNT       FIELD(7, 0)
#define MSR_IA32_MC0_STATUS 0x401u /* + 4 * bank */
#define MC_STATUS_VALID     BIT(63)

static NORETURN void machine_check(const struct trap_frame *f)
{
    u32 banks = (u32)(rdmsr(MSR_IA32_MCG_CAP) & MCG_CAP_COUNT);

    cpu_arch(cpu_this())->fault = f;
    for (u32 i = 0; i < banks; i++) {
        u64 status = rdmsr(MSR_IA32_MC0_STATUS + 4 * i);
        if (status & MC_STATUS_VALID) {
            panic("machine check: bank %u status 0x%lx", i, status);
        }
    }
    panic("machine check");
}

void trap_handle_ist(struct trap_frame *f)
{
    switch (f->vector) {
    case TRAP_NMI:
        if (smp_stopping()) {
            arch_halt();
        }
        cpu_arch(cpu_this())->nmis++; /* not ours: nothing that we could mend */
        break;
    case TRAP_MC:
        machine_check(f);
    default:
        fault_panic(f);
    }
}
