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
    const char *in; /* what was typed, NUL-terminated */
    bool ended, success;
    char reason[64];
};

void fake_host_reset(struct machine *m);

#endif
