/* SPDX-License-Identifier: MIT */
/* Slices of the configuration's text: lines, words, lists, numbers, sizes, times, file names. */
#include "lib/config_value.h"

#include "lib/string.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

struct config_str config_slice(struct config_str s, u32 from, u32 to)
{
    while (from < to && is_space(s.text[from])) {
        from++;
    }
    while (to > from && is_space(s.text[to - 1])) {
        to--;
    }
    return (struct config_str){s.text + from, to - from, s.line, s.col + from};
}

/* Where the comment of a line begins, or its length: ; and # count at its start or after white
 * space. */
static u32 comment_at(const char *line, u32 length)
{
    for (u32 i = 0; i < length; i++) {
        if ((line[i] == ';' || line[i] == '#') && (i == 0 || is_space(line[i - 1]))) {
            return i;
        }
    }
    return length;
}

bool config_line_next(const char *text, u32 bytes, u32 *at, u32 *number, struct config_str *line,
                      u32 *bad)
{
    struct config_str all = {text + *at, 0, *number + 1, 1};
    u32 end = *at;

    if (*at >= bytes) {
        return false;
    }
    while (end < bytes && text[end] != '\n') {
        end++;
    }
    all.len = end - *at;
    *at = end < bytes ? end + 1 : end;
    *number += 1;
    if (all.len && all.text[all.len - 1] == '\r') {
        all.len--;
    }
    *bad = 0;
    for (u32 i = 0; i < all.len && !*bad; i++) {
        u8 c = (u8)all.text[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            *bad = i + 1;
        }
    }
    *line = config_slice(all, 0, comment_at(all.text, all.len));
    return true;
}

void config_split_word(struct config_str s, struct config_str *word, struct config_str *rest)
{
    u32 end = 0;

    while (end < s.len && !is_space(s.text[end])) {
        end++;
    }
    *word = config_slice(s, 0, end);
    *rest = config_slice(s, end, s.len);
}

bool config_list_next(struct config_str list, u32 *at, struct config_str *item)
{
    u32 end = *at;

    if (*at > list.len) {
        return false;
    }
    while (end < list.len && list.text[end] != ',') {
        end++;
    }
    *item = config_slice(list, *at, end);
    *at = end + 1;
    return true;
}

bool config_equal(struct config_str s, const char *word)
{
    return strlen(word) == s.len && memcmp(s.text, word, s.len) == 0;
}

u32 config_distance(struct config_str s, const char *word)
{
    enum { LONGEST = 24 };
    u32 n = (u32)strlen(word);
    u32 row[3][LONGEST + 1];

    if (s.len > LONGEST || n > LONGEST) {
        return ~0u;
    }
    for (u32 k = 0; k <= n; k++) {
        row[0][k] = k;
    }
    for (u32 i = 1; i <= s.len; i++) {
        u32 *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];

        now[0] = i;
        for (u32 k = 1; k <= n; k++) {
            u32 change = before[k - 1] + (s.text[i - 1] != word[k - 1]);
            u32 d = MIN(MIN(before[k], now[k - 1]) + 1, change);

            if (i > 1 && k > 1 && s.text[i - 1] == word[k - 2] && s.text[i - 2] == word[k - 1]) {
                d = MIN(d, earlier[k - 2] + 1);
            }
            now[k] = d;
        }
    }
    return row[s.len % 3][n];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool config_is_name(struct config_str s)
{
    for (u32 i = 0; i < s.len; i++) {
        if (!is_letter(s.text[i]) && !is_digit(s.text[i]) && s.text[i] != '-' && s.text[i] != '_') {
            return false;
        }
    }
    return s.len >= 1 && s.len <= CONFIG_NAME_LEN;
}

/* Value of a digit, 16 for what is none. */
static u32 digit(char c)
{
    if (is_digit(c)) {
        return (u32)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (u32)(c - 'a') + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return (u32)(c - 'A') + 10;
    }
    return 16;
}

bool config_number(struct config_str s, u64 *out)
{
    u64 base = 10, n = 0;
    u32 i = 0;

    if (s.len > 2 && s.text[0] == '0' && (s.text[1] == 'x' || s.text[1] == 'X')) {
        base = 16;
        i = 2;
    }
    if (i == s.len) {
        return false;
    }
    for (; i < s.len; i++) {
        u64 d = digit(s.text[i]);

        if (d >= base || n > (~0ull - d) / base) {
            return false;
        }
        n = n * base + d;
    }
    *out = n;
    return true;
}

/* A number of units; false also when the product does not fit. */
static bool scaled(struct config_str s, u32 unit_length, u64 unit, u64 *out)
{
    u64 n;

    s.len -= unit_length;
    if (!config_number(s, &n) || n > ~0ull / unit) {
        return false;
    }
    *out = n * unit;
    return true;
}

static bool ends_with(struct config_str s, const char *end)
{
    u32 n = (u32)strlen(end);

    return s.len > n && memcmp(s.text + s.len - n, end, n) == 0;
}

bool config_size(struct config_str s, u64 *out)
{
    static const struct {
        const char *name;
        u64 bytes;
    } units[] = {
        {"K", 1ull << 10},
        {"M", 1ull << 20},
        {"G", 1ull << 30},
        {"k", 1ull << 10},
        {"m", 1ull << 20},
        {"g", 1ull << 30}
    };

    for (u32 i = 0; i < ARRAY_SIZE(units); i++) {
        if (ends_with(s, units[i].name)) {
            return scaled(s, 1, units[i].bytes, out);
        }
    }
    return config_number(s, out);
}

bool config_duration_ms(struct config_str s, u64 *out)
{
    static const struct {
        const char *name;
        u64 ms;
    } units[] = {
        {"ms", 1          },
        {"s",  1000       },
        {"m",  60 * 1000  },
        {"h",  3600 * 1000}
    };

    for (u32 i = 0; i < ARRAY_SIZE(units); i++) {
        if (ends_with(s, units[i].name)) {
            return scaled(s, (u32)strlen(units[i].name), units[i].ms, out) && *out >= 1 &&
                   *out <= 168ull * 3600 * 1000;
        }
    }
    return false;
}

/* What one folder or file of a path may not be. */
static const char *part_wrong(struct config_str part)
{
    if (!part.len) {
        return "a file name has an empty part: write each / once";
    }
    if (config_equal(part, "..") || config_equal(part, ".")) {
        return "a file name is relative to the configuration and has no . or .. in it";
    }
    if (part.text[part.len - 1] == '.') {
        return "a file name does not end with a dot: FAT cannot hold it";
    }
    return NULL;
}

const char *config_file_wrong(struct config_str s, u32 *at)
{
    u32 begin = 0;

    *at = 0;
    if (s.len > CONFIG_FILE_LEN) {
        return "a file name has at most 95 characters";
    }
    if (s.text[0] == '/') {
        return "a file name is relative to the configuration: it does not begin with /";
    }
    for (u32 i = 0; i < s.len; i++) {
        char c = s.text[i];

        *at = i;
        if (is_space(c)) {
            return "a file name has no spaces: arguments go into options";
        }
        if (c == '\\') {
            return "folders in a file name are separated by /";
        }
        if (c < ' ' || c > '~' || c == '"' || c == '*' || c == ':' || c == '<' || c == '>' ||
            c == '?' || c == '|') {
            return "a file name has a character that FAT or this loader cannot hold";
        }
    }
    for (u32 i = 0; i <= s.len; i++) {
        if (i == s.len || s.text[i] == '/') {
            struct config_str part = {s.text + begin, i - begin, 0, 0};
            const char *wrong = part_wrong(part);

            *at = begin;
            if (wrong) {
                return wrong;
            }
            begin = i + 1;
        }
    }
    return NULL;
}
