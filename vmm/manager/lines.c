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
