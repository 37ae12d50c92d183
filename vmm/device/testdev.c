/* SPDX-License-Identifier: MIT */
/* Registers that behave like memory. */
#include "vmm/device/testdev.h"

#include "lib/string.h"

static u64 testdev_read(void *device, u64 offset, u8 bytes)
{
    const struct testdev *d = device;
    u64 value = 0;

    memcpy(&value, d->memory + offset, bytes);
    return value;
}

static void testdev_write(void *device, u64 offset, u8 bytes, u64 value)
{
    struct testdev *d = device;

    memcpy(d->memory + offset, &value, bytes);
}

bool testdev_attach(struct testdev *d, struct machine *host)
{
    struct host_registers registers = {
        .device = d,
        .read = testdev_read,
        .write = testdev_write,
        .base = GPA(TESTDEV_BASE),
        .bytes = sizeof(d->memory),
        .widths = HOST_WIDTH_8 | HOST_WIDTH_16 | HOST_WIDTH_32 | HOST_WIDTH_64,
    };

    memset(d, 0, sizeof(*d));
    return host_add_registers(host, &registers);
}
