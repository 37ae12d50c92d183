/* SPDX-License-Identifier: MIT */
/* The kernel's own page tables: image, pool, devices. Windows and stacks are in window.c and
 * stack.c. */
#include "arch/x86/mmu.h"

#include "arch/x86/boot.h"
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "arch/x86/window.h"
#include "kernel/aspace.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/spinlock.h"
#include "lib/pagetable.h"
#include "lib/string.h"

#define ENTRIES   512u
#define UPPER     256u /* first entry of the top table that is the kernel's */
#define VA_BITS   48
#define CANONICAL FIELD(63, VA_BITS)

extern u8 kernel_text_start[], kernel_text_end[], kernel_rodata_start[], kernel_rodata_end[];
extern u8 kernel_data_start[], kernel_data_end[], kernel_sealed_start[], kernel_sealed_end[];
extern u8 kernel_symbols_start[], kernel_symbols_end[];

static struct pagetable kernel_pt;
static struct spinlock lock;
static u64 kernel_base; /* physical */
static u64 device_next = KVA_DEVICES;
static bool sealed;

static u64 table_alloc(UNUSED void *ctx)
{
    return kmem_page_alloc().v;
}

static void table_free(UNUSED void *ctx, u64 table)
{
    kmem_page_free(HPA(table));
}

static u64 *table_pointer(UNUSED void *ctx, u64 table)
{
    return arch_pool_ptr(HPA(table));
}

static void table_write(UNUSED void *ctx, u64 *slot, u64 value)
{
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
}

static const struct pt_memory table_memory = {table_alloc, table_free, table_pointer, table_write};

/* lib/pagetable counts addresses from 0 to its reach. */
static u64 linear(u64 va)
{
    return va & ~CANONICAL;
}

static u64 canonical(u64 va)
{
    return va >> (VA_BITS - 1) & 1 ? va | CANONICAL : va;
}

void mmu_early_init(const struct bootinfo *bi)
{
    kernel_base = bi->kernel_base;
    if (read_cr4() & CR4_LA57) {
        panic("the loader left 5-level paging on");
    }
}

u64 mmu_image_pa(const void *p)
{
    return (u64)p - BOOT_KERNEL_BASE + kernel_base;
}

u64 mmu_kernel_root(void)
{
    return kernel_pt.root;
}

bool mmu_map(u64 va, u64 pa, u64 bytes, u64 perm)
{
    bool flush = false;

    spin_lock(&lock);
    bool done = pt_map(&kernel_pt, linear(va), pa, bytes, perm | PT_GLOBAL, &flush);
    spin_unlock(&lock);
    ASSERT(!flush); /* nothing of the kernel's is ever mapped anew */
    return done;
}

static void map(u64 va, u64 pa, u64 bytes, u64 perm)
{
    if (!mmu_map(va, pa, bytes, perm)) {
        panic("no memory for the kernel's page tables");
    }
}

static void map_image(const u8 *from, const u8 *to, u64 perm)
{
    if (to > from) {
        map((u64)from, mmu_image_pa(from), (u64)(to - from), perm);
    }
}

/* Data and bss, but for the guard pages below the first CPU's stacks. */
static void map_image_data(void)
{
    const u8 *guard = boot_stacks;

    map_image(kernel_data_start, guard, PT_READ | PT_WRITE);
    map_image(guard + PAGE_SIZE, boot_stack_top, PT_READ | PT_WRITE);
    guard = boot_stack_top;
    for (u32 i = 0; i < IST_COUNT; i++) {
        const u8 *next = guard + PAGE_SIZE + IST_STACK_BYTES;
        map_image(guard + PAGE_SIZE, next, PT_READ | PT_WRITE);
        guard = next;
    }
    map_image(guard, kernel_data_end, PT_READ | PT_WRITE);
}

void arch_mmu_init(const struct boot_range *pool, u32 count)
{
    const struct pt_format *format = arch_has_1g_pages() ? &pt_format_x86_1g : &pt_format_x86;

    if (!pt_init(&kernel_pt, format, &table_memory, NULL, 4, 0)) {
        panic("no memory for the kernel's page tables");
    }
    map_image(kernel_text_start, kernel_text_end, PT_READ | PT_EXEC);
    map_image(kernel_rodata_start, kernel_rodata_end, PT_READ);
    map_image_data();
    map_image(kernel_symbols_start, kernel_symbols_end, PT_READ);
    for (u32 i = 0; i < count; i++) {
        map(BOOT_PHYSMAP + pool[i].base, pool[i].base, pool[i].bytes, PT_READ | PT_WRITE);
    }
    windows_init(&kernel_pt);
    write_cr3(kernel_pt.root);
    cpu_control_init(true);
    console_map();
    /* The first stack makes the table of all stacks, which arch_protect() shall find. */
    void *stack = arch_stack_alloc();
    ASSERT(stack);
    arch_stack_free(stack);
}

void *arch_map_device(hpa_t pa, u64 bytes, bool write_combining)
{
    u64 offset = pa.v & PAGE_MASK;
    u64 size = ALIGN_UP(bytes + offset, PAGE_SIZE);
    u64 va = device_next;
    bool large = size >= SIZE_2M;

    ASSERT(kernel_pt.root && !sealed);
    /* large pages where address and offset into the page agree; a page stays free in between */
    if (large) {
        va = ALIGN_UP(va, SIZE_2M) + (pa.v & (SIZE_2M - 1) & ~PAGE_MASK);
    }
    device_next = va + size + PAGE_SIZE;
    map(va, pa.v - offset, size,
        PT_READ | PT_WRITE | (write_combining ? PT_WRITE_COMBINING : PT_UNCACHED));
    return (void *)(va + offset);
}

void arch_root_init(u64 *root)
{
    const u64 *kernel = arch_pool_ptr(HPA(kernel_pt.root));

    memcpy(root + UPPER, kernel + UPPER, (ENTRIES - UPPER) * sizeof(u64));
}

void arch_aspace_load(struct aspace *a)
{
    /* Order matters to arch_tlb_shootdown(): who we run on is known before a translation is cached.
     */
    __atomic_store_n(&cpu_this()->aspace, a, __ATOMIC_SEQ_CST);
    write_cr3(a ? a->pt.root : kernel_pt.root);
}

struct kernel_walk {
    bool (*fn)(void *arg, u64 va, u64 pa, u64 bytes, u64 perm);
    void *arg;
};

static bool walk_leaf(void *arg, u64 va, const struct pt_leaf *leaf)
{
    const struct kernel_walk *w = arg;

    return w->fn(w->arg, canonical(va), leaf->address, leaf->bytes,
                 kernel_pt.format->perm(leaf->entry));
}

void arch_kernel_walk(bool (*fn)(void *arg, u64 va, u64 pa, u64 bytes, u64 perm), void *arg)
{
    struct kernel_walk w = {fn, arg};

    /* not the windows, which other CPUs open and close meanwhile */
    spin_lock(&lock);
    pt_walk(&kernel_pt, 0, linear(KVA_WINDOWS), walk_leaf, &w);
    pt_walk(&kernel_pt, linear(KVA_WINDOWS) + SIZE_1G, BIT(VA_BITS), walk_leaf, &w);
    spin_unlock(&lock);
}

/* --- after boot --- */

/* Makes the page that holds a table read-only in the pool's mapping; true when it was not yet. */
static bool protect_table(u64 table)
{
    struct pt_leaf leaf;
    bool flush = false;
    u64 va = linear(BOOT_PHYSMAP + table);

    if (!pt_lookup(&kernel_pt, va, &leaf) || !(kernel_pt.format->perm(leaf.entry) & PT_WRITE)) {
        return false;
    }
    return pt_protect(&kernel_pt, va, PAGE_SIZE, PT_READ | PT_GLOBAL, &flush);
}

/* All tables below `table` but those that change while the system runs: stacks and windows. */
static bool protect_tables(u64 table, u32 level, u64 va)
{
    const u64 *t = arch_pool_ptr(HPA(table));
    u64 span = PAGE_SIZE << (9 * level);
    bool changed = protect_table(table);

    for (u32 i = 0; level && i < ENTRIES; i++) {
        u64 at = va + i * span;
        if (!(t[i] & kernel_pt.format->present_mask) || t[i] & kernel_pt.format->large_bit ||
            (level == 2 && (at == linear(KVA_STACKS) || at == linear(KVA_WINDOWS)))) {
            continue;
        }
        changed |= protect_tables(t[i] & kernel_pt.format->address_mask, level - 1, at);
    }
    return changed;
}

void arch_protect(void)
{
    bool flush = false;

    spin_lock(&lock);
    u64 bytes = (u64)(kernel_sealed_end - kernel_sealed_start);
    bool done = !bytes || pt_protect(&kernel_pt, linear((u64)kernel_sealed_start), bytes,
                                     PT_READ | PT_GLOBAL, &flush);
    ASSERT(done);
    sealed = true;
    /* The tables are being made read-only with themselves. Splitting large pages makes new tables,
     * so again until nothing changes. */
    write_cr0(read_cr0() & ~CR0_WP);
    while (protect_tables(kernel_pt.root, kernel_pt.levels - 1, 0)) {
    }
    write_cr0(read_cr0() | CR0_WP);
    spin_unlock(&lock);
    mmu_flush_all();
}
