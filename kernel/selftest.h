/* SPDX-License-Identifier: MIT */
/* The microkernel's own tests, run on request ([host] self-test = yes). */
#ifndef KERNEL_SELFTEST_H
#define KERNEL_SELFTEST_H

#include "kernel/abi.h"

/* Runs test number index; false when there is none. Kernel lock held. */
bool selftest_run(u32 index, struct system_test *out);

#endif
