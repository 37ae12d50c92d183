/* SPDX-License-Identifier: MIT */
/* The debug console at port 0xe9. */
#include "vmm/device/debugcon.h"

static u32 debugcon_read(void *device, u16 offset, u8 bytes)
{
    (void)device;
    (void)offset;
    (void)bytes;
    return DEBUGCON_PORT; /* how a guest finds it */
}

static void debugcon_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct debugcon *d = device;

    (void)offset;
    (void)bytes;
    host_console_put(d->host, (u8)value);
}

bool debugcon_attach(struct debugcon *d, struct machine *host)
{
    struct host_ports ports = {
        .device = d,
        .read = debugcon_read,
        .write = debugcon_write,
        .base = DEBUGCON_PORT,
        .count = 1,
        .widths = HOST_WIDTH_8,
    };

    d->host = host;
    return host_add_ports(host, &ports);
}
