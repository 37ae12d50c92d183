/* SPDX-License-Identifier: MIT */
/* gnu-efi's headers, and what they lack. The loader is compiled with GNU_EFI_USE_MS_ABI, so
 * services are called like any function. */
#ifndef BOOT_EFI_H
#define BOOT_EFI_H

#include <efi.h>

#include "lib/types.h"

/* PI 1.7 "MP Services Protocol". Only what is called has its type. */
#define MP_SERVICES_GUID                                                                           \
    {                                                                                              \
        0x3fdda605, 0xa76e, 0x4f46,                                                                \
        {                                                                                          \
            0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08                                         \
        }                                                                                          \
    }

#define MP_CPU_BOOT    BIT(0)
#define MP_CPU_ENABLED BIT(1)
#define MP_CPU_HEALTHY BIT(2)

struct mp_cpu {
    UINT64 apic_id;
    UINT32 status;       /* MP_CPU_* */
    UINT32 location[16]; /* package, core, thread, and what later editions add */
};

struct mp_services {
    EFI_STATUS(EFIAPI *count)(struct mp_services *self, UINTN *all, UINTN *enabled);
    EFI_STATUS(EFIAPI *info)(struct mp_services *self, UINTN index, struct mp_cpu *out);
};

#endif
