/* SPDX-License-Identifier: MIT */
/* Local APIC: modes and register access. */
#include "guests/lib/apic.h"

#include "guests/lib/boot.h"
#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "guests/lib/test.h"
#include "lib/hw/x86.h"

#define ECX1_X2APIC   BIT(21)
#define ECX1_DEADLINE BIT(24)
#define EDX1_APIC     BIT(9)
#define PIC_MASTER    0x21
#define PIC_SLAVE     0xa1

static bool x2;

bool apic_present(void)
{
    return cpuid(1, 0).edx & EDX1_APIC;
}

bool apic_has_x2(void)
{
    return cpuid(1, 0).ecx & ECX1_X2APIC;
}

bool apic_has_deadline(void)
{
    return cpuid(1, 0).ecx & ECX1_DEADLINE;
}

enum apic_mode apic_mode(void)
{
    u64 base = rdmsr(MSR_IA32_APIC_BASE);

    if (!(base & APIC_BASE_ENABLE)) {
        return APIC_MODE_OFF;
    }
    return base & APIC_BASE_X2APIC ? APIC_MODE_X2APIC : APIC_MODE_XAPIC;
}

/* SDM 3A "x2APIC State Transitions": off, xAPIC and x2APIC follow each other in this circle. */
void apic_set_mode(enum apic_mode mode)
{
    u64 base = rdmsr(MSR_IA32_APIC_BASE) & ~(APIC_BASE_ENABLE | APIC_BASE_X2APIC);

    while (apic_mode() != mode) {
        switch (apic_mode()) {
        case APIC_MODE_OFF:
            wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_ENABLE);
            break;
        case APIC_MODE_XAPIC:
            wrmsr(MSR_IA32_APIC_BASE,
                  mode == APIC_MODE_OFF ? base : base | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
            break;
        case APIC_MODE_X2APIC:
            wrmsr(MSR_IA32_APIC_BASE, base);
            break;
        }
    }
    x2 = mode == APIC_MODE_X2APIC;
}

bool apic_available(void)
{
    static bool ready;

    if (!apic_present()) {
        return false;
    }
    if (!ready) {
        apic_init();
        ready = true;
    }
    return true;
}

bool apic_offers(enum apic_mode mode)
{
    bool there = apic_available(), x2_there = mode != APIC_MODE_X2APIC || apic_has_x2();

    if (!there || !x2_there) {
        test_skip(there ? "no x2APIC" : "no local APIC");
    }
    return there && x2_there;
}

u32 apic_read(u32 reg)
{
    return x2 ? (u32)rdmsr(MSR_X2APIC_BASE + reg / 16) : *(volatile u32 *)(APIC_PAGE + reg);
}

void apic_write(u32 reg, u32 value)
{
    if (x2) {
        wrmsr(MSR_X2APIC_BASE + reg / 16, value);
    } else {
        *(volatile u32 *)(APIC_PAGE + reg) = value;
    }
}

void apic_reset(void)
{
    u32 last = (u32)((apic_read(APIC_VERSION) & APIC_VERSION_MAX_LVT) >> 16);

    apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, LVT_MASKED);
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    if (last >= 4) {
        apic_write(APIC_LVT_PMC, LVT_MASKED);
    }
    if (last >= 5) {
        apic_write(APIC_LVT_THERMAL, LVT_MASKED);
    }
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
    for (u32 i = 0; i < 256 && !apic_none(APIC_ISR); i++) {
        apic_eoi();
    }
}

void apic_init(void)
{
    outb(PIC_MASTER, 0xff);
    outb(PIC_SLAVE, 0xff);
    pte_set(APIC_PAGE, 2, APIC_PAGE | PTE_P | PTE_W | PTE_PS | PTE_PCD | PTE_PWT);
    apic_set_mode(apic_has_x2() && !boot_option_is("apic", "x") ? APIC_MODE_X2APIC
                                                                : APIC_MODE_XAPIC);
    apic_reset();
}

void apic_join(void)
{
    apic_set_mode(x2 ? APIC_MODE_X2APIC : APIC_MODE_XAPIC);
    apic_reset();
}

u32 apic_id(void)
{
    return x2 ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void apic_send(u32 destination, u32 command)
{
    u64 flags = read_rflags();

    if (x2) {
        wrmsr(MSR_X2APIC_BASE + APIC_ICR / 16, (u64)destination << 32 | command);
        return;
    }
    cpu_cli(); /* a handler that sends something must not come between the two writes */
    while (apic_read(APIC_ICR) & APIC_BUSY) {
        cpu_pause();
    }
    apic_write(APIC_ICR_HIGH, destination << ICR_XAPIC_SHIFT);
    apic_write(APIC_ICR, command);
    if (flags & RFLAGS_IF) {
        cpu_sti();
    }
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

bool apic_bit(u32 set, u32 vector)
{
    return apic_read(set + vector / 32 * 16) >> (vector % 32) & 1;
}

bool apic_none(u32 set)
{
    for (u32 i = 0; i < 8; i++) {
        if (apic_read(set + i * 16)) {
            return false;
        }
    }
    return true;
}
