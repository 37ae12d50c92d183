/* SPDX-License-Identifier: MIT */
/* The configuration's parser on any bytes: what it accepts is within its promises, and every error
 * has a place inside the text. */
/* SOURCES: lib/config.c lib/config_keys.c lib/config_value.c lib/format.c */
#include <string.h>

#include "lib/config.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *text;
static size_t text_bytes;

/* Slices lie in the text, and line and column lead to them. */
static void check_slice(struct config_str s)
{
    const char *p = text;

    if (!s.len) {
        return;
    }
    CHECK(s.text >= text && s.len <= text_bytes && s.text <= text + text_bytes - s.len);
    if (text_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        p += 3;
    }
    for (u32 line = 1; line < s.line; line++) {
        p = memchr(p, '\n', (size_t)(text + text_bytes - p));
        CHECK(p);
        p++;
    }
    CHECK(p + s.col - 1 == s.text);
    CHECK(!memchr(s.text, '\n', s.len) && !memchr(s.text, 0, s.len));
}

static void check_file(struct config_str s)
{
    check_slice(s);
    CHECK(s.len >= 1 && s.len <= CONFIG_FILE_LEN && s.text[0] != '/');
    for (u32 i = 0; i < s.len; i++) {
        CHECK(s.text[i] > ' ' && s.text[i] <= '~' && s.text[i] != '\\');
        CHECK(i + 1 >= s.len || memcmp(s.text + i, "..", 2) != 0 || (i && s.text[i - 1] != '/') ||
              (i + 2 < s.len && s.text[i + 2] != '/'));
    }
}

static void check_guest(const struct config_guest *g)
{
    CHECK(memchr(g->name, 0, sizeof(g->name)) && g->name[0]);
    CHECK(g->image == IMAGE_FLAT || g->image == IMAGE_MULTIBOOT || g->image == IMAGE_LINUX);
    CHECK(g->image == IMAGE_MULTIBOOT || g->module_count <= (g->image == IMAGE_LINUX));
    check_file(g->file);
    CHECK(g->module_count <= CONFIG_MAX_MODULES);
    for (u32 i = 0; i < g->module_count; i++) {
        check_file(g->modules[i]);
        check_slice(g->module_args[i]);
    }
    check_slice(g->options);
    CHECK(g->memory_bytes >= 1 << 20 && g->memory_bytes <= 64ull << 30);
    CHECK(!(g->memory_bytes & PAGE_MASK));
    CHECK(g->cpus >= 1 && g->cpus <= 16 && g->weight >= 1 && g->weight <= 10000);
    CHECK(g->count >= 1 && g->count <= CONFIG_MAX_INSTANCES);
    CHECK(g->time_limit_ms <= 168ull * 3600 * 1000);
    CHECK(g->expect != EXPECT_TIME_LIMIT || g->time_limit_ms);
    CHECK(g->expect != EXPECT_RESET || g->on_reset == ON_RESET_END);
    if (g->image == IMAGE_FLAT) {
        CHECK(g->load_address < g->memory_bytes && g->entry < g->memory_bytes);
        CHECK(g->mode != MODE_REAL || g->entry < 1 << 20);
    }
}

static void check_error(const struct config_error *e)
{
    size_t lines = 1;

    CHECK(memchr(e->message, 0, sizeof(e->message)) && e->message[0]);
    for (const char *c = e->message; *c; c++) {
        CHECK(*c >= ' ' && *c <= '~');
    }
    for (size_t i = 0; i < text_bytes; i++) {
        lines += text[i] == '\n';
    }
    CHECK(e->line >= 1 && e->line <= lines && e->col >= 1 && e->col <= text_bytes + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    struct config_error error;
    u32 instances = 0;

    text = (const char *)data;
    text_bytes = size;
    memset(&error, 0xa5, sizeof(error));
    if (!config_parse(text, size, &config, &error)) {
        check_error(&error);
        return 0;
    }
    CHECK(config.guest_count <= CONFIG_MAX_GUESTS);
    CHECK(config.guest_count || config.host.self_test);
    CHECK(config.host.console);
    for (u32 i = 0; i < config.guest_count; i++) {
        check_guest(&config.guests[i]);
        instances += config.guests[i].count;
        for (u32 k = 0; k < i; k++) {
            CHECK(strcmp(config.guests[i].name, config.guests[k].name) != 0);
        }
    }
    CHECK(instances <= CONFIG_MAX_INSTANCES);
    return 0;
}
