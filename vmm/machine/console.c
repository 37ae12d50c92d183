/* SPDX-License-Identifier: MIT */
/* The machine's side of host.h: console, clock, end of the guest, and the board behind the models.
 */
#include "lib/format.h"
#include "lib/string.h"
#include "vmm/machine/machine.h"
#include "vmm/sys.h"

/* How long one wait for room lasts at most, in parts of a second; the manager's signal ends it
 * sooner. */
#define ROOM_WAIT_PART 50

void console_init(struct machine *m)
{
    ring_init(&m->out, &m->shared->out, START_RING_BYTES);
    ring_init(&m->in, &m->shared->in, START_INPUT_BYTES);
    m->start_tsc = sys_tsc();
    m->ns_per_tick = (1000000000ull << 32) / MAX(m->start->tsc_hz, 1000000);
}

void console_flush(struct machine *m)
{
    if (m->out_unsignalled) {
        m->out_unsignalled = 0;
        sys_event_signal(m->start->manager, m->start->manager_bits);
    }
}

/* The ring is full: tells the manager and sleeps until it has read. */
static void wait_for_room(struct machine *m)
{
    __atomic_store_n(&m->shared->out_waiting, 1, __ATOMIC_SEQ_CST);
    sys_event_signal(m->start->manager, m->start->manager_bits);
    m->out_unsignalled = 0;
    sys_event_wait(m->start->event, EVENT_OUT_ROOM, sys_tsc() + m->start->tsc_hz / ROOM_WAIT_PART);
}

void console_write(struct machine *m, const char *text, size_t n)
{
    while (n) {
        u32 written = ring_write(&m->out, text, (u32)MIN(n, START_RING_BYTES));
        if (!written) {
            wait_for_room(m);
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

void console_line(struct machine *m, const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    size_t n = format_vbuffer(text, sizeof(text), format, args);
    va_end(args);
    if (m->out_mid_line) {
        console_write(m, "\n", 1);
    }
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

bool host_memory_read(struct machine *m, void *dst, gpa_t gpa, u64 bytes)
{
    return ram_read(&m->board.ram, dst, gpa, bytes);
}

bool host_memory_write(struct machine *m, gpa_t gpa, const void *src, u64 bytes)
{
    return ram_write(&m->board.ram, gpa, src, bytes);
}

u64 host_time_ns(struct machine *m)
{
    return (u64)(((unsigned __int128)(sys_tsc() - m->start_tsc) * m->ns_per_tick) >> 32);
}

void host_irq(struct machine *m, u32 line, bool level)
{
    u32 bit = (u32)BIT(line & 31);

    m->irq_levels = level ? m->irq_levels | bit : m->irq_levels & ~bit;
}

void host_console_put(struct machine *m, u8 c)
{
    char text = (char)c;

    console_write(m, &text, 1);
}

int host_console_get(struct machine *m)
{
    u8 c;

    return ring_read(&m->in, &c, 1) ? c : -1;
}

void host_end(struct machine *m, enum host_ending ending, const char *reason)
{
    machine_end(m, ending == HOST_END_FAILURE ? GUEST_FAILURE : GUEST_SUCCESS, "%s", reason);
}

bool host_add_ports(struct machine *m, const struct host_ports *range)
{
    return bus_add_ports(&m->board.bus, range);
}

bool host_add_registers(struct machine *m, const struct host_registers *range)
{
    return bus_add_registers(&m->board.bus, range);
}
