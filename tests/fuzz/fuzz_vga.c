/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/vga.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/*
 * The screen in text mode: registers keep what was written, and a row, wherever the screen begins,
 * is that part of the page, in printable characters. Input: operations of 3 bytes, then the page,
 * over and over.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/vga.h"

#define MEMORY (1u << 20)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

static void check_row(const struct machine *m, const struct vga *v, u32 start, u32 row)
{
    char text[VGA_COLUMNS + 1];

    memset(text, 0x7f, sizeof(text));
    vga_row(v, row, text);
    u32 length = (u32)strnlen(text, sizeof(text));
    check(length <= VGA_COLUMNS && (!length || text[length - 1] != ' '));
    for (u32 i = 0; i < VGA_COLUMNS; i++) {
        char shown = ' ';
        u8 c = m->ram.base[VGA_TEXT + (start + row * VGA_COLUMNS + i) * 2 % VGA_TEXT_BYTES];
        if (i < length) {
            shown = text[i];
        }
        check(shown >= ' ' && shown < 0x7f);
        check(c < ' ' || c >= 0x7f || shown == (char)c);
        check(shown != ' ' || !c || c == ' ' || c == 0xff);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct machine *m = malloc(sizeof(*m));
    struct vga *v = malloc(sizeof(*v));
    u8 kept[256] = {0}, index = 0;

    fake_host_reset(m);
    ram_layout(&m->ram, MEMORY);
    m->ram.base = calloc(1, MEMORY);
    check(m->ram.base && vga_attach(v, m));
    memcpy(kept, v->crtc, CRTC_COUNT);
    for (u32 i = 0; i < VGA_TEXT_BYTES && size; i++) {
        m->ram.base[VGA_TEXT + i] = data[i % size];
    }
    for (; size >= 3; data += 3, size -= 3) {
        u8 bytes = data[0] & 8 ? 2 : 1;
        u16 port = (u16)(VGA_CRTC + data[0] % 8);

        if (data[0] & 0x80) {
            bus_out(&m->bus, port, bytes, data[1] | (u32)data[2] << 8);
            if (port == VGA_CRTC) {
                index = data[1];
            }
            if (index < CRTC_COUNT && port == VGA_CRTC && bytes == 2) {
                kept[index] = data[2];
            } else if (index < CRTC_COUNT && port == VGA_CRTC + 1 && bytes == 1) {
                kept[index] = data[1];
            }
        }
        check(bus_in(&m->bus, VGA_CRTC, 2) == (index | (u32)kept[index] << 8));
        u32 status = bus_in(&m->bus, VGA_STATUS, 1);
        check(status != bus_in(&m->bus, VGA_STATUS, 1));
        check_row(m, v, (u32)kept[CRTC_START] << 8 | kept[CRTC_START + 1], data[1] % VGA_ROWS);
    }
    free(m->ram.base);
    free(v);
    free(m);
    return 0;
}
