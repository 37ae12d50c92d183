/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/load/load.c vmm/load/flat.c vmm/load/multiboot.c vmm/load/multiboot1.c */
/* SOURCES: vmm/load/multiboot2.c vmm/load/linux.c vmm/load/linux_pvh.c vmm/machine/ram.c */
/* SOURCES: lib/elf.c lib/format.c */
/* Multiboot images of any contents: refused in a sentence, or started inside the guest's memory.
 * Input: a byte of choices, then the file. */
#include "tests/fuzz/load_any.h"

#define MEMORY (2ull << 20)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static u8 memory[MEMORY];
    static const u8 module[100];
    struct ram ram = {.base = memory};
    struct vcpu_state state = {0};

    if (!size) {
        return 0;
    }
    ram_layout(&ram, MEMORY);
    struct load_request r = {
        .ram = &ram,
        .image = IMAGE_MULTIBOOT,
        .file = {.name = "kernel", .args = ""},
        .module_count = data[0] % CONFIG_MAX_MODULES,
        .options = data[0] & 0x80 ? "with options" : "",
    };
    for (u32 i = 0; i < r.module_count; i++) {
        r.modules[i] = (struct load_file){module, sizeof(module), "module", i & 1 ? "a=b" : ""};
    }
    if (load_any(&r, data + 1, size - 1, &state)) {
        check(ram_available_at(&ram, GPA(state.rip)) &&
              ram_available_at(&ram, GPA(state.gpr[GPR_RBX])));
    }
    return 0;
}
