/* SPDX-License-Identifier: MIT */
/*
 * One guest's machine: board, devices, vCPUs, and the way to its manager. The VMM process has
 * exactly one; nothing in it is file-static.
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include "lib/ring.h"
#include "lib/types.h"
#include "vmm/device/debugcon.h"
#include "vmm/device/debugexit.h"
#include "vmm/device/uart16550.h"
#include "vmm/machine/emulate.h"
#include "vmm/machine/start.h"

struct machine;

/* A virtual CPU and the thread that runs it: all of its state belongs to that thread. */
struct vcpu {
    struct machine *machine;
    handle_t handle;
    u32 index;
    struct vcpu_state state; /* scratch of the slow paths */
};

struct machine {
    const struct vmm_start *start;
    struct start_shared *shared;
    struct ring out, in;
    u32 out_unsignalled; /* bytes written since the manager was last told */
    bool out_mid_line;
    u64 start_tsc, ns_per_tick; /* 32.32 fixed point */
    u32 irq_levels;             /* one bit a line; nothing is wired to them yet */
    struct board board;
    struct uart16550 com1;
    struct debugcon debugcon;
    struct debugexit debugexit;
    struct vcpu vcpus[VM_MAX_CPUS];
};

/* --- console.c: towards the manager --- */

/* Rings and clock, from m->start and m->shared. */
void console_init(struct machine *m);
/* Text on the guest's console; the line form begins with "!! ", on a line of its own. */
void console_write(struct machine *m, const char *text, size_t n);
void console_line(struct machine *m, const char *format, ...) PRINTF(2, 3);
/* The manager is told what has not been told yet. */
void console_flush(struct machine *m);

/* The guest ends: reason is for the manager's report. */
NORETURN void machine_end(struct machine *m, enum guest_end end, const char *format, ...)
    PRINTF(3, 4);

/* --- run.c --- */

/* Runs the vCPU until its guest ends. */
NORETURN void vcpu_loop(struct vcpu *v);

/* Writes all registers to the guest's console. */
void dump_state(struct machine *m, const struct vcpu_state *s);

#endif
