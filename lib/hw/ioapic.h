/* SPDX-License-Identifier: MIT */
/* Registers of the I/O APIC, by the names of its datasheet (Intel 82093AA "Register Description"),
 * with what version 20h added (Intel 82801 "Advanced Programmable Interrupt Controller"). */
#ifndef LIB_HW_IOAPIC_H
#define LIB_HW_IOAPIC_H

#include "lib/types.h"

#define IOAPIC_BASE 0xfec00000

/* Memory-mapped registers */
#define IOAPIC_IOREGSEL 0x00 /* index; bits 7:0 */
#define IOAPIC_IOWIN    0x10 /* data, 32 bits at a time */
#define IOAPIC_EOIR     0x40 /* version 20h, write: a vector, bits 7:0 */

/* By index */
#define IOAPIC_ID            0x00
#define IOAPIC_VER           0x01
#define IOAPIC_ARB           0x02
#define IOAPIC_REDTBL        0x10 /* entry n: low half at 10h + 2n, high half behind it */

#define IOAPIC_ID_MASK       FIELD(27, 24) /* in IOAPIC_ID and IOAPIC_ARB */
#define IOAPIC_VER_MASK      FIELD(7, 0)
#define IOAPIC_VER_MRE_SHIFT 16 /* the number of the last redirection entry, bits 23:16 */

/* Redirection entry */
#define IOAPIC_RTE_INTVEC  FIELD(7, 0)
#define IOAPIC_RTE_DELMOD  FIELD(10, 8)
#define IOAPIC_RTE_DESTMOD BIT(11) /* 1: logical */
#define IOAPIC_RTE_DELIVS  BIT(12) /* read-only: the message waits to be taken */
#define IOAPIC_RTE_INTPOL  BIT(13) /* 1: active low */
#define IOAPIC_RTE_REMOTE_IRR                                                                      \
    BIT(14)                        /* read-only: taken, and not ended yet; level-triggered only */
#define IOAPIC_RTE_TRIGGER BIT(15) /* 1: level */
#define IOAPIC_RTE_MASK    BIT(16) /* 1: masked */
#define IOAPIC_RTE_EXTDEST FIELD(55, 49) /* destination bits 14:8, as KVM's guests know them */
#define IOAPIC_RTE_DEST    FIELD(63, 56)

/* IOAPIC_RTE_DELMOD */
#define IOAPIC_DELMOD_FIXED  (0ull << 8)
#define IOAPIC_DELMOD_LOWEST (1ull << 8)
#define IOAPIC_DELMOD_SMI    (2ull << 8)
#define IOAPIC_DELMOD_NMI    (4ull << 8)
#define IOAPIC_DELMOD_INIT   (5ull << 8)
#define IOAPIC_DELMOD_EXTINT (7ull << 8)

#endif
