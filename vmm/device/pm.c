/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware (ACPI 6.5 "ACPI Hardware Specification"). The machine is always in ACPI mode:
 * there is no SMM, so nothing answers an SMI command, and SCI_EN reads as 1 whatever is written.
 * For the same reason the global lock is never given up by firmware; and there are no buttons, and
 * no alarm that wakes. So of the status bits only the timer's ever comes; all enable bits are kept.
 */
#include "vmm/device/pm.h"

#include "lib/string.h"
#include "vmm/device/ticks.h"

#define ENABLE_MASK   (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)
#define CONTROL_MASK  (PM1_CNT_BM_RLD | PM1_CNT_SLP_TYP)
#define CARRY_TICKS   BIT(PM_TIMER_BITS - 1) /* the highest bit changes each of these */
#define TIMER_CONTENT (BIT(PM_TIMER_BITS) - 1)

/* Status from the clock, then line and timer from the status. */
static void update(struct pm *p)
{
    u64 tick = ticks_at(host_time_ns(p->host), PM_TIMER_HZ), at_ns = HOST_NEVER;

    if (tick / CARRY_TICKS != p->seen / CARRY_TICKS) {
        p->pm1_sts |= PM1_TMR;
    }
    p->seen = tick;
    if (p->pm1_en & ~p->pm1_sts & PM1_TMR) {
        at_ns = ticks_to_ns((tick / CARRY_TICKS + 1) * CARRY_TICKS, PM_TIMER_HZ);
    }
    host_irq(p->host, PM_SCI, p->pm1_sts & p->pm1_en);
    if (at_ns != p->timer.at_ns) {
        host_timer_set(p->host, &p->timer, at_ns);
    }
}

static void pm_due(void *device, u64 now_ns)
{
    (void)now_ns;
    update(device);
}

static u32 pm_read(void *device, u16 offset, u8 bytes)
{
    struct pm *p = device;
    u32 value = 0;

    update(p);
    const u32 words[PM_PORTS / 4] = {
        p->pm1_sts | (u32)p->pm1_en << 16,
        p->pm1_cnt | PM1_CNT_SCI_EN,
        (u32)(p->seen & TIMER_CONTENT),
    };
    for (u32 i = 0; i < bytes; i++) {
        u32 at = offset + i;
        value |= (words[at / 4] >> at % 4 * 8 & 0xff) << i * 8;
    }
    return value;
}

/* A register as a write to one of its bytes leaves it. */
static u16 with_byte(u16 reg, u32 at, u8 byte, u32 mask)
{
    u32 shift = at % 2 * 8;

    return (u16)(((reg & ~(0xffu << shift)) | (u32)byte << shift) & mask);
}

/* SLP_EN was written. Other types are not in the tables: the machine does not sleep. */
static void enter_sleep(struct pm *p)
{
    if ((p->pm1_cnt & PM1_CNT_SLP_TYP) >> PM1_CNT_SLP_TYP_SHIFT == PM_SLP_TYP_S5) {
        host_end(p->host, HOST_END_POWER_OFF, "powered off");
    }
}

static void pm_write(void *device, u16 offset, u8 bytes, u32 value)
{
    struct pm *p = device;
    bool slp_en = false;

    update(p);
    for (u32 i = 0; i < bytes; i++) {
        u32 at = offset + i;
        u8 byte = (u8)(value >> i * 8);
        switch (at & ~1u) {
        case PM1_STS:
            p->pm1_sts &= (u16) ~(byte << at % 2 * 8);
            break;
        case PM1_EN:
            p->pm1_en = with_byte(p->pm1_en, at, byte, ENABLE_MASK);
            break;
        case PM1_CNT:
            p->pm1_cnt = with_byte(p->pm1_cnt, at, byte, CONTROL_MASK);
            slp_en |= at % 2 && (byte & PM1_CNT_SLP_EN >> 8);
            break;
        }
    }
    update(p);
    if (slp_en) {
        enter_sleep(p);
    }
}

bool pm_attach(struct pm *p, struct machine *host)
{
    struct host_ports ports = {
        .device = p,
        .read = pm_read,
        .write = pm_write,
        .base = PM_PORT,
        .count = PM_PORTS,
        .widths = HOST_WIDTH_8 | HOST_WIDTH_16 | HOST_WIDTH_32,
    };

    memset(p, 0, sizeof(*p));
    p->host = host;
    p->timer = (struct host_timer){.due = pm_due, .device = p, .at_ns = HOST_NEVER};
    update(p);
    p->pm1_sts = 0; /* whatever the clock showed before */
    return host_add_ports(host, &ports);
}
