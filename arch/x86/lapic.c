/* SPDX-License-Identifier: MIT */
/* The local APIC: start, interrupts to other CPUs, timer. */
#include "arch/x86/lapic.h"

#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "kernel/log.h"

/* Registers, by their offset in the page; an x2APIC's MSR is 0x800 + offset / 16. */
#define APIC_ID            0x020
#define APIC_VERSION       0x030
#define APIC_TPR           0x080
#define APIC_EOI           0x0b0
#define APIC_SVR           0x0f0
#define APIC_ISR           0x100 /* 8 of them */
#define APIC_ESR           0x280
#define APIC_ICR           0x300
#define APIC_ICR_HIGH      0x310
#define APIC_LVT_TIMER     0x320
#define APIC_LVT_PMC       0x340
#define APIC_LVT_LINT0     0x350
#define APIC_LVT_ERROR     0x370
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_DIVIDE  0x3e0

#define MAX_LVT_WITH_PMC   4
#define SVR_ENABLE         BIT(8)
#define LVT_MASKED         BIT(16)
#define LVT_TIMER_DEADLINE (2u << 17)
#define DIVIDE_BY_1        0xb
#define ICR_FIXED          0x000
#define ICR_NMI            0x400
#define ICR_INIT           0x500
#define ICR_STARTUP        0x600
#define ICR_BUSY           BIT(12)
#define ICR_ASSERT         BIT(14)

#define APIC_PAGE_BYTES    4096
#define ICR_SPINS          1000000u

static ARCH_READ_ONLY_AFTER_BOOT volatile u32 *page; /* NULL: x2APIC */
static ARCH_READ_ONLY_AFTER_BOOT bool deadline_mode;
static ARCH_READ_ONLY_AFTER_BOOT u64 ticks_per_tsc; /* count mode: 32.32 fixed point */
static ARCH_READ_ONLY_AFTER_BOOT bool mode_known;

static u32 apic_read(u32 reg)
{
    return page ? page[reg / 4] : (u32)rdmsr(MSR_X2APIC_BASE + reg / 16);
}

static void apic_write(u32 reg, u32 value)
{
    if (page) {
        page[reg / 4] = value;
    } else {
        wrmsr(MSR_X2APIC_BASE + reg / 16, value);
    }
}

/*
 * SDM 3A "x2APIC State Transitions": from off to xAPIC, from xAPIC to x2APIC, never straight from
 * off to x2APIC and never back. Firmware may have chosen x2APIC already.
 */
static void mode_init(void)
{
    u64 base = rdmsr(MSR_IA32_APIC_BASE);

    if (!(base & APIC_BASE_ENABLE)) {
        base |= APIC_BASE_ENABLE;
        wrmsr(MSR_IA32_APIC_BASE, base);
    }
    if (cpu_features.x2apic && !(base & APIC_BASE_X2APIC)) {
        base |= APIC_BASE_X2APIC;
        wrmsr(MSR_IA32_APIC_BASE, base);
    }
    if (!mode_known) {
        mode_known = true;
        if (!(base & APIC_BASE_X2APIC)) {
            u64 pa = base & FIELD(cpu_features.phys_bits - 1, PAGE_SHIFT);
            page = arch_map_device(HPA(pa), APIC_PAGE_BYTES, false);
        }
    }
}

bool lapic_in_service(u32 vector)
{
    return apic_read(APIC_ISR + vector / 32 * 16) >> (vector % 32) & 1;
}

void lapic_init(void)
{
    mode_init();
    apic_write(APIC_SVR, (u32)SVR_ENABLE | VECTOR_SPURIOUS);
    apic_write(APIC_TPR, 0);
    /* LINT0 is the legacy interrupt controller. LINT1 (NMI) and the thermal entry stay as firmware,
     * which may serve the latter in SMM, left them. */
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    if ((apic_read(APIC_VERSION) >> 16 & 0xff) >= MAX_LVT_WITH_PMC) {
        apic_write(APIC_LVT_PMC, LVT_MASKED);
    }
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_ESR, 0);
    /* What firmware had in service when it left us the machine would block all lower vectors. */
    for (u32 i = 0; i < 256; i++) {
        for (u32 r = 0; r < 8 && !apic_read(APIC_ISR + r * 16); r++) {
            if (r == 7) {
                return;
            }
        }
        lapic_eoi();
    }
}

u32 lapic_id(void)
{
    u32 id = apic_read(APIC_ID);

    return page ? id >> 24 : id;
}

const char *lapic_mode(void)
{
    return page ? "xAPIC" : "x2APIC";
}

void lapic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

static void icr_wait(void)
{
    for (u32 i = 0; i < ICR_SPINS && apic_read(APIC_ICR) & ICR_BUSY; i++) {
        arch_pause();
    }
}

static void icr_write(u32 apic_id, u32 command)
{
    if (page) {
        icr_wait();
        apic_write(APIC_ICR_HIGH, apic_id << 24);
        apic_write(APIC_ICR, command);
        return;
    }
    /* A WRMSR to the x2APIC does not wait for earlier stores, which the receiver shall see (SDM 3A
     * "MSR Access in x2APIC Mode"). */
    mfence();
    lfence();
    wrmsr(MSR_X2APIC_BASE + APIC_ICR / 16, (u64)apic_id << 32 | command);
}

void lapic_send(u32 apic_id, u32 vector)
{
    icr_write(apic_id, ICR_FIXED | ICR_ASSERT | vector);
}

void lapic_send_nmi(u32 apic_id)
{
    icr_write(apic_id, ICR_NMI | ICR_ASSERT);
}

void lapic_send_init(u32 apic_id)
{
    icr_write(apic_id, ICR_INIT | ICR_ASSERT);
}

void lapic_send_startup(u32 apic_id, u32 start_page)
{
    icr_write(apic_id, ICR_STARTUP | ICR_ASSERT | start_page);
}

void lapic_timer_init(u64 timer_hz)
{
    if (!timer_hz) {
        deadline_mode = true;
        apic_write(APIC_TIMER_INITIAL, 0);
        apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | VECTOR_TIMER);
        /* A store to the page and a WRMSR are not ordered: the mode must be there before the first
         * deadline (SDM 3A "TSC-Deadline Mode"). */
        mfence();
        lfence();
        return;
    }
    ticks_per_tsc = (MIN(timer_hz, FIELD(31, 0)) << 32) / arch_tsc_hz;
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
}

void lapic_timer_bound(u64 tsc)
{
    if (tsc < cpu_arch(cpu_this())->timer_tsc) {
        lapic_timer_set(tsc);
    }
}

void lapic_timer_set(u64 tsc)
{
    cpu_arch(cpu_this())->timer_tsc = tsc;
    if (deadline_mode) {
        wrmsr(MSR_IA32_TSC_DEADLINE, tsc == ~0ull ? 0 : MAX(tsc, 1));
        return;
    }
    if (tsc == ~0ull) {
        apic_write(APIC_TIMER_INITIAL, 0);
        return;
    }
    u64 now = arch_tsc();
    unsigned __int128 ticks = tsc > now ? (unsigned __int128)(tsc - now) * ticks_per_tsc >> 32 : 0;
    /* one more, since "not before"; too far: the interrupt that comes early sets it again */
    apic_write(APIC_TIMER_INITIAL, ticks >= ~0u ? ~0u : (u32)ticks + 1);
}

void arch_timer_set(u64 tsc)
{
    cpu_this()->deadline = tsc;
    lapic_timer_set(tsc);
}
