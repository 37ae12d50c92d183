/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts of a guest kernel. A test either expects a fault at one instruction
 * (TRY, on the boot CPU alone), or sets a handler for a vector; any other exception ends the guest
 * as a FAILURE, with its registers. Handlers are common to all CPUs.
 */
#ifndef GUESTS_LIB_TRAP_H
#define GUESTS_LIB_TRAP_H

#include "guests/lib/cpu.h"
#include "lib/types.h"

/* Selectors of the GDT in start.asm. */
#define SEL_CODE64      0x08
#define SEL_DATA        0x10
#define SEL_CODE32      0x18
#define SEL_USER_DATA   0x20
#define SEL_USER_CODE64 0x28
#define SEL_CODE16      0x30
#define SEL_DATA16      0x38
#define SEL_NOT_PRESENT 0x40
#define SEL_TSS         0x48
#define SEL_USER_CODE32 0x58

enum vector {
    VEC_DE = 0,
    VEC_DB = 1,
    VEC_NMI = 2,
    VEC_BP = 3,
    VEC_OF = 4,
    VEC_BR = 5,
    VEC_UD = 6,
    VEC_NM = 7,
    VEC_DF = 8,
    VEC_TS = 10,
    VEC_NP = 11,
    VEC_SS = 12,
    VEC_GP = 13,
    VEC_PF = 14,
    VEC_MF = 16,
    VEC_AC = 17,
    VEC_MC = 18,
    VEC_XM = 19,
};

#define PF_PRESENT BIT(0)
#define PF_WRITE   BIT(1)
#define PF_USER    BIT(2)
#define PF_RSVD    BIT(3)
#define PF_FETCH   BIT(4)

/* As start.asm pushes it. */
struct trap_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8;
    u64 rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u8 vector, has_error; /* has_error: the CPU pushed it; else it is 0 */
    u16 pad[3];
    u64 error;
    u64 rip, cs, rflags, rsp, ss;
};

/* What a fault looked like. vector -1: there was none. */
struct fault {
    int vector;
    bool has_error;
    u64 error, cr2, rip, rflags, rsp, cs;
};

extern volatile u64 trap_resume;     /* where TRY continues after a fault, 0: not in a TRY */
extern volatile u64 trap_resume_rsp; /* and with which stack */

/* For TRY: forgets the last fault, and gives it. */
void trap_expect(void);
struct fault trap_last(void);

/*
 * Runs instructions, and gives the struct fault that ended them (vector -1: none). After the text
 * come the operands of an asm statement, from the colon on. Registers that the instructions change
 * must be listed as usual; a fault may leave outputs unset.
 */
#define TRY(insns, ...)                                                                            \
    ({                                                                                             \
        trap_expect();                                                                             \
        __asm__ volatile("movq $1f, trap_resume\n\t"                                               \
                         "movq %%rsp, trap_resume_rsp\n\t" insns "\n\t"                            \
                         "1: movq $0, trap_resume" __VA_ARGS__);                                   \
        trap_last();                                                                               \
    })

/* RDMSR and WRMSR as TRYs. *value is unset after a fault. */
struct fault try_rdmsr(u32 msr, u64 *value);
struct fault try_wrmsr(u32 msr, u64 value);

/* A handler returns true when it dealt with the trap: the frame, perhaps changed, is resumed. */
typedef bool (*trap_handler_t)(struct trap_frame *frame);

/* Sets the handler of a vector and returns the one before; NULL: none. */
trap_handler_t trap_handle(int vector, trap_handler_t handler);

/* Fills and loads IDT, TSS and GDT. Called before guest_main(). */
void trap_init(void);
/* The same for another CPU: GDT and TSS of its own, the common IDT, and a stack for NMIs. */
struct cpu;
void trap_init_cpu(struct cpu *cpu, u64 nmi_stack_top);

/* Points a vector's gate somewhere else, and back to where trap_init() had it. type: byte 5 of the
 * gate. */
void trap_set_gate(int vector, u64 handler, u16 selector, u8 type);
void trap_reset_gate(int vector);

/* Makes a vector use stack n (1..7) of the TSS's table, with its top at rsp; n 0: the current
 * stack. */
void trap_set_ist(int vector, int n, u64 rsp);

/* Lets ring 3 use ports [port, port + count), or not; they must be below 1024. */
void trap_io_allow(u16 port, u32 count, bool allow);

/* One line of all registers to the console. */
void trap_print(const struct trap_frame *f);

struct idt_gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_mid;
    u32 offset_high, reserved;
} PACKED;

struct table_pointer {
    u16 limit;
    u64 base;
} PACKED;

struct tss64 {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7]; /* IST1 is [0] */
    u64 reserved2;
    u16 reserved3, io_map;
    u8 io_bits[1024 / 8 + 1];
} PACKED;

#define CPU_MAX     16
#define GDT_ENTRIES 12

/* A CPU knows itself by the address of its GDT. */
struct cpu {
    u64 gdt[GDT_ENTRIES]; /* of all but the boot CPU */
    struct tss64 tss;
    u32 index, apic_id;
    volatile u32 taken[256]; /* interrupts, by irq_count() */
};

extern struct cpu cpus[CPU_MAX]; /* 0: the boot CPU */
struct cpu *cpu_self(void);

extern struct idt_gate idt[256];
extern struct table_pointer idt_pointer, gdt_pointer;
extern u64 gdt[];
extern struct tss64 tss;

/*
 * Runs a piece of code in ring 3, on a page of its own with the stack in the same page's end, until
 * it traps. Any exception or INT ends it; what it was is returned. code is copied (at most 2 KiB,
 * position independent). The registers at that moment are in *regs, unless it is NULL; RDI is arg
 * at the start.
 */
struct fault user_run(const void *code, size_t bytes, u64 arg, u64 rflags, struct trap_frame *regs);

#endif
