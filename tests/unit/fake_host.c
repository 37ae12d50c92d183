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

void host_end(struct machine *m, bool success, const char *reason)
{
    m->ended = true;
    m->success = success;
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
