/* SPDX-License-Identifier: MIT */
/* Scan codes of set 1 to bytes. */
#include "drivers/keyboard.h"

#define RELEASED   0x80
#define EXTENDED   0xe0
#define PAUSE      0xe1 /* two more codes follow, twice */
#define CAPS_LOCK  0x3a
#define NUM_LOCK   0x45
#define PAD_FIRST  0x47
#define PAD_LAST   0x53
#define PAD_ENTER  0x1c /* with E0 */
#define PAD_SLASH  0x35 /* with E0 */
#define TAB        0x0f

#define HELD_SHIFT (BIT(0) | BIT(1))
#define HELD_CTRL  (BIT(2) | BIT(3))
#define HELD_ALT   (BIT(4) | BIT(5))

#define CTRL(c)    ((c)&0x1f)

/* By scan code; 0: no character. */
static const char plain[] = "\0\x1b"
                            "1234567890-=\x7f\t"
                            "qwertyuiop[]\r\0"
                            "asdfghjkl;'`\0"
                            "\\zxcvbnm,./\0"
                            "*\0 ";
static const char shifted[] = "\0\x1b"
                              "!@#$%^&*()_+\x7f\t"
                              "QWERTYUIOP{}\r\0"
                              "ASDFGHJKL:\"~\0"
                              "|ZXCVBNM<>?\0"
                              "*\0 ";

/* The keypad, from PAD_FIRST; without the lock, and with E0, what is printed below the digits. */
static const char pad_digits[] = "789-456+1230.";
static const char *const pad_moves[] = {
    "\x1b[H", "\x1b[A", "\x1b[5~", "-",       "\x1b[D",  "",        "\x1b[C",
    "+",      "\x1b[F", "\x1b[B",  "\x1b[6~", "\x1b[2~", "\x1b[3~",
};

static const struct {
    u8 code;
    const char *text;
} functions[] = {
    {0x3b, "\x1bOP"  },
    {0x3c, "\x1bOQ"  },
    {0x3d, "\x1bOR"  },
    {0x3e, "\x1bOS"  },
    {0x3f, "\x1b[15~"},
    {0x40, "\x1b[17~"},
    {0x41, "\x1b[18~"},
    {0x42, "\x1b[19~"},
    {0x43, "\x1b[20~"},
    {0x44, "\x1b[21~"},
    {0x57, "\x1b[23~"},
    {0x58, "\x1b[24~"},
    {0x56, "\\"      }, /* the key that some keyboards have beside the left shift key */
};

/* Keys that are held with others: one bit each, so that one of two can be released. */
static const struct {
    u8 code;
    bool extended;
    u8 bit;
} modifiers[] = {
    {0x2a, false, BIT(0)},
    {0x36, false, BIT(1)},
    {0x1d, false, BIT(2)},
    {0x1d, true,  BIT(3)},
    {0x38, false, BIT(4)},
    {0x38, true,  BIT(5)},
};

static u32 put(char out[KEYBOARD_MAX], const char *text)
{
    u32 n = 0;

    for (; text[n]; n++) {
        out[n] = text[n];
    }
    return n;
}

/* What Control makes of a character, as terminals have it; NUL is a result. */
static char control(char c)
{
    static const char from[] = "2345678/-",
                      to[] = {0, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x7f, 0x1f, 0x1f};

    for (u32 i = 0; from[i]; i++) {
        if (c == from[i]) {
            return to[i];
        }
    }
    return c == ' ' || (c >= '@' && c < 0x7f) ? CTRL(c) : c;
}

static u32 character(const struct keyboard *k, char c, char out[KEYBOARD_MAX])
{
    u32 n = 0;

    if (k->held & HELD_ALT) {
        out[n++] = 0x1b;
    }
    out[n++] = k->held & HELD_CTRL ? control(c) : c;
    return n;
}

static u32 pressed(struct keyboard *k, u8 code, bool extended, char out[KEYBOARD_MAX])
{
    bool shift = k->held & HELD_SHIFT;

    if (code >= PAD_FIRST && code <= PAD_LAST) {
        bool digits = !extended && k->nums_off == shift;
        return digits ? character(k, pad_digits[code - PAD_FIRST], out)
                      : put(out, pad_moves[code - PAD_FIRST]);
    }
    if (extended && code != PAD_ENTER && code != PAD_SLASH) {
        return 0; /* shifts that some keyboards make up, and keys for the Internet */
    }
    if (code == TAB && shift) {
        return put(out, "\x1b[Z");
    }
    for (u32 i = 0; i < ARRAY_SIZE(functions); i++) {
        if (functions[i].code == code) {
            return put(out, functions[i].text);
        }
    }
    if (code >= sizeof(plain) - 1 || !plain[code]) {
        return 0;
    }
    bool letter = plain[code] >= 'a' && plain[code] <= 'z';
    bool upper = !extended && shift != (letter && k->caps);
    return character(k, upper ? shifted[code] : plain[code], out);
}

u32 keyboard_feed(struct keyboard *k, u8 code, char out[KEYBOARD_MAX])
{
    bool extended = k->extended, released = code & RELEASED;

    if (k->skip) {
        k->skip--;
        return 0;
    }
    k->extended = code == EXTENDED;
    if (code == EXTENDED || code == PAUSE) {
        k->skip = code == PAUSE ? 2 : 0;
        return 0;
    }
    code &= (u8)~RELEASED;
    for (u32 i = 0; i < ARRAY_SIZE(modifiers); i++) {
        if (modifiers[i].code == code && modifiers[i].extended == extended) {
            k->held = (u8)(released ? k->held & ~modifiers[i].bit : k->held | modifiers[i].bit);
            return 0;
        }
    }
    if (released) {
        return 0;
    }
    k->caps ^= code == CAPS_LOCK && !extended;
    k->nums_off ^= code == NUM_LOCK && !extended;
    return pressed(k, code, extended, out);
}
