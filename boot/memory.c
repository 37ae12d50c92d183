/* SPDX-License-Identifier: MIT */
/* Pages from the firmware, its memory map, and the end of boot services. */
#include "boot/loader.h"

#include "boot/cpu.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

#define MAP_CAPACITY 4096        /* ranges, before they are joined */
#define MAP_SLACK    (16u << 10) /* the firmware's map grows by what we allocate */

static u64 alloc_pages(struct loader *l, EFI_MEMORY_TYPE efi_type, u64 pages, u64 limit)
{
    EFI_PHYSICAL_ADDRESS at = limit ? limit - 1 : 0;

    if (l->services->AllocatePages(limit ? AllocateMaxAddress : AllocateAnyPages, efi_type, pages,
                                   &at) != EFI_SUCCESS) {
        return 0;
    }
    return at;
}

static u64 alloc(struct loader *l, EFI_MEMORY_TYPE efi_type, u64 bytes, u64 align, u64 limit,
                 u32 type)
{
    u64 pages = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE, slack = align / PAGE_SIZE - 1;
    u64 got, base;

    if (!pages || l->allocation_count == MAX_ALLOCATIONS) {
        return 0;
    }
    got = alloc_pages(l, efi_type, pages + slack, limit);
    if (!got) {
        return 0;
    }
    base = ALIGN_UP(got, align);
    if (base > got) {
        l->services->FreePages(got, (base - got) / PAGE_SIZE);
    }
    if (got + slack * PAGE_SIZE > base) {
        l->services->FreePages(base + pages * PAGE_SIZE,
                               (got + slack * PAGE_SIZE - base) / PAGE_SIZE);
    }
    l->allocations[l->allocation_count++] = (struct allocation){base, pages, type};
    return base;
}

u64 memory_alloc(struct loader *l, u64 bytes, u64 align, u64 limit, u32 type)
{
    u64 base = alloc(l, EfiLoaderData, bytes, align, limit, type);

    if (base) {
        memset((void *)base, 0, ALIGN_UP(bytes, PAGE_SIZE));
    }
    return base;
}

u64 memory_alloc_file(struct loader *l, u64 bytes, u32 type)
{
    u64 base = alloc(l, EfiLoaderData, bytes, PAGE_SIZE, 0, type);

    if (base) {
        memset((void *)(base + bytes), 0, ALIGN_UP(bytes, PAGE_SIZE) - bytes);
    }
    return base;
}

u64 memory_alloc_code(struct loader *l, u64 bytes, u64 limit, u32 type)
{
    return alloc(l, EfiLoaderCode, bytes, PAGE_SIZE, limit, type);
}

void memory_free(struct loader *l, u64 base)
{
    for (u32 i = 0; i < l->allocation_count; i++) {
        if (l->allocations[i].base == base) {
            l->services->FreePages(base, l->allocations[i].pages);
            l->allocations[i] = l->allocations[--l->allocation_count];
            return;
        }
    }
}

void memory_free_all(struct loader *l)
{
    l->console.screen = NULL; /* it lies in such pages */
    while (l->allocation_count) {
        memory_free(l, l->allocations[0].base);
    }
}

static u32 boot_type(const EFI_MEMORY_DESCRIPTOR *d)
{
    if (d->Attribute &
        BIT(18)) { /* EFI_MEMORY_SP: specific-purpose memory, such as on an accelerator */
        return BOOT_MEM_RESERVED;
    }
    switch (d->Type) {
    case EfiLoaderCode:
    case EfiLoaderData:
    case EfiBootServicesCode:
    case EfiBootServicesData:
    case EfiConventionalMemory:
        return BOOT_MEM_USABLE;
    case EfiRuntimeServicesCode:
    case EfiRuntimeServicesData:
    case EfiACPIMemoryNVS:
        return BOOT_MEM_FIRMWARE;
    case EfiACPIReclaimMemory:
        return BOOT_MEM_ACPI;
    default:
        return BOOT_MEM_RESERVED;
    }
}

/* Guests get write-back memory only, for that is what nested tables say of it: what the firmware's
 * MTRRs call otherwise is left out. */
static void leave_uncached(struct loader *l, u64 base, u64 bytes)
{
    int type = memtype_of(&l->memtypes, base, bytes);

    if (type == MEMTYPE_NOT_UNIFORM && bytes > PAGE_SIZE) {
        u64 half = ALIGN_UP(bytes / 2, PAGE_SIZE);

        leave_uncached(l, base, half);
        leave_uncached(l, base + half, bytes - half);
    } else if (type != MEMTYPE_WB) {
        memmap_set(&l->map, base, bytes, BOOT_MEM_RESERVED);
        l->uncached_bytes += bytes;
    }
}

/* Turns the firmware's map into ours. Where its descriptors overlap, the less usable type counts.
 * Then come our own allocations, and page 0, whose address means "none" in many places. */
static void convert_map(struct loader *l, UINTN bytes, UINTN step)
{
    memmap_init(&l->map, l->map.ranges, MAP_CAPACITY);
    for (u32 pass = 0; pass < 2; pass++) {
        for (UINTN at = 0; at + step <= bytes; at += step) {
            const EFI_MEMORY_DESCRIPTOR *d =
                (const EFI_MEMORY_DESCRIPTOR *)((const u8 *)l->raw_map + at);
            u32 type = boot_type(d);

            if ((type == BOOT_MEM_USABLE) == (pass == 0) && d->NumberOfPages < BIT(52)) {
                memmap_set(&l->map, d->PhysicalStart, d->NumberOfPages * PAGE_SIZE, type);
            }
        }
    }
    for (u32 i = 0; i < l->allocation_count; i++) {
        const struct allocation *a = &l->allocations[i];
        memmap_set(&l->map, a->base, a->pages * PAGE_SIZE, a->type);
    }
    memmap_set(&l->map, 0, PAGE_SIZE, BOOT_MEM_RESERVED);
    l->uncached_bytes = 0;
    for (u32 i = 0; i < l->map.count; i++) {
        struct boot_range r = l->map.ranges[i];

        if (r.type == BOOT_MEM_USABLE || r.type == BOOT_MEM_LOADER) {
            leave_uncached(l, r.base, r.bytes);
        }
    }
}

/* Room for the firmware's map and for ours. */
static bool prepare_map(struct loader *l)
{
    UINTN bytes = 0, key, step;
    UINT32 version;
    u64 ranges;

    l->services->GetMemoryMap(&bytes, NULL, &key, &step, &version);
    l->raw_map_bytes = ALIGN_UP((u64)bytes + MAP_SLACK, PAGE_SIZE);
    l->raw_map = (void *)memory_alloc(l, l->raw_map_bytes, PAGE_SIZE, 0, BOOT_MEM_LOADER);
    ranges =
        memory_alloc(l, MAP_CAPACITY * sizeof(struct boot_range), PAGE_SIZE, 0, BOOT_MEM_LOADER);
    memmap_init(&l->map, (struct boot_range *)ranges, MAP_CAPACITY);
    return l->raw_map && ranges;
}

bool memory_read_map(struct loader *l)
{
    UINTN bytes, key, step;
    UINT32 version;

    if (!l->raw_map && !prepare_map(l)) {
        return loader_refuse(l,
                             "there is not even memory for the memory map: give the machine more");
    }
    bytes = l->raw_map_bytes;
    if (l->services->GetMemoryMap(&bytes, l->raw_map, &key, &step, &version) != EFI_SUCCESS) {
        return loader_refuse(l, "the firmware does not give its memory map: update the firmware");
    }
    convert_map(l, bytes, step);
    return true;
}

/*
 * The map's key goes stale when anything changes the map in between, such as a timer event of the
 * firmware, and then the specification asks for a new map and another try. Between a failed try and
 * the next, only the memory services may be called.
 */
void memory_exit_boot_services(struct loader *l)
{
    UINTN bytes, key, step;
    UINT32 version;
    EFI_STATUS status = EFI_NOT_STARTED;

    console_leave_firmware(&l->console);
    for (u32 i = 0; i < 16 && status != EFI_SUCCESS; i++) {
        bytes = l->raw_map_bytes;
        status = l->services->GetMemoryMap(&bytes, l->raw_map, &key, &step, &version);
        if (status == EFI_SUCCESS) {
            status = l->services->ExitBootServices(l->image, key);
        }
    }
    if (status != EFI_SUCCESS) {
        loader_refuse(
            l, "the firmware does not let go of the machine (ExitBootServices: %lx): update it",
            (u64)status);
        console_print(&l->console, "socle: end status=2\n");
        cpu_halt();
    }
    convert_map(l, bytes, step);
    if (l->uncached_bytes) {
        loader_say(l, "memory: %lu KiB left out, which the firmware's MTRRs do not call write-back",
                   l->uncached_bytes >> 10);
    }
    memmap_split(&l->map); /* without a pool the kernel says so */
    l->info->range_count = memmap_copy(&l->map, l->info->ranges, BOOT_MAX_RANGES);
}
