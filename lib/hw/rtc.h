/* SPDX-License-Identifier: MIT */
/* Registers of the real-time clock and its RAM (Motorola MC146818A datasheet "Registers"), and what
 * firmware of PCs leaves there, as Bochs and QEMU have it. */
#ifndef LIB_HW_RTC_H
#define LIB_HW_RTC_H

#define RTC_HZ    32768
#define RTC_PORT  0x70
#define RTC_PORTS 2
#define RTC_IRQ   8

/* Port offsets */
#define RTC_INDEX         0 /* write only; bit 7 masks NMI */
#define RTC_DATA          1

#define RTC_INDEX_NMI_OFF 0x80
#define RTC_BYTES         128

/* The clock */
#define RTC_SECONDS       0x00
#define RTC_SECONDS_ALARM 0x01
#define RTC_MINUTES       0x02
#define RTC_MINUTES_ALARM 0x03
#define RTC_HOURS         0x04
#define RTC_HOURS_ALARM   0x05
#define RTC_WEEKDAY       0x06 /* 1: Sunday */
#define RTC_DAY           0x07
#define RTC_MONTH         0x08
#define RTC_YEAR          0x09
#define RTC_A             0x0a
#define RTC_B             0x0b
#define RTC_C             0x0c
#define RTC_D             0x0d

#define RTC_HOURS_PM      0x80 /* 12-hour mode */
#define RTC_ALARM_ANY     0xc0 /* both bits set: the alarm does not look at this field */

/* Register A */
#define RTC_A_UIP      0x80 /* the update comes within 244 us */
#define RTC_A_DV       0x70
#define RTC_A_DV_32KHZ 0x20 /* the chain runs from the 32768 Hz crystal */
#define RTC_A_DV_RESET 0x60 /* both bits set: the divider chain is held in reset */
#define RTC_A_RS       0x0f /* rate of the periodic interrupt, 0: none */

/* Register B */
#define RTC_B_SET  0x80 /* no updates */
#define RTC_B_PIE  0x40
#define RTC_B_AIE  0x20
#define RTC_B_UIE  0x10
#define RTC_B_SQWE 0x08
#define RTC_B_DM   0x04 /* binary, not BCD */
#define RTC_B_24H  0x02
#define RTC_B_DSE  0x01

/* Register C; reading clears it. Bits 6:4 match the enable bits of B. */
#define RTC_C_IRQF  0x80
#define RTC_C_PF    0x40
#define RTC_C_AF    0x20
#define RTC_C_UF    0x10
#define RTC_C_FLAGS 0x70

/* Register D */
#define RTC_D_VRT 0x80 /* the battery is well */

/* Bytes that firmware sets; words are little-endian. */
#define CMOS_FLOPPY        0x10
#define CMOS_EQUIPMENT     0x14
#define CMOS_BASE_MEMORY   0x15 /* word, KiB below 640 KiB */
#define CMOS_EXT_MEMORY    0x17 /* word, KiB above 1 MiB, up to 65535 */
#define CMOS_CHECKSUM      0x2e /* word, big-endian: sum of 0x10..0x2d */
#define CMOS_EXT_MEMORY_2  0x30 /* the same as 0x17 */
#define CMOS_CENTURY       0x32
#define CMOS_HIGH_MEMORY   0x34 /* word, 64 KiB blocks above 16 MiB and below 4 GiB */
#define CMOS_4G_MEMORY     0x5b /* 3 bytes, 64 KiB blocks above 4 GiB */

#define CMOS_EQUIPMENT_FPU 0x02

#endif
