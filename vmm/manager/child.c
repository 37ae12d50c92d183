/* SPDX-License-Identifier: MIT */
/* A process that the manager started. One memory object holds all that is the child's alone:
 * parameters, shared area, writable segments, stacks; the manager keeps it mapped as a whole. */
#include "vmm/manager/child.h"

#include "lib/format.h"
#include "lib/string.h"
#include "vmm/sys.h"

static s64 map(struct child *c, u64 offset, u64 vaddr, u64 bytes, u64 flags)
{
    struct map_args args = {c->process, c->memory, offset, vaddr, bytes, flags};

    return sys_memory_map(&args);
}

static u64 window(const struct child *c)
{
    return CHILD_WINDOW + c->index * CHILD_STEP;
}

/* The child's memory in the manager, zeroed. */
static s64 create_memory(struct child *c)
{
    s64 memory = sys_memory_create(c->bytes);

    if (memory < 0) {
        return memory;
    }
    c->memory = (handle_t)memory;
    struct map_args own = {0, c->memory, 0, window(c), c->bytes, MAP_READ | MAP_WRITE};
    return sys_memory_map(&own);
}

static s64 create_process(struct child *c, const struct child_args *args)
{
    struct process_args process = {
        .memory_bytes = args->memory_bytes,
        .kernel_bytes = args->kernel_bytes,
        .event = args->manager,
        .event_bits = CHILD_END_BIT(args->index),
        .weight = args->weight,
        .affinity = args->affinity,
    };

    format_buffer(process.name, sizeof(process.name), "%s", args->name);
    s64 h = sys_process_create(&process);
    if (h < 0) {
        return h;
    }
    c->process = (handle_t)h;
    h = sys_event_create();
    if (h < 0) {
        return h;
    }
    c->event = (handle_t)h;
    s64 event = sys_handle_grant(c->process, c->event, RIGHT_READ | RIGHT_WRITE);
    s64 manager = sys_handle_grant(c->process, args->manager, RIGHT_WRITE);
    s64 system =
        args->system_rights ? sys_handle_grant(c->process, HANDLE_SYSTEM, args->system_rights) : 0;
    *(struct start_base *)window(c) = (struct start_base){
        .magic = START_MAGIC,
        .bytes = args->params_bytes,
        .tsc_hz = args->tsc_hz,
        .manager_bits = CHILD_OUT_BIT(args->index),
        .manager = (handle_t)manager,
        .event = (handle_t)event,
        .system = (handle_t)system,
    };
    return MIN(MIN(event, manager), MIN(system, 0));
}

s64 child_create(struct child *c, const struct child_args *args)
{
    u64 params = ALIGN_UP(args->params_bytes, PAGE_SIZE);
    u64 shared = ALIGN_UP(sizeof(struct start_shared), PAGE_SIZE);
    u64 data = program_data_bytes(args->program);

    memset(c, 0, sizeof(*c));
    format_buffer(c->name, sizeof(c->name), "%s", args->name);
    c->index = args->index;
    c->program = args->program;
    c->view = args->view;
    c->bytes = params + shared + data + args->threads * START_STACK_BYTES;
    if (c->bytes > CHILD_STEP / 2) {
        return E_INVAL;
    }
    s64 e = create_memory(c);
    if (!e) {
        e = create_process(c, args);
    }
    if (!e) {
        e = program_map(c->program, c->process, c->memory, window(c), params + shared);
    }
    if (!e) {
        e = map(c, 0, START_PARAMS, params, MAP_READ);
    }
    if (!e) {
        e = map(c, params, START_SHARED, shared, MAP_READ | MAP_WRITE);
    }
    for (u32 i = 0; i < args->threads && !e; i++) {
        e = map(c, params + shared + data + i * START_STACK_BYTES,
                START_STACK + (i + 1) * START_STACK_STEP - START_STACK_BYTES, START_STACK_BYTES,
                MAP_READ | MAP_WRITE);
    }
    if (e) {
        child_destroy(c);
        return e;
    }
    c->params = (void *)window(c);
    c->shared = (struct start_shared *)(window(c) + params);
    ring_init(&c->out, &c->shared->out, START_RING_BYTES);
    ring_init(&c->in, &c->shared->in, START_INPUT_BYTES);
    return 0;
}

s64 child_map_file(struct child *c, handle_t memory, u64 bytes, u64 *vaddr)
{
    struct map_args args = {c->process, memory, 0, *vaddr, ALIGN_UP(bytes, PAGE_SIZE), MAP_READ};

    *vaddr = ALIGN_UP(*vaddr + bytes, SIZE_2M) + SIZE_2M;
    return bytes ? sys_memory_map(&args) : 0;
}

s64 child_start(struct child *c)
{
    struct thread_args args = {
        .entry = c->program->entry,
        .stack = START_STACK + START_STACK_STEP,
        .arg = START_PARAMS,
    };
    s64 h = sys_thread_create(c->process, &args);

    return h < 0 ? h : sys_handle_close((handle_t)h);
}

u32 child_read(struct child *c, void *bytes, u32 max)
{
    u32 n = ring_read(&c->out, bytes, max);

    if (n && __atomic_exchange_n(&c->shared->out_waiting, 0, __ATOMIC_SEQ_CST)) {
        sys_event_signal(c->event, EVENT_OUT_ROOM);
    }
    return n;
}

static void show(struct child *c, struct output *o, u64 now, const void *bytes, u32 n)
{
    if (c->view && c->view->mode == LINES_RAW) {
        lines_raw(c->view, o, bytes, n);
    } else {
        lines_add(&c->lines, o, c->name, bytes, n, now);
    }
}

/* Up to max bytes, those that were kept first, to where the view says. */
static u32 print(struct child *c, struct output *o, u64 now, u32 max)
{
    u8 bytes[CHILD_ROUND_BYTES];
    struct view *v = c->view;
    u32 n = 0;

    max = MIN(max, (u32)sizeof(bytes));
    if (v && v->mode == LINES_KEEP && !c->drain_left) {
        n = child_read(c, bytes, max);
        view_keep(v, bytes, n);
        return n;
    }
    if (output_room(o) < LINES_ROOM(sizeof(bytes))) {
        return 0;
    }
    if (v && v->lost) {
        char text[64];
        size_t length = format_buffer(text, sizeof(text), "(%lu bytes were not kept)\n", v->lost);
        v->lost = 0;
        show(c, o, now, text, (u32)length);
    }
    n = v ? view_take(v, bytes, max) : 0;
    n += child_read(c, bytes + n, max - n);
    show(c, o, now, bytes, n);
    return n;
}

bool child_print(struct child *c, struct output *o, u64 now)
{
    return print(c, o, now, CHILD_ROUND_BYTES) == CHILD_ROUND_BYTES;
}

void child_print_partial(struct child *c, struct output *o, u64 now, u64 age_tsc)
{
    if (c->lines.length && now - c->lines.since_tsc >= age_tsc && output_room(o) >= LINES_ROOM(1)) {
        lines_flush(&c->lines, o, c->name);
    }
}

bool child_ended(struct child *c, struct process_info *info)
{
    s64 e = sys_process_info(c->process, info);

    if (e || info->end == PROCESS_RUNNING) {
        return false;
    }
    c->drain_left = START_RING_BYTES + (c->view ? c->view->count : 0);
    if (c->view && c->view->mode == LINES_KEEP) {
        c->view->mode = LINES_SHARED; /* its last words are news */
    }
    return true;
}

bool child_drain(struct child *c, struct output *o, u64 now)
{
    while (c->drain_left) { /* a hostile ring never runs empty: one filling is the most it has */
        if (output_room(o) < LINES_ROOM(CHILD_ROUND_BYTES)) {
            return false;
        }
        u32 n = print(c, o, now, c->drain_left);
        if (!n) {
            break;
        }
        c->drain_left -= n;
    }
    c->drain_left = 0;
    lines_flush(&c->lines, o, c->name);
    return true;
}

u32 child_type(struct child *c, const void *text, u32 n)
{
    return ring_write(&c->in, text, n);
}

void child_typed(struct child *c)
{
    sys_event_signal(c->event, EVENT_IN_DATA);
}

void child_hold(struct child *c, bool hold)
{
    __atomic_store_n(&c->shared->hold, hold, __ATOMIC_SEQ_CST);
    sys_event_signal(c->event, EVENT_HOLD);
}

void child_reason(const struct child *c, char *text, size_t size)
{
    size_t n = MIN(size, sizeof(c->shared->reason));

    for (size_t i = 0; i < n; i++) {
        char ch = ((const volatile char *)c->shared->reason)[i];
        text[i] = ch >= ' ' && ch < 0x7f ? ch : 0;
        if (!text[i]) {
            break;
        }
    }
    text[n - 1] = 0;
}

u64 child_end_tsc(const struct child *c, u64 start, u64 now)
{
    u64 end = __atomic_load_n(&c->shared->end_tsc, __ATOMIC_RELAXED);

    return end > start && end < now ? end : now;
}

void child_destroy(struct child *c)
{
    if (c->process) {
        sys_process_kill(c->process);
        sys_handle_close(c->process);
    }
    if (c->event) {
        sys_handle_close(c->event);
    }
    if (c->memory) {
        sys_memory_unmap(0, window(c), c->bytes);
        sys_handle_close(c->memory);
    }
    c->process = c->event = c->memory = 0;
    c->shared = NULL;
    c->params = NULL;
}
