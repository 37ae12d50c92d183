/* SPDX-License-Identifier: MIT */
/* The life of a guest. */
#include "vmm/manager/guest.h"

#include "lib/format.h"
#include "lib/string.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

#define PARTIAL_LINE_MS 100 /* after that an incomplete line is shown */
#define RESTART_STEP_MS 10  /* a guest that keeps ending comes back more and more slowly */
#define RESTART_MAX_MS  1000
#define QUICK_RESET_MS  1000 /* so does one that resets itself sooner after its start than this */

/* Budget of kernel memory: objects, stacks and the upper tables, beside what the guest's size
 * needs. Of each vCPU: its thread, its state, its local APIC. */
#define GUEST_KERNEL_BYTES     (256 * 1024)
#define GUEST_KERNEL_CPU_BYTES (64 * 1024)

static u64 ticks_of_ms(const struct manager *m, u64 ms)
{
    return m->summary.tsc_hz / 1000 * ms;
}

/* --- the list --- */

const char *guests_create(struct manager *m)
{
    u64 count = 0;

    for (u32 i = 0; i < m->config.guest_count; i++) {
        count += m->config.guests[i].count;
    }
    if (count > CONFIG_MAX_INSTANCES) {
        return "the configuration has too many guests";
    }
    m->guest_count = m->guests_left = (u32)count;
    if (!count) {
        return NULL;
    }
    u64 bytes = ALIGN_UP(count * sizeof(struct guest), PAGE_SIZE);
    s64 memory = sys_memory_create(bytes);
    if (memory < 0) {
        return "there is no memory for the list of guests";
    }
    struct map_args map = {0, (handle_t)memory, 0, MANAGER_GUESTS, bytes, MAP_READ | MAP_WRITE};
    if (sys_memory_map(&map)) {
        return "the list of guests cannot be mapped";
    }
    m->guests = (struct guest *)MANAGER_GUESTS;
    for (u32 i = 0, at = 0; i < m->config.guest_count; i++) {
        const struct config_guest *c = &m->config.guests[i];
        for (u32 copy = 1; copy <= c->count; copy++, at++) {
            struct guest *g = &m->guests[at];
            g->config = c;
            g->index = at;
            if (c->count > 1) {
                format_buffer(g->name, sizeof(g->name), "%s-%u", c->name, copy);
            } else {
                format_buffer(g->name, sizeof(g->name), "%s", c->name);
            }
        }
    }
    return NULL;
}

bool guests_fit(struct manager *m)
{
    u64 need = 0;

    for (u32 i = 0; i < m->guest_count; i++) {
        const struct config_guest *c = m->guests[i].config;
        need += c->memory_bytes;
        if (need > m->summary.guest_free) {
            output_line(
                &m->out,
                "error: guest %s does not fit: the guests up to it need %lu MiB, and %lu MiB "
                "are free; give them less memory",
                m->guests[i].name, need >> 20, m->summary.guest_free >> 20);
            return false;
        }
    }
    return true;
}

struct guest *guest_find(struct manager *m, const char *name)
{
    for (u32 i = 0; i < m->guest_count; i++) {
        if (!strcmp(m->guests[i].name, name)) {
            return &m->guests[i];
        }
    }
    return NULL;
}

const char *guest_end_name(enum guest_end end)
{
    static const char *const names[GUEST_END_COUNT] = {
        [GUEST_RUNNING] = "running", [GUEST_SUCCESS] = "success",
        [GUEST_FAILURE] = "failure", [GUEST_CRASH] = "crash",
        [GUEST_REFUSED] = "refused", [GUEST_TIME_LIMIT] = "time-limit",
        [GUEST_KILLED] = "killed",   [GUEST_VMM_FAULT] = "vmm-fault",
        [GUEST_RESET] = "reset",
    };

    return end < GUEST_END_COUNT ? names[end] : "?";
}

u64 guest_run_tsc(const struct guest *g, u64 now)
{
    return g->run_tsc + (g->state == GUEST_ACTIVE ? now - g->start_tsc : 0);
}

u64 guest_exits(const struct guest *g)
{
    struct vm_stats stats;
    bool there = g->vm && !sys_vm_stats(g->vm, &stats);

    return g->exits + (there ? stats.exits_total : 0);
}

u64 guest_cpu_tsc(const struct guest *g)
{
    struct process_info info;
    bool there = g->child.process && !sys_process_info(g->child.process, &info);

    return g->cpu_tsc + (there ? info.run_tsc : 0);
}

/* --- start --- */

static void copy_str(char *to, size_t size, struct config_str s)
{
    size_t n = MIN(s.len, size - 1);

    memcpy(to, n ? s.text : "", n);
    to[n] = 0;
}

/* What cannot be in struct vmm_start is refused, not cut off. */
static const char *map_file(struct manager *m, struct guest *g, struct start_file *f,
                            struct config_str name, struct config_str args, u64 *vaddr)
{
    if (name.len >= sizeof(f->name) || args.len >= sizeof(f->args)) {
        return "a file's name or command line is too long";
    }
    copy_str(f->name, sizeof(f->name), name);
    copy_str(f->args, sizeof(f->args), args);
    const struct system_module *module = manager_module(m, MODULE_FILE, f->name);
    if (!module) {
        return "a file that it names was not loaded";
    }
    f->vaddr = *vaddr;
    f->bytes = module->bytes;
    return child_map_file(&g->child, module->handle, module->bytes, vaddr)
               ? "a file could not be mapped"
               : NULL;
}

static const char *fill_params(struct manager *m, struct guest *g, handle_t vm_in_child)
{
    const struct config_guest *c = g->config;
    struct vmm_start *s = g->child.params;
    u64 vaddr = START_FILES;

    if (c->options.len >= sizeof(s->options)) {
        return "its options are too long";
    }
    *s = (struct vmm_start){
        .base = s->base,
        .vm = vm_in_child,
        .cpus = c->cpus,
        .memory_bytes = c->memory_bytes,
        .load_address = c->load_address,
        .entry = c->entry,
        .image = c->image,
        .mode = c->mode,
        .populate = c->populate,
        .test_device = c->test_device,
        .module_count = c->module_count,
        .phys_bits = m->phys_bits,
        .wall_seconds = m->summary.wall_seconds,
        .wall_tsc = m->summary.boot_tsc,
    };
    format_buffer(s->name, sizeof(s->name), "%s", g->name);
    copy_str(s->options, sizeof(s->options), c->options);
    const char *wrong = map_file(m, g, &s->file, c->file, (struct config_str){0}, &vaddr);
    for (u32 i = 0; i < c->module_count && !wrong; i++) {
        wrong = map_file(m, g, &s->modules[i], c->modules[i], c->module_args[i], &vaddr);
    }
    return wrong;
}

static const char *create_vm(struct guest *g, handle_t *vm_in_child)
{
    struct vm_args args = {.cpus = g->config->cpus,
                           .payer = g->child.process,
                           .flags = g->config->apicv ? VM_APICV : 0};

    format_buffer(args.name, sizeof(args.name), "%s", g->name);
    s64 h = sys_vm_create(&args);
    if (h < 0) {
        return h == E_UNSUPPORTED ? "this machine has no virtualization"
                                  : "there is no kernel memory for its virtual machine";
    }
    g->vm = (handle_t)h;
    h = sys_handle_grant(g->child.process, g->vm, RIGHT_CONTROL | RIGHT_READ);
    *vm_in_child = (handle_t)h;
    return h < 0 ? "its virtual machine could not be passed on" : NULL;
}

static void ended(struct manager *m, struct guest *g, enum guest_end end);

void guest_start(struct manager *m, struct guest *g)
{
    const struct config_guest *c = g->config;
    struct child_args args = {
        .name = g->name,
        .index = g->index,
        .program = &m->vmm,
        .manager = m->event,
        .tsc_hz = m->summary.tsc_hz,
        .params_bytes = sizeof(struct vmm_start),
        .threads = START_VMM_THREADS(c->cpus),
        .memory_bytes = c->memory_bytes,
        .weight = c->weight,
        .affinity = c->pin,
        .view = &g->view,
        .kernel_bytes =
            GUEST_KERNEL_BYTES + c->cpus * GUEST_KERNEL_CPU_BYTES +
            c->memory_bytes / 256, /* 4 KiB entries of the guest's and the VMM's tables */
    };
    handle_t vm_in_child = 0;
    const char *wrong = NULL;

    g->ordered = GUEST_RUNNING;
    g->reason[0] = 0;
    g->hold_tsc = 0;
    console_note_start(m, g);
    g->start_tsc = sys_tsc();
    g->limit_tsc = g->limit_tsc ? g->limit_tsc : g->start_tsc;
    s64 error = child_create(&g->child, &args);
    if (error) {
        wrong = error == E_INVAL   ? "no CPU that it is pinned to is there"
                : error == E_LIMIT ? "there are too many guests and files for the manager's tables"
                                   : "there is no memory for its process";
    }
    if (!wrong) {
        wrong = create_vm(g, &vm_in_child);
    }
    if (!wrong) {
        wrong = fill_params(m, g, vm_in_child);
    }
    if (!wrong && child_start(&g->child)) {
        wrong = "its first thread could not be started";
    }
    g->state = GUEST_ACTIVE;
    if (wrong) {
        format_buffer(g->reason, sizeof(g->reason), "%s", wrong);
        ended(m, g, GUEST_REFUSED);
    }
}

/* --- end --- */

void guest_stop(struct guest *g, enum guest_end why)
{
    if (g->state == GUEST_ACTIVE && g->ordered == GUEST_RUNNING) {
        sys_process_kill(g->child.process);
    }
    g->ordered = why; /* the last order counts, and one that finds the end or a pause begun, too */
}

void guest_reset(struct manager *m, struct guest *g)
{
    if (g->state == GUEST_DONE && !m->quitting) {
        m->guests_left++;
        g->unmet = false;
        g->limit_tsc = g->restarts = 0;
        guest_start(m, g);
    } else if (g->state == GUEST_PAUSE) {
        g->restart_tsc = 0;
    } else {
        guest_stop(g, GUEST_RESET);
    }
}

/* Its time limit has waited with it. */
static void let_go(struct guest *g, u64 now)
{
    g->limit_tsc += g->hold_tsc ? now - g->hold_tsc : 0;
    g->hold_tsc = 0;
}

const char *guest_hold(struct guest *g, bool hold)
{
    u64 now = sys_tsc();

    if (g->state != GUEST_ACTIVE) {
        return "is not running";
    }
    if (!hold == !g->hold_tsc) {
        return hold ? "is paused already" : "is not paused";
    }
    let_go(g, now);
    g->hold_tsc = hold ? now : 0;
    child_hold(&g->child, hold);
    return NULL;
}

static bool met(const struct guest *g)
{
    switch (g->config->expect) {
    case EXPECT_SUCCESS:
        return g->end == GUEST_SUCCESS;
    case EXPECT_CRASH:
        return g->end == GUEST_CRASH;
    case EXPECT_TIME_LIMIT:
        return g->end == GUEST_TIME_LIMIT;
    case EXPECT_RESET:
        return g->end == GUEST_RESET;
    }
    return false;
}

static bool wants_restart(const struct manager *m, const struct guest *g)
{
    const struct config_guest *c = g->config;
    bool failed = g->end == GUEST_FAILURE || g->end == GUEST_CRASH || g->end == GUEST_VMM_FAULT ||
                  (g->end == GUEST_TIME_LIMIT && c->expect != EXPECT_TIME_LIMIT);
    bool again = c->restart == RESTART_ALWAYS || (c->restart == RESTART_ON_FAILURE && failed);

    if (m->quitting || g->ordered == GUEST_KILLED || g->end == GUEST_REFUSED) {
        return false; /* a refused image would be refused again */
    }
    return again && (!c->restart_limit || g->restarts < c->restart_limit);
}

static const char *reason_of(const struct guest *g)
{
    return g->reason[0] ? g->reason : guest_end_name(g->end);
}

static void finish(struct manager *m, struct guest *g)
{
    static const char *const expected[] = {
        [EXPECT_SUCCESS] = "success",
        [EXPECT_CRASH] = "crash",
        [EXPECT_TIME_LIMIT] = "time-limit",
        [EXPECT_RESET] = "reset",
    };
    bool as_expected = met(g);
    bool by_quit = m->quitting && g->end == GUEST_KILLED;

    if (g->end == GUEST_KILLED || g->end == GUEST_TIME_LIMIT) {
        g->reason[0] = 0; /* of an end before */
    }
    g->state = GUEST_DONE;
    m->guests_left--;
    g->unmet = !as_expected && !by_quit;
    output_line(&m->out, "guest %s: %s%s%s%s, %s%s, %lu ms, %lu exits", g->name,
                guest_end_name(g->end), g->reason[0] ? " (" : "", g->reason,
                g->reason[0] ? ")" : "",
                as_expected ? "as expected"
                : by_quit   ? "at quit"
                            : "expected ",
                as_expected || by_quit ? "" : expected[g->config->expect],
                manager_ms(m, g->run_tsc), g->exits);
    console_note_end(m, g);
}

/* The guest comes back after a pause. */
static void pause(struct manager *m, struct guest *g, u64 now, u32 steps)
{
    g->state = GUEST_PAUSE;
    g->ordered = GUEST_RUNNING;
    g->restart_tsc = now + ticks_of_ms(m, MIN(steps * RESTART_STEP_MS, RESTART_MAX_MS));
}

/* It reset its machine, which it may do as often as it likes, but not to keep the host busy. */
static void reset(struct manager *m, struct guest *g, u64 now)
{
    bool quick = g->ordered == GUEST_RUNNING && now - g->start_tsc < ticks_of_ms(m, QUICK_RESET_MS);

    output_line(&m->out, "guest %s: %s, starting again", g->name, reason_of(g));
    pause(m, g, now, g->quick_resets);
    g->quick_resets = quick ? g->quick_resets + 1 : 0;
}

/* The process is gone and its text printed: account for the run, then restart or finish. */
static void ended(struct manager *m, struct guest *g, enum guest_end end)
{
    u64 now = sys_tsc();

    g->end = end;
    let_go(g, now);
    g->run_tsc = guest_run_tsc(g, now);
    g->exits = guest_exits(g);
    g->cpu_tsc = guest_cpu_tsc(g);
    if (g->vm) {
        sys_handle_close(g->vm);
        g->vm = 0;
    }
    child_destroy(&g->child);
    bool asked = g->ordered == GUEST_RESET;
    if (asked || (g->end == GUEST_RESET && g->config->on_reset == ON_RESET_RESTART)) {
        if (!m->quitting && (asked || g->ordered == GUEST_RUNNING)) {
            reset(m, g, now);
            return;
        }
        g->end = m->quitting ? GUEST_KILLED : g->ordered;
    }
    if (!wants_restart(m, g)) {
        finish(m, g);
        return;
    }
    pause(m, g, now, g->restarts++);
    g->limit_tsc = 0;
    if (g->config->restart_limit) {
        output_line(&m->out, "guest %s ended: %s, restarting (%u of %u)", g->name, reason_of(g),
                    g->restarts, g->config->restart_limit);
    } else {
        output_line(&m->out, "guest %s ended: %s, restarting (%u)", g->name, reason_of(g),
                    g->restarts);
    }
}

/* How it ended, from what the kernel says and, if the process exited by itself, from its status. */
static void note_end(struct guest *g, const struct process_info *info)
{
    g->end = GUEST_VMM_FAULT;
    g->state = GUEST_DRAINING;
    if (info->end == PROCESS_FAULT) {
        format_buffer(g->reason, sizeof(g->reason), "its VMM got exception %ld at %lx",
                      info->status, info->address);
    } else if (info->end == PROCESS_KILLED) {
        g->end = g->ordered != GUEST_RUNNING ? g->ordered : GUEST_KILLED;
        if (g->end == GUEST_RESET) {
            format_buffer(g->reason, sizeof(g->reason), "reset by the monitor");
        }
    } else if (info->status == GUEST_SUCCESS || info->status == GUEST_FAILURE ||
               info->status == GUEST_CRASH || info->status == GUEST_REFUSED ||
               info->status == GUEST_VMM_FAULT || info->status == GUEST_RESET) {
        g->end = (enum guest_end)info->status;
        child_reason(&g->child, g->reason, sizeof(g->reason));
    } else {
        format_buffer(g->reason, sizeof(g->reason), "its VMM exited with %ld", info->status);
    }
}

/* --- rounds --- */

static bool poll_active(struct manager *m, struct guest *g, u64 bits, u64 now)
{
    u64 limit = g->config->time_limit_ms;
    struct process_info info;
    bool more = child_print(&g->child, &m->out, now);

    child_print_partial(&g->child, &m->out, now, ticks_of_ms(m, PARTIAL_LINE_MS));
    if (limit && !g->hold_tsc && g->ordered == GUEST_RUNNING &&
        now - g->limit_tsc >= ticks_of_ms(m, limit)) {
        guest_stop(g, GUEST_TIME_LIMIT);
    }
    if ((bits & CHILD_END_BIT(g->index)) && child_ended(&g->child, &info)) {
        g->run_tsc = guest_run_tsc(g, child_end_tsc(&g->child, g->start_tsc, now));
        note_end(g, &info);
        more = true;
    }
    return more;
}

bool guests_poll(struct manager *m, u64 bits, u64 now)
{
    bool more = false;

    for (u32 n = 0; n < m->guest_count; n++) {
        struct guest *g = &m->guests[(m->round + n) % m->guest_count];

        switch (g->state) {
        case GUEST_ACTIVE:
            more |= poll_active(m, g, bits, now);
            break;
        case GUEST_DRAINING:
            if (child_drain(&g->child, &m->out, now)) {
                ended(m, g, g->end);
            }
            break;
        case GUEST_PAUSE:
            if (g->ordered != GUEST_RUNNING) {
                g->end = g->ordered;
                finish(m, g);
            } else if (now >= g->restart_tsc) {
                guest_start(m, g);
            }
            break;
        default:
            break;
        }
    }
    m->round++;
    return more;
}

u64 guests_deadline(const struct manager *m, u64 now)
{
    u64 soonest = ~0ull;

    for (u32 i = 0; i < m->guest_count; i++) {
        const struct guest *g = &m->guests[i];

        if (g->state == GUEST_PAUSE) {
            soonest = MIN(soonest, g->restart_tsc);
        } else if (g->state == GUEST_ACTIVE && g->config->time_limit_ms && !g->hold_tsc &&
                   g->ordered == GUEST_RUNNING) {
            soonest = MIN(soonest, g->limit_tsc + ticks_of_ms(m, g->config->time_limit_ms));
        }
    }
    return MAX(soonest, now);
}
