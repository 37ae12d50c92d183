// SPDX-License-Identifier: MIT
// What a guest's PC has that no register tells: its ISA devices, where power-off is, its CPUs.
// CPUS, the number of CPUs, is in an SSDT of its own that vmm/machine/firmware.c makes.
DefinitionBlock ("", "DSDT", 2, "SOCLE ", "SOCLE PC", 1)
{
    External (\CPUS, IntObj)

    // SLP_TYP of soft-off for PM1a control (PM_SLP_TYP_S5 of lib/hw/acpi_pm.h). There is no PM1b.
    Name (\_S5, Package () { 0, 0, 0, 0 })

    // The guest says whether it uses the PIC (0) or the IOAPIC (1). No interrupt here depends on it.
    Name (\PICM, 0)
    Method (\_PIC, 1)
    {
        PICM = Arg0
    }

    Scope (\_SB)
    {
        // The host bridge; there are no devices behind it. Windows: ports, and memory from 3 GiB to the IOAPIC but for
        // the configuration space of bus 0 (PCI_ECAM of lib/hw/pci.h).
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                IO (Decode16, 0xCF8, 0xCF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xC0100000, 0xFEBFFFFF, 0, 0x3EB00000)
            })
        }

        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x20, 0x20, 1, 2)
                IO (Decode16, 0xA0, 0xA0, 1, 2)
                IO (Decode16, 0x4D0, 0x4D0, 1, 2)
                IRQNoFlags () { 2 }
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x40, 0x40, 1, 4)
                IRQNoFlags () { 0 }
            })
        }

        Device (SPKR)
        {
            Name (_HID, EisaId ("PNP0800"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x61, 0x61, 1, 1)
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x70, 0x70, 1, 2)
                IRQNoFlags () { 8 }
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3F8, 0x3F8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (FWCF)
        {
            Name (_HID, "QEMU0002")
            Name (_STA, 0x0B) // present, not for the user's eyes
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x510, 0x510, 1, 12)
            })
        }

        // By its port a kernel tells that it has panicked.
        Device (PEVT)
        {
            Name (_HID, "QEMU0001")
            Name (_STA, 0x0B)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x505, 0x505, 1, 1)
            })
        }

        // What is no device to an operating system: a keyboard controller without keyboard, fast A20, debug
        // console and exit, power management, PCI's configuration space.
        Device (PORT)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x60, 0x60, 1, 1)
                IO (Decode16, 0x64, 0x64, 1, 1)
                IO (Decode16, 0x92, 0x92, 1, 1)
                IO (Decode16, 0xE9, 0xE9, 1, 1)
                IO (Decode16, 0xF4, 0xF4, 1, 4)
                IO (Decode16, 0x600, 0x600, 1, 12)
                Memory32Fixed (ReadWrite, 0xC0000000, 0x00100000)
            })
        }

        // _STA of a CPU: present and working, or not there.
        Method (HAVE, 1)
        {
            If (Arg0 < \CPUS)
            {
                Return (0x0F)
            }
            Return (0)
        }

        Device (C000) { Name (_HID, "ACPI0007") Name (_UID, 0) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C001) { Name (_HID, "ACPI0007") Name (_UID, 1) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C002) { Name (_HID, "ACPI0007") Name (_UID, 2) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C003) { Name (_HID, "ACPI0007") Name (_UID, 3) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C004) { Name (_HID, "ACPI0007") Name (_UID, 4) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C005) { Name (_HID, "ACPI0007") Name (_UID, 5) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C006) { Name (_HID, "ACPI0007") Name (_UID, 6) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C007) { Name (_HID, "ACPI0007") Name (_UID, 7) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C008) { Name (_HID, "ACPI0007") Name (_UID, 8) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C009) { Name (_HID, "ACPI0007") Name (_UID, 9) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C00A) { Name (_HID, "ACPI0007") Name (_UID, 10) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C00B) { Name (_HID, "ACPI0007") Name (_UID, 11) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C00C) { Name (_HID, "ACPI0007") Name (_UID, 12) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C00D) { Name (_HID, "ACPI0007") Name (_UID, 13) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C00E) { Name (_HID, "ACPI0007") Name (_UID, 14) Method (_STA) { Return (HAVE (_UID)) } }
        Device (C00F) { Name (_HID, "ACPI0007") Name (_UID, 15) Method (_STA) { Return (HAVE (_UID)) } }
    }
}
