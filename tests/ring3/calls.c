/* SPDX-License-Identifier: MIT */
/* System calls with hostile numbers, handles and addresses: each is an error code. */
#include "tests/ring3/ring3.h"

#include "lib/string.h"

/* Addresses that no call may read from or write to. */
static const u64 bad_pointers[] = {
    0,
    1,
    0xfff,
    USER_BASE - 1,
    USER_BASE,
    0x3f0000, /* below the program */
    CHILD_PAGE - 8,
    CHILD_PAGE + PAGE_SIZE - 8, /* reaches over the page's end */
    CHILD_PAGE + PAGE_SIZE,
    CHILD_STACK + CHILD_STACK_STEP - 8,
    USER_TOP - 8,
    USER_TOP,
    0x00007ffffffffff8ull,
    0x00007fffffffffffull,
    0x0000800000000000ull,
    0xffff7ffffffffff8ull,
    0xffff800000000000ull,
    0xffffffff80000000ull,
    0xffffffff80001000ull,
    0xfffffffffffff000ull,
    0xfffffffffffffff8ull,
    0xffffffffffffffffull,
};

static void numbers(struct child_page *page)
{
    static const u64 list[] = {
        SYS_COUNT,   SYS_COUNT + 1, 100,      255,        256,
        1000,        0x7fffffff,    1u << 31, 0xffffffff, BIT(32),
        BIT(32) | 1, BIT(63),       ~0ull,    ~0ull - 1,  0xffffffff80000000ull};

    for (u32 i = 0; i < ARRAY_SIZE(list); i++) {
        s64 e = sys_call(list[i], 1, 2, 3, 4, 5, 6);
        child_check(page, e == E_NO_SYSCALL, "call %lx: %ld", list[i], e);
    }
}

/* The calls that take a structure or a buffer; all other arguments are good. */
static void pointers(struct child_page *page)
{
    handle_t system = page->handles[0];

    for (u32 i = 0; i < ARRAY_SIZE(bad_pointers); i++) {
        u64 p = bad_pointers[i];
        const struct {
            const char *name;
            s64 result;
        } list[] = {
            {"PROCESS_CREATE", sys_call(SYS_PROCESS_CREATE, p,      0,              0,  0, 0,    0)},
            {"PROCESS_INFO",   sys_call(SYS_PROCESS_INFO,   0,      p,              0,  0, 0,    0)},
            {"THREAD_CREATE",  sys_call(SYS_THREAD_CREATE,  0,      p,              0,  0, 0,    0)},
            {"MEMORY_MAP",     sys_call(SYS_MEMORY_MAP,     p,      0,              0,  0, 0,    0)},
            {"SYSTEM_INFO",    sys_call(SYS_SYSTEM_INFO,    system, SYSTEM_SUMMARY, 0,  p, 4096, 0)},
            {"CONSOLE_WRITE",  sys_call(SYS_CONSOLE_WRITE,  system, p,              64, 0, 0,    0)},
        };

        for (u32 n = 0; n < ARRAY_SIZE(list); n++) {
            bool ok = list[n].result == E_FAULT;
            child_check(page, ok, "%s at %lx: %ld", list[n].name, p, list[n].result);
        }
        s64 e = sys_call(SYS_VM_CREATE, p, 0, 0, 0, 0, 0);
        child_check(page, e == (page->virt ? E_FAULT : E_UNSUPPORTED), "VM_CREATE at %lx: %ld", p,
                    e);
    }
    /* a constant is readable, and not writable */
    s64 e = sys_call(SYS_PROCESS_INFO, 0, (u64)bad_pointers, 0, 0, 0, 0);
    child_check(page, e == E_FAULT, "PROCESS_INFO into constants: %ld", e);
    e = sys_call(SYS_PROCESS_INFO, 0, (u64)numbers, 0, 0, 0, 0);
    child_check(page, e == E_FAULT, "PROCESS_INFO into code: %ld", e);
}

/* Values that are no handles, for each call that takes one. */
static void handles(struct child_page *page)
{
    static const u64 bad[] = {0,          200,     255,         256,     257,  0x7fffffff,
                              0xffffffff, BIT(32), BIT(32) | 1, BIT(63), ~0ull};
    struct vcpu_exit exit;
    u64 buffer[512];
    s64 event = sys_event_create();

    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        u64 h = bad[i], b = (u64)buffer;
        const struct {
            const char *name;
            s64 result;
            bool zero; /* 0 is the caller itself */
        } list[] = {
            {"HANDLE_CLOSE",   sys_call(SYS_HANDLE_CLOSE, h, 0,          0,         0,     0, 0),             false                                        },
            {"HANDLE_GRANT",   sys_call(SYS_HANDLE_GRANT, h, (u64)event, 0,         0,     0, 0),             true                                         },
            {"HANDLE_GRANT 2", sys_call(SYS_HANDLE_GRANT, 0, h,          1,         0,     0, 0),             false                                        },
            {"PROCESS_KILL",   sys_call(SYS_PROCESS_KILL, h, 0,          0,         0,     0, 0),             false                                        },
            {"PROCESS_INFO",   sys_call(SYS_PROCESS_INFO, h, b,          0,         0,     0, 0),             true                                         },
            {"THREAD_SET",     sys_call(SYS_THREAD_SET,   h, 100,        1,         0,     0, 0),             false                                        },
            {"MEMORY_UNMAP",   sys_call(SYS_MEMORY_UNMAP, h, CHILD_FREE, PAGE_SIZE, 0,     0, 0),             true                                         },
            {"EVENT_SIGNAL",   sys_call(SYS_EVENT_SIGNAL, h, 1,          0,         0,     0, 0),             false                                        },
            {"EVENT_WAIT",     sys_call(SYS_EVENT_WAIT,   h, 1,          1,         0,     0, 0),             false                                        },
            {"VM_MEMORY",      sys_call(SYS_VM_MEMORY,    h, 0,          PAGE_SIZE, 0,     0, 0),             false                                        },
            {"VM_INTERRUPT",   sys_call(SYS_VM_INTERRUPT, h, 0xfee00000, 0x40,      0,     0, 0),             false                                        },
            {"VM_LINE",        sys_call(SYS_VM_LINE,      h, 0,          0,         0,     0, 0),             false                                        },
            {"VCPU_APIC",      sys_call(SYS_VCPU_APIC,    h, 0,          0,         0,     0, 0),             false                                        },
            {"VM_STATS",       sys_call(SYS_VM_STATS,     h, b,          0,         0,     0, 0),             false                                        },
            {"VCPU_CREATE",    sys_call(SYS_VCPU_CREATE,  h, 0,          0,         0,     0, 0),             false                                        },
            {"VCPU_RUN",       sys_call_vcpu_run(h,       0, 0,          &exit),    false},
            {"VCPU_GET",               sys_call(SYS_VCPU_GET,                          h,                          b,          VCPU_STATE_ALL,        0, 0,  0),       false                },
            {"VCPU_SET",               sys_call(SYS_VCPU_SET,                          h,                          b,          VCPU_STATE_ALL,        0, 0, 0),false},
            {"VCPU_INJECT",              sys_call(SYS_VCPU_INJECT,                        h,                        32,          VCPU_INJECT_NMI,        0, 0,  0),     false                   },
            {"CONSOLE_WRITE",               sys_call(SYS_CONSOLE_WRITE,                                       h,                                       b,          1,        0, 0, 0),false},
            {"VCPU_REPORT",               sys_call(SYS_VCPU_REPORT,                                       h,                                       b,          0,        0, 0,  0),        false                                },
            {"PORT",            sys_call(SYS_PORT,                                    h,                                    0x60,          0,        0, 0, 0),   false},
            {"IRQ",      sys_call(SYS_IRQ,                              h,                              (u64)event,          1,        0, 0,  0),          false                                              },
            {"SYSTEM_INFO",               sys_call(SYS_SYSTEM_INFO,                                       h,                                       0,       0,        b, 4096, 0),false},
            {"SYSTEM_POWER",       sys_call(SYS_SYSTEM_POWER,                               h,                               POWER_OFF,          0,        0, 0,  0),          false                                                                     },
        };

        for (u32 n = 0; n < ARRAY_SIZE(list); n++) {
            if (h || !list[n].zero) {
                child_check(page, list[n].result == E_HANDLE, "%s of handle %lx: %ld", list[n].name,
                            h, list[n].result);
            }
        }
    }
    /* an event is none of all these */
    u64 e = (u64)event, b = (u64)buffer;
    EXPECT(page, sys_call(SYS_PROCESS_KILL, e, 0, 0, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call(SYS_PROCESS_INFO, e, b, 0, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call(SYS_THREAD_SET, e, 100, 1, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call(SYS_MEMORY_UNMAP, e, CHILD_FREE, PAGE_SIZE, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call(SYS_VM_MEMORY, e, 0, PAGE_SIZE, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call(SYS_VM_STATS, e, b, 0, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call_vcpu_run(e, 0, 0, &exit), E_HANDLE);
    EXPECT(page, sys_call(SYS_PORT, e, 0x60, 0, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call(SYS_IRQ, e, e, 1, 0, 0, 0), E_HANDLE);
    EXPECT(page, sys_call(SYS_SYSTEM_INFO, e, 0, 0, b, 4096, 0), E_HANDLE);
    EXPECT(page, sys_handle_close((handle_t)event), 0);
    EXPECT(page, sys_handle_close((handle_t)event), E_HANDLE);
    EXPECT(page, sys_event_signal((handle_t)event, 1), E_HANDLE);
}

static void values(struct child_page *page)
{
    handle_t system = page->handles[0];
    struct process_args p = {.name = "x", .memory_bytes = 4096, .kernel_bytes = 65536};
    struct thread_args t = {.entry = 0x400000, .stack = CHILD_FREE};
    u64 buffer[512];
    s64 e;

    s64 event = sys_event_create();
    EXPECT(page, sys_port(system, 0x61, 0), E_RIGHTS);
    EXPECT(page, sys_port(system, PORT_WRITE | 0xcf9, 6), E_RIGHTS);
    EXPECT(page, sys_port(system, PORT_WRITE | 0x64, 0xfe), E_RIGHTS); /* the 8042's reset */
    EXPECT(page, sys_irq(system, (handle_t)event, 8), E_RIGHTS);
    EXPECT(page, sys_event_wait((handle_t)event, 0, 1), E_INVAL);
    EXPECT(page, sys_event_wait((handle_t)event, BIT(63), 1), E_INVAL);
    EXPECT(page, sys_event_signal((handle_t)event, BIT(63)), E_INVAL);
    EXPECT(page, sys_event_wait((handle_t)event, 1, 1), E_TIMEOUT);
    EXPECT(page, sys_event_signal((handle_t)event, 0xf0), 0);
    EXPECT(page, sys_event_wait((handle_t)event, 0x30, 1), 0x30);
    EXPECT(page, sys_event_wait((handle_t)event, 0x30, 1), E_TIMEOUT);
    EXPECT(page, sys_event_wait((handle_t)event, ~BIT(63), 1), 0xc0);
    EXPECT(page, sys_handle_close((handle_t)event), 0);

    memset(p.name, 'x', sizeof(p.name)); /* no NUL */
    EXPECT(page, sys_process_create(&p), E_INVAL);
    memset(p.name, 0, sizeof(p.name));
    EXPECT(page, sys_process_create(&p), E_INVAL);
    p.name[0] = '\n';
    EXPECT(page, sys_process_create(&p), E_INVAL);
    p.name[0] = 'x';
    p.memory_bytes = 1ull << 40;
    EXPECT(page, sys_process_create(&p), E_NO_MEMORY);
    p.memory_bytes = ~0ull;
    EXPECT(page, sys_process_create(&p), E_NO_MEMORY);
    p.memory_bytes = 4096;
    p.kernel_bytes = ~0ull;
    EXPECT(page, sys_process_create(&p), E_NO_MEMORY);
    p.kernel_bytes = 0;
    EXPECT(page, sys_process_create(&p), E_NO_MEMORY);
    p.kernel_bytes = 16384;
    p.weight = 1; /* of a share of its own, which the first program alone can give */
    EXPECT(page, sys_process_create(&p), E_RIGHTS);
    p.weight = 10001;
    EXPECT(page, sys_process_create(&p), E_INVAL);
    p.weight = 0;
    p.event = 250;
    EXPECT(page, sys_process_create(&p), E_HANDLE);

    t.weight = 10001;
    EXPECT(page, sys_thread_create(0, &t), E_INVAL);
    t.weight = 100;
    t.affinity = BIT(63);
    EXPECT(page, sys_thread_create(0, &t), E_INVAL);
    t.affinity = 0;
    t.entry = USER_TOP;
    EXPECT(page, sys_thread_create(0, &t), E_INVAL);
    t.entry = 0xffffffff80000000ull;
    EXPECT(page, sys_thread_create(0, &t), E_INVAL);
    t.entry = 0x0000800000000000ull;
    EXPECT(page, sys_thread_create(0, &t), E_INVAL);
    t.entry = 0x400000;
    t.stack = 0xffff800000001000ull;
    EXPECT(page, sys_thread_create(0, &t), E_INVAL);

    for (u64 what = SYSTEM_SELF_TEST + 1; what; what <<= 7) {
        e = sys_system_info(system, what, 0, buffer, sizeof(buffer));
        child_check(page, e == E_INVAL || e == E_NOT_FOUND, "SYSTEM_INFO %lx: %ld", what, e);
    }
    e = sys_system_info(system, SYSTEM_CPU, 1000000, buffer, sizeof(buffer));
    child_check(page, e < 0, "a CPU that is not there: %ld", e);
    e = sys_system_info(system, SYSTEM_CPU, ~0ull, buffer, sizeof(buffer));
    child_check(page, e < 0, "CPU -1: %ld", e);
    e = sys_system_info(system, SYSTEM_MODULE, ~0ull, buffer, sizeof(buffer));
    child_check(page, e < 0, "module -1: %ld", e);
    e = sys_system_info(system, SYSTEM_SUMMARY, 0, buffer, 0);
    child_check(page, e <= 0, "a summary of 0 bytes: %ld", e);
    e = sys_system_info(system, SYSTEM_SUMMARY, 0, buffer, 7);
    child_check(page, e < 0 || e <= 7, "a summary of 7 bytes: %ld", e);
    e = sys_system_info(system, SYSTEM_SUMMARY, 0, buffer, ~0ull);
    child_check(page, e == sizeof(struct system_summary) || e < 0, "a summary of all bytes: %ld",
                e);
    EXPECT(page, sys_console_write(system, buffer, 0), 0);
    EXPECT(page, sys_system_power(system, POWER_OFF), E_RIGHTS);
    EXPECT(page, sys_system_power(system, ~0ull), E_RIGHTS);
}

void scenario_calls(struct child_page *page)
{
    numbers(page);
    pointers(page);
    handles(page);
    values(page);
}

void test_calls(void)
{
    struct process_info info;
    struct child c;

    if (!child_make(&c, SCENARIO_CALLS, NULL)) {
        return;
    }
    /* READ and WRITE, so that what fails does so for its own reason; no CONTROL: it must not switch
     * off */
    if (child_give(&c, 0, start->base.system, RIGHT_READ | RIGHT_WRITE) && child_start(&c, NULL) &&
        check(child_wait(&c, 5000, &info), "hostile calls end")) {
        check(info.end == PROCESS_EXITED && info.status == 0,
              "hostile calls: end %u, status %ld at %lx", info.end, info.status, info.address);
    }
    say("  calls: %u checks%s%.*s", c.page->checks, c.page->text_used ? ": " : "",
        (int)MIN(c.page->text_used, 180u), c.page->text);
    child_close(&c);
}
