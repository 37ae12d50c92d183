/* SPDX-License-Identifier: MIT */
/* Virtual machines and vCPUs as ring 3 sees them: RAM and who pays, binding, exits and how they are
 * completed, injection, ends in every order. */
/* HARNESS: kernel */
/* SOURCES: KERNEL_HOST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/frame.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "tests/host/backend.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define BUDGET    (1ull << 20)
#define STACK_TOP (MANAGER_STACK_TOP - 0x2000)

static struct vm_stats stats_of(s64 vm)
{
    struct vm_stats s = {0};
    u64 at = user_arg(2, &s, sizeof(s));

    CHECK_EQUAL(SYS(SYS_VM_STATS, (u64)vm, at), 0);
    user_read(at, &s, sizeof(s));
    return s;
}

static s64 sys_state(u64 number, s64 vcpu, struct vcpu_state *s, u64 groups)
{
    u64 at = user_arg(4, s, sizeof(*s));
    s64 result = SYS(number, (u64)vcpu, at, groups);

    user_read(at, s, sizeof(*s));
    return result;
}

/* --- RAM --- */

static void manager_ram(u64 arg)
{
    struct process_info before = {0}, info = {0};

    (void)arg;
    CHECK_EQUAL(sys_info(0, &before), 0);
    s64 vm = sys_vm_new("guest", 1, 0);
    u64 frames = frame_free_bytes();
    static const struct {
        u64 gpa, bytes, flags;
        s64 result;
    } rows[] = {
        {0,                     0xa0000,    0,              0      },
        {0x100000,              0x300000,   0,              0      },
        {0x90000,               0x10000,    0,              E_BUSY },
        {0xa0000,               0x61000,    0,              E_BUSY },
        {0,                     1ull << 37, 0,              E_BUSY },
        {0x3ff000,              0x1000,     VM_MEMORY_LAZY, E_BUSY },
        {0x400000,              0x200000,   VM_MEMORY_LAZY, 0      },
        {0x600000,              0x200000,   0,              0      },
        {(1ull << 38) - 0x1000, 0x1000,     0,              0      },
        {0x1000000,             0x1000,     VM_MEMORY_LAZY, 0      },
        {0x2000000,             0x1000,     VM_MEMORY_LAZY, 0      },
        {0x3000000,             0x1000,     VM_MEMORY_LAZY, 0      },
        {0x4000000,             0x1000,     VM_MEMORY_LAZY, E_LIMIT},
    };
    u64 given = 0;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, rows[i].gpa, rows[i].bytes, rows[i].flags),
                    rows[i].result);
        given += rows[i].result || rows[i].flags ? 0 : rows[i].bytes;
        CHECK_EQUAL(frame_free_bytes(), frames - given);
        CHECK_EQUAL(stats_of(vm).memory_bytes, given);
        user_check_report();
    }
    CHECK_EQUAL(sys_info(0, &info), 0);
    CHECK_EQUAL(info.memory_bytes, before.memory_bytes + given);
    user_close(vm);
    CHECK_EQUAL(frame_free_bytes(), frames);
    CHECK_EQUAL(sys_info(0, &info), 0);
    CHECK_EQUAL(info.memory_bytes, before.memory_bytes);
    CHECK_EQUAL(info.kernel_bytes, before.kernel_bytes);
}

MACHINE_TEST(test_ram, manager_ram)
MACHINE_TEST(test_ram_with_small_leaves, manager_ram, .nested_leaf = 1)
MACHINE_TEST(test_ram_with_2m_leaves, manager_ram, .nested_leaf = 2)

/* Large blocks come as large leaves, whatever is free around them. */
static void manager_large(u64 arg)
{
    struct isolation_report r = {0};

    (void)arg;
    s64 vm = sys_vm_new("guest", 1, 0);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, 0, SIZE_1G + 2 * SIZE_2M + PAGE_SIZE, 0), 0);
    CHECK(sys_report(&r) > 0);
    CHECK_EQUAL(r.ept_leaves, 1 + 2 + 1);
    CHECK_EQUAL(r.ept_pages, (SIZE_1G + 2 * SIZE_2M + PAGE_SIZE) >> PAGE_SHIFT);
    CHECK_EQUAL(r.guest_pages, r.ept_pages);
    user_check_report();
}

MACHINE_TEST(test_large_leaves, manager_large, .ram_bytes = 4ull << 30)

/* Who pays: another process than the creator; and what it lacks is an error. */
static void manager_payer(u64 arg)
{
    struct process_info info = {0};

    (void)arg;
    s64 p = sys_process_new("payer", BUDGET, BUDGET, 0, 0);
    s64 vm = sys_vm_new("guest", 16, (u64)p);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, 0, BUDGET / 2, 0), 0);
    CHECK_EQUAL(sys_info((u64)p, &info), 0);
    CHECK_EQUAL(info.memory_bytes, BUDGET / 2);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, BUDGET, BUDGET, 0), E_NO_MEMORY);
    CHECK_EQUAL(sys_info((u64)p, &info), 0);
    CHECK(info.memory_bytes <= BUDGET);
    user_check_report();
    /* lazy memory beyond the budget: the guest is told at its touch, not the payer's limit broken
     */
    u32 n = 0;
    s64 v;
    while (n < 16 && (v = SYS(SYS_VCPU_CREATE, (u64)vm, n)) > 0) {
        user_close(v);
        n++;
    }
    CHECK_EQUAL(n, 16);
    /* the payer's end does not end the vm while somebody holds it */
    CHECK_EQUAL(SYS(SYS_PROCESS_KILL, (u64)p), 0);
    CHECK_EQUAL(sys_info((u64)p, &info), 0);
    CHECK(info.memory_bytes > 0);
    user_close(p);
    user_check_report();
    CHECK_EQUAL(stats_of(vm).memory_bytes, info.memory_bytes);
    user_close(vm);
    user_check_report();
}

MACHINE_TEST(test_payer, manager_payer)

static void touch_guest(struct vcpu *v, struct exit *x)
{
    x->kind = EXIT_NPF;
    x->npf.gpa = v->gpr[GPR_RBX];
    x->npf.access = VX_ACCESS_WRITE;
    v->gpr[GPR_RBX] += PAGE_SIZE;
}

static void manager_lazy(u64 arg)
{
    struct vcpu_exit x;

    (void)arg;
    backend_guest = touch_guest;
    s64 p = sys_process_new("payer", 10 * PAGE_SIZE, BUDGET, 0, 0);
    s64 vm = sys_vm_new("guest", 1, (u64)p);
    CHECK_EQUAL(SYS(SYS_VM_MEMORY, (u64)vm, 0, 100 * PAGE_SIZE, VM_MEMORY_LAZY), 0);
    s64 v = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_NO_MEMORY);
    CHECK_EQUAL(x.a, 10 * PAGE_SIZE);
    CHECK_EQUAL(stats_of(vm).memory_bytes, 10 * PAGE_SIZE);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE, 0, &x), E_INVAL);
    user_check_report();
    vcpu_of(v)->gpr[GPR_RBX] = 100 * PAGE_SIZE + 8;
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_MMIO);
    CHECK_EQUAL(x.a, 100 * PAGE_SIZE + 8);
    CHECK_EQUAL(x.b, VX_ACCESS_WRITE | VX_ACCESS_CODE64);
    vcpu_of(v)->gpr[GPR_RBX] = ~0ull;
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_MMIO);
    user_check_report();
}

MACHINE_TEST(test_lazy_ram, manager_lazy)

/* A move to or from a device, completed by ring 3: what it may say. */
static void manager_mmio(u64 arg)
{
    const u64 length = 3ull << VCPU_RUN_LENGTH_SHIFT, rcx = GPR_RCX << VCPU_RUN_GPR_SHIFT;
    struct vcpu_exit x;

    (void)arg;
    backend_guest = touch_guest;
    s64 vm = sys_vm_new("guest", 1, 0);
    s64 v = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    vcpu_of(v)->gpr[GPR_RBX] = SIZE_1G + 0x10;
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_MMIO);
    CHECK_EQUAL(x.a, SIZE_1G + 0x10);
    CHECK_EQUAL(x.gpr[GPR_RBX], SIZE_1G + PAGE_SIZE + 0x10); /* stored as they are at the exit */
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE, 0, &x), E_INVAL);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_VALUE | length, 0, &x), E_INVAL);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE | length | BIT(32), 0, &x), E_INVAL);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_FLAGS | length, 0, &x), E_INVAL);
    CHECK_EQUAL(sys_run((u64)v,
                        VCPU_RUN_ADVANCE | VCPU_RUN_VALUE | length | GPR_RSP << VCPU_RUN_GPR_SHIFT,
                        0, &x),
                E_INVAL);
    u64 rip = virt->read(vcpu_of(v), VIRT_RIP);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE | VCPU_RUN_VALUE | length | rcx, 0x1234, &x),
                VX_MMIO);
    CHECK_EQUAL(virt->read(vcpu_of(v), VIRT_RIP), rip + 3);
    CHECK_EQUAL(x.gpr[GPR_RCX], 0x1234);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE | length | rcx, 0x5678, &x), VX_MMIO);
    CHECK_EQUAL(x.gpr[GPR_RCX], 0x1234); /* no VALUE */
    /* of the flags, the arithmetic ones are taken */
    virt->write(vcpu_of(v), VIRT_RFLAGS, RFLAGS_FIXED | RFLAGS_DF | RFLAGS_ZF | RFLAGS_OF);
    u64 flags = (RFLAGS_CF | RFLAGS_TF | RFLAGS_IF | RFLAGS_OF) << VCPU_RUN_RFLAGS_SHIFT;
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE | VCPU_RUN_FLAGS | length | flags, 0, &x),
                VX_MMIO);
    CHECK_EQUAL(virt->read(vcpu_of(v), VIRT_RFLAGS),
                RFLAGS_FIXED | RFLAGS_DF | RFLAGS_CF | RFLAGS_OF);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE | length, 0, &x), VX_MMIO);
    CHECK_EQUAL(virt->read(vcpu_of(v), VIRT_RFLAGS),
                RFLAGS_FIXED | RFLAGS_DF | RFLAGS_CF | RFLAGS_OF);
}

MACHINE_TEST(test_mmio, manager_mmio)

/* --- exits --- */

static struct exit next_exit;

static void scripted_guest(struct vcpu *v, struct exit *x)
{
    (void)v;
    *x = next_exit;
}

/* Which answers are right after which exit. */
static void manager_answers(u64 arg)
{
    static const struct {
        struct exit exit;
        u64 kind, flags;
        s64 result;
    } rows[] = {
        {{.kind = EXIT_IO, .io = {0x60, 1, 0, true, false, false}},  VX_IO,            0,       0      },
        {{.kind = EXIT_IO, .io = {0x60, 1, 0, true, false, false}},  VX_IO,            1,       0      },
        {{.kind = EXIT_IO, .io = {0x60, 1, 0, true, false, false}},  VX_IO,            3,       0      },
        {{.kind = EXIT_IO, .io = {0x60, 1, 0, true, false, false}},  VX_IO,            2,       E_INVAL},
        {{.kind = EXIT_IO, .io = {0x60, 1, 0, true, false, false}},  VX_IO,            4,       E_INVAL},
        {{.kind = EXIT_IO, .io = {0x60, 1, 0, true, false, false}},  VX_IO,            BIT(63), E_INVAL},
        {{.kind = EXIT_IO, .io = {0x60, 1, 0, false, false, false}}, VX_IO,            3,       E_INVAL},
        {{.kind = EXIT_IO, .io = {0x60, 1, 8, true, true, true}},    VX_IO,            3,       E_INVAL},
        {{.kind = EXIT_IO, .io = {0x60, 1, 8, true, true, true}},    VX_IO,            1,       0      },
        {{.kind = EXIT_TRIPLE_FAULT},                                VX_TRIPLE_FAULT,  1,       E_INVAL},
        {{.kind = EXIT_TRIPLE_FAULT},                                VX_TRIPLE_FAULT,  0,       0      },
        {{.kind = EXIT_UNKNOWN},                                     VX_UNKNOWN,       1,       E_INVAL},
        {{.kind = EXIT_ENTRY_FAILURE},                               VX_ENTRY_FAILURE, 1,       E_INVAL},
    };
    struct vcpu_exit x;

    (void)arg;
    backend_guest = scripted_guest;
    s64 vm = sys_vm_new("guest", 1, 0), v = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    next_exit = rows[0].exit;
    /* before the first exit there is nothing to complete */
    u32 advances = backend.advances;
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE, 0, &x), E_INVAL);
    CHECK_EQUAL(backend.advances, advances);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        next_exit = rows[i].exit;
        CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), rows[i].kind);
        advances = backend.advances;
        u32 entries = backend.entries;
        s64 result = sys_run((u64)v, rows[i].flags, 7, &x);
        CHECK_EQUAL(result < 0 ? result : 0, rows[i].result);
        CHECK_EQUAL(backend.entries > entries, result >= 0);
        CHECK_EQUAL(backend.advances - advances, result >= 0 && rows[i].flags & 1);
    }
    /* an exit is completed once: the next one must come first */
    next_exit = rows[0].exit;
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)v, 0, VCPU_INJECT_KICK), 0);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE, 0, &x), VX_KICKED);
    CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE, 0, &x), E_INVAL);
}

MACHINE_TEST(test_answers, manager_answers)

/* The value of an IN goes into as much of RAX as the port is wide. */
static void manager_in_values(u64 arg)
{
    static const struct {
        u8 bytes;
        u64 before, value, after;
    } rows[] = {
        {1, 0x1111222233334444, ~0ull,                 0x11112222333344ff   },
        {2, 0x1111222233334444, 0xaaaabbbbccccddddull, 0x111122223333ddddull},
        {4, 0x1111222233334444, 0xaaaabbbbccccddddull, 0xccccddddull        },
        {1, ~0ull,              0x100,                 0xffffffffffffff00ull},
    };
    struct vcpu_exit x;

    (void)arg;
    backend_guest = scripted_guest;
    s64 vm = sys_vm_new("guest", 1, 0), v = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        next_exit = (struct exit){
            .kind = EXIT_IO, .io = {.port = 1, .bytes = rows[i].bytes, .in = true}
        };
        CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
        CHECK_EQUAL(x.a, 1 | (u64)rows[i].bytes << 16 | VX_IO_IN);
        vcpu_of(v)->gpr[GPR_RAX] = rows[i].before;
        CHECK_EQUAL(sys_run((u64)v, VCPU_RUN_ADVANCE | VCPU_RUN_VALUE, rows[i].value, &x), VX_IO);
        CHECK_EQUAL(vcpu_of(v)->gpr[GPR_RAX], rows[i].after);
    }
}

MACHINE_TEST(test_values_of_in, manager_in_values)

/* --- state and injection --- */

static void manager_state(u64 arg)
{
    struct vcpu_state s = {0}, t = {0};
    struct vcpu_exit x;

    (void)arg;
    s64 vm = sys_vm_new("guest", 2, 0), v = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    s64 w = SYS(SYS_VCPU_CREATE, (u64)vm, 1);
    CHECK_EQUAL(sys_state(SYS_VCPU_GET, v, &s, VCPU_STATE_ALL), 0);
    CHECK_EQUAL(s.rip, 0xfff0);
    s.rip = 0x1234;
    s.gpr[GPR_R15] = 99;
    CHECK_EQUAL(sys_state(SYS_VCPU_SET, v, &s, VCPU_STATE_GPR), 0);
    CHECK_EQUAL(sys_state(SYS_VCPU_GET, v, &t, VCPU_STATE_ALL), 0);
    CHECK_EQUAL(t.rip, 0x1234);
    CHECK_EQUAL(t.gpr[GPR_R15], 99);
    s.rflags = 0; /* no CPU can hold that */
    CHECK_EQUAL(sys_state(SYS_VCPU_SET, v, &s, VCPU_STATE_GPR), E_INVAL);
    /* groups that were not asked for are not touched */
    t = (struct vcpu_state){.cr3 = 5, .halted = 7};
    CHECK_EQUAL(sys_state(SYS_VCPU_GET, v, &t, VCPU_STATE_GPR), 0);
    CHECK(t.rip == 0x1234 && t.cr3 == 5 && t.halted == 7);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    /* a thread has one vCPU, a vCPU has one thread, from the first use on */
    CHECK_EQUAL(sys_state(SYS_VCPU_GET, w, &t, VCPU_STATE_ALL), E_BUSY);
    CHECK_EQUAL(SYS(SYS_VCPU_APIC, (u64)w, 0x30), E_BUSY);
    CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)w, 13, 0), E_BUSY);
    CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)w, 0, VCPU_INJECT_NMI), 0);
    CHECK_EQUAL(sys_run((u64)w, 0, 0, &x), E_BUSY);
    s64 other = SYS(SYS_HANDLE_GRANT, 0, (u64)v, RIGHTS_ALL);
    CHECK_EQUAL(sys_run((u64)other, 0, 0, &x), VX_IO);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
}

MACHINE_TEST(test_state, manager_state)

static s64 shared_vcpu;
static s64 results[4];
static u32 ran;

static void uses_foreign_vcpu(u64 arg)
{
    struct vcpu_state s = {0};
    struct vcpu_exit x;

    (void)arg;
    results[0] = sys_run((u64)shared_vcpu, 0, 0, &x);
    results[1] = sys_state(SYS_VCPU_GET, shared_vcpu, &s, VCPU_STATE_ALL);
    results[2] = SYS(SYS_VCPU_INJECT, (u64)shared_vcpu, 13, 0);
    results[3] = SYS(SYS_VCPU_INJECT, (u64)shared_vcpu, 0, VCPU_INJECT_KICK);
    ran = 1;
    SYS(SYS_EVENT_WAIT, (u64)SYS(SYS_EVENT_CREATE), 1, 0);
}

static void manager_binding(u64 arg)
{
    struct vcpu_exit x;

    (void)arg;
    s64 vm = sys_vm_new("guest", 1, 0);
    shared_vcpu = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    CHECK_EQUAL(sys_run((u64)shared_vcpu, 0, 0, &x), VX_IO);
    CHECK(sys_thread_new(0, uses_foreign_vcpu, 0, STACK_TOP) > 0);
    while (!ran) {
        host_spend(1000);
    }
    CHECK_EQUAL(results[0], E_BUSY);
    CHECK_EQUAL(results[1], E_BUSY);
    CHECK_EQUAL(results[2], E_BUSY);
    CHECK_EQUAL(results[3], 0);
    CHECK_EQUAL(sys_run((u64)shared_vcpu, 0, 0, &x), VX_KICKED);
}

MACHINE_TEST(test_binding, manager_binding)
MACHINE_TEST(test_binding_on_two_cpus, manager_binding, .cpus = 2)

/* Threads that use a vm and a vCPU by numbers whose objects come and go. */
static s64 closing_vm, closing_vcpu;
static u32 users_done;

static void uses_what_is_closed(u64 arg)
{
    struct vcpu_state s = {.rflags = RFLAGS_FIXED};

    for (u32 i = 0; i < 40; i++) {
        s64 vm = closing_vm, v = closing_vcpu;
        const s64 got[] = {
            SYS(SYS_VM_INTERRUPT, (u64)vm, APIC_PAGE, 0x31),
            SYS(SYS_VM_LINE, (u64)vm, i & 1),
            SYS(SYS_VCPU_INJECT, (u64)v, 0, i & 1 ? VCPU_INJECT_NMI : VCPU_INJECT_KICK),
            sys_state(i & 1 ? SYS_VCPU_SET : SYS_VCPU_GET, v, &s, VCPU_STATE_GPR),
            SYS(SYS_VCPU_APIC, (u64)v, 0x30),
        };
        for (u32 k = 0; k < ARRAY_SIZE(got); k++) {
            CHECK(got[k] >= 0 || got[k] == E_HANDLE || (k >= 3 && got[k] == E_BUSY));
        }
    }
    __atomic_fetch_add(&users_done, 1, __ATOMIC_SEQ_CST);
    SYS(SYS_EVENT_WAIT, arg, 1, 0);
}

static void manager_closes(u64 arg)
{
    s64 event = SYS(SYS_EVENT_CREATE);

    (void)arg;
    users_done = 0;
    for (u32 i = 0; i < 2; i++) {
        CHECK(sys_thread_new(0, uses_what_is_closed, (u64)event, STACK_TOP - 0x3000 * i) > 0);
    }
    while (users_done < 2) {
        closing_vm = sys_vm_new("guest", 1, 0);
        closing_vcpu = SYS(SYS_VCPU_CREATE, (u64)closing_vm, 0);
        host_spend(host_random() % 3000);
        user_close(closing_vm);
        host_spend(host_random() % 3000);
        user_close(closing_vcpu);
    }
}

MACHINE_TEST(test_closing, manager_closes, .cpus = 2)

static void test_closing_in_races(void **state)
{
    (void)state;
    assert_true(
        machine_test_races((struct machine_config){.manager = manager_closes, .cpus = 3}, 20));
}

/* What a thread is bound to it can use by a handle alone, of which 0 is none. */
static void manager_closes_its_own(u64 arg)
{
    struct vcpu_exit x;

    (void)arg;
    s64 vm = sys_vm_new("guest", 1, 0), v = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    user_close(v);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), E_HANDLE);
    CHECK_EQUAL(sys_run(0, 0, 0, &x), E_HANDLE);
}

MACHINE_TEST(test_closing_its_own, manager_closes_its_own, .cpus = 1)

static void manager_injects(u64 arg)
{
    struct vcpu_exit x;

    (void)arg;
    s64 vm = sys_vm_new("guest", 1, 0), v = SYS(SYS_VCPU_CREATE, (u64)vm, 0);
    CHECK_EQUAL(
        SYS(SYS_VCPU_INJECT, (u64)v, 14, VCPU_INJECT_ERROR_CODE | VCPU_INJECT_CR2, 6, 0x1234), 0);
    CHECK_EQUAL(vcpu_of(v)->cr2, 0x1234);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    CHECK_EQUAL(backend.last_event.vector, 14);
    CHECK_EQUAL(backend.last_event.error, 6);
    CHECK_EQUAL(backend.last_event.type, EVENT_HWEXC);
    /* two faults make a double fault, three end the guest */
    CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)v, 13, VCPU_INJECT_ERROR_CODE, 0), 0);
    CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)v, 13, VCPU_INJECT_ERROR_CODE, 0), 0);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    CHECK_EQUAL(backend.last_event.vector, 8);
    for (u32 i = 0; i < 3; i++) {
        CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)v, 13, VCPU_INJECT_ERROR_CODE, 0), 0);
    }
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_TRIPLE_FAULT);
    /* an interrupt waits for IF, an NMI does not */
    u32 injected = backend.injected;
    CHECK_EQUAL(SYS(SYS_VCPU_APIC, (u64)v, VCPU_APIC_WRITE | APIC_SVR, 0x1ff), 0);
    CHECK_EQUAL(SYS(SYS_VM_INTERRUPT, (u64)vm, APIC_PAGE, 0x31), 1);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    CHECK_EQUAL(backend.injected, injected);
    CHECK_EQUAL(SYS(SYS_VCPU_INJECT, (u64)v, 0, VCPU_INJECT_NMI), 0);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    CHECK_EQUAL(backend.last_event.type, EVENT_NMI);
    *backend_register(vcpu_of(v), VIRT_RFLAGS) |= RFLAGS_IF;
    CHECK_EQUAL(SYS(SYS_VM_INTERRUPT, (u64)vm, APIC_PAGE, 0x30), 1);
    CHECK_EQUAL(sys_run((u64)v, 0, 0, &x), VX_IO);
    CHECK_EQUAL(backend.last_event.vector, 0x31); /* the highest first */
}

MACHINE_TEST(test_injection, manager_injects)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ram),
        cmocka_unit_test(test_ram_with_small_leaves),
        cmocka_unit_test(test_ram_with_2m_leaves),
        cmocka_unit_test(test_large_leaves),
        cmocka_unit_test(test_payer),
        cmocka_unit_test(test_lazy_ram),
        cmocka_unit_test(test_mmio),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_values_of_in),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_binding_on_two_cpus),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_closing_in_races),
        cmocka_unit_test(test_closing_its_own),
        cmocka_unit_test(test_injection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
