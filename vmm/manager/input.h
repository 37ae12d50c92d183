/* SPDX-License-Identifier: MIT */
/*
 * What was typed on the host's console: the driver's process, and a buffer behind it that takes a
 * good part of a book, because not every serial line can be held back.
 */
#ifndef VMM_MANAGER_INPUT_H
#define VMM_MANAGER_INPUT_H

#include "lib/ring.h"
#include "lib/types.h"
#include "vmm/manager/child.h"

#define INPUT_BYTES 262144

struct manager;

struct input {
    struct program program;
    struct child driver;
    bool running;
    u32 overruns; /* as the driver counted them when we last looked */
    u32 escapes;  /* CONSOLE_ESCAPE in the buffer */
    struct ring typed;
    struct {
        struct ring_shared head;
        u8 data[INPUT_BYTES];
    } buffer;
};

/* Starts the driver, for the devices of the configuration's console. Without it nobody can type,
 * which is said; all else goes on. */
void input_start(struct manager *m);

/* Takes what has come into the buffer, and notes the driver's end. bits: what the event had. */
void input_poll(struct manager *m, u64 bits);

/* The next byte, if there is one. */
bool input_next(struct input *in, u8 *c);

/* Does somebody want to go on, behind what is waiting? Or must he be thought to, as all is full? */
bool input_presses(const struct input *in);

#endif
