/* SPDX-License-Identifier: MIT */
/* The PC's older interrupt controllers: the 8259 PICs are silenced, and of the IOAPIC's lines all
 * but those of devices that ring 3 drives (kernel/abi.h, SYS_IRQ). */
#include "boot/cpu.h"
#include "boot/loader.h"

#define PIC1_COMMAND       0x20
#define PIC1_DATA          0x21
#define PIC2_COMMAND       0xa0
#define PIC2_DATA          0xa1
#define ICW1_INIT          0x11 /* edge, cascade, ICW4 follows */
#define ICW3_PIC1          0x04 /* the second one is at input 2 */
#define ICW3_PIC2          0x02
#define ICW4_8086          0x01
#define MASK_ALL           0xff

#define IOAPIC_SELECT      0x00 /* IOREGSEL */
#define IOAPIC_WINDOW      0x10 /* IOWIN */
#define IOAPIC_VERSION     0x01
#define IOAPIC_ENTRY       0x10 /* IOREDTBL, two registers each */
#define IOAPIC_MASKED      BIT(16)
#define IOAPIC_DEST_SHIFT  24 /* in the second register of an entry */
#define IOAPIC_ENTRIES_MAX 240

/* Both to vectors of their own, below ours: even a spurious interrupt of theirs is then known as
 * such. */
static void pic_mask(void)
{
    cpu_out8(PIC1_COMMAND, ICW1_INIT);
    cpu_out8(PIC2_COMMAND, ICW1_INIT);
    cpu_out8(PIC1_DATA, BOOT_VECTOR_PIC);
    cpu_out8(PIC2_DATA, BOOT_VECTOR_PIC + 8);
    cpu_out8(PIC1_DATA, ICW3_PIC1);
    cpu_out8(PIC2_DATA, ICW3_PIC2);
    cpu_out8(PIC1_DATA, ICW4_8086);
    cpu_out8(PIC2_DATA, ICW4_8086);
    cpu_out8(PIC1_DATA, MASK_ALL);
    cpu_out8(PIC2_DATA, MASK_ALL);
}

static u32 ioapic_read(volatile u32 *ioapic, u32 reg)
{
    ioapic[IOAPIC_SELECT / 4] = reg;
    return ioapic[IOAPIC_WINDOW / 4];
}

static void ioapic_write(volatile u32 *ioapic, u32 reg, u32 value)
{
    ioapic[IOAPIC_SELECT / 4] = reg;
    ioapic[IOAPIC_WINDOW / 4] = value;
}

/* The lines of BOOT_IRQ_LINES go to the boot CPU, as edges, active high; ISA lines are taken to be
 * at the pins of the same numbers. */
static void ioapic_set(volatile u32 *ioapic, u32 apic_id)
{
    u32 version = ioapic_read(ioapic, IOAPIC_VERSION);
    u32 entries = (version >> 16 & 0xff) + 1;

    if (version == ~0u || !(version & 0xff) || entries > IOAPIC_ENTRIES_MAX) {
        return; /* nothing there */
    }
    for (u32 i = 0; i < entries; i++) {
        u32 reg = IOAPIC_ENTRY + 2 * i;

        if (i < 32 && (BOOT_IRQ_LINES & BIT(i))) {
            ioapic_write(ioapic, reg + 1, apic_id << IOAPIC_DEST_SHIFT);
            ioapic_write(ioapic, reg, BOOT_VECTOR_IRQ + i);
        } else {
            ioapic_write(ioapic, reg, ioapic_read(ioapic, reg) | IOAPIC_MASKED);
        }
    }
}

void legacy_init(const struct loader *l)
{
    pic_mask();
    ioapic_set((volatile u32 *)l->ioapic_base, l->info->cpu_apic_ids[0]);
}
