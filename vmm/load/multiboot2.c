/* SPDX-License-Identifier: MIT */
/* Multiboot 2 (specification 2.0, "OS image format", "i386 machine state", "Boot information"). */
#include "lib/string.h"
#include "vmm/load/multiboot.h"
#include "vmm/machine/firmware.h"

#define MB2_SEARCH     32768
#define MB2_MAGIC      0xe85250d6
#define MB2_BOOT_MAGIC 0x36d76289 /* EAX at the entry */
#define MB2_ARCH_I386  0
#define MB2_OPTIONAL   BIT(0) /* tag flag: may be ignored */

/* Tags of the header. */
enum {
    MB2_END,
    MB2_REQUEST,
    MB2_ADDRESS,
    MB2_ENTRY,
    MB2_CONSOLE,
    MB2_FRAMEBUFFER,
    MB2_MODULE_ALIGN,
    MB2_EFI_SERVICES,
    MB2_EFI_ENTRY_32,
    MB2_EFI_ENTRY_64,
    MB2_RELOCATABLE,
};
#define MB2_CONSOLE_REQUIRED BIT(0)

/* Tags of the boot information. */
#define MB2_INFO_END       0
#define MB2_INFO_COMMAND   1
#define MB2_INFO_LOADER    2
#define MB2_INFO_MODULE    3
#define MB2_INFO_MEMORY    4
#define MB2_INFO_MMAP      6
#define MB2_INFO_ACPI_OLD  14 /* copies of the RSDP: what ACPI 1.0 has of it, all of it */
#define MB2_INFO_ACPI_NEW  15
#define MB2_INFO_LOAD_BASE 21
#define MB2_INFO_OFFERED                                                                           \
    (BIT(MB2_INFO_COMMAND) | BIT(MB2_INFO_LOADER) | BIT(MB2_INFO_MODULE) | BIT(MB2_INFO_MEMORY) |  \
     BIT(MB2_INFO_MMAP) | BIT(MB2_INFO_ACPI_OLD) | BIT(MB2_INFO_ACPI_NEW) |                        \
     BIT(MB2_INFO_LOAD_BASE))

struct mb2_header {
    u32 magic, architecture, length, checksum;
};

struct mb2_tag {
    u16 type, flags;
    u32 size; /* of the whole tag; the next one begins at a multiple of 8 */
};

struct mb2_info_tag {
    u32 type, size;
};

struct mb2_mmap {
    struct ram_area area;
    u32 reserved;
};
_Static_assert(sizeof(struct mb2_header) == 16 && sizeof(struct mb2_mmap) == 24,
               "Multiboot layouts");

/* What the header asks for. */
struct wishes {
    struct mb_address address;
    bool has_address, has_entry, relocatable;
    u32 entry;
};

static bool find_header(const struct load_file *f, struct mb2_header *h, u64 *offset)
{
    u64 end = MIN(f->bytes, MB2_SEARCH);

    for (u64 at = 0; at + sizeof(*h) <= end; at += 8) {
        memcpy(h, f->data + at, sizeof(*h));
        if (h->magic == MB2_MAGIC && h->magic + h->architecture + h->length + h->checksum == 0) {
            *offset = at;
            return true;
        }
    }
    return false;
}

/* Is all there that the kernel wants to know? data: the list of information tags. */
static bool check_request(const u8 *data, u32 bytes, struct load_error *error)
{
    for (u32 at = 0; at + 4 <= bytes; at += 4) {
        u32 type;

        memcpy(&type, data + at, sizeof(type));
        if (type >= 64 || !(MB2_INFO_OFFERED & BIT(type))) {
            return load_fail(error,
                             "its Multiboot2 header requires boot information of type %u, which "
                             "is not offered here",
                             type);
        }
    }
    return true;
}

/* One tag: type is known, data are its bytes bytes behind the tag's head. */
static bool read_tag(const struct mb2_tag *t, const u8 *data, u32 bytes, struct wishes *w,
                     struct load_error *error)
{
    static const u8 least[] = {
        [MB2_ADDRESS] = 16,     [MB2_ENTRY] = 4,        [MB2_CONSOLE] = 4,
        [MB2_FRAMEBUFFER] = 12, [MB2_EFI_ENTRY_32] = 4, [MB2_EFI_ENTRY_64] = 4,
        [MB2_RELOCATABLE] = 16,
    };
    u32 flags;

    if (bytes < least[t->type]) {
        return load_fail(error, "tag %u of its Multiboot2 header is too short", t->type);
    }
    switch (t->type) {
    case MB2_REQUEST:
        return (t->flags & MB2_OPTIONAL) || check_request(data, bytes, error);
    case MB2_ADDRESS:
        memcpy(&w->address, data, sizeof(w->address));
        w->has_address = true;
        return true;
    case MB2_ENTRY:
        memcpy(&w->entry, data, sizeof(w->entry));
        w->has_entry = true;
        return true;
    case MB2_CONSOLE:
        memcpy(&flags, data, sizeof(flags));
        if ((flags & MB2_CONSOLE_REQUIRED) && !(t->flags & MB2_OPTIONAL)) {
            return load_fail(error,
                             "its Multiboot2 header requires a text console, and the guest has "
                             "no screen");
        }
        return true;
    case MB2_EFI_SERVICES:
        return (t->flags & MB2_OPTIONAL) ||
               load_fail(error, "its Multiboot2 header requires EFI boot services");
    case MB2_RELOCATABLE: /* it is loaded where it is linked, which is always a place it can be */
        w->relocatable = true;
        return true;
    default: /* a preferred framebuffer mode, module alignment (always pages), EFI entry points */
        return true;
    }
}

static bool read_tags(const struct load_file *f, u64 at, u64 end, struct wishes *w,
                      struct load_error *error)
{
    while (at + sizeof(struct mb2_tag) <= end) {
        struct mb2_tag t;

        memcpy(&t, f->data + at, sizeof(t));
        if (t.size < sizeof(t) || t.size > end - at) {
            break;
        }
        if (t.type == MB2_END) {
            return true;
        }
        if (t.type > MB2_RELOCATABLE) {
            if (!(t.flags & MB2_OPTIONAL)) {
                return load_fail(
                    error, "its Multiboot2 header requires what is not known here: tag %u", t.type);
            }
        } else if (!read_tag(&t, f->data + at + sizeof(t), t.size - (u32)sizeof(t), w, error)) {
            return false;
        }
        at += ALIGN_UP((u64)t.size, 8);
    }
    return load_fail(error, "the tags of its Multiboot2 header are damaged: no end tag");
}

static bool load_kernel(const struct load_request *r, const struct mb2_header *h, u64 offset,
                        struct wishes *w, struct mb_image *image, struct load_error *error)
{
    u64 end = offset + h->length;

    if (h->architecture != MB2_ARCH_I386) {
        return load_fail(error, "its Multiboot2 header is for architecture %u, not for i386",
                         h->architecture);
    }
    if (h->length < sizeof(*h) || end > MIN(r->file.bytes, MB2_SEARCH)) {
        return load_fail(error, "its Multiboot2 header is cut off");
    }
    if (!read_tags(&r->file, offset + sizeof(*h), end, w, error)) {
        return false;
    }
    if (!w->has_address) {
        if (!mb_load_elf(r, image, error)) {
            return false;
        }
        image->entry = w->has_entry ? w->entry : image->entry;
    } else {
        if (!w->has_entry) {
            return load_fail(error, "its Multiboot2 header has an address tag and no entry tag");
        }
        image->entry = w->entry;
        if (!mb_load_address(r, offset, &w->address, image, error)) {
            return false;
        }
    }
    if (!ram_available_at(r->ram, GPA(image->entry))) {
        return load_fail(error, "the entry point %lx is not in the guest's memory", image->entry);
    }
    return true;
}

/* A tag whose contents come as one piece. */
static void put_tag(struct mb_block *b, u32 type, const void *data, u32 bytes)
{
    struct mb2_info_tag t = {type, (u32)sizeof(t) + bytes};

    mb_put(b, &t, sizeof(t), 8);
    mb_put(b, data, bytes, 1);
}

/* A tag that ends with "name args", after bytes of data. */
static void put_command_tag(struct mb_block *b, u32 type, const void *data, u32 bytes,
                            const char *name, const char *args)
{
    u32 gpa = mb_put(b, NULL, sizeof(struct mb2_info_tag), 8);

    mb_put(b, data, bytes, 1);
    mb_put_command(b, name, args);
    struct mb2_info_tag t = {type, (u32)(b->gpa + b->bytes) - gpa};
    mb_patch(b, gpa, &t, sizeof(t));
}

static u32 put_info(const struct load_request *r, const struct wishes *w,
                    const struct mb_image *image, const struct mb_module *modules,
                    struct mb_block *b)
{
    u32 memory[2] = {RAM_EBDA / 1024, (u32)(ram_available_at(r->ram, GPA(RAM_HIGH)) / 1024)};
    struct {
        u32 entry_size, entry_version;
        struct mb2_mmap entry[RAM_MAX_AREAS];
    } mmap = {.entry_size = sizeof(struct mb2_mmap)};
    u32 load_base = (u32)image->low;
    u8 rsdp[FIRMWARE_RSDP_BYTES];
    u32 gpa = mb_put(b, NULL, 8, 8); /* total size, reserved */

    put_command_tag(b, MB2_INFO_COMMAND, NULL, 0, r->file.name, r->options);
    put_command_tag(b, MB2_INFO_LOADER, NULL, 0, MULTIBOOT_LOADER_NAME, "");
    for (u32 i = 0; i < r->module_count; i++) {
        put_command_tag(b, MB2_INFO_MODULE, &modules[i], sizeof(modules[i]), r->modules[i].name,
                        r->modules[i].args);
    }
    put_tag(b, MB2_INFO_MEMORY, memory, sizeof(memory));
    for (u32 i = 0; i < r->ram->area_count; i++) {
        mmap.entry[i].area = r->ram->area[i];
    }
    put_tag(b, MB2_INFO_MMAP, &mmap,
            (u32)(offsetof(typeof(mmap), entry) + r->ram->area_count * sizeof(mmap.entry[0])));
    if (ram_read(r->ram, rsdp, GPA(FIRMWARE_RSDP), sizeof(rsdp))) {
        put_tag(b, MB2_INFO_ACPI_OLD, rsdp, FIRMWARE_RSDP_OLD_BYTES);
        put_tag(b, MB2_INFO_ACPI_NEW, rsdp, sizeof(rsdp));
    }
    if (w->relocatable) {
        put_tag(b, MB2_INFO_LOAD_BASE, &load_base, sizeof(load_base));
    }
    put_tag(b, MB2_INFO_END, NULL, 0);
    u32 total = b->bytes;
    mb_patch(b, gpa, &total, sizeof(total));
    return gpa;
}

bool multiboot2_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error)
{
    struct mb_module modules[CONFIG_MAX_MODULES];
    struct mb_image image = {0};
    struct wishes w = {0};
    struct mb2_header h;
    struct mb_block b;
    u64 offset;

    if (!find_header(&r->file, &h, &offset)) {
        return false;
    }
    if (!load_kernel(r, &h, offset, &w, &image, error) ||
        !mb_place(r, &image, modules, &b, error)) {
        return false;
    }
    u32 info = put_info(r, &w, &image, modules, &b);
    if (!mb_finish(r, &b, error)) {
        return false;
    }
    load_protected_state(s, MULTIBOOT_CODE, MULTIBOOT_DATA);
    s->rip = image.entry;
    s->gpr[GPR_RAX] = MB2_BOOT_MAGIC;
    s->gpr[GPR_RBX] = info;
    return true;
}
