/* SPDX-License-Identifier: MIT */
/* The end after a bug of ours: everything stops, and what is known is told. */
#include "arch/arch.h"
#include "kernel/abi.h"
#include "kernel/boot.h"
#include "kernel/console.h"
#include "kernel/log.h"

#define EXIT_NAME(id, name) [EXIT_##id] = name,
static const char *const exit_names[EXIT_COUNT] = {EXIT_KINDS(EXIT_NAME)};
#undef EXIT_NAME

static u32 panicking; /* shared: the first CPU that panics speaks, the others stop */

static void line(const char *prefix, const char *format, ...) PRINTF(2, 3);
static void line(const char *prefix, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    console_line(prefix, format, args);
    va_end(args);
}

static void print_last_exits(const struct cpu *c)
{
    for (u32 i = 0; i < CPU_TRACE; i++) {
        const struct cpu_trace *t = &c->trace[(c->trace_next + i) % CPU_TRACE];
        if (t->tsc) {
            line("  exit ", "%lu vm %u vcpu %u %s rip=0x%lx info=0x%lx", t->tsc, t->vcpu >> 8,
                 t->vcpu & 255, t->kind < EXIT_COUNT ? exit_names[t->kind] : "?", t->rip, t->info);
        }
    }
}

void panic(const char *format, ...)
{
    va_list args;

    if (__atomic_exchange_n(&panicking, 1, __ATOMIC_SEQ_CST)) {
        arch_halt();
    }
    arch_stop_others();
    va_start(args, format);
    console_line("socle: panic: ", format, args);
    va_end(args);
    line("  ", "on CPU %u", cpu_this()->id);
    arch_panic_dump();
    print_last_exits(cpu_this());
    line("socle: ", "end status=2 (panic)");
    if (boot_info.flags & BOOT_FLAG_EMULATOR) {
        arch_power(POWER_OFF);
    }
    arch_halt();
}
