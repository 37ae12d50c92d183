/* SPDX-License-Identifier: MIT */
/* The early console: COM1 and the screen, polled, as the loader has set them up. Its user
 * (kernel/log.c) locks. */
#include "arch/arch.h"
#include "arch/x86/boot.h"
#include "arch/x86/insn.h"
#include "lib/hw/uart16550.h"
#include "lib/screen.h"

/* Reads of the line status, a microsecond each on real hardware. An emulated UART whose other end
 * does not read can be busy for a good part of a second. */
#define WAIT_READS  5000000u
#define LSR_NO_UART 0xff

static ARCH_READ_ONLY_AFTER_BOOT struct boot_framebuffer fb;
static struct screen screen;
static bool screen_on, uart_on;
static u32 uart_room; /* characters that the transmitter takes without looking */
static u32 fifo_bytes = 1;

/* Reading the line status clears that a byte was lost, which is for ring 3 to know. */
static u8 overrun;

static u8 uart_in(u32 reg)
{
    u8 value = in8((u16)(UART_COM1_PORT + reg));

    if (reg == UART_LSR) {
        __atomic_fetch_or(&overrun, value & UART_LSR_OE, __ATOMIC_RELAXED);
    }
    return value;
}

static void uart_out(u32 reg, u8 value)
{
    out8((u16)(UART_COM1_PORT + reg), value);
}

/* After a time-out, one look is all until the UART moves again. */
static bool uart_wait(u8 status)
{
    static bool stuck;

    for (u32 i = 0; i < (stuck ? 1 : WAIT_READS); i++) {
        if (uart_in(UART_LSR) & status) {
            stuck = false;
            return true;
        }
    }
    stuck = true;
    return false;
}

void console_init(const struct bootinfo *bi)
{
    uart_on = bi->console & BOOT_CONSOLE_SERIAL;
    if (uart_on && (uart_in(UART_IIR) & UART_IIR_FIFO) == UART_IIR_FIFO) {
        fifo_bytes = UART_FIFO_SIZE;
    }
    fb = bi->fb;
    if (bi->console & BOOT_CONSOLE_SCREEN && fb.format != BOOT_FB_NONE) {
        screen_on = screen_init(&screen, (void *)(BOOT_PHYSMAP + fb.base), fb.bytes, fb.width,
                                fb.height, fb.pitch_bytes, fb.format == BOOT_FB_RGBX);
    }
}

void console_map(void)
{
    if (screen_on) {
        screen_move(&screen, arch_map_device(HPA(fb.base), fb.bytes, true));
    }
}

/* One character if the transmitter takes it now. */
static bool uart_put(char c)
{
    if (!uart_room) {
        if (!(uart_in(UART_LSR) & UART_LSR_THRE)) {
            return false;
        }
        uart_room = fifo_bytes; /* THRE: the FIFO is empty */
    }
    uart_room--;
    uart_out(UART_THR, (u8)c);
    return true;
}

/* A line that ends in LF alone would make stairs on a terminal. */
static bool cr_sent;

size_t arch_console_try_write(const char *s, size_t n)
{
    size_t taken = uart_on ? 0 : n;

    while (taken < n) {
        if (s[taken] == '\n' && !cr_sent) {
            cr_sent = uart_put('\r');
            if (!cr_sent) {
                break;
            }
        }
        if (!uart_put(s[taken])) {
            break;
        }
        cr_sent = s[taken] == '\r';
        taken++;
    }
    if (screen_on) {
        screen_write(&screen, s, taken);
    }
    return taken;
}

void arch_console_write(const char *s, size_t n)
{
    while (n) {
        size_t taken = arch_console_try_write(s, n);
        s += taken;
        n -= taken;
        if (n && !uart_wait(UART_LSR_THRE)) {
            /* lost on the serial line; the screen has it */
            if (screen_on) {
                screen_write(&screen, s, 1);
            }
            s++;
            n--;
        }
    }
}

void console_drain(void)
{
    if (uart_on) {
        uart_wait(UART_LSR_TEMT);
    }
}

u8 arch_port(bool write, u16 port, u8 value)
{
    if (!write) {
        value = in8(port);
        if (port == UART_COM1_PORT + UART_LSR) {
            value |= __atomic_exchange_n(&overrun, 0, __ATOMIC_RELAXED);
        }
        return value;
    }
    out8(port, value);
    return 0;
}
