/* SPDX-License-Identifier: MIT */
/* Who hears what is typed, and who is seen. */
#include "vmm/manager/console.h"

#include "lib/string.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

/* A guest that has read nothing for so long is taken to be deaf when somebody wants to leave it:
 * else the escape key behind the rest of a long text would never be seen. */
#define DEAF_MS 3000

#define PROMPT  "socle> "

static enum lines_view view_of(const struct console *con, const struct guest *g)
{
    return !con->attached ? LINES_SHARED : con->attached == g ? LINES_RAW : LINES_KEEP;
}

static void set_attached(struct manager *m, struct guest *attached)
{
    struct console *con = &m->console;

    con->attached = attached;
    con->last = attached ? attached : con->last;
    con->interactive = true;
    con->full_tsc = 0;
    con->deaf = false;
    for (u32 i = 0; i < m->guest_count; i++) {
        struct guest *g = &m->guests[i];
        lines_flush(&g->child.lines, &m->out, g->name);
        g->view.mode = view_of(con, g);
    }
}

void console_attach(struct manager *m, struct guest *g)
{
    if (g->state == GUEST_DONE) {
        output_line(&m->out, "%s has ended; 'reset %s' starts it again", g->name, g->name);
        return;
    }
    set_attached(m, g);
    output_line(&m->out, "attached to %s; Ctrl-] leads back to the monitor", g->name);
}

static void detach(struct manager *m)
{
    const struct guest *g = m->console.attached;

    set_attached(m, NULL);
    output_line(&m->out, "monitor; 'attach %s' or Ctrl-] leads to a guest, 'help' tells more",
                g->name);
}

void console_note_start(struct manager *m, struct guest *g)
{
    g->view.mode = view_of(&m->console, g);
}

void console_note_end(struct manager *m, struct guest *g)
{
    if (m->console.attached == g) {
        detach(m);
    }
}

/* The one behind the last, of those that have not ended. */
static void attach_next(struct manager *m)
{
    u32 from = m->console.last ? m->console.last->index + 1 : 0;

    for (u32 i = 0; i < m->guest_count; i++) {
        struct guest *g = &m->guests[(from + i) % m->guest_count];
        if (g->state != GUEST_DONE) {
            console_attach(m, g);
            return;
        }
    }
    output_line(&m->out, "no guest is running");
}

/* Who is meant by typing before anything was said. */
static void attach_default(struct manager *m)
{
    for (u32 i = 0; i < m->guest_count; i++) {
        if (m->guests[i].config->attach && m->guests[i].state != GUEST_DONE) {
            console_attach(m, &m->guests[i]);
            return;
        }
    }
}

/* A byte for the guest; false: not yet. */
static bool deliver(struct manager *m, struct guest *g, u8 c, u64 now)
{
    struct console *con = &m->console;

    if (g->state != GUEST_ACTIVE) {
        return true; /* typed at a machine that is off */
    }
    if (child_type(&g->child, &c, 1)) {
        con->full_tsc = 0;
        con->deaf = false;
        return true;
    }
    con->full_tsc = con->full_tsc ? con->full_tsc : now;
    if (!con->deaf && input_presses(&m->input) &&
        now - con->full_tsc > m->summary.tsc_hz / 1000 * DEAF_MS) {
        con->deaf = true;
        output_line(&m->out, "%s does not read what is typed: the rest is dropped", g->name);
    }
    return con->deaf;
}

static void command(struct manager *m, u8 c)
{
    struct edit *e = &m->console.edit;

    if (c == CONSOLE_ESCAPE) {
        *e = (struct edit){0};
        attach_next(m);
        return;
    }
    switch (edit_feed(e, c)) {
    case EDIT_LINE:
        monitor_obey(m, e->text);
        break;
    case EDIT_TOO_LONG:
        output_line(&m->out, "error: nothing was done: a command has at most %u characters",
                    EDIT_BYTES - 1);
        break;
    case EDIT_MORE:
        break;
    }
}

/* False: it has to wait. */
static bool handle(struct manager *m, u8 c, u64 now)
{
    struct console *con = &m->console;

    bool first = !con->interactive;

    con->interactive = true;
    if (first && c == CONSOLE_ESCAPE) {
        return true; /* for the monitor, whoever else could be meant */
    }
    if (first) {
        attach_default(m);
    }
    if (!con->attached) {
        command(m, c);
    } else if (c == CONSOLE_ESCAPE) {
        detach(m);
    } else {
        return deliver(m, con->attached, c, now);
    }
    return true;
}

void console_poll(struct manager *m, u64 now)
{
    struct console *con = &m->console;

    while (con->waiting || input_next(&m->input, &con->next)) {
        con->waiting = !handle(m, con->next, now);
        if (con->waiting) {
            break;
        }
    }
    if (con->attached && con->attached->state == GUEST_ACTIVE) {
        child_typed(&con->attached->child);
    }
}

void console_prompt(struct manager *m)
{
    const struct console *con = &m->console;
    const u32 width = OUTPUT_PROMPT - (sizeof(PROMPT) - 1);
    char text[OUTPUT_PROMPT] = PROMPT;

    if (con->attached || !con->interactive || m->quitting || output_room(&m->out) != OUTPUT_BYTES) {
        return;
    }
    u32 n = MIN(con->edit.count, width); /* the end of a long line */
    memcpy(text + sizeof(PROMPT) - 1, con->edit.text + con->edit.count - n, n);
    output_prompt(&m->out, text, (u32)sizeof(PROMPT) - 1 + n);
}
