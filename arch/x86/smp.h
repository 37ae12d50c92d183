/* SPDX-License-Identifier: MIT */
/* The other CPUs: their start is arch_start_cpus(), their end arch_stop_others(). */
#ifndef ARCH_X86_SMP_H
#define ARCH_X86_SMP_H

#include "arch/arch.h"

/* True once arch_stop_others() was called: an NMI then means to stop. */
bool smp_stopping(void);

/* First C code of another CPU, from trampoline.asm, on its idle stack with the start tables loaded.
 */
NORETURN void smp_cpu_main(struct cpu *c);

#endif
