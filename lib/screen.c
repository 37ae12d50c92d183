/* SPDX-License-Identifier: MIT */
/* A text console on a linear framebuffer. */
#include "lib/screen.h"

#include "lib/font.h"
#include "lib/string.h"

#define TAB        8
#define MAX_NUMBER 9999 /* in an escape sequence */

enum escape { ESCAPE_NONE, ESCAPE_BEGUN, ESCAPE_NUMBERS };

static u32 pixel(const struct screen *s, u32 red, u32 green, u32 blue)
{
    return s->red_low ? blue << 16 | green << 8 | red : red << 16 | green << 8 | blue;
}

static u32 background(const struct screen *s)
{
    return pixel(s, 0x10, 0x14, 0x1a);
}

static u32 foreground(const struct screen *s, u8 style)
{
    switch (style) {
    case SCREEN_BRIGHT:
        return pixel(s, 0xff, 0xff, 0xff);
    case SCREEN_ALERT:
        return pixel(s, 0xff, 0x80, 0x60);
    default:
        return pixel(s, 0xc8, 0xcc, 0xd0);
    }
}

static u32 *pixel_row(const struct screen *s, u32 y)
{
    return (u32 *)(s->base + (u64)y * s->pitch_bytes);
}

static void draw(const struct screen *s, u32 row, u32 column)
{
    struct screen_cell cell = s->text[row][column];
    u32 ink = foreground(s, cell.style), paper = background(s);
    u32 x = s->left + column * FONT_WIDTH * s->scale;
    u32 y = s->top + row * FONT_HEIGHT * s->scale;

    for (u32 line = 0; line < FONT_HEIGHT * s->scale; line++) {
        u8 bits = font_row(cell.c, line / s->scale);
        u32 *to = pixel_row(s, y + line) + x;

        for (u32 i = 0; i < FONT_WIDTH; i++, bits = (u8)(bits << 1)) {
            u32 colour = bits & 0x80 ? ink : paper;

            for (u32 k = 0; k < s->scale; k++) {
                *to++ = colour;
            }
        }
    }
}

/* Brings the display up to date. */
static void refresh(struct screen *s)
{
    for (u32 row = s->dirty_from; row < s->dirty_to; row++) {
        for (u32 column = 0; column < s->columns; column++) {
            struct screen_cell want = s->text[row][column], *have = &s->shown[row][column];

            if (want.c != have->c || (want.style != have->style && want.c != ' ')) {
                draw(s, row, column);
            }
            *have = want;
        }
    }
    s->dirty_from = s->rows;
    s->dirty_to = 0;
}

static void touch(struct screen *s, u32 from, u32 to)
{
    s->dirty_from = MIN(s->dirty_from, from);
    s->dirty_to = MAX(s->dirty_to, to);
}

static void clear(struct screen *s, u32 row, u32 from, u32 to)
{
    for (u32 column = from; column < to; column++) {
        s->text[row][column] = (struct screen_cell){' ', SCREEN_NORMAL};
    }
    touch(s, row, row + 1);
}

static u32 choose_scale(u32 width, u32 height)
{
    u32 scale = MAX(MIN(height / 500, 8u), 1u); /* about 30 rows or more */

    while (width / (FONT_WIDTH * scale) > SCREEN_MAX_COLUMNS ||
           height / (FONT_HEIGHT * scale) > SCREEN_MAX_ROWS) {
        scale++;
    }
    return scale;
}

bool screen_init(struct screen *s, void *base, u64 bytes, u32 width, u32 height, u32 pitch_bytes,
                 bool red_low)
{
    if (width < 40 * FONT_WIDTH || height < 10 * FONT_HEIGHT || width > 65536 || height > 65536 ||
        pitch_bytes / 4 < width || pitch_bytes % 4 || (u64)base % 4 ||
        (u64)pitch_bytes * height > bytes) {
        return false;
    }
    memset(s, 0, sizeof(*s));
    s->base = base;
    s->width = width;
    s->height = height;
    s->pitch_bytes = pitch_bytes;
    s->red_low = red_low;
    s->scale = choose_scale(width, height);
    s->columns = width / (FONT_WIDTH * s->scale);
    s->rows = height / (FONT_HEIGHT * s->scale);
    s->left = width % (FONT_WIDTH * s->scale) / 2;
    s->top = height % (FONT_HEIGHT * s->scale) / 2;
    for (u32 y = 0; y < height; y++) {
        u32 *to = pixel_row(s, y);

        for (u32 x = 0; x < width; x++) {
            to[x] = background(s);
        }
    }
    for (u32 row = 0; row < s->rows; row++) {
        clear(s, row, 0, s->columns);
    }
    memcpy(s->shown, s->text, sizeof(s->shown));
    s->dirty_from = s->rows;
    s->dirty_to = 0;
    return true;
}

void screen_move(struct screen *s, void *base)
{
    s->base = base;
}

static void line_feed(struct screen *s)
{
    s->column = 0;
    if (s->row + 1 < s->rows) {
        s->row++;
        return;
    }
    memmove(s->text[0], s->text[1], (s->rows - 1) * sizeof(s->text[0]));
    clear(s, s->row, 0, s->columns);
    touch(s, 0, s->rows);
}

/* ED and EL, of one row or of the screen: from the cursor to the end (0), to the cursor (1), or
 * all. */
static void erase(struct screen *s, u32 what, bool rows)
{
    clear(s, s->row, what ? 0 : s->column, what == 1 ? MIN(s->column + 1, s->columns) : s->columns);
    for (u32 row = what ? 0 : s->row + 1; rows && row < (what == 1 ? s->row : s->rows); row++) {
        clear(s, row, 0, s->columns);
    }
}

/* A whole sequence, by its last byte. */
static void control(struct screen *s, u8 c)
{
    u32 n = MAX(s->numbers[0], 1u);

    switch (c) {
    case 'A':
        s->row -= MIN(n, s->row);
        break;
    case 'B':
        s->row = MIN(s->row + n, s->rows - 1);
        break;
    case 'C':
        s->column = MIN(s->column + n, s->columns - 1);
        break;
    case 'D':
        s->column -= MIN(n, s->column);
        break;
    case 'H':
        s->row = MIN(n, s->rows) - 1;
        s->column = MIN(MAX(s->numbers[1], 1u), s->columns) - 1;
        break;
    case 'J':
    case 'K':
        erase(s, s->numbers[0], c == 'J');
        break;
    default:
        break;
    }
}

/* A byte behind ESC. */
static void escaped(struct screen *s, u8 c)
{
    u32 *number = &s->numbers[MIN(s->number, ARRAY_SIZE(s->numbers) - 1)];

    if (s->escape == ESCAPE_BEGUN) {
        s->escape = c == '[' ? ESCAPE_NUMBERS : c < '0' ? ESCAPE_BEGUN : ESCAPE_NONE;
        s->number = 0;
        memset(s->numbers, 0, sizeof(s->numbers));
    } else if (c >= '0' && c <= '9') {
        *number = MIN(*number * 10 + c - '0', (u32)MAX_NUMBER);
    } else if (c >= '@') {
        s->escape = ESCAPE_NONE;
        control(s, c);
    } else {
        s->number += c == ';';
    }
}

static void put(struct screen *s, u8 c)
{
    switch (c) {
    case '\n':
        line_feed(s);
        return;
    case '\r':
        s->column = 0;
        return;
    case '\b':
        s->column -= s->column > 0;
        return;
    case '\t':
        s->column = MIN((s->column | (TAB - 1)) + 1, s->columns);
        return;
    default:
        if (s->column == s->columns) {
            line_feed(s);
        }
        touch(s, s->row, s->row + 1);
        s->text[s->row][s->column++] = (struct screen_cell){c ? c : 0xff, s->style};
    }
}

void screen_write(struct screen *s, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        u8 c = (u8)text[i];

        if (c == 0x1b) {
            s->escape = ESCAPE_BEGUN;
        } else if (s->escape && c >= ' ') {
            escaped(s, c);
        } else {
            s->escape = ESCAPE_NONE; /* what begins a line is never taken for the rest of one */
            put(s, c);
        }
    }
    refresh(s);
}

void screen_style(struct screen *s, enum screen_style style)
{
    s->style = (u8)style;
    s->escape = ESCAPE_NONE;
}
