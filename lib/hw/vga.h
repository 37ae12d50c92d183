/* SPDX-License-Identifier: MIT */
/* What a text console uses of a VGA in mode 3 (IBM VGA Technical Reference "CRT Controller
 * Registers", "Input Status Register 1"). */
#ifndef LIB_HW_VGA_H
#define LIB_HW_VGA_H

#define VGA_TEXT       0xb8000ull /* cells: a character of code page 437, then its colours */
#define VGA_TEXT_BYTES 0x8000u
#define VGA_COLUMNS    80
#define VGA_ROWS       25

#define VGA_CRTC       0x3d4 /* index, then data */
#define VGA_STATUS     0x3da

/* CRT controller: high byte, and the low one behind it; both count cells. */
#define CRTC_START  0x0c /* where the screen begins */
#define CRTC_CURSOR 0x0e
#define CRTC_COUNT  0x19

/* Input status 1: beside the picture, above and below it */
#define VGA_STATUS_BLANK   0x01
#define VGA_STATUS_RETRACE 0x08

#endif
