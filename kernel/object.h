/* SPDX-License-Identifier: MIT */
/* What every kernel object that a handle can name begins with. */
#ifndef KERNEL_OBJECT_H
#define KERNEL_OBJECT_H

#include "lib/types.h"

enum object_type {
    OBJECT_NONE,
    OBJECT_SYSTEM,
    OBJECT_PROCESS,
    OBJECT_THREAD,
    OBJECT_MEMORY,
    OBJECT_EVENT,
    OBJECT_VM,
    OBJECT_VCPU,
};

/* References are held by handles, mappings and running threads; the last one destroys the object.
 * Counted under the kernel lock. */
struct object {
    u32 type;
    u32 refs;
    struct object *next_dead; /* without references, waiting for its end */
};

void object_ref(struct object *o);
void object_unref(struct object *o);

#endif
