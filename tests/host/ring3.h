/* SPDX-License-Identifier: MIT */
/* Ring 3 of the fake machine: programs are C functions, started at addresses that stand for them.
 * They reach their memory and the kernel only through what is here. */
#ifndef TESTS_HOST_RING3_H
#define TESTS_HOST_RING3_H

#include "kernel/abi.h"
#include "lib/types.h"

struct vcpu;

typedef void (*user_fn)(u64 arg);

/* The manager's stack, as kernel/main.c makes it. */
#define MANAGER_STACK_TOP   (USER_TOP - PAGE_SIZE)
#define MANAGER_STACK_BYTES 65536ull

/* An address that ring 3 starts at to run fn; the same one for the same function. */
u64 user_code(user_fn fn);

/* Where ring 3 begins. */
NORETURN void ring3_main(u64 rip, u64 rsp, u64 rdi);

struct user_args {
    u64 a[5];
};

s64 user_call(u64 number, struct user_args args);
#define SYS(number, ...) user_call(number, (struct user_args){{__VA_ARGS__}})

/* An access by the program itself: a fault goes to the kernel, and may end the process. */
void user_read(u64 va, void *p, u64 bytes);
void user_write(u64 va, const void *p, u64 bytes);
u64 user_read64(u64 va);
void user_write64(u64 va, u64 value);
void user_exec(u64 va);

/* Would an access (PT_READ, PT_WRITE, PT_EXEC) go without a fault? */
bool user_can(u64 va, u32 access);

/* The vCPU behind a handle of the calling process. */
struct vcpu *vcpu_of(s64 handle);

/* Copies an argument to the stack of the calling thread, at `slot` KiB below its top; returns
 * where. */
u64 user_arg(u32 slot, const void *p, u64 bytes);

/* Any other exception, by vector. */
void user_exception(u32 vector);

/* --- system calls that take structures --- */

s64 sys_process_new(const char *name, u64 memory_bytes, u64 kernel_bytes, u64 event, u64 bits);
s64 sys_thread_new(u64 process, user_fn fn, u64 arg, u64 stack);
s64 sys_thread_pinned(u64 process, user_fn fn, u64 arg, u64 stack, u64 affinity, u32 weight);
s64 sys_map(u64 process, u64 source, u64 offset, u64 vaddr, u64 bytes, u64 flags);
s64 sys_vm_new(const char *name, u32 cpus, u64 payer);
s64 sys_run(u64 vcpu, u64 flags, u64 value, struct vcpu_exit *out);
s64 sys_info(u64 process, struct process_info *out);
s64 sys_report(struct isolation_report *out);
/* It must find nothing wrong. */
void user_check_report(void);
void user_close(s64 handle); /* of the manager */

/* Waits until a process has ended; its status. */
s64 user_wait_end(u64 process, struct process_info *out);

#endif
