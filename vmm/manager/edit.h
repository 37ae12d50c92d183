/* SPDX-License-Identifier: MIT */
/* A line as a person types it: the little editing that a monitor needs. Pure code. */
#ifndef VMM_MANAGER_EDIT_H
#define VMM_MANAGER_EDIT_H

#include "lib/types.h"

#define EDIT_BYTES 240 /* with the NUL: no command is longer */

enum edit_result {
    EDIT_MORE,     /* the line goes on */
    EDIT_LINE,     /* it is complete: text, until the next byte */
    EDIT_TOO_LONG, /* it is complete, and was too long to be kept: text is empty */
};

struct edit {
    u32 count;     /* of text, 0 again at the end of a line */
    bool too_long; /* all up to the end of the line is left out */
    u8 sequence;   /* of an escape sequence: how far it has come */
    char text[EDIT_BYTES];
};

/* The next byte, any value. Backspace and DEL take back one character, Control-U and Control-C all;
 * CR and LF end the line. Escape sequences (arrow keys) and other control characters do nothing. */
enum edit_result edit_feed(struct edit *e, u8 c);

#endif
