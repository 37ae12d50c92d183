/* SPDX-License-Identifier: MIT */
/* PCI configuration space, its ports (PCI Local Bus 3.0 "Configuration Mechanism", "Configuration
 * Space") and its window (PCI Firmware Specification 3.0 "MCFG Table Description"). */
#ifndef LIB_HW_PCI_H
#define LIB_HW_PCI_H

#define PCI_ADDRESS        0xcf8 /* takes accesses of 32 bits alone */
#define PCI_DATA           0xcfc /* to 0xcff */
#define PCI_ADDRESS_ENABLE 0x80000000u
#define PCI_ADDRESS_MASK   0x80fffffcu /* enable, bus, device, function, register */

/* In our machine: a window for bus 0 alone, right behind the RAM below 4 GiB */
#define PCI_ECAM          0xc0000000u
#define PCI_ECAM_BUS      0x100000u /* bytes */
#define PCI_ECAM_FUNCTION 0x1000u

#define PCI_CONFIG_BYTES  0x100 /* of a function that is not PCI Express */

/* Words of a function's header */
#define PCI_ID                0x00 /* vendor, device << 16 */
#define PCI_CLASS             0x08 /* class << 16 */

#define PCI_CLASS_HOST_BRIDGE 0x0600u

#endif
