/* SPDX-License-Identifier: MIT */
/*
 * Who hears what is typed, and who is seen. Nobody attached: all guests are shown, line by line,
 * and lines that are typed are the monitor's commands. Attached to a guest: its bytes go both ways
 * as they are, and what the others write is kept for later.
 */
#ifndef VMM_MANAGER_CONSOLE_H
#define VMM_MANAGER_CONSOLE_H

#include "lib/types.h"
#include "vmm/manager/edit.h"

#define CONSOLE_ESCAPE                                                                             \
    0x1d /* Control-] : from a guest to the monitor, from there to the next guest */

struct manager;
struct guest;

struct console {
    struct guest *attached; /* NULL: the monitor */
    struct guest *last;     /* who was attached last */
    struct edit edit;
    bool interactive; /* somebody has typed: there is a prompt */
    bool waiting;     /* next is a byte that the guest has no room for yet */
    u8 next;
    bool deaf;    /* it has had none for so long that bytes are dropped until it has */
    u64 full_tsc; /* since when */
};

/* Handles what was typed, as far as its receiver takes it. */
void console_poll(struct manager *m, u64 now);

/* Shows the prompt, if it is time for one; after all other output of a round. */
void console_prompt(struct manager *m);

void console_attach(struct manager *m, struct guest *g);

/* g starts, or has ended for good. */
void console_note_start(struct manager *m, struct guest *g);
void console_note_end(struct manager *m, struct guest *g);

#endif
