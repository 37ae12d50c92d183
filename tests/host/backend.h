/* SPDX-License-Identifier: MIT */
/* A backend whose guests are C functions: each call is one step that ends with an exit. It checks
 * that the kernel keeps the promises of kernel/virt.h. */
#ifndef TESTS_HOST_BACKEND_H
#define TESTS_HOST_BACKEND_H

#include "kernel/exit.h"
#include "kernel/vcpu.h"
#include "kernel/virt.h"

/* What guests do: fills the exit, all zero before, that v causes next. Default: writes 0 to port
 * 0xf4. */
typedef void (*guest_fn)(struct vcpu *v, struct exit *x);
extern guest_fn backend_guest;

/* What has happened so far, all vCPUs. */
extern struct backend_counts {
    u32 created, destroyed, loads, unloads, entries, advances, injected, flushes, resets, starts;
    struct event last_event;
} backend;

/* A guest's register, resident or not. */
u64 *backend_register(struct vcpu *v, enum virt_reg r);

#endif
