/* SPDX-License-Identifier: MIT */
/* Memory objects: frames of the guest pool that processes map and share, or a module of the loader.
 */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include "kernel/object.h"
#include "lib/types.h"

struct process;

#define MEMORY_MAX_BYTES (16ull << 20) /* zeroed under the kernel lock */

struct memory {
    struct object object;
    u64 bytes;             /* whole pages */
    u64 module_base;       /* a module: contiguous, never freed, never writable; else 0 */
    u64 *frames;           /* physical addresses, one a page */
    struct process *payer; /* a reference; NULL for modules */
    struct memory *next;   /* list of all, under the kernel lock */
};

extern struct memory *memory_list;

struct memory *memory_create(u64 bytes, struct process *payer); /* NULL: no memory or budget */
struct memory *memory_from_module(u64 base, u64 bytes);
void memory_destroy(struct object *o);
hpa_t memory_frame(const struct memory *m, u64 offset);

#endif
