/* SPDX-License-Identifier: MIT */
/* Serial line, screen, firmware console. */
#include "boot/console.h"

#include "boot/cpu.h"
#include "lib/format.h"
#include "lib/hw/uart16550.h"

/* Polls of a port, about 1 us each. A character takes 87 us, but an emulator's may wait for its
 * host. */
#define SERIAL_PATIENCE 5000000u

static u8 serial_in(u16 reg)
{
    return cpu_in8((u16)(UART_COM1_PORT + reg));
}

static void serial_out(u16 reg, u8 value)
{
    cpu_out8((u16)(UART_COM1_PORT + reg), value);
}

/* A UART keeps what is written to its scratch register; an empty port reads all ones. */
static bool serial_probe(void)
{
    serial_out(UART_SCR, 0x5a);
    if (serial_in(UART_SCR) != 0x5a) {
        return false;
    }
    serial_out(UART_SCR, 0xa5);
    return serial_in(UART_SCR) == 0xa5 && serial_in(UART_LSR) != 0xff;
}

static bool serial_init(void)
{
    const u16 divisor = UART_CLOCK_HZ / 16 / 115200;

    if (!serial_probe()) {
        return false;
    }
    serial_out(UART_IER, 0);
    serial_out(UART_LCR, UART_LCR_DLAB | UART_LCR_WORD_8);
    serial_out(UART_DLL, (u8)divisor);
    serial_out(UART_DLM, (u8)(divisor >> 8));
    serial_out(UART_LCR, UART_LCR_WORD_8);
    serial_out(UART_FCR, UART_FCR_ENABLE);
    serial_out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS);
    return true;
}

void console_leave_firmware(struct console *c)
{
    c->firmware = NULL;
    if (c->serial) {
        console_drain(c);
        c->serial = serial_init();
    }
}

/* A line that takes nothing for seconds is given up, so that the boot goes on, until it takes
 * again. */
static void serial_write(struct console *c, char ch)
{
    u32 patience = c->serial_stuck ? 1 : SERIAL_PATIENCE;

    while (!(serial_in(UART_LSR) & UART_LSR_THRE)) {
        if (!--patience) {
            c->serial_stuck = true;
            return;
        }
    }
    c->serial_stuck = false;
    serial_out(UART_THR, (u8)ch);
}

void console_drain(const struct console *c)
{
    for (u32 i = 0; c->serial && !(serial_in(UART_LSR) & UART_LSR_TEMT) && i < SERIAL_PATIENCE;
         i++) {
    }
}

void console_init(struct console *c, SIMPLE_TEXT_OUTPUT_INTERFACE *firmware)
{
    c->serial = serial_init();
    c->serial_stuck = false;
    c->screen = NULL;
    c->firmware = c->serial ? NULL : firmware;
}

void console_set_screen(struct console *c, struct screen *screen)
{
    c->screen = screen;
    c->firmware = NULL;
}

static void firmware_write(SIMPLE_TEXT_OUTPUT_INTERFACE *out, const char *s, size_t n)
{
    CHAR16 text[64];
    UINTN used = 0;

    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\n') {
            text[used++] = '\r';
        }
        text[used++] = (CHAR16)s[i];
        if (used >= ARRAY_SIZE(text) - 2 || i + 1 == n) {
            text[used] = 0;
            out->OutputString(out, text);
            used = 0;
        }
    }
}

static void sink(void *ctx, const char *s, size_t n)
{
    struct console *c = ctx;

    for (size_t i = 0; c->serial && i < n; i++) {
        if (s[i] == '\n') {
            serial_write(c, '\r');
        }
        serial_write(c, s[i]);
    }
    if (c->screen) {
        screen_write(c->screen, s, n);
    }
    if (c->firmware) {
        firmware_write(c->firmware, s, n);
    }
}

void console_vprint(struct console *c, const char *format, va_list args)
{
    format_to(sink, c, format, args);
}

void console_print(struct console *c, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    console_vprint(c, format, args);
    va_end(args);
}

void console_style(struct console *c, enum screen_style style)
{
    if (c->screen) {
        screen_style(c->screen, style);
    }
}
