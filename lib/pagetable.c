/* SPDX-License-Identifier: MIT */
/* Radix page tables, generic over entry format and memory. Every change descends level by level; a
 * part of a large leaf is changed in a new table that is complete before it is linked. */
#include "lib/pagetable.h"

#define ENTRIES 512u

/* One change of a range. */
struct change {
    struct pagetable *pt;
    u64 delta; /* map: physical minus virtual address, modulo 2^64 */
    u64 perm;
    bool *flush;
};

typedef bool (*change_fn)(struct change *c, u64 table, u32 level, u64 va, u64 end);

static u64 span_of(u32 level)
{
    return PAGE_SIZE << (9 * level);
}

static u32 index_of(u64 va, u32 level)
{
    return (u32)(va >> (PAGE_SHIFT + 9 * level)) & (ENTRIES - 1);
}

static u64 reach_of(const struct pagetable *pt)
{
    return pt->limit ? pt->limit : PAGE_SIZE << (9 * pt->levels);
}

static bool range_ok(const struct pagetable *pt, u64 va, u64 bytes)
{
    u64 reach = reach_of(pt);

    return bytes && !((va | bytes) & PAGE_MASK) && va < reach && bytes <= reach - va;
}

static bool is_present(const struct pagetable *pt, u64 entry)
{
    return entry & pt->format->present_mask;
}

static bool is_leaf(const struct pagetable *pt, u64 entry, u32 level)
{
    return level == 0 || entry & pt->format->large_bit;
}

static u64 *table_at(const struct pagetable *pt, u64 table)
{
    return pt->memory->table(pt->ctx, table);
}

static void write_entry(const struct pagetable *pt, u64 *slot, u64 value)
{
    pt->memory->write(pt->ctx, slot, value);
}

/* Physical address of the page that a leaf maps; in large leaves the low bits may mean other
 * things. */
static u64 leaf_address(const struct pagetable *pt, u64 entry, u32 level)
{
    return entry & pt->format->address_mask & ~(span_of(level) - 1);
}

static u64 leaf_entry(const struct pagetable *pt, u64 pa, u64 perm, u32 level)
{
    return pa | pt->format->leaf(perm, level) | (level ? pt->format->large_bit : 0);
}

static u64 table_address(const struct pagetable *pt, u64 entry)
{
    return entry & pt->format->address_mask;
}

static u64 table_alloc(struct pagetable *pt)
{
    u64 table = pt->memory->alloc(pt->ctx);

    if (table) {
        pt->tables++;
    }
    return table;
}

static void table_free(struct pagetable *pt, u64 table)
{
    pt->memory->free(pt->ctx, table);
    pt->tables--;
}

/* Frees a table and what is below it, up to address end (which the caller has clamped to the
 * limit). */
static void subtree_free(struct pagetable *pt, u64 table, u32 level, u64 va, u64 end)
{
    const u64 *t = table_at(pt, table);
    u64 span = span_of(level);

    for (u64 at = va; level && at < end; at += span) {
        u64 entry = t[index_of(at, level)];
        if (is_present(pt, entry) && !is_leaf(pt, entry, level)) {
            subtree_free(pt, table_address(pt, entry), level - 1, at, MIN(end, at + span));
        }
    }
    table_free(pt, table);
}

static bool is_empty(const struct pagetable *pt, u64 table)
{
    const u64 *t = table_at(pt, table);

    for (u32 i = 0; i < ENTRIES; i += 4) {
        if (t[i] | t[i + 1] | t[i + 2] | t[i + 3]) {
            return false;
        }
    }
    return true;
}

/* The link is a page address, whose low bits are 0: a CPU that still walks the table sees an entry
 * that is not present. */
static void unlink_table(struct pagetable *pt, u64 table)
{
    write_entry(pt, table_at(pt, table), pt->unlinked);
    pt->unlinked = table;
}

/* A new table, not linked yet, that maps what the leaf `entry` of `level` maps; 0: no memory. */
static u64 split_leaf(struct pagetable *pt, u64 entry, u32 level)
{
    u64 table = table_alloc(pt);

    if (table) {
        u64 *t = table_at(pt, table);
        u64 bits = pt->format->split(entry, level) | (level > 1 ? pt->format->large_bit : 0);
        u64 pa = leaf_address(pt, entry, level);
        for (u32 i = 0; i < ENTRIES; i++) {
            write_entry(pt, &t[i], bits | (pa + i * span_of(level - 1)));
        }
    }
    return table;
}

/*
 * Makes a change below a slot that holds no table: in a new table, empty or filled with the parts
 * of the leaf that is there, which is linked when it is complete. Without memory nothing changes.
 */
static bool change_in_new_table(struct change *c, u64 *slot, u32 level, u64 va, u64 end,
                                change_fn fn)
{
    struct pagetable *pt = c->pt;
    u64 old = *slot;
    u64 table = is_present(pt, old) ? split_leaf(pt, old, level) : table_alloc(pt);
    u64 start = va & ~(span_of(level) - 1);

    if (!table) {
        return false;
    }
    if (!fn(c, table, level - 1, va, end)) {
        subtree_free(pt, table, level - 1, start, start + span_of(level));
        return false;
    }
    write_entry(pt, slot, table | pt->format->table_entry);
    if (is_present(pt, old)) {
        *c->flush = true;
    }
    return true;
}

/* Writes a leaf if it is another one than what is there. */
static void put_leaf(struct change *c, u64 *slot, u64 value)
{
    u64 old = *slot;

    if (old != value) {
        write_entry(c->pt, slot, value);
        if (is_present(c->pt, old)) {
            *c->flush = true;
        }
    }
}

static bool map_level(struct change *c, u64 table, u32 level, u64 va, u64 end)
{
    struct pagetable *pt = c->pt;
    u64 *t = table_at(pt, table);
    u64 span = span_of(level), next;

    for (u64 at = va; at < end; at = next) {
        u64 *slot = &t[index_of(at, level)];
        u64 pa = at + c->delta;
        next = MIN(end, (at | (span - 1)) + 1);
        if (is_present(pt, *slot) && !is_leaf(pt, *slot, level)) {
            if (!map_level(c, table_address(pt, *slot), level - 1, at, next)) {
                return false;
            }
        } else if (next - at == span && !(pa & (span - 1)) && level <= pt->format->largest_leaf) {
            put_leaf(c, slot, leaf_entry(pt, pa, c->perm, level));
        } else if (is_present(pt, *slot) &&
                   *slot == leaf_entry(pt, pa & ~(span - 1), c->perm, level) &&
                   !((at ^ pa) & (span - 1))) {
            continue; /* the larger leaf maps exactly that */
        } else if (!change_in_new_table(c, slot, level, at, next, map_level)) {
            return false;
        }
    }
    return true;
}

u64 *pt_last_slot(const struct pagetable *pt, u64 va)
{
    u64 table = pt->root;

    if (va >= reach_of(pt)) {
        return NULL;
    }
    for (u32 level = pt->levels - 1; level; level--) {
        u64 entry = table_at(pt, table)[index_of(va, level)];
        if (!is_present(pt, entry) || is_leaf(pt, entry, level)) {
            return NULL;
        }
        table = table_address(pt, entry);
    }
    return &table_at(pt, table)[index_of(va, 0)];
}

bool pt_fill_slot(struct pagetable *pt, u64 *slot, u64 pa, u64 perm)
{
    if (is_present(pt, *slot)) {
        return false;
    }
    write_entry(pt, slot, leaf_entry(pt, pa, perm, 0));
    return true;
}

static bool unmap_level(struct change *c, u64 table, u32 level, u64 va, u64 end)
{
    struct pagetable *pt = c->pt;
    u64 *t = table_at(pt, table);
    u64 span = span_of(level), next;

    for (u64 at = va; at < end; at = next) {
        u64 *slot = &t[index_of(at, level)];
        next = MIN(end, (at | (span - 1)) + 1);
        if (!is_present(pt, *slot)) {
            continue;
        }
        if (!is_leaf(pt, *slot, level)) {
            u64 below = table_address(pt, *slot);
            if (!unmap_level(c, below, level - 1, at, next)) {
                return false;
            }
            if (is_empty(pt, below)) {
                put_leaf(c, slot, 0);
                unlink_table(pt, below);
            }
        } else if (next - at == span) {
            put_leaf(c, slot, 0);
        } else if (!change_in_new_table(c, slot, level, at, next, unmap_level)) {
            return false;
        }
    }
    return true;
}

static bool protect_level(struct change *c, u64 table, u32 level, u64 va, u64 end)
{
    struct pagetable *pt = c->pt;
    u64 *t = table_at(pt, table);
    u64 span = span_of(level), next;

    for (u64 at = va; at < end; at = next) {
        u64 *slot = &t[index_of(at, level)];
        next = MIN(end, (at | (span - 1)) + 1);
        if (!is_present(pt, *slot)) {
            continue;
        }
        if (!is_leaf(pt, *slot, level)) {
            if (!protect_level(c, table_address(pt, *slot), level - 1, at, next)) {
                return false;
            }
            continue;
        }
        u64 wanted = leaf_entry(pt, leaf_address(pt, *slot, level), c->perm, level);
        if (next - at == span) {
            put_leaf(c, slot, wanted);
        } else if (*slot != wanted &&
                   !change_in_new_table(c, slot, level, at, next, protect_level)) {
            return false;
        }
    }
    return true;
}

static bool change_range(struct pagetable *pt, u64 va, u64 bytes, u64 delta, u64 perm, bool *flush,
                         change_fn fn)
{
    struct change c = {pt, delta, perm, flush};

    return range_ok(pt, va, bytes) && fn(&c, pt->root, pt->levels - 1, va, va + bytes);
}

bool pt_init(struct pagetable *pt, const struct pt_format *format, const struct pt_memory *memory,
             void *ctx, u32 levels, u64 limit)
{
    *pt = (struct pagetable){
        .format = format, .memory = memory, .ctx = ctx, .levels = levels, .limit = limit};
    pt->root = table_alloc(pt);
    return pt->root != 0;
}

bool pt_map(struct pagetable *pt, u64 va, u64 pa, u64 bytes, u64 perm, bool *flush)
{
    u64 address_bits = pt->format->address_mask | PAGE_MASK;

    if ((pa & PAGE_MASK) || pa > address_bits || bytes - 1 > address_bits - pa) {
        return false;
    }
    return change_range(pt, va, bytes, pa - va, perm, flush, map_level);
}

bool pt_unmap(struct pagetable *pt, u64 va, u64 bytes, bool *flush)
{
    return change_range(pt, va, bytes, 0, 0, flush, unmap_level);
}

bool pt_protect(struct pagetable *pt, u64 va, u64 bytes, u64 perm, bool *flush)
{
    return change_range(pt, va, bytes, 0, perm, flush, protect_level);
}

void pt_reclaim(struct pagetable *pt)
{
    while (pt->unlinked) {
        u64 table = pt->unlinked;
        pt->unlinked = *table_at(pt, table);
        table_free(pt, table);
    }
}

bool pt_lookup(const struct pagetable *pt, u64 va, struct pt_leaf *out)
{
    u64 table = pt->root;

    if (va >= reach_of(pt)) {
        return false;
    }
    for (u32 level = pt->levels - 1;; level--) {
        u64 entry = table_at(pt, table)[index_of(va, level)];
        if (!is_present(pt, entry)) {
            return false;
        }
        if (is_leaf(pt, entry, level)) {
            *out = (struct pt_leaf){leaf_address(pt, entry, level), span_of(level), entry};
            return true;
        }
        table = table_address(pt, entry);
    }
}

typedef bool (*leaf_fn)(void *arg, u64 va, const struct pt_leaf *leaf);

static bool walk_level(const struct pagetable *pt, u64 table, u32 level, u64 va, u64 end,
                       leaf_fn fn, void *arg)
{
    const u64 *t = table_at(pt, table);
    u64 span = span_of(level), next;

    for (u64 at = va; at < end; at = next) {
        u64 entry = t[index_of(at, level)];
        next = MIN(end, (at | (span - 1)) + 1);
        if (!is_present(pt, entry)) {
            continue;
        }
        if (is_leaf(pt, entry, level)) {
            struct pt_leaf leaf = {leaf_address(pt, entry, level), span, entry};
            if (!fn(arg, at & ~(span - 1), &leaf)) {
                return false;
            }
        } else if (!walk_level(pt, table_address(pt, entry), level - 1, at, next, fn, arg)) {
            return false;
        }
    }
    return true;
}

void pt_walk(const struct pagetable *pt, u64 va, u64 bytes, leaf_fn fn, void *arg)
{
    u64 reach = reach_of(pt);

    if (va < reach) {
        walk_level(pt, pt->root, pt->levels - 1, va, va + MIN(bytes, reach - va), fn, arg);
    }
}

typedef void (*table_fn)(void *arg, u64 table, u32 level);

static void walk_tables(const struct pagetable *pt, u64 table, u32 level, u64 va, u64 end,
                        table_fn fn, void *arg)
{
    const u64 *t = table_at(pt, table);
    u64 span = span_of(level);

    fn(arg, table, level);
    for (u64 at = va; level && at < end; at += span) {
        u64 entry = t[index_of(at, level)];
        if (is_present(pt, entry) && !is_leaf(pt, entry, level)) {
            walk_tables(pt, table_address(pt, entry), level - 1, at, MIN(end, at + span), fn, arg);
        }
    }
}

void pt_walk_tables(const struct pagetable *pt, table_fn fn, void *arg)
{
    walk_tables(pt, pt->root, pt->levels - 1, 0, reach_of(pt), fn, arg);
}

void pt_destroy(struct pagetable *pt)
{
    pt_reclaim(pt);
    subtree_free(pt, pt->root, pt->levels - 1, 0, reach_of(pt));
    pt->root = 0;
}
