/* SPDX-License-Identifier: MIT */
/* Output of a guest kernel: COM1, polled, in FIFO bursts; or the debug console port with
 * "console=e9". */
#ifndef GUESTS_LIB_CONSOLE_H
#define GUESTS_LIB_CONSOLE_H

#include "lib/hw/uart16550.h"
#include "lib/types.h"

#define COM1            UART_COM1_PORT
#define PORT_DEBUG      0xe9
#define PORT_DEBUG_EXIT 0xf4

void console_init(void);
/* Sends n bytes to the debug console port instead, by one REP OUTSB. */
void console_debug(const char *s, size_t n);
void console_write(const char *s, size_t n);
void print(const char *format, ...) PRINTF(1, 2);

/* Ends the guest: status 0 is success. When nothing takes the exit, halts with interrupts off. */
NORETURN void guest_exit(u32 status);

#endif
