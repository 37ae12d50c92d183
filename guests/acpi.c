/* SPDX-License-Identifier: MIT */
/*
 * ACPI: the tables are where they belong, whole, and say what the machine is like; and the fixed
 * hardware registers that the FADT names. Power-off is in crasher.c, the timer's rate in clocks.c.
 */
#include "guests/lib/acpi.h"
#include "guests/lib/apic.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/irq.h"
#include "guests/lib/memory.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/hw/acpi_pm.h"
#include "lib/hw/i8259.h"
#include "lib/hw/pci.h"
#include "lib/string.h"

#define SCI_VECTOR 0x69

/* FADT: ACPI 6.4 "Fixed ACPI Description Table (FADT)" */
#define FADT_FACS      36
#define FADT_DSDT      40
#define FADT_SCI_INT   46
#define FADT_SMI_CMD   48
#define FADT_PM1A_EVT  56
#define FADT_PM1A_CNT  64
#define FADT_PM_TMR    76
#define FADT_FLAGS     112
#define FADT_RESET_REG 116
#define FADT_RESET_VAL 128
#define FLAG_RESET     BIT(10)
#define GAS_IO         1

/* MADT */
#define MADT_LAPIC_BASE 36
#define MADT_FLAGS      40
#define MADT_ENTRIES    44
#define MADT_PCAT       BIT(0)

enum { ENTRY_LAPIC, ENTRY_IOAPIC, ENTRY_OVERRIDE, ENTRY_LAPIC_NMI = 4 };

static u64 field(const void *table, u32 offset, u32 bytes)
{
    u64 v = 0;

    memcpy(&v, (const u8 *)table + offset, bytes);
    return v;
}

static bool present(void)
{
    if (!acpi_rsdp()) {
        if (on_socle()) {
            CHECK(false, "an RSDP");
        } else {
            test_skip("no RSDP");
        }
        return false;
    }
    return true;
}

static void check_table(const struct acpi_header *h, const char *signature)
{
    CHECK(!memcmp(h->signature, signature, 4), "signature of %s", signature);
    CHECK(h->bytes >= sizeof(*h) && h->bytes < 1 << 20, "%s has %u bytes", signature, h->bytes);
    CHECK_EQ_AT(acpi_sum(h, h->bytes), 0, "checksum of %s", signature);
}

static void tables(void)
{
    const u8 *rsdp = acpi_rsdp();

    if (!present()) {
        return;
    }
    if (rsdp[15] >= 2) {
        CHECK_EQ(field(rsdp, 20, 4), 36);
        CHECK_EQ(acpi_sum(rsdp, 36), 0);
        check_table((const struct acpi_header *)field(rsdp, 24, 8), "XSDT");
    }
    check_table((const struct acpi_header *)field(rsdp, 16, 4), "RSDT");
    for (u32 i = 0; i < 2; i++) {
        const char *name = i ? "APIC" : "FACP";
        const struct acpi_header *h = acpi_table(name);

        CHECK(h, "a table %s", name);
        if (h) {
            check_table(h, name);
        }
    }
    CHECK_EQ(acpi_known()->skipped, 0);
    const struct acpi_header *fadt = acpi_table("FACP");
    if (fadt) {
        const struct acpi_header *dsdt = (const struct acpi_header *)field(fadt, FADT_DSDT, 4);
        const struct acpi_header *facs = (const struct acpi_header *)field(fadt, FADT_FACS, 4);

        check_table(dsdt, "DSDT");
        CHECK(facs && !memcmp(facs->signature, "FACS", 4) && facs->bytes >= 64, "FACS");
        CHECK_EQ((u64)facs & 63, 0);
    }
}

static void processors(void)
{
    const struct acpi_info *info = acpi_known();
    u32 want = (u32)boot_option_number("cpus", 0);
    bool boot_cpu = false;

    if (!present()) {
        return;
    }
    CHECK(info->cpu_count >= 1, "%u CPUs", info->cpu_count);
    if (want) {
        CHECK_EQ(info->cpu_count, want);
    }
    for (u32 i = 0; i < info->cpu_count; i++) {
        boot_cpu |= info->cpu_apic_ids[i] == cpuid(1, 0).ebx >> 24;
    }
    CHECK(boot_cpu, "the boot CPU is among them");
    CHECK_EQ(info->lapic_base, APIC_PAGE);
    CHECK_EQ(info->ioapic_base, IOAPIC_BASE);
}

/* What the MADT says of interrupts must fit the devices. */
static void interrupts(void)
{
    const struct acpi_header *madt = acpi_table("APIC");
    bool pit = false, sci = false;

    if (!present() || !madt) {
        return;
    }
    const u8 *p = (const u8 *)madt;
    CHECK_EQ(field(p, MADT_LAPIC_BASE, 4), APIC_PAGE);
    CHECK_EQ(field(p, MADT_FLAGS, 4) & MADT_PCAT, MADT_PCAT);
    for (u32 o = MADT_ENTRIES; o + 2 <= madt->bytes; o += p[o + 1]) {
        if (!CHECK(p[o + 1] >= 2 && o + p[o + 1] <= madt->bytes, "entry at %u of %u bytes", o,
                   p[o + 1])) {
            return;
        }
        if (p[o] != ENTRY_OVERRIDE) {
            continue;
        }
        CHECK_EQ(p[o + 1], 10);
        CHECK_EQ(p[o + 2], 0);
        pit |= p[o + 3] == 0 && field(p, o + 4, 4) == IOAPIC_PIN_PIT;
        sci |= p[o + 3] == PM_SCI && (field(p, o + 8, 2) & 15) == 13; /* active high, level */
    }
    CHECK(pit, "IRQ 0 is on pin 2");
    if (on_socle()) {
        CHECK(sci, "IRQ 9 is a level, active high");
        CHECK_EQ(field(acpi_table("FACP"), FADT_SCI_INT, 2), PM_SCI);
    }
}

static void fixed_hardware(void)
{
    const struct acpi_header *fadt = acpi_table("FACP");
    u16 events, control;

    if (!present() || !fadt) {
        return;
    }
    events = (u16)field(fadt, FADT_PM1A_EVT, 4);
    control = (u16)field(fadt, FADT_PM1A_CNT, 4);
    CHECK(events && control && field(fadt, FADT_PM_TMR, 4), "registers have ports");
    if (!on_socle()) {
        return;
    }
    CHECK_EQ(field(fadt, FADT_SMI_CMD, 4), 0); /* always in ACPI mode */
    CHECK_EQ(inw(control) & PM1_CNT_SCI_EN, PM1_CNT_SCI_EN);
    CHECK_EQ(inb(I8259_ELCR_PORT + 1) & BIT(PM_SCI - 8), BIT(PM_SCI - 8)); /* the SCI is a level */
    CHECK_EQ(field(fadt, FADT_FLAGS, 4) & FLAG_RESET, FLAG_RESET);
    CHECK_EQ(field(fadt, FADT_RESET_REG, 1), GAS_IO);
    CHECK_EQ(field(fadt, FADT_RESET_REG + 4, 8), 0xcf9);
    CHECK_EQ(field(fadt, FADT_RESET_VAL, 1) & 6, 6);
    outw((u16)(events + PM1_EN), PM1_TMR | PM1_PWRBTN);
    CHECK_EQ(inw((u16)(events + PM1_EN)), PM1_TMR | PM1_PWRBTN);
    outw((u16)(events + PM1_EN), 0);
    CHECK_EQ(inw((u16)(events + PM1_EN)), 0);
    outw((u16)(events + PM1_STS), 0xffff);
    CHECK_EQ(inw((u16)(events + PM1_STS)) & PM1_PWRBTN, 0);
    /* a sleep type that is none: nothing happens */
    outw(control, PM1_CNT_SCI_EN | 2 << PM1_CNT_SLP_TYP_SHIFT | PM1_CNT_SLP_EN);
    CHECK_EQ(inw(control) & (PM1_CNT_SCI_EN | PM1_CNT_SLP_EN), PM1_CNT_SCI_EN);
    outw(control, PM1_CNT_SCI_EN);
}

/* The timer's overflow as SCI: level-triggered, until its status is cleared. */
static bool on_sci(struct trap_frame *f)
{
    if (cpu_self()->taken[f->vector] == 2) {
        outw(PM_PORT + PM1_STS, PM1_TMR);
    }
    return irq_count(f);
}

static void sci(void)
{
    if (!on_socle() || !apic_available() || !ioapic_init()) {
        test_skip("sci: this is not Socle");
        return;
    }
    irq_expect(32, 255);
    trap_handle(SCI_VECTOR, on_sci);
    ioapic_set(PM_SCI, IOAPIC_TO(apic_id()) | SCI_VECTOR | IOAPIC_RTE_TRIGGER);
    u32 before = 0;
    do { /* an overflow between the two is one of its own */
        outw(PM_PORT + PM1_STS, 0xffff);
        before = clock_pm();
    } while (inw(PM_PORT + PM1_STS) & PM1_TMR);
    outw(PM_PORT + PM1_EN, PM1_TMR);
    cpu_sti();
    CHECK(WAIT_UNTIL(irq_taken.count >= 3), "%u interrupts", irq_taken.count);
    cpu_cli();
    u32 after = clock_pm();
    outw(PM_PORT + PM1_EN, 0);
    CHECK((before ^ after) & BIT(PM_TIMER_BITS - 1), "the highest bit changed: %x, %x", before,
          after);
    CHECK_EQ(irq_times(SCI_VECTOR), 3);
    CHECK_EQ(inw(PM_PORT + PM1_STS) & PM1_TMR, 0);
    ioapic_set(PM_SCI, IOAPIC_RTE_MASK);
}

static u32 pci_word(u32 address)
{
    outl(PCI_ADDRESS, PCI_ADDRESS_ENABLE | address);
    return inl(PCI_DATA);
}

/* Every PC has a host bridge as the first device, and ports that tell of it in words and bytes. */
static void pci(void)
{
    u32 id = pci_word(PCI_ID);

    CHECK(id != ~0u && (u16)id, "the host bridge is %x", id);
    CHECK_EQ(inl(PCI_ADDRESS), PCI_ADDRESS_ENABLE);
    CHECK_EQ(inw(PCI_DATA + 2), id >> 16);
    CHECK_EQ(inb(PCI_DATA + 1), id >> 8 & 0xff);
    CHECK_EQ(pci_word(PCI_CLASS) >> 16, PCI_CLASS_HOST_BRIDGE);
    outl(PCI_ADDRESS, PCI_ID);
    CHECK_EQ(inl(PCI_DATA), ~0u); /* not enabled */
    if (on_socle()) {
        for (u32 device = 1; device < 32; device++) {
            CHECK_EQ(pci_word(device << 11), ~0u);
        }
        volatile u32 *window = (volatile u32 *)map_window(PCI_ECAM);
        CHECK_EQ(window[PCI_ID / 4], id);
        CHECK_EQ(((volatile u16 *)window)[PCI_CLASS / 2 + 1], PCI_CLASS_HOST_BRIDGE);
        CHECK_EQ(window[PCI_CONFIG_BYTES / 4], ~0u);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"tables",         tables        },
        {"processors",     processors    },
        {"interrupts",     interrupts    },
        {"fixed-hardware", fixed_hardware},
        {"sci",            sci           },
        {"pci",            pci           },
    };

    test_all("acpi", tests, ARRAY_SIZE(tests));
}
