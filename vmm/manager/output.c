/* SPDX-License-Identifier: MIT */
/* Text on its way to the host's console. */
#include "vmm/manager/output.h"

#include "lib/format.h"
#include "lib/string.h"
#include "vmm/sys.h"

void output_init(struct output *o, handle_t event, u64 tsc_hz)
{
    memset(o, 0, offsetof(struct output, data));
    o->event = event;
    o->tick_tsc = tsc_hz / 1000;
}

u32 output_room(const struct output *o)
{
    return OUTPUT_BYTES - o->count;
}

bool output_push(struct output *o)
{
    while (o->count) {
        u32 piece = MIN(o->count, OUTPUT_BYTES - o->start);
        s64 taken = sys_console_write(HANDLE_SYSTEM, o->data + o->start, piece);

        if (taken <= 0 || taken > piece) {
            return false;
        }
        o->start = (o->start + (u32)taken) % OUTPUT_BYTES;
        o->count -= (u32)taken;
    }
    return true;
}

static void sleep_a_little(struct output *o)
{
    sys_event_wait(o->event, 1, sys_tsc() + o->tick_tsc);
}

static void put(struct output *o, const char *text, size_t n)
{
    while (n) {
        u32 end = (o->start + o->count) % OUTPUT_BYTES;
        size_t piece = MIN(n, MIN(output_room(o), OUTPUT_BYTES - end));

        if (!piece) {
            if (!output_push(o) && !output_room(o)) {
                sleep_a_little(o);
            }
            continue;
        }
        memcpy(o->data + end, text, piece);
        o->count += (u32)piece;
        text += piece;
        n -= piece;
    }
}

static void repeat(struct output *o, const char *text, u32 times)
{
    for (u32 i = 0; i < times; i++) {
        put(o, text, strlen(text));
    }
}

void output_prompt(struct output *o, const char *text, u32 n)
{
    u32 same = 0;

    while (same < MIN(n, o->shown) && o->prompt[same] == text[same]) {
        same++;
    }
    if (same) {
        repeat(o, "\b \b", o->shown - same);
    } else if (o->shown) {
        put(o, "\r", 1);
        repeat(o, " ", o->shown);
        put(o, "\r", 1);
    }
    put(o, text + same, n - same);
    memcpy(o->prompt, text, n);
    o->shown = n;
}

void output_write(struct output *o, const char *text, size_t n)
{
    if (n) {
        output_prompt(o, "", 0);
        put(o, text, n);
        o->mid_line = text[n - 1] != '\n';
    }
}

void output_line(struct output *o, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    size_t n = format_vbuffer(text, sizeof(text), format, args);
    va_end(args);
    if (o->mid_line) {
        output_write(o, "\n", 1);
    }
    output_write(o, "socle: ", 7);
    output_write(o, text, MIN(n, sizeof(text) - 1));
    output_write(o, "\n", 1);
}

void output_drain(struct output *o)
{
    while (!output_push(o)) {
        sleep_a_little(o);
    }
}
