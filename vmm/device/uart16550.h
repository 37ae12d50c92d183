/* SPDX-License-Identifier: MIT */
/* A serial port: the PC16550D UART with FIFOs, wired to the guest's console. */
#ifndef VMM_DEVICE_UART16550_H
#define VMM_DEVICE_UART16550_H

#include "lib/hw/uart16550.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

/* Registers by the names of the datasheet. Time is not modelled: a byte is sent the moment it is
 * written, and one that was typed arrives when the guest looks, or for an interrupt. */
struct uart16550 {
    struct machine *host;
    u32 irq;
    u8 ier, fcr, lcr, mcr, msr, scr, dll, dlm;
    u8 overrun; /* LSR.OE */
    bool thri;  /* the transmitter-empty interrupt is latched */
    u8 rx_at, rx_count;
    u8 rx[UART_FIFO_SIZE];
    u8 rx_errors[UART_FIFO_SIZE]; /* LSR bits that came with the byte */
};

/* The state after power-on. host and irq stay. */
void uart16550_reset(struct uart16550 *u);

/* Something may have been typed: raises the interrupt for it. */
void uart16550_poll(struct uart16550 *u);

/* Resets the UART and puts it on the bus at port (8 ports) and interrupt line irq; false: no room.
 */
bool uart16550_attach(struct uart16550 *u, struct machine *host, u16 port, u32 irq) MUST_CHECK;

#endif
