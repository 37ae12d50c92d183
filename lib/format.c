/* SPDX-License-Identifier: MIT */
/* Formatted text, in one pass to a sink. */
#include "lib/format.h"

#include "lib/string.h"

struct spec {
    bool left, zero;
    int width, precision; /* precision -1: none */
    int longs;            /* 0 int, 1 and 2 64 bits */
};

static void pad(format_sink_t sink, void *ctx, char c, int n)
{
    while (n-- > 0) {
        sink(ctx, &c, 1);
    }
}

static void emit(format_sink_t sink, void *ctx, const struct spec *s, const char *text, int n)
{
    if (!s->left) {
        pad(sink, ctx, ' ', s->width - n);
    }
    sink(ctx, text, (size_t)n);
    if (s->left) {
        pad(sink, ctx, ' ', s->width - n);
    }
}

static void emit_number(format_sink_t sink, void *ctx, struct spec *s, u64 value, bool negative,
                        u32 base, bool upper)
{
    char digits[24];
    int n = 0;

    do {
        u32 d = (u32)(value % base);
        digits[sizeof(digits) - 1 - (u32)n++] =
            (char)(d < 10 ? '0' + d : (upper ? 'A' : 'a') + d - 10);
        value /= base;
    } while (value);
    if (s->zero && !s->left) {
        if (negative) {
            sink(ctx, "-", 1);
        }
        pad(sink, ctx, '0', s->width - n - negative);
        s->width = 0;
    } else if (negative) {
        digits[sizeof(digits) - 1 - (u32)n++] = '-';
    }
    emit(sink, ctx, s, digits + sizeof(digits) - n, n);
}

/* Number at *f, or the next argument for '*'. */
static const char *parse_number(const char *f, int *out, va_list *args)
{
    if (*f == '*') {
        *out = va_arg(*args, int);
        return f + 1;
    }
    for (*out = 0; *f >= '0' && *f <= '9' && *out < 10000; f++) {
        *out = *out * 10 + (*f - '0');
    }
    return f;
}

static void convert(format_sink_t sink, void *ctx, struct spec *s, char c, va_list *args)
{
    switch (c) {
    case 'd': {
        s64 v = s->longs ? va_arg(*args, s64) : va_arg(*args, int);
        emit_number(sink, ctx, s, v < 0 ? 0 - (u64)v : (u64)v, v < 0, 10, false);
        break;
    }
    case 'u':
    case 'x':
    case 'X': {
        u64 v = s->longs ? va_arg(*args, u64) : va_arg(*args, u32);
        emit_number(sink, ctx, s, v, false, c == 'u' ? 10 : 16, c == 'X');
        break;
    }
    case 'p':
        sink(ctx, "0x", 2);
        emit_number(sink, ctx, s, (u64)va_arg(*args, void *), false, 16, false);
        break;
    case 'c': {
        char ch = (char)va_arg(*args, int);
        emit(sink, ctx, s, &ch, 1);
        break;
    }
    case 's': {
        const char *text = va_arg(*args, const char *);
        int n = 0;

        text = text ? text : "(null)";
        while ((s->precision < 0 || n < s->precision) && text[n]) {
            n++;
        }
        emit(sink, ctx, s, text, n);
        break;
    }
    default:
        sink(ctx, "%", 1);
        if (c != '%') {
            sink(ctx, &c, 1);
        }
    }
}

void format_to(format_sink_t sink, void *ctx, const char *f, va_list args)
{
    va_list ap;

    va_copy(ap, args);
    while (*f) {
        const char *start = f;
        struct spec s = {.precision = -1};

        while (*f && *f != '%') {
            f++;
        }
        if (f != start) {
            sink(ctx, start, (size_t)(f - start));
        }
        if (!*f) {
            break;
        }
        for (f++; *f == '-' || *f == '0'; f++) {
            s.left |= *f == '-';
            s.zero |= *f == '0';
        }
        f = parse_number(f, &s.width, &ap);
        if (*f == '.') {
            f = parse_number(f + 1, &s.precision, &ap);
        }
        for (; *f == 'l' || *f == 'z'; f++) {
            s.longs = 1;
        }
        if (!*f) {
            break;
        }
        convert(sink, ctx, &s, *f++, &ap);
    }
    va_end(ap);
}

struct buffer_sink {
    char *buffer;
    size_t size, length;
};

static void sink_buffer(void *ctx, const char *s, size_t n)
{
    struct buffer_sink *b = ctx;

    for (; n; n--, s++, b->length++) {
        if (b->length + 1 < b->size) {
            b->buffer[b->length] = *s;
        }
    }
}

size_t format_vbuffer(char *buffer, size_t size, const char *format, va_list args)
{
    struct buffer_sink b = {buffer, size, 0};

    format_to(sink_buffer, &b, format, args);
    if (size) {
        buffer[MIN(b.length, size - 1)] = 0;
    }
    return b.length;
}

size_t format_buffer(char *buffer, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    size_t n = format_vbuffer(buffer, size, format, args);
    va_end(args);
    return n;
}
