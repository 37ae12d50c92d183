/* SPDX-License-Identifier: MIT */
/* Time, beside what arch/arch.h offers of it. */
#ifndef ARCH_X86_TIME_H
#define ARCH_X86_TIME_H

#include "lib/types.h"

/* Each CPU, after arch_time_init(): its timer is ready to be set. */
void time_init_cpu(void);

/* Busy waiting; only while CPUs start or stop. */
void time_wait_us(u64 us);

#endif
