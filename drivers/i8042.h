/* SPDX-License-Identifier: MIT */
/* The PC's keyboard controller (Intel 8042) with a PS/2 keyboard at its first port. */
#ifndef DRIVERS_I8042_H
#define DRIVERS_I8042_H

#include "kernel/abi.h"
#include "lib/types.h"

#define I8042_LINE 1

/* Switches the keyboard on, its codes translated to set 1, and its interrupt; the mouse off. Takes
 * a few milliseconds. tsc_hz: of the clock; system: a handle with RIGHT_EXEC. False: there is no
 * controller. */
bool i8042_init(handle_t system, u64 tsc_hz) MUST_CHECK;

/* The next scan code; -1: there is none now. */
int i8042_read(handle_t system);

#endif
