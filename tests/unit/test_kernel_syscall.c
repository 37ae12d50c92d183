/* SPDX-License-Identifier: MIT */
/* Every system call with every kind of wrong argument: the error that kernel/abi.h promises, and
 * nothing has changed. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/memory.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "lib/pagetable.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define MAP_AT  0x50000000ull
#define RO_AT   0x60000000ull /* a page that can be read only, and nothing behind it */
#define EDGE_AT 0x70000000ull /* a writable page, and nothing behind it */
#define FREE_AT 0x80000000ull
#define BUDGET  (1ull << 20)

/* One handle of each type with all rights, in this order from `first` on; then the same without
 * any. */
enum kind { SYSTEM, PROCESS, THREAD, MEMORY, EVENT, VM, VCPU, KINDS };
static u64 full[KINDS], bare[KINDS];

static void idle_thread(u64 arg)
{
    SYS(SYS_EVENT_WAIT, arg, 1, 0);
}

static void make_objects(void)
{
    full[SYSTEM] = HANDLE_SYSTEM;
    full[PROCESS] = (u64)sys_process_new("child", BUDGET, BUDGET, 0, 0);
    full[EVENT] = (u64)SYS(SYS_EVENT_CREATE);
    full[THREAD] = (u64)sys_thread_new(0, idle_thread, full[EVENT], MANAGER_STACK_TOP - 0x2000);
    full[MEMORY] = (u64)SYS(SYS_MEMORY_CREATE, 4 * PAGE_SIZE);
    full[VM] = (u64)sys_vm_new("guest", 2, 0);
    full[VCPU] = (u64)SYS(SYS_VCPU_CREATE, full[VM], 0);
    for (u32 i = 0; i < KINDS; i++) {
        CHECK((s64)full[i] > 0);
        bare[i] = (u64)SYS(SYS_HANDLE_GRANT, 0, full[i], 0);
        CHECK((s64)bare[i] > 0);
    }
    CHECK_EQUAL(sys_map(0, full[MEMORY], 0, RO_AT, PAGE_SIZE, MAP_READ), 0);
    CHECK_EQUAL(sys_map(0, full[MEMORY], PAGE_SIZE, EDGE_AT, PAGE_SIZE, MAP_READ | MAP_WRITE), 0);
}

/* What an error must not change. */
struct snapshot {
    struct process_info me, child;
    u32 handles, objects, regions;
    u64 kmem;
};

static void take_snapshot(struct snapshot *s)
{
    memset(s, 0, sizeof(*s));
    const struct process *p = cpu_this()->current->process;
    for (u32 i = 0; i < p->handle_limit; i++) {
        s->handles += p->handles[i].object != NULL;
    }
    for (const struct process *q = process_list; q; q = q->next) {
        s->objects++;
        for (u32 i = 0; q->aspace && i < q->aspace->region_count; i++) {
            s->regions += q->aspace->regions[i].bytes != 0;
        }
    }
    for (const struct memory *m = memory_list; m; m = m->next) {
        s->objects++;
    }
    CHECK_EQUAL(sys_info(0, &s->me), 0);
    CHECK_EQUAL(sys_info(full[PROCESS], &s->child), 0);
    s->me.run_tsc = s->child.run_tsc = 0;
}

/* One call that must fail and leave all as it was. */
static void expect(const char *what, u64 number, struct user_args args, s64 error)
{
    struct snapshot before, after;

    take_snapshot(&before);
    s64 result = user_call(number, args);
    if (result != error) {
        host_fail(__FILE__, __LINE__,
                  "%s, call %llu (0x%llx, 0x%llx, 0x%llx, 0x%llx): %lld, not %lld", what,
                  (unsigned long long)number, (unsigned long long)args.a[0],
                  (unsigned long long)args.a[1], (unsigned long long)args.a[2],
                  (unsigned long long)args.a[3], (long long)result, (long long)error);
    }
    take_snapshot(&after);
    if (memcmp(&before, &after, sizeof(before))) {
        host_fail(__FILE__, __LINE__, "%s, call %llu: something has changed", what,
                  (unsigned long long)number);
    }
}

#define EXPECT(what, number, error, ...)                                                           \
    expect(what, number, (struct user_args){{__VA_ARGS__}}, error)

/* --- numbers --- */

static void manager_numbers(u64 arg)
{
    (void)arg;
    make_objects();
    EXPECT("number", SYS_COUNT, E_NO_SYSCALL, 0);
    EXPECT("number", SYS_COUNT + 1, E_NO_SYSCALL, 0);
    EXPECT("number", ~0ull, E_NO_SYSCALL, 0);
    EXPECT("number", 1ull << 32, E_NO_SYSCALL, 0);
    EXPECT("number", 1ull << 63 | SYS_EVENT_CREATE, E_NO_SYSCALL, 0);
    SYS(SYS_EVENT_SIGNAL, full[EVENT], 1);
}

MACHINE_TEST(test_numbers, manager_numbers)

/* --- handles --- */

/* Somewhere that is good memory. */
#define GOOD (MANAGER_STACK_TOP - 0x3000)

/* Calls whose argument `at` is a handle of a type, which needs `right`; all else is good. */
static const struct handle_call {
    u32 number, at;
    enum kind kind;
    u64 right;
    bool any_type, zero_ok;
    u64 a[5];
} handle_calls[] = {
    {SYS_HANDLE_CLOSE,  0, SYSTEM,  0,             true,  false, {0}                               },
    {SYS_HANDLE_GRANT,  0, PROCESS, RIGHT_CONTROL, false, true,  {0, HANDLE_SYSTEM, 0}             },
    {SYS_HANDLE_GRANT,  1, EVENT,   RIGHT_GRANT,   true,  false, {0}                               },
    {SYS_PROCESS_KILL,  0, PROCESS, RIGHT_CONTROL, false, false, {0}                               },
    {SYS_PROCESS_INFO,  0, PROCESS, RIGHT_READ,    false, true,  {0, GOOD}                         },
    {SYS_THREAD_CREATE, 0, PROCESS, RIGHT_CONTROL, false, true,  {0, GOOD}                         },
    {SYS_THREAD_SET,    0, THREAD,  RIGHT_CONTROL, false, false, {0, 100, 1}                       },
    {SYS_MEMORY_UNMAP,  0, PROCESS, RIGHT_CONTROL, false, true,  {0, MAP_AT, PAGE_SIZE}            },
    {SYS_EVENT_SIGNAL,  0, EVENT,   RIGHT_WRITE,   false, false, {0, 2}                            },
    {SYS_EVENT_WAIT,    0, EVENT,   RIGHT_READ,    false, false, {0, 2, 1}                         },
    {SYS_VM_MEMORY,     0, VM,      RIGHT_CONTROL, false, false, {0, 0, PAGE_SIZE}                 },
    {SYS_VM_STATS,      0, VM,      RIGHT_READ,    false, false, {0, GOOD}                         },
    {SYS_VCPU_CREATE,   0, VM,      RIGHT_CONTROL, false, false, {0, 1}                            },
    {SYS_VCPU_RUN,      0, VCPU,    RIGHT_CONTROL, false, false, {0}                               },
    {SYS_VCPU_GET,      0, VCPU,    RIGHT_CONTROL, false, false, {0, GOOD, VCPU_STATE_GPR}         },
    {SYS_VCPU_SET,      0, VCPU,    RIGHT_CONTROL, false, false, {0, GOOD, VCPU_STATE_GPR}         },
    {SYS_VCPU_REPORT,   0, VCPU,    RIGHT_CONTROL, false, false, {0, GOOD}                         },
    {SYS_VCPU_INJECT,   0, VCPU,    RIGHT_CONTROL, false, false, {0, 0, VCPU_INJECT_NMI}           },
    {SYS_VM_INTERRUPT,  0, VM,      RIGHT_CONTROL, false, false, {0, 0xfee00000, 0x40}             },
    {SYS_VM_LINE,       0, VM,      RIGHT_CONTROL, false, false, {0, 1}                            },
    {SYS_VCPU_APIC,     0, VCPU,    RIGHT_CONTROL, false, false, {0, 0x30}                         },
    {SYS_CONSOLE_WRITE, 0, SYSTEM,  RIGHT_WRITE,   false, false, {0, GOOD, 1}                      },
    {SYS_PORT,          0, SYSTEM,  RIGHT_EXEC,    false, false, {0, 0x60}                         },
    {SYS_IRQ,           0, SYSTEM,  RIGHT_EXEC,    false, false, {0, 0, 1}                         },
    {SYS_SYSTEM_INFO,   0, SYSTEM,  RIGHT_READ,    false, false, {0, SYSTEM_SUMMARY, 0, GOOD, 4096}},
    {SYS_SYSTEM_POWER,  0, SYSTEM,  RIGHT_CONTROL, false, false, {0, POWER_HALT}                   },
};

static void manager_handles(u64 arg)
{
    static const u64 bad[] = {0, 200, 255, 256, 257, 0xffff, ~0u, ~0ull, 1ull << 63};

    (void)arg;
    make_objects();
    for (u32 i = 0; i < ARRAY_SIZE(handle_calls); i++) {
        const struct handle_call *c = &handle_calls[i];
        struct user_args args;

        memcpy(&args, c->a, sizeof(args));
        for (u32 k = c->zero_ok ? 1 : 0; k < ARRAY_SIZE(bad); k++) {
            args.a[c->at] = bad[k];
            expect("bad handle", c->number, args, E_HANDLE);
        }
        args.a[c->at] = full[c->kind] | 1ull << 32; /* not cut to 32 bits */
        expect("handle in 64 bits", c->number, args, E_HANDLE);
        for (u32 k = 0; k < KINDS && !c->any_type; k++) {
            args.a[c->at] = full[k];
            if (k != c->kind) {
                expect("handle of another type", c->number, args, E_HANDLE);
            }
        }
        if (!c->right) {
            continue;
        }
        args.a[c->at] = bare[c->kind];
        expect("handle without rights", c->number, args, E_RIGHTS);
        s64 most = SYS(SYS_HANDLE_GRANT, 0, full[c->kind], RIGHTS_ALL & ~c->right);
        args.a[c->at] = (u64)most;
        expect("handle without the right", c->number, args, E_RIGHTS);
        SYS(SYS_HANDLE_CLOSE, (u64)most);
    }
    SYS(SYS_EVENT_SIGNAL, full[EVENT], 1);
}

MACHINE_TEST(test_handles, manager_handles)

/* --- pointers --- */

/* Calls whose argument `at` is an address of `bytes`, read or written by the kernel. */
static const struct pointer_call {
    u32 number, at;
    u64 bytes;
    bool write;
    enum kind first; /* KINDS: argument 0 is as given */
    u64 a[5];
} pointer_calls[] = {
    {SYS_PROCESS_CREATE, 0, sizeof(struct process_args),     false, KINDS,   {0}                        },
    {SYS_PROCESS_INFO,   1, sizeof(struct process_info),     true,  PROCESS, {0}                        },
    {SYS_THREAD_CREATE,  1, sizeof(struct thread_args),      false, PROCESS, {0}                        },
    {SYS_MEMORY_MAP,     0, sizeof(struct map_args),         false, KINDS,   {0}                        },
    {SYS_VM_CREATE,      0, sizeof(struct vm_args),          false, KINDS,   {0}                        },
    {SYS_VM_STATS,       1, sizeof(struct vm_stats),         true,  VM,      {0}                        },
    {SYS_VCPU_GET,       1, sizeof(struct vcpu_state),       true,  VCPU,    {0, 0, VCPU_STATE_ALL}     },
    {SYS_VCPU_SET,       1, 18 * sizeof(u64),                false, VCPU,    {0, 0, VCPU_STATE_GPR}     },
    {SYS_VCPU_REPORT,    1, VCPU_REPORT_BYTES,               true,  VCPU,    {0}                        },
    {SYS_CONSOLE_WRITE,  1, 100,                             false, SYSTEM,  {0, 0, 100}                },
    {SYS_SYSTEM_INFO,
     3,                     sizeof(struct system_summary),
     true,                                                          SYSTEM,
     {0, SYSTEM_SUMMARY, 0, 0, 4096}                                                                    },
    {SYS_SYSTEM_INFO,    3, sizeof(struct system_cpu),       true,  SYSTEM,  {0, SYSTEM_CPU, 0, 0, 4096}},
    {SYS_SYSTEM_INFO,
     3,                     sizeof(struct system_module),
     true,                                                          SYSTEM,
     {0, SYSTEM_MODULE, 1, 0, 4096}                                                                     },
    {SYS_SYSTEM_INFO,
     3,                     sizeof(struct isolation_report),
     true,                                                          SYSTEM,
     {0, SYSTEM_ISOLATION, 0, 0, 4096}                                                                  },
    {SYS_SYSTEM_INFO,
     3,                     sizeof(struct system_test),
     true,                                                          SYSTEM,
     {0, SYSTEM_SELF_TEST, 0, 0, 4096}                                                                  },
};

static void manager_pointers(u64 arg)
{
    (void)arg;
    make_objects();
    for (u32 i = 0; i < ARRAY_SIZE(pointer_calls); i++) {
        const struct pointer_call *c = &pointer_calls[i];
        const u64 bad[] = {
            0,
            8,
            0xfff,
            FREE_AT,
            EDGE_AT - 1,
            EDGE_AT + PAGE_SIZE - 1, /* the rest is not there */
            EDGE_AT + PAGE_SIZE - c->bytes + 1,
            MANAGER_STACK_TOP - c->bytes + 1,
            USER_TOP - 1,
            USER_TOP,
            (1ull << 47) - 8,
            1ull << 47,
            0xffff800000000000ull,
            BOOT_PHYSMAP,
            BOOT_KERNEL_BASE,
            ~0ull,
            ~0ull - c->bytes + 1,
            c->write ? RO_AT : FREE_AT,
        };
        struct user_args args;

        memcpy(&args, c->a, sizeof(args));
        if (c->first != KINDS) {
            args.a[0] = full[c->first];
        }
        for (u32 k = 0; k < ARRAY_SIZE(bad); k++) {
            args.a[c->at] = bad[k];
            expect("bad address", c->number, args, E_FAULT);
        }
        if (c->write) {
            /* right up to the end is good, at any alignment */
            args.a[c->at] = EDGE_AT + PAGE_SIZE - c->bytes;
            CHECK(user_call(c->number, args) >= 0);
            args.a[c->at] = EDGE_AT + 1;
            CHECK(user_call(c->number, args) >= 0);
        }
    }
    SYS(SYS_EVENT_SIGNAL, full[EVENT], 1);
}

MACHINE_TEST(test_pointers, manager_pointers)

/* --- devices --- */

static void manager_devices(u64 arg)
{
    const u64 other = (u64)SYS(SYS_EVENT_CREATE), system = HANDLE_SYSTEM;

    (void)arg;
    make_objects();
    for (u64 port = 0; port < 0x500; port++) { /* the console's and the keyboard's alone */
        bool known = port == 0x60 || port == 0x64 || (port >= 0x3f8 && port < 0x400);
        CHECK_EQUAL(SYS(SYS_PORT, system, PORT_WRITE | port, 0x1ae), known ? 0 : E_RIGHTS);
        CHECK_EQUAL(SYS(SYS_PORT, system, port), known ? 0xae : E_RIGHTS);
    }
    for (u64 c = 0; c < 0x100; c++) { /* of the 8042's commands none that resets, or sets A20 */
        bool known = c == 0x20 || c == 0x60 || c == 0xa7 || c == 0xad || c == 0xae;
        CHECK_EQUAL(SYS(SYS_PORT, system, PORT_WRITE | 0x64, c), known ? 0 : E_RIGHTS);
    }
    EXPECT("port", SYS_PORT, E_RIGHTS, system, 1ull << 32 | 0x60);
    EXPECT("port", SYS_PORT, E_RIGHTS, system, 1ull << 63 | 0x60);
    for (u64 line = 0; line < 40; line += line == 0 || line == 3 ? 2 : 1) { /* not 1, not 4 */
        EXPECT("line", SYS_IRQ, E_RIGHTS, system, other, line);
    }
    EXPECT("event", SYS_IRQ, E_HANDLE, system, full[MEMORY], 1);
    EXPECT("event", SYS_IRQ, E_RIGHTS, system, bare[EVENT], 1);
    kernel_irq(1); /* nobody has asked for it */
    CHECK_EQUAL(SYS(SYS_IRQ, system, full[EVENT], 1), 0);
    kernel_irq(1);
    kernel_irq(4);
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, full[EVENT], ~(1ull << 63), 1), IRQ_BIT(1));
    EXPECT("line", SYS_IRQ, E_BUSY, system, other, 1); /* who asked first has it */
    CHECK_EQUAL(SYS(SYS_IRQ, system, other, 4), 0);
    kernel_irq(4);
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, other, ~(1ull << 63), 1), IRQ_BIT(4));
    CHECK_EQUAL(SYS(SYS_EVENT_WAIT, full[EVENT], ~(1ull << 63), 1), E_TIMEOUT);
    SYS(SYS_HANDLE_CLOSE, other);
    kernel_irq(4); /* the line keeps the event */
    SYS(SYS_EVENT_SIGNAL, full[EVENT], 1);
}

MACHINE_TEST(test_devices, manager_devices)

/* --- structures --- */

#define SET(type, field, value, error)                                                             \
    do {                                                                                           \
        type changed = good;                                                                       \
        changed.field = (value);                                                                   \
        user_write(GOOD, &changed, sizeof(changed));                                               \
        expect(#type "." #field " = " #value, number, args, error);                                \
    } while (0)

static void check_process_args(void)
{
    const u32 number = SYS_PROCESS_CREATE;
    const struct user_args args = {{GOOD}};
    const struct process_args good = {"name", BUDGET, BUDGET, (handle_t)full[EVENT], 0, 1, 0};

    SET(struct process_args, name[0], 0, E_INVAL);
    SET(struct process_args, name[2], '\n', E_INVAL);
    SET(struct process_args, name[2], 127, E_INVAL);
    SET(struct process_args, name[2], (char)0x80, E_INVAL);
    SET(struct process_args, name[3], 0x1b, E_INVAL);
    SET(struct process_args, weight, 10001, E_INVAL);
    SET(struct process_args, weight, ~0u, E_INVAL);
    SET(struct process_args, event_bits, BIT(63), E_INVAL);
    SET(struct process_args, affinity, BIT(1), E_INVAL); /* there is one CPU */
    SET(struct process_args, affinity, ~1ull, E_INVAL);
    SET(struct process_args, event, 255, E_HANDLE);
    SET(struct process_args, event, ~0u, E_HANDLE);
    SET(struct process_args, event, (handle_t)full[MEMORY], E_HANDLE);
    SET(struct process_args, event, (handle_t)bare[EVENT], E_RIGHTS);
    SET(struct process_args, memory_bytes, ~0ull, E_NO_MEMORY);
    SET(struct process_args, memory_bytes, 1ull << 40, E_NO_MEMORY);
    SET(struct process_args, kernel_bytes, ~0ull, E_NO_MEMORY);
    SET(struct process_args, kernel_bytes, ~0ull - 4096, E_NO_MEMORY);
    SET(struct process_args, kernel_bytes, 0, E_NO_MEMORY);
    struct process_args long_name = good;
    memset(long_name.name, 'x', NAME_LEN); /* no end */
    user_write(GOOD, &long_name, sizeof(long_name));
    expect("name without end", number, args, E_INVAL);
}

static void check_thread_args(void)
{
    const u32 number = SYS_THREAD_CREATE;
    const struct user_args args = {
        {full[PROCESS], GOOD}
    };
    const struct thread_args good = {USER_BASE, USER_TOP, 0, 0, 0, 0};

    SET(struct thread_args, pad, 1, E_INVAL);
    SET(struct thread_args, weight, 10001, E_INVAL);
    SET(struct thread_args, weight, ~0u, E_INVAL);
    SET(struct thread_args, affinity, BIT(1), E_INVAL); /* there is one CPU */
    SET(struct thread_args, affinity, ~1ull, E_INVAL);
    SET(struct thread_args, entry, USER_TOP, E_INVAL);
    SET(struct thread_args, entry, 1ull << 47, E_INVAL);
    SET(struct thread_args, entry, 0xffff800000000000ull, E_INVAL);
    SET(struct thread_args, entry, ~0ull, E_INVAL);
    SET(struct thread_args, stack, USER_TOP + 1, E_INVAL);
    SET(struct thread_args, stack, 1ull << 63, E_INVAL);
}

static void check_map_args(void)
{
    const u32 number = SYS_MEMORY_MAP;
    const struct user_args args = {{GOOD}};
    const struct map_args good = {0, (handle_t)full[MEMORY], 0, MAP_AT, 2 * PAGE_SIZE, MAP_READ};

    SET(struct map_args, process, 255, E_HANDLE);
    SET(struct map_args, process, (handle_t)full[VM], E_HANDLE);
    SET(struct map_args, process, (handle_t)bare[PROCESS], E_RIGHTS);
    SET(struct map_args, source, 0, E_HANDLE);
    SET(struct map_args, source, ~0u, E_HANDLE);
    SET(struct map_args, source, (handle_t)full[EVENT], E_HANDLE);
    SET(struct map_args, source, (handle_t)full[VCPU], E_HANDLE);
    SET(struct map_args, source, (handle_t)bare[MEMORY], E_RIGHTS);
    SET(struct map_args, source, (handle_t)bare[VM], E_RIGHTS);
    SET(struct map_args, bytes, 0, E_INVAL);
    SET(struct map_args, bytes, 1, E_INVAL);
    SET(struct map_args, bytes, PAGE_SIZE + 1, E_INVAL);
    SET(struct map_args, bytes, 5 * PAGE_SIZE, E_INVAL); /* longer than the object */
    SET(struct map_args, bytes, ~0ull, E_INVAL);
    SET(struct map_args, bytes, ~PAGE_MASK, E_INVAL);
    SET(struct map_args, bytes, USER_TOP, E_INVAL);
    SET(struct map_args, offset, 1, E_INVAL);
    SET(struct map_args, offset, 3 * PAGE_SIZE, E_INVAL);
    SET(struct map_args, offset, 4 * PAGE_SIZE, E_INVAL);
    SET(struct map_args, offset, ~PAGE_MASK, E_INVAL);
    SET(struct map_args, offset, 0 - 2 * PAGE_SIZE, E_INVAL);
    SET(struct map_args, vaddr, 0, E_INVAL);
    SET(struct map_args, vaddr, USER_BASE - PAGE_SIZE, E_INVAL);
    SET(struct map_args, vaddr, MAP_AT + 8, E_INVAL);
    SET(struct map_args, vaddr, USER_TOP, E_INVAL);
    SET(struct map_args, vaddr, USER_TOP - PAGE_SIZE, E_INVAL); /* the second page is beyond */
    SET(struct map_args, vaddr, 1ull << 47, E_INVAL);
    SET(struct map_args, vaddr, 0xffff800000000000ull, E_INVAL);
    SET(struct map_args, vaddr, ~PAGE_MASK, E_INVAL);
    SET(struct map_args, flags, 0, E_INVAL);
    SET(struct map_args, flags, MAP_WRITE, E_INVAL);
    SET(struct map_args, flags, MAP_EXEC, E_INVAL);
    SET(struct map_args, flags, MAP_READ | MAP_WRITE | MAP_EXEC, E_INVAL);
    SET(struct map_args, flags, MAP_READ | BIT(3), E_INVAL);
    SET(struct map_args, flags, MAP_READ | BIT(32), E_INVAL);
    SET(struct map_args, flags, MAP_READ | BIT(63), E_INVAL);
    SET(struct map_args, vaddr, RO_AT, E_BUSY);
    SET(struct map_args, vaddr, RO_AT - PAGE_SIZE, E_BUSY);
    SET(struct map_args, vaddr, MANAGER_STACK_TOP - PAGE_SIZE, E_BUSY);
}

static void check_vm_args(void)
{
    const u32 number = SYS_VM_CREATE;
    const struct user_args args = {{GOOD}};
    const struct vm_args good = {.name = "guest", .cpus = 1};

    SET(struct vm_args, cpus, 0, E_INVAL);
    SET(struct vm_args, cpus, VM_MAX_CPUS + 1, E_INVAL);
    SET(struct vm_args, cpus, ~0u, E_INVAL);
    SET(struct vm_args, flags, VM_APICV << 1, E_INVAL);
    SET(struct vm_args, flags, ~0u, E_INVAL);
    SET(struct vm_args, payer, 255, E_HANDLE);
    SET(struct vm_args, payer, (handle_t)full[VM], E_HANDLE);
    SET(struct vm_args, payer, (handle_t)bare[PROCESS], E_RIGHTS);
}

static void manager_structures(u64 arg)
{
    (void)arg;
    make_objects();
    check_process_args();
    check_thread_args();
    check_map_args();
    check_vm_args();
    SYS(SYS_EVENT_SIGNAL, full[EVENT], 1);
}

MACHINE_TEST(test_structures, manager_structures)

/* --- values --- */

static void manager_values(u64 arg)
{
    (void)arg;
    make_objects();
    u64 p = full[PROCESS], t = full[THREAD], e = full[EVENT], v = full[VM], c = full[VCPU];
    const struct {
        u32 number;
        s64 error;
        u64 a[5];
    } rows[] = {
        {SYS_HANDLE_GRANT,  E_INVAL,     {p, e, RIGHTS_ALL + 1}                                         },
        {SYS_HANDLE_GRANT,  E_INVAL,     {p, e, BIT(32)}                                                },
        {SYS_HANDLE_GRANT,  E_INVAL,     {p, e, ~0ull}                                                  },
        {SYS_HANDLE_GRANT,  E_INVAL,     {p, p, RIGHTS_ALL}                                             }, /* a process that holds itself */
        {SYS_THREAD_SET,    E_INVAL,     {t, 0, 1}                                                      },
        {SYS_THREAD_SET,    E_INVAL,     {t, 10001, 1}                                                  },
        {SYS_THREAD_SET,    E_INVAL,     {t, 1ull << 32 | 100, 1}                                       },
        {SYS_THREAD_SET,    E_INVAL,     {t, 100, 0}                                                    },
        {SYS_THREAD_SET,    E_INVAL,     {t, 100, 2}                                                    },
        {SYS_THREAD_SET,    E_INVAL,     {t, 100, 1ull << 63}                                           },
        {SYS_MEMORY_CREATE, E_INVAL,     {0}                                                            },
        {SYS_MEMORY_CREATE, E_INVAL,     {1}                                                            },
        {SYS_MEMORY_CREATE, E_INVAL,     {PAGE_SIZE + 1}                                                },
        {SYS_MEMORY_CREATE, E_INVAL,     {MEMORY_MAX_BYTES + PAGE_SIZE}                                 },
        {SYS_MEMORY_CREATE, E_INVAL,     {~PAGE_MASK}                                                   },
        {SYS_MEMORY_UNMAP,  E_INVAL,     {0, RO_AT, 0}                                                  },
        {SYS_MEMORY_UNMAP,  E_INVAL,     {0, RO_AT + 1, PAGE_SIZE}                                      },
        {SYS_MEMORY_UNMAP,  E_INVAL,     {0, 0, PAGE_SIZE}                                              },
        {SYS_MEMORY_UNMAP,  E_INVAL,     {0, USER_TOP, PAGE_SIZE}                                       },
        {SYS_MEMORY_UNMAP,  E_INVAL,     {0, RO_AT, ~PAGE_MASK}                                         },
        {SYS_MEMORY_UNMAP,  E_NOT_FOUND, {0, MAP_AT, PAGE_SIZE}                                         },
        {SYS_MEMORY_UNMAP,  E_NOT_FOUND, {0, RO_AT, 2 * PAGE_SIZE}                                      },
        {SYS_MEMORY_UNMAP,  E_NOT_FOUND, {p, RO_AT, PAGE_SIZE}                                          }, /* mapped here, not there */
        {SYS_EVENT_SIGNAL,  E_INVAL,     {e, BIT(63)}                                                   },
        {SYS_EVENT_SIGNAL,  E_INVAL,     {e, ~0ull}                                                     },
        {SYS_EVENT_WAIT,    E_INVAL,     {e, 0, 1}                                                      },
        {SYS_EVENT_WAIT,    E_INVAL,     {e, BIT(63), 1}                                                },
        {SYS_EVENT_WAIT,    E_INVAL,     {e, ~0ull, 1}                                                  },
        {SYS_EVENT_WAIT,    E_TIMEOUT,   {e, ~0ull >> 1, 1}                                             },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 0, 0, 0}                                                   },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 1, PAGE_SIZE, 0}                                           },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 0, PAGE_SIZE - 1, 0}                                       },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 0, ~PAGE_MASK, 0}                                          },
        {SYS_VM_MEMORY,     E_INVAL,     {v, ~PAGE_MASK, PAGE_SIZE, 0}                                  },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 1ull << 38, PAGE_SIZE, 0}                                  },
        {SYS_VM_MEMORY,     E_INVAL,     {v, (1ull << 38) - PAGE_SIZE, 2 * PAGE_SIZE, 0}                },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 0, PAGE_SIZE, 2}                                           },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 0, PAGE_SIZE, BIT(32)}                                     },
        {SYS_VM_MEMORY,     E_INVAL,     {v, 0, PAGE_SIZE, BIT(32) | VM_MEMORY_LAZY}                    },
        {SYS_VCPU_CREATE,   E_INVAL,     {v, 2}                                                         }, /* it has two */
        {SYS_VCPU_CREATE,   E_INVAL,     {v, VM_MAX_CPUS}                                               },
        {SYS_VCPU_CREATE,   E_INVAL,     {v, ~0ull}                                                     },
        {SYS_VCPU_CREATE,   E_INVAL,     {v, 1ull << 32}                                                },
        {SYS_VCPU_CREATE,   E_BUSY,      {v, 0}                                                         },
        {SYS_VCPU_GET,      E_INVAL,     {c, GOOD, 0}                                                   },
        {SYS_VCPU_GET,      E_INVAL,     {c, GOOD, VCPU_STATE_ALL + 1}                                  },
        {SYS_VCPU_GET,      E_INVAL,     {c, GOOD, BIT(32)}                                             },
        {SYS_VCPU_SET,      E_INVAL,     {c, GOOD, 0}                                                   },
        {SYS_VCPU_SET,      E_INVAL,     {c, GOOD, ~0ull}                                               },
        {SYS_VCPU_INJECT,   E_INVAL,     {c, 32, BIT(2)}                                                },
        {SYS_VCPU_INJECT,   E_INVAL,     {c, 32, BIT(2) | VCPU_INJECT_NMI}                              },
        {SYS_VM_INTERRUPT,  E_INVAL,     {v, 0xfee00000, 1ull << 32}                                    },
        {SYS_VM_INTERRUPT,  E_INVAL,     {v, 0xfef00000, 0x40}                                          },
        {SYS_VM_INTERRUPT,  E_INVAL,     {v, ~0ull, 0x40}                                               },
        {SYS_VM_LINE,       E_INVAL,     {v, 2}                                                         },
        {SYS_VM_LINE,       E_INVAL,     {v, 1ull << 32}                                                },
        {SYS_VCPU_APIC,     E_INVAL,     {c, PAGE_SIZE}                                                 },
        {SYS_VCPU_APIC,     E_INVAL,     {c, 1ull << 32}                                                },
        {SYS_VCPU_APIC,     E_INVAL,     {c, 0x80, 1ull << 32}                                          },
        {SYS_VCPU_INJECT,   E_INVAL,     {c, 13, BIT(5)}                                                },
        {SYS_VCPU_INJECT,   E_INVAL,     {c, 13, BIT(63)}                                               },
        {SYS_VCPU_INJECT,   E_INVAL,     {c, 2, 0}                                                      }, /* an NMI is no exception */
        {SYS_VCPU_INJECT,   E_INVAL,     {c, 32, 0}                                                     },
        {SYS_VCPU_INJECT,   E_INVAL,     {c, ~0ull, 0}                                                  },
        {SYS_VCPU_INJECT,   E_INVAL,     {c, 13, VCPU_INJECT_ERROR_CODE, 1ull << 32}                    },
        {SYS_SYSTEM_INFO,   E_INVAL,     {1, SYSTEM_SELF_TEST + 1, 0, GOOD, 4096}                       },
        {SYS_SYSTEM_INFO,   E_INVAL,     {1, ~0ull, 0, GOOD, 4096}                                      },
        {SYS_SYSTEM_INFO,   E_INVAL,     {1, SYSTEM_SUMMARY, 0, GOOD, sizeof(struct system_summary) - 1}},
        {SYS_SYSTEM_INFO,   E_INVAL,     {1, SYSTEM_MODULE, 0, GOOD, sizeof(struct system_module) - 1}  },
        {SYS_SYSTEM_INFO,   E_INVAL,     {1, SYSTEM_SUMMARY, 0, GOOD, 0}                                },
        {SYS_SYSTEM_INFO,   E_NOT_FOUND, {1, SYSTEM_CPU, 1, GOOD, 4096}                                 },
        {SYS_SYSTEM_INFO,   E_NOT_FOUND, {1, SYSTEM_CPU, ~0ull, GOOD, 4096}                             },
        {SYS_SYSTEM_INFO,   E_NOT_FOUND, {1, SYSTEM_MODULE, 2, GOOD, 4096}                              },
        {SYS_SYSTEM_INFO,   E_NOT_FOUND, {1, SYSTEM_MODULE, 1ull << 32, GOOD, 4096}                     },
        {SYS_SYSTEM_INFO,   E_NOT_FOUND, {1, SYSTEM_SELF_TEST, 1, GOOD, 4096}                           },
        {SYS_SYSTEM_INFO,   E_NOT_FOUND, {1, SYSTEM_SELF_TEST, 1ull << 32, GOOD, 4096}                  },
        {SYS_SYSTEM_POWER,  E_INVAL,     {1, POWER_PANIC + 1}                                           },
        {SYS_SYSTEM_POWER,  E_INVAL,     {1, 1ull << 32}                                                },
    };
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        struct user_args args;
        memcpy(&args, rows[i].a, sizeof(args));
        expect("value", rows[i].number, args, rows[i].error);
    }
    /* more than all of RAM, piece by piece */
    s64 piece = 0, last = 0;
    while ((piece = SYS(SYS_MEMORY_CREATE, MEMORY_MAX_BYTES)) > 0) {
        last = piece;
    }
    CHECK_EQUAL(piece, E_NO_MEMORY);
    CHECK(last > 0);
    while (last && SYS(SYS_HANDLE_CLOSE, (u64)last) == E_OK) {
        last--; /* the handles were given in order */
        if (last <= (s64)MAX(MAX(v, c), MAX(e, t))) {
            break;
        }
    }
    SYS(SYS_EVENT_SIGNAL, e, 1);
}

MACHINE_TEST(test_values, manager_values)

static void manager_without_virt(u64 arg)
{
    (void)arg;
    CHECK_EQUAL(sys_vm_new("guest", 1, 0), E_UNSUPPORTED);
}

MACHINE_TEST(test_no_virtualization, manager_without_virt, .no_virt = true)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),           cmocka_unit_test(test_handles),
        cmocka_unit_test(test_pointers),          cmocka_unit_test(test_devices),
        cmocka_unit_test(test_structures),        cmocka_unit_test(test_values),
        cmocka_unit_test(test_no_virtualization),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
