/* SPDX-License-Identifier: MIT */
/* PCI as far as there is any: a host bridge, which nothing is behind. */
#ifndef VMM_DEVICE_PCI_H
#define VMM_DEVICE_PCI_H

#include "lib/types.h"
#include "vmm/machine/host.h"

/* A word of configuration space. function: bus, device (5 bits), function (3 bits); reg: below
 * 4 KiB, a multiple of 4. All ones where there is nothing. */
u32 pci_config(u32 function, u32 reg);

/* Puts the window of bus 0 on the machine's own bus; false: no room. */
bool pci_attach(struct machine *host) MUST_CHECK;

#endif
