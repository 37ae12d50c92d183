/* SPDX-License-Identifier: MIT */
/* A page of device registers that behave like memory, for guests that test how the machine carries
 * out instructions on devices. Only with "test-device = yes". */
#ifndef VMM_DEVICE_TESTDEV_H
#define VMM_DEVICE_TESTDEV_H

#include "lib/types.h"
#include "vmm/machine/host.h"

#define TESTDEV_BASE 0xfed80000ull

struct testdev {
    u8 memory[PAGE_SIZE];
};

/* Puts it on the bus, all zero; false: no room. */
bool testdev_attach(struct testdev *d, struct machine *host) MUST_CHECK;

#endif
