/* SPDX-License-Identifier: MIT */
/*
 * The host bridge, and the window through which a system reads configuration space as memory (PCI
 * Firmware Specification 3.0 "Enhanced Configuration Access Method"); the ports are in reset.c.
 * There is nothing that could be set up: writes are ignored.
 */
#include "vmm/device/pci.h"

#include "lib/hw/pci.h"

#define BRIDGE_ID 0x00081b36u /* QEMU's plain host bridge: no driver knows its faults */

u32 pci_config(u32 function, u32 reg)
{
    if (function || reg >= PCI_CONFIG_BYTES) {
        return ~0u;
    }
    return reg == PCI_ID ? BRIDGE_ID : reg == PCI_CLASS ? PCI_CLASS_HOST_BRIDGE << 16 : 0;
}

static u64 window_read(void *device, u64 offset, u8 bytes)
{
    u32 reg = (u32)offset % PCI_ECAM_FUNCTION;

    (void)device;
    (void)bytes;
    return pci_config((u32)(offset / PCI_ECAM_FUNCTION), reg & ~3u) >> reg % 4 * 8;
}

static void window_write(void *device, u64 offset, u8 bytes, u64 value)
{
    (void)device;
    (void)offset;
    (void)bytes;
    (void)value;
}

bool pci_attach(struct machine *host)
{
    const struct host_registers window = {
        .read = window_read,
        .write = window_write,
        .base = GPA(PCI_ECAM),
        .bytes = PCI_ECAM_BUS,
        .widths = HOST_WIDTH_8 | HOST_WIDTH_16 | HOST_WIDTH_32,
    };

    return host_add_registers(host, &window);
}
