/* SPDX-License-Identifier: MIT */
/* Coroutines, known to the address sanitizer. */
#ifndef TESTS_HOST_FIBER_H
#define TESTS_HOST_FIBER_H

#include <stddef.h>

struct fiber {
    void *sp; /* while it does not run */
    void *stack;
    size_t bytes;
    void *fake_stack; /* the sanitizer's */
    void (*entry)(void *);
    void *arg;
};

/* A coroutine on memory of the caller's; entry never returns. */
void fiber_init(struct fiber *f, void *stack, size_t bytes, void (*entry)(void *), void *arg);

/* The coroutine that the process began with. */
void fiber_init_main(struct fiber *f);

void fiber_switch(struct fiber *from, struct fiber *to);

#endif
