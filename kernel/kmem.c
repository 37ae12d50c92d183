/* SPDX-License-Identifier: MIT */
/* Kernel memory: pages by the buddy allocator, small objects from pages of one size class each. */
#include "kernel/kmem.h"

#include "arch/arch.h"
#include "kernel/buddy.h"
#include "kernel/log.h"
#include "kernel/spinlock.h"
#include "lib/string.h"

#define CLASS_MIN_SHIFT 5 /* 32 bytes */
#define CLASS_COUNT     7 /* .. 2048 */
#define LARGE_ORDER_MAX 10
#define JUNK            0xa5

/* frame.owner of an allocated pool page: a size class, or pages of their own. */
#define OWNER_PAGE     100
#define OWNER_CLASS(c) ((u16)(c))

struct free_object {
    struct free_object *next;
};

static struct buddy pool;
static struct spinlock lock;
static struct free_object *free_objects[CLASS_COUNT];
static u64 free_object_bytes; /* in these lists */
static u64 total_bytes;

void kmem_init(const struct boot_range *ranges, u32 count)
{
    u64 pages = 0;

    for (u32 i = 0; i < count; i++) {
        pages += ranges[i].bytes >> PAGE_SHIFT;
    }
    /* the records come from the start of the first range */
    u64 record_bytes = ALIGN_UP(pages * sizeof(struct frame), PAGE_SIZE);
    ASSERT(count && ranges[0].bytes > record_bytes);
    struct frame *records = arch_pool_ptr(HPA(ranges[0].base));
    memset(records, 0, record_bytes);
    buddy_init(&pool, records);
    for (u32 i = 0; i < count; i++) {
        u64 skip = i ? 0 : record_bytes;
        if (!buddy_add(&pool, ranges[i].base + skip, ranges[i].bytes - skip)) {
            klog("memory: pool range %u left out", i);
        }
    }
    total_bytes = pages << PAGE_SHIFT;
}

/* A block of pages with its tag; NULL: none. Lock held. Contents not cleared. */
static void *pages_alloc(u32 order, u16 owner)
{
    u32 index = buddy_alloc(&pool, order);

    if (index == BUDDY_NONE) {
        return NULL;
    }
    pool.frames[index].owner = owner;
    pool.frames[index].refs = 1;
    return arch_pool_ptr(HPA(buddy_address(&pool, index)));
}

static u32 record_of(const void *p)
{
    u32 index = buddy_index(&pool, arch_pool_hpa(p).v);

    ASSERT(index != BUDDY_NONE);
    return index;
}

hpa_t kmem_page_alloc(void)
{
    spin_lock(&lock);
    void *p = pages_alloc(0, OWNER_PAGE);
    spin_unlock(&lock);
    if (!p) {
        return HPA(0);
    }
    memset(p, 0, PAGE_SIZE);
    return arch_pool_hpa(p);
}

void kmem_page_free(hpa_t page)
{
    kmem_free(arch_pool_ptr(page));
}

static u32 class_of(size_t bytes)
{
    u32 c = 0;

    while ((32u << c) < bytes) {
        c++;
    }
    return c;
}

static void *object_alloc(u32 c)
{
    if (!free_objects[c]) {
        u8 *page = pages_alloc(0, OWNER_CLASS(c));
        if (!page) {
            return NULL;
        }
        for (u32 at = 0; at < PAGE_SIZE; at += 32u << c) {
            struct free_object *o = (struct free_object *)(page + at);
            o->next = free_objects[c];
            free_objects[c] = o;
        }
        free_object_bytes += PAGE_SIZE;
    }
    struct free_object *o = free_objects[c];
    free_objects[c] = o->next;
    free_object_bytes -= 32u << c;
    return o;
}

void *kmem_alloc(size_t bytes)
{
    void *p;

    if (bytes <= 2048) {
        u32 c = class_of(bytes);
        bytes = 32u << c;
        spin_lock(&lock);
        p = object_alloc(c);
        spin_unlock(&lock);
    } else {
        u32 order = 0;
        while ((PAGE_SIZE << order) < bytes) {
            order++;
        }
        if (order > LARGE_ORDER_MAX) {
            return NULL;
        }
        bytes = PAGE_SIZE << order;
        spin_lock(&lock);
        p = pages_alloc(order, OWNER_PAGE);
        spin_unlock(&lock);
    }
    if (p) {
        memset(p, 0, bytes);
    }
    return p;
}

void *kmem_alloc_boot(u64 bytes)
{
    u32 order = 0;

    while ((PAGE_SIZE << order) < bytes) {
        order++;
    }
    void *p = order < BUDDY_ORDERS ? pages_alloc(order, OWNER_PAGE) : NULL;
    if (p) {
        /* what the power of two has too much goes back */
        u32 index = record_of(p);
        u32 keep = (u32)((bytes + PAGE_MASK) >> PAGE_SHIFT);
        for (u32 i = keep; i < 1u << order; i++) {
            buddy_free(&pool, index + i, 0);
        }
        memset(p, 0, bytes);
    }
    return p;
}

/* Pages of small objects stay with their class: the pool is sized so that this does not matter. */
void kmem_free(void *p)
{
    if (!p) {
        return;
    }
    spin_lock(&lock);
    u32 index = record_of((void *)ALIGN_DOWN((u64)p, PAGE_SIZE));
    struct frame *f = &pool.frames[index];
    ASSERT(f->state == FRAME_BUSY && f->refs == 1);
    if (f->owner == OWNER_PAGE) {
        ASSERT(!((u64)p & PAGE_MASK));
        memset(p, JUNK, PAGE_SIZE << f->order);
        f->refs = 0;
        buddy_free(&pool, index, f->order);
    } else {
        ASSERT(f->owner < CLASS_COUNT);
        memset(p, JUNK, 32u << f->owner);
        struct free_object *o = p;
        o->next = free_objects[f->owner];
        free_objects[f->owner] = o;
        free_object_bytes += 32u << f->owner;
    }
    spin_unlock(&lock);
}

u64 kmem_total_bytes(void)
{
    return total_bytes;
}

u64 kmem_free_bytes(void)
{
    return pool.free_pages << PAGE_SHIFT;
}

u64 kmem_free_object_bytes(void)
{
    return free_object_bytes;
}

bool kmem_owns(hpa_t page)
{
    u32 index = buddy_index(&pool, page.v);

    return index != BUDDY_NONE && !buddy_is_free(&pool, index);
}
