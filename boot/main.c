/* SPDX-License-Identifier: MIT */
/*
 * The UEFI loader: looks at the machine and the configuration, explains itself when something is
 * missing, loads everything into memory, and starts the kernel as kernel/bootinfo.h says. Devices
 * that the firmware has used are left as they are (only ExitBootServices quiets them): whoever
 * drives one resets it first.
 */
#include "boot/loader.h"

#include "boot/cpu.h"
#include "lib/hw/x86.h"

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static bool prepare(struct loader *l, u64 start_tsc)
{
    u64 info = memory_alloc(l, sizeof(struct bootinfo), PAGE_SIZE, 0, BOOT_MEM_LOADER);

    if (!info) {
        return loader_refuse(l, "there is no memory free at all: give the machine more");
    }
    l->info = (struct bootinfo *)info;
    l->info->magic = BOOTINFO_MAGIC;
    l->info->bytes = sizeof(struct bootinfo);
    l->info->start_tsc = start_tsc;
    l->info->flags = l->emulator ? BOOT_FLAG_EMULATOR : 0;
    platform_read_clock(l);
    platform_find_screen(l);
    platform_read_cpu(l);
    mtrr_read(l);
    loader_say(l, "Socle starts");
    return true;
}

/* Refuses a machine that cannot do what the configuration asks for. */
static bool preflight(struct loader *l)
{
    const char *missing = preflight_host(&l->cpu);

    if (missing) {
        return loader_refuse(l, "%s", missing);
    }
    if ((cpu_cr4() & CR4_LA57) && !l->info->trampoline) {
        return loader_refuse(
            l, "the firmware uses five-level paging and leaves no memory below 1 MiB: "
               "switch five-level paging off in its setup");
    }
    missing = preflight_guests(&l->cpu);
    l->run_guests = !missing;
    if (missing && !l->config->host.self_test) {
        return loader_refuse(l, "%s", missing);
    }
    if (missing) {
        loader_say(l, "guests are not started on this machine: %s", missing);
    }
    return true;
}

/* Where the kernel is to speak: as configured, but never nowhere. */
static void choose_console(struct loader *l)
{
    u32 there = (u32)((l->console.serial ? BOOT_CONSOLE_SERIAL : 0) |
                      (l->console.screen ? BOOT_CONSOLE_SCREEN : 0));
    u32 wanted = (u32)((l->config->host.console & CONFIG_CONSOLE_SERIAL ? BOOT_CONSOLE_SERIAL : 0) |
                       (l->config->host.console & CONFIG_CONSOLE_SCREEN ? BOOT_CONSOLE_SCREEN : 0));

    l->info->console = there & wanted;
    if (!l->info->console && there) {
        l->info->console = there;
        loader_say(l, "the configured console is not there: using the %s",
                   l->console.serial ? "serial line" : "screen");
    }
    l->info->flags |= l->config->host.self_test ? (u32)BOOT_FLAG_SELF_TEST : 0;
}

static bool load(struct loader *l, u64 start_tsc)
{
    if (!prepare(l, start_tsc) || !files_open(l) || !guests_read_config(l) || !platform_find(l) ||
        !preflight(l) || !guests_check(l)) {
        return false;
    }
    choose_console(l);
    return programs_load(l) && guests_load(l) && tables_build(l);
}

/* The loader's last part runs on the tables that the kernel starts on, and leaves by a jump. */
NORETURN static void finish(struct loader *l)
{
    void (*enter)(struct bootinfo * info) = (void (*)(struct bootinfo *))l->kernel_entry;

    console_leave_firmware(&l->console); /* now it is gone for good */
    legacy_init(l);
    clock_measure(l);
    l->info->kernel_tsc = cpu_tsc();
    enter(l->info);
    cpu_halt();
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    u64 start_tsc = cpu_tsc();
    struct loader loader = {
        .image = image,
        .system = system,
        .services = system->BootServices,
        .emulator = cpu_in8(0xe9) == 0xe9,
    };
    struct loader *l = &loader;

    l->services->SetWatchdogTimer(0, 0, 0, NULL);
    console_init(&l->console, system->ConOut);
    if (!load(l, start_tsc)) {
        return loader_end(l);
    }
    loader_say(l, "starting the kernel");
    l->folder->Close(l->folder);
    memory_exit_boot_services(l);
    cpu_jump(l->root, (u64)finish, l->stack_top - 8, (u64)l, l->gdt, l->info->trampoline);
}
