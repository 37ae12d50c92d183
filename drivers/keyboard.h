/* SPDX-License-Identifier: MIT */
/*
 * A PC keyboard's scan codes (set 1, which the controller translates to) as what a terminal sends:
 * US layout, control keys, arrow and function keys as escape sequences. Pure code.
 */
#ifndef DRIVERS_KEYBOARD_H
#define DRIVERS_KEYBOARD_H

#include "lib/types.h"

#define KEYBOARD_MAX 8 /* bytes that one scan code can give */

struct keyboard {
    u8 held; /* which shift, control and alt keys are down, a bit each */
    bool caps, nums_off;
    bool extended; /* E0 came before */
    u8 skip;       /* codes that belong to Pause */
};

/* The next scan code, any byte; returns how many bytes it gives. A keyboard of zeros is one with no
 * key down. */
u32 keyboard_feed(struct keyboard *k, u8 code, char out[KEYBOARD_MAX]);

#endif
