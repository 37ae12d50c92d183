/* SPDX-License-Identifier: MIT */
/*
 * One guest's machine: board, devices, vCPUs, and the way to its manager. The VMM process has
 * exactly one; nothing in it is file-static.
 *
 * Threads: one for each vCPU, and one for timers and typed input. The lock guards all that is below
 * it but for vCPUs, each of which belongs to its thread, and what never changes once the threads
 * run (board.ram, the tables of board.bus).
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include "lib/ring.h"
#include "lib/types.h"
#include "vmm/device/debugcon.h"
#include "vmm/device/debugexit.h"
#include "vmm/device/fwcfg.h"
#include "vmm/device/i8254.h"
#include "vmm/device/i8259.h"
#include "vmm/device/ioapic.h"
#include "vmm/device/pci.h"
#include "vmm/device/pm.h"
#include "vmm/device/pvclock.h"
#include "vmm/device/pvpanic.h"
#include "vmm/device/reset.h"
#include "vmm/device/rtc.h"
#include "vmm/device/testdev.h"
#include "vmm/device/uart16550.h"
#include "vmm/device/vga.h"
#include "vmm/machine/emulate.h"
#include "vmm/machine/lock.h"
#include "vmm/machine/start.h"
#include "vmm/machine/timers.h"

struct machine;

/* A virtual CPU and the thread that runs it: all of its state belongs to that thread. */
struct vcpu {
    struct machine *machine;
    handle_t handle;
    u32 index;
    struct vcpu_state state; /* scratch of the slow paths */
    struct emulate_cache cache;
};

struct machine {
    const struct vmm_start *start;
    struct start_shared *shared;
    u64 start_tsc;
    u64 ns_per_tick, ticks_per_ns; /* 32.32 fixed point */
    struct lock lock;
    bool wake;      /* a timer became the earliest: the devices' thread is to be woken */
    u32 irq_levels; /* one bit a line */
    u64 last_ns;    /* the latest that host_time_ns() said */
    u64 armed_ns;   /* until when the devices' thread sleeps; 0: it does not, or will be woken */
    struct vcpu *access; /* whose access to memory the bus carries out */
    struct ring out, in;
    u32 out_unsignalled; /* bytes written since the manager was last told */
    bool out_mid_line;
    struct timers timers;
    struct board board;
    struct i8259 pic;
    struct ioapic ioapic;
    struct i8254 pit;
    struct rtc rtc;
    struct pm pm;
    struct pvclock pvclock;
    struct reset reset;
    struct uart16550 com1;
    struct debugcon debugcon;
    struct debugexit debugexit;
    struct vga vga;
    struct fwcfg fwcfg;
    struct testdev testdev; /* only when the configuration asks for it */
    struct vcpu vcpus[VM_MAX_CPUS];
};
_Static_assert(PVCLOCK_CPUS >= VM_MAX_CPUS, "each has a clock");

/* --- the lock --- */

/* Releases it when the devices' thread is to be woken: after that, so that it finds the lock free.
 */
void machine_unlock_and_wake(struct machine *m);

static inline void machine_lock(struct machine *m)
{
    lock_acquire(&m->lock);
}

static inline void machine_unlock(struct machine *m)
{
    if (UNLIKELY(m->wake)) {
        machine_unlock_and_wake(m);
    } else {
        lock_release(&m->lock);
    }
}

/* --- host.c --- */

/* Clock and lines as they are at the start, from m->start. */
void host_init(struct machine *m);
/* The TSC when host_time_ns() will be at_ns; the present for what is past. Lock held. */
u64 host_deadline_tsc(struct machine *m, u64 at_ns);

/* --- devices.c --- */

/* All devices of the machine, in their places on the bus; ends the machine when one has none. */
void devices_create(struct machine *m);

/* The thread of the devices: takes typed input and runs timers that are due, until the guest ends.
 */
NORETURN void devices_loop(struct machine *m);

/* --- console.c: towards the manager; lock held --- */

/* Rings, from m->shared. */
void console_init(struct machine *m);
/* Text on the guest's console; the line form begins with "!! ", on a line of its own. */
void console_write(struct machine *m, const char *text, size_t n);
/* What follows begins a line. */
void console_begin_line(struct machine *m);
void console_line(struct machine *m, const char *format, ...) PRINTF(2, 3);
/* The manager is told what has not been told yet. */
void console_flush(struct machine *m);

/* The guest ends: reason is for the manager's report. The lock stays held, so no other thread says
 * anything any more; they end with the process. */
NORETURN void machine_end(struct machine *m, enum guest_end end, const char *format, ...)
    PRINTF(3, 4);

/* --- run.c --- */

/* The thread of a vCPU: runs it until its guest ends. */
NORETURN void vcpu_loop(struct vcpu *v);

/* report.c: has the kernel set up v as the CPU wants it? What is wrong goes to the console; no lock
 * held. Before the first entry, and when the kernel's part has changed: that part alone. Refused:
 * all, after an entry that the CPU refused or an exit that nobody handles, with its reason. */
void report_vcpu(struct vcpu *v, bool refused, u64 reason);

/* Writes all registers to the guest's console; lock held. */
void dump_state(struct machine *m, const struct vcpu_state *s);

#endif
