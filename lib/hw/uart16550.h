/* SPDX-License-Identifier: MIT */
/* Registers of the 16550A UART, by the names of its datasheet (National PC16550D "Registers"). */
#ifndef LIB_HW_UART16550_H
#define LIB_HW_UART16550_H

#include "lib/types.h"

#define UART_COM1_PORT 0x3f8
#define UART_PORTS     8
#define UART_CLOCK_HZ  1843200 /* divided by 16 and the divisor latch */
#define UART_FIFO_SIZE 16

/* Register offsets. */
#define UART_RBR 0 /* read, DLAB 0: receiver buffer */
#define UART_THR 0 /* write, DLAB 0: transmitter holding */
#define UART_DLL 0 /* DLAB 1: divisor latch, low byte */
#define UART_IER 1 /* DLAB 0: interrupt enable */
#define UART_DLM 1 /* DLAB 1: divisor latch, high byte */
#define UART_IIR 2 /* read: interrupt identification */
#define UART_FCR 2 /* write: FIFO control */
#define UART_LCR 3 /* line control */
#define UART_MCR 4 /* modem control */
#define UART_LSR 5 /* line status */
#define UART_MSR 6 /* modem status */
#define UART_SCR 7 /* scratch */

/* IER */
#define UART_IER_ERBFI 0x01 /* received data available, and FIFO time-out */
#define UART_IER_ETBEI 0x02 /* transmitter holding register empty */
#define UART_IER_ELSI  0x04 /* receiver line status */
#define UART_IER_EDSSI 0x08 /* modem status */
#define UART_IER_MASK  0x0f

/* IIR */
#define UART_IIR_NONE    0x01 /* no interrupt is pending */
#define UART_IIR_MSI     0x00 /* modem status; read MSR */
#define UART_IIR_THRI    0x02 /* transmitter empty; read IIR or write THR */
#define UART_IIR_RDI     0x04 /* received data, trigger level reached; read RBR */
#define UART_IIR_RLSI    0x06 /* line status; read LSR */
#define UART_IIR_TIMEOUT 0x0c /* characters wait in the FIFO below the trigger level; read RBR */
#define UART_IIR_FIFO    0xc0 /* FIFOs are on */

/* FCR */
#define UART_FCR_ENABLE        0x01
#define UART_FCR_CLEAR_RX      0x02
#define UART_FCR_CLEAR_TX      0x04
#define UART_FCR_DMA           0x08
#define UART_FCR_TRIGGER       0xc0 /* 1, 4, 8, 14 characters */
#define UART_FCR_TRIGGER_SHIFT 6

/* LCR */
#define UART_LCR_WORD_8 0x03
#define UART_LCR_BREAK  0x40
#define UART_LCR_DLAB   0x80

/* MCR */
#define UART_MCR_DTR  0x01
#define UART_MCR_RTS  0x02
#define UART_MCR_OUT1 0x04
#define UART_MCR_OUT2 0x08 /* on a PC: gates the interrupt line */
#define UART_MCR_LOOP 0x10
#define UART_MCR_MASK 0x1f

/* LSR */
#define UART_LSR_DR         0x01 /* data ready */
#define UART_LSR_OE         0x02 /* overrun */
#define UART_LSR_PE         0x04
#define UART_LSR_FE         0x08
#define UART_LSR_BI         0x10 /* break */
#define UART_LSR_ERRORS     0x1e
#define UART_LSR_THRE       0x20 /* transmitter holding register empty */
#define UART_LSR_TEMT       0x40 /* transmitter wholly empty */
#define UART_LSR_FIFO_ERROR 0x80

/* MSR */
#define UART_MSR_DCTS   0x01
#define UART_MSR_DDSR   0x02
#define UART_MSR_TERI   0x04 /* trailing edge of ring */
#define UART_MSR_DDCD   0x08
#define UART_MSR_DELTAS 0x0f
#define UART_MSR_CTS    0x10
#define UART_MSR_DSR    0x20
#define UART_MSR_RI     0x40
#define UART_MSR_DCD    0x80

#endif
