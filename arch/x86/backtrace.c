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

typedef unsigned long long ull;

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
        line("%s 0x%016llx", what, (ull)rip);
        return;
    }
    line("%s 0x%016llx %s+0x%x", what, (ull)rip, ksym_strings + ksym_names[low - 1],
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
    line("rax %016llx rbx %016llx rcx %016llx rdx %016llx", (ull)f->rax, (ull)f->rbx, (ull)f->rcx,
         (ull)f->rdx);
    line("rsi %016llx rdi %016llx rbp %016llx rsp %016llx", (ull)f->rsi, (ull)f->rdi, (ull)f->rbp,
         (ull)f->rsp);
    line("r8  %016llx r9  %016llx r10 %016llx r11 %016llx", (ull)f->r8, (ull)f->r9, (ull)f->r10,
         (ull)f->r11);
    line("r12 %016llx r13 %016llx r14 %016llx r15 %016llx", (ull)f->r12, (ull)f->r13, (ull)f->r14,
         (ull)f->r15);
    line("rip %016llx cs %llx ss %llx rflags %llx error %llx", (ull)f->rip, (ull)f->cs, (ull)f->ss,
         (ull)f->rflags, (ull)f->error);
}

void arch_panic_dump(void)
{
    const struct trap_frame *f = cpu_arch(cpu_this())->fault;

    if (f) {
        dump_fault(f);
    }
    line("cr0 %llx cr2 %llx cr3 %llx cr4 %llx", (ull)read_cr0(), (ull)read_cr2(), (ull)read_cr3(),
         (ull)read_cr4());
    if (f) {
        show("at  ", f->rip, 0);
        trace(f->rbp, f->rsp);
    } else {
        arch_backtrace(0);
    }
}
