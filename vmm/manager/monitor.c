/* SPDX-License-Identifier: MIT */
/* The monitor: commands that were typed on the host's console. */
#include "lib/string.h"
#include "vmm/manager/manager.h"
#include "vmm/sys.h"

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
        return;
    }
    if (child_type(&g->child, rest, n) != n || child_type(&g->child, "\n", 1) != 1) {
        output_line(&m->out, "%s has not read what was typed before: the rest is lost", g->name);
    }
    child_typed(&g->child);
}

static void run_attach(struct manager *m, struct guest *g, const char *rest)
{
    (void)rest;
    console_attach(m, g);
}

static void say_held(struct manager *m, struct guest *g, bool hold)
{
    const char *wrong = guest_hold(g, hold);

    output_line(&m->out, "%s %s", g->name, wrong ? wrong : hold ? "is paused" : "goes on");
}

static void run_pause(struct manager *m, struct guest *g, const char *rest)
{
    (void)rest;
    say_held(m, g, true);
}

static void run_resume(struct manager *m, struct guest *g, const char *rest)
{
    (void)rest;
    say_held(m, g, false);
}

static void run_reset(struct manager *m, struct guest *g, const char *rest)
{
    (void)rest;
    guest_reset(m, g);
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
    {"help",      NULL,        "this list",                                    run_help     },
    {"list",      NULL,        "the guests and what they do",                  run_list     },
    {"attach",    "NAME",      "type at a guest; Ctrl-] leads back",           run_attach   },
    {"send",      "NAME TEXT", "type a line on a guest's console",             run_send     },
    {"stats",     "NAME",      "exits, memory and CPU time of a guest",        run_stats    },
    {"screen",    "NAME",      "what a guest shows in VGA's text mode",        run_screen   },
    {"pause",     "NAME",      "stop a guest for a while",                     run_pause    },
    {"resume",    "NAME",      "let it go on",                                 run_resume   },
    {"reset",     "NAME",      "start a guest again, also one that has ended", run_reset    },
    {"kill",      "NAME",      "end a guest",                                  run_kill     },
    {"shares",    NULL,        "what the scheduler gave each guest",           run_shares   },
    {"isolation", NULL,        "check that nobody can reach what is others'",  run_isolation},
    {"panic",     NULL,        "make the kernel panic, to see its report",     run_panic    },
    {"quit",      NULL,        "end all guests, then the machine",             run_quit     },
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
    output_line(&m->out, "%s is no command; 'help' lists them, 'attach NAME' types at a guest",
                line);
}
