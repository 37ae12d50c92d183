/* SPDX-License-Identifier: MIT */
/* Memory objects. */
#include "kernel/memory.h"

#include "kernel/kmem.h"
#include "kernel/process.h"

struct memory *memory_list;

static struct memory *list_add(struct memory *m)
{
    m->next = memory_list;
    memory_list = m;
    return m;
}

struct memory *memory_create(u64 bytes, struct process *payer)
{
    u64 pages = bytes >> PAGE_SHIFT, done = 0;
    struct memory *m = process_kalloc(payer, sizeof(*m));

    if (!m) {
        return NULL;
    }
    m->frames = process_kalloc(payer, pages * sizeof(u64));
    if (!m->frames) {
        goto undo_object;
    }
    if (!budget_take(&payer->memory, bytes)) {
        goto undo_list;
    }
    for (; done < pages; done++) {
        m->frames[done] = frame_alloc(0, payer->owner).v;
        if (!m->frames[done]) {
            goto undo_frames;
        }
    }
    m->object = (struct object){OBJECT_MEMORY, 1, NULL};
    m->bytes = bytes;
    m->payer = payer;
    object_ref(&payer->object);
    return list_add(m);

undo_frames:
    while (done--) {
        frame_free(HPA(m->frames[done]), PAGE_SIZE);
    }
    budget_give(&payer->memory, bytes);
undo_list:
    process_kfree(payer, m->frames, pages * sizeof(u64));
undo_object:
    process_kfree(payer, m, sizeof(*m));
    return NULL;
}

struct memory *memory_from_module(u64 base, u64 bytes)
{
    struct memory *m = kmem_alloc(sizeof(*m));

    if (!m) {
        return NULL;
    }
    m->object = (struct object){OBJECT_MEMORY, 1, NULL};
    m->bytes = ALIGN_UP(bytes, PAGE_SIZE);
    m->module_base = base;
    return list_add(m);
}

void memory_destroy(struct object *o)
{
    struct memory *m = CONTAINER_OF(o, struct memory, object);
    struct process *payer = m->payer;
    struct memory **at = &memory_list;

    while (*at != m) {
        at = &(*at)->next;
    }
    *at = m->next;
    if (!payer) {
        kmem_free(m);
        return;
    }
    u64 pages = m->bytes >> PAGE_SHIFT;
    for (u64 i = 0; i < pages; i++) {
        frame_free(HPA(m->frames[i]), PAGE_SIZE);
    }
    budget_give(&payer->memory, m->bytes);
    process_kfree(payer, m->frames, pages * sizeof(u64));
    process_kfree(payer, m, sizeof(*m));
    object_unref(&payer->object);
}

hpa_t memory_frame(const struct memory *m, u64 offset)
{
    return m->module_base ? HPA(m->module_base + offset) : HPA(m->frames[offset >> PAGE_SHIFT]);
}
