/* SPDX-License-Identifier: MIT */
/* A guest's bytes as lines with its name; "[name]+ " goes on with what was shown of a line. */
#include "vmm/manager/lines.h"

#include "lib/format.h"
#include "lib/string.h"

/* whole: the guest ended the line, so that what follows begins one. */
static void write_line(struct lines *l, struct output *o, const char *name, bool whole)
{
    output_write(o, "[", 1);
    output_write(o, name, strlen(name));
    output_write(o, l->broken ? "]+ " : "] ", l->broken ? 3 : 2);
    output_write(o, l->text, l->length);
    output_write(o, "\n", 1);
    l->length = 0;
    l->broken = !whole;
}

void lines_flush(struct lines *l, struct output *o, const char *name)
{
    if (l->length) {
        write_line(l, o, name, false);
    }
}

void lines_add(struct lines *l, struct output *o, const char *name, const u8 *bytes, u32 n, u64 now)
{
    for (u32 i = 0; i < n; i++) {
        u8 c = bytes[i];
        char shown[8] = {(char)c, 0};

        if (c == '\n') {
            write_line(l, o, name, true);
            continue;
        }
        if (c == '\r') {
            continue; /* the end of a line is the line feed's affair */
        }
        if (c >= 0x7f) {
            format_buffer(shown, sizeof(shown), "\\x%02x", c);
        } else if (c < ' ' && c != '\t') {
            format_buffer(shown, sizeof(shown), "^%c", c + '@');
        }
        u32 length = (u32)strlen(shown);
        if (l->length + length > sizeof(l->text)) {
            write_line(l, o, name, false);
        }
        if (!l->length) {
            l->since_tsc = now;
        }
        memcpy(l->text + l->length, shown, length);
        l->length += length;
    }
}

void lines_raw(struct view *v, struct output *o, const u8 *bytes, u32 n)
{
    static const char ours[] = "socle:", nothing[] = "\x1b\\"; /* a terminator of no string */
    u32 from = 0;

    for (u32 i = 0; i < n; i++) {
        char c = (char)bytes[i];
        if (c != ours[v->matched]) {
            v->matched = c == ours[0];
        } else if (++v->matched == sizeof(ours) - 1) {
            output_write(o, (const char *)bytes + from, i - from);
            output_write(o, nothing, sizeof(nothing) - 1);
            from = i;
            v->matched = 0;
        }
    }
    output_write(o, (const char *)bytes + from, n - from);
}

void view_keep(struct view *v, const u8 *bytes, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        v->kept[(v->start + v->count) % LINES_KEPT] = bytes[i];
        if (v->count < LINES_KEPT) {
            v->count++;
        } else {
            v->start = (v->start + 1) % LINES_KEPT;
            v->lost++;
        }
    }
}

u32 view_take(struct view *v, u8 *bytes, u32 max)
{
    u32 n = MIN(max, v->count);

    for (u32 i = 0; i < n; i++) {
        bytes[i] = v->kept[(v->start + i) % LINES_KEPT];
    }
    v->start = (v->start + n) % LINES_KEPT;
    v->count -= n;
    return n;
}
