/* SPDX-License-Identifier: MIT */
/* The ports by which a guest resets its PC: the keyboard controller, with no keyboard and no mouse,
 * port 92, and the Reset Control Register at port cf9; and those around it, to PCI's configuration.
 */
#ifndef VMM_DEVICE_RESET_H
#define VMM_DEVICE_RESET_H

#include "lib/hw/reset.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

struct reset {
    struct machine *host;
    u8 ctr;     /* the keyboard controller's command byte */
    u8 data;    /* its output buffer */
    u8 status;  /* OBF, A2 and TIMEOUT; the other bits are constant or come from ctr */
    u8 command; /* that waits for its byte at port 60, or 0 */
    bool a20;   /* as written to either port; memory never wraps */
    u8 port92;  /* the other bits of port 92, as written */
    u8 cf9;
    u32 pci_address; /* of the word that the ports cfc to cff show */
};

/* Puts the ports 60, 64, 92 and cf8 to cff on the bus, as firmware leaves them; false: no room. */
bool reset_attach(struct reset *r, struct machine *host) MUST_CHECK;

#endif
