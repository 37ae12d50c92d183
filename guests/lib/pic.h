/* SPDX-License-Identifier: MIT */
/* The two 8259A. Register names: lib/hw/i8259.h. */
#ifndef GUESTS_LIB_PIC_H
#define GUESTS_LIB_PIC_H

#include "lib/hw/i8259.h"
#include "lib/types.h"

/* Initialises both as every PC does (edge-triggered, cascaded, 8086 mode; icw4: more bits of ICW4),
 * all lines masked. Vectors of lines 0 to 7 begin at master, of 8 to 15 at slave. */
void pic_init(u8 master, u8 slave, u8 icw4);

/* Lines 0 to 15: all masked but those whose bits are set. */
void pic_unmask(u16 lines);
u16 pic_masks(void);
/* Both chips' IRR and ISR. */
u16 pic_irr(void);
u16 pic_isr(void);
/* Non-specific end of interrupt for a line. */
void pic_eoi(u32 line);

#endif
