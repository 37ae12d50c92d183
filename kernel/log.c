/* SPDX-License-Identifier: MIT */
/* The kernel log and the host console behind it. */
#include "kernel/log.h"

#include "arch/arch.h"
#include "kernel/console.h"
#include "kernel/spinlock.h"
#include "lib/format.h"

static struct spinlock lock;
static bool mid_line; /* the last character was not a newline */

size_t console_try_write(const char *s, size_t n)
{
    spin_lock(&lock);
    n = arch_console_try_write(s, n);
    if (n) {
        mid_line = s[n - 1] != '\n';
    }
    spin_unlock(&lock);
    return n;
}

static void sink(UNUSED void *ctx, const char *s, size_t n)
{
    arch_console_write(s, n);
}

void console_line(const char *prefix, const char *format, va_list args)
{
    if (mid_line) {
        arch_console_write("\n", 1);
        mid_line = false;
    }
    for (size_t n = 0; prefix[n]; n++) {
        arch_console_write(&prefix[n], 1);
    }
    format_to(sink, NULL, format, args);
    arch_console_write("\n", 1);
}

void klog(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    spin_lock(&lock);
    console_line("socle: ", format, args);
    spin_unlock(&lock);
    va_end(args);
}
