/* SPDX-License-Identifier: MIT */
/* Pages and page tables of a guest kernel. */
#include "guests/lib/memory.h"

#include "guests/lib/boot.h"
#include "guests/lib/cpu.h"
#include "guests/lib/test.h"
#include "lib/string.h"

#define WINDOW (MAP_AREA + 0x7fc0000000ull)

static struct {
    u64 next, end;
} pools[BOOT_MAX_RAM];
static u32 pool_count;

/* Takes [base, base + bytes) out of the pools; what lies below it in that pool is given up. */
static void reserve(u64 base, u64 bytes)
{
    for (u32 i = 0; i < pool_count; i++) {
        if (base < pools[i].end && base + bytes > pools[i].next) {
            pools[i].next = MIN(ALIGN_UP(base + bytes, PAGE_SIZE), pools[i].end);
        }
    }
}

void memory_init(void)
{
    for (u32 i = 0; i < boot.ram_count; i++) {
        u64 base = ALIGN_UP(boot.ram[i].base, PAGE_SIZE);
        u64 end = ALIGN_DOWN(boot.ram[i].base + boot.ram[i].bytes, PAGE_SIZE);

        if (boot.ram[i].type == 1 && end > 1 << 20) {
            pools[pool_count].next = MAX(base, 1 << 20);
            pools[pool_count++].end = end;
        }
    }
    reserve((u64)image_start, (u64)(image_end - image_start));
    for (u32 i = 0; i < boot.module_count; i++) {
        reserve(boot.modules[i].base, boot.modules[i].bytes);
    }
}

u64 page_alloc(u64 bytes, u64 align)
{
    bytes = ALIGN_UP(bytes, PAGE_SIZE);
    for (u32 i = 0; i < pool_count; i++) {
        u64 start = ALIGN_UP(pools[i].next, align);

        if (start + bytes <= pools[i].end && start + bytes <= 1ull << 32) {
            pools[i].next = start + bytes;
            return start;
        }
    }
    test_error("out of memory: %lu bytes", bytes);
    test_end();
}

u64 page_free_bytes(void)
{
    u64 most = 0;

    for (u32 i = 0; i < pool_count; i++) {
        u64 end = MIN(pools[i].end, 1ull << 32);

        most = MAX(most, end > pools[i].next ? end - pools[i].next : 0);
    }
    return most;
}

void *page_zeroed(void)
{
    void *page = (void *)page_alloc(PAGE_SIZE, PAGE_SIZE);

    return memset(page, 0, PAGE_SIZE);
}

/* Replaces a large leaf by a table of the next smaller ones. */
static void split(u64 *entry, int level)
{
    u64 *table = page_zeroed();
    u64 step = 1ull << (12 + 9 * (level - 2));
    u64 leaf = level == 2 ? *entry & ~PTE_PS : *entry;

    for (u64 i = 0; i < 512; i++) {
        table[i] = leaf + i * step;
    }
    *entry = (u64)table | PTE_P | PTE_W | PTE_U;
}

u64 *pte_at(u64 va, int level)
{
    u64 *table = (u64 *)(read_cr3() & PTE_ADDRESS);

    for (int l = 4;; l--) {
        u64 *entry = &table[va >> (12 + 9 * (l - 1)) & 511];

        if (l == level) {
            return entry;
        }
        if (!(*entry & PTE_P)) {
            *entry = (u64)page_zeroed() | PTE_P | PTE_W | PTE_U;
        } else if (*entry & PTE_PS) {
            split(entry, l);
        }
        table = (u64 *)(*entry & PTE_ADDRESS);
    }
}

void pte_set(u64 va, int level, u64 entry)
{
    *(volatile u64 *)pte_at(va, level) = entry;
    invlpg((void *)va);
}

volatile void *map_window(u64 pa)
{
    pte_set(WINDOW, 1, ALIGN_DOWN(pa, PAGE_SIZE) | PTE_P | PTE_W);
    return (volatile void *)(WINDOW + (pa & PAGE_MASK));
}

void memory_map_all(void)
{
    for (u64 pa = 1ull << 32; pa < boot.memory_end; pa += SIZE_2M) {
        pte_set(pa, 2, pa | PTE_P | PTE_W | PTE_PS);
    }
}

u32 phys_bits(void)
{
    return cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
}
