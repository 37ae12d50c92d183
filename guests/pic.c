/* SPDX-License-Identifier: MIT */
/*
 * The two 8259A, and the ways from there to the CPU: LINT0 as virtual wire (ExtINT), as a fixed
 * vector and as NMI, and past a local APIC that is switched off. Lines: COM1's (4), which the empty
 * transmitter asserts and reading IIR takes back, and the real-time clock's (8).
 */
#include "guests/lib/pic.h"
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/irq.h"
#include "guests/lib/rtc.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"

#define MASTER    0x30
#define SLAVE     0x38
#define COM       4
#define COM_EDGE  (MASTER + COM)
#define RTC_EDGE  (SLAVE + RTC_IRQ - 8)
#define SPURIOUS  (MASTER + 7)
#define LINES     (BIT(COM) | BIT(RTC_IRQ))
#define RATE_8192 3
#define IMCR      0x22

static u16 isr_seen;
static u32 quiet_after; /* level-triggered: the handler takes COM1's line down the n-th time */

static void com_down(void)
{
    outb(COM1 + UART_IER, 0);
    (void)inb(COM1 + UART_IIR);
}

/* One rising edge, with the line left up. */
static void com_up(void)
{
    com_down();
    outb(COM1 + UART_IER, UART_IER_ETBEI);
}

static void rtc_down(void)
{
    rtc_write(RTC_B, rtc_read(RTC_B) & (u8) ~(RTC_B_PIE | RTC_B_AIE | RTC_B_UIE));
    (void)rtc_read(RTC_C);
}

/* The line is up when this returns: the periodic interrupt came. */
static bool rtc_up(void)
{
    rtc_down();
    rtc_write(RTC_A, RTC_A_DV_32KHZ | RATE_8192);
    rtc_write(RTC_B, rtc_read(RTC_B) | RTC_B_PIE);
    return WAIT_UNTIL(pic_irr() & BIT(RTC_IRQ));
}

/* Of the PIC's vectors: looks what is in service, and ends it. */
static bool on_line(struct trap_frame *f)
{
    isr_seen = pic_isr();
    cpu_self()->taken[f->vector]++;
    if (irq_taken.count < IRQ_LOG) {
        irq_taken.vector[irq_taken.count] = f->vector;
    }
    irq_taken.count++;
    if (cpu_self()->taken[f->vector] == quiet_after) {
        com_down();
    }
    if (isr_seen) {
        pic_eoi((u32)f->vector - MASTER);
    }
    return true;
}

static void begin_pic(u8 icw4)
{
    pic_init(MASTER, SLAVE, icw4);
    outb(COM1 + UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
    com_down();
    rtc_down();
    irq_forget();
    for (int v = MASTER; v < SLAVE + 8; v++) {
        trap_handle(v, on_line);
    }
    trap_handle(VEC_NMI, irq_count);
    isr_seen = 0;
    quiet_after = 0;
}

/* With the local APIC as a virtual wire, if there is one. */
static void begin(u8 icw4)
{
    if (apic_present()) {
        apic_init();
        apic_write(APIC_LVT_LINT0, APIC_EXTINT);
    }
    begin_pic(icw4);
}

/* Runs first: the machine as its firmware left it must have a working PIC. */
static void start(void)
{
    begin_pic(0);
    pic_unmask(LINES);
    com_up();
    CHECK_EQ(irq_taken.count, 0);
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 1);
    CHECK_EQ(isr_seen, BIT(COM));
    com_down();
}

static void masks(void)
{
    begin(0);
    for (u32 i = 0; i < 16; i++) {
        outb(I8259_MASTER_PORT + I8259_DATA, (u8)BIT(i % 8));
        outb(I8259_SLAVE_PORT + I8259_DATA, (u8)~BIT(i % 8));
        CHECK_EQ_AT(pic_masks(), BIT(i % 8) | (~BIT(i % 8) & 0xff) << 8, "IMR %u", i);
    }
    pic_unmask(0);
    com_up();
    CHECK_EQ(pic_irr() & BIT(COM), BIT(COM));
    irq_window();
    CHECK_EQ(irq_taken.count, 0);
    pic_unmask(BIT(COM));
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 1);
    CHECK_EQ(pic_irr() & BIT(COM), 0);
    com_down();
    com_up(); /* pending, and masked before it is taken */
    pic_unmask(0);
    irq_window();
    CHECK(irq_times(COM_EDGE) == 1 && irq_taken.count - irq_times(SPURIOUS) == 1, "%u interrupts",
          irq_taken.count);
    pic_unmask(BIT(COM));
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 2);
    com_down();
}

/* One interrupt for an edge, however long the line stays up; none when it fell before. */
static void edges(void)
{
    begin(0);
    pic_unmask(BIT(COM));
    for (u32 i = 1; i <= 5; i++) {
        com_up();
        irq_window();
        irq_window();
        CHECK_EQ_AT(irq_times(COM_EDGE), i, "after edge %u", i);
    }
    com_up();
    com_down();
    if (on_tcg()) {
        return; /* it forgets no edge */
    }
    CHECK_EQ(pic_irr() & BIT(COM), 0);
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 5);
    /* a request that is gone when it is acknowledged is seen as line 7, with nothing in service */
    CHECK_EQ(irq_taken.count, 5 + irq_times(SPURIOUS));
    CHECK_EQ(pic_isr(), 0);
}

/* With ELCR, the line asks as long as it is up. */
static void levels(void)
{
    u8 elcr = inb(I8259_ELCR_PORT);

    begin(0);
    outb(I8259_ELCR_PORT, (u8)BIT(COM));
    CHECK_EQ(inb(I8259_ELCR_PORT), BIT(COM));
    pic_unmask(BIT(COM));
    for (quiet_after = 1; quiet_after < 6; quiet_after++) {
        irq_forget();
        com_up();
        irq_window();
        CHECK_EQ_AT(irq_times(COM_EDGE), quiet_after, "while the line is up");
        CHECK_EQ_AT(irq_taken.count, quiet_after, "all while the line is up");
        CHECK_EQ(pic_irr() & BIT(COM), 0);
    }
    outb(I8259_ELCR_PORT, 0xff);
    CHECK_EQ(inb(I8259_ELCR_PORT), I8259_ELCR_MASTER);
    outb(I8259_ELCR_PORT + 1, 0xff);
    CHECK_EQ(inb(I8259_ELCR_PORT + 1), I8259_ELCR_SLAVE);
    outb(I8259_ELCR_PORT + 1, 0);
    outb(I8259_ELCR_PORT, elcr);
}

static void cascade(void)
{
    begin(0);
    pic_unmask(BIT(RTC_IRQ));
    CHECK(rtc_up(), "line 8 rises");
    CHECK_EQ(pic_irr() & BIT(I8259_CASCADE), BIT(I8259_CASCADE));
    irq_window();
    CHECK_EQ(irq_times(RTC_EDGE), 1);
    CHECK_EQ(isr_seen, BIT(RTC_IRQ) | BIT(I8259_CASCADE));
    /* both at once: line 8 goes before 4 */
    pic_unmask(0);
    CHECK(rtc_up(), "line 8 rises");
    com_up();
    irq_forget();
    pic_unmask(LINES);
    irq_window();
    CHECK_EQ(irq_taken.count, 2);
    CHECK_EQ(irq_taken.vector[0], RTC_EDGE);
    CHECK_EQ(irq_taken.vector[1], COM_EDGE);
    com_down();
    rtc_down();
}

/* Without EOI, lower lines and the line itself wait; a specific EOI ends one of two. */
static bool keep(struct trap_frame *f)
{
    irq_taken.vector[irq_taken.count++ % IRQ_LOG] = f->vector;
    return true;
}

static void service(void)
{
    begin(0);
    pic_unmask(LINES);
    trap_handle(COM_EDGE, keep);
    trap_handle(RTC_EDGE, keep);
    com_up();
    irq_window();
    CHECK_EQ(pic_isr(), BIT(COM));
    com_up();
    irq_window();
    CHECK_EQ(irq_taken.count, 1);
    CHECK_EQ(pic_irr() & BIT(COM), BIT(COM));
    CHECK(rtc_up(), "line 8 rises");
    irq_window(); /* higher: interrupts the other */
    CHECK_EQ(irq_taken.count, 2);
    CHECK_EQ(pic_isr(), BIT(COM) | BIT(RTC_IRQ) | BIT(I8259_CASCADE));
    rtc_down();
    outb(I8259_MASTER_PORT, I8259_OCW2_SL | I8259_OCW2_EOI | COM);
    CHECK_EQ(pic_isr(), BIT(RTC_IRQ) | BIT(I8259_CASCADE));
    irq_window();
    CHECK_EQ(irq_taken.count, 2);
    pic_eoi(RTC_IRQ);
    CHECK_EQ(pic_isr(), 0);
    irq_window();
    CHECK_EQ(irq_taken.count, 3);
    CHECK_EQ(irq_taken.vector[2], COM_EDGE);
    pic_eoi(COM);
    com_down();
}

static void automatic(void)
{
    begin(I8259_ICW4_AEOI);
    pic_unmask(BIT(COM));
    for (u32 i = 1; i <= 3; i++) {
        com_up();
        irq_window();
        CHECK_EQ_AT(irq_times(COM_EDGE), i, "with automatic EOI");
        CHECK_EQ_AT(isr_seen, 0, "in service");
    }
    com_down();
}

static void poll(void)
{
    begin(0);
    pic_unmask(BIT(COM));
    outb(I8259_MASTER_PORT, I8259_OCW3 | I8259_OCW3_P);
    CHECK_EQ(inb(I8259_MASTER_PORT) & I8259_POLL_I, 0);
    com_up();
    outb(I8259_MASTER_PORT, I8259_OCW3 | I8259_OCW3_P);
    CHECK_EQ(inb(I8259_MASTER_PORT) & (I8259_POLL_I | 7), I8259_POLL_I | COM);
    CHECK_EQ(pic_isr(), BIT(COM));
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 0);
    pic_eoi(COM);
    com_down();
}

/* The vectors are ICW2's. */
static void vectors(void)
{
    static const u8 bases[] = {0x20, 0x48, 0x80, 0xf0};

    for (size_t i = 0; i < sizeof(bases); i++) {
        begin(0);
        pic_init(bases[i], (u8)(bases[i] + 8), 0);
        trap_handle(bases[i] + COM, keep);
        pic_unmask(BIT(COM));
        com_up();
        irq_window();
        CHECK_EQ(irq_taken.count, 1);
        CHECK_EQ(irq_taken.vector[0], bases[i] + COM);
        pic_eoi(COM);
        com_down();
        trap_handle(bases[i] + COM, NULL);
    }
}

/* TPR and what is in service in the local APIC do not count for ExtINT, nor does it need an EOI
 * there. */
static void wire(void)
{
    if (!apic_present()) {
        test_skip("no local APIC");
        return;
    }
    begin(0);
    pic_unmask(BIT(COM));
    apic_write(APIC_TPR, 0xf0);
    com_up();
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 1);
    CHECK(apic_none(APIC_ISR) && apic_none(APIC_IRR), "the local APIC knows nothing of it");
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LVT_LINT0, LVT_MASKED | APIC_EXTINT);
    com_up();
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 1);
    apic_write(APIC_LVT_LINT0, APIC_EXTINT);
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 2);
    com_up();
    com_down();
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    /* HLT ends with it */
    apic_write(APIC_LVT_LINT0, APIC_EXTINT);
    irq_forget();
    com_up();
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    CHECK_EQ(irq_times(COM_EDGE), 1);
    com_down();
}

/* LINT0 with a vector of its own, or as NMI: the output's edge counts, nobody acknowledges. */
static void other_wires(void)
{
    if (!apic_present()) {
        test_skip("no local APIC");
        return;
    }
    begin(0);
    trap_handle(0x70, irq_count);
    apic_write(APIC_LVT_LINT0, APIC_FIXED | 0x70);
    pic_unmask(BIT(COM));
    com_up();
    irq_window();
    CHECK_EQ(irq_times(0x70), 1);
    CHECK_EQ(pic_isr(), 0);
    com_down();
    irq_forget();
    apic_write(APIC_LVT_LINT0, APIC_NMI);
    com_up();
    irq_window();
    CHECK_EQ(irq_times(VEC_NMI), 1);
    CHECK_EQ(irq_taken.count, 1);
    com_down();
}

/* With the local APIC switched off, the PIC's output is the CPU's. */
static void without_apic(void)
{
    if (on_tcg() || !apic_present()) {
        test_skip("without-apic: the local APIC cannot be switched off");
        return;
    }
    begin(0);
    apic_set_mode(APIC_MODE_OFF);
    pic_unmask(BIT(COM));
    com_up();
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 1);
    com_down();
    apic_set_mode(APIC_MODE_XAPIC);
    apic_init();
}

/* The way of every system: from PIC to I/O APIC, with a request pending in between. */
static void transition(void)
{
    if (!apic_present()) {
        test_skip("no local APIC");
        return;
    }
    begin(0);
    pic_unmask(BIT(COM));
    com_up();
    pic_unmask(0);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 0);
    if (!ioapic_init()) {
        test_skip("no I/O APIC");
        return;
    }
    irq_forget();
    trap_handle(0x71, irq_count);
    ioapic_set(IOAPIC_PIN_COM1, IOAPIC_TO(apic_id()) | 0x71);
    com_up();
    irq_window();
    CHECK_EQ(irq_times(0x71), 1);
    CHECK_EQ(irq_taken.count, 1);
    ioapic_set(IOAPIC_PIN_COM1, IOAPIC_RTE_MASK);
    com_down();
    /* no IMCR, and nothing to switch */
    outb(IMCR, 0x70);
    outb(IMCR + 1, 1);
    CHECK_EQ(inb(IMCR + 1), 0xff);
    begin(0);
    pic_unmask(BIT(COM));
    com_up();
    irq_window();
    CHECK_EQ(irq_times(COM_EDGE), 1);
    com_down();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"start",        start       },
        {"masks",        masks       },
        {"edges",        edges       },
        {"levels",       levels      },
        {"cascade",      cascade     },
        {"service",      service     },
        {"automatic",    automatic   },
        {"poll",         poll        },
        {"vectors",      vectors     },
        {"wire",         wire        },
        {"other-wires",  other_wires },
        {"without-apic", without_apic},
        {"transition",   transition  },
    };

    test_all("pic", tests, ARRAY_SIZE(tests));
}
