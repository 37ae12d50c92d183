/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/device/pm.c vmm/machine/bus.c vmm/machine/ram.c tests/unit/fake_host.c */
/*
 * The ACPI registers against a plain account of them: timer by 128-bit arithmetic, status by
 * counting the changes of its highest bit. Input: operations of 4 bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "vmm/device/pm.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

struct account {
    u16 status, enable, control;
    u64 carries;
};

static u64 timer(u64 ns)
{
    return (u64)((unsigned __int128)ns * PM_TIMER_HZ / 1000000000);
}

static void account_time(struct account *a, u64 ns)
{
    u64 carries = timer(ns) >> 23;

    a->status |= carries != a->carries ? PM1_TMR : 0;
    a->carries = carries;
}

static u8 account_byte(const struct account *a, u32 at, u64 ns)
{
    const u16 words[6] = {a->status, a->enable,      a->control | PM1_CNT_SCI_EN,
                          0,         (u16)timer(ns), (u16)(timer(ns) >> 16 & 0xff)};

    return (u8)(words[at / 2] >> at % 2 * 8);
}

/* true: this turns the machine off */
static bool account_write(struct account *a, u32 at, u8 bytes, u32 value)
{
    bool slp_en = false;

    for (u32 i = 0; i < bytes; i++, value >>= 8) {
        u32 old, byte = value & 0xff, shift = (at + i) % 2 * 8;
        switch ((at + i) / 2) {
        case 0:
            a->status &= (u16) ~(byte << shift);
            break;
        case 1:
            old = a->enable & (0xff00u >> shift);
            a->enable = (u16)((old | byte << shift) & 0x0721);
            break;
        case 2:
            old = a->control & (0xff00u >> shift);
            a->control = (u16)((old | byte << shift) & 0x1c02);
            slp_en |= shift && (byte & 0x20);
            break;
        }
    }
    return slp_en && a->control >> 10 == PM_SLP_TYP_S5;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct machine *m = malloc(sizeof(*m));
    struct pm *p = malloc(sizeof(*p));
    struct account a = {0};

    fake_host_reset(m);
    if (size) { /* not everything begins with the machine */
        m->time_ns = data[0] * 1234567890ull;
    }
    a.carries = timer(m->time_ns) >> 23;
    check(pm_attach(p, m));
    for (; size >= 4 && !m->ended; data += 4, size -= 4) {
        u32 at = data[1] % PM_PORTS, value = data[2] | (u32)data[3] << 8;
        u8 bytes = (u8)(1u << (data[0] >> 2) % 3);
        bool ends = false;

        switch (data[0] & 3) {
        case 0:
            if (at + bytes <= PM_PORTS) {
                u32 got = bus_in(&m->bus, (u16)(PM_PORT + at), bytes);
                for (u32 i = 0; i < bytes; i++, got >>= 8) {
                    check((u8)got == account_byte(&a, at + i, m->time_ns));
                }
            }
            break;
        case 1:
            value |= value << 16;
            bus_out(&m->bus, (u16)(PM_PORT + at), bytes, value);
            ends = at + bytes <= PM_PORTS && account_write(&a, at, bytes, value);
            break;
        case 2: /* on time: the timer alone has to see what an interrupt is enabled for */
            fake_host_advance(m, value * 150001ull);
            account_time(&a, m->time_ns);
            break;
        default: /* late */
            m->time_ns += value * (data[0] & 0x80 ? 1ull : 250007ull);
            fake_host_advance(m, 0);
            account_time(&a, m->time_ns);
        }
        check(m->ended == ends && (!ends || m->ending == HOST_END_POWER_OFF));
        check(((m->irq_levels >> PM_SCI & 1) != 0) == ((a.status & a.enable) != 0));
        check(!(m->irq_levels & ~(1u << PM_SCI)));
        check((m->timers != NULL) == ((a.enable & ~a.status & PM1_TMR) != 0));
        check(!m->timers || m->timers->at_ns > m->time_ns);
    }
    free(p);
    free(m);
    return 0;
}
