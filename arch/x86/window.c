/* SPDX-License-Identifier: MIT */
/*
 * Windows: an entry of the page tables per CPU, present only while it is used. No other CPU uses
 * the address, so one INVLPG here, when it is closed, is enough; an entry that is not present is
 * not cached, so opening needs none.
 */
#include "arch/x86/window.h"

#include "arch/x86/insn.h"
#include "arch/x86/mmu.h"
#include "kernel/log.h"

/* The first 2 MiB hold the small windows, pages apart; then 2 MiB for each CPU. */
#define SMALL_STRIDE 4u /* pages; the others stay unmapped */
#define SMALL_OPEN   0u
#define SMALL_ZERO   2u

static u64 *small_entries; /* a last-level table */
static u64 *large_entries; /* the table above it, which has an entry per 2 MiB */

_Static_assert(MAX_CPUS *SMALL_STRIDE <= 512 && MAX_CPUS < 512, "windows");

/* The table of `level` on the way to va. */
static u64 *table_of(const struct pagetable *pt, u64 va, u32 level)
{
    u64 *t = pt->memory->table(pt->ctx, pt->root);

    for (u32 l = pt->levels - 1; l > level; l--) {
        u64 entry = t[(va >> (PAGE_SHIFT + 9 * l)) & 511];
        t = pt->memory->table(pt->ctx, entry & pt->format->address_mask);
    }
    return t;
}

void windows_init(struct pagetable *pt)
{
    u64 va = KVA_WINDOWS & FIELD(47, 0);
    bool flush;

    /* any page will do: the mapping makes the tables and is taken out again at once */
    if (!pt_map(pt, va, 0, PAGE_SIZE, PT_READ, &flush)) {
        panic("no memory for the windows");
    }
    small_entries = table_of(pt, va, 0);
    large_entries = table_of(pt, va, 1);
    small_entries[0] = 0;
}

static void *open(u64 *entry, u64 va, u64 pa, u32 level)
{
    u64 bits =
        pt_format_x86.leaf(PT_READ | PT_WRITE, level) | (level ? pt_format_x86.large_bit : 0);

    ASSERT(!*entry);
    *(volatile u64 *)entry = pa | bits;
    __asm__ volatile("" ::: "memory"); /* no access before the entry is there */
    return (void *)va;
}

static void close(u64 *entry, u64 va)
{
    __asm__ volatile("" ::: "memory");
    *(volatile u64 *)entry = 0;
    invlpg(va);
}

static u32 small_index(u32 which)
{
    return cpu_this()->id * SMALL_STRIDE + which;
}

void *arch_window_open(hpa_t frame)
{
    u32 i = small_index(SMALL_OPEN);

    return open(&small_entries[i], KVA_WINDOWS + i * PAGE_SIZE, frame.v, 0);
}

void arch_window_close(void)
{
    u32 i = small_index(SMALL_OPEN);

    close(&small_entries[i], KVA_WINDOWS + i * PAGE_SIZE);
}

static void zero(void *p, u64 bytes)
{
    u64 words = bytes / 8;

    __asm__ volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(0ull) : "memory");
}

void arch_frame_zero(hpa_t frame, u64 bytes)
{
    if (bytes == SIZE_2M) {
        u32 i = 1 + cpu_this()->id;
        u64 va = KVA_WINDOWS + i * SIZE_2M;
        zero(open(&large_entries[i], va, frame.v, 1), SIZE_2M);
        close(&large_entries[i], va);
    } else {
        u32 i = small_index(SMALL_ZERO);
        u64 va = KVA_WINDOWS + i * PAGE_SIZE;
        zero(open(&small_entries[i], va, frame.v, 0), PAGE_SIZE);
        close(&small_entries[i], va);
    }
}
