/* SPDX-License-Identifier: MIT */
/*
 * The panic port. A guest that has another kernel ready to save what is left of the first one is
 * not disturbed: it resets or powers off by itself.
 */
#include "vmm/device/pvpanic.h"

#include "lib/hw/pvpanic.h"

static u32 pvpanic_read(void *device, u16 offset, u8 bytes)
{
    (void)device;
    (void)offset;
    (void)bytes;
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)offset;
    (void)bytes;
    if (value & PVPANIC_PANICKED) {
        host_end(device, HOST_END_CRASH, "its kernel panicked");
    }
}

bool pvpanic_attach(struct machine *host)
{
    const struct host_ports port = {
        host, pvpanic_read, pvpanic_write, PVPANIC_PORT, 1, HOST_WIDTH_8,
    };

    return host_add_ports(host, &port);
}
