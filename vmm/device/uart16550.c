/* SPDX-License-Identifier: MIT */
/*
 * A serial port (National PC16550D). Complete but for baud time and parity: bytes take no time.
 * Deviation: the word length cuts bytes in loopback only, so a guest that never sets LCR can print.
 */
#include "vmm/device/uart16550.h"

#include "lib/string.h"

static bool fifo_on(const struct uart16550 *u)
{
    return u->fcr & UART_FCR_ENABLE;
}

static bool loopback(const struct uart16550 *u)
{
    return u->mcr & UART_MCR_LOOP;
}

static u32 rx_capacity(const struct uart16550 *u)
{
    return fifo_on(u) ? UART_FIFO_SIZE : 1;
}

static u8 line_status(const struct uart16550 *u)
{
    u8 lsr = UART_LSR_THRE | UART_LSR_TEMT | u->overrun;

    if (u->rx_count) {
        lsr |= UART_LSR_DR | u->rx_errors[u->rx_at];
    }
    for (u32 i = 0; fifo_on(u) && i < u->rx_count; i++) {
        if (u->rx_errors[(u->rx_at + i) % UART_FIFO_SIZE]) {
            lsr |= UART_LSR_FIFO_ERROR;
        }
    }
    return lsr;
}

/* The pending interrupt of highest priority (datasheet "Interrupt Identification Register"). */
static u8 pending_interrupt(const struct uart16550 *u)
{
    static const u8 triggers[4] = {1, 4, 8, 14};

    if ((u->ier & UART_IER_ELSI) && (line_status(u) & UART_LSR_ERRORS)) {
        return UART_IIR_RLSI;
    }
    if ((u->ier & UART_IER_ERBFI) && u->rx_count) {
        u8 trigger = triggers[u->fcr >> UART_FCR_TRIGGER_SHIFT];
        return !fifo_on(u) || u->rx_count >= trigger ? UART_IIR_RDI : UART_IIR_TIMEOUT;
    }
    if ((u->ier & UART_IER_ETBEI) && u->thri) {
        return UART_IIR_THRI;
    }
    if ((u->ier & UART_IER_EDSSI) && (u->msr & UART_MSR_DELTAS)) {
        return UART_IIR_MSI;
    }
    return UART_IIR_NONE;
}

static void receive(struct uart16550 *u, u8 byte, u8 errors)
{
    if (u->rx_count == rx_capacity(u)) {
        u->overrun = UART_LSR_OE;
        if (!fifo_on(u)) { /* the new byte replaces the one in the buffer */
            u->rx[u->rx_at] = byte;
            u->rx_errors[u->rx_at] = errors;
        }
        return;
    }
    u32 at = (u->rx_at + u->rx_count++) % UART_FIFO_SIZE;
    u->rx[at] = byte;
    u->rx_errors[at] = errors;
}

/* Takes what was typed, as far as there is room: nothing overruns from outside. */
static void poll_input(struct uart16550 *u)
{
    while (!loopback(u) && u->rx_count < rx_capacity(u)) {
        int c = host_console_get(u->host);
        if (c < 0) {
            break;
        }
        receive(u, (u8)c, 0);
    }
}

/* The line from the state. On a PC, OUT2 connects it, and loopback cuts OUT2. */
static void drive_irq(const struct uart16550 *u)
{
    bool connected = (u->mcr & UART_MCR_OUT2) && !loopback(u);

    host_irq(u->host, u->irq, connected && pending_interrupt(u) != UART_IIR_NONE);
}

/* After every access. Where edges count, the line falls before the next byte raises it: a guest may
 * take one for each interrupt. */
static void update_irq(struct uart16550 *u)
{
    drive_irq(u);
    if (u->ier & UART_IER_ERBFI) {
        poll_input(u); /* nobody looks before the interrupt */
        drive_irq(u);
    }
}

static void clear_rx(struct uart16550 *u)
{
    u->rx_at = u->rx_count = 0;
}

static void transmit(struct uart16550 *u, u8 byte)
{
    if (loopback(u)) {
        receive(u, byte & (0xff >> (3 - (u->lcr & UART_LCR_WORD_8))), 0);
    } else {
        host_console_put(u->host, byte);
    }
    if (!fifo_on(u)) { /* a byte on its way is no interrupt; a FIFO's worth is sent at once */
        u->thri = false;
        drive_irq(u);
    }
    u->thri = true;
}

/* Modem status from its inputs: a terminal that is always there, or in loopback the own outputs. */
static void update_modem(struct uart16550 *u)
{
    u8 now = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;

    if (loopback(u)) {
        now = (u->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
              (u->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
              (u->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
              (u->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
    }
    u8 changed = now ^ u->msr;
    u8 deltas = (u->msr & UART_MSR_DELTAS) |
                ((changed >> 4) & (UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD));
    if ((changed & UART_MSR_RI) && !(now & UART_MSR_RI)) {
        deltas |= UART_MSR_TERI;
    }
    u->msr = now | deltas;
}

static u8 read_rbr(struct uart16550 *u)
{
    u8 byte = u->rx[u->rx_at]; /* an empty buffer gives its last byte again */

    poll_input(u);
    if (u->rx_count) {
        byte = u->rx[u->rx_at];
        u->rx_errors[u->rx_at] = 0;
        u->rx_count--;
        if (fifo_on(u)) {
            u->rx_at = (u->rx_at + 1) % UART_FIFO_SIZE;
        }
    }
    return byte;
}

static u8 read_iir(struct uart16550 *u)
{
    poll_input(u);
    u8 iir = pending_interrupt(u);
    if (iir == UART_IIR_THRI) {
        u->thri = false;
    }
    return iir | (fifo_on(u) ? UART_IIR_FIFO : 0);
}

static u8 read_lsr(struct uart16550 *u)
{
    poll_input(u);
    u8 lsr = line_status(u);
    u->overrun = 0;
    if (u->rx_count) {
        u->rx_errors[u->rx_at] = 0;
    }
    return lsr;
}

static u32 uart_read(void *device, u16 offset, u8 bytes)
{
    struct uart16550 *u = device;
    bool dlab = u->lcr & UART_LCR_DLAB;
    u8 value = 0;

    (void)bytes; /* always 1 */
    switch (offset) {
    case UART_RBR:
        value = dlab ? u->dll : read_rbr(u);
        break;
    case UART_IER:
        value = dlab ? u->dlm : u->ier;
        break;
    case UART_IIR:
        value = read_iir(u);
        break;
    case UART_LCR:
        value = u->lcr;
        break;
    case UART_MCR:
        value = u->mcr;
        break;
    case UART_LSR:
        value = read_lsr(u);
        break;
    case UART_MSR:
        value = u->msr;
        u->msr &= (u8)~UART_MSR_DELTAS;
        break;
    case UART_SCR:
        return u->scr; /* no state of the UART */
    }
    update_irq(u);
    return value;
}

static void write_ier(struct uart16550 *u, u8 value)
{
    if ((value & UART_IER_ETBEI) && !(u->ier & UART_IER_ETBEI)) {
        u->thri = true; /* the transmitter is empty, and now says so */
    }
    u->ier = value & UART_IER_MASK;
}

static void write_fcr(struct uart16550 *u, u8 value)
{
    if ((value ^ u->fcr) & UART_FCR_ENABLE) {
        clear_rx(u); /* switching the FIFOs empties them */
    }
    if (!(value & UART_FCR_ENABLE)) {
        u->fcr = 0; /* without it the other bits are not programmed */
        return;
    }
    if (value & UART_FCR_CLEAR_RX) {
        clear_rx(u);
    }
    u->fcr = value & (UART_FCR_ENABLE | UART_FCR_DMA | UART_FCR_TRIGGER);
}

static void write_lcr(struct uart16550 *u, u8 value)
{
    if (loopback(u) && (value & ~u->lcr & UART_LCR_BREAK)) {
        receive(u, 0, UART_LSR_BI | UART_LSR_FE);
    }
    u->lcr = value;
}

static void uart_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct uart16550 *u = device;
    bool dlab = u->lcr & UART_LCR_DLAB;
    u8 byte = (u8)value;

    (void)bytes; /* always 1 */
    switch (offset) {
    case UART_THR:
        if (dlab) {
            u->dll = byte;
        } else {
            transmit(u, byte);
        }
        break;
    case UART_IER:
        if (dlab) {
            u->dlm = byte;
        } else {
            write_ier(u, byte);
        }
        break;
    case UART_FCR:
        write_fcr(u, byte);
        break;
    case UART_LCR:
        write_lcr(u, byte);
        break;
    case UART_MCR:
        u->mcr = byte & UART_MCR_MASK;
        update_modem(u);
        break;
    case UART_SCR:
        u->scr = byte;
        return; /* no state of the UART */
    default:    /* LSR and MSR: factory test only */
        break;
    }
    update_irq(u);
}

void uart16550_poll(struct uart16550 *u)
{
    update_irq(u);
}

void uart16550_reset(struct uart16550 *u)
{
    struct machine *host = u->host;
    u32 irq = u->irq;

    memset(u, 0, sizeof(*u));
    u->host = host;
    u->irq = irq;
    u->dll = 12; /* 9600 baud; the datasheet leaves it open */
    u->msr = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
    update_irq(u);
}

bool uart16550_attach(struct uart16550 *u, struct machine *host, u16 port, u32 irq)
{
    struct host_ports ports = {
        .device = u,
        .read = uart_read,
        .write = uart_write,
        .base = port,
        .count = UART_PORTS,
        .widths = HOST_WIDTH_8,
    };

    u->host = host;
    u->irq = irq;
    uart16550_reset(u);
    return host_add_ports(host, &ports);
}
