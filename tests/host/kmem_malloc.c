/* SPDX-License-Identifier: MIT */
/* kernel/kmem.h on malloc: the sanitizer sees each object's bounds and its end, the count of free
 * bytes is exact, and allocations can be made to fail. (kernel/kmem.c has a test of its own.) */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "kernel/kmem.h"
#include "tests/host/machine.h"

#define BUCKETS 4096

struct block {
    struct block *next;
    void *p;
    size_t bytes;
};

static struct block *buckets[BUCKETS];
static u64 total, used;
static u64 limit = 64ull << 20;
static u32 fail_after = ~0u, allocations;
static u64 lowest_stack = ~0ull;

void host_fail_after(u32 n)
{
    fail_after = n;
}

bool host_should_fail(void)
{
    allocations++;
    return fail_after != ~0u && fail_after-- == 0;
}

u32 host_allocations(void)
{
    return allocations;
}

u64 host_lowest_stack(void)
{
    u64 lowest = lowest_stack;

    lowest_stack = ~0ull;
    return lowest;
}

void host_kmem_limit(u64 bytes)
{
    limit = bytes;
}

static struct block **find(const void *p)
{
    struct block **at = &buckets[((u64)p >> 5) % BUCKETS];

    while (*at && (*at)->p != p) {
        at = &(*at)->next;
    }
    return at;
}

static u64 rounded(size_t bytes)
{
    u64 size = 32;

    while (size < bytes) {
        size <<= 1;
    }
    return size;
}

void kmem_init(const struct boot_range *pool, u32 count)
{
    (void)pool;
    (void)count;
    total = 256ull << 20;
}

void *kmem_alloc(size_t bytes)
{
    void *p = NULL;
    struct block *b;
    size_t alignment = bytes > PAGE_SIZE ? PAGE_SIZE : rounded(bytes);

    host_preempt();
    if (host_should_fail() || rounded(bytes) > (4u << 20) || used + bytes > limit) {
        return NULL;
    }
    if (posix_memalign(&p, alignment, bytes) || !(b = malloc(sizeof(*b)))) {
        abort();
    }
    memset(p, 0, bytes);
    *b = (struct block){NULL, p, bytes};
    *find(p) = b;
    used += bytes;
    return p;
}

void kmem_free(void *p)
{
    struct block **at, *b;
    u64 here = (u64)__builtin_frame_address(0);

    if (!p) {
        return;
    }
    host_preempt();
    lowest_stack = MIN(lowest_stack, here);
    at = find(p);
    b = *at;
    if (!b) {
        host_fail("kmem_free", 0, "%p was not allocated", p);
    }
    CHECK(!host_is_root(arch_pool_hpa(p).v));
    *at = b->next;
    used -= b->bytes;
    memset(p, 0xa5, b->bytes);
    free(b);
    free(p);
}

hpa_t kmem_page_alloc(void)
{
    void *p = kmem_alloc(PAGE_SIZE);

    return p ? arch_pool_hpa(p) : HPA(0);
}

void kmem_page_free(hpa_t page)
{
    kmem_free(arch_pool_ptr(page));
}

void *kmem_alloc_boot(u64 bytes)
{
    void *p = calloc(1, bytes);

    return p ? p : (abort(), NULL);
}

u64 kmem_total_bytes(void)
{
    return total;
}

u64 kmem_free_object_bytes(void)
{
    return 0; /* all memory counts alike here */
}

u64 kmem_free_bytes(void)
{
    return total - used;
}

bool kmem_owns(hpa_t page)
{
    const struct block *b = *find(arch_pool_ptr(page));

    return b && b->bytes >= PAGE_SIZE;
}
