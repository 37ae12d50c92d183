/* SPDX-License-Identifier: MIT */
/*
 * A process that the manager started: a guest's VMM, or the self-test. Its parameters, its console,
 * its end. What the process writes in the shared area is read once, checked, and can only make its
 * own text ugly.
 */
#ifndef VMM_MANAGER_CHILD_H
#define VMM_MANAGER_CHILD_H

#include "lib/ring.h"
#include "lib/types.h"
#include "vmm/machine/start.h"
#include "vmm/manager/lines.h"
#include "vmm/manager/program.h"

/* Where the manager sees the memory of child n. */
#define CHILD_WINDOW 0x1000000000ull
#define CHILD_STEP   0x1000000ull

/* Bits of the manager's event: console of children n, end of children n, by n modulo 31. */
#define CHILD_GROUPS     31
#define CHILD_OUT_BIT(n) BIT((n) % CHILD_GROUPS)
#define CHILD_END_BIT(n) BIT(CHILD_GROUPS + (n) % CHILD_GROUPS)
#define CHILD_ALL_BITS   FIELD(2 * CHILD_GROUPS - 1, 0)

/* Bytes of console that one child gets printed per round. */
#define CHILD_ROUND_BYTES 256

struct child_args {
    const char *name;
    u32 index; /* which window; two children never have the same */
    const struct program *program;
    handle_t manager;               /* the manager's event */
    u64 tsc_hz;                     /* of the machine, for the parameters */
    u32 system_rights;              /* on the system itself; 0: it cannot name it */
    u64 params_bytes;               /* size of the parameters, which begin with struct start_base */
    u32 threads;                    /* for how many it gets stacks */
    u64 memory_bytes, kernel_bytes; /* budgets */
    u32 weight;                     /* its share of CPU time, for all its threads together */
    u64 affinity;                   /* mask of CPUs for all of them, 0: any */
    struct view *view;              /* how it is shown; NULL: as lines */
};

struct child {
    char name[LINES_NAME];
    u32 index;
    const struct program *program;
    handle_t process, memory, event;
    u64 bytes;    /* of memory */
    void *params; /* for the manager to fill before the start, behind its struct start_base */
    struct start_shared *shared;
    struct ring out, in;
    struct lines lines;
    struct view *view;
    u32 drain_left; /* after the end: bytes that may still be printed */
};

/* A process with everything but its first thread. 0 or E_*, and then there is nothing to destroy.
 */
s64 child_create(struct child *c, const struct child_args *args) MUST_CHECK;

/* Maps a module's memory into the child, read only. *vaddr: the lowest free address, moved on. */
s64 child_map_file(struct child *c, handle_t memory, u64 bytes, u64 *vaddr) MUST_CHECK;

/* Starts the first thread. 0 or E_*. */
s64 child_start(struct child *c) MUST_CHECK;

/* Prints a bounded part of what the child wrote, if the output has room; true: there may be more.
 */
bool child_print(struct child *c, struct output *o, u64 now);

/* Prints an incomplete line that is older than age_tsc. */
void child_print_partial(struct child *c, struct output *o, u64 now, u64 age_tsc);

/* Has the process ended? Then fills *info. */
bool child_ended(struct child *c, struct process_info *info);

/* After the end: prints the rest, a bounded part a call; true: all is printed. */
bool child_drain(struct child *c, struct output *o, u64 now);

/* Up to max bytes that the child wrote, for whoever does not print them; returns how many. */
u32 child_read(struct child *c, void *bytes, u32 max);

/* Text typed for the child; returns how many bytes had room. child_typed: it shall look. */
u32 child_type(struct child *c, const void *text, u32 n);
void child_typed(struct child *c);

/* Asks a VMM to hold all its vCPUs and timers, or to let them go on. */
void child_hold(struct child *c, bool hold);

/* A printable copy of why the child ended, in its own words. */
void child_reason(const struct child *c, char *text, size_t size);

/* When the child says it ended, if that lies between start and now; else now. */
u64 child_end_tsc(const struct child *c, u64 start, u64 now);

/* Ends the process if it runs, and gives everything back. */
void child_destroy(struct child *c);

#endif
