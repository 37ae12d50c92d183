/* SPDX-License-Identifier: MIT */
/* The debug-exit port 0xf4. */
#include "vmm/device/debugexit.h"

#include "lib/format.h"

static u32 debugexit_read(void *device, u16 offset, u8 bytes)
{
    (void)device;
    (void)offset;
    (void)bytes;
    return 0xffffffff;
}

static void debugexit_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct debugexit *d = device;
    char reason[32];

    (void)offset;
    (void)bytes;
    format_buffer(reason, sizeof(reason), "debug exit %u", value);
    host_end(d->host, value ? HOST_END_FAILURE : HOST_END_SUCCESS, reason);
}

bool debugexit_attach(struct debugexit *d, struct machine *host)
{
    struct host_ports ports = {
        .device = d,
        .read = debugexit_read,
        .write = debugexit_write,
        .base = DEBUGEXIT_PORT,
        .count = DEBUGEXIT_PORTS,
        .widths = HOST_WIDTH_32,
    };

    d->host = host;
    return host_add_ports(host, &ports);
}
