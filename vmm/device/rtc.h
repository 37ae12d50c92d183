/* SPDX-License-Identifier: MIT */
/* The real-time clock of a PC with its RAM: a Motorola MC146818A at ports 70 and 71, and the sizes
 * of memory that firmware leaves there. */
#ifndef VMM_DEVICE_RTC_H
#define VMM_DEVICE_RTC_H

#include "lib/hw/rtc.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

/* The clock is its bytes, as in the chip: they are brought to the present when somebody looks. In
 * ram, register A is without UIP and C without IRQF, which follow from the rest. */
struct rtc {
    struct machine *host;
    struct host_timer timer; /* at the next interrupt that is enabled */
    u8 index;                /* as written to port 70, NMI mask included */
    u8 ram[RTC_BYTES];
    u64 phase; /* tick at which the divider chain was zero; each RTC_HZ after it a second ends */
    u64 seen;  /* tick that the bytes belong to */
};

/* The clock at the host's wall time and the RAM as firmware leaves it, on the bus; false: no room.
 * Sizes are of guest RAM, in bytes. */
bool rtc_attach(struct rtc *r, struct machine *host, u64 memory_below_4g,
                u64 memory_above_4g) MUST_CHECK;

#endif
