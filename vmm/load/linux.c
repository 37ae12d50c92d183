/* SPDX-License-Identifier: MIT */
/* Linux bzImages, and what they share with ELF kernels. Field names are the boot protocol's. */
#include "vmm/load/linux.h"

#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/machine/firmware.h"

#define HEADER_AT       0x1f1 /* in the file, and in boot_params */
#define HEADER_END_AT   0x201 /* the byte here, plus 0x202, is where the header ends */
#define BOOT_FLAG       0xaa55
#define HEADER_MAGIC    0x53726448 /* "HdrS" */
#define VERSION_LEAST   0x202      /* a command line anywhere */
#define VERSION_SYSSIZE 0x204      /* syssize is right, and has 32 bits */
#define SECTOR          512ull
#define SETUP_SECTS     4 /* what 0 means */
#define ENTRY_64        0x200

#define LOADED_HIGH     BIT(0) /* loadflags: not a zImage */
#define XLF_KERNEL_64   BIT(0) /* xloadflags */
#define LOADER_OTHER    0xff   /* type_of_loader: one without a number */

/* Where the header does not say. */
#define COMMAND_MAX 255
#define INITRD_MAX  0x37ffffff

struct setup_header {
    u8 setup_sects;
    u16 root_flags;
    u32 syssize; /* of the kernel behind the setup code, in 16 bytes */
    u16 ram_size, vid_mode, root_dev, boot_flag, jump;
    u32 header;
    u16 version;
    u32 realmode_swtch;
    u16 start_sys_seg, kernel_version;
    u8 type_of_loader, loadflags;
    u16 setup_move_size;
    u32 code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
    u16 heap_end_ptr;
    u8 ext_loader_ver, ext_loader_type;
    u32 cmd_line_ptr, initrd_addr_max;
    u32 kernel_alignment;
    u8 relocatable_kernel, min_alignment;
    u16 xloadflags;
    u32 cmdline_size, hardware_subarch;
    u64 hardware_subarch_data;
    u32 payload_offset, payload_length;
    u64 setup_data, pref_address;
    u32 init_size, handover_offset, kernel_info_offset;
    u8 later[0x290 - 0x26c]; /* what newer versions may add */
} PACKED;

struct boot_params {
    u8 screen_info[0x70]; /* zero: there is none */
    u64 acpi_rsdp_addr;
    u8 pad_1[0x1e8 - 0x78];
    u8 e820_entries;
    u8 pad_2[HEADER_AT - 0x1e9];
    struct setup_header hdr;
    u8 pad_3[0x2d0 - 0x290];
    struct ram_area e820_table[RAM_MAX_AREAS];
    u8 pad_4[PAGE_SIZE - 0x2d0 - RAM_MAX_AREAS * sizeof(struct ram_area)];
} PACKED;

_Static_assert(offsetof(struct setup_header, pref_address) == 0x258 - HEADER_AT &&
                   offsetof(struct boot_params, e820_entries) == 0x1e8 &&
                   offsetof(struct boot_params, e820_table) == 0x2d0 &&
                   sizeof(struct boot_params) == PAGE_SIZE,
               "boot protocol layouts");

/* A kernel in its file, and where it goes. */
struct kernel {
    u64 offset, bytes;
    u64 at;  /* where it is loaded, and begins */
    u64 end; /* behind what it uses before it knows its memory */
};

/* Fields that the file's version does not have lie behind its header's end, and are 0. */
static bool read_header(const struct load_file *f, struct setup_header *h, struct load_error *error)
{
    memset(h, 0, sizeof(*h));
    if (f->bytes > HEADER_END_AT) {
        u64 end = MIN(0x202ull + f->data[HEADER_END_AT], HEADER_AT + sizeof(*h));
        memcpy(h, f->data + HEADER_AT, MIN(end, f->bytes) - HEADER_AT);
    }
    if (h->boot_flag != BOOT_FLAG || h->header != HEADER_MAGIC) {
        return load_fail(error,
                         "it is no Linux kernel: it has neither the boot header of a bzImage "
                         "nor that of an ELF file");
    }
    if (h->version < VERSION_LEAST) {
        return load_fail(error,
                         "it is a Linux kernel of boot protocol %u.%02u; the oldest that can be "
                         "started here is 2.02 (Linux 2.4)",
                         h->version >> 8, h->version & 0xff);
    }
    if (!(h->loadflags & LOADED_HIGH)) {
        return load_fail(error, "it is a zImage, which runs in low memory; build a bzImage");
    }
    return true;
}

static bool find_kernel(const struct load_file *f, const struct setup_header *h, struct kernel *k,
                        struct load_error *error)
{
    u64 least = h->xloadflags & XLF_KERNEL_64 ? ENTRY_64 + 1 : 1;

    k->offset = ((h->setup_sects ? h->setup_sects : SETUP_SECTS) + 1) * SECTOR;
    if (f->bytes < k->offset + least) {
        return load_fail(error, "it is cut off: its kernel begins at %lx, and it has %lu bytes",
                         k->offset, f->bytes);
    }
    k->bytes = f->bytes - k->offset;
    if (h->version >= VERSION_SYSSIZE) {
        u64 promised = (u64)h->syssize * 16;
        if (k->bytes + 15 < promised || promised < least) {
            return load_fail(error,
                             "it is cut off or damaged: its header tells of %lu bytes of kernel, "
                             "and %lu are there",
                             promised, k->bytes);
        }
        k->bytes = MIN(k->bytes, promised); /* a signature may follow */
    }
    return true;
}

static bool fits(const struct load_request *r, u64 gpa, u64 bytes)
{
    return gpa >= RAM_HIGH && gpa < RAM_HOLE && ram_available_at(r->ram, GPA(gpa)) >= bytes;
}

/* Where a kernel runs (boot protocol, "init_size"): also a relocatable one never below the address
 * that it prefers, and there it moves by itself. */
static bool place_kernel(const struct load_request *r, const struct setup_header *h,
                         struct kernel *k, struct load_error *error)
{
    u64 need = MAX(h->init_size, k->bytes);
    u64 align = h->kernel_alignment;
    u64 run = h->pref_address ? h->pref_address : RAM_HIGH;

    k->at = RAM_HIGH;
    if (h->relocatable_kernel) {
        if (!align || align & (align - 1)) {
            return load_fail(error, "its header is damaged: an alignment of %lx", align);
        }
        run = ALIGN_UP(MAX(run, RAM_HIGH), align);
        k->at = run;
    }
    k->end = MAX(run + need, k->at + k->bytes);
    if (!fits(r, run, need)) {
        return load_no_room(r, run, need, "the kernel", error);
    }
    return load_copy(r, k->at, r->file.data + k->offset, k->bytes, "the kernel", error);
}

bool linux_put_command(const struct load_request *r, u64 max, struct load_error *error)
{
    u64 n = strlen(r->options);

    max = MIN(max, LINUX_COMMAND_SIZE - 1);
    if (n > max) {
        return load_fail(error, "options have %lu characters, and this kernel takes %lu", n, max);
    }
    return load_copy(r, LINUX_COMMAND, r->options, n + 1, "the command line", error);
}

bool linux_put_initrd(const struct load_request *r, u64 kernel_end, u64 limit, u64 *gpa,
                      struct load_error *error)
{
    const struct load_file *f = &r->modules[0];
    u64 top = MIN(limit, RAM_HIGH + ram_available_at(r->ram, GPA(RAM_HIGH)));

    *gpa = 0;
    if (!r->module_count) {
        return true;
    }
    if (top < f->bytes || ALIGN_DOWN(top - f->bytes, PAGE_SIZE) < kernel_end) {
        return load_fail(
            error,
            "the initrd's %lu KiB do not fit between the kernel, which needs memory up "
            "to %lx, and %lx",
            (f->bytes + 1023) / 1024, kernel_end, top);
    }
    *gpa = ALIGN_DOWN(top - f->bytes, PAGE_SIZE);
    return load_copy(r, *gpa, f->data, f->bytes, "the initrd", error);
}

static bool put_params(const struct load_request *r, const struct setup_header *h, u64 initrd,
                       struct load_error *error)
{
    struct boot_params p = {
        .acpi_rsdp_addr = FIRMWARE_RSDP,
        .e820_entries = (u8)r->ram->area_count,
        .hdr = *h,
    };

    p.hdr.type_of_loader = LOADER_OTHER;
    p.hdr.cmd_line_ptr = LINUX_COMMAND;
    p.hdr.ramdisk_image = (u32)initrd;
    p.hdr.ramdisk_size = initrd ? (u32)r->modules[0].bytes : 0;
    memcpy(p.e820_table, r->ram->area, sizeof(p.e820_table[0]) * r->ram->area_count);
    return load_copy(r, LINUX_PARAMS, &p, sizeof(p), "the boot parameters", error);
}

/* boot protocol "32-bit BOOT PROTOCOL", "64-bit BOOT PROTOCOL" */
static bool start_state(const struct load_request *r, const struct setup_header *h,
                        const struct kernel *k, struct vcpu_state *s, struct load_error *error)
{
    bool long_mode = h->xloadflags & XLF_KERNEL_64;
    u64 gdt[] = {0, 0, long_mode ? LOAD_CODE_64 : LOAD_CODE_32, LOAD_DATA};

    load_protected_state(s, LINUX_CODE, LINUX_DATA);
    s->rip = k->at + (long_mode ? ENTRY_64 : 0);
    s->gpr[GPR_RSI] = LINUX_PARAMS;
    return load_gdt(r, s, gdt, sizeof(gdt), error) && (!long_mode || load_long_mode(r, s, error));
}

bool linux_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error)
{
    static const u8 elf[4] = {0x7f, 'E', 'L', 'F'};
    struct setup_header h;
    struct kernel k = {0};
    u64 initrd;

    if (r->module_count > 1) {
        return load_fail(error, "a Linux kernel has one initrd and no other modules");
    }
    if (r->file.bytes >= sizeof(elf) && !memcmp(r->file.data, elf, sizeof(elf))) {
        return linux_pvh_load(r, s, error);
    }
    if (!read_header(&r->file, &h, error) || !find_kernel(&r->file, &h, &k, error) ||
        !place_kernel(r, &h, &k, error)) {
        return false;
    }
    u64 initrd_max = h.initrd_addr_max ? h.initrd_addr_max : INITRD_MAX;
    h.code32_start = (u32)k.at;
    return linux_put_initrd(r, k.end, initrd_max + 1, &initrd, error) &&
           linux_put_command(r, h.cmdline_size ? h.cmdline_size : COMMAND_MAX, error) &&
           put_params(r, &h, initrd, error) && start_state(r, &h, &k, s, error);
}
