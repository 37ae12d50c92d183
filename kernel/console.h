/* SPDX-License-Identifier: MIT */
/* The host console, shared by the kernel's log and the manager's output. */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include "lib/types.h"

/* What the console takes now without waiting; returns bytes taken. */
size_t console_try_write(const char *s, size_t n);

/* A whole line on a line of its own. No lock: the caller is the log, or a panic. */
void console_line(const char *prefix, const char *format, va_list args);

#endif
