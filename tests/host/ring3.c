/* SPDX-License-Identifier: MIT */
/* Ring 3 of the fake machine. */
#include "tests/host/ring3.h"

#include <string.h>

#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/vcpu.h"
#include "lib/pagetable.h"
#include "tests/host/machine.h"

#define PROGRAMS      64
#define CODE_STEP     16
#define SYSCALL_TICKS 200
#define PF            14
#define PF_WRITE      BIT(1)
#define PF_USER       BIT(2)
#define PF_FETCH      BIT(4)
#define RIP           0x123456789aull /* where every program seems to be */

static user_fn programs[PROGRAMS];
static u32 program_count;

u64 user_code(user_fn fn)
{
    u32 i = 0;

    while (i < program_count && programs[i] != fn) {
        i++;
    }
    CHECK(i < PROGRAMS);
    if (i == program_count) {
        programs[program_count++] = fn;
    }
    return USER_BASE + CODE_STEP * i;
}

/* An exception of ring 3; returns when the kernel has settled it. */
static void fault(u32 vector, u64 error, u64 address, u64 rip)
{
    kernel_user_fault(vector, error, address, rip);
    host_user_return();
}

void ring3_main(u64 rip, u64 rsp, u64 rdi)
{
    u64 index = (rip - USER_BASE) / CODE_STEP;

    (void)rsp;
    while (rip < USER_BASE || index >= program_count || rip % CODE_STEP) {
        fault(PF, PF_USER | PF_FETCH, rip, rip);
    }
    host_spend(SYSCALL_TICKS);
    programs[index](rdi);
    SYS(SYS_PROCESS_EXIT, 0);
    host_fail("ring3", 0, "an ended process goes on");
}

s64 user_call(u64 number, struct user_args args)
{
    struct syscall_frame f = {args.a[0], args.a[1], args.a[2], args.a[3], args.a[4],
                              0,         number,    RIP,       0x202,     0};

    host_spend(SYSCALL_TICKS);
    kernel_syscall(&f);
    host_user_return();
    return (s64)f.rax;
}

void user_exception(u32 vector)
{
    fault(vector, 0, 0, RIP);
}

static void *reach(u64 va, u32 access)
{
    for (;;) {
        void *p = host_translate(va, access);
        if (p) {
            return p;
        }
        fault(PF, PF_USER | (access & PT_WRITE ? PF_WRITE : 0) | (access & PT_EXEC ? PF_FETCH : 0),
              va, RIP);
    }
}

static void copy(u64 va, u8 *p, u64 bytes, bool write)
{
    while (bytes) {
        u64 n = MIN(bytes, PAGE_SIZE - (va & PAGE_MASK));
        void *page = reach(va, write ? PT_READ | PT_WRITE : PT_READ);
        memcpy(write ? page : p, write ? p : page, n);
        va += n;
        p += n;
        bytes -= n;
    }
}

void user_read(u64 va, void *p, u64 bytes)
{
    copy(va, p, bytes, false);
}

void user_write(u64 va, const void *p, u64 bytes)
{
    copy(va, (u8 *)p, bytes, true);
}

u64 user_read64(u64 va)
{
    u64 value;

    user_read(va, &value, sizeof(value));
    return value;
}

void user_write64(u64 va, u64 value)
{
    user_write(va, &value, sizeof(value));
}

void user_exec(u64 va)
{
    reach(va, PT_READ | PT_EXEC);
}

bool user_can(u64 va, u32 access)
{
    return host_translate(va, access) != NULL;
}

struct vcpu *vcpu_of(s64 handle)
{
    struct object *o = cpu_this()->current->process->handles[handle].object;

    return CONTAINER_OF(o, struct vcpu, object);
}

u64 user_arg(u32 slot, const void *p, u64 bytes)
{
    u64 va = cpu_this()->current->user_stack - 1024ull * (slot + 1);

    user_write(va, p, bytes);
    return va;
}

/* --- system calls --- */

s64 sys_process_new(const char *name, u64 memory_bytes, u64 kernel_bytes, u64 event, u64 bits)
{
    struct process_args args = {.memory_bytes = memory_bytes,
                                .kernel_bytes = kernel_bytes,
                                .event = (handle_t)event,
                                .event_bits = bits};

    strncpy(args.name, name, NAME_LEN - 1);
    return SYS(SYS_PROCESS_CREATE, user_arg(0, &args, sizeof(args)));
}

s64 sys_thread_pinned(u64 process, user_fn fn, u64 arg, u64 stack, u64 affinity, u32 weight)
{
    struct thread_args args = {user_code(fn), stack, arg, affinity, weight, 0};

    return SYS(SYS_THREAD_CREATE, process, user_arg(0, &args, sizeof(args)));
}

s64 sys_thread_new(u64 process, user_fn fn, u64 arg, u64 stack)
{
    return sys_thread_pinned(process, fn, arg, stack, 0, 0);
}

s64 sys_map(u64 process, u64 source, u64 offset, u64 vaddr, u64 bytes, u64 flags)
{
    struct map_args args = {(handle_t)process, (handle_t)source, offset, vaddr, bytes, flags};

    return SYS(SYS_MEMORY_MAP, user_arg(0, &args, sizeof(args)));
}

s64 sys_vm_new(const char *name, u32 cpus, u64 payer)
{
    struct vm_args args = {.cpus = cpus, .payer = (handle_t)payer};

    strncpy(args.name, name, NAME_LEN - 1);
    return SYS(SYS_VM_CREATE, user_arg(0, &args, sizeof(args)));
}

s64 sys_run(u64 vcpu, u64 flags, u64 value, struct vcpu_exit *out)
{
    const u64 none[GPR_COUNT] = {0};
    u64 gpr = user_arg(1, none, sizeof(none));
    struct syscall_frame f = {
        .rdi = vcpu, .rsi = flags, .rdx = value, .r10 = gpr, .rax = SYS_VCPU_RUN};

    host_spend(SYSCALL_TICKS);
    kernel_syscall(&f);
    host_user_return();
    *out = (struct vcpu_exit){
        .kind = f.rax, .a = f.rdi, .b = f.rsi, .c = f.rdx, .d = f.r8, .e = f.r9, .f = f.r10};
    user_read(gpr, out->gpr, sizeof(out->gpr));
    return (s64)f.rax;
}

s64 sys_info(u64 process, struct process_info *out)
{
    u64 va = user_arg(1, out, sizeof(*out));
    s64 result = SYS(SYS_PROCESS_INFO, process, va);

    user_read(va, out, sizeof(*out));
    return result;
}

s64 sys_report(struct isolation_report *out)
{
    u64 va = user_arg(1, out, sizeof(*out));
    s64 result = SYS(SYS_SYSTEM_INFO, HANDLE_SYSTEM, SYSTEM_ISOLATION, 0, va, sizeof(*out));

    user_read(va, out, sizeof(*out));
    return result;
}

void user_check_report(void)
{
    struct isolation_report r = {0};

    CHECK(sys_report(&r) > 0);
    CHECK_EQUAL(r.wrong_owner, 0);
    CHECK_EQUAL(r.ept_foreign, 0);
    CHECK_EQUAL(r.write_exec, 0);
    CHECK_EQUAL(r.process_foreign, 0);
    CHECK_EQUAL(r.kernel_maps_guest, 0);
}

void user_close(s64 handle)
{
    CHECK(handle > 0);
    CHECK_EQUAL(SYS(SYS_HANDLE_CLOSE, (u64)handle), 0);
}

s64 user_wait_end(u64 process, struct process_info *out)
{
    do {
        host_spend(HOST_SLICE / 10);
        s64 error = sys_info(process, out);
        if (error) {
            return error;
        }
    } while (out->end == PROCESS_RUNNING);
    return out->status;
}
