/* SPDX-License-Identifier: MIT */
/*
 * The other CPUs: started by INIT and start-up IPI, then each waits, halted, for work. smp_init()
 * once, by the boot CPU; only that one calls the rest. Numbers: 0 is the boot CPU.
 */
#ifndef GUESTS_LIB_SMP_H
#define GUESTS_LIB_SMP_H

#include "guests/lib/clock.h"
#include "guests/lib/trap.h"
#include "lib/types.h"

#define SMP_PAGE        0x9000 /* the trampoline's: start-up vector 9 */
#define SMP_WAKE_VECTOR 0xf8

/* Prepares the local APIC, this CPU and the trampoline; returns how many CPUs there are, from
 * ACPI's MADT or else fw_cfg. */
u32 smp_init(void);
u32 smp_count(void);
#define smp_cpu_index() (cpu_self()->index)

/* INIT and start-up IPI; true when the CPU came up. It may be running: it starts anew. */
bool smp_start(u32 cpu);
/* All of them; the number of CPUs that run, this one included. */
u32 smp_start_all(void);
/* INIT alone: stops the CPU until smp_start(). */
void smp_stop(u32 cpu);
/* How often the CPU came up. */
u32 smp_starts(u32 cpu);

/* What the CPU found in its local APIC when it came up last, before it was set up. */
struct smp_found {
    u64 base; /* IA32_APIC_BASE */
    u32 id, svr, tpr, lint0, error, timer, initial, ldr;
};
struct smp_found smp_found(u32 cpu);

/* Work for another CPU; it must be idle. smp_wait() waits for its end; false: it takes too long. */
typedef void (*smp_work_t)(void *arg);
void smp_call(u32 cpu, smp_work_t work, void *arg);
bool smp_wait(u32 cpu);
/* The same work on all CPUs that run, this one too, at the same time; false as above. */
bool smp_call_all(smp_work_t work, void *arg);

/* Waits until a condition holds, with PAUSE, at most for half a minute; whether it holds. So long,
 * because an emulator's time is the host's, whose CPUs may be few and busy. */
#define SMP_PATIENCE (30 * clock_tsc_hz())
#define WAIT_UNTIL(condition)                                                                      \
    ({                                                                                             \
        u64 wait_start = rdtsc();                                                                  \
        bool wait_holds;                                                                           \
        while (!(wait_holds = (condition)) && rdtsc() - wait_start < SMP_PATIENCE) {               \
            cpu_pause();                                                                           \
        }                                                                                          \
        wait_holds;                                                                                \
    })

#endif
