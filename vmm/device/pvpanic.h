/* SPDX-License-Identifier: MIT */
/* The port by which a kernel tells that it has panicked: the guest ends there, as crashed. */
#ifndef VMM_DEVICE_PVPANIC_H
#define VMM_DEVICE_PVPANIC_H

#include "lib/types.h"
#include "vmm/machine/host.h"

/* Puts it on the bus; false: no room. It has no state. */
bool pvpanic_attach(struct machine *host) MUST_CHECK;

#endif
