/* SPDX-License-Identifier: MIT */
/* The buddy allocator against the simplest model: one byte a page. */
/* SOURCES: kernel/buddy.c */
#include <stdlib.h>
#include <string.h>

#include "kernel/buddy.h"

#define MAX_PAGES 1024u
#define MAX_LIVE  512u

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct input {
    const u8 *at, *end;
};

static u32 take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

struct block {
    u32 index, order;
};

static struct buddy b;
static struct frame frames[MAX_PAGES];
static bool used[MAX_PAGES]; /* the model */
static struct block live[MAX_LIVE];
static u32 live_count;

/* A few zones with odd bases and gaps between them. */
static void add_zones(struct input *in)
{
    u32 count = 1 + take(in) % 5;
    u64 base = (u64)take(in) << PAGE_SHIFT;

    memset(frames, 0, sizeof(frames));
    memset(used, 0, sizeof(used));
    live_count = 0;
    buddy_init(&b, frames);
    for (u32 i = 0; i < count; i++) {
        u64 pages = 1 + take(in) + (i ? 0 : 512 * (take(in) & 1));
        if (b.count + pages > MAX_PAGES) {
            break;
        }
        require(buddy_add(&b, base, pages << PAGE_SHIFT));
        base += (pages + take(in) % 16) << PAGE_SHIFT;
    }
}

/* Is there a free, aligned run of 2^order pages inside one zone? */
static bool model_has(u32 order)
{
    for (u32 z = 0; z < b.zone_count; z++) {
        u64 first = b.zones[z].base >> PAGE_SHIFT;
        u64 size = 1ull << order;
        for (u64 p = ALIGN_UP(first, size); p + size <= first + b.zones[z].pages; p += size) {
            u32 i = b.zones[z].first + (u32)(p - first), n = 0;
            while (n < size && !used[i + n]) {
                n++;
            }
            if (n == size) {
                return true;
            }
        }
    }
    return false;
}

static void allocate(u32 order)
{
    if (live_count == MAX_LIVE) {
        return;
    }
    bool expected = order < BUDDY_ORDERS && model_has(order);
    u32 index = buddy_alloc(&b, order);
    require((index != BUDDY_NONE) == expected);
    if (index == BUDDY_NONE) {
        return;
    }
    require(!(buddy_address(&b, index) & ((PAGE_SIZE << order) - 1)));
    for (u32 i = 0; i < 1u << order; i++) {
        require(index + i < b.count && !used[index + i]);
        used[index + i] = true;
    }
    live[live_count++] = (struct block){index, order};
}

/* Frees a live block, whole or its first half; the other half then lives on as a block. */
static void release(u32 which, bool half)
{
    if (!live_count) {
        return;
    }
    struct block *l = &live[which % live_count];
    if (half && l->order) {
        l->order--;
        buddy_free(&b, l->index, l->order);
        memset(&used[l->index], 0, 1u << l->order);
        l->index += 1u << l->order;
        return;
    }
    buddy_free(&b, l->index, l->order);
    memset(&used[l->index], 0, 1u << l->order);
    *l = live[--live_count];
}

static void compare(void)
{
    u64 free_pages = 0;

    for (u32 i = 0; i < b.count; i++) {
        require(buddy_is_free(&b, i) == !used[i]);
        require(buddy_index(&b, buddy_address(&b, i)) == i);
        free_pages += !used[i];
    }
    require(b.free_pages == free_pages);
    for (u32 order = 0; order < BUDDY_ORDERS; order++) {
        u32 prev = BUDDY_NONE;
        for (u32 i = b.free_head[order]; i != BUDDY_NONE; i = frames[i].next) {
            require(i < b.count && frames[i].prev == prev && frames[i].state == FRAME_FREE &&
                    frames[i].order == order);
            prev = i;
        }
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct input in = {data, data + size};

    add_zones(&in);
    while (in.at < in.end) {
        u32 op = take(&in);
        if (op & 0x80) {
            release(take(&in), op & 0x40);
        } else {
            allocate(op % (BUDDY_ORDERS + 1));
        }
        if (!(op & 15)) {
            compare();
        }
    }
    compare();
    while (live_count) {
        release(0, false);
    }
    compare();
    /* all is merged again: every largest block that the model sees can be had */
    for (u32 order = BUDDY_ORDERS; order-- > 0;) {
        while (model_has(order)) {
            u32 before = live_count;
            allocate(order);
            if (live_count == before) {
                break;
            }
        }
    }
    return 0;
}
