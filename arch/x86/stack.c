/* SPDX-License-Identifier: MIT */
/*
 * Kernel stacks, each in a slot of its own of the kernel's half, of which the lower part is never
 * mapped. A stack that is given back stays mapped and is used again, so no other CPU's TLB ever has
 * a translation to forget.
 */
#include "arch/x86/mmu.h"
#include "kernel/kmem.h"
#include "kernel/spinlock.h"
#include "lib/pagetable.h"

#define SLOT_BYTES (2 * KERNEL_STACK_BYTES)
#define SLOTS      (SIZE_1G / SLOT_BYTES)

struct free_stack {
    struct free_stack *next;
};

static struct spinlock lock;
static struct free_stack *free_stacks;
static u64 slots_used;
static u64 free_bytes; /* of free_stacks */
static u64 mapped;     /* bytes of the next slot, when memory ran out half way */

/* The next slot, with the pages at its top mapped. Lock held. */
static void *map_slot(u64 bytes)
{
    u64 top = KVA_STACKS + (slots_used + 1) * SLOT_BYTES;

    if (slots_used == SLOTS) {
        return NULL;
    }
    while (mapped < bytes) {
        hpa_t page = kmem_page_alloc();
        if (!page.v) {
            return NULL;
        }
        if (!mmu_map(top - mapped - PAGE_SIZE, page.v, PAGE_SIZE, PT_READ | PT_WRITE)) {
            kmem_page_free(page);
            return NULL;
        }
        mapped += PAGE_SIZE;
    }
    mapped = 0;
    slots_used++;
    return (void *)top;
}

void *stack_alloc(u64 bytes)
{
    spin_lock(&lock);
    void *top = map_slot(bytes);
    spin_unlock(&lock);
    return top;
}

void *arch_stack_alloc(void)
{
    void *top;

    spin_lock(&lock);
    struct free_stack *s = free_stacks;
    if (s) {
        free_stacks = s->next;
        free_bytes -= KERNEL_STACK_BYTES;
        top = s + 1;
    } else {
        top = map_slot(KERNEL_STACK_BYTES);
    }
    spin_unlock(&lock);
    return top;
}

void arch_stack_free(void *top)
{
    struct free_stack *s = (struct free_stack *)top - 1;

    spin_lock(&lock);
    s->next = free_stacks;
    free_stacks = s;
    free_bytes += KERNEL_STACK_BYTES;
    spin_unlock(&lock);
}

u64 arch_stack_free_bytes(void)
{
    return free_bytes;
}
