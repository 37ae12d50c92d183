/* SPDX-License-Identifier: MIT */
/*
 * Formatted text. Conversions: %d %u %x %X %p %s %c %% with flags 0 and -, a width (or *), a
 * precision for %s (or *), and the lengths l, ll, z. No floating point, no %n. An unknown
 * conversion prints itself.
 */
#ifndef LIB_FORMAT_H
#define LIB_FORMAT_H

#include "lib/types.h"

typedef void (*format_sink_t)(void *ctx, const char *s, size_t n);

void format_to(format_sink_t sink, void *ctx, const char *format, va_list args);

/* As snprintf: writes at most size bytes with the NUL, returns the length the whole text has. */
size_t format_buffer(char *buffer, size_t size, const char *format, ...) PRINTF(3, 4);
size_t format_vbuffer(char *buffer, size_t size, const char *format, va_list args);

#endif
