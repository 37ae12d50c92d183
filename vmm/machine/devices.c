/* SPDX-License-Identifier: MIT */
/* The devices of the machine: which there are, and the thread that serves what does not come from a
 * vCPU: timers and typed input. */
#include "vmm/machine/machine.h"
#include "vmm/sys.h"

#define COM1_IRQ 4

void devices_create(struct machine *m)
{
    bus_reset(&m->board.bus);
    if (!uart16550_attach(&m->com1, m, UART_COM1_PORT, COM1_IRQ) ||
        !debugcon_attach(&m->debugcon, m) || !debugexit_attach(&m->debugexit, m)) {
        machine_end(m, GUEST_VMM_FAULT, "two devices claim one port");
    }
}

/* One round sees all that came before it: whoever signals the event later ends the wait at once. */
void devices_loop(struct machine *m)
{
    for (;;) {
        machine_lock(m);
        m->armed_ns = 0; /* nobody needs to wake this thread */
        uart16550_poll(&m->com1);
        timers_run(&m->timers, host_time_ns(m));
        u64 next = timers_next(&m->timers);
        m->armed_ns = next;
        machine_unlock(m);
        u64 deadline = next == HOST_NEVER ? 0 : host_deadline_tsc(m, next);
        sys_event_wait(m->start->event, EVENT_IN_DATA | EVENT_TIMER, deadline);
    }
}
