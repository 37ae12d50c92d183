/* SPDX-License-Identifier: MIT */
/* How the loader speaks. */
#include "boot/loader.h"

bool loader_print(struct loader *l, enum screen_style style, const char *kind, const char *format,
                  ...)
{
    va_list args;

    va_start(args, format);
    console_style(&l->console, style);
    console_print(&l->console, "socle: %s: ", kind);
    console_vprint(&l->console, format, args);
    console_print(&l->console, "\n");
    va_end(args);
    return false;
}
