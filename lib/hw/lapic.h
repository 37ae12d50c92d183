/* SPDX-License-Identifier: MIT */
/*
 * Registers of the local APIC, by their offset in the xAPIC page; an x2APIC has the same ones as
 * MSRs MSR_X2APIC_BASE + offset / 16, with ICR as one register of 64 bits. SDM 3A "Advanced
 * Programmable Interrupt Controller (APIC)". Bits of IA32_APIC_BASE: lib/hw/x86.h.
 */
#ifndef LIB_HW_LAPIC_H
#define LIB_HW_LAPIC_H

#include "lib/types.h"

#define APIC_PAGE          0xfee00000ull /* after reset; of PAGE_SIZE */

#define APIC_ID            0x020
#define APIC_VERSION       0x030
#define APIC_TPR           0x080
#define APIC_APR           0x090 /* not in x2APIC mode, and not on recent CPUs */
#define APIC_PPR           0x0a0
#define APIC_EOI           0x0b0
#define APIC_RRD           0x0c0 /* not in x2APIC mode, and not on recent CPUs */
#define APIC_LDR           0x0d0 /* read-only in x2APIC mode */
#define APIC_DFR           0x0e0 /* not in x2APIC mode */
#define APIC_SVR           0x0f0
#define APIC_ISR           0x100 /* 8 registers, 16 bytes apart */
#define APIC_TMR           0x180 /* 8 */
#define APIC_IRR           0x200 /* 8 */
#define APIC_ESR           0x280
#define APIC_LVT_CMCI      0x2f0
#define APIC_ICR           0x300
#define APIC_ICR_HIGH      0x310 /* not in x2APIC mode */
#define APIC_LVT_TIMER     0x320
#define APIC_LVT_THERMAL   0x330
#define APIC_LVT_PMC       0x340
#define APIC_LVT_LINT0     0x350
#define APIC_LVT_LINT1     0x360
#define APIC_LVT_ERROR     0x370
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE  0x3e0
#define APIC_SELF_IPI      0x3f0 /* in x2APIC mode alone */

/* Version: "Local APIC Version Register" */
#define APIC_VERSION_NUMBER       FIELD(7, 0)
#define APIC_VERSION_MAX_LVT      FIELD(23, 16) /* number of LVT entries less one */
#define APIC_VERSION_SUPPRESS_EOI BIT(24)       /* SVR_SUPPRESS_EOI works */

/* Spurious vector: "Spurious Interrupt" */
#define SVR_VECTOR       FIELD(7, 0)
#define SVR_ENABLE       BIT(8)
#define SVR_FOCUS_OFF    BIT(9)
#define SVR_SUPPRESS_EOI BIT(12)
#define SVR_AFTER_RESET  0xffu

#define DFR_FLAT         0xffffffffu /* after reset */
#define DFR_CLUSTER      0x0fffffffu

/* Errors: "Error Handling" */
#define ESR_SEND_CHECKSUM    BIT(0)
#define ESR_RECEIVE_CHECKSUM BIT(1)
#define ESR_SEND_ACCEPT      BIT(2)
#define ESR_RECEIVE_ACCEPT   BIT(3)
#define ESR_REDIRECTABLE     BIT(4) /* a lowest-priority IPI where there are none */
#define ESR_SEND_VECTOR      BIT(5) /* a vector below 16 sent */
#define ESR_RECEIVE_VECTOR   BIT(6) /* and received, or in an LVT entry that came due */
#define ESR_REGISTER         BIT(7) /* access to a reserved register, xAPIC mode */

/* Delivery, in ICR, LVT entries, IOAPIC entries and messages alike. */
#define APIC_VECTOR         FIELD(7, 0)
#define APIC_DELIVERY       FIELD(10, 8)
#define APIC_DELIVERY_SHIFT 8
#define APIC_FIXED          (0u << 8)
#define APIC_LOWEST         (1u << 8)
#define APIC_SMI            (2u << 8)
#define APIC_NMI            (4u << 8)
#define APIC_INIT           (5u << 8)
#define APIC_STARTUP        (6u << 8)
#define APIC_EXTINT         (7u << 8)
#define APIC_BUSY           BIT(12) /* delivery status: send pending */
#define APIC_LEVEL          BIT(15) /* trigger mode */
#define APIC_MIN_VECTOR     16      /* lower ones are errors */

/* ICR: "Interrupt Command Register (ICR)" */
#define ICR_LOGICAL         BIT(11)
#define ICR_ASSERT          BIT(14)
#define ICR_SHORTHAND       FIELD(19, 18)
#define ICR_SHORTHAND_SHIFT 18
#define ICR_SELF            (1u << 18)
#define ICR_ALL             (2u << 18) /* including self */
#define ICR_OTHERS          (3u << 18)
#define ICR_RESERVED        (BIT(13) | FIELD(17, 16) | FIELD(31, 20)) /* of the low half */
#define ICR_XAPIC_SHIFT     24 /* the destination in APIC_ICR_HIGH */
#define XAPIC_BROADCAST     0xffu
#define X2APIC_BROADCAST    0xffffffffu

/* LVT entries: "Local Vector Table" */
#define LVT_ACTIVE_LOW     BIT(13) /* LINT0, LINT1 */
#define LVT_REMOTE_IRR     BIT(14) /* LINT0, LINT1; read-only */
#define LVT_MASKED         BIT(16)
#define LVT_TIMER_MODE     FIELD(18, 17)
#define LVT_TIMER_ONE_SHOT (0u << 17)
#define LVT_TIMER_PERIODIC (1u << 17)
#define LVT_TIMER_DEADLINE (2u << 17)
#define LVT_AFTER_RESET    0x10000u

/* Timer's divide configuration: bits 3, 1, 0; 0 is a division by 2, ... 6 by 128, 7 by 1. */
#define DIVIDE_BY_1   0xb
#define DIVIDE_BY_2   0x0
#define DIVIDE_BY_128 0xa
#define DIVIDE_BITS   0xbu

#endif
