/* SPDX-License-Identifier: MIT */
/* Memory of a guest kernel: pages from what the memory map calls usable, and its own page tables.
 */
#ifndef GUESTS_LIB_MEMORY_H
#define GUESTS_LIB_MEMORY_H

#include "lib/types.h"

#define PTE_P       BIT(0)
#define PTE_W       BIT(1)
#define PTE_U       BIT(2)
#define PTE_PWT     BIT(3)
#define PTE_PCD     BIT(4)
#define PTE_A       BIT(5)
#define PTE_D       BIT(6)
#define PTE_PS      BIT(7)
#define PTE_G       BIT(8)
#define PTE_NX      BIT(63)
#define PTE_ADDRESS FIELD(51, 12)

/* Linear addresses that no memory is at, for tests to map things: 1 TiB on. */
#define MAP_AREA 0x10000000000ull

extern u8 image_start[], image_end[];
extern u64 boot_pml4[], boot_pdpt[], boot_pd[];
extern u8 stack_top[];

/* Called before guest_main(). */
void memory_init(void);

/* Pages in one piece, never given back, not zeroed, and (populate = no) never touched before.
 * align: a power of two, at least 4096. Ends the guest as an ERROR when there are none left. */
u64 page_alloc(u64 bytes, u64 align);
/* How much page_alloc could still give in one piece. */
u64 page_free_bytes(void);
/* The same, zeroed, one page. */
void *page_zeroed(void);

/* The entry that maps va at a level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB) in the current tables, made on
 * the way: larger leaves are split, missing tables added (writable and user, so that the leaf
 * decides). */
u64 *pte_at(u64 va, int level);
/* Sets that entry and invalidates the address. */
void pte_set(u64 va, int level, u64 entry);

/* A linear address at which physical address pa can be accessed, uncached if asked; valid until the
 * next call. One 4 KiB page. */
volatile void *map_window(u64 pa);

/* Maps all usable RAM at its own address (start.asm maps the first 4 GiB). */
void memory_map_all(void);

/* Bits of a physical address that the CPU has. */
u32 phys_bits(void);

#endif
