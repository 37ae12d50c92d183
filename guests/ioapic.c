/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC: its registers, edges and levels, remote IRR, EOI, destinations and delivery modes.
 * The line that tests play with is COM1's: the empty transmitter asserts it when its interrupt is
 * enabled, and reading IIR takes it back. Nothing is printed in between.
 */
#include "guests/lib/ioapic.h"
#include "guests/lib/acpi.h"
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/irq.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

#define VECTOR  0x61
#define PIN     IOAPIC_PIN_COM1
#define PC_PINS 24
#define VERSION 0x20 /* has an EOI register */
#define LOW_BITS                                                                                   \
    (IOAPIC_RTE_INTVEC | IOAPIC_RTE_DELMOD | IOAPIC_RTE_DESTMOD | IOAPIC_RTE_INTPOL |              \
     IOAPIC_RTE_TRIGGER | IOAPIC_RTE_MASK)

static u32 pins;

static void line_down(void)
{
    outb(COM1 + UART_IER, 0);
    (void)inb(COM1 + UART_IIR);
}

/* Each call is one rising edge, with the line left up. */
static void line_up(void)
{
    line_down();
    outb(COM1 + UART_IER, UART_IER_ETBEI);
}

static bool begin(void)
{
    if (!apic_available()) {
        test_skip("no local APIC");
        return false;
    }
    apic_reset();
    pins = ioapic_init();
    if (!pins) {
        test_skip("no I/O APIC");
        return false;
    }
    outb(COM1 + UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
    line_down();
    irq_expect(32, 255);
    trap_handle(VEC_NMI, irq_count);
    return true;
}

static u64 to_me(void)
{
    return IOAPIC_TO(apic_id());
}

static void registers(void)
{
    if (!begin()) {
        return;
    }
    CHECK_EQ(pins, PC_PINS);
    if (acpi_known()->ioapic_base) {
        CHECK_EQ(acpi_known()->ioapic_base, IOAPIC_BASE);
    }
    ioapic_write(IOAPIC_ID, 0xf5ffffff);
    CHECK_EQ(ioapic_read(IOAPIC_ID), 0x05000000);
    ioapic_write(IOAPIC_ID, 0);
    CHECK_EQ(ioapic_read(IOAPIC_ID), 0);
    u32 version = ioapic_read(IOAPIC_VER);
    ioapic_write(IOAPIC_VER, ~0u);
    CHECK_EQ(ioapic_read(IOAPIC_VER), version);
    for (u32 pin = 0; pin < pins; pin++) {
        for (u32 bit = 0; bit < 64; bit++) {
            u64 want = (bit < 32 ? LOW_BITS & BIT(bit) : 0) | IOAPIC_RTE_MASK;
            u64 loose = IOAPIC_RTE_EXTDEST;

            want |= IOAPIC_RTE_DEST & BIT(bit);
            ioapic_set(pin, BIT(bit) | IOAPIC_RTE_MASK);
            if (on_tcg() && bit >= 17 && bit < 56) {
                continue; /* it keeps reserved bits */
            }
            CHECK_EQ_AT(ioapic_entry(pin) & ~loose, want, "pin %u, bit %u", pin, bit);
        }
        ioapic_set(pin, IOAPIC_RTE_MASK);
    }
    CHECK_EQ(irq_taken.count, 0);
}

static void edge(void)
{
    if (!begin()) {
        return;
    }
    ioapic_set(PIN, to_me() | VECTOR);
    for (u32 i = 1; i <= 5; i++) {
        line_up();
        CHECK_EQ_AT(apic_bit(APIC_IRR, VECTOR), 1, "pending after edge %u", i);
        CHECK_EQ_AT(apic_bit(APIC_TMR, VECTOR), 0, "TMR after edge %u", i);
        irq_window();
        CHECK_EQ_AT(irq_times(VECTOR), i, "taken after edge %u", i);
        CHECK_EQ_AT(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR, 0, "remote IRR");
    }
    irq_window(); /* the line is still up, which does not count */
    CHECK_EQ(irq_taken.count, 5);
    ioapic_set(PIN, to_me() | VECTOR | IOAPIC_RTE_MASK);
    line_up(); /* on a masked pin: lost */
    ioapic_set(PIN, to_me() | VECTOR);
    irq_window();
    CHECK_EQ(irq_taken.count, 5);
    line_up(); /* two while none is taken are one */
    line_up();
    irq_window();
    CHECK_EQ(irq_taken.count, 6);
    line_down();
}

static u32 quiet_after;

/* Takes the line down only the n-th time. */
static bool on_level(struct trap_frame *f)
{
    CHECK_EQ(apic_bit(APIC_TMR, f->vector), 1);
    CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1);
    if (cpu_self()->taken[f->vector] + 1 >= quiet_after) {
        line_down();
        CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1); /* EOI alone clears it */
    }
    return irq_count(f);
}

static void level(void)
{
    u64 entry;

    if (!begin()) {
        return;
    }
    entry = to_me() | VECTOR | IOAPIC_RTE_TRIGGER;
    trap_handle(VECTOR, on_level);
    for (quiet_after = 1; quiet_after <= 4; quiet_after++) {
        irq_forget();
        ioapic_set(PIN, entry);
        line_up();
        CHECK_EQ(irq_taken.count, 0);
        CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1);
        cpu_sti();
        __asm__ volatile("nop; nop; nop; nop");
        cpu_cli();
        irq_window();
        CHECK_EQ_AT(irq_taken.count, quiet_after, "interrupts while the line was up");
        CHECK_EQ(ioapic_entry(PIN), entry);
        CHECK(apic_none(APIC_ISR) && apic_none(APIC_IRR), "nothing is left");
    }
    /* up while masked: comes when it is unmasked */
    irq_forget();
    quiet_after = 1;
    ioapic_set(PIN, entry | IOAPIC_RTE_MASK);
    line_up();
    irq_window();
    CHECK_EQ(irq_taken.count, 0);
    ioapic_set(PIN, entry);
    irq_window();
    CHECK_EQ(irq_taken.count, 1);
    /* up and down while masked: nothing */
    ioapic_set(PIN, entry | IOAPIC_RTE_MASK);
    line_up();
    line_down();
    ioapic_set(PIN, entry);
    irq_window();
    CHECK_EQ(irq_taken.count, 1);
    /* an edge-triggered IPI of the same vector has its own kind of end */
    ioapic_set(PIN, entry | IOAPIC_RTE_MASK);
    trap_handle(VECTOR, irq_count);
    irq_raise(VECTOR);
    CHECK_EQ(apic_bit(APIC_TMR, VECTOR), 0);
    irq_window();
    CHECK_EQ(irq_taken.count, 2);
    /* and so has an edge of the same pin, after a level */
    ioapic_set(PIN, entry);
    line_up();
    CHECK_EQ(apic_bit(APIC_TMR, VECTOR), 1);
    line_down();
    irq_window();
    ioapic_set(PIN, to_me() | VECTOR);
    line_up();
    CHECK_EQ(apic_bit(APIC_TMR, VECTOR), 0);
    irq_window();
    CHECK_EQ(irq_taken.count, 4);
    line_down();
}

/* Masked, given another vector or made an edge while it is in service. */
static bool on_change(struct trap_frame *f)
{
    if (f->vector == VECTOR && cpu_self()->taken[VECTOR] == 0) {
        ioapic_write(IOAPIC_REDTBL + 2 * PIN, (u32)(VECTOR | IOAPIC_RTE_TRIGGER | IOAPIC_RTE_MASK));
        CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1);
    }
    return irq_count(f);
}

static void changes(void)
{
    u64 entry;

    if (!begin()) {
        return;
    }
    entry = to_me() | VECTOR | IOAPIC_RTE_TRIGGER;
    trap_handle(VECTOR, on_change);
    ioapic_set(PIN, entry);
    line_up();
    irq_window();
    CHECK_EQ(irq_taken.count, 1);
    irq_window(); /* masked by the handler; still up */
    CHECK_EQ(irq_taken.count, 1);
    CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 0);
    /* an entry that becomes an edge forgets that it was taken */
    trap_handle(VECTOR, irq_count);
    ioapic_set(PIN, entry);
    CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1);
    ioapic_write(IOAPIC_REDTBL + 2 * PIN, (u32)(VECTOR | IOAPIC_RTE_MASK));
    CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 0);
    line_down();
    irq_window();
    CHECK_EQ(irq_taken.count, 2);
    if ((ioapic_read(IOAPIC_VER) & IOAPIC_VER_MASK) >= VERSION) {
        ioapic_set(PIN, entry);
        line_up();
        CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1);
        line_down();
        *(volatile u32 *)((u64)IOAPIC_BASE + IOAPIC_EOIR) = VECTOR + 1;
        CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1);
        *(volatile u32 *)((u64)IOAPIC_BASE + IOAPIC_EOIR) = VECTOR;
        CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 0);
        irq_window();
        CHECK_EQ(irq_taken.count, 3);
    }
    line_down();
}

/* With broadcasts of EOI off, the I/O APIC's own EOI register does it (SDM 3A "Signaling Interrupt
 * Servicing Completion"). */
static void directed(void)
{
    if (!begin()) {
        return;
    }
    if (!(apic_read(APIC_VERSION) & APIC_VERSION_SUPPRESS_EOI)) {
        test_skip("directed: EOI broadcasts cannot be switched off here");
        return;
    }
    apic_write(APIC_SVR, (u32)SVR_SUPPRESS_EOI | (u32)SVR_ENABLE | APIC_SPURIOUS);
    ioapic_set(PIN, to_me() | VECTOR | IOAPIC_RTE_TRIGGER);
    line_up();
    irq_window();
    irq_window();
    CHECK_EQ(irq_taken.count, 1);
    CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 1);
    line_down();
    *(volatile u32 *)((u64)IOAPIC_BASE + IOAPIC_EOIR) = VECTOR;
    CHECK_EQ(!!(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR), 0);
    apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
}

static void one(u64 entry, u8 vector, u32 count, const char *what)
{
    irq_forget();
    ioapic_set(PIN, entry);
    line_up();
    irq_window();
    ioapic_set(PIN, IOAPIC_RTE_MASK);
    line_down();
    CHECK_EQ_AT(irq_times(vector), count, "taken: %s", what);
    CHECK_EQ_AT(irq_taken.count, count, "all taken: %s", what);
}

static void destinations(void)
{
    u64 me = to_me(), nobody = IOAPIC_TO(0x3e);

    if (!begin()) {
        return;
    }
    one(me | VECTOR, VECTOR, 1, "physical");
    one(nobody | VECTOR, VECTOR, 0, "physical, nobody");
    one(IOAPIC_TO(0xff) | VECTOR, VECTOR, 1, "physical, everybody");
    one(me | VECTOR | IOAPIC_DELMOD_LOWEST, VECTOR, 1, "lowest priority");
    one(me | IOAPIC_DELMOD_NMI | 0x55, VEC_NMI, 1, "NMI");
    if (!on_tcg()) {
        one(me | IOAPIC_DELMOD_NMI | IOAPIC_RTE_TRIGGER, VEC_NMI, 1, "NMI, an edge all the same");
    }
    if (apic_mode() == APIC_MODE_XAPIC) {
        apic_write(APIC_LDR, 0x04000000);
        one(IOAPIC_TO(0x0c) | IOAPIC_RTE_DESTMOD | VECTOR, VECTOR, 1, "flat");
        one(IOAPIC_TO(0xfb) | IOAPIC_RTE_DESTMOD | VECTOR, VECTOR, 0, "flat, others");
        one(IOAPIC_TO(0x04) | IOAPIC_RTE_DESTMOD | VECTOR | IOAPIC_DELMOD_LOWEST, VECTOR, 1,
            "flat, lowest priority");
        apic_write(APIC_LDR, 0);
    } else {
        u32 ldr = apic_read(APIC_LDR);

        one(IOAPIC_TO(ldr & 0xff) | IOAPIC_RTE_DESTMOD | VECTOR, VECTOR, 1, "logical");
        one(IOAPIC_TO(~ldr & 0xfe) | IOAPIC_RTE_DESTMOD | VECTOR, VECTOR, 0, "logical, others");
    }
    for (u32 v = 0x20; v < APIC_SPURIOUS; v += 0x1d) {
        one(me | v, (u8)v, 1, "another vector");
    }
}

/* A level to a local APIC that is software-disabled waits until one takes it. */
static void refused(void)
{
    if (on_tcg() || !begin()) {
        return;
    }
    apic_write(APIC_SVR, APIC_SPURIOUS);
    ioapic_set(PIN, to_me() | VECTOR | IOAPIC_RTE_TRIGGER);
    line_up();
    CHECK_EQ(ioapic_entry(PIN) & IOAPIC_RTE_REMOTE_IRR, 0);
    apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
    quiet_after = 1;
    trap_handle(VECTOR, on_level);
    ioapic_set(PIN, to_me() | VECTOR | IOAPIC_RTE_TRIGGER);
    irq_window();
    CHECK_EQ(irq_times(VECTOR), 1);
    line_down();
}

/* Bytes and words, and more than the window has. */
static void widths(void)
{
    volatile u8 *page = (volatile u8 *)(u64)IOAPIC_BASE;

    if (!begin()) {
        return;
    }
    page[IOAPIC_IOREGSEL] = IOAPIC_VER;
    CHECK_EQ(page[IOAPIC_IOREGSEL], IOAPIC_VER);
    CHECK_EQ(*(volatile u32 *)(page + IOAPIC_IOREGSEL), IOAPIC_VER);
    CHECK_EQ(*(volatile u32 *)(page + IOAPIC_IOWIN) >> IOAPIC_VER_MRE_SHIFT & 0xff, pins - 1);
    ioapic_write(0xff, ~0u); /* no such register */
    CHECK_EQ(ioapic_read(0xff), 0);
    CHECK_EQ(ioapic_read(IOAPIC_REDTBL + 2 * pins), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"registers",    registers   },
        {"edge",         edge        },
        {"level",        level       },
        {"changes",      changes     },
        {"directed",     directed    },
        {"destinations", destinations},
        {"refused",      refused     },
        {"widths",       widths      },
    };

    test_all("ioapic", tests, ARRAY_SIZE(tests));
}
