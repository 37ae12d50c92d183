/* SPDX-License-Identifier: MIT */
/* Multiboot 1 (specification 0.6.96, "OS image format", "Machine state", "Boot information
 * format"). */
#include "lib/string.h"
#include "vmm/load/multiboot.h"

#define MB1_SEARCH       8192
#define MB1_MAGIC        0x1badb002
#define MB1_BOOT_MAGIC   0x2badb002 /* EAX at the entry */
#define MB1_FLAG_ALIGN   BIT(0)     /* modules on page boundaries: always done */
#define MB1_FLAG_MEMORY  BIT(1)     /* memory information: always there */
#define MB1_FLAG_VIDEO   BIT(2)
#define MB1_FLAG_ADDRESS BIT(16) /* the address fields are valid */
#define MB1_MUST_KNOW    FIELD(15, 0)

#define MB1_INFO_MEMORY  BIT(0)
#define MB1_INFO_COMMAND BIT(2)
#define MB1_INFO_MODULES BIT(3)
#define MB1_INFO_MMAP    BIT(6)
#define MB1_INFO_LOADER  BIT(9)

struct mb1_header {
    u32 magic, flags, checksum;
    struct mb_address address; /* from here with MB1_FLAG_ADDRESS */
    u32 entry_addr;
};
#define MB1_HEADER_SHORT 12

struct mb1_info {
    u32 flags;
    u32 mem_lower, mem_upper; /* KiB */
    u32 boot_device, cmdline;
    u32 mods_count, mods_addr;
    u32 syms[4];
    u32 mmap_length, mmap_addr;
    u32 drives_length, drives_addr, config_table;
    u32 boot_loader_name;
    u32 apm_table, vbe[4], framebuffer[7];
};
_Static_assert(sizeof(struct mb1_header) == 32 && sizeof(struct mb1_info) == 116,
               "Multiboot layouts");

struct mb1_module {
    u32 start, end, string, reserved;
};

struct mb1_mmap {
    u32 size; /* of what follows */
    struct ram_area area;
} PACKED;
_Static_assert(sizeof(struct mb1_mmap) == 24, "Multiboot layouts");

static bool find_header(const struct load_file *f, struct mb1_header *h, u64 *offset)
{
    u64 end = MIN(f->bytes, MB1_SEARCH);

    for (u64 at = 0; at + MB1_HEADER_SHORT <= end; at += 4) {
        memset(h, 0, sizeof(*h));
        memcpy(h, f->data + at, MB1_HEADER_SHORT);
        if (h->magic == MB1_MAGIC && h->magic + h->flags + h->checksum == 0) {
            *offset = at;
            return true;
        }
    }
    return false;
}

static bool load_kernel(const struct load_request *r, struct mb1_header *h, u64 offset,
                        struct mb_image *image, struct load_error *error)
{
    u64 unknown = h->flags & MB1_MUST_KNOW & ~(MB1_FLAG_ALIGN | MB1_FLAG_MEMORY | MB1_FLAG_VIDEO);

    if (unknown) {
        return load_fail(error, "its Multiboot header requires what is not known here: flags %lx",
                         unknown);
    }
    if (h->flags & MB1_FLAG_VIDEO) {
        return load_fail(error, "its Multiboot header requires a video mode, and the guest has no "
                                "screen");
    }
    if (!(h->flags & MB1_FLAG_ADDRESS)) {
        return mb_load_elf(r, image, error);
    }
    if (offset + sizeof(*h) > MIN(r->file.bytes, MB1_SEARCH)) {
        return load_fail(error, "its Multiboot header is cut off");
    }
    memcpy(h, r->file.data + offset, sizeof(*h));
    image->entry = h->entry_addr;
    return mb_load_address(r, offset, &h->address, image, error);
}

static u32 put_info(const struct load_request *r, const struct mb_module *modules,
                    struct mb_block *b)
{
    struct mb1_info info = {
        .flags =
            MB1_INFO_MEMORY | MB1_INFO_COMMAND | MB1_INFO_MODULES | MB1_INFO_MMAP | MB1_INFO_LOADER,
        .mem_lower = RAM_EBDA / 1024,
        .mem_upper = (u32)(ram_available_at(r->ram, GPA(RAM_HIGH)) / 1024),
        .mods_count = r->module_count,
    };
    u32 gpa = mb_put(b, NULL, sizeof(info), 8);

    info.cmdline = mb_put_command(b, r->file.name, r->options);
    info.boot_loader_name = mb_put_command(b, MULTIBOOT_LOADER_NAME, "");
    info.mods_addr = mb_put(b, NULL, r->module_count * sizeof(struct mb1_module), 8);
    for (u32 i = 0; i < r->module_count; i++) {
        struct mb1_module m = {
            .start = modules[i].start,
            .end = modules[i].end,
            .string = mb_put_command(b, r->modules[i].name, r->modules[i].args),
        };
        mb_patch(b, info.mods_addr + i * (u32)sizeof(m), &m, sizeof(m));
    }
    info.mmap_length = r->ram->area_count * (u32)sizeof(struct mb1_mmap);
    info.mmap_addr = mb_put(b, NULL, info.mmap_length, 8);
    for (u32 i = 0; i < r->ram->area_count; i++) {
        struct mb1_mmap m = {sizeof(m.area), r->ram->area[i]};
        mb_patch(b, info.mmap_addr + i * (u32)sizeof(m), &m, sizeof(m));
    }
    mb_patch(b, gpa, &info, sizeof(info));
    return gpa;
}

bool multiboot1_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error)
{
    struct mb_module modules[CONFIG_MAX_MODULES];
    struct mb_image image = {0};
    struct mb1_header h;
    struct mb_block b;
    u64 offset;

    if (!find_header(&r->file, &h, &offset)) {
        return false;
    }
    if (!load_kernel(r, &h, offset, &image, error) || !mb_place(r, &image, modules, &b, error)) {
        return false;
    }
    u32 info = put_info(r, modules, &b);
    if (!mb_finish(r, &b, error)) {
        return false;
    }
    load_protected_state(s, MULTIBOOT_CODE, MULTIBOOT_DATA);
    s->rip = image.entry;
    s->gpr[GPR_RAX] = MB1_BOOT_MAGIC;
    s->gpr[GPR_RBX] = info;
    return true;
}
