/* SPDX-License-Identifier: MIT */
/*
 * The driver of what a person types on: the serial line's receiver and the PS/2 keyboard. Both are
 * one person, so both go to one stream, the ring that the manager reads. When that is full the
 * devices are left alone: the serial line's RTS falls, and an emulator holds back.
 */
#include "drivers/i8042.h"
#include "drivers/keyboard.h"
#include "lib/hw/uart16550.h"
#include "lib/ring.h"
#include "vmm/machine/start.h"
#include "vmm/sys.h"

/* A look without an interrupt, in parts of a second: a line that is wired elsewhere than usual, or
 * not at all, only makes typing slow. */
#define LOOK_PARTS  50
#define SERIAL_LINE 4
#define ROUND_BYTES 64

NORETURN void program_main(u64 arg);

struct input {
    const struct input_start *start;
    struct start_shared *shared;
    struct ring out;
    struct keyboard keyboard;
    u32 devices; /* those that are there */
};

static u8 uart_read(const struct input *in, u32 reg)
{
    return (u8)sys_port(in->start->base.system, UART_COM1_PORT + reg, 0);
}

static void uart_write(const struct input *in, u32 reg, u8 value)
{
    sys_port(in->start->base.system, PORT_WRITE | (UART_COM1_PORT + reg), value);
}

/* May the other end send? On a PC, OUT2 connects the interrupt. */
static void uart_hold(const struct input *in, bool hold)
{
    uart_write(in, UART_MCR, UART_MCR_DTR | UART_MCR_OUT2 | (hold ? 0 : UART_MCR_RTS));
}

/* The kernel has set the line up, and goes on to write to it. */
static bool uart_init(const struct input *in)
{
    if (uart_read(in, UART_LSR) == 0xff) {
        return false;
    }
    uart_write(in, UART_IER, UART_IER_ERBFI);
    uart_hold(in, false);
    return true;
}

/* Up to max bytes that have come now. */
static u32 take_serial(struct input *in, char *to, u32 max)
{
    u32 n = 0;

    while (n < max) {
        u8 status = uart_read(in, UART_LSR);
        if (status & UART_LSR_OE) {
            __atomic_store_n(&in->shared->overruns, in->shared->overruns + 1, __ATOMIC_RELAXED);
        }
        if (!(status & UART_LSR_DR)) {
            break;
        }
        to[n++] = (char)uart_read(in, UART_RBR);
    }
    return n;
}

static u32 take_keys(struct input *in, char *to, u32 max)
{
    u32 n = 0;

    for (u32 i = 0; i < max && n + KEYBOARD_MAX <= max; i++) {
        int code = i8042_read(in->start->base.system);
        if (code < 0) {
            break;
        }
        n += keyboard_feed(&in->keyboard, (u8)code, to + n);
    }
    return n;
}

/* One round over the devices; true: there may be more. */
static bool look(struct input *in)
{
    char bytes[ROUND_BYTES];
    u32 n = 0;

    if (in->devices & INPUT_KEYBOARD) {
        n = take_keys(in, bytes, sizeof(bytes) / 2);
    }
    if (in->devices & INPUT_SERIAL) {
        n += take_serial(in, bytes + n, (u32)sizeof(bytes) - n);
    }
    if (n) {
        ring_write(&in->out, bytes, n); /* there is room: nobody else writes */
        start_tell(&in->start->base);
    }
    return n;
}

/* The manager has too much of it. */
static void wait_for_room(struct input *in)
{
    if (in->devices & INPUT_SERIAL) {
        uart_hold(in, true);
    }
    while (ring_room(&in->out) < START_RING_BYTES / 2) {
        start_wait_room(&in->start->base, in->shared);
    }
    if (in->devices & INPUT_SERIAL) {
        uart_hold(in, false);
    }
}

static NORETURN void run(struct input *in)
{
    u64 bits = IRQ_BIT(SERIAL_LINE) | IRQ_BIT(I8042_LINE);

    for (;;) {
        if (ring_room(&in->out) < ROUND_BYTES) {
            wait_for_room(in);
        }
        if (!look(in)) {
            sys_event_wait(in->start->base.event, bits,
                           sys_tsc() + in->start->base.tsc_hz / LOOK_PARTS);
        }
    }
}

/* Lines first: a byte that comes before its device is switched on leaves its mark. */
void program_main(u64 arg)
{
    static struct input input;
    struct input *in = &input;
    const struct input_start *s = (const struct input_start *)arg;

    in->start = s;
    in->shared = (struct start_shared *)START_SHARED;
    ring_init(&in->out, &in->shared->out, START_RING_BYTES);
    if (s->base.magic != START_MAGIC || s->base.bytes != sizeof(*s)) {
        sys_process_exit(1); /* a manager of another build */
    }
    sys_irq(s->base.system, s->base.event, SERIAL_LINE); /* without them all goes on */
    sys_irq(s->base.system, s->base.event, I8042_LINE);
    if (s->devices & INPUT_SERIAL && uart_init(in)) {
        in->devices |= INPUT_SERIAL;
    }
    if (s->devices & INPUT_KEYBOARD && i8042_init(s->base.system, s->base.tsc_hz)) {
        in->devices |= INPUT_KEYBOARD;
    }
    run(in);
}
