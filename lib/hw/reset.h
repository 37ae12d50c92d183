/* SPDX-License-Identifier: MIT */
/* The ports that reset a PC: the keyboard controller (IBM PS/2 Technical Reference "Keyboard and
 * Auxiliary Device Controller"), System Control Port A, and the chipset's Reset Control Register
 * (ICH9 datasheet "RST_CNT"). */
#ifndef LIB_HW_RESET_H
#define LIB_HW_RESET_H

#define I8042_DATA   0x60
#define I8042_STATUS 0x64 /* read */
#define I8042_CMD    0x64 /* write */
#define I8042_IRQ    1

/* Status */
#define I8042_STS_OBF     0x01 /* a byte waits at port 60 */
#define I8042_STS_IBF     0x02 /* the controller has not read the last byte yet */
#define I8042_STS_SYS     0x04 /* passed its self-test */
#define I8042_STS_A2      0x08 /* the last byte written was a command */
#define I8042_STS_UNLOCK  0x10 /* the keyboard is not locked */
#define I8042_STS_AUX     0x20 /* the byte that waits is the mouse's */
#define I8042_STS_TIMEOUT 0x40 /* the device did not answer */

/* Commands */
#define I8042_READ_CTR  0x20
#define I8042_WRITE_CTR 0x60
#define I8042_AUX_OFF   0xa7
#define I8042_AUX_ON    0xa8
#define I8042_TEST_AUX  0xa9
#define I8042_SELF_TEST 0xaa
#define I8042_TEST_KBD  0xab
#define I8042_KBD_OFF   0xad
#define I8042_KBD_ON    0xae
#define I8042_READ_OUT  0xd0
#define I8042_WRITE_OUT 0xd1
#define I8042_PULSE     0xf0 /* to 0xff: pulses those of output lines 3:0 whose bit is 0 */
#define I8042_RESET     0xfe

/* Answers */
#define I8042_SELF_TEST_OK 0x55
#define I8042_CLOCK_LOW    0x01 /* of an interface test: the clock line is stuck low */
#define I8042_RESEND       0xfe /* with the time-out bit: nobody took the byte */

/* Command byte */
#define I8042_CTR_KBD_INT 0x01
#define I8042_CTR_AUX_INT 0x02
#define I8042_CTR_SYS     0x04
#define I8042_CTR_KBD_DIS 0x10
#define I8042_CTR_AUX_DIS 0x20
#define I8042_CTR_XLATE   0x40

/* Output port */
#define I8042_OUT_NO_RESET 0x01
#define I8042_OUT_A20      0x02
#define I8042_OUT_KBD_INT  0x10 /* follows OBF */
#define I8042_OUT_IDLE     0xcc /* lines to devices, and those that are not connected */

#define PORT92             0x92
#define PORT92_RESET       0x01 /* a rising edge resets */
#define PORT92_A20         0x02

#define PORTCF9            0xcf9
#define PORTCF9_SYS_RST    0x02 /* a hard reset, not only the CPU's */
#define PORTCF9_RST_CPU    0x04 /* a rising edge resets */
#define PORTCF9_FULL       0x08 /* with a power cycle */

#endif
