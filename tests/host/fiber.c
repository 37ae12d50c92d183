/* SPDX-License-Identifier: MIT */
/* Coroutines: a switch of stacks as arch/x86/entry.asm has it (swapcontext makes system calls, and
 * the sanitizer does not like it). */
#include "tests/host/fiber.h"

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <stdint.h>
#include <stdlib.h>

void fiber_swap(void **save, void *load);
void fiber_start(void);

__asm__(".text\n"
        "fiber_swap:\n"
        "    push %rbx\n"
        "    push %rbp\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbp\n"
        "    pop %rbx\n"
        "    ret\n"
        "fiber_start:\n" /* R12 = the coroutine */
        "    mov %r12, %rdi\n"
        "    call fiber_main\n"
        "    ud2\n");

/* What fiber_swap() pops. */
struct saved {
    uint64_t r15, r14, r13, r12, rbp, rbx, rip;
};

void fiber_main(struct fiber *f);

__attribute__((used)) void fiber_main(struct fiber *f)
{
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
    f->entry(f->arg);
    abort();
}

void fiber_init(struct fiber *f, void *stack, size_t bytes, void (*entry)(void *), void *arg)
{
    struct saved *s = (struct saved *)((uintptr_t)((char *)stack + bytes) & ~15ull) - 1;

    __asan_unpoison_memory_region(stack, bytes); /* frames of who never returned here */
    *s = (struct saved){.r12 = (uintptr_t)f, .rip = (uintptr_t)fiber_start};
    *f = (struct fiber){.sp = s, .stack = stack, .bytes = bytes, .entry = entry, .arg = arg};
}

void fiber_init_main(struct fiber *f)
{
    pthread_attr_t attributes;

    *f = (struct fiber){0};
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &f->stack, &f->bytes);
    pthread_attr_destroy(&attributes);
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->bytes);
    fiber_swap(&from->sp, to->sp);
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
}
