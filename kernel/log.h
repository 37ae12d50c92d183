/* SPDX-License-Identifier: MIT */
/* The kernel's own words: log lines, and the end of everything. */
#ifndef KERNEL_LOG_H
#define KERNEL_LOG_H

#include "lib/types.h"

/* One line (a newline is added), prefixed "socle: ". Formats as lib/format.h. Any context but NMI.
 */
void klog(const char *format, ...) PRINTF(1, 2);

/* Our own bug or broken hardware: stops all CPUs, prints registers, backtrace and the last exits.
 * Never reached by anything that a guest, a file or ring 3 controls. */
NORETURN void panic(const char *format, ...) PRINTF(1, 2);

/* A panic when a promise of our own code is broken. */
#define ASSERT(c)                                                                                  \
    do {                                                                                           \
        if (UNLIKELY(!(c))) {                                                                      \
            panic("assertion failed: %s (%s:%d)", #c, __FILE__, __LINE__);                         \
        }                                                                                          \
    } while (0)

#endif
