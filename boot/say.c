/* SPDX-License-Identifier: MIT */
/* How the loader speaks. */
#include "boot/loader.h"

static void line(struct loader *l, const char *kind, const char *format, va_list args)
{
    console_print(&l->console, "socle: %s", kind);
    console_vprint(&l->console, format, args);
    console_print(&l->console, "\n");
}

void loader_say(struct loader *l, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(l, "loader: ", format, args);
    va_end(args);
}

bool loader_refuse(struct loader *l, const char *format, ...)
{
    va_list args;

    console_style(&l->console, SCREEN_ALERT);
    va_start(args, format);
    line(l, "refused: ", format, args);
    va_end(args);
    return false;
}

bool loader_error(struct loader *l, const char *format, ...)
{
    va_list args;

    console_style(&l->console, SCREEN_ALERT);
    va_start(args, format);
    line(l, "error: ", format, args);
    va_end(args);
    return false;
}

bool loader_config_error(struct loader *l, u32 at_line, u32 col, const char *format, ...)
{
    va_list args;

    console_style(&l->console, SCREEN_ALERT);
    console_print(&l->console, "socle: error: socle.conf:%u:%u: ", at_line, col);
    va_start(args, format);
    console_vprint(&l->console, format, args);
    va_end(args);
    console_print(&l->console, "\n");
    return false;
}
