/* SPDX-License-Identifier: MIT */
/* The device models' timers, by when they are due. Pure; the device lock is the caller's. */
#ifndef VMM_MACHINE_TIMERS_H
#define VMM_MACHINE_TIMERS_H

#include "lib/types.h"
#include "vmm/machine/host.h"

struct timers {
    struct host_timer *first; /* the earliest; linked by next, equal ones in the order they came */
};

/* Sets, moves or, with HOST_NEVER, stops a timer. at_ns is guest-controlled: any value. */
void timers_set(struct timers *list, struct host_timer *t, u64 at_ns);

/* When the earliest one is due; HOST_NEVER: none is set. */
u64 timers_next(const struct timers *list);

/* Calls those that are due at now_ns, each at most as often as there are such timers when it
 * begins: one that sets itself again for the past is left for the next round. */
void timers_run(struct timers *list, u64 now_ns);

#endif
