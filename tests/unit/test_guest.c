/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/manager/guest.c lib/format.c tests/unit/fake_sys.c */
/* The life of a guest in the manager: orders that come at odd moments, restarts, what is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "lib/format.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

static struct manager m;
static struct config_guest *config;
static struct guest guest, *const g = &guest;
static struct vmm_start params;
static struct process_info info;
static const char *reason;
static bool drained;
static u32 kills, starts;
static char said[256]; /* the last line */

s64 sys_call(u64 number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
    (void)a0;
    (void)a1;
    (void)a2;
    (void)a3;
    (void)a4;
    (void)a5;
    if (number == SYS_PROCESS_KILL && info.end == PROCESS_RUNNING) {
        info.end = PROCESS_KILLED;
        kills++;
    }
    return number == SYS_VM_CREATE || number == SYS_HANDLE_GRANT ? 7 : 0;
}

void output_line(struct output *o, const char *format, ...)
{
    va_list args;

    (void)o;
    va_start(args, format);
    format_vbuffer(said, sizeof(said), format, args);
    va_end(args);
}

void console_note_start(struct manager *manager, struct guest *of)
{
    (void)manager;
    (void)of;
}

void console_note_end(struct manager *manager, struct guest *of)
{
    (void)manager;
    (void)of;
}

u64 manager_ms(const struct manager *manager, u64 tsc)
{
    return tsc / (manager->summary.tsc_hz / 1000);
}

const struct system_module *manager_module(const struct manager *manager, u32 kind,
                                           const char *name)
{
    static const struct system_module module = {.kind = MODULE_FILE, .handle = 3, .bytes = 1};

    (void)manager;
    (void)kind;
    (void)name;
    return &module;
}

s64 child_create(struct child *c, const struct child_args *args)
{
    (void)args;
    c->params = &params;
    c->process = 5;
    info = (struct process_info){.end = PROCESS_RUNNING};
    reason = "";
    starts++;
    return 0;
}

s64 child_map_file(struct child *c, handle_t memory, u64 bytes, u64 *vaddr)
{
    (void)c;
    (void)memory;
    (void)bytes;
    (void)vaddr;
    return 0;
}

s64 child_start(struct child *c)
{
    (void)c;
    return 0;
}

bool child_print(struct child *c, struct output *o, u64 now)
{
    (void)c;
    (void)o;
    (void)now;
    return false;
}

void child_print_partial(struct child *c, struct output *o, u64 now, u64 age_tsc)
{
    (void)c;
    (void)o;
    (void)now;
    (void)age_tsc;
}

bool child_ended(struct child *c, struct process_info *to)
{
    (void)c;
    *to = info;
    return info.end != PROCESS_RUNNING;
}

bool child_drain(struct child *c, struct output *o, u64 now)
{
    (void)c;
    (void)o;
    (void)now;
    return drained;
}

void child_hold(struct child *c, bool hold)
{
    (void)c;
    (void)hold;
}

void child_reason(const struct child *c, char *text, size_t size)
{
    (void)c;
    format_buffer(text, size, "%s", reason);
}

u64 child_end_tsc(const struct child *c, u64 start, u64 now)
{
    (void)c;
    (void)start;
    return now;
}

void child_destroy(struct child *c)
{
    c->process = 0;
}

/* A guest that runs, and restarts as it is told. */
static void run(enum config_restart restart)
{
    memset(&m, 0, sizeof(m));
    memset(g, 0, sizeof(*g));
    config = &m.config.guests[0];
    *config = (struct config_guest){.cpus = 1, .count = 1, .memory_bytes = SIZE_2M, .weight = 100};
    config->restart = restart;
    config->on_reset = ON_RESET_RESTART;
    m.summary.tsc_hz = 1000000000;
    m.guests = g;
    m.guest_count = m.guests_left = 1;
    g->config = config;
    strcpy(g->name, "g");
    drained = true;
    kills = starts = 0;
    said[0] = 0;
    guest_start(&m, g);
    assert_int_equal(g->state, GUEST_ACTIVE);
}

static void end_by_itself(enum guest_end how, const char *why)
{
    info = (struct process_info){.end = PROCESS_EXITED, .status = how};
    reason = why;
}

static void rounds(void)
{
    for (u32 i = 0; i < 4; i++) {
        guests_poll(&m, ~0ull, sys_tsc());
    }
}

static void assert_done(const char *text)
{
    assert_int_equal(g->state, GUEST_DONE);
    assert_int_equal(m.guests_left, 0);
    assert_non_null(strstr(said, text));
}

static void test_killed(void **state)
{
    (void)state;
    run(RESTART_ALWAYS);
    guest_stop(g, GUEST_KILLED);
    guest_stop(g, GUEST_KILLED);
    rounds();
    assert_done("guest g: killed, expected success");
    assert_int_equal(kills, 1);
    assert_int_equal(starts, 1);
}

/* It does not come back, whatever it was about to do. */
static void test_killed_as_it_ends(void **state)
{
    (void)state;
    run(RESTART_ALWAYS);
    end_by_itself(GUEST_SUCCESS, "");
    guest_stop(g, GUEST_KILLED);
    rounds();
    assert_done("guest g: success, as expected");

    run(RESTART_ON_FAILURE); /* while its last words are printed */
    end_by_itself(GUEST_CRASH, "triple fault");
    drained = false;
    rounds();
    assert_int_equal(g->state, GUEST_DRAINING);
    guest_stop(g, GUEST_KILLED);
    drained = true;
    rounds();
    assert_done("guest g: crash (triple fault)");

    run(RESTART_NO); /* while it waits for its restart: the reason was another end's */
    g->quick_resets = 50;
    end_by_itself(GUEST_RESET, "reset by port 0xcf9");
    rounds();
    assert_int_equal(g->state, GUEST_PAUSE);
    guest_stop(g, GUEST_KILLED);
    rounds();
    assert_done("guest g: killed, expected success");
    assert_int_equal(starts, 1);
}

static void test_the_last_order_counts(void **state)
{
    (void)state;
    run(RESTART_NO);
    guest_reset(&m, g);
    guest_stop(g, GUEST_KILLED);
    rounds();
    assert_done("guest g: killed");

    run(RESTART_NO);
    guest_stop(g, GUEST_KILLED);
    guest_reset(&m, g);
    rounds();
    assert_int_equal(g->state, GUEST_ACTIVE);
    assert_int_equal(starts, 2);

    run(RESTART_NO); /* a person wants it again, whatever it did just now */
    end_by_itself(GUEST_SUCCESS, "");
    guest_reset(&m, g);
    rounds();
    assert_int_equal(g->state, GUEST_ACTIVE);
    assert_int_equal(starts, 2);
}

static void test_reset_begins_anew(void **state)
{
    (void)state;
    run(RESTART_ON_FAILURE);
    config->restart_limit = 1;
    for (u32 i = 0; i < 2; i++) {
        assert_int_equal(g->restarts, 0);
        end_by_itself(GUEST_CRASH, "");
        rounds();
        assert_int_equal(g->state, GUEST_ACTIVE);
        end_by_itself(GUEST_CRASH, "");
        rounds();
        assert_done("guest g: crash");
        guest_reset(&m, g);
        assert_int_equal(g->state, GUEST_ACTIVE);
        assert_int_equal(m.guests_left, 1);
    }
}

/* Nothing is started any more, and what runs ends. */
static void test_quitting(void **state)
{
    (void)state;
    run(RESTART_NO);
    end_by_itself(GUEST_SUCCESS, "");
    rounds();
    m.quitting = true;
    guest_reset(&m, g);
    rounds();
    assert_done("guest g: success");
    assert_int_equal(starts, 1);

    run(RESTART_ALWAYS);
    m.quitting = true;
    guest_stop(g, GUEST_KILLED);
    guest_reset(&m, g);
    rounds();
    assert_done("guest g: killed, at quit");
    assert_int_equal(starts, 1);
}

static void test_time_limit(void **state)
{
    (void)state;
    run(RESTART_NO);
    config->time_limit_ms = 1;
    config->expect = EXPECT_TIME_LIMIT;
    g->limit_tsc -= 2000000;
    rounds();
    assert_done("guest g: time-limit, as expected");
    assert_int_equal(kills, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_killed_as_it_ends),
        cmocka_unit_test(test_the_last_order_counts),
        cmocka_unit_test(test_reset_begins_anew),
        cmocka_unit_test(test_quitting),
        cmocka_unit_test(test_time_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
