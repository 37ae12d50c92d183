/* SPDX-License-Identifier: MIT */
/* What the files of the configuration's parser share; for nobody else. */
#ifndef LIB_CONFIG_PARSER_H
#define LIB_CONFIG_PARSER_H

#include "lib/config.h"

enum guest_key {
    G_FLAT,
    G_MULTIBOOT,
    G_LINUX,
    G_MODULE,
    G_INITRD,
    G_OPTIONS,
    G_MEMORY,
    G_POPULATE,
    G_TEST_DEVICE,
    G_APICV,
    G_ATTACH,
    G_CPUS,
    G_COUNT,
    G_WEIGHT,
    G_PIN,
    G_RESTART,
    G_RESTART_LIMIT,
    G_TIME_LIMIT,
    G_ON_RESET,
    G_EXPECT,
    G_LOAD_ADDRESS,
    G_ENTRY,
    G_MODE,
    GUEST_KEYS,
};

#define HOST_KEYS 3

struct config_place {
    u32 line, col; /* 0: not given */
};

struct config_parser;

/* One key of a section. read() checks a value, not empty, and stores it. */
struct config_key {
    const char *name;
    bool (*read)(struct config_parser *p, struct config_str value);
    bool repeats;
};

struct config_parser {
    struct config *out;
    struct config_error *err;
    const struct config_key *keys; /* of the current section; NULL before the first */
    u32 key_count;
    const struct config_key *key; /* that is being read */
    struct config_guest *guest;
    struct config_place given[GUEST_KEYS]; /* where the current section's values stand */
    u32 host_line;                         /* of the [host] section, 0: none yet */
    u64 instances;
};

extern const struct config_key config_host_keys[HOST_KEYS];
extern const struct config_key config_guest_keys[GUEST_KEYS];

/* Records the error; false, so that callers can return it. What stands in the text may be anything,
 * so only printable ASCII of it reaches the message. */
bool config_fail(struct config_parser *p, u32 line, u32 col, const char *format, ...) PRINTF(4, 5);
bool config_fail_at(struct config_parser *p, struct config_str at, const char *message);

/* How many bytes of a slice a message shows; for %.*s. */
int config_shown(struct config_str s);

#endif
