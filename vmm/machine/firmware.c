/* SPDX-License-Identifier: MIT */
/*
 * Tables of the machine, as data: ACPI (specification 6.0, "ACPI Software Programming Model"), the
 * MP table (Intel MultiProcessor Specification 1.4), and the BIOS data area. What they name is
 * fixed: the same for every guest but for the number of CPUs.
 */
#include "vmm/machine/firmware.h"

#include "kernel/abi.h"
#include "lib/hw/acpi_pm.h"
#include "lib/hw/ioapic.h"
#include "lib/hw/lapic.h"
#include "lib/hw/pci.h"
#include "lib/hw/reset.h"
#include "lib/hw/rtc.h"
#include "lib/hw/uart16550.h"
#include "lib/hw/vga.h"
#include "lib/string.h"
#include "vmm/device/fwcfg.h"

#define PIT_IRQ 0
#define PIT_PIN 2 /* of the IOAPIC */

/* --- ACPI --- */

struct acpi_header {
    char signature[4];
    u32 length;
    u8 revision, checksum;
    char oem_id[6], oem_table_id[8];
    u32 oem_revision;
    char creator_id[4];
    u32 creator_revision;
} PACKED;

#define HEADER(name, rev, type)                                                                    \
    {                                                                                              \
        .signature = (name), .length = sizeof(type), .revision = (rev), .oem_id = "SOCLE ",        \
        .oem_table_id = "SOCLE PC", .oem_revision = 1, .creator_id = "SOCL", .creator_revision = 1 \
    }

struct rsdp {
    char signature[8];
    u8 checksum; /* of the first 20 bytes */
    char oem_id[6];
    u8 revision;
    u32 rsdt, length;
    u64 xsdt;
    u8 checksum_all, reserved[3];
} PACKED;

/* "Generic Address Structure" */
struct gas {
    u8 space, bits, offset, access;
    u64 address;
} PACKED;
#define GAS_IO 1
/* access: 1, 2, 3 for 8, 16, 32 bits */
#define IO(port, width, size)                                                                      \
    {                                                                                              \
        .space = GAS_IO, .bits = (width), .access = (size), .address = (port)                      \
    }

struct fadt {
    struct acpi_header header;
    u32 facs, dsdt;
    u8 reserved_1, pm_profile;
    u16 sci;
    u32 smi_cmd;
    u8 acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    u32 pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
    u8 pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base, cst_cnt;
    u16 p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    u8 duty_offset, duty_width, day_alrm, mon_alrm, century;
    u16 boot_arch;
    u8 reserved_2;
    u32 flags;
    struct gas reset;
    u8 reset_value;
    u16 arm_boot_arch;
    u8 minor;
    u64 x_facs, x_dsdt;
    struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1,
        sleep_control, sleep_status;
    u64 hypervisor;
} PACKED;

#define FADT_LATENCY_NONE 0xffff /* no C2, no C3 */
#define FADT_BOOT_LEGACY  BIT(0) /* there are devices on the ISA bus */
#define FADT_BOOT_NO_VGA  BIT(2) /* bit 1 is clear: no keyboard controller */
#define FADT_WBINVD       BIT(0)
#define FADT_PROC_C1      BIT(2)
#define FADT_PWR_BUTTON   BIT(4) /* set: not a fixed feature */
#define FADT_SLP_BUTTON   BIT(5) /* the same */
#define FADT_FIX_RTC      BIT(6) /* the same: the RTC wakes nothing */
#define FADT_RESET_REG    BIT(10)
#define FADT_HEADLESS     BIT(12)

/* No SMI command port: the machine is in ACPI mode from the start, SCI_EN is always set. */
static const struct fadt fadt = {
    .header = HEADER("FACP", 6, struct fadt),
    .sci = PM_SCI,
    .pm1a_evt = PM_PORT + PM1_STS,
    .pm1a_cnt = PM_PORT + PM1_CNT,
    .pm_tmr = PM_PORT + PM_TMR,
    .pm1_evt_len = 4,
    .pm1_cnt_len = 2,
    .pm_tmr_len = 4,
    .p_lvl2_lat = FADT_LATENCY_NONE,
    .p_lvl3_lat = FADT_LATENCY_NONE,
    .century = CMOS_CENTURY,
    .boot_arch = FADT_BOOT_LEGACY | FADT_BOOT_NO_VGA,
    .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_FIX_RTC |
             FADT_RESET_REG | FADT_HEADLESS,
    .reset = IO(PORTCF9, 8, 1),
    .reset_value = PORTCF9_RST_CPU | PORTCF9_SYS_RST,
    .x_pm1a_evt = IO(PM_PORT + PM1_STS, 32, 2),
    .x_pm1a_cnt = IO(PM_PORT + PM1_CNT, 16, 2),
    .x_pm_tmr = IO(PM_PORT + PM_TMR, 32, 3),
};

struct facs {
    char signature[4];
    u32 length, hardware_signature, waking_vector, global_lock, flags;
    u64 x_waking_vector;
    u8 version, reserved_1[3];
    u32 ospm_flags;
    u8 reserved_2[24];
};

static const struct facs facs = {.signature = "FACS", .length = sizeof(facs), .version = 2};

struct madt_ioapic {
    u8 type, length, id, reserved;
    u32 address, gsi_base;
} PACKED;

struct madt_override {
    u8 type, length, bus, irq;
    u32 gsi;
    u16 flags;
} PACKED;

#define MADT_OVERRIDE(isa, pin, how)                                                               \
    {                                                                                              \
        .type = 2, .length = sizeof(struct madt_override), .irq = (isa), .gsi = (pin),             \
        .flags = (how)                                                                             \
    }

struct madt_nmi {
    u8 type, length, uid;
    u16 flags;
    u8 lint;
} PACKED;

struct madt_cpu {
    u8 type, length, uid, apic_id;
    u32 flags;
} PACKED;

/* Polarity and trigger mode, in the MADT and in the MP table */
#define INT_AS_BUS       0x0 /* ISA: edge, active high */
#define INT_EDGE_HIGH    0x5
#define INT_LEVEL_HIGH   0xd

#define MADT_PCAT_COMPAT BIT(0) /* there are 8259s too */
#define MADT_ENABLED     BIT(0)
#define MADT_ALL_CPUS    0xff

struct madt {
    struct acpi_header header;
    u32 lapic, flags;
    struct madt_ioapic ioapic;
    struct madt_override pit, sci;
    struct madt_nmi nmi;
    struct madt_cpu cpus[VM_MAX_CPUS]; /* as many as there are */
} PACKED;

static const struct madt madt = {
    .header = HEADER("APIC", 4, struct madt),
    .lapic = (u32)APIC_PAGE,
    .flags = MADT_PCAT_COMPAT,
    .ioapic.type = 1,
    .ioapic.length = sizeof(struct madt_ioapic),
    .ioapic.address = IOAPIC_BASE,
    .pit = MADT_OVERRIDE(PIT_IRQ, PIT_PIN, INT_AS_BUS),
    .sci = MADT_OVERRIDE(PM_SCI, PM_SCI, INT_LEVEL_HIGH),
    .nmi.type = 4,
    .nmi.length = sizeof(struct madt_nmi),
    .nmi.uid = MADT_ALL_CPUS,
    .nmi.flags = INT_EDGE_HIGH,
    .nmi.lint = 1,
};

/* Name (\CPUS, n), for the DSDT ("ACPI Machine Language (AML) Specification"). */
struct ssdt {
    struct acpi_header header;
    u8 name_op;
    char name[4];
    u8 byte_prefix, cpus;
} PACKED;

static const struct ssdt ssdt = {
    .header = HEADER("SSDT", 2, struct ssdt),
    .name_op = 0x08,
    .name = "CPUS",
    .byte_prefix = 0x0a,
};

/* "MCFG Table Description" */
struct mcfg {
    struct acpi_header header;
    u64 reserved_1, base;
    u16 segment;
    u8 first_bus, last_bus;
    u32 reserved_2;
} PACKED;

static const struct mcfg mcfg = {
    .header = HEADER("MCFG", 1, struct mcfg),
    .base = PCI_ECAM,
};

#define TABLES 4 /* that the root tables list */

struct xsdt {
    struct acpi_header header;
    u64 table[TABLES];
} PACKED;

struct rsdt {
    struct acpi_header header;
    u32 table[TABLES];
} PACKED;

_Static_assert(sizeof(struct acpi_header) == 36 && sizeof(struct rsdp) == FIRMWARE_RSDP_BYTES &&
                   sizeof(struct fadt) == 276 && offsetof(struct fadt, boot_arch) == 109 &&
                   offsetof(struct fadt, x_dsdt) == 140 && sizeof(struct facs) == 64 &&
                   offsetof(struct madt, cpus) == 82 && sizeof(struct mcfg) == 60,
               "ACPI layouts");

/* Where the next table goes. */
struct place {
    const struct ram *ram;
    u64 at;
    bool good; /* so far everything had room */
};

/* The guest address of a copy of data. */
static u32 put(struct place *p, const void *data, u32 bytes, u32 align)
{
    u64 gpa = ALIGN_UP(p->at, align);

    p->at = gpa + bytes;
    p->good = p->good && p->at <= RAM_HIGH && ram_write(p->ram, GPA(gpa), data, bytes);
    return (u32)gpa;
}

/* The byte that makes the sum of all 0, when the one at its place is 0. */
static u8 checksum(const void *data, u32 bytes)
{
    u8 sum = 0;

    for (u32 i = 0; i < bytes; i++) {
        sum += ((const u8 *)data)[i];
    }
    return (u8)-sum;
}

static u32 put_table(struct place *p, struct acpi_header *table)
{
    table->checksum = checksum(table, table->length);
    return put(p, table, table->length, 16);
}

static u32 put_fadt(struct place *p)
{
    struct fadt t = fadt;

    t.facs = put(p, &facs, sizeof(facs), 64);
    t.dsdt = put(p, firmware_dsdt, firmware_dsdt_bytes, 16);
    t.x_dsdt = t.dsdt; /* x_facs stays 0: only one of the two is to be set */
    return put_table(p, &t.header);
}

static u32 put_madt(struct place *p, u32 cpus)
{
    struct madt t = madt;

    for (u32 i = 0; i < cpus; i++) {
        t.cpus[i] = (struct madt_cpu){0, sizeof(t.cpus[i]), (u8)i, (u8)i, MADT_ENABLED};
    }
    t.header.length = (u32)(offsetof(struct madt, cpus) + cpus * sizeof(t.cpus[0]));
    return put_table(p, &t.header);
}

static u32 put_ssdt(struct place *p, u32 cpus)
{
    struct ssdt t = ssdt;

    t.cpus = (u8)cpus;
    return put_table(p, &t.header);
}

static u32 put_mcfg(struct place *p)
{
    struct mcfg t = mcfg;

    return put_table(p, &t.header);
}

static void put_acpi(struct place *p, u32 cpus)
{
    struct rsdp rsdp = {
        .signature = "RSD PTR ", .oem_id = "SOCLE ", .revision = 2, .length = sizeof(rsdp)};
    struct place start = *p;
    struct xsdt xsdt = {.header = HEADER("XSDT", 1, struct xsdt)};
    struct rsdt rsdt = {.header = HEADER("RSDT", 1, struct rsdt)};

    p->at += sizeof(rsdp);
    xsdt.table[0] = rsdt.table[0] = put_fadt(p);
    xsdt.table[1] = rsdt.table[1] = put_madt(p, cpus);
    xsdt.table[2] = rsdt.table[2] = put_ssdt(p, cpus);
    xsdt.table[3] = rsdt.table[3] = put_mcfg(p);
    rsdp.rsdt = put_table(p, &rsdt.header);
    rsdp.xsdt = put_table(p, &xsdt.header);
    rsdp.checksum = checksum(&rsdp, FIRMWARE_RSDP_OLD_BYTES);
    rsdp.checksum_all = checksum(&rsdp, sizeof(rsdp));
    put(&start, &rsdp, sizeof(rsdp), 16);
    p->good = p->good && start.good;
}

/* --- MP table, for systems from before ACPI --- */

struct mp_pointer {
    char signature[4];
    u32 table;
    u8 length, version, checksum, features[5];
};

struct mp_header {
    char signature[4];
    u16 length;
    u8 version, checksum;
    char oem_id[8], product_id[12];
    u32 oem_table;
    u16 oem_bytes, entries;
    u32 lapic;
    u16 extended_length;
    u8 extended_checksum, reserved;
};

struct mp_cpu {
    u8 type, apic_id, apic_version, flags;
    u32 signature, features, reserved[2];
};
#define MP_CPU_ENABLED  BIT(0)
#define MP_CPU_BOOT     BIT(1)
#define MP_LAPIC        0x14
#define MP_FAMILY_6     0x600
#define MP_FPU_AND_APIC 0x201

struct mp_interrupt {
    u8 entry, type;
    u16 flags;
    u8 bus, irq, apic_id, pin;
};
#define MP_EXTINT   3 /* type */
#define MP_NMI      1
#define MP_ALL_CPUS 0xff
#define MP_LINT(what, lint)                                                                        \
    {                                                                                              \
        .entry = 4, .type = (what), .apic_id = MP_ALL_CPUS, .pin = (lint)                          \
    }

/* What follows the CPUs. */
struct mp_rest {
    u8 bus, bus_id;
    char bus_name[6];
    u8 ioapic, ioapic_id, ioapic_version, ioapic_flags;
    u32 ioapic_address;
    struct mp_interrupt interrupts[15]; /* of the ISA bus: all lines but 2, the cascade */
    struct mp_interrupt lint0, lint1;
};
#define MP_REST_ENTRIES 19

static const struct mp_rest mp_rest = {
    .bus = 1,
    .bus_name = "ISA   ",
    .ioapic = 2,
    .ioapic_version = 0x20,
    .ioapic_flags = 1, /* usable */
    .ioapic_address = IOAPIC_BASE,
    .lint0 = MP_LINT(MP_EXTINT, 0),
    .lint1 = MP_LINT(MP_NMI, 1),
};

struct mp_table {
    struct mp_header header;
    struct mp_cpu cpus[VM_MAX_CPUS];
    struct mp_rest room;
};

_Static_assert(sizeof(struct mp_pointer) == 16 && sizeof(struct mp_header) == 44 &&
                   sizeof(struct mp_cpu) == 20 && sizeof(struct mp_rest) == 16 + 17 * 8,
               "MP table layouts");

static void put_mp(struct place *p, u32 cpus)
{
    struct mp_table t = {
        .header.signature = "PCMP",
        .header.version = 4,
        .header.oem_id = "SOCLE   ",
        .header.product_id = "PC          ",
        .header.entries = (u16)(cpus + MP_REST_ENTRIES),
        .header.lapic = (u32)APIC_PAGE,
    };
    struct mp_rest rest = mp_rest;
    struct mp_pointer pointer = {.signature = "_MP_", .length = 1, .version = 4};

    for (u32 i = 0; i < cpus; i++) {
        t.cpus[i] = (struct mp_cpu){.apic_id = (u8)i,
                                    .apic_version = MP_LAPIC,
                                    .flags = (u8)(MP_CPU_ENABLED | (i ? 0 : MP_CPU_BOOT)),
                                    .signature = MP_FAMILY_6,
                                    .features = MP_FPU_AND_APIC};
    }
    for (u32 i = 0; i < ARRAY_SIZE(rest.interrupts); i++) {
        u8 irq = (u8)(i < 2 ? i : i + 1);
        rest.interrupts[i] =
            (struct mp_interrupt){.entry = 3,
                                  .flags = irq == PM_SCI ? INT_LEVEL_HIGH : INT_AS_BUS,
                                  .irq = irq,
                                  .pin = irq == PIT_IRQ ? PIT_PIN : irq};
    }
    t.header.length =
        (u16)(offsetof(struct mp_table, cpus) + cpus * sizeof(t.cpus[0]) + sizeof(rest));
    memcpy((u8 *)&t + t.header.length - sizeof(rest), &rest, sizeof(rest));
    t.header.checksum = checksum(&t, t.header.length);
    pointer.table = put(p, &t, t.header.length, 16);
    pointer.checksum = checksum(&pointer, sizeof(pointer));
    put(p, &pointer, sizeof(pointer), 16);
}

/* --- BIOS data area --- */

#define BDA_EQUIPMENT                                                                              \
    (BIT(1) | 2u << 4 | 1u << 9) /* FPU, 80 columns of colour, one serial port                     \
                                  */

#define VGA_MODE (3 | VGA_COLUMNS << 8)

static const struct {
    u32 gpa;
    u16 value;
} bda[] = {
    {0x400,    UART_COM1_PORT }, /* the first serial port */
    {0x40e,    RAM_EBDA >> 4  }, /* segment of the extended BIOS data area */
    {0x410,    BDA_EQUIPMENT  },
    {0x413,    RAM_EBDA / 1024}, /* KiB of memory below it */
    {0x449,    VGA_MODE       }, /* and, behind it, the number of columns */
    {0x463,    VGA_CRTC       },
    {0x484,    VGA_ROWS - 1   }, /* the last row */
    {RAM_EBDA, 1              }, /* its size in KiB */
};

bool firmware_build(const struct ram *ram, const struct firmware_args *args)
{
    struct place p = {ram, FIRMWARE_RSDP, args->cpus >= 1 && args->cpus <= VM_MAX_CPUS};

    if (p.good) {
        put_acpi(&p, args->cpus);
        put_mp(&p, args->cpus);
    }
    for (u32 i = 0; i < ARRAY_SIZE(bda); i++) {
        p.good = p.good && ram_write(ram, GPA(bda[i].gpa), &bda[i].value, sizeof(bda[i].value));
    }
    return p.good;
}

bool firmware_add_items(struct fwcfg *f, const struct ram *ram, const struct firmware_args *args)
{
    u64 memory = ram->range[1].gpa;

    for (u32 i = 1; i < ram->count; i++) { /* what holes below 1 MiB took is counted too */
        memory += ram->range[i].bytes;
    }
    return fwcfg_add_number(f, FWCFG_RAM_SIZE, memory, 8) &&
           fwcfg_add_number(f, FWCFG_NOGRAPHIC, 1, 2) &&
           fwcfg_add_number(f, FWCFG_NB_CPUS, args->cpus, 2) &&
           fwcfg_add_number(f, FWCFG_MAX_CPUS, args->cpus, 2) &&
           fwcfg_add_number(f, FWCFG_IRQ0_OVERRIDE, 1, 4) &&
           fwcfg_add_file(f, "etc/e820", ram->area, ram->area_count * (u32)sizeof(ram->area[0]));
}
