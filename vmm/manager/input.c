/* SPDX-License-Identifier: MIT */
/* What was typed on the host's console. */
#include "vmm/manager/input.h"

#include "vmm/manager/manager.h"
#include "vmm/sys.h"

#define DRIVER_INDEX        CONFIG_MAX_INSTANCES /* behind all guests */
#define DRIVER_WEIGHT       1000                 /* it needs little, and that at once */
#define DRIVER_MEMORY_BYTES (1ull << 20)
#define DRIVER_KERNEL_BYTES (512ull << 10)

static s64 start(struct manager *m)
{
    struct input *in = &m->input;
    struct child *c = &in->driver;
    struct child_args args = {
        .name = "input",
        .index = DRIVER_INDEX,
        .program = &in->program,
        .manager = m->event,
        .tsc_hz = m->summary.tsc_hz,
        .system_rights = RIGHT_EXEC, /* the devices */
        .params_bytes = sizeof(struct input_start),
        .threads = 1,
        .memory_bytes = DRIVER_MEMORY_BYTES,
        .kernel_bytes = DRIVER_KERNEL_BYTES,
        .weight = DRIVER_WEIGHT,
    };
    s64 e = child_create(c, &args);

    if (e) {
        return e;
    }
    struct input_start *s = c->params;
    s->devices = (m->config.host.console & CONFIG_CONSOLE_SERIAL ? INPUT_SERIAL : 0) |
                 (m->config.host.console & CONFIG_CONSOLE_SCREEN ? INPUT_KEYBOARD : 0);
    e = child_start(c);
    if (e) {
        child_destroy(c);
    }
    return e;
}

void input_start(struct manager *m)
{
    const struct system_module *module = manager_module(m, MODULE_PROGRAM, "input.elf");
    struct input *in = &m->input;
    const char *wrong = "it is missing; copy it to \\socle on the stick";

    ring_init(&in->typed, &in->buffer, INPUT_BYTES);
    if (module) {
        wrong = program_load(&in->program, module->handle, module->bytes,
                             MANAGER_PROGRAMS + 2 * MANAGER_PROGRAM_STEP);
    }
    if (!wrong && start(m)) {
        wrong = "there is no memory for its process";
    }
    in->running = !wrong;
    if (wrong) {
        output_line(&m->out, "nobody can type: input.elf: %s", wrong);
    }
}

void input_poll(struct manager *m, u64 bits)
{
    struct input *in = &m->input;
    struct process_info info;
    u8 bytes[CHILD_ROUND_BYTES];
    u32 room, n;

    if (!in->running) {
        return;
    }
    do { /* no more than there is room for: the rest waits in the driver's ring */
        room = ring_room(&in->typed);
        n = child_read(&in->driver, bytes, MIN(room, (u32)sizeof(bytes)));
        ring_write(&in->typed, bytes, n);
        for (u32 i = 0; i < n; i++) {
            in->escapes += bytes[i] == CONSOLE_ESCAPE;
        }
    } while (n == sizeof(bytes));
    u32 overruns = __atomic_load_n(&in->driver.shared->overruns, __ATOMIC_RELAXED);
    if (overruns != in->overruns) {
        in->overruns = overruns;
        output_line(&m->out, "the serial line has lost bytes that were typed: they came too fast");
    }
    if ((bits & CHILD_END_BIT(DRIVER_INDEX)) && child_ended(&in->driver, &info)) {
        in->running = false;
        output_line(&m->out, "nobody can type any more: the driver ended (%u, %ld at %lx)",
                    info.end, info.status, info.address);
        child_destroy(&in->driver);
    }
}

bool input_next(struct input *in, u8 *c)
{
    if (!ring_read(&in->typed, c, 1)) {
        return false;
    }
    in->escapes -= *c == CONSOLE_ESCAPE;
    return true;
}

bool input_presses(const struct input *in)
{
    return in->escapes || !ring_room(&in->typed);
}
