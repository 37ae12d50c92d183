/* SPDX-License-Identifier: MIT */
/* The devices of the machine: which there are, and the thread that serves what does not come from a
 * vCPU: timers and typed input. */
#include "lib/hw/lapic.h"
#include "lib/string.h"
#include "vmm/machine/firmware.h"
#include "vmm/machine/machine.h"
#include "vmm/sys.h"

#define COM1_IRQ 4

/* --- the APIC page: each vCPU has its own there, in the kernel --- */

static u64 apic_read(void *device, u64 offset, u8 bytes)
{
    const struct machine *m = device;
    s64 value = sys_vcpu_apic(m->access->handle, offset, 0);

    (void)bytes;                           /* always 4 */
    return value < 0 ? ~0ull : (u64)value; /* it is disabled, or in x2APIC mode */
}

static void apic_write(void *device, u64 offset, u8 bytes, u64 value)
{
    const struct machine *m = device;

    (void)bytes;
    sys_vcpu_apic(m->access->handle, offset | VCPU_APIC_WRITE, value);
}

static bool apic_attach(struct machine *m)
{
    struct host_registers page = {
        .device = m,
        .read = apic_read,
        .write = apic_write,
        .base = GPA(APIC_PAGE),
        .bytes = PAGE_SIZE,
        .widths = HOST_WIDTH_32,
    };

    return host_add_registers(m, &page);
}

/* --- all of them --- */

static bool fill_fwcfg(struct machine *m)
{
    struct firmware_args args = {.cpus = m->start->cpus};

    fwcfg_init(&m->fwcfg);
    return firmware_add_items(&m->fwcfg, &m->board.ram, &args);
}

/* Interrupt controllers first: the others set their lines when they are attached. */
static bool attach(struct machine *m)
{
    u64 below_4g = MIN(m->start->memory_bytes, RAM_HOLE);

    return i8259_attach(&m->pic, m) && ioapic_attach(&m->ioapic, m) && apic_attach(m) &&
           i8254_attach(&m->pit, m) &&
           rtc_attach(&m->rtc, m, below_4g, m->start->memory_bytes - below_4g) &&
           pm_attach(&m->pm, m) && reset_attach(&m->reset, m) &&
           uart16550_attach(&m->com1, m, UART_COM1_PORT, COM1_IRQ) &&
           debugcon_attach(&m->debugcon, m) && debugexit_attach(&m->debugexit, m) &&
           pvpanic_attach(m) && pci_attach(m) && vga_attach(&m->vga, m) && fill_fwcfg(m) &&
           fwcfg_attach(&m->fwcfg, m);
}

void devices_create(struct machine *m)
{
    bus_reset(&m->board.bus);
    pvclock_init(&m->pvclock, m, m->start->cpus, m->start_tsc, m->ns_per_tick);
    if (!attach(m) || (m->start->test_device && !testdev_attach(&m->testdev, m))) {
        machine_end(m, GUEST_VMM_FAULT, "two devices claim one place on the bus");
    }
}

/* --- their thread --- */

/* The screen on the console, a frame around it. */
static void show_screen(struct machine *m)
{
    char text[VGA_COLUMNS + 2];

    console_begin_line(m);
    for (u32 row = 0; row < VGA_ROWS; row++) {
        text[0] = '|';
        vga_row(&m->vga, row, text + 1);
        console_write(m, text, strlen(text));
        console_write(m, "\n", 1);
    }
}

static bool held(const struct machine *m)
{
    return __atomic_load_n(&m->shared->hold, __ATOMIC_SEQ_CST);
}

/* As long as the manager wants nothing moves: whoever needs the lock waits, and a kick makes every
 * vCPU need it. */
static void hold(struct machine *m)
{
    for (u32 i = 0; i < m->start->cpus; i++) {
        sys_vcpu_inject(m->vcpus[i].handle, 0, VCPU_INJECT_KICK, 0, 0);
    }
    while (held(m)) {
        if (sys_event_wait(m->start->base.event, EVENT_HOLD | EVENT_SCREEN, 0) & EVENT_SCREEN) {
            show_screen(m);
        }
    }
}

/* One round sees all that came before it: whoever signals the event later ends the wait at once. */
void devices_loop(struct machine *m)
{
    s64 events = 0;

    for (;;) {
        machine_lock(m);
        if (events > 0 && events & EVENT_SCREEN) {
            show_screen(m);
        }
        if (held(m)) {
            hold(m);
        }
        m->armed_ns = 0; /* nobody needs to wake this thread */
        uart16550_poll(&m->com1);
        timers_run(&m->timers, host_time_ns(m));
        u64 next = timers_next(&m->timers);
        u64 deadline = next == HOST_NEVER ? 0 : host_deadline_tsc(m, next);
        m->armed_ns = next;
        machine_unlock(m);
        events = sys_event_wait(m->start->base.event,
                                EVENT_IN_DATA | EVENT_TIMER | EVENT_SCREEN | EVENT_HOLD, deadline);
    }
}
