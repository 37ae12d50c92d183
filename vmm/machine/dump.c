/* SPDX-License-Identifier: MIT */
/* A guest's registers as text, for the guest's console. */
#include "vmm/machine/machine.h"

void dump_state(struct machine *m, const struct vcpu_state *s)
{
    static const char names[SEG_COUNT][5] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    const u64 *r = s->gpr;

    console_line(m, "rax %016lx rbx %016lx rcx %016lx rdx %016lx", r[GPR_RAX], r[GPR_RBX],
                 r[GPR_RCX], r[GPR_RDX]);
    console_line(m, "rsi %016lx rdi %016lx rbp %016lx rsp %016lx", r[GPR_RSI], r[GPR_RDI],
                 r[GPR_RBP], r[GPR_RSP]);
    console_line(m, "r8  %016lx r9  %016lx r10 %016lx r11 %016lx", r[GPR_R8], r[GPR_R9], r[GPR_R10],
                 r[GPR_R11]);
    console_line(m, "r12 %016lx r13 %016lx r14 %016lx r15 %016lx", r[GPR_R12], r[GPR_R13],
                 r[GPR_R14], r[GPR_R15]);
    console_line(m, "rip %016lx rflags %08lx", s->rip, s->rflags);
    console_line(m, "cr0 %08lx cr2 %016lx cr3 %016lx cr4 %08lx cr8 %lx", s->cr0, s->cr2, s->cr3,
                 s->cr4, s->cr8);
    console_line(m, "efer %lx xcr0 %lx dr7 %lx gdt %016lx+%x idt %016lx+%x", s->efer, s->xcr0,
                 s->dr7, s->gdt_base, s->gdt_limit, s->idt_base, s->idt_limit);
    for (u32 i = 0; i < SEG_COUNT; i++) {
        const struct vcpu_seg *seg = &s->seg[i];
        console_line(m, "%-4s %04x base %016lx limit %08x access %05x", names[i],
                     (u32)seg->selector, seg->base, seg->limit, seg->access);
    }
    console_line(m, "interruptibility %x halted %u pending debug %lx", s->interruptibility,
                 s->halted, s->pending_debug);
}
