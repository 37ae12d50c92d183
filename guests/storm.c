/* SPDX-License-Identifier: MIT */
/*
 * Does its worst to its neighbours: exits, IPIs to itself and others, timers of no length,
 * wake-ups, PAUSE loops, in the odd windows of the clock; sleeps in the even ones. guests/share.c
 * beside it tells what that did. windows=N, ms=N: as there. only=NAME: just that.
 */
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/irq.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/string.h"

#define VECTOR       0x61
#define TIMER_VECTOR 0x62
#define MIX_TICKS    20000 /* how long one thing is done before the next */

static u64 window, windows;
static u64 done[8];

/* --- once each, with interrupts on --- */

static void exits(void)
{
    (void)cpuid(0, 0);
    (void)rdmsr(MSR_IA32_APIC_BASE);
    outb(0x80, 0);
}

static void ipi_all(void)
{
    apic_send(0, ICR_OTHERS | ICR_ASSERT | VECTOR);
}

static void ipi_self(void)
{
    apic_send(0, ICR_SELF | ICR_ASSERT | VECTOR);
}

static void timer_zero(void)
{
    apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
    apic_write(APIC_TIMER_INITIAL, 1);
}

/* Sleeps until the timer, soon. */
static void timer_sleep(void)
{
    cpu_cli();
    apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
    apic_write(APIC_TIMER_INITIAL, 500);
    __asm__ volatile("sti; hlt" : : : "memory");
}

/* The first CPU wakes the others, which sleep again at once. */
static void wake(void)
{
    if (smp_cpu_index()) {
        timer_sleep(); /* not for ever */
    } else {
        ipi_all();
    }
}

static void pause(void)
{
    cpu_pause();
}

static const struct {
    const char *name;
    void (*once)(void);
} all[] = {
    {"exits",      exits      },
    {"ipi-all",    ipi_all    },
    {"ipi-self",   ipi_self   },
    {"timer-zero", timer_zero },
    {"sleep",      timer_sleep},
    {"wake",       wake       },
    {"pause",      pause      },
};

/* --- when --- */

/* Computes, so that the neighbours' CPUs have as much to do as in the other windows. */
static void behave(u64 until)
{
    while (rdtsc() < until) {
        done[ARRAY_SIZE(all)]++;
    }
}

static void rage(u64 until)
{
    u64 now = rdtsc();

    cpu_sti();
    while (now < until) {
        u64 n = now / MIX_TICKS % ARRAY_SIZE(all);
        if (!boot_option("only") || boot_option_is("only", all[n].name)) {
            all[n].once();
            done[n]++;
        } else {
            n = 0;
            while (n < ARRAY_SIZE(all) && !boot_option_is("only", all[n].name)) {
                n++;
            }
            all[n % ARRAY_SIZE(all)].once();
            done[n % ARRAY_SIZE(all)]++;
        }
        now = rdtsc();
    }
    cpu_cli();
}

static void storm(void *arg)
{
    u64 first = (u64)arg;

    apic_write(APIC_TIMER_DIVIDE, 0xb); /* by 1 */
    for (u64 n = first; n < first + windows; n++) {
        if (n & 1) {
            rage((n + 1) * window);
        } else {
            behave((n + 1) * window);
        }
    }
    cpu_cli();
    apic_write(APIC_LVT_TIMER, BIT(16));
}

static void storms(void)
{
    windows = boot_option_number("windows", 4);
    window = clock_tsc_hz() / 1000 * boot_option_number("ms", 250);
    smp_init();
    irq_expect(32, 247);
    smp_start_all();
    CHECK(smp_call_all(storm, (void *)(rdtsc() / window)), "all end");
    for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
        test_note("%s: %lu times", all[i].name, done[i]);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"storms", storms}
    };

    test_all("storm", tests, 1);
}
