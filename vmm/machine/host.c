/* SPDX-License-Identifier: MIT */
/* The machine's side of host.h: memory, clock, timers, lines, end of the guest. */
#include "vmm/machine/machine.h"
#include "vmm/sys.h"

#define NS_PER_S 1000000000ull
/* A line has the same number as its pin, but for the PIT's, as the MADT says. */
#define PIT_LINE 0
#define PIT_PIN  2

#define FAR_NS   BIT(60) /* 36 years: no product below overflows */

static u64 scale(u64 value, u64 factor)
{
    return (u64)(((unsigned __int128)value * factor) >> 32);
}

void host_init(struct machine *m)
{
    u64 hz = MAX(m->start->base.tsc_hz, 1000000); /* the manager's word, but nothing divides by 0 */

    m->start_tsc = sys_tsc();
    m->ns_per_tick = (NS_PER_S << 32) / hz;
    m->ticks_per_ns = ((hz << 30) / NS_PER_S) << 2; /* 8 GHz at most */
}

bool host_memory_read(struct machine *m, void *dst, gpa_t gpa, u64 bytes)
{
    return ram_read(&m->board.ram, dst, gpa, bytes);
}

bool host_memory_write(struct machine *m, gpa_t gpa, const void *src, u64 bytes)
{
    return ram_write(&m->board.ram, gpa, src, bytes);
}

/* CPUs' clocks may differ a little, and a model that sees time run backwards would count periods of
 * centuries. */
u64 host_time_ns(struct machine *m)
{
    u64 now = sys_tsc();
    u64 ns = now > m->start_tsc ? scale(now - m->start_tsc, m->ns_per_tick) : 0;

    m->last_ns = MAX(m->last_ns, ns);
    return m->last_ns;
}

u64 host_wall_seconds(struct machine *m)
{
    return m->start->wall_seconds +
           (sys_tsc() - m->start->wall_tsc) / MAX(m->start->base.tsc_hz, 1);
}

u64 host_deadline_tsc(struct machine *m, u64 at_ns)
{
    u64 now_ns = host_time_ns(m);
    u64 left = at_ns > now_ns ? MIN(at_ns - now_ns, FAR_NS) : 0;

    return sys_tsc() + scale(left, m->ticks_per_ns) + 1;
}

void host_timer_set(struct machine *m, struct host_timer *t, u64 at_ns)
{
    timers_set(&m->timers, t, at_ns);
    if (at_ns < m->armed_ns) {
        m->armed_ns = 0;
        m->wake = true;
    }
}

void machine_unlock_and_wake(struct machine *m)
{
    m->wake = false;
    lock_release(&m->lock);
    sys_event_signal(m->start->base.event, EVENT_TIMER);
}

void host_irq(struct machine *m, u32 line, bool level)
{
    u32 bit = (u32)BIT(line & 31);

    if (line >= IOAPIC_PINS || line == I8259_CASCADE || !(m->irq_levels & bit) == !level) {
        return;
    }
    m->irq_levels ^= bit;
    i8259_set_irq(&m->pic, line, level);
    ioapic_set_irq(&m->ioapic, line == PIT_LINE ? PIT_PIN : line, level);
}

bool host_message(struct machine *m, u64 address, u32 data)
{
    return sys_vm_interrupt(m->start->vm, address, data) > 0;
}

void host_intr(struct machine *m, bool level)
{
    sys_vm_line(m->start->vm, level);
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
    static const enum guest_end ends[] = {
        [HOST_END_SUCCESS] = GUEST_SUCCESS, [HOST_END_FAILURE] = GUEST_FAILURE,
        [HOST_END_CRASH] = GUEST_CRASH,     [HOST_END_POWER_OFF] = GUEST_SUCCESS,
        [HOST_END_RESET] = GUEST_RESET,
    };

    machine_end(m, ends[ending], "%s", reason);
}

bool host_add_ports(struct machine *m, const struct host_ports *range)
{
    return bus_add_ports(&m->board.bus, range);
}

bool host_add_registers(struct machine *m, const struct host_registers *range)
{
    return bus_add_registers(&m->board.bus, range);
}
