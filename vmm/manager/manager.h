/* SPDX-License-Identifier: MIT */
/* The manager's whole state, and what its files do with it. There is one manager; it has one
 * thread. */
#ifndef VMM_MANAGER_MANAGER_H
#define VMM_MANAGER_MANAGER_H

#include "kernel/abi.h"
#include "lib/config.h"
#include "lib/types.h"
#include "vmm/manager/console.h"
#include "vmm/manager/guest.h"
#include "vmm/manager/input.h"
#include "vmm/manager/output.h"
#include "vmm/manager/program.h"

/* The manager's own addresses, beside those of its children's windows (child.h). */
#define MANAGER_CONFIG       0x80000000ull
#define MANAGER_PROGRAMS     0x90000000ull /* one step each: vmm.elf, selftest.elf, input.elf */
#define MANAGER_PROGRAM_STEP 0x10000000ull
#define MANAGER_GUESTS       0xc0000000ull

#define MANAGER_MAX_MODULES  128

struct manager {
    struct system_summary summary;
    struct config config;
    u32 phys_bits; /* width of physical addresses, the guests' too */
    u32 module_count;
    struct system_module modules[MANAGER_MAX_MODULES];
    handle_t event; /* children signal it */
    struct output out;
    struct program vmm;
    struct guest *guests;
    u32 guest_count;
    u32 guests_left; /* that have not ended for good */
    u32 round;       /* which guest is printed first */
    bool quitting;
    bool broken; /* self-test or isolation failed: status 2 */
    bool first_reported;
    struct console console;
    struct input input;
};

u64 manager_ms(const struct manager *m, u64 tsc);

/* The module of that kind and name (NULL: any name); NULL when there is none. */
const struct system_module *manager_module(const struct manager *m, u32 kind, const char *name);

/* --- monitor.c --- */

/* Obeys a command, which it takes apart. */
void monitor_obey(struct manager *m, char *line);

/* --- report.c --- */

/* Asks the kernel for its isolation report and prints the verdict; with numbers: all of them. */
void report_isolation(struct manager *m, bool numbers);
void report_kernel_tests(struct manager *m);
/* Runs selftest.elf if it is there. */
void report_ring3_tests(struct manager *m);
/* One line when the first guest has run its first instruction. */
void report_first_guest(struct manager *m);
void report_list(struct manager *m);
void report_stats(struct manager *m, struct guest *g);
/* What the scheduler gave to each guest. */
void report_shares(struct manager *m);

#endif
