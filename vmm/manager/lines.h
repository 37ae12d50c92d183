/* SPDX-License-Identifier: MIT */
/*
 * A guest's bytes as lines with its name. The bytes are the guest's own choice: what could steer a
 * terminal is made visible. Pure code but for the output.
 */
#ifndef VMM_MANAGER_LINES_H
#define VMM_MANAGER_LINES_H

#include "lib/types.h"
#include "vmm/manager/output.h"

#define LINES_WIDTH 240 /* longer lines are broken, as are those that do not end in time */
#define LINES_NAME  32

/* Room in the output that n bytes of a guest need at most: each could be a line of its own. */
#define LINES_ROOM(n) ((n) * (LINES_NAME + 5) + LINES_WIDTH)

struct lines {
    u32 length;
    bool broken;   /* what is shown last has no end yet */
    u64 since_tsc; /* when the oldest byte of the line came */
    char text[LINES_WIDTH];
};

/* Adds n bytes, writing each line that is complete. */
void lines_add(struct lines *l, struct output *o, const char *name, const u8 *bytes, u32 n,
               u64 now);
/* Writes what is there of an incomplete line. */
void lines_flush(struct lines *l, struct output *o, const char *name);

#endif
