/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/uart16550.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/* The UART under arbitrary accesses and input. Input: operations of 2 bytes. After each, what can
 * be seen must hang together. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/uart16550.h"

#define PORT 0x3f8
#define IRQ  4

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct machine *m = malloc(sizeof(*m));
    struct uart16550 *u = malloc(sizeof(*u));
    char typed[64];

    fake_host_reset(m);
    check(uart16550_attach(u, m, PORT, IRQ));
    for (; size >= 2; data += 2, size -= 2) {
        u16 port = PORT + (data[0] & 7);
        u8 width = (u8)(1u << ((data[0] >> 3) & 3)) & 7;
        bool write = data[0] & 0x20;

        if (data[0] & 0x40) { /* something is typed */
            memset(typed, data[1] ? data[1] : 1, sizeof(typed));
            typed[data[1] % sizeof(typed)] = 0;
            m->in = typed;
        } else if (write) {
            bus_out(&m->bus, port, width ? width : 1, data[1] * 0x01010101u);
        } else {
            u32 value = bus_in(&m->bus, port, width ? width : 1);
            check(width <= 1 || value == (u32)bus_ones(width));
        }
        check(u->rx_count <= UART_FIFO_SIZE && u->rx_at < UART_FIFO_SIZE);
        check((u->fcr & UART_FCR_ENABLE) || u->rx_count <= 1);
        check(!(u->ier & ~UART_IER_MASK) && !(u->mcr & ~UART_MCR_MASK));
        bool line = m->irq_levels & (1u << IRQ);
        check(!line || ((u->mcr & UART_MCR_OUT2) && !(u->mcr & UART_MCR_LOOP) && u->ier));
    }
    free(u);
    free(m);
    return 0;
}
