/* SPDX-License-Identifier: MIT */
/* The PC's two interrupt controllers: Intel 8259A, the second one behind input 2 of the first, and
 * the edge/level registers that came with PCI. */
#ifndef VMM_DEVICE_I8259_H
#define VMM_DEVICE_I8259_H

#include "lib/hw/i8259.h"
#include "lib/types.h"
#include "vmm/machine/host.h"

struct i8259;

/* Registers by the names of the datasheet. IRR is no variable: it follows from inputs, armed, LTIM
 * and ELCR, as in the chip. */
struct i8259_chip {
    struct i8259 *pair;
    u8 icw1, icw2, icw3, icw4, imr, isr, elcr;
    u8 inputs; /* levels of IR0 to IR7 */
    u8 armed;  /* edge sense: inputs that were low since they were last acknowledged */
    u8 lowest; /* the input of lowest priority, 0 to 7; the next one has the highest */
    bool special_mask, poll, read_isr, rotate_aeoi;
    enum {
        I8259_OFF, /* no ICW1 since power-on: raises nothing */
        I8259_AWAITS_ICW2,
        I8259_AWAITS_ICW3,
        I8259_AWAITS_ICW4,
        I8259_READY,
    } phase;
};

struct i8259 {
    struct machine *host;
    struct i8259_chip chips[2]; /* master, slave */
    bool intr;                  /* what host_intr() was last told */
};

/* The state after power-on: not initialised, everything masked, edge-triggered, all inputs low.
 * The devices on the inputs are to be reset after it. host stays. */
void i8259_reset(struct i8259 *p);

/* Resets both and puts them on the bus; false: no room. */
bool i8259_attach(struct i8259 *p, struct machine *host) MUST_CHECK;

/* The level of an interrupt line of the PC. Line 2 is the cascade and has no pin of its own; it and
 * lines beyond 15 are ignored. As with the chip, a request whose line falls before it was
 * acknowledged is gone: a device that wants to be heard holds its line. */
void i8259_set_irq(struct i8259 *p, u32 line, bool level);

/* The INTA cycle: a CPU takes the interrupt that INTR announced. Returns its vector, 0 to 255. When
 * the request has gone meanwhile that is input 7 of the chip that should know, with no ISR bit set;
 * when the master calls on a slave that does not answer, 255. */
int i8259_acknowledge(struct i8259 *p);

#endif
