/* SPDX-License-Identifier: MIT */
/* Virtual machines and vCPUs from ring 3, used wrongly; and one that runs a few instructions. */
#include "tests/ring3/ring3.h"

#include "lib/hw/vmcs.h"
#include "lib/string.h"

#define WINDOW      (CHILD_FREE + 32 * SIZE_1G)
#define RAM         0x10000ull

#define FRESH_BYTES (2 * SIZE_2M)

static handle_t make_vm(struct child_page *page, u32 cpus)
{
    struct vm_args args = {.name = "test", .cpus = cpus};
    s64 h = sys_vm_create(&args);

    child_check(page, h > 0, "a vm: %ld", h);
    return h > 0 ? (handle_t)h : 0;
}

static void arguments(struct child_page *page)
{
    struct vm_args args = {.name = "test", .cpus = 0};
    struct vcpu_state state;
    struct vm_stats stats;
    struct vcpu_exit exit;
    handle_t vm, vcpu;

    EXPECT(page, sys_vm_create(&args), E_INVAL);
    args.cpus = VM_MAX_CPUS + 1;
    EXPECT(page, sys_vm_create(&args), E_INVAL);
    args.cpus = ~0u;
    EXPECT(page, sys_vm_create(&args), E_INVAL);
    args.cpus = 1;
    args.payer = 99;
    EXPECT(page, sys_vm_create(&args), E_HANDLE);
    vm = make_vm(page, 2);
    EXPECT(page, sys_vm_memory(vm, GPA(1), PAGE_SIZE, 0), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(0), PAGE_SIZE - 1, 0), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(0), 0, 0), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(-4096ull), PAGE_SIZE, 0), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(-4096ull), 2 * PAGE_SIZE, 0), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(1ull << 52), PAGE_SIZE, 0), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(0), 1ull << 50, VM_MEMORY_LAZY), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(0), PAGE_SIZE, 2), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(0), PAGE_SIZE, ~0ull), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(0), PAGE_SIZE, BIT(32)), E_INVAL);
    EXPECT(page, sys_vm_memory(vm, GPA(RAM), 4 * PAGE_SIZE, 0), 0);
    EXPECT(page, sys_vm_memory(vm, GPA(RAM + PAGE_SIZE), PAGE_SIZE, 0), E_BUSY);
    EXPECT(page, sys_vm_stats(vm, &stats), 0);
    EXPECT(page, (s64)stats.memory_bytes, 4 * PAGE_SIZE);
    EXPECT(page, sys_call(SYS_VM_STATS, vm, 0xffffffff80000000, 0, 0, 0, 0), E_FAULT);
    EXPECT(page, sys_vcpu_create(vm, 2), E_INVAL);
    EXPECT(page, sys_vcpu_create(vm, ~0ull), E_INVAL);
    EXPECT(page, sys_vcpu_create(vm, BIT(32)), E_INVAL);
    vcpu = (handle_t)sys_vcpu_create(vm, 0);
    child_check(page, (s64)sys_vcpu_create(vm, 0) < 0, "one vCPU twice");
    EXPECT(page, sys_vcpu_get(vcpu, &state, 0), E_INVAL);
    EXPECT(page, sys_vcpu_get(vcpu, &state, BIT(40)), E_INVAL);
    EXPECT(page, sys_call(SYS_VCPU_GET, vcpu, 0xffff800000000000, VCPU_STATE_ALL, 0, 0, 0),
           E_FAULT);
    EXPECT(page, sys_call(SYS_VCPU_SET, vcpu, 8, VCPU_STATE_ALL, 0, 0, 0), E_FAULT);
    EXPECT(page, sys_call(SYS_VCPU_REPORT, vcpu, 0xffff800000000000, 0, 0, 0, 0), E_FAULT);
    EXPECT(page, sys_call(SYS_VCPU_REPORT, vcpu, 8, 0, 0, 0, 0), E_FAULT);
    EXPECT(page, sys_vcpu_get(vcpu, &state, VCPU_STATE_ALL), 0);
    EXPECT(page, (s64)state.rip, 0xfff0);
    EXPECT(page, (s64)state.seg[SEG_CS].base, 0xffff0000);
    EXPECT(page, sys_vcpu_run(vcpu, ~0ull, 0, &exit), E_INVAL);
    EXPECT(page, sys_vcpu_run(vcpu, VCPU_RUN_ADVANCE, 0, &exit), E_INVAL);
    EXPECT(page, sys_vcpu_run(vcpu, VCPU_RUN_ADVANCE | VCPU_RUN_VALUE, 0, &exit), E_INVAL);
    EXPECT(page, sys_vcpu_inject(vcpu, 32, BIT(2), 0, 0), E_INVAL);
    EXPECT(page, sys_vm_interrupt(vm, 0xfee00000, BIT(32)), E_INVAL);
    EXPECT(page, sys_vm_interrupt(vm, 0xfed00000, 0x40), E_INVAL);
    EXPECT(page, sys_vm_interrupt(vm, ~0ull, 0x40), E_INVAL);
    EXPECT(page, sys_vm_interrupt(vm, 0xfee00000, 0x40), 0); /* its APIC is off */
    EXPECT(page, sys_vm_line(vm, 2), E_INVAL);
    EXPECT(page, sys_vm_line(vm, ~0ull), E_INVAL);
    EXPECT(page, sys_vm_line(vm, 0), 0);
    EXPECT(page, sys_vcpu_apic(vcpu, PAGE_SIZE, 0), E_INVAL);
    EXPECT(page, sys_vcpu_apic(vcpu, BIT(32), 0), E_INVAL);
    EXPECT(page, sys_vcpu_apic(vcpu, VCPU_APIC_WRITE | 0x80, BIT(32)), E_INVAL);
    EXPECT(page, sys_vcpu_apic(vcpu, 0x30, 0), 0x01050015);
    EXPECT(page, sys_vcpu_apic(vcpu, VCPU_APIC_WRITE | 0x80, 0x20), 0);
    EXPECT(page, sys_vcpu_apic(vcpu, 0x80, 0), 0x20);
    EXPECT(page, sys_vcpu_inject(vcpu, 32, VCPU_INJECT_EXCEPTION, 0, 0), E_INVAL);
    EXPECT(page, sys_vcpu_inject(vcpu, ~0ull, 0, 0, 0), E_INVAL);
    EXPECT(page, sys_vcpu_inject(vcpu, 13, ~0ull, 0, 0), E_INVAL);
    EXPECT(page, sys_vcpu_inject(vcpu, 13, VCPU_INJECT_ERROR_CODE, BIT(32), 0), E_INVAL);
    EXPECT(page, sys_handle_close(vcpu), 0);
    EXPECT(page, sys_vcpu_run(vcpu, 0, 0, &exit), E_HANDLE);
    EXPECT(page, sys_handle_close(vm), 0);
}

static s64 map_window(handle_t vm, u64 gpa, u64 bytes, u64 flags)
{
    struct map_args args = {0, vm, gpa, WINDOW, bytes, flags};

    return sys_memory_map(&args);
}

/* Fresh RAM is zero, in large leaves too, also when its frames were somebody's before. */
static void fresh(struct child_page *page)
{
    for (u32 round = 0; round < 2; round++) {
        handle_t vm = make_vm(page, 1);
        u64 sum = 0;

        EXPECT(page, sys_vm_memory(vm, GPA(SIZE_2M), FRESH_BYTES, 0), 0);
        EXPECT(page, map_window(vm, SIZE_2M, FRESH_BYTES, MAP_READ | MAP_WRITE), 0);
        for (u64 at = 0; at < FRESH_BYTES; at += 8) {
            sum |= *(volatile u64 *)(WINDOW + at);
        }
        child_check(page, !sum, "fresh RAM is zero, round %u", round);
        memset((void *)WINDOW, 0xa5, FRESH_BYTES);
        EXPECT(page, sys_memory_unmap(0, WINDOW, FRESH_BYTES), 0);
        EXPECT(page, sys_handle_close(vm), 0);
    }
}

/* Real mode: mov al, 42; out 0xf4, al; in ax, dx; hlt. The window shows what the guest has. */
static void run(struct child_page *page)
{
    static const u8 code[] = {0xb0, 0x2a, 0xe6, 0xf4, 0xed, 0xf4};
    handle_t vm = make_vm(page, 1), vcpu;
    struct vcpu_state state;
    struct vcpu_exit exit;
    union {
        u64 kind, bytes[VCPU_REPORT_BYTES / sizeof(u64)];
        struct vmx_report vmx;
    } report;

    EXPECT(page, sys_vm_memory(vm, GPA(RAM), 4 * PAGE_SIZE, VM_MEMORY_LAZY), 0);
    EXPECT(page, map_window(vm, RAM, 4 * PAGE_SIZE, MAP_READ | MAP_EXEC), E_INVAL);
    EXPECT(page, map_window(vm, RAM, 4 * PAGE_SIZE, MAP_READ | MAP_WRITE), 0);
    memcpy((void *)WINDOW, code, sizeof(code));
    vcpu = (handle_t)sys_vcpu_create(vm, 0);
    EXPECT(page, sys_vcpu_get(vcpu, &state, VCPU_STATE_ALL), 0);
    state.seg[SEG_CS].base = RAM;
    state.seg[SEG_CS].selector = RAM >> 4;
    state.rip = 0;
    state.gpr[GPR_RDX] = 0x1234;
    EXPECT(page, sys_vcpu_set(vcpu, &state, VCPU_STATE_ALL), 0);
    EXPECT(page, sys_vcpu_run(vcpu, 0, 0, &exit), VX_IO);
    child_check(page, (exit.a & 0xffffff) == (0xf4 | 1 << 16) && exit.b == 42, "OUT: %lx, %lx",
                exit.a, exit.b);
    EXPECT(page, sys_vcpu_run(vcpu, VCPU_RUN_ADVANCE | VCPU_RUN_VALUE, 1, &exit),
           E_INVAL); /* no IN */
    EXPECT(page, sys_vcpu_run(vcpu, VCPU_RUN_ADVANCE, 0, &exit), VX_IO);
    child_check(page, exit.a == (0x1234 | 2 << 16 | VX_IO_IN), "IN: %lx", exit.a);
    s64 kind = sys_vcpu_run(vcpu, VCPU_RUN_ADVANCE | VCPU_RUN_VALUE, 0x9876, &exit);
    if (kind == VX_DECODE) { /* not all CPUs tell how long an instruction is */
        EXPECT(page, sys_vcpu_run(vcpu, VCPU_RUN_ADVANCE, 0, &exit), E_INVAL);
        EXPECT(page, sys_vcpu_run(vcpu, BIT(20), 0, &exit), E_INVAL);
        kind = sys_vcpu_run(vcpu, 1 << VCPU_RUN_LENGTH_SHIFT, 0, &exit);
    }
    EXPECT(page, kind, VX_HALTED);
    EXPECT(page, sys_vcpu_get(vcpu, &state, VCPU_STATE_ALL), 0);
    EXPECT(page, (s64)state.gpr[GPR_RAX] & 0xffff, 0x9876);
    EXPECT(page, (s64)state.rip, sizeof(code));
    /* where nothing is: the reset vector, and the window behind the RAM */
    state.seg[SEG_CS].base = 0xffff0000;
    state.seg[SEG_CS].selector = 0xf000;
    state.rip = 0xfff0;
    state.halted = 0;
    EXPECT(page, sys_vcpu_set(vcpu, &state, VCPU_STATE_ALL), 0);
    EXPECT(page, sys_vcpu_run(vcpu, 0, 0, &exit), VX_MMIO);
    child_check(page, exit.a == 0xfffffff0, "MMIO at %lx", exit.a);
    EXPECT(page, sys_vcpu_report(vcpu, &report), 0);
    child_check(page,
                report.kind != VCPU_REPORT_VMX ||
                    report.vmx.fields.value[VMCS_INDEX_GUEST_CS_BASE] == 0xffff0000,
                "a report: kind %lu", report.kind);
    /* states that no CPU has */
    state.cr0 = 0x80000000; /* PG without PE */
    s64 e = sys_vcpu_set(vcpu, &state, VCPU_STATE_SYS);
    if (!e) {
        e = sys_vcpu_run(vcpu, 0, 0, &exit);
        child_check(page, e == VX_ENTRY_FAILURE, "PG without PE: %ld", e);
    } else {
        child_check(page, e == E_INVAL, "setting PG without PE: %ld", e);
    }
    memset(&state, 0xff, sizeof(state));
    e = sys_vcpu_set(vcpu, &state, VCPU_STATE_ALL);
    if (!e) {
        e = sys_vcpu_run(vcpu, 0, 0, &exit);
        child_check(page, e == VX_ENTRY_FAILURE, "all ones: %ld", e);
    } else {
        child_check(page, e == E_INVAL, "setting all ones: %ld", e);
    }
    EXPECT(page, sys_memory_unmap(0, WINDOW, 4 * PAGE_SIZE), 0);
    EXPECT(page, sys_handle_close(vm), 0); /* the vCPU keeps it alive */
    EXPECT(page, sys_vcpu_get(vcpu, &state, VCPU_STATE_GPR), 0);
    EXPECT(page, sys_handle_close(vcpu), 0);
}

/* --- one vCPU, two threads --- */

static void other_thread(struct child_page *page)
{
    struct vcpu_exit exit;
    struct vcpu_state state;

    while (!page->go) {
        sys_event_wait(page->handles[6], 1, sys_tsc() + page->tsc_hz / 1000);
    }
    EXPECT(page, sys_vcpu_run(page->handles[7], 0, 0, &exit), E_BUSY);
    EXPECT(page, sys_vcpu_apic(page->handles[7], 0x30, 0), E_BUSY);
    EXPECT(page, sys_vcpu_get(page->handles[7], &state, VCPU_STATE_ALL), E_BUSY);
    EXPECT(page, sys_vcpu_set(page->handles[7], &state, VCPU_STATE_ALL), E_BUSY);
    EXPECT(page, sys_vcpu_inject(page->handles[7], 6, 0, 0, 0), E_BUSY);
    EXPECT(page, sys_vcpu_inject(page->handles[7], 0, VCPU_INJECT_KICK, 0, 0), 0);
    page->counters[0] = 1;
    child_sleep();
}

/* Two threads and a guest that spins; the other thread ends it by a kick, and may not do more. */
static void two_threads(struct child_page *page)
{
    static const u8 code[] = {0xfa, 0xeb, 0xfe}; /* cli; jmp $ */
    handle_t vm = make_vm(page, 1), vcpu = (handle_t)sys_vcpu_create(vm, 0);
    struct vcpu_state state;
    struct vcpu_exit exit;

    EXPECT(page, sys_vm_memory(vm, GPA(RAM), PAGE_SIZE, 0), 0);
    EXPECT(page, map_window(vm, RAM, PAGE_SIZE, MAP_READ | MAP_WRITE), 0);
    memcpy((void *)WINDOW, code, sizeof(code));
    EXPECT(page, sys_vcpu_get(vcpu, &state, VCPU_STATE_ALL), 0);
    state.seg[SEG_CS].base = RAM;
    state.seg[SEG_CS].selector = RAM >> 4;
    state.rip = 0;
    EXPECT(page, sys_vcpu_set(vcpu, &state, VCPU_STATE_ALL), 0);
    page->handles[6] = (handle_t)sys_event_create();
    page->handles[7] = vcpu;
    child_thread(1, other_thread, page);
    /* bound to this thread by its first use: from then on the other one is told E_BUSY */
    EXPECT(page, sys_vcpu_inject(vcpu, 0, VCPU_INJECT_KICK, 0, 0), 0);
    EXPECT(page, sys_vcpu_run(vcpu, 0, 0, &exit), VX_KICKED);
    page->go = 1;
    sys_event_signal(page->handles[6], 1);
    EXPECT(page, sys_vcpu_run(vcpu, 0, 0, &exit), VX_KICKED);
    EXPECT(page, sys_memory_unmap(0, WINDOW, PAGE_SIZE), 0);
}

/* --- a vm and a vCPU that one thread closes while others use them --- */

#define CLOSE_ROUNDS 300

static void user_thread(struct child_page *page)
{
    struct vcpu_state state;

    for (u32 i = 0;; i++) {
        handle_t vm = page->handles[6], vcpu = page->handles[7];
        const s64 got[] = {
            sys_vm_interrupt(vm, 0xfee00000, 0x40),
            sys_vm_line(vm, i & 1),
            sys_vcpu_inject(vcpu, 0, i & 1 ? VCPU_INJECT_KICK : VCPU_INJECT_NMI, 0, 0),
            sys_vcpu_get(vcpu, &state, VCPU_STATE_GPR),
            sys_vcpu_apic(vcpu, 0x30, 0),
        };

        for (u32 k = 0; k < ARRAY_SIZE(got); k++) {
            child_check(page, got[k] >= 0 || got[k] == E_HANDLE || (k >= 3 && got[k] == E_BUSY),
                        "call %u on what is being closed: %ld", k, got[k]);
        }
        __atomic_fetch_add(&page->counters[0], 1, __ATOMIC_RELAXED);
    }
}

static void closing(struct child_page *page)
{
    /* where CPUs are threads, those that wait for the kernel lock in turn keep each other off it */
    u32 rounds = steady() ? CLOSE_ROUNDS : CLOSE_ROUNDS / 15;

    page->handles[5] = (handle_t)sys_event_create();
    for (u32 i = 1; i < CHILD_THREADS; i++) {
        child_thread(i, user_thread, page);
    }
    for (u32 i = 0; i < rounds || page->counters[0] < rounds; i++) {
        handle_t vm = make_vm(page, 1);
        s64 vcpu = sys_vcpu_create(vm, 0);

        child_check(page, vcpu > 0, "round %u: a vCPU: %ld", i, vcpu);
        page->handles[6] = vm;
        page->handles[7] = (handle_t)vcpu;
        sys_event_wait(page->handles[5], 1, sys_tsc() + 2000 * (i % 4));
        EXPECT(page, sys_handle_close(i & 1 ? vm : (handle_t)vcpu), 0);
        EXPECT(page, sys_handle_close(i & 1 ? (handle_t)vcpu : vm), 0);
    }
}

void scenario_vm(struct child_page *page)
{
    static void (*const parts[])(struct child_page *) = {arguments, fresh, run, two_threads,
                                                         closing};

    /* each in a process of its own: a thread is bound to the first vCPU that it uses */
    parts[page->args[0] % ARRAY_SIZE(parts)](page);
}

void test_vm(void)
{
    struct child_options o = {.memory_bytes = 2 * FRESH_BYTES, .kernel_bytes = 1 << 20};

    if (!start->virt) {
        say("  no virtualization here: left out");
        return;
    }
    for (o.args[0] = 0; o.args[0] < 5; o.args[0]++) {
        child_run(SCENARIO_VM, &o, 10000);
    }
}
