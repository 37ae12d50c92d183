/* SPDX-License-Identifier: MIT */
/* The monitor: commands typed on the host's console, a line each. */
#include "lib/string.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

#define POLL_MS 20

struct command {
    const char *name;
    const char *argument; /* NULL: none; else a guest's name is needed, and more if it says so */
    const char *help;
    void (*run)(struct manager *m, struct guest *g, const char *rest);
};

static void run_help(struct manager *m, struct guest *g, const char *rest);

static void run_list(struct manager *m, struct guest *g, const char *rest)
{
    (void)g;
    (void)rest;
    report_list(m);
}

static void run_stats(struct manager *m, struct guest *g, const char *rest)
{
    (void)rest;
    report_stats(m, g);
}

static void run_shares(struct manager *m, struct guest *g, const char *rest)
{
    (void)g;
    (void)rest;
    report_shares(m);
}

static void run_isolation(struct manager *m, struct guest *g, const char *rest)
{
    (void)g;
    (void)rest;
    report_isolation(m, true);
}

static void run_kill(struct manager *m, struct guest *g, const char *rest)
{
    (void)m;
    (void)rest;
    guest_stop(g, GUEST_KILLED);
}

static void run_send(struct manager *m, struct guest *g, const char *rest)
{
    u32 n = (u32)strlen(rest);

    if (g->state != GUEST_ACTIVE) {
        output_line(&m->out, "%s is not running", g->name);
    } else if (child_type(&g->child, rest, n) != n || child_type(&g->child, "\n", 1) != 1) {
        output_line(&m->out, "%s has not read what was typed before: the rest is lost", g->name);
    }
}

static void run_screen(struct manager *m, struct guest *g, const char *rest)
{
    (void)rest;
    if (g->state != GUEST_ACTIVE) {
        output_line(&m->out, "%s is not running", g->name);
    } else {
        sys_event_signal(g->child.event, EVENT_SCREEN);
    }
}

static void run_quit(struct manager *m, struct guest *g, const char *rest)
{
    (void)g;
    (void)rest;
    m->quitting = true;
    for (u32 i = 0; i < m->guest_count; i++) {
        guest_stop(&m->guests[i], GUEST_KILLED);
    }
}

/* A deliberate end of the kernel, to see its report. */
static void run_panic(struct manager *m, struct guest *g, const char *rest)
{
    (void)g;
    (void)rest;
    output_drain(&m->out);
    sys_system_power(HANDLE_SYSTEM, POWER_PANIC);
}

static const struct command commands[] = {
    {"help",      NULL,        "this list",                                   run_help     },
    {"list",      NULL,        "the guests and what they do",                 run_list     },
    {"stats",     "NAME",      "exits, memory and CPU time of a guest",       run_stats    },
    {"shares",    NULL,        "what the scheduler gave each guest",          run_shares   },
    {"isolation", NULL,        "check that nobody can reach what is others'", run_isolation},
    {"send",      "NAME TEXT", "type a line on a guest's console",            run_send     },
    {"screen",    "NAME",      "what a guest shows in VGA's text mode",       run_screen   },
    {"kill",      "NAME",      "end a guest",                                 run_kill     },
    {"panic",     NULL,        "make the kernel panic, to see its report",    run_panic    },
    {"quit",      NULL,        "end all guests, then the machine",            run_quit     },
};

static void run_help(struct manager *m, struct guest *g, const char *rest)
{
    (void)g;
    (void)rest;
    for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];
        output_line(&m->out, "  %-9s %-9s  %s", c->name, c->argument ? c->argument : "", c->help);
    }
}

/* Ends the word at *s and returns what follows it, without blanks. */
static char *split(char *s)
{
    while (*s && *s != ' ') {
        s++;
    }
    while (*s == ' ') {
        *s++ = 0;
    }
    return s;
}

static void obey(struct manager *m, char *line)
{
    while (*line == ' ') {
        line++;
    }
    if (!*line) {
        return;
    }
    output_line(&m->out, "> %s", line);
    char *name = split(line);
    for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
        struct guest *g = NULL;
        char *rest = name;

        if (strcmp(commands[i].name, line) != 0) {
            continue;
        }
        if (commands[i].argument) {
            rest = split(name);
            g = guest_find(m, name);
            if (!g) {
                output_line(&m->out, *name ? "no guest is called %s; try list" : "which guest%s?",
                            name);
                return;
            }
        }
        commands[i].run(m, g, rest);
        return;
    }
    output_line(&m->out, "%s is no command; try help", line);
}

void monitor_poll(struct manager *m, u64 now)
{
    char typed[32];

    if (now - m->typed_tsc < m->summary.tsc_hz / 1000 * POLL_MS) {
        return;
    }
    m->typed_tsc = now;
    s64 n = sys_console_read(HANDLE_SYSTEM, typed, sizeof(typed));
    for (s64 i = 0; i < n && i < (s64)sizeof(typed); i++) {
        char c = typed[i];

        if (c == '\r' || c == '\n') {
            m->typed[m->typed_count] = 0;
            m->typed_count = 0;
            obey(m, m->typed);
        } else if (c == 0x7f || c == '\b') {
            m->typed_count -= m->typed_count != 0;
        } else if (c >= ' ' && c < 0x7f && m->typed_count < sizeof(m->typed) - 1) {
            m->typed[m->typed_count++] = c;
        }
    }
}
