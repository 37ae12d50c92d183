/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/load/load.c vmm/load/flat.c vmm/load/multiboot.c vmm/load/multiboot1.c */
/* SOURCES: vmm/load/multiboot2.c vmm/load/linux.c vmm/load/linux_pvh.c vmm/machine/ram.c */
/* SOURCES: lib/elf.c lib/format.c */
/* Multiboot images of any contents: refused in a sentence, or started inside the guest's memory.
 * Input: a byte of choices, then the file. */
#include <stdlib.h>
#include <string.h>

#include "vmm/load/load.h"

#define MEMORY (2ull << 20)
#define KEPT   0x5a

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static u8 memory[MEMORY], kept[RAM_HIGH - RAM_BIOS];
    static const u8 module[100];
    struct ram ram = {.base = memory};
    struct vcpu_state state = {0};
    struct load_error error;

    if (!size) {
        return 0;
    }
    u8 *file = malloc(size); /* exact: any read beyond is seen */
    memcpy(file, data + 1, size - 1);
    ram_layout(&ram, MEMORY);
    struct load_request r = {
        .ram = &ram,
        .image = IMAGE_MULTIBOOT,
        .file = {file, size - 1, "kernel", ""},
        .module_count = data[0] % CONFIG_MAX_MODULES,
        .options = data[0] & 0x80 ? "with options" : "",
    };
    for (u32 i = 0; i < r.module_count; i++) {
        r.modules[i] = (struct load_file){module, sizeof(module), "module", i & 1 ? "a=b" : ""};
    }
    error.text[0] = 0;
    memset(kept, KEPT, sizeof(kept));
    memcpy(memory + RAM_EBDA, kept, RAM_LOW_END - RAM_EBDA);
    memcpy(memory + RAM_BIOS, kept, RAM_HIGH - RAM_BIOS);
    bool good = load_image(&r, &state, &error);
    if (memcmp(memory + RAM_EBDA, kept, RAM_LOW_END - RAM_EBDA) ||
        memcmp(memory + RAM_BIOS, kept, RAM_HIGH - RAM_BIOS)) {
        abort(); /* what is firmware's stays as it is */
    }
    if (good) {
        if (!ram_available_at(&ram, GPA(state.rip)) ||
            !ram_available_at(&ram, GPA(state.gpr[GPR_RBX]))) {
            abort();
        }
    } else if (!error.text[0]) {
        abort();
    }
    free(file);
    return 0;
}
