/* SPDX-License-Identifier: MIT */
/* vmm/machine/host.h for tests. */
#include "tests/unit/fake_host.h"

#include <stdio.h>
#include <string.h>

void fake_host_reset(struct machine *m)
{
    memset(m, 0, sizeof(*m));
    bus_reset(&m->bus);
    m->in = "";
}

bool host_memory_read(struct machine *m, void *dst, gpa_t gpa, u64 bytes)
{
    return ram_read(&m->ram, dst, gpa, bytes);
}

bool host_memory_write(struct machine *m, gpa_t gpa, const void *src, u64 bytes)
{
    return ram_write(&m->ram, gpa, src, bytes);
}

u64 host_time_ns(struct machine *m)
{
    return m->time_ns;
}

u64 host_wall_seconds(struct machine *m)
{
    return m->wall_seconds + m->time_ns / 1000000000;
}

static void unlink_timer(struct machine *m, const struct host_timer *t)
{
    struct host_timer **at = &m->timers;

    while (*at && *at != t) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = t->next;
    }
}

void host_timer_set(struct machine *m, struct host_timer *t, u64 at_ns)
{
    unlink_timer(m, t);
    t->at_ns = at_ns;
    if (at_ns != HOST_NEVER) {
        t->next = m->timers;
        m->timers = t;
    }
}

void fake_host_advance(struct machine *m, u64 ns)
{
    u64 end = m->time_ns + ns;

    for (;;) {
        struct host_timer *first = NULL;
        for (struct host_timer *t = m->timers; t; t = t->next) {
            if (t->at_ns <= end && (!first || t->at_ns < first->at_ns)) {
                first = t;
            }
        }
        if (!first) {
            break;
        }
        m->time_ns = first->at_ns > m->time_ns ? first->at_ns : m->time_ns;
        unlink_timer(m, first);
        first->at_ns = HOST_NEVER;
        first->due(first->device, m->time_ns);
    }
    m->time_ns = end;
}

bool host_message(struct machine *m, u64 address, u32 data)
{
    u32 i = m->message_count++ % 64;

    m->messages[i].address = address;
    m->messages[i].data = data;
    return !m->refuse_messages;
}

void host_intr(struct machine *m, bool level)
{
    m->intr_changes += level != m->intr;
    m->intr = level;
}

void host_irq(struct machine *m, u32 line, bool level)
{
    u32 levels = (m->irq_levels & ~(1u << line)) | ((u32)level << line);

    m->irq_changes += levels != m->irq_levels;
    m->irq_levels = levels;
}

void host_console_put(struct machine *m, u8 c)
{
    if (m->out_count < sizeof(m->out) - 1) {
        m->out[m->out_count++] = (char)c;
        m->out[m->out_count] = 0;
    }
}

int host_console_get(struct machine *m)
{
    return *m->in ? (u8)*m->in++ : -1;
}

void host_end(struct machine *m, enum host_ending ending, const char *reason)
{
    m->ended = true;
    m->ending = ending;
    snprintf(m->reason, sizeof(m->reason), "%s", reason);
}

bool host_add_ports(struct machine *m, const struct host_ports *range)
{
    return bus_add_ports(&m->bus, range);
}

bool host_add_registers(struct machine *m, const struct host_registers *range)
{
    return bus_add_registers(&m->bus, range);
}
