/* SPDX-License-Identifier: MIT */
/* What the manager says about the system: isolation, self-tests, guests. */
#include "lib/format.h"
#include "lib/string.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

#define SELFTEST_LIMIT_MS     300000
#define SELFTEST_MEMORY_BYTES (32ull << 20)
#define SELFTEST_KERNEL_BYTES (8ull << 20)
#define SELFTEST_WEIGHT       100

void report_isolation(struct manager *m, bool numbers)
{
    struct output *o = &m->out;
    struct isolation_report r;
    s64 n = sys_system_info(HANDLE_SYSTEM, SYSTEM_ISOLATION, 0, &r, sizeof(r));

    if (n != (s64)sizeof(r)) {
        output_line(o, "isolation: failed: the kernel gave no report (%ld)", n);
        m->broken = true;
        return;
    }
    if (numbers) {
        output_line(
            o,
            "isolation: pages: %lu kernel, %lu processes, %lu guests, %lu modules, %lu free, "
            "%lu firmware",
            r.kernel_pages, r.process_pages, r.guest_pages, r.module_pages, r.free_pages,
            r.firmware_pages);
        output_line(o, "isolation: guests' tables: %lu pages in %lu leaves, %lu tables",
                    r.ept_pages, r.ept_leaves, r.tables);
    }
    if (r.wrong_owner || r.ept_foreign || r.kernel_maps_guest || r.write_exec ||
        r.process_foreign) {
        output_line(
            o,
            "isolation: failed: %lu pages with a wrong owner, %lu foreign in guests' tables, "
            "%lu of guests in the kernel's, %lu foreign in processes', %lu writable and "
            "executable",
            r.wrong_owner, r.ept_foreign, r.kernel_maps_guest, r.process_foreign, r.write_exec);
        m->broken = true;
        return;
    }
    output_line(o, "isolation: ok, %lu pages checked, %lu of guests in %lu leaves, %lu tables",
                r.pages, r.guest_pages, r.ept_leaves, r.tables);
}

/* --- self-tests --- */

void report_kernel_tests(struct manager *m)
{
    u32 passed = 0, failed = 0;
    struct system_test t;

    for (u64 i = 0;; i++) {
        s64 n = sys_system_info(HANDLE_SYSTEM, SYSTEM_SELF_TEST, i, &t, sizeof(t));

        if (n == E_NOT_FOUND) {
            break;
        }
        if (n != (s64)sizeof(t)) {
            output_line(&m->out, "self-test %lu: failed to run: error %ld", i, n);
            failed++;
            break;
        }
        t.name[sizeof(t.name) - 1] = 0;
        output_line(&m->out, "self-test %s: %s", t.name, t.passed ? "passed" : "failed");
        output_push(&m->out);
        passed += t.passed != 0;
        failed += !t.passed;
    }
    output_line(&m->out, "self-test of the kernel's memory: %u passed, %u failed", passed, failed);
    m->broken |= failed != 0;
}

/* The program's own segments, so that it can start processes that run it again. */
static s64 grant_segments(struct child *c, struct test_start *t)
{
    const struct program *p = c->program;

    for (u32 i = 0; i < p->segment_count && i < ARRAY_SIZE(t->segments); i++) {
        const struct program_segment *s = &p->segments[i];
        s64 h = sys_handle_grant(c->process, s->memory,
                                 RIGHT_READ | RIGHT_GRANT | (s->flags & MAP_EXEC ? RIGHT_EXEC : 0));
        if (h < 0) {
            return h;
        }
        t->segments[t->segment_count++] =
            (struct start_segment){s->vaddr, s->bytes, (handle_t)h, (u32)s->flags};
    }
    return 0;
}

static s64 start_selftest(struct manager *m, struct child *c, const struct program *p)
{
    struct child_args args = {
        .name = "selftest",
        .program = p,
        .manager = m->event,
        .tsc_hz = m->summary.tsc_hz,
        .system_rights = RIGHT_READ | RIGHT_WRITE | RIGHT_CONTROL | RIGHT_GRANT,
        .params_bytes = sizeof(struct test_start),
        .threads = 1,
        .memory_bytes = SELFTEST_MEMORY_BYTES,
        .kernel_bytes = SELFTEST_KERNEL_BYTES,
        .weight = SELFTEST_WEIGHT,
    };
    s64 e = child_create(c, &args);

    if (e) {
        return e;
    }
    struct test_start *t = c->params;
    t->virt = m->summary.virt;
    t->entry = p->entry;
    e = grant_segments(c, t);
    if (!e) {
        e = child_start(c);
    }
    if (e) {
        child_destroy(c);
    }
    return e;
}

/* Prints what the test writes until it has ended. */
static void wait_selftest(struct manager *m, struct child *c, struct process_info *info)
{
    u64 tick = m->summary.tsc_hz / 50;
    u64 end = sys_tsc() + m->summary.tsc_hz / 1000 * SELFTEST_LIMIT_MS;

    while (!child_ended(c, info)) {
        u64 now = sys_tsc();

        if (now >= end) {
            sys_process_kill(c->process);
            end = ~0ull;
        }
        bool more = child_print(c, &m->out, now);
        if (!output_push(&m->out) || !more) {
            sys_event_wait(m->event, CHILD_ALL_BITS, now + tick);
        }
    }
    while (!child_drain(c, &m->out, sys_tsc())) {
        output_drain(&m->out);
    }
}

void report_ring3_tests(struct manager *m)
{
    const struct system_module *module = manager_module(m, MODULE_PROGRAM, "selftest.elf");
    struct process_info info;
    struct program program;
    struct child child;

    if (!module) {
        return;
    }
    const char *wrong = program_load(&program, module->handle, module->bytes,
                                     MANAGER_PROGRAMS + MANAGER_PROGRAM_STEP);
    if (wrong) {
        output_line(&m->out, "self-test in ring 3: failed to start: %s", wrong);
        m->broken = true;
        return;
    }
    s64 e = start_selftest(m, &child, &program);
    if (e) {
        output_line(&m->out, "self-test in ring 3: failed to start: error %ld", e);
        m->broken = true;
        return;
    }
    wait_selftest(m, &child, &info);
    if (info.end == PROCESS_EXITED && info.status == 0) {
        output_line(&m->out, "self-test in ring 3: passed");
    } else {
        static const char *const ends[] = {"running", "exit status", "time-out", "exception"};
        output_line(&m->out, "self-test in ring 3: failed: %s %ld at %lx",
                    info.end < ARRAY_SIZE(ends) ? ends[info.end] : "?", info.status, info.address);
        m->broken = true;
    }
    child_destroy(&child);
}

/* --- guests --- */

/* Since the kernel's start: before that, the time is the firmware's and its disk's. */
void report_first_guest(struct manager *m)
{
    u64 first = ~0ull;

    for (u32 i = 0; i < m->guest_count && !m->first_reported; i++) {
        struct vm_stats s;
        if (m->guests[i].vm && !sys_vm_stats(m->guests[i].vm, &s) && s.start_tsc) {
            first = MIN(first, s.start_tsc);
        }
    }
    if (first != ~0ull) {
        u64 ticks = first - m->summary.kernel_tsc;
        m->first_reported = true;
        output_line(&m->out, "first guest ran %lu ms (%lu ticks) after the kernel started",
                    manager_ms(m, ticks), ticks);
    }
}

void report_list(struct manager *m)
{
    static const char *const states[] = {
        [GUEST_IDLE] = "idle",        [GUEST_ACTIVE] = "running", [GUEST_DRAINING] = "ending",
        [GUEST_PAUSE] = "restarting", [GUEST_DONE] = "ended",
    };
    u64 now = sys_tsc();

    for (u32 i = 0; i < m->guest_count; i++) {
        const struct guest *g = &m->guests[i];
        output_line(&m->out,
                    "  %-20s %-10s %-10s %2u cpus %5lu MiB %8lu ms, CPU %8lu ms %9lu exits",
                    g->name, g->hold_tsc ? "paused" : states[g->state],
                    g->state == GUEST_DONE ? guest_end_name(g->end) : "", g->config->cpus,
                    g->config->memory_bytes >> 20, manager_ms(m, guest_run_tsc(g, now)),
                    manager_ms(m, guest_cpu_tsc(g)), guest_exits(g));
    }
}

static u64 us(const struct manager *m, u64 ticks)
{
    u64 hz = m->summary.tsc_hz;

    return ticks / hz * 1000000 + ticks % hz * 1000000 / hz;
}

void report_stats(struct manager *m, struct guest *g)
{
#define EXIT_NAME(id, name) name,
    static const char *const names[EXIT_COUNT] = {EXIT_KINDS(EXIT_NAME)};
#undef EXIT_NAME
    struct process_info info;
    struct vm_stats s;

    if (!g->vm || sys_vm_stats(g->vm, &s) || sys_process_info(g->child.process, &info)) {
        output_line(&m->out, "%s is not running", g->name);
        return;
    }
    output_line(&m->out,
                "%s: %u cpus, %lu exits, %lu ms in the guest, %lu ms in all; %lu KiB of RAM, %lu "
                "KiB of tables; its process: %lu KiB, kernel %lu KiB",
                g->name, g->config->cpus, s.exits_total, manager_ms(m, s.guest_tsc),
                manager_ms(m, info.run_tsc), s.memory_bytes / 1024, s.table_bytes / 1024,
                info.memory_bytes / 1024, info.kernel_bytes / 1024);
    output_line(&m->out, "  entered first at tick %lu", s.start_tsc);
    for (u32 i = 0; i < g->config->cpus && i < VM_MAX_CPUS; i++) {
        const struct thread_times *t = &s.vcpu[i];
        output_line(&m->out, "  vcpu %-2u ran %lu us, waited %lu us, %lu at once; behind by %lu us",
                    i, us(m, t->run_tsc), us(m, t->wait_tsc), us(m, t->longest_wait_tsc),
                    us(m, t->lag_tsc));
    }
    for (u32 i = 0; i < EXIT_COUNT; i++) {
        if (s.exits[i]) {
            output_line(&m->out, "  %-16s %12lu", names[i], s.exits[i]);
        }
    }
}

/* All at the same moment, as far as that goes: they are asked first. */
void report_shares(struct manager *m)
{
    struct thread_times sums[CONFIG_MAX_INSTANCES] = {0};
    struct vm_stats s;

    for (u32 i = 0; i < m->guest_count; i++) {
        const struct guest *g = &m->guests[i];
        bool known = g->vm && !sys_vm_stats(g->vm, &s);
        for (u32 v = 0; known && v < VM_MAX_CPUS; v++) {
            struct thread_times *sum = &sums[i];
            sum->run_tsc += s.vcpu[v].run_tsc;
            sum->wait_tsc += s.vcpu[v].wait_tsc;
            sum->longest_wait_tsc = MAX(sum->longest_wait_tsc, s.vcpu[v].longest_wait_tsc);
            sum->lag_tsc = MAX(sum->lag_tsc, s.vcpu[v].lag_tsc);
        }
    }
    for (u32 i = 0; i < m->guest_count; i++) {
        const struct thread_times *t = &sums[i];
        if (t->run_tsc) {
            output_line(&m->out,
                        "  %-20s %2u cpus ran %lu us, waited %lu us, %lu at once; behind by %lu us",
                        m->guests[i].name, m->guests[i].config->cpus, us(m, t->run_tsc),
                        us(m, t->wait_tsc), us(m, t->longest_wait_tsc), us(m, t->lag_tsc));
        }
    }
}
