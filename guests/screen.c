/* SPDX-License-Identifier: MIT */
/* The screen in text mode: its page, the registers beside it, and, with "wait=yes", a picture that
 * stays until something is typed. */
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "guests/lib/test.h"
#include "lib/hw/vga.h"

#define FIRST_ROW 100 /* where the screen begins in the page */

static volatile u16 *const page = (volatile u16 *)VGA_TEXT;

static void put(u32 row, u32 column, const char *text)
{
    for (volatile u16 *at = page + row * VGA_COLUMNS + column; *text; at++, text++) {
        *at = (u16)(0x0700 | (u8)*text);
    }
}

static u8 crtc(u8 index)
{
    outb(VGA_CRTC, index);
    return inb(VGA_CRTC + 1);
}

/* High byte, low byte. */
static void set_crtc(u8 index, u16 value)
{
    outw(VGA_CRTC, (u16)(index | (value & 0xff00)));
    outw(VGA_CRTC, (u16)(index + 1) | (u16)(value << 8));
}

static void memory(void)
{
    const u32 cells = VGA_TEXT_BYTES / 2;
    u32 wrong = 0;

    for (u32 i = 0; i < cells; i++) {
        page[i] = (u16)(i * 7 + 1);
    }
    for (u32 i = 0; i < cells; i++) {
        wrong += page[i] != (u16)(i * 7 + 1);
        page[i] = 0;
    }
    CHECK_EQ(wrong, 0);
}

static void registers(void)
{
    u8 seen = 0, unseen = 0;

    CHECK_EQ(crtc(1) + 1, VGA_COLUMNS);
    set_crtc(CRTC_CURSOR, 0x1234);
    CHECK_EQ(crtc(CRTC_CURSOR), 0x12);
    CHECK_EQ(crtc(CRTC_CURSOR + 1), 0x34);
    for (u32 i = 0; i < 100000 && !(seen & unseen & VGA_STATUS_RETRACE); i++) {
        u8 status = inb(VGA_STATUS);
        seen |= status;
        unseen |= (u8)~status;
    }
    CHECK(seen & unseen & VGA_STATUS_RETRACE, "the retrace comes and goes");
}

static void picture(void)
{
    put(0, 0, "above the screen");
    put(FIRST_ROW, 0, "top left");
    put(FIRST_ROW + 12, 36, "\xb3 in \xc4 the \xdb middle \x1b[2J");
    put(FIRST_ROW + VGA_ROWS - 1, VGA_COLUMNS - 12, "bottom right");
    set_crtc(CRTC_START, FIRST_ROW * VGA_COLUMNS);
    print("screen: drawn\n");
    if (boot_option("wait")) {
        while (!(inb(COM1 + UART_LSR) & UART_LSR_DR)) {
            cpu_pause();
        }
    }
    CHECK(true, "somebody has seen it");
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"memory",    memory   },
        {"registers", registers},
        {"picture",   picture  },
    };

    test_all("screen", tests, ARRAY_SIZE(tests));
}
