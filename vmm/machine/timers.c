/* SPDX-License-Identifier: MIT */
/* The device models' timers: a sorted list, as there are a handful of them. */
#include "vmm/machine/timers.h"

static void take_out(struct timers *list, struct host_timer *t)
{
    struct host_timer **at = &list->first;

    while (*at && *at != t) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = t->next;
    }
}

void timers_set(struct timers *list, struct host_timer *t, u64 at_ns)
{
    struct host_timer **at = &list->first;

    take_out(list, t);
    t->at_ns = at_ns;
    if (at_ns == HOST_NEVER) {
        return;
    }
    while (*at && (*at)->at_ns <= at_ns) {
        at = &(*at)->next;
    }
    t->next = *at;
    *at = t;
}

u64 timers_next(const struct timers *list)
{
    return list->first ? list->first->at_ns : HOST_NEVER;
}

void timers_run(struct timers *list, u64 now_ns)
{
    u32 due = 0;

    for (const struct host_timer *t = list->first; t && t->at_ns <= now_ns; t = t->next) {
        due++;
    }
    for (; due && timers_next(list) <= now_ns; due--) {
        struct host_timer *t = list->first;
        timers_set(list, t, HOST_NEVER);
        t->due(t->device, now_ns);
    }
}
