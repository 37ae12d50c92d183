/* SPDX-License-Identifier: MIT */
/* The I/O APIC's indexed registers. */
#include "guests/lib/ioapic.h"

#include "guests/lib/memory.h"

static volatile u32 *window(u32 offset)
{
    return (volatile u32 *)((u64)IOAPIC_BASE + offset);
}

u32 ioapic_read(u32 index)
{
    *window(IOAPIC_IOREGSEL) = index;
    return *window(IOAPIC_IOWIN);
}

void ioapic_write(u32 index, u32 value)
{
    *window(IOAPIC_IOREGSEL) = index;
    *window(IOAPIC_IOWIN) = value;
}

u64 ioapic_entry(u32 pin)
{
    return ioapic_read(IOAPIC_REDTBL + 2 * pin) | (u64)ioapic_read(IOAPIC_REDTBL + 2 * pin + 1)
                                                      << 32;
}

void ioapic_set(u32 pin, u64 entry)
{
    ioapic_write(IOAPIC_REDTBL + 2 * pin, (u32)IOAPIC_RTE_MASK);
    ioapic_write(IOAPIC_REDTBL + 2 * pin + 1, (u32)(entry >> 32));
    ioapic_write(IOAPIC_REDTBL + 2 * pin, (u32)entry);
}

u32 ioapic_init(void)
{
    u64 page = ALIGN_DOWN((u64)IOAPIC_BASE, SIZE_2M);
    u32 version, pins;

    pte_set(page, 2, page | PTE_P | PTE_W | PTE_PS | PTE_PCD | PTE_PWT);
    version = ioapic_read(IOAPIC_VER);
    if (version == ~0u || !(version & IOAPIC_VER_MASK)) {
        return 0;
    }
    pins = (version >> IOAPIC_VER_MRE_SHIFT & 0xff) + 1;
    for (u32 pin = 0; pin < pins; pin++) {
        ioapic_set(pin, IOAPIC_RTE_MASK);
    }
    return pins;
}
