/* SPDX-License-Identifier: MIT */
/* Page tables against a list of intervals: random maps, unmaps and changes of rights, with memory
 * that runs out, looked at after every single write. Addresses are few and at the edges of leaves
 * of all sizes. */
/* SOURCES: lib/pagetable.c lib/pagetable_format.c */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/pagetable.h"
#include "tests/unit/pagetable_fake.h"

#define OPERATIONS  48
#define INTERVALS   (3 * OPERATIONS)
#define COORDINATES 64
#define SAMPLES     (2 * COORDINATES)
#define OP_BYTES    6

/* [start, end) maps to pa and following with perm; sorted, not overlapping. */
struct interval {
    u64 start, end, pa, perm;
};

struct translation {
    bool present;
    u64 pa, perm;
};

static struct fake fake;
static struct pagetable pt;
static struct interval model[INTERVALS];
static u32 model_count;

/* The samples before the operation, and those that it may change. */
static struct translation before[SAMPLES], after[SAMPLES];

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* 0 .. 63: GiB, 2 MiB and 4 KiB index, of 4 each. */
static u64 coordinate(u32 n)
{
    static const u32 index[4] = {0, 1, 2, 511};

    return (n >> 4 & 3) * SIZE_1G + index[n >> 2 & 3] * SIZE_2M + index[n & 3] * PAGE_SIZE;
}

static u64 sample(u32 n)
{
    u64 va = coordinate(n / 2);

    return n & 1 ? va + PAGE_SIZE - 1 : va;
}

static struct translation look(u64 va)
{
    struct pt_leaf leaf;
    struct translation t = {0};

    if (pt_lookup(&pt, va, &leaf)) {
        t.present = true;
        t.pa = leaf.address + (va & (leaf.bytes - 1));
        t.perm = pt.format->perm(leaf.entry);
    }
    return t;
}

static struct translation look_model(u64 va)
{
    struct translation t = {0};

    for (u32 i = 0; i < model_count; i++) {
        if (va >= model[i].start && va < model[i].end) {
            t = (struct translation){true, model[i].pa + (va - model[i].start), model[i].perm};
        }
    }
    return t;
}

static bool same(const struct translation *a, const struct translation *b)
{
    return a->present == b->present && (!a->present || (a->pa == b->pa && a->perm == b->perm));
}

static void check_sample(u32 i)
{
    struct translation t = look(sample(i));

    check(same(&t, &before[i]) || same(&t, &after[i]));
}

/* At each moment every address translates as before or as it will. Operations of very many writes
 * are looked at here and there, to let the fuzzer get on. */
static void watch(void *arg)
{
    static u32 next;

    (void)arg;
    if (fake.writes < 32) {
        for (u32 i = 0; i < SAMPLES; i++) {
            check_sample(i);
        }
    }
    check_sample(next++ % SAMPLES);
}

static void model_add(struct interval x)
{
    u32 i = model_count++;

    check(model_count <= INTERVALS);
    for (; i > 0 && model[i - 1].start > x.start; i--) {
        model[i] = model[i - 1];
    }
    model[i] = x;
}

/* Makes `at` a boundary. */
static void model_cut(u64 at)
{
    for (u32 i = 0; i < model_count; i++) {
        struct interval *x = &model[i];
        if (at > x->start && at < x->end) {
            struct interval rest = {at, x->end, x->pa + (at - x->start), x->perm};
            x->end = at;
            model_add(rest);
            return;
        }
    }
}

static void model_remove(u64 start, u64 end)
{
    u32 kept = 0;

    model_cut(start);
    model_cut(end);
    for (u32 i = 0; i < model_count; i++) {
        if (model[i].start < start || model[i].start >= end) {
            model[kept++] = model[i];
        }
    }
    model_count = kept;
}

static void model_protect(u64 start, u64 end, u64 perm)
{
    model_cut(start);
    model_cut(end);
    for (u32 i = 0; i < model_count; i++) {
        if (model[i].start >= start && model[i].start < end) {
            model[i].perm = perm;
        }
    }
}

static void compare(void)
{
    for (u32 i = 0; i < SAMPLES; i++) {
        struct translation t = look(sample(i));
        check(same(&t, &after[i]));
    }
    check(pt.tables == fake.count);
    check(!fake.broken);
}

static void operate(const u8 *op)
{
    static const u64 perms[4] = {PT_READ, PT_READ | PT_WRITE, PT_READ | PT_EXEC,
                                 PT_READ | PT_WRITE | PT_EXEC};
    u64 start = coordinate(op[1]), end = coordinate(op[2]);
    u64 pa = coordinate(op[3]) + (op[3] & BIT(6) ? SIZE_1G : 0);
    u64 perm = perms[op[4] & 3];
    bool flush = false, done;

    if (start == end) {
        end += PAGE_SIZE;
    } else if (start > end) {
        u64 t = start;
        start = end;
        end = t;
    }
    if (end - start > 4 * SIZE_2M) {
        /* too many tables, were they all of 4 KiB pages */
        pa = ALIGN_DOWN(pa, SIZE_2M) | (start & (SIZE_2M - 1));
    }
    for (u32 i = 0; i < SAMPLES; i++) {
        before[i] = look_model(sample(i));
    }
    switch (op[0] % 3) {
    case 0:
        model_remove(start, end);
        model_add((struct interval){start, end, pa, perm});
        break;
    case 1:
        model_remove(start, end);
        break;
    default:
        model_protect(start, end, perm);
        break;
    }
    bool must_flush = false;
    for (u32 i = 0; i < SAMPLES; i++) {
        after[i] = look_model(sample(i));
        must_flush |= before[i].present && !same(&before[i], &after[i]);
    }
    fake_begin(&fake);
    fake.allow = op[5] & BIT(7) ? op[5] & 7 : ~0u;
    switch (op[0] % 3) {
    case 0:
        done = pt_map(&pt, start, pa, end - start, perm, &flush);
        break;
    case 1:
        done = pt_unmap(&pt, start, end - start, &flush);
        break;
    default:
        done = pt_protect(&pt, start, end - start, perm, &flush);
        break;
    }
    check(done || fake.allow != ~0u);
    if (done) {
        check(flush || !must_flush);
        compare();
    } else {
        /* in part: each address is in one of both states; to go on, the range goes */
        watch(NULL);
        check(pt.tables == fake.count);
        fake.watch = NULL;
        fake.allow = ~0u;
        fake_begin(&fake);
        check(pt_unmap(&pt, start, end - start, &flush));
        model_remove(start, end);
        for (u32 i = 0; i < SAMPLES; i++) {
            after[i] = look_model(sample(i));
        }
        compare();
        fake.watch = watch;
    }
    if (op[5] & BIT(6)) {
        pt_reclaim(&pt);
        compare();
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const struct pt_format *const formats[4] = {&pt_format_x86, &pt_format_x86_1g,
                                                       &pt_format_ept, &pt_format_ept_1g};

    if (size < 1) {
        return 0;
    }
    fake_init(&fake, formats[data[0] & 3]);
    model_count = 0;
    check(pt_init(&pt, fake.format, &fake_memory, &fake, data[0] & BIT(2) ? 5 : 4, 0));
    fake.linked[fake_index(pt.root)] = true;
    fake.watch = watch;
    fake_begin(&fake);
    for (u32 i = 0; i < OPERATIONS && 1 + (i + 1) * OP_BYTES <= size; i++) {
        operate(data + 1 + i * OP_BYTES);
    }
    pt_destroy(&pt);
    check(!fake.count && !pt.tables && !fake.broken);
    return 0;
}
