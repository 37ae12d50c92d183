/* SPDX-License-Identifier: MIT */
/* A line as a person types it. */
#include "vmm/manager/edit.h"

#define CTRL(c) ((c)&0x1f)
#define ESCAPE  0x1b
#define DELETE  0x7f

enum { NO_SEQUENCE, BEGUN, WITHIN };

/* True: the byte belongs to an escape sequence: ESC, perhaps [ or O, and on to a final byte. */
static bool swallow(struct edit *e, u8 c)
{
    u8 before = e->sequence;

    e->sequence = NO_SEQUENCE;
    if (c == ESCAPE) {
        e->sequence = BEGUN;
    } else if ((before == BEGUN && (c == '[' || c == 'O')) ||
               (before == WITHIN && c >= ' ' && c < '@')) {
        e->sequence = WITHIN;
    }
    return c == ESCAPE || (before && c >= ' ');
}

static enum edit_result end_line(struct edit *e)
{
    enum edit_result result = e->too_long ? EDIT_TOO_LONG : EDIT_LINE;

    e->text[e->too_long ? 0 : e->count] = 0;
    e->count = 0;
    e->too_long = false;
    return result;
}

enum edit_result edit_feed(struct edit *e, u8 c)
{
    if (swallow(e, c)) {
        return EDIT_MORE;
    }
    switch (c) {
    case '\r':
    case '\n':
        return end_line(e);
    case '\b':
    case DELETE:
        e->count -= e->count != 0;
        break;
    case CTRL('U'):
    case CTRL('C'):
        e->count = 0;
        e->too_long = false;
        break;
    default:
        if (c < ' ' || c > '~') {
            break;
        }
        e->too_long |= e->count == EDIT_BYTES - 1;
        if (!e->too_long) {
            e->text[e->count++] = (char)c;
        }
    }
    return EDIT_MORE;
}
