/* SPDX-License-Identifier: MIT */
/* The PC's older interrupt controllers, which are silenced: 8259 PICs and the IOAPIC. Until a
 * driver in ring 3 asks for a line, no device interrupts us, whatever firmware left behind. */
#include "arch/arch.h"
#include "arch/x86/boot.h"
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"

#define PIC1_COMMAND       0x20
#define PIC1_DATA          0x21
#define PIC2_COMMAND       0xa0
#define PIC2_DATA          0xa1
#define ICW1_INIT          0x11 /* edge, cascade, ICW4 follows */
#define ICW3_PIC1          0x04 /* the second one is at input 2 */
#define ICW3_PIC2          0x02
#define ICW4_8086          0x01
#define MASK_ALL           0xff

#define IOAPIC_BYTES       0x20
#define IOAPIC_SELECT      0x00 /* IOREGSEL */
#define IOAPIC_WINDOW      0x10 /* IOWIN */
#define IOAPIC_VERSION     0x01
#define IOAPIC_ENTRY       0x10 /* IOREDTBL, two registers each */
#define IOAPIC_MASKED      BIT(16)
#define IOAPIC_ENTRIES_MAX 240

/* Both to vectors of their own, below ours: even a spurious interrupt of theirs is then known as
 * such. */
static void pic_mask(void)
{
    out8(PIC1_COMMAND, ICW1_INIT);
    out8(PIC2_COMMAND, ICW1_INIT);
    out8(PIC1_DATA, VECTOR_PIC);
    out8(PIC2_DATA, VECTOR_PIC + 8);
    out8(PIC1_DATA, ICW3_PIC1);
    out8(PIC2_DATA, ICW3_PIC2);
    out8(PIC1_DATA, ICW4_8086);
    out8(PIC2_DATA, ICW4_8086);
    out8(PIC1_DATA, MASK_ALL);
    out8(PIC2_DATA, MASK_ALL);
}

static volatile u32 *ioapic;

static u32 ioapic_read(u32 reg)
{
    ioapic[IOAPIC_SELECT / 4] = reg;
    return ioapic[IOAPIC_WINDOW / 4];
}

static void ioapic_write(u32 reg, u32 value)
{
    ioapic[IOAPIC_SELECT / 4] = reg;
    ioapic[IOAPIC_WINDOW / 4] = value;
}

static void ioapic_mask(u64 base)
{
    ioapic = arch_map_device(HPA(base), IOAPIC_BYTES, false);
    u32 version = ioapic_read(IOAPIC_VERSION);
    u32 entries = (version >> 16 & 0xff) + 1;

    if (version == ~0u || !(version & 0xff) || entries > IOAPIC_ENTRIES_MAX) {
        return; /* nothing there */
    }
    for (u32 i = 0; i < entries; i++) {
        u32 reg = IOAPIC_ENTRY + 2 * i;
        ioapic_write(reg, ioapic_read(reg) | IOAPIC_MASKED);
    }
}

void legacy_init(const struct bootinfo *bi)
{
    pic_mask();
    if (bi->ioapic_base) {
        ioapic_mask(bi->ioapic_base);
    }
}
