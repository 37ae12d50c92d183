/* SPDX-License-Identifier: MIT */
/* The debug console of Bochs and QEMU: a write to port 0xe9 prints a byte, a read gives 0xe9. */
#ifndef VMM_DEVICE_DEBUGCON_H
#define VMM_DEVICE_DEBUGCON_H

#include "lib/types.h"
#include "vmm/machine/host.h"

#define DEBUGCON_PORT 0xe9

struct debugcon {
    struct machine *host;
};

/* Puts it on the bus; false: no room. It has no state to reset. */
bool debugcon_attach(struct debugcon *d, struct machine *host) MUST_CHECK;

#endif
