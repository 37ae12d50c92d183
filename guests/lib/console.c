/* SPDX-License-Identifier: MIT */
/* Output: COM1 in bursts of its FIFO, or the debug console. */
#include "guests/lib/console.h"

#include "guests/lib/boot.h"
#include "guests/lib/cpu.h"
#include "lib/format.h"

#define FIFO_BYTES 16
#define LINE_BYTES 256

static bool debug_console;

void console_init(void)
{
    debug_console = boot_option_is("console", "e9");
    outb(COM1 + UART_LCR, 0x80); /* divisor latch: 115200 baud */
    outb(COM1 + 0, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + UART_LCR, 0x03); /* 8 bits, no parity, one stop bit; latch off */
    outb(COM1 + 1, 0);           /* no interrupts */
    outb(COM1 + UART_FCR, 0x07); /* FIFO on, cleared */
    outb(COM1 + UART_MCR, 0x03);
}

void console_debug(const char *s, size_t n)
{
    __asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(PORT_DEBUG) : "memory");
}

/* The transmitter is empty, or long past the time that takes: a missing UART must not hang a test.
 */
static void wait_empty(void)
{
    for (u32 i = 0; i < 1000000 && !(inb(COM1 + UART_LSR) & UART_LSR_THRE); i++) {
        cpu_pause();
    }
}

void console_write(const char *s, size_t n)
{
    if (debug_console) {
        console_debug(s, n);
        return;
    }
    while (n) {
        wait_empty();
        for (u32 i = 0; i < FIFO_BYTES && n; i++, n--) {
            outb(COM1 + UART_THR, (u8)*s++);
        }
    }
}

struct line {
    char text[LINE_BYTES];
    size_t used;
};

static void sink(void *ctx, const char *s, size_t n)
{
    struct line *line = ctx;

    for (; n; n--) {
        if (line->used == LINE_BYTES) {
            console_write(line->text, line->used);
            line->used = 0;
        }
        line->text[line->used++] = *s++;
    }
}

void print(const char *format, ...)
{
    struct line line = {.used = 0};
    va_list args;

    va_start(args, format);
    format_to(sink, &line, format, args);
    va_end(args);
    console_write(line.text, line.used);
}

void guest_exit(u32 status)
{
    outl(PORT_DEBUG_EXIT, status);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
