/* SPDX-License-Identifier: MIT */
/* The merge of two exceptions. Pure code. */
#include "kernel/event.h"

enum class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum class class_of(const struct event *e) {
    if (e->type != EVENT_HWEXC){
        return BENIGN; /* interrupts, NMI, INT n, INT3, INTO */
    }
switch (e->vector)
{
case 0:  /* #DE */
case 10: /* #TS */
case 11: /* #NP */
case 12: /* #SS */
case 13: /* #GP */
case 21: /* #CP */
    return CONTRIBUTORY;
case 14: /* #PF */
case 20: /* #VE */
    return PAGE_FAULT;
case 8:
    return DOUBLE_FAULT;
default:
    return BENIGN;
}
}

enum event_merge event_merge(const struct event *first, const struct event *second)
{
    enum class a = class_of(first), b = class_of(second);

    /* Only an exception during the delivery of an exception merges; a benign one is simply next. */
    if (a == BENIGN || b == BENIGN) {
        return MERGE_SECOND;
    }
    if (a == DOUBLE_FAULT) {
        return MERGE_TRIPLE_FAULT;
    }
    if (b == DOUBLE_FAULT || a == PAGE_FAULT) {
        return MERGE_DOUBLE_FAULT;
    }
    return b == CONTRIBUTORY ? MERGE_DOUBLE_FAULT : MERGE_SECOND;
}
