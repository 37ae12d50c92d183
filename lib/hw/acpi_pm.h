/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware registers (ACPI 6.5 "ACPI Hardware Specification") and where Socle's PC has
 * them. */
#ifndef LIB_HW_ACPI_PM_H
#define LIB_HW_ACPI_PM_H

#define PM_TIMER_HZ   3579545
#define PM_TIMER_BITS 24
#define PM_PORT       0x600
#define PM_PORTS      12
#define PM_SCI        9 /* the interrupt line: level, active high */

/* Register offsets from PM_PORT */
#define PM1_STS 0 /* 16 bits, written ones clear */
#define PM1_EN  2 /* 16 bits */
#define PM1_CNT 4 /* 16 bits */
#define PM_TMR  8 /* 32 bits, read only */

/* PM1_STS and PM1_EN */
#define PM1_TMR    0x0001 /* the timer's highest bit changed */
#define PM1_GBL    0x0020 /* the firmware gave up the global lock */
#define PM1_PWRBTN 0x0100
#define PM1_SLPBTN 0x0200
#define PM1_RTC    0x0400

/* PM1_CNT */
#define PM1_CNT_SCI_EN        0x0001 /* ACPI mode */
#define PM1_CNT_BM_RLD        0x0002
#define PM1_CNT_GBL_RLS       0x0004 /* write only */
#define PM1_CNT_SLP_TYP       0x1c00
#define PM1_CNT_SLP_TYP_SHIFT 10
#define PM1_CNT_SLP_EN        0x2000 /* write only */

#define PM_SLP_TYP_S5         0 /* where kernels written for QEMU expect it */

#endif
