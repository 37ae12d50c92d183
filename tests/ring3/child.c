/* SPDX-License-Identifier: MIT */
/* Children: processes with this program's own image, and what they do everything with. */
#include "tests/ring3/ring3.h"

#include "lib/format.h"
#include "lib/string.h"

#define WINDOW       0x40000000ull /* of child n in the parent */
#define WINDOW_STEP  0x01000000ull
#define SEGMENT_COPY (WINDOW + 64 * WINDOW_STEP) /* where the parent sees a segment's original */
#define END_BIT      BIT(0)
#define MAX_CHILDREN 64

static u64 slots; /* in use */

static s64 map_into(handle_t process, handle_t source, u64 offset, u64 vaddr, u64 bytes, u64 flags)
{
    struct map_args args = {process, source, offset, vaddr, bytes, flags};

    return sys_memory_map(&args);
}

static u64 stacks_bytes(void)
{
    return CHILD_THREADS * CHILD_STACK_BYTES;
}

static u64 data_bytes(void)
{
    u64 bytes = 0;

    for (u32 i = 0; i < start->segment_count; i++) {
        bytes += start->segments[i].flags & MAP_WRITE ? start->segments[i].bytes : 0;
    }
    return bytes;
}

/* Text and constants are shared; data is copied as it was when the parent started. */
static s64 map_program(struct child *c, u64 offset)
{
    u64 window = WINDOW + c->slot * WINDOW_STEP;

    for (u32 i = 0; i < start->segment_count; i++) {
        const struct start_segment *s = &start->segments[i];
        s64 e;

        if (!(s->flags & MAP_WRITE)) {
            e = map_into(c->process, s->memory, 0, s->vaddr, s->bytes, s->flags);
        } else {
            e = map_into(0, s->memory, 0, SEGMENT_COPY, s->bytes, MAP_READ);
            if (!e) {
                memcpy((void *)(window + offset), (const void *)SEGMENT_COPY, s->bytes);
                e = sys_memory_unmap(0, SEGMENT_COPY, s->bytes);
            }
            e = e ? e : map_into(c->process, c->memory, offset, s->vaddr, s->bytes, s->flags);
            offset += s->bytes;
        }
        if (e) {
            return e;
        }
    }
    return 0;
}

static s64 map_all(struct child *c)
{
    u64 window = WINDOW + c->slot * WINDOW_STEP, bytes = PAGE_SIZE + stacks_bytes() + data_bytes();
    s64 e = map_into(0, c->memory, 0, window, bytes, MAP_READ | MAP_WRITE);

    if (!e) {
        e = map_into(c->process, c->memory, 0, CHILD_PAGE, PAGE_SIZE, MAP_READ | MAP_WRITE);
    }
    for (u32 i = 0; i < CHILD_THREADS && !e; i++) {
        e = map_into(c->process, c->memory, PAGE_SIZE + i * CHILD_STACK_BYTES,
                     CHILD_STACK + (i + 1) * CHILD_STACK_STEP - CHILD_STACK_BYTES,
                     CHILD_STACK_BYTES, MAP_READ | MAP_WRITE);
    }
    return e ? e : map_program(c, PAGE_SIZE + stacks_bytes());
}

bool child_make(struct child *c, u32 scenario, const struct child_options *o)
{
    struct process_args args = {
        .memory_bytes = o && o->memory_bytes ? o->memory_bytes : 1 << 20,
        .kernel_bytes = o && o->kernel_bytes ? o->kernel_bytes : 256 << 10,
        .event_bits = END_BIT,
        .affinity = o ? o->confine : 0,
    };
    s64 h;

    memset(c, 0, sizeof(*c));
    for (c->slot = 0; slots >> c->slot & 1; c->slot++) {
    }
    slots |= BIT(c->slot);
    h = sys_event_create();
    if (h > 0) {
        c->event = args.event = (handle_t)h;
        h = sys_memory_create(PAGE_SIZE + stacks_bytes() + data_bytes());
    }
    if (h > 0) {
        c->memory = (handle_t)h;
        format_buffer(args.name, sizeof(args.name), "%s", scenarios[scenario].name);
        h = sys_process_create(&args);
    }
    if (h > 0) {
        c->process = (handle_t)h;
        h = map_all(c);
    }
    if (!check(h == 0, "making a child for %s: %ld", scenarios[scenario].name, h)) {
        child_close(c);
        return false;
    }
    c->page = (struct child_page *)(WINDOW + c->slot * WINDOW_STEP);
    *c->page = (struct child_page){
        .magic = CHILD_MAGIC,
        .scenario = scenario,
        .virt = start->virt,
        .tsc_hz = start->base.tsc_hz,
    };
    if (o) {
        memcpy(c->page->args, o->args, sizeof(o->args));
    }
    return true;
}

bool child_give(struct child *c, u32 index, handle_t h, u64 rights)
{
    s64 got = sys_handle_grant(c->process, h, rights);

    c->page->handles[index] = got > 0 ? (handle_t)got : 0;
    return check(got > 0, "granting a handle to a child: %ld", got);
}

bool child_start(struct child *c, const struct child_options *o)
{
    struct thread_args args = {
        .entry = start->entry,
        .stack = CHILD_STACK + CHILD_STACK_STEP,
        .arg = CHILD_PAGE,
        .affinity = o ? o->affinity : 0,
        .weight = o ? o->weight : 0,
    };
    s64 h = sys_thread_create(c->process, &args);

    if (!check(h > 0, "starting a child: %ld", h)) {
        return false;
    }
    sys_handle_close((handle_t)h);
    return true;
}

static bool ended(struct child *c, struct process_info *info, u64 deadline)
{
    for (;;) {
        s64 e = sys_process_info(c->process, info);

        if (e || info->end != PROCESS_RUNNING) {
            return check(e == 0, "information about a child: %ld", e);
        }
        if (sys_tsc() >= deadline) {
            return false;
        }
        sys_event_wait(c->event, END_BIT, MIN(deadline, sys_tsc() + ms_to_tsc(50)));
    }
}

bool child_wait(struct child *c, u64 ms, struct process_info *info)
{
    memset(info, 0, sizeof(*info));
    ms = steady() ? ms : 10 * ms;
    if (ended(c, info, sys_tsc() + ms_to_tsc(ms))) {
        return true;
    }
    sys_process_kill(c->process);
    check(ended(c, info, sys_tsc() + ms_to_tsc(steady() ? 5000 : 50000)),
          "a killed child ends within 5 s");
    return false;
}

void child_close(struct child *c)
{
    u64 window = WINDOW + c->slot * WINDOW_STEP, bytes = PAGE_SIZE + stacks_bytes() + data_bytes();

    if (c->page) {
        s64 e = sys_memory_unmap(0, window, bytes);
        check(e == 0, "unmapping a child's memory: %ld", e);
    }
    handle_t handles[] = {c->process, c->memory, c->event};
    for (u32 i = 0; i < ARRAY_SIZE(handles); i++) {
        if (handles[i]) {
            s64 e = sys_handle_close(handles[i]);
            check(e == 0, "closing a child's handle: %ld", e);
        }
    }
    slots &= ~BIT(c->slot);
    memset(c, 0, sizeof(*c));
}

/* The child's lines, indented. */
static void print_text(const char *name, const struct child_page *page)
{
    u32 used = MIN(page->text_used, CHILD_TEXT), at = 0;

    while (at < used) {
        u32 n = 0;

        while (at + n < used && page->text[at + n] != '\n') {
            n++;
        }
        say("  %s: %.*s", name, (int)MIN(n, 180), page->text + at);
        at += n + 1;
    }
}

bool child_run(u32 scenario, const struct child_options *o, u64 ms)
{
    struct process_info info;
    struct child c;
    bool ok;

    if (!child_make(&c, scenario, o)) {
        return false;
    }
    ok = child_start(&c, o) &&
         check(child_wait(&c, ms, &info), "%s ends within %lu ms", scenarios[scenario].name, ms);
    print_text(scenarios[scenario].name, c.page);
    if (ok) {
        ok = check(info.end == PROCESS_EXITED && info.status == 0,
                   "%s: end %u, status %ld at %lx, %u checks", scenarios[scenario].name, info.end,
                   info.status, info.address, c.page->checks);
    }
    child_close(&c);
    return ok;
}

/* --- in the child --- */

bool child_check(struct child_page *page, bool ok, const char *format, ...)
{
    va_list args;

    __atomic_fetch_add(&page->checks, 1, __ATOMIC_RELAXED);
    if (ok) {
        return true;
    }
    if (__atomic_fetch_add(&page->failures, 1, __ATOMIC_RELAXED) < 12 &&
        page->text_used < CHILD_TEXT - 200) {
        u32 at = page->text_used;

        va_start(args, format);
        at += (u32)MIN(format_vbuffer(page->text + at, 190, format, args), 189);
        va_end(args);
        page->text[at++] = '\n';
        page->text_used = at;
    }
    return false;
}

s64 child_thread(u32 n, void (*entry)(struct child_page *page), struct child_page *page)
{
    struct thread_args args = {
        .entry = (u64)entry,
        .stack = CHILD_STACK + (n + 1) * CHILD_STACK_STEP - 8, /* as after a call */
        .arg = (u64)page,
    };

    return sys_thread_create(0, &args);
}

void child_sleep(void)
{
    s64 event = sys_event_create();

    for (;;) {
        sys_event_wait((handle_t)event, BIT(0), 0);
    }
}

u64 random_next(u64 *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
