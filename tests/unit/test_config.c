/* SPDX-License-Identifier: MIT */
/* The configuration's parser: what it accepts and with which values, and each error with its place.
 */
/* SOURCES: lib/config.c lib/config_keys.c lib/config_value.c lib/format.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/config.h"

static struct config config;
static struct config_error error;

/* Parses a copy of exactly that size, so that the sanitizer sees every byte read too many. */
static bool parse(const char *text, size_t bytes)
{
    static char *copy;

    free(copy);
    copy = malloc(bytes ? bytes : 1);
    memcpy(copy, text, bytes);
    memset(&error, 0, sizeof(error));
    return config_parse(copy, bytes, &config, &error);
}

static void accept(const char *text)
{
    if (!parse(text, strlen(text))) {
        fail_msg("line %u, column %u: %s\n%s", error.line, error.col, error.message, text);
    }
}

static void assert_str(struct config_str s, const char *text, u32 line, u32 col)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.text, text, s.len);
    assert_int_equal(s.line, line);
    assert_int_equal(s.col, col);
}

static void defaults(void **state)
{
    (void)state;
    accept("[guest a]\nflat = a.bin\n");
    assert_int_equal(config.host.console, CONFIG_CONSOLE_SERIAL | CONFIG_CONSOLE_SCREEN);
    assert_int_equal(config.host.when_done, WHEN_DONE_POWEROFF);
    assert_false(config.host.self_test);
    assert_int_equal(config.guest_count, 1);
    const struct config_guest *g = &config.guests[0];
    assert_string_equal(g->name, "a");
    assert_int_equal(g->line, 1);
    assert_int_equal(g->image, IMAGE_FLAT);
    assert_str(g->file, "a.bin", 2, 8);
    assert_int_equal(g->module_count, 0);
    assert_int_equal(g->options.len, 0);
    assert_int_equal(g->memory_bytes, 16 << 20);
    assert_true(g->populate);
    assert_false(g->apicv);
    assert_false(g->attach);
    assert_false(g->test_device);
    assert_int_equal(g->cpus, 1);
    assert_int_equal(g->count, 1);
    assert_int_equal(g->weight, 100);
    assert_int_equal(g->pin, 0);
    assert_int_equal(g->restart, RESTART_NO);
    assert_int_equal(g->restart_limit, 3);
    assert_int_equal(g->time_limit_ms, 0);
    assert_int_equal(g->on_reset, ON_RESET_RESTART);
    assert_int_equal(g->expect, EXPECT_SUCCESS);
    assert_int_equal(g->load_address, 0x10000);
    assert_int_equal(g->entry, 0x10000);
    assert_int_equal(g->mode, MODE_REAL);
}

static void every_key(void **state)
{
    (void)state;
    accept("\xef\xbb\xbf; a comment\r\n"
           "[host] # and another\r\n"
           "console = screen\r\n"
           "when-done = reboot\r\n"
           "self-test = yes\r\n"
           "\r\n"
           "[guest web-1]\r\n"
           "multiboot = tests/smp.elf   ; not part of it\r\n"
           "  module=tests/env a=1  b\r\n"
           "module = second\r\n"
           "options\t=\t-v a;b#c   # but this is a comment\r\n"
           "memory = 0x40M\r\n"
           "populate = no\r\n"
           "test-device = yes\r\n"
           "apicv = yes\r\n"
           "cpus = 4\r\n"
           "count = 3\r\n"
           "weight = 10000\r\n"
           "pin = 0, 1,63\r\n"
           "restart = on-failure\r\n"
           "restart-limit = 0\r\n"
           "time-limit = 90s\r\n"
           "expect = time-limit\r\n"
           "[guest b]\r\n"
           "flat = b.bin\r\n"
           "memory = 1048576\r\n"
           "load-address = 0x7c00\r\n"
           "entry = 0x7c10\r\n"
           "mode = protected\r\n"
           "on-reset = end\r\n"
           "expect = reset\r\n"
           "restart = always\r\n"
           "[guest linux]\r\n"
           "initrd = boot/initrd.img\r\n"
           "linux = boot/vmlinuz\r\n"
           "attach = yes");
    assert_int_equal(config.host.console, CONFIG_CONSOLE_SCREEN);
    assert_int_equal(config.host.when_done, WHEN_DONE_REBOOT);
    assert_true(config.host.self_test);
    assert_int_equal(config.guest_count, 3);
    const struct config_guest *g = &config.guests[0];
    assert_string_equal(g->name, "web-1");
    assert_int_equal(g->image, IMAGE_MULTIBOOT);
    assert_str(g->file, "tests/smp.elf", 8, 13);
    assert_int_equal(g->module_count, 2);
    assert_str(g->modules[0], "tests/env", 9, 10);
    assert_str(g->module_args[0], "a=1  b", 9, 20);
    assert_str(g->modules[1], "second", 10, 10);
    assert_int_equal(g->module_args[1].len, 0);
    assert_str(g->options, "-v a;b#c", 11, 11);
    assert_int_equal(g->memory_bytes, 64 << 20);
    assert_false(g->populate);
    assert_true(g->test_device);
    assert_true(g->apicv);
    assert_true(config.guests[2].attach);
    assert_int_equal(g->cpus, 4);
    assert_int_equal(g->count, 3);
    assert_int_equal(g->weight, 10000);
    assert_true(g->pin == (BIT(0) | BIT(1) | BIT(63)));
    assert_int_equal(g->restart, RESTART_ON_FAILURE);
    assert_int_equal(g->restart_limit, 0);
    assert_int_equal(g->time_limit_ms, 90000);
    assert_int_equal(g->expect, EXPECT_TIME_LIMIT);
    g = &config.guests[1];
    assert_int_equal(g->memory_bytes, 1 << 20);
    assert_int_equal(g->load_address, 0x7c00);
    assert_int_equal(g->entry, 0x7c10);
    assert_int_equal(g->mode, MODE_PROTECTED);
    assert_int_equal(g->on_reset, ON_RESET_END);
    assert_int_equal(g->expect, EXPECT_RESET);
    assert_int_equal(g->restart, RESTART_ALWAYS);
    g = &config.guests[2];
    assert_int_equal(g->image, IMAGE_LINUX);
    assert_str(g->file, "boot/vmlinuz", 35, 9);
    assert_int_equal(g->module_count, 1);
    assert_str(g->modules[0], "boot/initrd.img", 34, 10);
    assert_int_equal(g->module_args[0].len, 0);
}

static void values(void **state)
{
    static const struct {
        const char *text;
        u64 ms;
    } times[] = {
        {"1ms",   1               },
        {"500ms", 500             },
        {"2m",    120000          },
        {"168h",  168ull * 3600000},
        {"0x10s", 16000           }
    };
    static const struct {
        const char *text;
        u64 bytes;
    } sizes[] = {
        {"1M",    1 << 20    },
        {"2m",    2 << 20    },
        {"4096K", 4 << 20    },
        {"64G",   64ull << 30}
    };
    char text[100];

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(times); i++) {
        snprintf(text, sizeof(text), "[guest a]\nflat=a\ntime-limit=%s\n", times[i].text);
        accept(text);
        assert_int_equal(config.guests[0].time_limit_ms, times[i].ms);
    }
    for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
        snprintf(text, sizeof(text), "[guest a]\nflat=a\nmemory=%s\n", sizes[i].text);
        accept(text);
        assert_int_equal(config.guests[0].memory_bytes, sizes[i].bytes);
    }
    accept("[host]\nself-test=yes");
    assert_int_equal(config.guest_count, 0);
    accept("[host]\nconsole=serial\nwhen-done=halt\n[guest a]\nflat=x\nmode=long\n[guest "
           "a-4]\nflat=x\n"
           "[guest c]\nflat=x\ncount=3\n[guest c-4]\nflat=y\n[guest c-01]\nflat=y\n[guest "
           "c-1x]\nflat=y\n");
    assert_int_equal(config.guest_count, 6);
    accept("[host]\nwhen-done=wait\n[guest d]\nflat=x\nentry=0x20000\nmemory=1M\n");
    assert_int_equal(config.guests[0].entry, 0x20000);
}

#define G "[guest a]\nflat = a.bin\n"

/* clang-format off */
static const struct wrong {
    const char *text;
    u32 line, col;
    const char *message; /* a part of it */
} wrongs[] = {
    {"", 1, 1, "nothing to run"},
    {"; only a comment\n\n", 2, 1, "nothing to run"},
    {"[host]\nself-test = no\n", 2, 1, "nothing to run"},
    {"console = serial\n", 1, 1, "before the first section"},
    {"[host\n", 1, 1, "ends with ]"},
    {"  [host] x\n", 1, 3, "ends with ]"},
    {"[hots]\n", 1, 2, "unknown section [hots]"},
    {"[]\n", 1, 2, "unknown section"},
    {"[host x]\n", 1, 2, "unknown section [host x]"},
    {"[ Host ]\n", 1, 3, "unknown section [Host]"},
    {"[host]\n\n [host]\n", 3, 3, "already, in line 1"},
    {"[host]\nconsole serial\n", 2, 1, "expected key = value"},
    {"[host]\n  = serial\n", 2, 3, "no key before"},
    {"[host]\nconsole = \n", 2, 1, "console has no value"},
    {"[host]\nconsole = ; serial\n", 2, 1, "console has no value"},
    {"[host]\nconsole = serial, tape\n", 2, 19, "console is serial or screen, not 'tape'"},
    {"[host]\nconsole = serial,,screen\n", 2, 18, "empty place"},
    {"[host]\nconsole = serial,\n", 2, 18, "empty place"},
    {"[host]\nwhen-done = explode\n", 2, 13, "poweroff, reboot, halt or wait, not 'explode'"},
    {"[host]\nself-test = true\n", 2, 13, "self-test is no or yes, not 'true'"},
    {"[host]\nconsloe = serial\n", 2, 1, "did you mean 'console'?"},
    {"[host]\nflat = x\n", 2, 1, "unknown key 'flat' in a [host] section"},
    {"[host]\nconsole = serial\nconsole = screen\n", 3, 1, "given twice, first in line 2"},
    {"[guest]\n", 1, 7, "a guest's name"},
    {"[guest a b]\n", 1, 8, "not 'a b'"},
    {"[guest \xc3\xa4]\n", 1, 8, "not '\?\?'"},
    {"[guest abcdefghijklmnopqrstu]\n", 1, 8, "1 to 20 letters"},
    {G "[guest a]\n", 3, 8, "guest a already, in line 1"},
    {"[guest a]\nmemory = 64M\n", 1, 1, "guest a has no image"},
    {"[guest a]\n[guest b]\nflat=x\n", 1, 1, "guest a has no image"},
    {G "multiboot = b.elf\n", 3, 13, "an image already, in line 2"},
    {G "flat = b.elf\n", 3, 1, "flat is given twice, first in line 2"},
    {G "memroy = 64M\n", 3, 1, "did you mean 'memory'?"},
    {G "kernel = vmlinuz\n", 3, 1, "unknown key 'kernel' in a [guest] section"},
    {G "memory = 64\n", 3, 10, "1M to 64G"},
    {G "memory = 65G\n", 3, 10, "1M to 64G"},
    {G "memory = 1048577\n", 3, 10, "multiple of 4K"},
    {G "memory = M\n", 3, 10, "not 'M'"},
    {G "memory = 64MB\n", 3, 10, "not '64MB'"},
    {G "memory = 99999999999999999999G\n", 3, 10, "1M to 64G"},
    {G "memory = 18014398509481984K\n", 3, 10, "1M to 64G"},
    {G "memory = -1M\n", 3, 10, "not '-1M'"},
    {G "populate = maybe\n", 3, 12, "populate is no or yes"},
    {G "test-device = 1\n", 3, 15, "test-device is no or yes"},
    {G "cpus = 0\n", 3, 8, "cpus wants a number from 1 to 16, not '0'"},
    {G "cpus = 17\n", 3, 8, "from 1 to 16"},
    {G "cpus = two\n", 3, 8, "not 'two'"},
    {G "cpus = 0x\n", 3, 8, "not '0x'"},
    {G "count = 257\n", 3, 9, "from 1 to 256"},
    {G "count = 200\n[guest b]\nflat=x\ncount = 57\n", 4, 1, "more than 256 guests in all"},
    {"[guest abcdefghijklmnopqr]\nflat = x\ncount = 10\n", 3, 9, "is longer than 20"},
    {G "count = 3\n[guest a-2]\nflat=x\n", 4, 1, "guest a-2 has the name of a copy of guest a"},
    {G "weight = 0\n", 3, 10, "from 1 to 10000"},
    {G "pin = 0, 64\n", 3, 10, "from 0 to 63, not '64'"},
    {G "pin = 0 1\n", 3, 7, "not '0 1'"},
    {G "restart = sometimes\n", 3, 11, "no, on-failure or always"},
    {G "restart-limit = x\n", 3, 17, "restart-limit wants a number"},
    {G "time-limit = 30\n", 3, 14, "with its unit"},
    {G "time-limit = 0s\n", 3, 14, "from 1ms"},
    {G "time-limit = 169h\n", 3, 14, "to 168h"},
    {G "time-limit = s\n", 3, 14, "not 's'"},
    {G "expect = failure\n", 3, 10, "success, crash, time-limit or reset"},
    {G "expect = time-limit\n", 3, 10, "needs a time-limit"},
    {G "expect = reset\n", 3, 10, "needs on-reset = end"},
    {G "on-reset = reboot\n", 3, 12, "restart or end, not 'reboot'"},
    {G "load-address = here\n", 3, 16, "an address such as 0x7c00, not 'here'"},
    {G "load-address = 16777216\n", 3, 16, "outside the guest's memory"},
    {G "entry = 0x1000000\n", 3, 9, "entry lies outside"},
    {G "entry = 0x100000\n", 3, 9, "in real mode starts below 1M"},
    {G "load-address = 0x100000\n", 3, 16, "in real mode starts below 1M"},
    {G "memory=8G\nmode = protected\nentry = 0x100000000\n", 5, 9, "below 4G"},
    {G "memory=8G\nmode = long\nload-address = 0x100000000\n", 5, 16, "below 4G"},
    {G "mode = virtual\n", 3, 8, "real, protected or long"},
    {G "module = m\n", 3, 10, "module is for multiboot guests only"},
    {"[guest a]\nmodule = m\nlinux = x\n", 2, 10, "module is for multiboot guests only"},
    {G "initrd = m\n", 3, 10, "initrd is for linux guests only"},
    {"[guest a]\ninitrd = m\nmultiboot = x\n", 2, 10, "initrd is for linux guests only"},
    {"[guest a]\nlinux = x\ninitrd = m\ninitrd = n\n", 4, 1, "initrd is given twice"},
    {"[guest a]\nlinux = x\ninitrd = /m\n", 3, 10, "relative"},
    {"[guest a]\nlinux = x\nentry = 1\n", 3, 9, "for flat images only"},
    {"[guest a]\nmultiboot = x\nmode = long\n", 3, 8, "for flat images only"},
    {"[guest a]\nmultiboot = x\nentry = 1\n", 3, 9, "for flat images only"},
    {"[guest a]\nmultiboot = x\nload-address = 0x100000\n[guest b]\nflat=x\n", 3, 16,
     "flat images only"},
    {"[guest a]\nflat = /a.bin\n", 2, 8, "does not begin with /"},
    {"[guest a]\nflat = a/../b\n", 2, 10, "no . or .. in it"},
    {"[guest a]\nflat = ..\n", 2, 8, "no . or .. in it"},
    {"[guest a]\nflat = ./b\n", 2, 8, "no . or .. in it"},
    {"[guest a]\nflat = a//b\n", 2, 10, "empty part"},
    {"[guest a]\nflat = a/\n", 2, 10, "empty part"},
    {"[guest a]\nflat = a\\b\n", 2, 9, "separated by /"},
    {"[guest a]\nflat = a b\n", 2, 9, "no spaces"},
    {"[guest a]\nflat = a:b\n", 2, 9, "FAT"},
    {"[guest a]\nflat = \xc3\xa4\n", 2, 8, "FAT"},
    {"[guest a]\nflat = a./b\n", 2, 8, "does not end with a dot"},
    {"[guest a]\nmultiboot = x\nmodule = ../m x\n", 3, 10, "no . or .. in it"},
    {"[guest a]\nmultiboot = "
     "x\nmodule=a\nmodule=a\nmodule=a\nmodule=a\nmodule=a\nmodule=a\nmodule=a\n"
     "module=a\nmodule=a\n", 11, 8, "at most 8 modules"},
    {G "options = a\x01z\n", 3, 12, "control character"},
    {G "options = a\rz\n", 3, 12, "control character"},
};
/* clang-format on */

static void every_error(void **state)
{
    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(wrongs); i++) {
        const struct wrong *w = &wrongs[i];

        if (parse(w->text, strlen(w->text))) {
            fail_msg("accepted: %s", w->text);
        }
        if (error.line != w->line || error.col != w->col || !strstr(error.message, w->message)) {
            fail_msg("%u:%u: %s\nwanted %u:%u: %s\nfor: %s", error.line, error.col, error.message,
                     w->line, w->col, w->message, w->text);
        }
    }
}

static void limits(void **state)
{
    static char text[CONFIG_MAX_BYTES + 2];
    char name[120];
    size_t n = 0;

    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, G, sizeof(G) - 1);
    assert_true(parse(text, CONFIG_MAX_BYTES));
    assert_false(parse(text, CONFIG_MAX_BYTES + 1));
    assert_int_equal(error.line, 1);
    assert_non_null(strstr(error.message, "larger than"));
    text[30] = 0; /* a NUL is a control character, not the end */
    assert_false(parse(text, 100));
    assert_int_equal(error.line, 3);

    for (u32 i = 0; i < CONFIG_MAX_GUESTS; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "[guest g%u]\nflat=x\n", i);
    }
    assert_true(parse(text, n));
    assert_int_equal(config.guest_count, CONFIG_MAX_GUESTS);
    n += (size_t)snprintf(text + n, sizeof(text) - n, "[guest more]\nflat=x\n");
    assert_false(parse(text, n));
    assert_int_equal(error.line, 2 * CONFIG_MAX_GUESTS + 1);
    assert_int_equal(error.col, 8);

    for (u32 length = CONFIG_FILE_LEN; length <= CONFIG_FILE_LEN + 1; length++) {
        memset(name, 'x', length);
        name[length] = 0;
        n = (size_t)snprintf(text, sizeof(text), "[guest a]\nflat=%s\n", name);
        assert_int_equal(parse(text, n), length == CONFIG_FILE_LEN);
    }
    assert_non_null(strstr(error.message, "at most 95"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),    cmocka_unit_test(every_key), cmocka_unit_test(values),
        cmocka_unit_test(every_error), cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
