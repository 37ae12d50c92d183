/* SPDX-License-Identifier: MIT */
/* Registers of the 8259A interrupt controller, by the names of its datasheet (Intel 8259A
 * "Programming the 8259A"), where the PC has two of them, and the edge/level registers beside them
 * (Intel 82371SB "Interrupt Controller Registers"). */
#ifndef LIB_HW_I8259_H
#define LIB_HW_I8259_H

#include "lib/types.h"

#define I8259_MASTER_PORT 0x20 /* lines 0 to 7 */
#define I8259_SLAVE_PORT  0xa0 /* lines 8 to 15 */
#define I8259_ELCR_PORT   0x4d0
#define I8259_PORTS       2
#define I8259_CASCADE     2    /* the master's input that the slave's INT is wired to */
#define I8259_ELCR_MASTER 0xf8 /* lines that can be level-triggered: not 0, 1, 2 */
#define I8259_ELCR_SLAVE  0xde /* not 8, 13 */

/* Port offsets: the chip's pin A0. */
#define I8259_COMMAND 0 /* write: ICW1, OCW2, OCW3; read: IRR, ISR or the poll word */
#define I8259_DATA    1 /* write: ICW2 to ICW4, OCW1; read: IMR */

/* ICW1 */
#define I8259_ICW1      0x10 /* this is one */
#define I8259_ICW1_LTIM 0x08 /* all inputs are level-triggered */
#define I8259_ICW1_ADI  0x04 /* MCS-80 only */
#define I8259_ICW1_SNGL 0x02 /* no other chip: no ICW3 follows */
#define I8259_ICW1_IC4  0x01 /* ICW4 follows */

/* ICW2 */
#define I8259_ICW2_VECTOR 0xf8 /* T7 to T3 */

/* ICW3: the master's inputs with a slave, or in the low bits the slave's own number. */
#define I8259_ICW3_ID 0x07

/* ICW4 */
#define I8259_ICW4_SFNM 0x10 /* special fully nested mode */
#define I8259_ICW4_BUF  0x08 /* buffered */
#define I8259_ICW4_MS   0x04 /* master, when buffered */
#define I8259_ICW4_AEOI 0x02 /* automatic end of interrupt */
#define I8259_ICW4_UPM  0x01 /* 8086 mode */

/* OCW2 */
#define I8259_OCW2_R        0x80 /* rotate */
#define I8259_OCW2_SL       0x40 /* the level is in the low bits */
#define I8259_OCW2_EOI      0x20
#define I8259_OCW2_LEVEL    0x07
#define I8259_OCW2_AEOI_ON  I8259_OCW2_R /* rotate in automatic EOI mode */
#define I8259_OCW2_AEOI_OFF 0
#define I8259_OCW2_PRIORITY (I8259_OCW2_R | I8259_OCW2_SL) /* this level is the lowest now */

/* OCW3 */
#define I8259_OCW3      0x08 /* this is one, when I8259_ICW1 is clear */
#define I8259_OCW3_ESMM 0x40 /* SMM counts */
#define I8259_OCW3_SMM  0x20 /* special mask mode */
#define I8259_OCW3_P    0x04 /* the next read is an acknowledge */
#define I8259_OCW3_RR   0x02 /* RIS counts */
#define I8259_OCW3_RIS  0x01 /* the register to read: 0 IRR, 1 ISR */

/* The poll word */
#define I8259_POLL_I 0x80 /* there was a request, the level is in the low bits */

#endif
