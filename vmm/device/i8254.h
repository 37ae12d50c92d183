/* SPDX-License-Identifier: MIT */
/* The interval timer of a PC: an Intel 8254 whose counter 0 is wired to interrupt line 0 and whose
 * counter 2 is gated by port 61. */
#ifndef VMM_DEVICE_I8254_H
#define VMM_DEVICE_I8254_H

#include "lib/hw/i8254.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

/* A counter counts by arithmetic: it knows at which tick of its clock the counting element was
 * loaded, and everything else follows from the tick it is looked at. CR, CE and OL are the
 * datasheet's count register, counting element and output latch. */
struct i8254_counter {
    u8 control; /* RW, mode and BCD as written */
    u8 low;     /* the first byte of a count of two */
    u8 status;  /* latched */
    u8 latched; /* bytes of OL that are to be read */
    bool status_latched, write_high, read_high;
    bool gate;
    bool armed;      /* CR was written since the control word */
    bool started;    /* CE was loaded since OUT was set to its initial level */
    bool running;    /* CE counts */
    bool null_count; /* CR is not in CE yet */
    bool rose;       /* OUT did, and the line was not told */
    u16 cr, ol;
    u32 count;     /* initial count of what CE counts, from 1 */
    u64 origin;    /* while running: the tick at which CE was loaded; else: clocks counted since */
    u64 load_tick; /* when CR goes to CE, or TICKS_NEVER */
    u64 rises;     /* of OUT since CE was loaded, up to the last look */
};

struct i8254 {
    struct machine *host;
    struct host_timer timer; /* at the next rising edge of OUT 0 */
    u8 port61;               /* bits 3:0 as written */
    struct i8254_counter counter[PIT_COUNTERS];
};

/* The timer as firmware hands it over when it used none of it (outputs high, nothing counts), on
 * the bus at ports 40..43 and 61; false: no room. */
bool i8254_attach(struct i8254 *p, struct machine *host) MUST_CHECK;

#endif
