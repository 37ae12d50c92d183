/* SPDX-License-Identifier: MIT */
/*
 * How a guest's bytes are shown. As lines with its name, what could steer a terminal made visible;
 * raw, to whoever is attached to it; or kept for later, while somebody is attached to another one.
 * The bytes are the guest's own choice. Pure code but for the output.
 */
#ifndef VMM_MANAGER_LINES_H
#define VMM_MANAGER_LINES_H

#include "lib/types.h"
#include "vmm/manager/output.h"

#define LINES_WIDTH 240 /* longer lines are broken, as are those that do not end in time */
#define LINES_NAME  32
#define LINES_KEPT  4096 /* the last bytes */

/* Room in the output that n bytes of a guest need at most: each could be a line of its own. */
#define LINES_ROOM(n) ((n) * (LINES_NAME + 5) + LINES_WIDTH)

enum lines_view { LINES_SHARED, LINES_RAW, LINES_KEEP };

struct lines {
    u32 length;
    bool broken;   /* what is shown last has no end yet */
    u64 since_tsc; /* when the oldest byte of the line came */
    char text[LINES_WIDTH];
};

/* Outlives the runs of a guest. */
struct view {
    enum lines_view mode;
    u32 matched; /* raw: how much of "socle:" has just passed */
    u32 start, count;
    u64 lost; /* older bytes, not kept */
    u8 kept[LINES_KEPT];
};

/* Adds n bytes, writing each line that is complete. */
void lines_add(struct lines *l, struct output *o, const char *name, const u8 *bytes, u32 n,
               u64 now);
/* Writes what is there of an incomplete line. */
void lines_flush(struct lines *l, struct output *o, const char *name);

/* Writes n bytes as they are. But nobody shall take a guest's words for ours: within "socle:" comes
 * an escape sequence that does nothing. */
void lines_raw(struct view *v, struct output *o, const u8 *bytes, u32 n);

void view_keep(struct view *v, const u8 *bytes, u32 n);
/* Up to max kept bytes, the oldest first; returns how many. */
u32 view_take(struct view *v, u8 *bytes, u32 max);

#endif
