/* SPDX-License-Identifier: MIT */
/* The debug-exit port: a 32-bit write of v to port 0xf4 ends the guest, with success when v is 0.
 */
#ifndef VMM_DEVICE_DEBUGEXIT_H
#define VMM_DEVICE_DEBUGEXIT_H

#include "lib/types.h"
#include "vmm/machine/host.h"

#define DEBUGEXIT_PORT  0xf4
#define DEBUGEXIT_PORTS 4

struct debugexit {
    struct machine *host;
};

/* Puts it on the bus; false: no room. It has no state to reset. */
bool debugexit_attach(struct debugexit *d, struct machine *host) MUST_CHECK;

#endif
