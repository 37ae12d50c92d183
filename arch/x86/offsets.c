/* SPDX-License-Identifier: MIT */
/* Offsets and numbers that assembly needs, from the C that defines them. Compiled to assembly text
 * only; kernel/build.mk turns the marked lines into $(BUILD)/offsets.inc. */
#include "arch/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/trap.h"
#include "kernel/abi.h"
#include "kernel/vcpu.h"

#define VALUE(name, value)         __asm__ volatile("\n->" #name " %0" : : "i"(value))
#define OFFSET(name, type, member) VALUE(name, offsetof(type, member))

void offsets(void);

void offsets(void)
{
    /* kernel/cpu.h */
    OFFSET(CPU_KERNEL_RSP, struct cpu, kernel_rsp);
    OFFSET(CPU_USER_RSP, struct cpu, user_rsp);
    OFFSET(CPU_RESIDENT, struct cpu, resident);
    OFFSET(CPU_HAZARDS, struct cpu, hazards);
    OFFSET(CPU_ARCH, struct cpu, arch);

    /* kernel/vcpu.h: gpr[] is in ModRM order */
    OFFSET(VCPU_RAX, struct vcpu, gpr[GPR_RAX]);
    OFFSET(VCPU_RCX, struct vcpu, gpr[GPR_RCX]);
    OFFSET(VCPU_RDX, struct vcpu, gpr[GPR_RDX]);
    OFFSET(VCPU_RBX, struct vcpu, gpr[GPR_RBX]);
    OFFSET(VCPU_RBP, struct vcpu, gpr[GPR_RBP]);
    OFFSET(VCPU_RSI, struct vcpu, gpr[GPR_RSI]);
    OFFSET(VCPU_RDI, struct vcpu, gpr[GPR_RDI]);
    OFFSET(VCPU_R8, struct vcpu, gpr[GPR_R8]);
    OFFSET(VCPU_R9, struct vcpu, gpr[GPR_R9]);
    OFFSET(VCPU_R10, struct vcpu, gpr[GPR_R10]);
    OFFSET(VCPU_R11, struct vcpu, gpr[GPR_R11]);
    OFFSET(VCPU_R12, struct vcpu, gpr[GPR_R12]);
    OFFSET(VCPU_R13, struct vcpu, gpr[GPR_R13]);
    OFFSET(VCPU_R14, struct vcpu, gpr[GPR_R14]);
    OFFSET(VCPU_R15, struct vcpu, gpr[GPR_R15]);
    OFFSET(VCPU_HOST_RSP, struct vcpu, host_rsp);
    OFFSET(VCPU_LAUNCHED, struct vcpu, launched);

    /* arch/arch.h: what the SYSCALL entry pushes */
    OFFSET(FRAME_RFLAGS, struct syscall_frame, rflags);

    /* arch/x86: interrupts, and the per-CPU part of this architecture */
    OFFSET(TRAP_CS, struct trap_frame, cs);
    OFFSET(ARCH_TSS_RSP0, struct arch_cpu, tss.rsp[0]);
    VALUE(STACK_BYTES, KERNEL_STACK_BYTES);
    VALUE(IST_STACKS, IST_COUNT);
    VALUE(IST_BYTES, IST_STACK_BYTES);

    /* kernel/abi.h */
    VALUE(SYS_VCPU_RUN, SYS_VCPU_RUN);
    OFFSET(VCPU_EXIT_KIND, struct vcpu_exit, kind);
    OFFSET(VCPU_EXIT_A, struct vcpu_exit, a);
    OFFSET(VCPU_EXIT_B, struct vcpu_exit, b);
    OFFSET(VCPU_EXIT_C, struct vcpu_exit, c);
    OFFSET(VCPU_EXIT_D, struct vcpu_exit, d);
    OFFSET(VCPU_EXIT_E, struct vcpu_exit, e);
    OFFSET(VCPU_EXIT_F, struct vcpu_exit, f);
    OFFSET(VCPU_EXIT_GPR, struct vcpu_exit, gpr);
    VALUE(ERR_FAULT, E_FAULT);
}
