/* SPDX-License-Identifier: MIT */
/*
 * The manager: the first program. Reads the configuration, tests what is to be tested, starts the
 * guests, prints them, and ends the machine. Its own mistakes and a broken configuration end in a
 * sentence and status 2; nothing that a guest or its VMM does ends the manager.
 */
#include <cpuid.h>

#include "lib/format.h"
#include "lib/string.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

#define TICK_MS           20 /* guests are looked at: they do not tell of every character */
#define BUSY_TICK_MS      1  /* while text waits for the console, or for a guest */
#define PHYS_BITS_DEFAULT 36

NORETURN void program_main(u64 arg);

u64 manager_ms(const struct manager *m, u64 tsc)
{
    return tsc / MAX(m->summary.tsc_hz / 1000, 1);
}

const struct system_module *manager_module(const struct manager *m, u32 kind, const char *name)
{
    for (u32 i = 0; i < m->module_count; i++) {
        const struct system_module *module = &m->modules[i];
        if (module->kind == kind && (!name || !strcmp(module->name, name))) {
            return module;
        }
    }
    return NULL;
}

static NORETURN void end(struct manager *m, u32 status, const char *text)
{
    static const u8 actions[] = {
        [WHEN_DONE_POWEROFF] = POWER_OFF,
        [WHEN_DONE_REBOOT] = POWER_REBOOT,
        [WHEN_DONE_HALT] = POWER_HALT,
        [WHEN_DONE_WAIT] = POWER_OFF, /* the waiting is done */
    };

    output_line(&m->out, "end status=%u (%s)", status, text);
    output_drain(&m->out);
    sys_system_power(HANDLE_SYSTEM, actions[m->config.host.when_done]);
    sys_system_power(HANDLE_SYSTEM, POWER_HALT);
    sys_process_exit(status);
}

static NORETURN PRINTF(2, 3) void fail(struct manager *m, const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    format_vbuffer(text, sizeof(text), format, args);
    va_end(args);
    output_line(&m->out, "error: %s", text);
    end(m, 2, "socle did not start");
}

/* --- start-up --- */

static u32 read_phys_bits(void)
{
    u32 a, b, c, d;

    return __get_cpuid(0x80000008, &a, &b, &c, &d) ? a & 0xff : PHYS_BITS_DEFAULT;
}

static void read_system(struct manager *m)
{
    sys_system_info(HANDLE_SYSTEM, SYSTEM_SUMMARY, 0, &m->summary, sizeof(m->summary));
    m->phys_bits = read_phys_bits();
    s64 event = sys_event_create();
    s64 sleep = sys_event_create();
    m->event = (handle_t)event;
    output_init(&m->out, (handle_t)sleep, m->summary.tsc_hz);
    if (event < 0 || sleep < 0 || !m->summary.tsc_hz) {
        fail(m, "the kernel gives the manager no events, or no clock");
    }
    for (u32 i = 0; i < m->summary.modules && i < MANAGER_MAX_MODULES; i++) {
        struct system_module *module = &m->modules[i];
        s64 n = sys_system_info(HANDLE_SYSTEM, SYSTEM_MODULE, i, module, sizeof(*module));
        if (n != (s64)sizeof(*module)) {
            fail(m, "module %u cannot be had: %ld", i, n);
        }
        module->name[sizeof(module->name) - 1] = 0;
        m->module_count++;
    }
}

static void read_config(struct manager *m)
{
    const struct system_module *module = manager_module(m, MODULE_CONFIG, NULL);
    struct config_error error;

    if (!module || !module->bytes || module->bytes > CONFIG_MAX_BYTES) {
        fail(m, "there is no configuration, or it is empty or larger than %u bytes",
             CONFIG_MAX_BYTES);
    }
    struct map_args map = {
        0, module->handle, 0, MANAGER_CONFIG, ALIGN_UP(module->bytes, PAGE_SIZE), MAP_READ};
    if (sys_memory_map(&map)) {
        fail(m, "the configuration cannot be mapped");
    }
    if (!config_parse((const char *)MANAGER_CONFIG, module->bytes, &m->config, &error)) {
        m->config.host.when_done = WHEN_DONE_POWEROFF;
        fail(m, "socle.conf:%u:%u: %s", error.line, error.col, error.message);
    }
}

static void load_vmm(struct manager *m)
{
    const struct system_module *module = manager_module(m, MODULE_PROGRAM, "vmm.elf");

    if (!module) {
        fail(m, "vmm.elf is missing; copy it to \\socle on the stick");
    }
    const char *wrong = program_load(&m->vmm, module->handle, module->bytes, MANAGER_PROGRAMS);
    if (wrong) {
        fail(m, "vmm.elf: %s", wrong);
    }
}

static void start_guests(struct manager *m)
{
    const char *wrong = guests_create(m);

    if (wrong) {
        fail(m, "%s", wrong);
    }
    if (m->guest_count && !m->summary.virt && !m->config.host.self_test) {
        fail(m, "this machine cannot run guests: the kernel says above why");
    }
    if (m->guest_count && !m->summary.virt) {
        output_line(&m->out, "no guests are started, as this machine has no virtualization: %s",
                    m->summary.virt_name);
        m->guest_count = m->guests_left = 0;
    }
    if (!m->guest_count) {
        return;
    }
    if (!guests_fit(m)) {
        end(m, 2, "the guests do not fit");
    }
    load_vmm(m);
    for (u32 i = 0; i < m->guest_count; i++) {
        guest_start(m, &m->guests[i]);
        output_push(&m->out);
    }
    report_isolation(m, false);
}

/* --- the loop --- */

static bool is_over(const struct manager *m)
{
    bool waits = m->config.host.when_done == WHEN_DONE_WAIT && !m->quitting;

    return !m->guests_left && !waits;
}

static void run(struct manager *m)
{
    u64 bits = CHILD_ALL_BITS;

    while (!is_over(m)) {
        u64 now = sys_tsc();
        bool more = guests_poll(m, bits, now);

        input_poll(m, bits);
        console_poll(m, now);
        if (!m->first_reported) {
            report_first_guest(m);
        }
        bool empty = output_push(&m->out);
        if (empty) {
            console_prompt(m);
            empty = output_push(&m->out);
        }
        bool busy = !empty || m->console.waiting;
        u64 tick = m->summary.tsc_hz / 1000 * (busy ? BUSY_TICK_MS : TICK_MS);
        u64 deadline = more && empty ? now : MIN(now + tick, guests_deadline(m, now));
        s64 got = sys_event_wait(m->event, CHILD_ALL_BITS, MAX(deadline, 1));
        bits = got > 0 ? (u64)got : 0;
    }
}

static NORETURN void finish(struct manager *m)
{
    char text[120];
    u32 unmet = 0;

    if (m->broken) {
        end(m, 2, "a test of Socle itself failed");
    }
    for (u32 i = 0; i < m->guest_count; i++) {
        unmet += m->guests[i].unmet;
    }
    if (unmet) {
        format_buffer(text, sizeof(text), "%u of %u guests did not end as expected", unmet,
                      m->guest_count);
        end(m, 1, text);
    }
    if (m->quitting) {
        end(m, 0, "quit");
    }
    if (!m->guest_count) {
        end(m, 0, "no guests");
    }
    format_buffer(text, sizeof(text), "%u guests ended as expected", m->guest_count);
    end(m, 0, text);
}

void program_main(u64 arg)
{
    static struct manager manager;
    struct manager *m = &manager;

    (void)arg; /* HANDLE_SYSTEM */
    read_system(m);
    read_config(m);
    if (m->config.host.self_test) {
        report_kernel_tests(m);
        report_ring3_tests(m);
    }
    input_start(m);
    start_guests(m);
    run(m);
    finish(m);
}
