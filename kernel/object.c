/* SPDX-License-Identifier: MIT */
/* References of kernel objects. */
#include "kernel/object.h"

#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/notify.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/vm.h"

static void (*const destroy[])(struct object *) = {
    [OBJECT_PROCESS] = process_destroy, [OBJECT_THREAD] = thread_destroy,
    [OBJECT_MEMORY] = memory_destroy,   [OBJECT_EVENT] = notify_destroy,
    [OBJECT_VM] = vm_destroy,           [OBJECT_VCPU] = vcpu_destroy,
};

void object_ref(struct object *o)
{
    ASSERT(spin_held(&kernel_lock) && o->refs > 0);
    o->refs++;
}

/* The end of an object drops references of its own, and ring 3 can make chains of any length: so
 * objects wait in a list for their end, and the stack stays short. All is done when the first call
 * returns. */
void object_unref(struct object *o)
{
    static struct object *dead; /* under the kernel lock, as is the next */
    static bool at_work;

    ASSERT(spin_held(&kernel_lock) && o->refs > 0);
    if (--o->refs || o->type == OBJECT_SYSTEM) {
        return;
    }
    o->next_dead = dead;
    dead = o;
    if (at_work) {
        return;
    }
    at_work = true;
    while (dead) {
        o = dead;
        dead = o->next_dead;
        destroy[o->type](o);
    }
    at_work = false;
}
