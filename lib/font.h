/* SPDX-License-Identifier: MIT */
/* An 8 by 16 bitmap font for printable ASCII. */
#ifndef LIB_FONT_H
#define LIB_FONT_H

#include "lib/types.h"

#define FONT_WIDTH  8
#define FONT_HEIGHT 16
#define FONT_FIRST  0x20
#define FONT_LAST   0x7e

/* Eight rows in each word, the topmost in the highest byte; there, the leftmost pixel is bit 7. */
extern const u64 font_glyphs[FONT_LAST - FONT_FIRST + 1][2];

/* One row, 0 to 15, of a character; what the font lacks looks like a box. */
static inline u8 font_row(u8 c, u32 row)
{
    if (c < FONT_FIRST || c > FONT_LAST) {
        return row < 2 || row > 11 ? 0 : row == 2 || row == 11 ? 0xfe : 0x82;
    }
    return (u8)(font_glyphs[c - FONT_FIRST][row / 8] >> (56 - 8 * (row % 8)));
}

#endif
