/* SPDX-License-Identifier: MIT */
/* What the loader told, checked, for the rest of the kernel; and the machine's end. */
#ifndef KERNEL_BOOT_H
#define KERNEL_BOOT_H

#include "kernel/bootinfo.h"
#include "lib/types.h"

/* The kernel's own copy, constant after boot. */
extern struct bootinfo boot_info;

/* Mask of CPUs that run threads. */
u64 boot_online_cpus(void);
u32 boot_online_count(void);

/* "VT-x", or a sentence why guests cannot run. */
const char *boot_virt_name(void);

/* All other CPUs stop, virtualization goes off everywhere, then the machine does as told. */
NORETURN void boot_shutdown(u32 action);

/* This CPU was told to stop (CPU_HAZARD_STOP): virtualization off, halt. */
NORETURN void boot_stop_this_cpu(void);

#endif
