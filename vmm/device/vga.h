/* SPDX-License-Identifier: MIT */
/* The screen of a PC in text mode: the page at 0xb8000 is RAM, here are the registers beside it. */
#ifndef VMM_DEVICE_VGA_H
#define VMM_DEVICE_VGA_H

#include "lib/hw/vga.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

struct vga {
    struct machine *host;
    u8 index; /* of the CRT controller's register at its data port */
    u8 crtc[CRTC_COUNT];
    u8 status; /* input status 1 */
};

/* Puts the ports 3d4, 3d5 and 3da on the bus, as firmware leaves them in mode 3; false: no room. */
bool vga_attach(struct vga *v, struct machine *host) MUST_CHECK;

/* What row (below VGA_ROWS) shows, in printable ASCII without blanks at its end. What is written
 * there meanwhile may show in part. */
void vga_row(const struct vga *v, u32 row, char text[VGA_COLUMNS + 1]);

#endif
