/* SPDX-License-Identifier: MIT */
/* The end of the machine. All other CPUs have stopped, virtualization is off. */
#include "arch/arch.h"
#include "arch/x86/boot.h"
#include "arch/x86/insn.h"
#include "arch/x86/time.h"
#include "kernel/abi.h"
#include "kernel/boot.h"

#define BOCHS_SHUTDOWN_PORT 0x8900
#define QEMU_ACPI_PORT      0x604 /* PM1 control where QEMU's q35 has it */
#define PM1_SLP_TYP_SHIFT   10
#define PM1_SLP_TYP         FIELD(12, 10)
#define PM1_SLP_EN          BIT(13)

#define RESET_PORT          0xcf9
#define RESET_HARD          0x02
#define RESET_CPU           0x04
#define KBD_PORT            0x64
#define KBD_INPUT_FULL      0x02
#define KBD_PULSE_RESET     0xfe

#define SETTLE_US           100000

/* ACPI 6 "Placing the system in the S5 state": the type first, then the bit that makes it so. */
static void sleep_type(u32 port, u32 type)
{
    if (port && port <= 0xffff) {
        u16 value = (u16)(in16((u16)port) & ~(PM1_SLP_TYP | PM1_SLP_EN));
        out16((u16)port, (u16)(value | type << PM1_SLP_TYP_SHIFT));
    }
}

static void sleep_enable(u32 port)
{
    if (port && port <= 0xffff) {
        out16((u16)port, (u16)(in16((u16)port) | PM1_SLP_EN));
    }
}

static void power_off(void)
{
    if (boot_info.flags & BOOT_FLAG_EMULATOR) {
        for (const char *s = "Shutdown"; *s; s++) {
            out8(BOCHS_SHUTDOWN_PORT, (u8)*s);
        }
    }
    sleep_type(boot_info.pm1a_port, boot_info.s5_typa);
    sleep_type(boot_info.pm1b_port, boot_info.s5_typb);
    sleep_enable(boot_info.pm1a_port);
    sleep_enable(boot_info.pm1b_port);
    if (boot_info.flags & BOOT_FLAG_EMULATOR) {
        out16(QEMU_ACPI_PORT, PM1_SLP_EN);
    }
    time_wait_us(SETTLE_US);
}

static void reboot(void)
{
    const struct descriptor_table none = {0, 0};

    out8(RESET_PORT, RESET_HARD);
    out8(RESET_PORT, RESET_HARD | RESET_CPU);
    time_wait_us(SETTLE_US);
    for (u32 i = 0; i < 1000 && in8(KBD_PORT) & KBD_INPUT_FULL; i++) {
        time_wait_us(10);
    }
    out8(KBD_PORT, KBD_PULSE_RESET);
    time_wait_us(SETTLE_US);
    lidt(&none); /* an exception without vectors: triple fault */
    __asm__ volatile("ud2");
}

void arch_power(u32 action)
{
    cpu_cli();
    console_drain();
    if (action == POWER_OFF) {
        power_off();
        static const char text[] = "the machine did not switch itself off: please do\n";
        arch_console_write(text, sizeof(text) - 1);
    } else if (action == POWER_REBOOT) {
        reboot();
    }
    arch_halt();
}
