/* SPDX-License-Identifier: MIT */
/* Where the program starts, as parent or as child, and the list of tests. */
#include "tests/ring3/ring3.h"

#include <cpuid.h>

#include "lib/format.h"
#include "lib/ring.h"
#include "lib/string.h"

const struct test_start *start;

static struct ring out;
static u32 failures, checks;

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"system",      test_system     },
    {"faults",      test_faults     },
    {"loops",       test_loops      },
    {"calls",       test_calls      },
    {"maps",        test_maps       },
    {"rights",      test_rights     },
    {"races",       test_races      },
    {"bombs",       test_bombs      },
    {"family",      test_family     },
    {"timer",       test_timer      },
    {"shares",      test_shares     },
    {"pinning",     test_pinning    },
    {"stealing",    test_stealing   },
    {"confinement", test_confinement},
    {"fuzz",        test_fuzz       },
    {"vm",          test_vm         },
};

const struct scenario scenarios[SCENARIO_COUNT] = {
    [SCENARIO_FAULT] = {"fault",        scenario_fault   },
    [SCENARIO_SPIN] = {"spin",         scenario_spin    },
    [SCENARIO_SLEEP] = {"sleep",        scenario_sleep   },
    [SCENARIO_CALLS] = {"calls",        scenario_calls   },
    [SCENARIO_MAPS] = {"maps",         scenario_maps    },
    [SCENARIO_RIGHTS] = {"rights",       scenario_rights  },
    [SCENARIO_RACE_MAP] = {"mapping race", scenario_race_map},
    [SCENARIO_PINGPONG] = {"ping-pong",    scenario_pingpong},
    [SCENARIO_BOMB] = {"bomb",         scenario_bomb    },
    [SCENARIO_FUZZ] = {"fuzz",         scenario_fuzz    },
    [SCENARIO_TIMER] = {"timer",        scenario_timer   },
    [SCENARIO_VM] = {"vm",           scenario_vm      },
    [SCENARIO_CONFINED] = {"confined",     scenario_confined},
};

/* --- output of the parent --- */

static void write_out(const char *text, size_t n)
{
    struct start_shared *shared = (struct start_shared *)START_SHARED;

    while (n) {
        u32 written = ring_write(&out, text, (u32)n);

        text += written;
        n -= written;
        if (n) {
            start_wait_room(&start->base, shared);
        }
    }
}

void say(const char *format, ...)
{
    char text[240];
    va_list args;

    va_start(args, format);
    size_t n = format_vbuffer(text, sizeof(text) - 1, format, args);
    va_end(args);
    n = MIN(n, sizeof(text) - 2);
    text[n] = '\n';
    write_out(text, n + 1);
    start_tell(&start->base);
}

bool check(bool ok, const char *format, ...)
{
    char text[200];
    va_list args;

    checks++;
    if (!ok) {
        failures++;
        va_start(args, format);
        format_vbuffer(text, sizeof(text), format, args);
        va_end(args);
        say("  not so: %s", text);
    }
    return ok;
}

bool steady(void)
{
    u32 eax, ebx = 0, ecx = 0, edx = 0;

    __cpuid(0x40000000, eax, ebx, ecx, edx);
    return ebx != 0x54474354; /* "TCGT..." */
}

struct memory_left memory_left(void)
{
    struct system_summary s = {0};
    s64 n = sys_system_info(start->base.system, SYSTEM_SUMMARY, 0, &s, sizeof(s));

    check(n == (s64)sizeof(s), "the summary of the system: %ld", n);
    return (struct memory_left){s.kernel_free, s.guest_free};
}

u64 ms_to_tsc(u64 ms)
{
    return start->base.tsc_hz / 1000 * ms;
}

/* Nothing signals bit 62: a wait for it is a sleep. */
void sleep_ms(u64 ms)
{
    sys_event_wait(start->base.event, BIT(62), sys_tsc() + ms_to_tsc(ms));
}

/* Waits until the kernel has as much memory as before, or is not going to. */
static struct memory_left settled(struct memory_left before)
{
    struct memory_left now = memory_left();

    for (u32 n = 0; n < 30 && (now.kernel < before.kernel || now.guest < before.guest); n++) {
        sleep_ms(10); /* what others do at the moment, the manager above all, passes */
        now = memory_left();
    }
    return now;
}

/* A test that left the kernel with less memory runs again: caches are full then, a leak is not. */
static void run_test(u32 i)
{
    u32 failed = failures, checked = checks;
    struct memory_left before, after;

    for (u32 round = 0; round < 3; round++) {
        before = memory_left();
        tests[i].run();
        after = settled(before);
        if (after.kernel >= before.kernel && after.guest >= before.guest) {
            break;
        }
    }
    check(after.kernel >= before.kernel, "%s: kernel memory: %lu bytes free before, %lu after",
          tests[i].name, before.kernel, after.kernel);
    check(after.guest >= before.guest, "%s: guest memory: %lu bytes free before, %lu after",
          tests[i].name, before.guest, after.guest);
    say("%-8s %s (%u checks)", failed == failures ? "ok" : "FAILURE", tests[i].name,
        checks - checked);
}

static NORETURN void parent(const struct test_start *parameters)
{
    u32 count = ARRAY_SIZE(tests);

    start = parameters;
    ring_init(&out, &((struct start_shared *)START_SHARED)->out, START_RING_BYTES);
    for (u32 i = 0; i < count; i++) {
        run_test(i);
    }
    say("ring3: %s (%u tests, %u checks, %u failures)", failures ? "FAILURE" : "SUCCESS", count,
        checks, failures);
    sys_process_exit(failures);
}

static NORETURN void child(struct child_page *page)
{
    if (page->scenario < SCENARIO_COUNT) {
        scenarios[page->scenario].run(page);
    }
    sys_process_exit(page->failures);
}

void program_main(u64 arg); /* arch/x86/user/start.asm */

void program_main(u64 arg)
{
    const u64 *magic = (const u64 *)arg;

    if (arg == CHILD_PAGE && *magic == CHILD_MAGIC) {
        child((struct child_page *)arg);
    }
    if (arg == START_PARAMS && *magic == START_MAGIC) {
        parent((const struct test_start *)arg);
    }
    sys_process_exit(-1);
}
