/* SPDX-License-Identifier: MIT */
/*
 * The configuration: one INI-like text, parsed by the loader (to know which files to read), by the
 * manager (to run the guests) and, through the same rules, checked by tools/socle. Pure code: no
 * allocation, no I/O. The text is untrusted; names and values are slices of it, never copied.
 */
#ifndef LIB_CONFIG_H
#define LIB_CONFIG_H

#include "lib/types.h"

#define CONFIG_MAX_GUESTS    64
#define CONFIG_MAX_MODULES   8
#define CONFIG_NAME_LEN      20 /* longest guest name, without NUL: letters, digits, - and _ */
#define CONFIG_MAX_BYTES     65536
#define CONFIG_MAX_INSTANCES 256 /* guests with all their copies (count) */
#define CONFIG_FILE_LEN      95  /* longest file name, in printable ASCII; fits boot_module.name */

/* A piece of the text: not NUL-terminated. len 0: absent. */
struct config_str {
    const char *text;
    u32 len;
    u32 line; /* where it stands, from 1; for messages about files */
    u32 col;
};

enum config_when_done { WHEN_DONE_POWEROFF, WHEN_DONE_REBOOT, WHEN_DONE_HALT, WHEN_DONE_WAIT };
enum config_restart { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS };
enum config_on_reset { ON_RESET_RESTART, ON_RESET_END };
enum config_expect { EXPECT_SUCCESS, EXPECT_CRASH, EXPECT_TIME_LIMIT, EXPECT_RESET };
enum config_image { IMAGE_NONE, IMAGE_FLAT, IMAGE_MULTIBOOT, IMAGE_LINUX };
enum config_mode { MODE_REAL, MODE_PROTECTED, MODE_LONG };

#define CONFIG_CONSOLE_SERIAL BIT(0)
#define CONFIG_CONSOLE_SCREEN BIT(1)

struct config_host {
    u32 console;                     /* console = serial, screen (default: both) */
    enum config_when_done when_done; /* when-done = poweroff | reboot | halt | wait */
    bool self_test;                  /* self-test = yes | no */
};

struct config_guest {
    char name[CONFIG_NAME_LEN + 1];
    u32 line; /* of its section header */
    enum config_image image;
    struct config_str file; /* flat = FILE, multiboot = FILE, linux = FILE */
    /* module = FILE [command line]; the file's part. Of linux: initrd = FILE is the only one */
    struct config_str modules[CONFIG_MAX_MODULES];
    struct config_str module_args[CONFIG_MAX_MODULES]; /* and the rest of the line */
    u32 module_count;
    struct config_str options; /* options = TEXT */
    u64 memory_bytes;          /* memory = 64M; default 16M; 1M to 64G, whole pages */
    bool populate;    /* populate = yes | no: frames now, or at first touch (default yes) */
    bool test_device; /* test-device = yes | no: a page of registers like memory (default no) */
    bool apicv;       /* apicv = yes | no: x2APICs by the CPU, if it can (default no) */
    bool attach;      /* attach = yes | no: who types is attached to it (default no) */
    u32 cpus;         /* cpus = 1..16 */
    u32 count;        /* count = N: that many copies, named NAME-1 .. NAME-N; default 1 */
    u32 weight;       /* weight = 1..10000, default 100 */
    u64 pin;          /* pin = 0, 1, 3: mask of host CPUs, 0 = any */
    enum config_restart restart;   /* restart = no | on-failure | always */
    u32 restart_limit;             /* restart-limit = N; default 3; 0 = without limit */
    u64 time_limit_ms;             /* time-limit = 30s | 500ms | 2m; 0 = none */
    enum config_on_reset on_reset; /* on-reset = restart | end */
    enum config_expect expect;     /* expect = success | crash | time-limit | reset */
    /* flat images only */
    u64 load_address;      /* load-address = 0x7c00, default 0x10000 */
    u64 entry;             /* entry = address, default load-address */
    enum config_mode mode; /* mode = real | protected | long, default real */
};

struct config {
    struct config_host host;
    u32 guest_count;
    struct config_guest guests[CONFIG_MAX_GUESTS];
};

/* One error: the first one found. message is complete and says what to do; line and col from 1. */
struct config_error {
    u32 line, col;
    char message[160];
};

/*
 * Parses bytes of text (no NUL needed; LF or CRLF; a UTF-8 byte order mark is skipped; ';' and '#'
 * start a comment at the start of a line or after white space). Fills *out and returns true, or
 * fills *err and returns false; *out is then to be ignored. The slices in *out live as long as
 * text. An unknown section or key, a doubled key, a value out of range, a guest without an image, a
 * file name that is absolute or has "..", two guests of one name: all are errors.
 */
bool config_parse(const char *text, size_t bytes, struct config *out, struct config_error *err);

#endif
