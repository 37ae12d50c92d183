/* SPDX-License-Identifier: MIT */
/*
 * Text on its way to the host's console, which takes only as much as its devices have room for.
 * Guests' text enters only while there is room (output_room), so that it waits in the guests and
 * not here.
 */
#ifndef VMM_MANAGER_OUTPUT_H
#define VMM_MANAGER_OUTPUT_H

#include "kernel/abi.h"
#include "lib/types.h"

#define OUTPUT_BYTES  32768
#define OUTPUT_PROMPT 72

struct output {
    u32 start, count;
    handle_t event; /* never signalled: for sleeping */
    u64 tick_tsc;   /* a millisecond */
    bool mid_line;  /* what was written last was no end of a line */
    u32 shown;      /* characters of the prompt that are there now */
    char prompt[OUTPUT_PROMPT];
    char data[OUTPUT_BYTES];
};

/* event: a handle of the manager's own that nobody signals. */
void output_init(struct output *o, handle_t event, u64 tsc_hz);

u32 output_room(const struct output *o);
/* Takes all, sleeping while there is no room. */
void output_write(struct output *o, const char *text, size_t n);
/* Shows n characters (at most OUTPUT_PROMPT) at the end of all output in place of those that were
 * shown before; they go when more is written. */
void output_prompt(struct output *o, const char *text, u32 n);
/* A line of the manager's own, on a line of its own: "socle: " and the text. */
void output_line(struct output *o, const char *format, ...) PRINTF(2, 3);
/* Offers text to the console once; true: nothing is left. */
bool output_push(struct output *o);
/* Returns when everything is on the console. */
void output_drain(struct output *o);

#endif
