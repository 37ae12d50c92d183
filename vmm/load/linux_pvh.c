/* SPDX-License-Identifier: MIT */
/* ELF kernels by the PVH boot protocol. Field names are those of its public header. */
#include "lib/elf.h"
#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/load/linux.h"
#include "vmm/machine/firmware.h"

#define PVH_OWNER  "Xen"
#define PVH_ENTRY  18 /* XEN_ELFNOTE_PHYS32_ENTRY: the entry point, a physical address */
#define START_INFO 0x336ec578

struct start_info {
    u32 magic, version, flags, nr_modules;
    u64 modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr; /* the last from version 1 */
    u32 memmap_entries, reserved;
};

struct module_entry {
    u64 paddr, size, cmdline_paddr, reserved;
};

struct memmap_entry {
    u64 addr, size;
    u32 type, reserved; /* type as in E820 */
};

/* What is put at LINUX_PARAMS. */
struct info_block {
    struct start_info info;
    struct module_entry module;
    struct memmap_entry memmap[RAM_MAX_AREAS];
};
_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct module_entry) == 32 &&
                   sizeof(struct memmap_entry) == 24,
               "PVH layouts");

static bool put_info(const struct load_request *r, u64 initrd, struct load_error *error)
{
    struct info_block b = {
        .info =
            {
                   .magic = START_INFO,
                   .version = 1,
                   .nr_modules = initrd ? 1 : 0,
                   .modlist_paddr = initrd ? LINUX_PARAMS + offsetof(struct info_block, module) : 0,
                   .cmdline_paddr = LINUX_COMMAND,
                   .rsdp_paddr = FIRMWARE_RSDP,
                   .memmap_paddr = LINUX_PARAMS + offsetof(struct info_block, memmap),
                   .memmap_entries = r->ram->area_count,
                   },
        .module = {.paddr = initrd, .size = r->modules[0].bytes},
    };

    for (u32 i = 0; i < r->ram->area_count; i++) {
        const struct ram_area *a = &r->ram->area[i];
        b.memmap[i] = (struct memmap_entry){a->gpa, a->bytes, a->type, 0};
    }
    return load_copy(r, LINUX_PARAMS, &b, sizeof(b), "the start information", error);
}

bool linux_pvh_load(const struct load_request *r, struct vcpu_state *s, struct load_error *error)
{
    const u64 gdt[] = {0, 0, LOAD_CODE_32, LOAD_DATA};
    u64 entry, low, high, initrd;
    struct elf e;
    const char *wrong = elf_open(&e, r->file.data, r->file.bytes);

    if (wrong) {
        return load_fail(error, "%s", wrong);
    }
    if (!elf_note(&e, PVH_OWNER, PVH_ENTRY, &entry)) {
        return load_fail(error,
                         "it is an ELF file without the note of a PVH entry point: build the "
                         "kernel with CONFIG_PVH, or take its bzImage");
    }
    if (!load_segments(r, &e, &low, &high, error)) {
        return false;
    }
    if (low < RAM_HIGH) {
        return load_fail(error, "a segment at %lx lies below 1 MiB, where the start information is",
                         low);
    }
    if (entry < low || entry >= high) {
        return load_fail(error, "its PVH entry point %lx lies outside its segments, %lx to %lx",
                         entry, low, high);
    }
    if (!linux_put_initrd(r, high, RAM_HOLE, &initrd, error) ||
        !linux_put_command(r, LINUX_COMMAND_SIZE, error) || !put_info(r, initrd, error)) {
        return false;
    }
    load_protected_state(s, LINUX_CODE, LINUX_DATA);
    s->seg[SEG_TR].limit = 0x67;
    s->rip = entry;
    s->gpr[GPR_RBX] = LINUX_PARAMS;
    return load_gdt(r, s, gdt, sizeof(gdt), error);
}
