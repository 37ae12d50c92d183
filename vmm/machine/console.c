/* SPDX-License-Identifier: MIT */
/* Towards the manager: the guest's console, and its end. */
#include "lib/format.h"
#include "lib/string.h"
#include "vmm/machine/machine.h"
#include "vmm/sys.h"

void console_init(struct machine *m)
{
    ring_init(&m->out, &m->shared->out, START_RING_BYTES);
    ring_init(&m->in, &m->shared->in, START_INPUT_BYTES);
}

void console_flush(struct machine *m)
{
    if (m->out_unsignalled) {
        m->out_unsignalled = 0;
        start_tell(&m->start->base);
    }
}

void console_write(struct machine *m, const char *text, size_t n)
{
    while (n) {
        u32 written = ring_write(&m->out, text, (u32)MIN(n, START_RING_BYTES));
        if (!written) {
            m->out_unsignalled = 0;
            start_wait_room(&m->start->base, m->shared);
            continue;
        }
        m->out_unsignalled += written;
        m->out_mid_line = text[written - 1] != '\n';
        text += written;
        n -= written;
    }
    if (!m->out_mid_line || m->out_unsignalled >= START_RING_BYTES / 2) {
        console_flush(m);
    }
}

void console_begin_line(struct machine *m)
{
    if (m->out_mid_line) {
        console_write(m, "\n", 1);
    }
}

void console_line(struct machine *m, const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    size_t n = format_vbuffer(text, sizeof(text), format, args);
    va_end(args);
    console_begin_line(m);
    console_write(m, "!! ", 3);
    console_write(m, text, MIN(n, sizeof(text) - 1));
    console_write(m, "\n", 1);
}

void machine_end(struct machine *m, enum guest_end end, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    format_vbuffer(m->shared->reason, sizeof(m->shared->reason), format, args);
    va_end(args);
    m->shared->end_tsc = sys_tsc();
    sys_process_exit(end);
}
