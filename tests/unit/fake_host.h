/* SPDX-License-Identifier: MIT */
/* vmm/machine/host.h for tests: device models on the host, with everything they do recorded. */
#ifndef TESTS_UNIT_FAKE_HOST_H
#define TESTS_UNIT_FAKE_HOST_H

#include "vmm/machine/bus.h"
#include "vmm/machine/ram.h"

struct machine {
    struct bus bus;
    struct ram ram;
    u64 time_ns;
    u32 irq_levels;
    u32 irq_changes;
    char out[4096];
    u32 out_count;
    const char *in;            /* what was typed, NUL-terminated */
    struct host_timer *timers; /* in no order */
    u64 wall_seconds;
    struct {
        u64 address;
        u32 data;
    } messages[64]; /* the last ones, a ring */
    u32 message_count;
    bool refuse_messages; /* no local APIC takes them */
    bool intr;
    u32 intr_changes;
    bool ended;
    enum host_ending ending;
    char reason[64];
};

void fake_host_reset(struct machine *m);

/* Time goes on by ns, step by step through the timers that are due on the way. */
void fake_host_advance(struct machine *m, u64 ns);

#endif
