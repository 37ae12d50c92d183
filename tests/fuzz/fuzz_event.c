/* SPDX-License-Identifier: MIT */
/* SOURCES: kernel/event.c */
/* Chains of events as a guest may cause them: the merge never loses its way, and every chain of
 * faults ends in a delivery or a triple fault. */
#include <stdlib.h>

#include "kernel/event.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct event first = {.type = EVENT_NONE};
    u32 in_a_row = 0;

    for (size_t i = 0; i + 1 < size; i += 2) {
        struct event e = {.type = data[i] & 7, .vector = data[i + 1]};
        if (data[i] & 0x80) { /* delivered */
            first.type = EVENT_NONE;
            in_a_row = 0;
            continue;
        }
        if (first.type == EVENT_NONE) {
            first = e;
            continue;
        }
        switch (event_merge(&first, &e)) {
        case MERGE_SECOND:
            first = e;
            in_a_row = 0;
            break;
        case MERGE_DOUBLE_FAULT:
            if (first.type != EVENT_HWEXC || e.type != EVENT_HWEXC || first.vector == 8) {
                abort(); /* only two exceptions merge, and a double fault does so once */
            }
            first = (struct event){EVENT_HWEXC, 8, true, 0, 0};
            if (++in_a_row > 1) {
                abort();
            }
            break;
        case MERGE_TRIPLE_FAULT:
            if (first.vector != 8 || first.type != EVENT_HWEXC) {
                abort();
            }
            first.type = EVENT_NONE;
            in_a_row = 0;
            break;
        default:
            abort();
        }
    }
    return 0;
}
