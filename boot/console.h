/* SPDX-License-Identifier: MIT */
/*
 * What the loader says: to COM1, when a UART is there, and to the screen. Both are driven directly,
 * so they work after boot services are gone, and nothing is printed twice where the firmware's own
 * console is on the serial line too. The firmware's console serves only where there is neither.
 */
#ifndef BOOT_CONSOLE_H
#define BOOT_CONSOLE_H

#include "boot/efi.h"
#include "lib/screen.h"

struct console {
    bool serial;
    bool serial_stuck;
    struct screen *screen;                  /* NULL: none */
    SIMPLE_TEXT_OUTPUT_INTERFACE *firmware; /* NULL: not used */
};

/* Probes COM1 and sets it to 115200 8N1; else firmware (which may be NULL) is used. */
void console_init(struct console *c, SIMPLE_TEXT_OUTPUT_INTERFACE *firmware);

/* From now on there is a screen: the firmware's console is not used any more. */
void console_set_screen(struct console *c, struct screen *screen);

/* Waits until the last character has left the UART, for power-off would swallow it. */
void console_drain(const struct console *c);

/* Boot services are about to go, or are gone: the serial line is set up anew, which they use, too.
 */
void console_leave_firmware(struct console *c);

/* LF ends a line; it is sent as CR LF on the serial line. */
void console_print(struct console *c, const char *format, ...) PRINTF(2, 3);
void console_vprint(struct console *c, const char *format, va_list args);
void console_style(struct console *c, enum screen_style style);

#endif
