/* SPDX-License-Identifier: MIT */
/*
 * A VGA as a text console knows it, in mode 3 from the start. Where the screen begins is what
 * vga_row() obeys; the other registers of the CRT controller are kept.
 *
 * Deviations: there is no other mode, so no other register of a VGA is there, and registers 0 to 7
 * are not protected. Who waits for the retrace finds it at every other look.
 */
#include "vmm/device/vga.h"

#include "lib/string.h"

#define CELLS (VGA_TEXT_BYTES / 2)

/* Of mode 3, 80 by 25 characters of 9 by 16 dots. */
static const u8 mode3[CRTC_COUNT] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                     0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                                     0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};

static u32 crtc_read(void *device, u16 offset, u8 bytes)
{
    const struct vga *v = device;
    u8 data = v->index < CRTC_COUNT ? v->crtc[v->index] : 0;

    if (bytes == 2) {
        return v->index | (u32)data << 8;
    }
    return offset ? data : v->index;
}

static void crtc_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct vga *v = device;

    if (!offset) {
        v->index = (u8)value;
    }
    if ((offset || bytes == 2) && v->index < CRTC_COUNT) {
        v->crtc[v->index] = (u8)(value >> (offset ? 0 : 8));
    }
}

static u32 status_read(void *device, u16 offset, u8 bytes)
{
    struct vga *v = device;

    (void)offset;
    (void)bytes;
    v->status ^= VGA_STATUS_BLANK | VGA_STATUS_RETRACE;
    return v->status;
}

/* The feature control register, which features no PC has had. */
static void feature_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)device;
    (void)offset;
    (void)bytes;
    (void)value;
}

bool vga_attach(struct vga *v, struct machine *host)
{
    const struct host_ports crtc = {v,        crtc_read, crtc_write,
                                    VGA_CRTC, 2,         HOST_WIDTH_8 | HOST_WIDTH_16};
    const struct host_ports status = {v, status_read, feature_write, VGA_STATUS, 1, HOST_WIDTH_8};

    memset(v, 0, sizeof(*v));
    v->host = host;
    memcpy(v->crtc, mode3, sizeof(mode3));
    return host_add_ports(host, &crtc) && host_add_ports(host, &status);
}

/* The nearest that ASCII has to a character of code page 437. */
static char printable(u8 c)
{
    switch (c) {
    case 0:
    case 0xff:
        return ' ';
    case 0xb3: /* lines, single and double */
    case 0xba:
        return '|';
    case 0xc4:
        return '-';
    case 0xcd:
        return '=';
    default:
        return c >= 0xb0 && c <= 0xdf ? '+' /* where lines meet; blocks */
               : c >= ' ' && c < 0x7f ? (char)c
                                      : '?';
    }
}

void vga_row(const struct vga *v, u32 row, char text[VGA_COLUMNS + 1])
{
    u32 start = (u32)v->crtc[CRTC_START] << 8 | v->crtc[CRTC_START + 1];
    u32 length = 0;

    for (u32 i = 0; i < VGA_COLUMNS; i++) {
        u32 cell = (start + row * VGA_COLUMNS + i) % CELLS;
        u8 c = 0;

        if (!host_memory_read(v->host, &c, GPA(VGA_TEXT + cell * 2ull), 1)) {
            c = 0; /* a machine without that memory */
        }
        text[i] = printable(c);
        length = text[i] == ' ' ? length : i + 1;
    }
    text[length] = 0;
}
