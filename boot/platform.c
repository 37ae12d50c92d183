/* SPDX-License-Identifier: MIT */
/* What the machine is made of: screen, CPU features, CPUs, interrupt controllers, timers. */
#include "boot/loader.h"

#include "boot/cpu.h"
#include "boot/wallclock.h"
#include "lib/acpi.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

/* Where the chip sets have them when no table says otherwise. */
#define HPET_BASE_USUAL   0xfed00000
#define IOAPIC_BASE_USUAL 0xfec00000

static EFI_GUID graphics_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
static EFI_GUID acpi2_guid = ACPI_20_TABLE_GUID;
static EFI_GUID acpi1_guid = ACPI_TABLE_GUID;
static EFI_GUID mp_guid = MP_SERVICES_GUID;

/* --- screen --- */

static u32 pixel_format(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode)
{
    const EFI_PIXEL_BITMASK *mask = &mode->PixelInformation;

    switch (mode->PixelFormat) {
    case PixelRedGreenBlueReserved8BitPerColor:
        return BOOT_FB_RGBX;
    case PixelBlueGreenRedReserved8BitPerColor:
        return BOOT_FB_BGRX;
    case PixelBitMask:
        if (mask->GreenMask == 0xff00) {
            if (mask->RedMask == 0xff && mask->BlueMask == 0xff0000) {
                return BOOT_FB_RGBX;
            }
            if (mask->RedMask == 0xff0000 && mask->BlueMask == 0xff) {
                return BOOT_FB_BGRX;
            }
        }
        return BOOT_FB_NONE;
    default:
        return BOOT_FB_NONE;
    }
}

/* Makes a console of this graphics output, when it has a framebuffer that we can draw on. */
static bool use_screen(struct loader *l, EFI_HANDLE handle, struct screen *screen)
{
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;
    struct boot_framebuffer *fb = &l->info->fb;
    void *found;

    if (l->services->HandleProtocol(handle, &graphics_guid, &found) != EFI_SUCCESS) {
        return false;
    }
    gop = found;
    if (!gop->Mode || !gop->Mode->Info || !gop->Mode->FrameBufferBase) {
        return false;
    }
    *fb = (struct boot_framebuffer){
        .base = gop->Mode->FrameBufferBase,
        .bytes = gop->Mode->FrameBufferSize,
        .width = gop->Mode->Info->HorizontalResolution,
        .height = gop->Mode->Info->VerticalResolution,
        .pitch_bytes = gop->Mode->Info->PixelsPerScanLine * 4,
        .format = pixel_format(gop->Mode->Info),
    };
    if (fb->format != BOOT_FB_NONE &&
        screen_init(screen, (void *)fb->base, fb->bytes, fb->width, fb->height, fb->pitch_bytes,
                    fb->format == BOOT_FB_RGBX)) {
        console_set_screen(&l->console, screen);
        return true;
    }
    memset(fb, 0, sizeof(*fb));
    return false;
}

void platform_find_screen(struct loader *l)
{
    EFI_HANDLE *handles;
    UINTN count;
    struct screen *screen =
        (struct screen *)memory_alloc(l, sizeof(*screen), PAGE_SIZE, 0, BOOT_MEM_LOADER);

    if (!screen || l->services->LocateHandleBuffer(ByProtocol, &graphics_guid, NULL, &count,
                                                   &handles) != EFI_SUCCESS) {
        return;
    }
    for (UINTN i = 0; i < count && !l->console.screen; i++) {
        use_screen(l, handles[i], screen);
    }
    l->services->FreePool(handles);
}

/* --- clock --- */

void platform_read_clock(struct loader *l)
{
    EFI_TIME t;

    if (l->system->RuntimeServices->GetTime(&t, NULL) == EFI_SUCCESS) {
        s32 zone = t.TimeZone == EFI_UNSPECIFIED_TIMEZONE ? 0 : t.TimeZone;
        struct wallclock w = {t.Year, t.Month, t.Day, t.Hour, t.Minute, t.Second, zone};
        l->info->wall_seconds = wallclock_seconds(&w);
    }
}

/* --- CPU --- */

void platform_read_cpu(struct loader *l)
{
    struct cpu_facts *f = &l->cpu;
    struct cpuid c;

    cpu_id(0, 0, &c);
    memcpy(f->vendor, &c.ebx, 4);
    memcpy(f->vendor + 4, &c.edx, 4);
    memcpy(f->vendor + 8, &c.ecx, 4);
    cpu_id(1, 0, &c);
    f->vmx = c.ecx & BIT(5);
    f->hypervisor = c.ecx & BIT(31);
    f->mtrr = c.edx & BIT(12);
    f->phys_bits = 36;
    cpu_id(0x80000000, 0, &c);
    u32 last = c.eax;
    if (last >= 0x80000001) {
        cpu_id(0x80000001, 0, &c);
        f->svm = c.ecx & BIT(2);
        f->no_execute = c.edx & BIT(20);
        f->long_pages = c.edx & BIT(26);
    }
    if (last >= 0x80000008) {
        cpu_id(0x80000008, 0, &c);
        f->phys_bits = c.eax & 0xff;
    }
    if (f->svm && last >= 0x8000000a) {
        cpu_id(0x8000000a, 0, &c);
        f->svm_features = c.edx;
        f->vm_cr = cpu_read_msr(MSR_VM_CR);
    }
    if (!f->vmx) {
        return;
    }
    f->feature_control = cpu_read_msr(MSR_IA32_FEATURE_CONTROL);
    f->procbased = cpu_read_msr(MSR_IA32_VMX_PROCBASED);
    if (f->procbased & BIT(63)) { /* secondary controls: only then the next MSR exists */
        f->procbased2 = cpu_read_msr(MSR_IA32_VMX_PROCBASED2);
    }
    if (f->procbased2 & (BIT(33) | BIT(37))) { /* EPT or VPID */
        f->ept_vpid = cpu_read_msr(MSR_IA32_VMX_EPT_VPID_CAP);
    }
}

static u32 own_apic_id(void)
{
    struct cpuid c;

    cpu_id(0, 0, &c);
    if (c.eax >= 0xb) {
        cpu_id(0xb, 0, &c);
        if (c.ebx & 0xffff) {
            return c.edx;
        }
    }
    cpu_id(1, 0, &c);
    return c.ebx >> 24;
}

/* --- CPUs and ACPI --- */

static void *configuration_table(struct loader *l, const EFI_GUID *guid)
{
    for (UINTN i = 0; i < l->system->NumberOfTableEntries; i++) {
        if (memcmp(&l->system->ConfigurationTable[i].VendorGuid, guid, sizeof(*guid)) == 0) {
            return l->system->ConfigurationTable[i].VendorTable;
        }
    }
    return NULL;
}

/* Tables are read only where the firmware's map has something: elsewhere nothing may be mapped. */
static bool read_physical(void *ctx, u64 pa, void *dst, u32 bytes)
{
    struct loader *l = ctx;

    if (!memmap_covers(&l->map, pa, bytes)) {
        return false;
    }
    memcpy(dst, (const void *)pa, bytes);
    return true;
}

static void find_acpi(struct loader *l, struct acpi_info *acpi)
{
    struct acpi_memory memory = {read_physical, l};
    void *rsdp = configuration_table(l, &acpi2_guid);

    rsdp = rsdp ? rsdp : configuration_table(l, &acpi1_guid);
    memset(acpi, 0, sizeof(*acpi));
    if (rsdp && acpi_read(&memory, (u64)rsdp, acpi)) {
        l->hpet_base = acpi->hpet_base;
    } else {
        l->hpet_base = HPET_BASE_USUAL;
    }
    l->ioapic_base = acpi->ioapic_base ? acpi->ioapic_base : IOAPIC_BASE_USUAL;
    l->pm_timer_port = (u16)acpi->pm_timer_port;
    l->info->pm1a_port = acpi->pm1a_port;
    l->info->pm1b_port = acpi->pm1b_port;
    l->info->s5_typa = acpi->s5_typa;
    l->info->s5_typb = acpi->s5_typb;
    if (acpi->skipped) {
        loader_say(l, "%u ACPI tables are damaged and were left out", acpi->skipped);
    }
}

/* Without ACPI tables the firmware itself may know its CPUs. */
static void find_cpus_by_firmware(struct loader *l, struct acpi_info *out)
{
    struct mp_services *mp;
    UINTN all, enabled;
    void *found;

    if (l->services->LocateProtocol(&mp_guid, NULL, &found) != EFI_SUCCESS) {
        return;
    }
    mp = found;
    if (mp->count(mp, &all, &enabled) != EFI_SUCCESS) {
        return;
    }
    for (UINTN i = 0; i < all; i++) {
        struct mp_cpu cpu;

        if (mp->info(mp, i, &cpu) == EFI_SUCCESS && (cpu.status & MP_CPU_ENABLED) &&
            (cpu.status & MP_CPU_HEALTHY)) {
            if (out->cpu_count == ACPI_MAX_CPUS) {
                out->cpus_left_out++;
            } else {
                out->cpu_apic_ids[out->cpu_count++] = (u32)cpu.apic_id;
            }
        }
    }
}

/* The CPUs for the kernel: this one first, then the others in the order they were found. */
static void list_cpus(struct loader *l, const struct acpi_info *found, const char *source)
{
    struct bootinfo *bi = l->info;
    u32 self = own_apic_id(), total = 1;

    bi->cpu_count = 0;
    bi->cpu_apic_ids[bi->cpu_count++] = self;
    for (u32 i = 0; i < found->cpu_count; i++) {
        if (found->cpu_apic_ids[i] == self) {
            continue;
        }
        total++;
        if (bi->trampoline && bi->cpu_count < BOOT_MAX_CPUS) {
            bi->cpu_apic_ids[bi->cpu_count++] = found->cpu_apic_ids[i];
        }
    }
    total += found->cpus_left_out;
    if (total > 1 && !bi->trampoline) {
        loader_say(l, "no memory below 1 MiB is free, so 1 of %u CPUs is used", total);
    } else if (total > bi->cpu_count) {
        loader_say(l, "%u of %u CPUs are used, which is all this version can", bi->cpu_count,
                   total);
    }
    loader_say(l, "%u CPU%s by %s, %lu MiB of memory", bi->cpu_count, bi->cpu_count == 1 ? "" : "s",
               source, memmap_bytes(&l->map, BOOT_MEM_USABLE) >> 20);
}

bool platform_find(struct loader *l)
{
    struct acpi_info *found;
    const char *source = "ACPI";
    u64 scratch;

    scratch = memory_alloc(l, sizeof(*found), PAGE_SIZE, 0, BOOT_MEM_USABLE);
    if (!scratch || !memory_read_map(l)) {
        return scratch || loader_refuse(l, "there is no memory left: give the machine more");
    }
    found = (struct acpi_info *)scratch;
    find_acpi(l, found);
    if (!found->cpu_count) {
        source = "the firmware's list";
        find_cpus_by_firmware(l, found);
    }
    if (!found->cpu_count) {
        source = "nothing but itself";
    }
    l->info->trampoline = memory_alloc_code(l, PAGE_SIZE, BIT(20), BOOT_MEM_RESERVED);
    list_cpus(l, found, source);
    memory_free(l, scratch);
    return true;
}
