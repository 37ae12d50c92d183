/* SPDX-License-Identifier: MIT */
/* The page tables that the kernel starts on, and its first stack. */
#include "boot/loader.h"

#include "boot/cpu.h"

#define ENTRIES     512u
#define STACK_BYTES 32768
#define BELOW_4G    (4 * SIZE_1G)

/* Entries of page tables; SDM 3A "4-Level Paging". */
#define PRESENT 0x1ull
#define WRITE   0x2ull
#define LARGE   0x80ull

struct builder {
    struct loader *l;
    u64 next, end; /* table pages not yet used */
    u64 root;
};

static u64 *entry(u64 table, u64 index)
{
    return (u64 *)table + index;
}

static u64 new_table(struct builder *b)
{
    u64 table = b->next;

    b->next += PAGE_SIZE; /* how many are needed was counted before */
    return table;
}

/* The table that an entry of another points to; made when there is none. */
static u64 table_below(struct builder *b, u64 table, u64 index)
{
    u64 *e = entry(table, index);

    if (!*e) {
        *e = new_table(b) | PRESENT | WRITE;
    }
    return *e & ~PAGE_MASK;
}

/* Maps the gibibyte at address, at that address and in the kernel's window. */
static void map_gibibyte(struct builder *b, u64 address)
{
    u64 top = address >> 39, window = top + (BOOT_PHYSMAP >> 39) % ENTRIES;
    u64 table = table_below(b, b->root, top);
    u64 index = (address >> 30) % ENTRIES;

    *entry(b->root, window) = *entry(b->root, top); /* both share what is below */
    if (*entry(table, index)) {
        return;
    }
    if (b->l->cpu.long_pages) {
        *entry(table, index) = address | PRESENT | WRITE | LARGE;
        return;
    }
    table = table_below(b, table, index);
    for (u64 i = 0; i < ENTRIES; i++) {
        *entry(table, i) = (address + i * SIZE_2M) | PRESENT | WRITE | LARGE;
    }
}

static void map_kernel(struct builder *b)
{
    const struct bootinfo *bi = b->l->info;

    for (u64 at = 0; at < bi->kernel_bytes; at += PAGE_SIZE) {
        u64 va = BOOT_KERNEL_BASE + at;
        u64 table = table_below(b, b->root, (va >> 39) % ENTRIES);

        table = table_below(b, table, (va >> 30) % ENTRIES);
        table = table_below(b, table, (va >> 21) % ENTRIES);
        *entry(table, (va >> 12) % ENTRIES) = (bi->kernel_base + at) | PRESENT | WRITE;
    }
}

bool tables_build(struct loader *l)
{
    struct builder b = {.l = l};
    const struct boot_framebuffer *fb = &l->info->fb;
    u64 end, pages, tables, fb_last = fb->bytes ? fb->base + fb->bytes - 1 : 0;
    u64 fb_gib = fb->bytes ? (fb_last >> 30) - (fb->base >> 30) + 1 : 0;

    if (!memory_read_map(l)) {
        return false;
    }
    end = MAX(memmap_end(&l->map), BELOW_4G);
    if (end > BIT(46) || fb_last > BIT(46)) {
        return loader_refuse(
            l, "this machine's memory ends above 64 TiB, more than this version can map");
    }
    /* root; per 512 GiB one; per GiB one without long pages; the kernel's */
    pages = ALIGN_UP(end, SIZE_1G) / SIZE_1G + fb_gib;
    tables = 1 + pages / ENTRIES + 2 + fb_gib + (l->cpu.long_pages ? 0 : pages) + 2 +
             l->info->kernel_bytes / SIZE_2M + 2;
    b.next = memory_alloc(l, tables * PAGE_SIZE, PAGE_SIZE, BELOW_4G, BOOT_MEM_LOADER);
    l->stack_top = memory_alloc(l, STACK_BYTES, PAGE_SIZE, BELOW_4G, BOOT_MEM_LOADER);
    l->gdt = (void *)memory_alloc(l, JUMP_GDT_BYTES, PAGE_SIZE, BELOW_4G, BOOT_MEM_LOADER);
    if (!b.next || !l->stack_top || !l->gdt) {
        return loader_refuse(l, "too little memory for page tables: give the machine more");
    }
    l->stack_top += STACK_BYTES;
    b.root = new_table(&b);
    for (u64 at = 0; at < end; at += SIZE_1G) {
        map_gibibyte(&b, at);
    }
    for (u64 i = 0; i < fb_gib; i++) {
        map_gibibyte(&b, ALIGN_DOWN(fb->base, SIZE_1G) + i * SIZE_1G);
    }
    map_kernel(&b);
    l->root = b.root;
    return true;
}
