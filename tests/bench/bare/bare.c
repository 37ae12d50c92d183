/* SPDX-License-Identifier: MIT */
/*
 * Starts the Linux kernel of socle.conf's first guest on the bare machine, as vmm/load would start
 * it as a guest: same boot parameters, same memory map, same registers. An EFI application in place
 * of the loader, made of its parts.
 */
#include "boot/cpu.h"
#include "boot/loader.h"
#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/device/fwcfg.h"
#include "vmm/load/load.h"
#include "vmm/machine/firmware.h"

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

/* firmware.c is linked with them, and nobody calls firmware_add_items() here. */
bool fwcfg_add_number(struct fwcfg *f, u16 key, u64 value, u32 bytes)
{
    (void)f, (void)key, (void)value, (void)bytes;
    return false;
}

bool fwcfg_add_file(struct fwcfg *f, const char *name, const void *data, u32 bytes)
{
    (void)f, (void)name, (void)data, (void)bytes;
    return false;
}

static bool load(struct loader *l)
{
    u64 info = memory_alloc(l, sizeof(struct bootinfo), PAGE_SIZE, 0, BOOT_MEM_LOADER);

    l->info = (struct bootinfo *)info;
    return info && files_open(l) && guests_read_config(l) && memory_read_map(l) && guests_load(l);
}

/* The first module of a kind behind *next. */
static struct load_file file(const struct loader *l, u32 *next)
{
    const struct bootinfo *bi = l->info;

    while (*next < bi->module_count && bi->modules[*next].kind != BOOT_MODULE_FILE) {
        ++*next;
    }
    if (*next == bi->module_count) {
        return (struct load_file){0};
    }
    const struct boot_module *m = &bi->modules[(*next)++];
    return (struct load_file){(const u8 *)m->base, m->bytes, m->name, ""};
}

/* Intel 440FX datasheet "PAM[6:0]": all from 768K to 1M is RAM, where the tables go. */
static void uncover_ram(void)
{
    enum { ADDRESS = 0xcf8, DATA = 0xcfc, PAM = 0x59, RAM_ALL = 0x33 };

    for (u32 reg = PAM; reg < PAM + 7; reg++) {
        __asm__ volatile("outl %0, %1" : : "a"(0x80000000u | (reg & ~3u)), "Nd"((u16)ADDRESS));
        cpu_out8((u16)(DATA + (reg & 3)), RAM_ALL);
    }
}

/* In 64-bit mode with everything mapped to itself, here as there: only tables and registers change.
 */
NORETURN static void enter(const struct vcpu_state *s)
{
    const struct {
        u16 limit;
        u64 base;
    } PACKED gdt = {(u16)s->gdt_limit, s->gdt_base};

    __asm__ volatile("cli\n\t"
                     "lgdt %0\n\t"
                     "mov %1, %%cr3\n\t"
                     "mov %2, %%ds\n\t"
                     "mov %2, %%es\n\t"
                     "mov %2, %%ss\n\t"
                     "push %3\n\t"
                     "push %4\n\t"
                     "lretq"
                     :
                     : "m"(gdt), "r"(s->cr3), "r"((u32)s->seg[SEG_DS].selector),
                       "r"((u64)s->seg[SEG_CS].selector), "r"(s->rip), "S"(s->gpr[GPR_RSI])
                     : "memory");
    __builtin_unreachable();
}

static bool start(struct loader *l)
{
    const struct config_guest *g = &l->config->guests[0];
    struct ram ram = {0}; /* guest-physical is physical */
    struct vcpu_state state = {0};
    struct load_error error;
    u32 next = 0;
    char options[1024] = "";
    struct load_request r = {.ram = &ram, .image = g->image, .options = options};

    memcpy(options, g->options.text, MIN((u64)g->options.len, sizeof(options) - 1));
    struct firmware_args firmware = {.cpus = 1};

    ram_layout(&ram, g->memory_bytes);
    uncover_ram();
    if (!ram_zero(&ram, GPA(RAM_BIOS), RAM_HIGH - RAM_BIOS) || !firmware_build(&ram, &firmware)) {
        return loader_error(l, "no room for the firmware's tables");
    }
    r.file = file(l, &next);
    r.modules[0] = file(l, &next);
    r.module_count = 1;
    if (!load_image(&r, &state, &error)) {
        return loader_error(l, "%s", error.text);
    }
    console_print(&l->console, "bench: linux-entry tsc=%lu\n", cpu_tsc());
    console_drain(&l->console);
    enter(&state);
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    struct loader loader = {
        .image = image,
        .system = system,
        .services = system->BootServices,
        .emulator = true,
    };

    console_init(&loader.console, system->ConOut);
    if (load(&loader)) {
        memory_exit_boot_services(&loader);
        start(&loader);
    }
    return loader_end(&loader);
}
