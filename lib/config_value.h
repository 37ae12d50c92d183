/* SPDX-License-Identifier: MIT */
/* Slices of the configuration's text, and the values they can hold. Pure; nothing here knows keys.
 */
#ifndef LIB_CONFIG_VALUE_H
#define LIB_CONFIG_VALUE_H

#include "lib/config.h"

/* Bytes [from, to) of s, without white space at its ends; line and col follow. */
struct config_str config_slice(struct config_str s, u32 from, u32 to);

/*
 * The next line of a text: without end, comment and outer white space (len 0: nothing left), its
 * number counted up in *number. *at is the place in the text, 0 to begin. *bad: column of a control
 * character in it, or 0. False: no more lines.
 */
bool config_line_next(const char *text, u32 bytes, u32 *at, u32 *number, struct config_str *line,
                      u32 *bad);

/* First word and what follows it, either maybe empty. */
void config_split_word(struct config_str s, struct config_str *word, struct config_str *rest);

/* Next item of a list that commas separate; *at is 0 to begin. False: no more. */
bool config_list_next(struct config_str list, u32 *at, struct config_str *item);

bool config_equal(struct config_str s, const char *word);

/* How many single-character changes make word of s (optimal string alignment); large when far
 * apart. */
u32 config_distance(struct config_str s, const char *word);

/* Letters, digits, - and _, 1 to CONFIG_NAME_LEN of them. */
bool config_is_name(struct config_str s);

/* Decimal, or hexadecimal after 0x; the whole slice; false also when it does not fit 64 bits. */
bool config_number(struct config_str s, u64 *out);

/* A number and K, M or G (powers of 1024), or bytes. */
bool config_size(struct config_str s, u64 *out);

/* A number and its unit, ms, s, m or h: 1 ms to 168 h. */
bool config_duration_ms(struct config_str s, u64 *out);

/* Why s cannot be the name of a file beside the configuration, and the byte at fault; NULL: it can.
 */
const char *config_file_wrong(struct config_str s, u32 *at);

#endif
