/* SPDX-License-Identifier: MIT */
/* Buddy allocator over page frames. */
#include "kernel/buddy.h"

#include "lib/string.h"

void buddy_init(struct buddy *b, struct frame *frames)
{
    memset(b, 0, sizeof(*b));
    b->frames = frames;
    for (u32 i = 0; i < BUDDY_ORDERS; i++) {
        b->free_head[i] = BUDDY_NONE;
    }
}

static const struct buddy_zone *zone_of(const struct buddy *b, u32 index)
{
    for (u32 i = 0; i < b->zone_count; i++) {
        if (index - b->zones[i].first < b->zones[i].pages) {
            return &b->zones[i];
        }
    }
    return NULL;
}

u32 buddy_index(const struct buddy *b, u64 pa)
{
    for (u32 i = 0; i < b->zone_count; i++) {
        u64 page = (pa - b->zones[i].base) >> PAGE_SHIFT;
        if (pa >= b->zones[i].base && page < b->zones[i].pages) {
            return b->zones[i].first + (u32)page;
        }
    }
    return BUDDY_NONE;
}

u64 buddy_address(const struct buddy *b, u32 index)
{
    const struct buddy_zone *z = zone_of(b, index);

    return z ? z->base + ((u64)(index - z->first) << PAGE_SHIFT) : 0;
}

static void list_push(struct buddy *b, u32 index, u32 order)
{
    struct frame *f = &b->frames[index];

    f->state = FRAME_FREE;
    f->order = (u8)order;
    f->refs = 0;
    f->owner = 0;
    f->prev = BUDDY_NONE;
    f->next = b->free_head[order];
    if (f->next != BUDDY_NONE) {
        b->frames[f->next].prev = index;
    }
    b->free_head[order] = index;
}

static void list_remove(struct buddy *b, u32 index)
{
    struct frame *f = &b->frames[index];

    if (f->prev != BUDDY_NONE) {
        b->frames[f->prev].next = f->next;
    } else {
        b->free_head[f->order] = f->next;
    }
    if (f->next != BUDDY_NONE) {
        b->frames[f->next].prev = f->prev;
    }
    f->state = FRAME_BUSY;
}

void buddy_free(struct buddy *b, u32 index, u32 order)
{
    const struct buddy_zone *z = zone_of(b, index);

    b->free_pages += 1ull << order;
    b->frames[index].state = FRAME_BUSY;
    while (order + 1 < BUDDY_ORDERS) {
        u64 pa = z->base + ((u64)(index - z->first) << PAGE_SHIFT);
        u64 mate_pa = pa ^ (PAGE_SIZE << order);
        u64 mate_page = (mate_pa - z->base) >> PAGE_SHIFT;

        if (mate_pa < z->base || mate_page + (1ull << order) > z->pages) {
            break;
        }
        u32 mate = z->first + (u32)mate_page;
        if (b->frames[mate].state != FRAME_FREE || b->frames[mate].order != order) {
            break;
        }
        list_remove(b, mate);
        index = MIN(index, mate);
        order++;
    }
    list_push(b, index, order);
}

bool buddy_add(struct buddy *b, u64 base, u64 bytes)
{
    if (b->zone_count == BUDDY_MAX_ZONES || bytes < PAGE_SIZE) {
        return false;
    }
    struct buddy_zone *z = &b->zones[b->zone_count++];
    *z = (struct buddy_zone){base, (u32)(bytes >> PAGE_SHIFT), b->count};
    b->count += z->pages;
    for (u32 page = 0; page < z->pages;) {
        u32 order = 0;
        while (order + 1 < BUDDY_ORDERS &&
               !((base + ((u64)page << PAGE_SHIFT)) & ((PAGE_SIZE << (order + 1)) - 1)) &&
               page + (2u << order) <= z->pages) {
            order++;
        }
        list_push(b, z->first + page, order);
        b->free_pages += 1ull << order;
        page += 1u << order;
    }
    return true;
}

u32 buddy_alloc(struct buddy *b, u32 order)
{
    u32 have = order;

    while (have < BUDDY_ORDERS && b->free_head[have] == BUDDY_NONE) {
        have++;
    }
    if (have >= BUDDY_ORDERS) {
        return BUDDY_NONE;
    }
    u32 index = b->free_head[have];
    list_remove(b, index);
    while (have > order) {
        have--;
        list_push(b, index + (1u << have), have);
    }
    b->frames[index].order = (u8)order;
    b->free_pages -= 1ull << order;
    return index;
}

bool buddy_is_free(const struct buddy *b, u32 index)
{
    const struct buddy_zone *z = zone_of(b, index);

    for (u32 order = 0; z && order < BUDDY_ORDERS; order++) {
        u64 pa = z->base + ((u64)(index - z->first) << PAGE_SHIFT);
        u64 head_pa = pa & ~((PAGE_SIZE << order) - 1);
        if (head_pa < z->base) {
            break;
        }
        const struct frame *f = &b->frames[z->first + (u32)((head_pa - z->base) >> PAGE_SHIFT)];
        if (f->state == FRAME_FREE && f->order == order) {
            return true;
        }
    }
    return false;
}
