/* SPDX-License-Identifier: MIT */
/* Steps of the start that the kernel does not call itself. */
#ifndef ARCH_X86_BOOT_H
#define ARCH_X86_BOOT_H

#include "kernel/bootinfo.h"

/* First C code, from entry.asm, on the boot stack. */
NORETURN void start_boot_cpu(const struct bootinfo *bi);

/* Console: devices as bootinfo says; then, with our own page tables, the screen's final mapping. */
void console_init(const struct bootinfo *bi);
void console_map(void);
/* Waits until the last character is on the line. */
void console_drain(void);

#endif
