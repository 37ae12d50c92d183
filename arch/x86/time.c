/* SPDX-License-Identifier: MIT */
/* Time: the rates are the loader's. */
#include "arch/x86/time.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lapic.h"
#include "kernel/log.h"

#define TSC_HZ_LEAST 1000000u

ARCH_READ_ONLY_AFTER_BOOT u64 arch_tsc_hz;

static ARCH_READ_ONLY_AFTER_BOOT u64 timer_hz; /* of the local APIC's counter; 0: deadline mode */

void arch_time_init(const struct bootinfo *bi)
{
    if (bi->tsc_hz < TSC_HZ_LEAST) {
        panic("no clock: neither HPET, PM timer, PIT nor CPUID tells the speed of the TSC");
    }
    if (!cpu_features.tsc_deadline && !bi->apic_timer_hz) {
        panic("the local APIC's timer does not count");
    }
    arch_tsc_hz = bi->tsc_hz;
    timer_hz = cpu_features.tsc_deadline ? 0 : bi->apic_timer_hz;
    time_init_cpu();
    klog("time: TSC %lu kHz by %.15s, %s, timer %s", arch_tsc_hz / 1000, bi->clock, lapic_mode(),
         timer_hz ? "by count" : "by TSC deadline");
}

void time_init_cpu(void)
{
    lapic_timer_init(timer_hz);
}

void time_wait_us(u64 us)
{
    u64 end = arch_tsc() + arch_tsc_hz / 1000000 * us;

    while (arch_tsc() < end) {
        arch_pause();
    }
}
