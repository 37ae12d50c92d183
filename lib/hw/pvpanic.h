/* SPDX-License-Identifier: MIT */
/* The port by which a kernel tells that it has panicked (QEMU "PVPANIC DEVICE"). */
#ifndef LIB_HW_PVPANIC_H
#define LIB_HW_PVPANIC_H

#define PVPANIC_PORT         0x505 /* read: the events that are known; write: those that happened */

#define PVPANIC_PANICKED     0x01
#define PVPANIC_CRASH_LOADED 0x02 /* it has, and another kernel takes over */

#endif
