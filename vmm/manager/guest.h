/* SPDX-License-Identifier: MIT */
/*
 * The life of a guest: started from its part of the configuration, printed, restarted or not when
 * it ends, ended by its time limit, reported.
 */
#ifndef VMM_MANAGER_GUEST_H
#define VMM_MANAGER_GUEST_H

#include "lib/config.h"
#include "lib/types.h"
#include "vmm/manager/child.h"

struct manager;

enum guest_state {
    GUEST_IDLE,     /* not started yet */
    GUEST_ACTIVE,   /* its process runs, or is ending */
    GUEST_DRAINING, /* the process has ended, its last output is being printed */
    GUEST_PAUSE,    /* waits for its restart */
    GUEST_DONE,
};

struct guest {
    const struct config_guest *config;
    char name[LINES_NAME];
    u32 index;
    enum guest_state state;
    struct child child;
    struct view view;
    handle_t vm;
    enum guest_end ordered; /* what the manager has decided: killed, reset, time limit */
    enum guest_end end;     /* how it ended last */
    bool unmet;             /* for good, and otherwise than expected */
    char reason[START_TEXT_BYTES];
    u32 restarts;
    u32 quick_resets; /* in a row */
    u64 start_tsc;    /* of this run */
    u64 limit_tsc;    /* when the time limit began: a reset does not begin it again */
    u64 restart_tsc;  /* when to start again */
    u64 hold_tsc;     /* since when it is held; 0: it is not */
    u64 run_tsc;      /* of all runs that have ended */
    u64 cpu_tsc;      /* likewise: CPU time, its VMM included */
    u64 exits;        /* of all runs that have ended */
};

/* Makes the list of guests from the configuration. NULL, or what is wrong. */
const char *guests_create(struct manager *m) MUST_CHECK;

/* Is there memory for all guests? If not, says so. */
bool guests_fit(struct manager *m) MUST_CHECK;

void guest_start(struct manager *m, struct guest *g);

/* Orders the end of a guest that has not ended for good: GUEST_KILLED, GUEST_TIME_LIMIT,
 * GUEST_RESET. The last order counts. */
void guest_stop(struct guest *g, enum guest_end why);

/* From the monitor: starts again, whatever the configuration says, a guest that runs, or has ended.
 */
void guest_reset(struct manager *m, struct guest *g);

/* Stops the guest's machine, its clock excepted, or lets it go on. NULL, or why it cannot be. */
const char *guest_hold(struct guest *g, bool hold) MUST_CHECK;

/* One round over all guests: bounded output of each, ends, time limits, restarts. bits: what the
 * event had. Returns true when there may be more to do at once. */
bool guests_poll(struct manager *m, u64 bits, u64 now);

/* When guests_poll is due again at the latest. */
u64 guests_deadline(const struct manager *m, u64 now);

const char *guest_end_name(enum guest_end end);
struct guest *guest_find(struct manager *m, const char *name);

/* Run time and exits of all runs, the present one included. */
u64 guest_run_tsc(const struct guest *g, u64 now);
u64 guest_exits(const struct guest *g);
u64 guest_cpu_tsc(const struct guest *g);

#endif
