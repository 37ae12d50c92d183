/* SPDX-License-Identifier: MIT */
/* The isolation report: who owns which page, computed from the live tables. */
#ifndef KERNEL_ISOLATION_H
#define KERNEL_ISOLATION_H

#include "kernel/abi.h"

/* Kernel lock held. Guests go on, but those that touch new memory wait for its end. */
void isolation_check(struct isolation_report *r);

#endif
