/* SPDX-License-Identifier: MIT */
/* The monitor: commands that were typed on the host's console. */
#include "lib/string.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

struct command {
    const char *name;
    const char *help;
    void (*all)(struct manager *m); /* the one of the three that there is */
    void (*one)(struct manager *m, struct guest *g);
    void (*text)(struct manager *m, struct guest *g, const char *text);
};

static void run_isolation(struct manager *m)
{
    report_isolation(m, true);
}

static void run_kill(struct manager *m, struct guest *g)
{
    (void)m;
    guest_stop(g, GUEST_KILLED);
}

static bool running(struct manager *m, const struct guest *g)
{
    if (g->state != GUEST_ACTIVE) {
        output_line(&m->out, "%s is not running", g->name);
    }
    return g->state == GUEST_ACTIVE;
}

static void type(struct manager *m, struct guest *g, const char *text, char last)
{
    u32 n = (u32)strlen(text);

    if (!running(m, g)) {
        return;
    }
    if (child_type(&g->child, text, n) != n || child_type(&g->child, &last, 1) != 1) {
        output_line(&m->out, "%s has not read what was typed before: the rest is lost", g->name);
    }
    child_typed(&g->child);
}

static void run_send(struct manager *m, struct guest *g, const char *text)
{
    type(m, g, text, '\n');
}

static void run_escape(struct manager *m, struct guest *g)
{
    type(m, g, "", CONSOLE_ESCAPE);
    console_attach(m, g);
}

static void say_held(struct manager *m, struct guest *g, bool hold)
{
    const char *wrong = guest_hold(g, hold);

    output_line(&m->out, "%s %s", g->name, wrong ? wrong : hold ? "is paused" : "goes on");
}

static void run_pause(struct manager *m, struct guest *g)
{
    say_held(m, g, true);
}

static void run_resume(struct manager *m, struct guest *g)
{
    say_held(m, g, false);
}

static void run_screen(struct manager *m, struct guest *g)
{
    if (running(m, g)) {
        sys_event_signal(g->child.event, EVENT_SCREEN);
    }
}

static void run_quit(struct manager *m)
{
    m->quitting = true;
    for (u32 i = 0; i < m->guest_count; i++) {
        guest_stop(&m->guests[i], GUEST_KILLED);
    }
}

/* A deliberate end of the kernel, to see its report. */
static void run_panic(struct manager *m)
{
    output_drain(&m->out);
    sys_system_power(HANDLE_SYSTEM, POWER_PANIC);
}

static void run_help(struct manager *m);

static const struct command commands[] = {
    {"help",      "this list",                                    .all = run_help      },
    {"list",      "the guests and what they do",                  .all = report_list   },
    {"attach",    "type at a guest; Ctrl-] leads back",           .one = console_attach},
    {"send",      "type a line on a guest's console",             .text = run_send     },
    {"escape",    "type Ctrl-] at a guest, and attach to it",     .one = run_escape    },
    {"stats",     "exits, memory and CPU time of a guest",        .one = report_stats  },
    {"screen",    "what a guest shows in VGA's text mode",        .one = run_screen    },
    {"pause",     "stop a guest for a while",                     .one = run_pause     },
    {"resume",    "let it go on",                                 .one = run_resume    },
    {"reset",     "start a guest again, also one that has ended", .one = guest_reset   },
    {"kill",      "end a guest",                                  .one = run_kill      },
    {"shares",    "what the scheduler gave each guest",           .all = report_shares },
    {"isolation", "check that nobody can reach what is others'",  .all = run_isolation },
    {"panic",     "make the kernel panic, to see its report",     .all = run_panic     },
    {"quit",      "end all guests, then the machine",             .all = run_quit      },
};

static void run_help(struct manager *m)
{
    for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];
        const char *argument = c->all ? "" : c->one ? "NAME" : "NAME TEXT";

        output_line(&m->out, "  %-9s %-9s  %s", c->name, argument, c->help);
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

void monitor_obey(struct manager *m, char *line)
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
        const struct command *c = &commands[i];

        if (strcmp(c->name, line) != 0) {
            continue;
        }
        if (c->all) {
            c->all(m);
            return;
        }
        char *rest = split(name);
        struct guest *g = guest_find(m, name);
        if (!g) {
            output_line(&m->out, *name ? "no guest is called %s; try list" : "which guest%s?",
                        name);
        } else if (c->one) {
            c->one(m, g);
        } else {
            c->text(m, g, rest);
        }
        return;
    }
    output_line(&m->out, "%s is no command; 'help' lists them, 'attach NAME' types at a guest",
                line);
}
