/* SPDX-License-Identifier: MIT */
/* Register dump and backtrace, for panics. */
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/mmu.h"
#include "arch/x86/msr.h"
#include "arch/x86/trap.h"
#include "kernel/console.h"

#define FRAMES_MAX 32

/* Made by tools/symbols.sh, sorted by offset from BOOT_KERNEL_BASE. */
extern const u32 ksym_count, ksym_offsets[], ksym_names[];
extern const char ksym_strings[];
extern const u8 kernel_text_start[], kernel_text_end[], kernel_data_start[], kernel_data_end[];

/* Not klog(): whoever held its lock may be the one that panics, or has been stopped. */
static void line(const char *format, ...) PRINTF(1, 2);
static void line(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    console_line("  ", format, args);
    va_end(args);
}

static bool in_text(u64 rip)
{
    return rip >= (u64)kernel_text_start && rip < (u64)kernel_text_end;
}

/* back: bytes before rip where to look up: a return address may be the first one of the next
 * function. */
static void show(const char *what, u64 rip, u32 back)
{
    u32 offset = (u32)(rip - back - BOOT_KERNEL_BASE);
    u32 low = 0, high = ksym_count;

    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (ksym_offsets[middle] <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (!in_text(rip) || !low) {
        line("%s 0x%016lx", what, rip);
        return;
    }
    line("%s 0x%016lx %s+0x%x", what, rip, ksym_strings + ksym_names[low - 1],
         offset + back - ksym_offsets[low - 1]);
}

/* The mapped part of the stack that rsp is on, or, after an overflow, below. */
static bool stack_bounds(u64 rsp, u64 *low, u64 *end)
{
    u64 base = (u64)boot_stacks;

    if (rsp >= KVA_STACKS && rsp < KVA_STACKS + SIZE_1G) {
        *end = ALIGN_UP(rsp + 1, 2 * KERNEL_STACK_BYTES);
        *low = *end - KERNEL_STACK_BYTES;
        return true;
    }
    for (u32 i = 0; i <= IST_COUNT; i++) {
        u64 top = base + PAGE_SIZE + (i ? IST_STACK_BYTES : KERNEL_STACK_BYTES);
        if (rsp >= base && rsp < top) {
            *low = base + PAGE_SIZE;
            *end = top;
            return true;
        }
        base = top;
    }
    return false;
}

/* RBP may be anything, a guest's or ring 3's: only what lies on this stack is read. */
static void trace(u64 rbp, u64 rsp)
{
    u64 low, end;

    if (!stack_bounds(rsp, &low, &end)) {
        return;
    }
    for (u32 i = 0; i < FRAMES_MAX; i++) {
        if (rbp < MAX(rsp, low) || rbp & 7 || rbp > end - 16) {
            return;
        }
        const u64 *frame = (const u64 *)rbp;
        if (!in_text(frame[1])) {
            return;
        }
        show("from", frame[1], 1);
        rsp = rbp + 16;
        rbp = frame[0];
    }
}

void arch_backtrace(u64 rbp)
{
    u64 here = (u64)__builtin_frame_address(0);

    trace(rbp ? rbp : here, here);
}

static void dump_fault(const struct trap_frame *f)
{
    line("rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
    line("rsi %016lx rdi %016lx rbp %016lx rsp %016lx", f->rsi, f->rdi, f->rbp, f->rsp);
    line("r8  %016lx r9  %016lx r10 %016lx r11 %016lx", f->r8, f->r9, f->r10, f->r11);
    line("r12 %016lx r13 %016lx r14 %016lx r15 %016lx", f->r12, f->r13, f->r14, f->r15);
    line("rip %016lx cs %lx ss %lx rflags %lx error %lx", f->rip, f->cs, f->ss, f->rflags,
         f->error);
}

void arch_panic_dump(void)
{
    const struct trap_frame *f = cpu_arch(cpu_this())->fault;

    if (f) {
        dump_fault(f);
    }
    line("cr0 %lx cr2 %lx cr3 %lx cr4 %lx", read_cr0(), read_cr2(), read_cr3(), read_cr4());
    if (f) {
        show("at  ", f->rip, 0);
        trace(f->rbp, f->rsp);
    } else {
        arch_backtrace(0);
    }
}
