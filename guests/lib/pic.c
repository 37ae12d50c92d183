/* SPDX-License-Identifier: MIT */
/* The two 8259A of a PC. */
#include "guests/lib/pic.h"

#include "guests/lib/cpu.h"

#define MASTER_COMMAND (I8259_MASTER_PORT + I8259_COMMAND)
#define MASTER_DATA    (I8259_MASTER_PORT + I8259_DATA)
#define SLAVE_COMMAND  (I8259_SLAVE_PORT + I8259_COMMAND)
#define SLAVE_DATA     (I8259_SLAVE_PORT + I8259_DATA)

static void init(u16 port, u8 vector, u8 icw3, u8 icw4)
{
    outb((u16)(port + I8259_COMMAND), I8259_ICW1 | I8259_ICW1_IC4);
    outb((u16)(port + I8259_DATA), vector);
    outb((u16)(port + I8259_DATA), icw3);
    outb((u16)(port + I8259_DATA), I8259_ICW4_UPM | icw4);
    outb((u16)(port + I8259_DATA), 0xff);
}

void pic_init(u8 master, u8 slave, u8 icw4)
{
    init(I8259_MASTER_PORT, master, BIT(I8259_CASCADE), icw4);
    init(I8259_SLAVE_PORT, slave, I8259_CASCADE, icw4);
}

void pic_unmask(u16 lines)
{
    lines |= lines >> 8 ? (u16)BIT(I8259_CASCADE) : 0;
    outb(MASTER_DATA, (u8)~lines);
    outb(SLAVE_DATA, (u8) ~(lines >> 8));
}

u16 pic_masks(void)
{
    return (u16)(inb(MASTER_DATA) | inb(SLAVE_DATA) << 8);
}

static u16 status(u8 which)
{
    outb(MASTER_COMMAND, I8259_OCW3 | I8259_OCW3_RR | which);
    outb(SLAVE_COMMAND, I8259_OCW3 | I8259_OCW3_RR | which);
    return (u16)(inb(MASTER_COMMAND) | inb(SLAVE_COMMAND) << 8);
}

u16 pic_irr(void)
{
    return status(0);
}

u16 pic_isr(void)
{
    return status(I8259_OCW3_RIS);
}

void pic_eoi(u32 line)
{
    if (line >= 8) {
        outb(SLAVE_COMMAND, I8259_OCW2_EOI);
    }
    outb(MASTER_COMMAND, I8259_OCW2_EOI);
}
