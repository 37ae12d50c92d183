/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware of the guest's PC: PM1 event and control registers, and the PM timer. */
#ifndef VMM_DEVICE_PM_H
#define VMM_DEVICE_PM_H

#include "lib/hw/acpi_pm.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

struct pm {
    struct machine *host;
    struct host_timer timer; /* at the next carry, while its event is enabled and not pending */
    u16 pm1_sts, pm1_en, pm1_cnt;
    u64 seen; /* tick of the PM timer that pm1_sts belongs to */
};

/* ACPI mode with all events off, on the bus at PM_PORT, its SCI on line PM_SCI; false: no room. */
bool pm_attach(struct pm *p, struct machine *host) MUST_CHECK;

#endif
