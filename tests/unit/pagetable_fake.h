/* SPDX-License-Identifier: MIT */
/* Memory for lib/pagetable on the host: tables at invented physical addresses, and rules that are
 * checked at each single write. */
#ifndef TESTS_UNIT_PAGETABLE_FAKE_H
#define TESTS_UNIT_PAGETABLE_FAKE_H

#include <stdlib.h>
#include <string.h>

#include "lib/pagetable.h"

#define FAKE_TABLES  512
#define FAKE_BASE    0x7000000000ull /* physical address of the first table */
#define FAKE_ENTRIES 512

struct fake {
    u64 tables[FAKE_TABLES][FAKE_ENTRIES];
    bool used[FAKE_TABLES];
    bool linked[FAKE_TABLES]; /* an entry has pointed to it since it was allocated */
    bool fresh[FAKE_TABLES];  /* allocated since fake_begin() */
    u32 count, peak;
    u32 allow; /* allocations left before there is no memory */
    u32 writes;
    const struct pt_format *format;
    /* called after each write to a table that was linked, as another CPU's view of that moment */
    void (*watch)(void *arg);
    void *watch_arg;
    const char *broken; /* the first rule that was broken */
};

static inline s64 fake_index(u64 pa)
{
    u64 i = (pa - FAKE_BASE) / PAGE_SIZE;

    return pa >= FAKE_BASE && i < FAKE_TABLES ? (s64)i : -1;
}

static inline void fake_fail(struct fake *f, const char *rule)
{
    if (!f->broken) {
        f->broken = rule;
    }
}

static inline u64 fake_alloc(void *ctx)
{
    struct fake *f = ctx;

    if (!f->allow) {
        return 0;
    }
    for (u32 i = 0; i < FAKE_TABLES; i++) {
        if (!f->used[i]) {
            f->allow--;
            f->used[i] = true;
            f->fresh[i] = true;
            f->linked[i] = false;
            f->count++;
            f->peak = MAX(f->peak, f->count);
            memset(f->tables[i], 0, PAGE_SIZE);
            return FAKE_BASE + i * PAGE_SIZE;
        }
    }
    return 0;
}

static inline void fake_free(void *ctx, u64 table)
{
    struct fake *f = ctx;
    s64 i = fake_index(table);

    if (i < 0 || !f->used[i]) {
        fake_fail(f, "a table is freed that is none");
        return;
    }
    f->used[i] = false;
    f->count--;
    f->allow += f->allow != ~0u;
    memset(f->tables[i], 0xa5, PAGE_SIZE); /* who still walks it notices */
}

static inline u64 *fake_table(void *ctx, u64 table)
{
    struct fake *f = ctx;
    s64 i = fake_index(table);

    if (i < 0 || !f->used[i]) {
        fake_fail(f, "a table is used that is none");
        abort();
    }
    return f->tables[i];
}

static inline void fake_write(void *ctx, u64 *slot, u64 value)
{
    struct fake *f = ctx;
    size_t i = (size_t)(slot - &f->tables[0][0]) / FAKE_ENTRIES;
    s64 target = fake_index(value & f->format->address_mask);

    if (i >= FAKE_TABLES || !f->used[i]) {
        fake_fail(f, "a write beside the tables");
        return;
    }
    if (f->fresh[i] && f->linked[i]) {
        fake_fail(f, "a new table is written after it was linked");
    }
    if (value & f->format->present_mask && target >= 0) {
        f->linked[target] = true;
    }
    *slot = value;
    f->writes++;
    if (f->watch && f->linked[i]) {
        f->watch(f->watch_arg);
    }
}

static const struct pt_memory fake_memory = {fake_alloc, fake_free, fake_table, fake_write};

static inline void fake_init(struct fake *f, const struct pt_format *format)
{
    memset(f, 0, sizeof(*f));
    f->format = format;
    f->allow = ~0u;
}

/* A new operation: what is allocated from here on is new to it. */
static inline void fake_begin(struct fake *f)
{
    memset(f->fresh, 0, sizeof(f->fresh));
    f->writes = 0;
}

#endif
