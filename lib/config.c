/* SPDX-License-Identifier: MIT */
/* Parser of the configuration: lines, sections, and checks that span keys. The keys are in
 * lib/config_keys.c, the lexing of slices and single values in lib/config_value.c. */
#include "lib/config.h"

#include "lib/config_parser.h"
#include "lib/config_value.h"
#include "lib/format.h"
#include "lib/string.h"

/* --- sections --- */

/* The value of a key that this guest may not have, at its place. */
static bool fail_given(struct config_parser *p, enum guest_key key, const char *message)
{
    return config_fail(p, p->given[key].line, p->given[key].col, "%s", message);
}

/* Where a complaint about an address goes: to the key that was given. */
static enum guest_key address_key(const struct config_parser *p)
{
    return p->given[G_ENTRY].line          ? G_ENTRY
           : p->given[G_LOAD_ADDRESS].line ? G_LOAD_ADDRESS
                                           : G_MODE;
}

static bool finish_flat(struct config_parser *p)
{
    struct config_guest *g = p->guest;

    if (g->load_address >= g->memory_bytes) {
        return fail_given(p, G_LOAD_ADDRESS, "load-address lies outside the guest's memory");
    }
    if (!p->given[G_ENTRY].line) {
        g->entry = g->load_address;
    }
    if (g->entry >= g->memory_bytes) {
        return fail_given(p, G_ENTRY, "entry lies outside the guest's memory");
    }
    if (g->mode == MODE_REAL && g->entry >= (1ull << 20)) {
        return fail_given(p, address_key(p),
                          "a guest in real mode starts below 1M; give mode = protected or long");
    }
    if (g->mode != MODE_REAL && g->entry >= (4ull << 30)) {
        return fail_given(p, address_key(p), "a flat guest starts below 4G, in long mode, too");
    }
    return true;
}

/* Checks that need all keys of a guest. */
static bool finish_guest(struct config_parser *p)
{
    static const enum guest_key flat_only[] = {G_LOAD_ADDRESS, G_ENTRY, G_MODE};
    struct config_guest *g = p->guest;
    char last[CONFIG_NAME_LEN + 24];

    if (g->image == IMAGE_NONE) {
        return config_fail(p, g->line, 1,
                           "guest %s has no image: give it linux, multiboot or flat = FILE",
                           g->name);
    }
    if (p->given[G_MODULE].line && g->image != IMAGE_MULTIBOOT) {
        return fail_given(p, G_MODULE, "module is for multiboot guests only");
    }
    if (p->given[G_INITRD].line && g->image != IMAGE_LINUX) {
        return fail_given(p, G_INITRD, "initrd is for linux guests only");
    }
    if (g->image == IMAGE_FLAT && !finish_flat(p)) {
        return false;
    }
    for (u32 i = 0; g->image != IMAGE_FLAT && i < ARRAY_SIZE(flat_only); i++) {
        if (p->given[flat_only[i]].line) {
            return fail_given(p, flat_only[i],
                              "load-address, entry and mode are for flat images only");
        }
    }
    if (g->expect == EXPECT_TIME_LIMIT && !g->time_limit_ms) {
        return fail_given(p, G_EXPECT, "expect = time-limit needs a time-limit");
    }
    if (g->expect == EXPECT_RESET && g->on_reset != ON_RESET_END) {
        return fail_given(p, G_EXPECT, "expect = reset needs on-reset = end");
    }
    if (g->count > 1 &&
        format_buffer(last, sizeof(last), "%s-%u", g->name, g->count) > CONFIG_NAME_LEN) {
        return config_fail(
            p, p->given[G_COUNT].line, p->given[G_COUNT].col,
            "the last copy's name, %s, is longer than %u characters: shorten the guest's name",
            last, CONFIG_NAME_LEN);
    }
    p->instances += g->count;
    if (p->instances > CONFIG_MAX_INSTANCES) {
        return config_fail(p, g->line, 1, "more than %u guests in all, copies included",
                           CONFIG_MAX_INSTANCES);
    }
    return true;
}

static bool finish_section(struct config_parser *p)
{
    return !p->guest || finish_guest(p);
}

static bool begin_guest(struct config_parser *p, struct config_str name)
{
    struct config_guest *g = &p->out->guests[p->out->guest_count];

    if (!config_is_name(name)) {
        return config_fail(p, name.line, name.col,
                           "a guest's name has 1 to %u letters, digits, - and _, not '%.*s'",
                           CONFIG_NAME_LEN, config_shown(name), name.text);
    }
    for (u32 i = 0; i < p->out->guest_count; i++) {
        if (config_equal(name, p->out->guests[i].name)) {
            return config_fail(p, name.line, name.col, "there is a guest %s already, in line %u",
                               p->out->guests[i].name, p->out->guests[i].line);
        }
    }
    if (p->out->guest_count == CONFIG_MAX_GUESTS) {
        return config_fail(p, name.line, name.col, "more than %u guest sections",
                           CONFIG_MAX_GUESTS);
    }
    p->out->guest_count++;
    *g = (struct config_guest){
        .line = name.line,
        .memory_bytes = 16ull << 20,
        .populate = true,
        .cpus = 1,
        .count = 1,
        .weight = 100,
        .restart_limit = 3,
        .load_address = 0x10000,
    };
    memcpy(g->name, name.text, name.len);
    p->guest = g;
    p->keys = config_guest_keys;
    p->key_count = GUEST_KEYS;
    return true;
}

static bool begin_section(struct config_parser *p, struct config_str header)
{
    struct config_str kind, name;

    if (!finish_section(p)) {
        return false;
    }
    memset(p->given, 0, sizeof(p->given));
    p->guest = NULL;
    config_split_word(header, &kind, &name);
    if (config_equal(kind, "guest")) {
        return begin_guest(p, name);
    }
    if (!config_equal(kind, "host") || name.len) {
        return config_fail(p, header.line, header.col,
                           "unknown section [%.*s]: there are [host] and [guest NAME]",
                           config_shown(header), header.text);
    }
    if (p->host_line) {
        return config_fail(p, header.line, header.col,
                           "there is a section [host] already, in line %u", p->host_line);
    }
    p->host_line = header.line;
    p->keys = config_host_keys;
    p->key_count = HOST_KEYS;
    return true;
}

/* --- lines --- */

static bool unknown_key(struct config_parser *p, struct config_str key)
{
    const char *section = p->guest ? "guest" : "host";
    const char *closest = NULL;
    u32 best = 3; /* this many typing mistakes are too many */

    for (u32 i = 0; i < p->key_count; i++) {
        u32 d = config_distance(key, p->keys[i].name);
        if (d < best) {
            best = d;
            closest = p->keys[i].name;
        }
    }
    if (closest) {
        return config_fail(p, key.line, key.col, "unknown key '%.*s': did you mean '%s'?",
                           config_shown(key), key.text, closest);
    }
    return config_fail(p, key.line, key.col, "unknown key '%.*s' in a [%s] section",
                       config_shown(key), key.text, section);
}

static bool read_key(struct config_parser *p, struct config_str key, struct config_str value)
{
    u32 i = 0;

    if (!p->keys) {
        return config_fail_at(p, key,
                              "a key before the first section: begin with [host] or [guest NAME]");
    }
    while (i < p->key_count && !config_equal(key, p->keys[i].name)) {
        i++;
    }
    if (i == p->key_count) {
        return unknown_key(p, key);
    }
    p->key = &p->keys[i];
    if (p->given[i].line && !p->key->repeats) {
        return config_fail(p, key.line, key.col, "%s is given twice, first in line %u",
                           p->key->name, p->given[i].line);
    }
    if (!value.len) {
        return config_fail(p, key.line, key.col, "%s has no value", p->key->name);
    }
    p->given[i] = (struct config_place){value.line, value.col};
    return p->key->read(p, value);
}

/* One line without its end, comment and outer white space; not empty. */
static bool read_line(struct config_parser *p, struct config_str line)
{
    struct config_str a, b;
    u32 at;

    if (line.text[0] == '[') {
        if (line.text[line.len - 1] != ']') {
            return config_fail_at(p, line, "a section header ends with ]");
        }
        return begin_section(p, config_slice(line, 1, line.len - 1));
    }
    for (at = 0; at < line.len && line.text[at] != '='; at++) {
    }
    if (at == line.len) {
        return config_fail_at(p, line, "expected key = value or a section header");
    }
    a = config_slice(line, 0, at);
    b = config_slice(line, at + 1, line.len);
    if (!a.len) {
        return config_fail_at(p, line, "there is no key before the =");
    }
    return read_key(p, a, b);
}

/* Guest a is not one of several; b's copies must not take its name. */
static bool names_collide(const struct config_guest *a, const struct config_guest *b)
{
    struct config_str rest;
    size_t n = strlen(b->name);
    u64 number;

    if (a->count > 1 || b->count == 1 || strncmp(a->name, b->name, n) != 0 || a->name[n] != '-') {
        return false;
    }
    rest = (struct config_str){.text = a->name + n + 1, .len = (u32)strlen(a->name + n + 1)};
    return rest.text[0] != '0' && config_number(rest, &number) && number >= 1 && number <= b->count;
}

static bool finish(struct config_parser *p, u32 last_line)
{
    struct config *c = p->out;

    if (!finish_section(p)) {
        return false;
    }
    for (u32 i = 0; i < c->guest_count; i++) {
        for (u32 k = 0; k < c->guest_count; k++) {
            if (names_collide(&c->guests[i], &c->guests[k])) {
                return config_fail(p, c->guests[i].line, 1,
                                   "guest %s has the name of a copy of guest %s", c->guests[i].name,
                                   c->guests[k].name);
            }
        }
    }
    if (!c->guest_count && !c->host.self_test) {
        return config_fail(p, last_line, 1, "there is nothing to run: add a section [guest NAME]");
    }
    return true;
}

bool config_parse(const char *text, size_t bytes, struct config *out, struct config_error *err)
{
    struct config_parser p = {.out = out, .err = err};
    struct config_str line;
    u32 at = 0, number = 0, bad;

    out->guest_count = 0;
    out->host = (struct config_host){
        .console = (u32)(CONFIG_CONSOLE_SERIAL | CONFIG_CONSOLE_SCREEN),
        .when_done = WHEN_DONE_POWEROFF,
    };
    if (bytes > CONFIG_MAX_BYTES) {
        return config_fail(&p, 1, 1, "the configuration is larger than %u bytes", CONFIG_MAX_BYTES);
    }
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        bytes -= 3;
    }
    while (config_line_next(text, (u32)bytes, &at, &number, &line, &bad)) {
        if (bad) {
            return config_fail(&p, number, bad, "a control character: is this a text file?");
        }
        if (line.len && !read_line(&p, line)) {
            return false;
        }
    }
    return finish(&p, number ? number : 1);
}
