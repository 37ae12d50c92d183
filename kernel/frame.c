/* SPDX-License-Identifier: MIT */
/* Frames of the guest pool. */
#include "kernel/frame.h"

#include "arch/arch.h"
#include "kernel/buddy.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/spinlock.h"

#define OWNERS 4096

static struct buddy pool;
static struct spinlock lock;
static u32 capacity;
static u64 owner_map[OWNERS / 64] = {1}; /* 0 is never given */
static u32 owner_hint;

bool frame_init(u64 bytes)
{
    u64 left = bytes >> PAGE_SHIFT;
    u64 need = left * sizeof(struct frame);
    struct frame *records = kmem_alloc_boot(need);

    capacity = (u32)left;
    if (!records) {
        return false;
    }
    buddy_init(&pool, records);
    return true;
}

void frame_add(u64 base, u64 bytes)
{
    bytes = MIN(bytes, (u64)(capacity - pool.count) << PAGE_SHIFT);
    if (bytes && !buddy_add(&pool, base, bytes)) {
        klog("memory: %lu KiB at 0x%lx left out: too many ranges", bytes >> 10, base);
    }
}

static hpa_t take(u32 order, owner_t owner)
{
    spin_lock(&lock);
    u32 index = order < BUDDY_ORDERS ? buddy_alloc(&pool, order) : BUDDY_NONE;
    if (index != BUDDY_NONE) {
        for (u32 i = 0; i < 1u << order; i++) {
            pool.frames[index + i].refs = 1;
            pool.frames[index + i].owner = owner;
        }
    }
    spin_unlock(&lock);
    return HPA(index == BUDDY_NONE ? 0 : buddy_address(&pool, index));
}

hpa_t frame_alloc(u32 order, owner_t owner)
{
    hpa_t pa = take(order, owner);
    u64 step = order >= 9 ? SIZE_2M : PAGE_SIZE;

    for (u64 at = 0; pa.v && at < PAGE_SIZE << order; at += step) {
        arch_frame_zero(HPA(pa.v + at), step);
    }
    return pa;
}

hpa_t frame_reserve(u32 order)
{
    return take(order, FRAME_IN_FLIGHT);
}

void frame_give(hpa_t pa, u64 bytes, owner_t owner)
{
    spin_lock(&lock);
    u32 index = buddy_index(&pool, pa.v);
    ASSERT(index != BUDDY_NONE);
    for (u32 i = 0; i < bytes >> PAGE_SHIFT; i++) {
        pool.frames[index + i].owner = owner;
    }
    spin_unlock(&lock);
}

void frame_free(hpa_t pa, u64 bytes)
{
    spin_lock(&lock);
    u32 index = buddy_index(&pool, pa.v);
    u32 n = (u32)(bytes >> PAGE_SHIFT);
    ASSERT(index != BUDDY_NONE && n);

    /* free runs as the largest aligned blocks that they hold */
    for (u32 i = 0; i < n;) {
        ASSERT(pool.frames[index + i].refs > 0);
        if (--pool.frames[index + i].refs) {
            i++;
            continue;
        }
        u32 run = 1;
        while (i + run < n && pool.frames[index + i + run].refs == 1) {
            pool.frames[index + i + run].refs = 0;
            run++;
        }
        for (u32 done = 0; done < run;) {
            u32 order = 0;
            u64 at = pa.v + ((u64)(i + done) << PAGE_SHIFT);
            while (order + 1 < BUDDY_ORDERS && !(at & ((PAGE_SIZE << (order + 1)) - 1)) &&
                   done + (2u << order) <= run) {
                order++;
            }
            buddy_free(&pool, index + i + done, order);
            done += 1u << order;
        }
        i += run;
    }
    spin_unlock(&lock);
}

u64 frame_total_bytes(void)
{
    return (u64)pool.count << PAGE_SHIFT;
}

u64 frame_free_bytes(void)
{
    return pool.free_pages << PAGE_SHIFT;
}

bool frame_query(hpa_t pa, bool *free, owner_t *owner, u32 *refs)
{
    u32 index = buddy_index(&pool, pa.v);

    if (index == BUDDY_NONE) {
        return false;
    }
    *refs = pool.frames[index].refs;
    *owner = pool.frames[index].owner;
    *free = buddy_is_free(&pool, index);
    return true;
}

void frame_walk(void (*fn)(void *arg, u64 base, u64 bytes), void *arg)
{
    for (u32 i = 0; i < pool.zone_count; i++) {
        fn(arg, pool.zones[i].base, (u64)pool.zones[i].pages << PAGE_SHIFT);
    }
}

/* The record's link is free for this while the frame is in use. Frames in flight come and go
 * meanwhile, with no lock of a vm. */
void frame_claims_reset(void)
{
    spin_lock(&lock);
    for (u32 i = 0; i < pool.count;) {
        struct frame *f = &pool.frames[i];
        if (f->state != FRAME_FREE) {
            f->next = 0;
        }
        i += f->state == FRAME_FREE ? 1u << f->order : 1;
    }
    spin_unlock(&lock);
}

bool frame_claim(hpa_t pa, owner_t owner)
{
    u32 index = buddy_index(&pool, pa.v);

    if (index == BUDDY_NONE || buddy_is_free(&pool, index)) {
        return false;
    }
    pool.frames[index].next++;
    return pool.frames[index].owner == owner && pool.frames[index].refs;
}

void frame_walk_use(void (*fn)(void *arg, const struct frame_use *use), void *arg)
{
    spin_lock(&lock);
    for (u32 zone = 0; zone < pool.zone_count; zone++) {
        const struct buddy_zone *z = &pool.zones[zone];
        for (u32 page = 0; page < z->pages;) {
            const struct frame *f = &pool.frames[z->first + page];
            bool is_free = f->state == FRAME_FREE;
            u32 pages = is_free ? 1u << f->order : 1;
            struct frame_use use = {z->base + ((u64)page << PAGE_SHIFT),
                                    (u64)pages << PAGE_SHIFT,
                                    is_free,
                                    f->owner,
                                    f->refs,
                                    is_free ? 0 : f->next};
            fn(arg, &use);
            page += pages;
        }
    }
    spin_unlock(&lock);
}

/* Numbers are reused as late as possible, so that a stale tag stands out. */
owner_t owner_new(void)
{
    owner_t found = 0;

    spin_lock(&lock);
    for (u32 i = 1; i <= OWNERS && !found; i++) {
        u32 o = (owner_hint + i) % OWNERS;
        if (!(owner_map[o / 64] & BIT(o % 64))) {
            owner_map[o / 64] |= BIT(o % 64);
            owner_hint = o;
            found = (owner_t)o;
        }
    }
    spin_unlock(&lock);
    return found;
}

void owner_free(owner_t owner)
{
    spin_lock(&lock);
    owner_map[owner / 64] &= ~BIT(owner % 64);
    spin_unlock(&lock);
}
