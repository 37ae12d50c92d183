/* SPDX-License-Identifier: MIT */
/* How the loader speaks. */
#include "boot/loader.h"

void loader_say(struct loader *l, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    console_print(&l->console, "socle: loader: ");
    console_vprint(&l->console, format, args);
    console_print(&l->console, "\n");
    va_end(args);
}

bool loader_fail(struct loader *l, const char *kind, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    console_style(&l->console, SCREEN_ALERT);
    console_print(&l->console, "socle: %s: ", kind);
    console_vprint(&l->console, format, args);
    console_print(&l->console, "\n");
    va_end(args);
    return false;
}
