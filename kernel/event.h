/* SPDX-License-Identifier: MIT */
/* Events that are delivered through a guest's IDT, and how two of them merge. Pure code. */
#ifndef KERNEL_EVENT_H
#define KERNEL_EVENT_H

#include "lib/types.h"

/* Numbers are those of SDM 3C "VM-Entry Controls for Event Injection" (type), shared by AMD where
 * equal. */
enum event_type {
    EVENT_EXTINT = 0,
    EVENT_NMI = 2,
    EVENT_HWEXC = 3,      /* hardware exception */
    EVENT_SWINT = 4,      /* INT n */
    EVENT_PRIV_SWEXC = 5, /* INT1 */
    EVENT_SWEXC = 6,      /* INT3, INTO */
    EVENT_NONE = 255,
};

struct event {
    u8 type; /* enum event_type */
    u8 vector;
    u8 has_error;
    u8 length; /* of the instruction, software events only */
    u32 error;
};

enum event_merge { MERGE_SECOND, MERGE_DOUBLE_FAULT, MERGE_TRIPLE_FAULT };

/* What the CPU does when exception `second` is raised while `first` was being delivered
 * (SDM 3A "Interrupt 8 - Double Fault Exception"). */
enum event_merge event_merge(const struct event *first, const struct event *second);

#endif
