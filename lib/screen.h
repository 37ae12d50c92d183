/* SPDX-License-Identifier: MIT */
/*
 * A text console on a linear framebuffer of 32 bits per pixel. The text is kept in a shadow beside
 * what is shown, so the framebuffer, slow to read, is only written, and only where a character
 * changes. One struct screen per display, all state in it; no locking: its owner locks.
 */
#ifndef LIB_SCREEN_H
#define LIB_SCREEN_H

#include "lib/types.h"

#define SCREEN_MAX_COLUMNS 240
#define SCREEN_MAX_ROWS    64 /* what choose_scale() can give */

/* How text looks from here on. */
enum screen_style { SCREEN_NORMAL, SCREEN_BRIGHT, SCREEN_ALERT };

struct screen_cell {
    u8 c; /* 0: never drawn */
    u8 style;
};

struct screen {
    u8 *base;
    u32 width, height; /* pixels */
    u32 pitch_bytes;
    bool red_low;      /* red, not blue, is in a pixel's lowest byte */
    u32 scale;         /* framebuffer pixels per font pixel, in both directions */
    u32 columns, rows; /* characters */
    u32 left, top;     /* pixels of the margin */
    u32 column, row;   /* where the next character goes; column == columns: a line break is due */
    u32 dirty_from, dirty_to; /* rows where text and shown may differ; from >= to: none */
    u8 style;
    u8 escape;              /* enum escape of screen.c: where in an escape sequence */
    u32 numbers[3], number; /* those of the sequence (the last: what is too many), which comes */
    struct screen_cell text[SCREEN_MAX_ROWS][SCREEN_MAX_COLUMNS];  /* as it should look */
    struct screen_cell shown[SCREEN_MAX_ROWS][SCREEN_MAX_COLUMNS]; /* as it does */
};

/*
 * Makes a console of bytes of framebuffer at base and clears it. Characters are scaled up on large
 * displays. False, and nothing touched: the sizes do not fit each other or it is too small for
 * text.
 */
bool screen_init(struct screen *s, void *base, u64 bytes, u32 width, u32 height, u32 pitch_bytes,
                 bool red_low) MUST_CHECK;

/* The same framebuffer, now at another address. */
void screen_move(struct screen *s, void *base);

/*
 * Writes text, any bytes: printable ASCII, LF (with an implied CR), CR, TAB, backspace; others show
 * as a box. What is full scrolls. Of ECMA-48's control sequences those that a shell's line editor
 * uses are obeyed: CUU, CUD, CUF, CUB, CUP, ED, EL; the others show nothing.
 */
void screen_write(struct screen *s, const char *text, size_t bytes);

/* How what follows looks. An escape sequence that was begun is forgotten: what follows shows. */
void screen_style(struct screen *s, enum screen_style style);

#endif
