/* SPDX-License-Identifier: MIT */
/* The keys of the configuration: each reads its value, checks its range and stores it. */
#include "lib/config_parser.h"

#include "lib/config_value.h"
#include "lib/format.h"

bool config_fail(struct config_parser *p, u32 line, u32 col, const char *format, ...)
{
    va_list args;

    p->err->line = line;
    p->err->col = col;
    va_start(args, format);
    format_vbuffer(p->err->message, sizeof(p->err->message), format, args);
    va_end(args);
    for (char *c = p->err->message; *c; c++) {
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
    return false;
}

bool config_fail_at(struct config_parser *p, struct config_str at, const char *message)
{
    return config_fail(p, at.line, at.col, "%s", message);
}

int config_shown(struct config_str s)
{
    return (int)MIN(s.len, 32u);
}

/* --- values --- */

static bool read_number(struct config_parser *p, struct config_str v, u64 lo, u64 hi, u64 *out)
{
    if (!config_number(v, out) || *out < lo || *out > hi) {
        return config_fail(p, v.line, v.col, "%s wants a number from %lu to %lu, not '%.*s'",
                           p->key->name, lo, hi, config_shown(v), v.text);
    }
    return true;
}

static bool read_u32(struct config_parser *p, struct config_str v, u32 lo, u32 hi, u32 *out)
{
    u64 n = 0;

    if (!read_number(p, v, lo, hi, &n)) {
        return false;
    }
    *out = (u32)n;
    return true;
}

/* One word of a list that ends with NULL; *out is its index. */
static bool read_choice(struct config_parser *p, struct config_str v, const char *const *words,
                        u32 *out)
{
    char list[80];
    size_t n = 0;

    list[0] = 0;
    for (u32 i = 0; words[i]; i++) {
        if (config_equal(v, words[i])) {
            *out = i;
            return true;
        }
        n += format_buffer(list + n, sizeof(list) - n, "%s%s",
                           i == 0         ? ""
                           : words[i + 1] ? ", "
                                          : " or ",
                           words[i]);
    }
    return config_fail(p, v.line, v.col, "%s is %s, not '%.*s'", p->key->name, list,
                       config_shown(v), v.text);
}

static bool read_yes_no(struct config_parser *p, struct config_str v, bool *out)
{
    static const char *const words[] = {"no", "yes", NULL};
    u32 i = 0;

    if (!read_choice(p, v, words, &i)) {
        return false;
    }
    *out = i != 0;
    return true;
}

static bool read_file(struct config_parser *p, struct config_str v, struct config_str *out)
{
    const char *wrong;
    u32 at;

    wrong = config_file_wrong(v, &at);
    if (wrong) {
        return config_fail(p, v.line, v.col + at, "%s", wrong);
    }
    *out = v;
    return true;
}

static bool read_address(struct config_parser *p, struct config_str v, u64 *out)
{
    if (!config_number(v, out)) {
        return config_fail(p, v.line, v.col, "%s wants an address such as 0x7c00, not '%.*s'",
                           p->key->name, config_shown(v), v.text);
    }
    return true;
}

/* Calls fn for each item of a list that commas separate. */
static bool read_list(struct config_parser *p, struct config_str v,
                      bool (*fn)(struct config_parser *p, struct config_str item))
{
    struct config_str item;
    u32 at = 0;

    while (config_list_next(v, &at, &item)) {
        if (!item.len) {
            return config_fail(p, item.line, item.col, "%s has an empty place in its list",
                               p->key->name);
        }
        if (!fn(p, item)) {
            return false;
        }
    }
    return true;
}

/* --- keys of [host] --- */

static bool console_item(struct config_parser *p, struct config_str v)
{
    static const char *const words[] = {"serial", "screen", NULL};
    u32 i = 0;

    if (!read_choice(p, v, words, &i)) {
        return false;
    }
    p->out->host.console |= i ? (u32)CONFIG_CONSOLE_SCREEN : (u32)CONFIG_CONSOLE_SERIAL;
    return true;
}

static bool key_console(struct config_parser *p, struct config_str v)
{
    p->out->host.console = 0;
    return read_list(p, v, console_item);
}

static bool key_when_done(struct config_parser *p, struct config_str v)
{
    static const char *const words[] = {
        [WHEN_DONE_POWEROFF] = "poweroff", [WHEN_DONE_REBOOT] = "reboot", [WHEN_DONE_HALT] = "halt",
        [WHEN_DONE_WAIT] = "wait",         [WHEN_DONE_WAIT + 1] = NULL,
    };
    u32 i = 0;

    if (!read_choice(p, v, words, &i)) {
        return false;
    }
    p->out->host.when_done = (enum config_when_done)i;
    return true;
}

static bool key_self_test(struct config_parser *p, struct config_str v)
{
    return read_yes_no(p, v, &p->out->host.self_test);
}

const struct config_key config_host_keys[HOST_KEYS] = {
    {"console",   key_console,   false},
    {"when-done", key_when_done, false},
    {"self-test", key_self_test, false},
};

/* --- keys of [guest] --- */

static bool read_image(struct config_parser *p, struct config_str v, enum config_image image)
{
    if (p->guest->image != IMAGE_NONE) {
        return config_fail(p, v.line, v.col, "this guest has an image already, in line %u",
                           p->guest->file.line);
    }
    p->guest->image = image;
    return read_file(p, v, &p->guest->file);
}

static bool key_flat(struct config_parser *p, struct config_str v)
{
    return read_image(p, v, IMAGE_FLAT);
}

static bool key_multiboot(struct config_parser *p, struct config_str v)
{
    return read_image(p, v, IMAGE_MULTIBOOT);
}

static bool key_linux(struct config_parser *p, struct config_str v)
{
    return read_image(p, v, IMAGE_LINUX);
}

static bool key_initrd(struct config_parser *p, struct config_str v)
{
    p->guest->module_count = 1; /* config.c sees to it that there are no others */
    return read_file(p, v, &p->guest->modules[0]);
}

static bool key_module(struct config_parser *p, struct config_str v)
{
    struct config_guest *g = p->guest;
    struct config_str file, args;

    if (g->module_count == CONFIG_MAX_MODULES) {
        return config_fail(p, v.line, v.col, "a guest has at most %u modules", CONFIG_MAX_MODULES);
    }
    config_split_word(v, &file, &args);
    g->module_args[g->module_count] = args;
    return read_file(p, file, &g->modules[g->module_count++]);
}

static bool key_options(struct config_parser *p, struct config_str v)
{
    p->guest->options = v;
    return true;
}

static bool key_memory(struct config_parser *p, struct config_str v)
{
    u64 bytes;

    if (!config_size(v, &bytes) || bytes < (1ull << 20) || bytes > (64ull << 30)) {
        return config_fail(p, v.line, v.col,
                           "memory wants a size from 1M to 64G, such as 64M, not '%.*s'",
                           config_shown(v), v.text);
    }
    if (bytes & PAGE_MASK) {
        return config_fail_at(p, v, "memory must be a multiple of 4K");
    }
    p->guest->memory_bytes = bytes;
    return true;
}

static bool key_populate(struct config_parser *p, struct config_str v)
{
    return read_yes_no(p, v, &p->guest->populate);
}

static bool key_apicv(struct config_parser *p, struct config_str v)
{
    return read_yes_no(p, v, &p->guest->apicv);
}

static bool key_test_device(struct config_parser *p, struct config_str v)
{
    return read_yes_no(p, v, &p->guest->test_device);
}

static bool key_attach(struct config_parser *p, struct config_str v)
{
    return read_yes_no(p, v, &p->guest->attach);
}

static bool key_cpus(struct config_parser *p, struct config_str v)
{
    return read_u32(p, v, 1, 16, &p->guest->cpus);
}

static bool key_count(struct config_parser *p, struct config_str v)
{
    return read_u32(p, v, 1, CONFIG_MAX_INSTANCES, &p->guest->count);
}

static bool key_weight(struct config_parser *p, struct config_str v)
{
    return read_u32(p, v, 1, 10000, &p->guest->weight);
}

static bool pin_item(struct config_parser *p, struct config_str v)
{
    u32 cpu = 0;

    if (!read_u32(p, v, 0, 63, &cpu)) {
        return false;
    }
    p->guest->pin |= BIT(cpu);
    return true;
}

static bool key_pin(struct config_parser *p, struct config_str v)
{
    return read_list(p, v, pin_item);
}

static bool key_restart(struct config_parser *p, struct config_str v)
{
    static const char *const words[] = {
        [RESTART_NO] = "no",
        [RESTART_ON_FAILURE] = "on-failure",
        [RESTART_ALWAYS] = "always",
        [RESTART_ALWAYS + 1] = NULL,
    };
    u32 i = 0;

    if (!read_choice(p, v, words, &i)) {
        return false;
    }
    p->guest->restart = (enum config_restart)i;
    return true;
}

static bool key_restart_limit(struct config_parser *p, struct config_str v)
{
    return read_u32(p, v, 0, 1000000, &p->guest->restart_limit);
}

static bool key_time_limit(struct config_parser *p, struct config_str v)
{
    if (!config_duration_ms(v, &p->guest->time_limit_ms)) {
        return config_fail(
            p, v.line, v.col,
            "time-limit wants a time from 1ms to 168h with its unit (ms, s, m, h), not '%.*s'",
            config_shown(v), v.text);
    }
    return true;
}

static bool key_on_reset(struct config_parser *p, struct config_str v)
{
    static const char *const words[] = {
        [ON_RESET_RESTART] = "restart",
        [ON_RESET_END] = "end",
        [ON_RESET_END + 1] = NULL,
    };
    u32 i = 0;

    if (!read_choice(p, v, words, &i)) {
        return false;
    }
    p->guest->on_reset = (enum config_on_reset)i;
    return true;
}

static bool key_expect(struct config_parser *p, struct config_str v)
{
    static const char *const words[] = {
        [EXPECT_SUCCESS] = "success", [EXPECT_CRASH] = "crash",  [EXPECT_TIME_LIMIT] = "time-limit",
        [EXPECT_RESET] = "reset",     [EXPECT_RESET + 1] = NULL,
    };
    u32 i = 0;

    if (!read_choice(p, v, words, &i)) {
        return false;
    }
    p->guest->expect = (enum config_expect)i;
    return true;
}

static bool key_load_address(struct config_parser *p, struct config_str v)
{
    return read_address(p, v, &p->guest->load_address);
}

static bool key_entry(struct config_parser *p, struct config_str v)
{
    return read_address(p, v, &p->guest->entry);
}

static bool key_mode(struct config_parser *p, struct config_str v)
{
    static const char *const words[] = {
        [MODE_REAL] = "real",
        [MODE_PROTECTED] = "protected",
        [MODE_LONG] = "long",
        [MODE_LONG + 1] = NULL,
    };
    u32 i = 0;

    if (!read_choice(p, v, words, &i)) {
        return false;
    }
    p->guest->mode = (enum config_mode)i;
    return true;
}

const struct config_key config_guest_keys[GUEST_KEYS] = {
    [G_FLAT] = {"flat",          key_flat,          false},
    [G_MULTIBOOT] = {"multiboot",     key_multiboot,     false},
    [G_LINUX] = {"linux",         key_linux,         false},
    [G_MODULE] = {"module",        key_module,        true },
    [G_INITRD] = {"initrd",        key_initrd,        false},
    [G_OPTIONS] = {"options",       key_options,       false},
    [G_MEMORY] = {"memory",        key_memory,        false},
    [G_POPULATE] = {"populate",      key_populate,      false},
    [G_TEST_DEVICE] = {"test-device",   key_test_device,   false},
    [G_APICV] = {"apicv",         key_apicv,         false},
    [G_ATTACH] = {"attach",        key_attach,        false},
    [G_CPUS] = {"cpus",          key_cpus,          false},
    [G_COUNT] = {"count",         key_count,         false},
    [G_WEIGHT] = {"weight",        key_weight,        false},
    [G_PIN] = {"pin",           key_pin,           false},
    [G_RESTART] = {"restart",       key_restart,       false},
    [G_RESTART_LIMIT] = {"restart-limit", key_restart_limit, false},
    [G_TIME_LIMIT] = {"time-limit",    key_time_limit,    false},
    [G_ON_RESET] = {"on-reset",      key_on_reset,      false},
    [G_EXPECT] = {"expect",        key_expect,        false},
    [G_LOAD_ADDRESS] = {"load-address",  key_load_address,  false},
    [G_ENTRY] = {"entry",         key_entry,         false},
    [G_MODE] = {"mode",          key_mode,          false},
};
