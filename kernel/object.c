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

void object_unref(struct object *o)
{
    ASSERT(spin_held(&kernel_lock) && o->refs > 0);
    if (--o->refs == 0 && o->type != OBJECT_SYSTEM) {
        destroy[o->type](o);
    }
}
