/* SPDX-License-Identifier: MIT */
/* Registers of the 8254 interval timer (Intel 8254 datasheet "Programming the 8254") as a PC has
 * it, and of port 61, which holds the gate and shows the output of its counter 2 (ICH9 datasheet
 * "NMI_SC"). */
#ifndef LIB_HW_I8254_H
#define LIB_HW_I8254_H

#define PIT_HZ       1193182
#define PIT_PORT     0x40
#define PIT_PORTS    4
#define PIT_COUNTERS 3
#define PIT_IRQ      0 /* the output of counter 0 */

/* Register offsets: the counters, and */
#define PIT_CONTROL 3

/* Control word */
#define PIT_CW_COUNTER(n) ((n) << 6)
#define PIT_CW_READ_BACK  0xc0 /* in place of a counter */
#define PIT_CW_RW         0x30
#define PIT_CW_LATCH      0x00 /* counter latch command, the bits below do not count */
#define PIT_CW_LSB        0x10
#define PIT_CW_MSB        0x20
#define PIT_CW_WORD       0x30 /* LSB first, then MSB */
#define PIT_CW_MODE_MASK  0x0e
#define PIT_CW_MODE(n)    ((n) << 1) /* 6 and 7 are 2 and 3 */
#define PIT_CW_BCD        0x01

/* Read-back command */
#define PIT_RB_NO_COUNT   0x20 /* do not latch counts */
#define PIT_RB_NO_STATUS  0x10 /* do not latch status */
#define PIT_RB_COUNTER(n) (2 << (n))

/* Status byte; bits 5:0 are those of the control word */
#define PIT_STATUS_OUT  0x80
#define PIT_STATUS_NULL 0x40 /* the last count written is not in the counting element yet */

/* Port 61 */
#define PORT61             0x61
#define PORT61_GATE2       0x01
#define PORT61_SPEAKER     0x02
#define PORT61_MASK        0x0f /* of what is written; bits 3:2 switch sources of NMI off */
#define PORT61_REFRESH     0x10 /* toggles with each refresh of memory */
#define PORT61_OUT2        0x20

#define PIT_REFRESH_CLOCKS 18 /* from one refresh to the next, 15.085 us */

#endif
