/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/load/load.c vmm/load/flat.c vmm/load/multiboot.c vmm/load/multiboot1.c */
/* SOURCES: vmm/load/multiboot2.c vmm/load/linux.c vmm/load/linux_pvh.c vmm/machine/ram.c */
/* SOURCES: lib/elf.c lib/format.c */
/* Linux kernels of any contents: refused in a sentence, or started inside the guest's memory with
 * parameters that tell the truth. Input: a byte of choices, then the file. */
#include "tests/fuzz/load_any.h"
#include "vmm/load/linux.h"
#include "vmm/machine/firmware.h"

#define MEMORY (4ull << 20)
#define INITRD 5000

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u8 memory[MEMORY];

static u64 get(u64 gpa, u32 bytes)
{
    u64 value = 0;

    memcpy(&value, memory + gpa, bytes);
    return value;
}

/* It is where the guest is told, all of it, and nothing else was put over it. */
static void check_initrd(u64 gpa, u64 bytes, bool wanted)
{
    check(bytes == (wanted ? INITRD : 0) && (wanted || !gpa));
    for (u64 i = 0; i < bytes; i++) {
        check(memory[gpa + i] == 0x77);
    }
}

static void check_start(const struct ram *ram, const struct vcpu_state *s, const char *options,
                        bool initrd)
{
    u64 params = s->cr4 || s->gpr[GPR_RSI] ? s->gpr[GPR_RSI] : s->gpr[GPR_RBX];
    bool pvh = s->gpr[GPR_RBX];

    check(s->rip >= RAM_HIGH && ram_available_at(ram, GPA(s->rip)));
    check(params == LINUX_PARAMS && !strcmp((char *)memory + LINUX_COMMAND, options));
    if (pvh) {
        u64 module = get(params + 16, 8);
        check(get(params, 4) == 0x336ec578 && get(params + 32, 8) == FIRMWARE_RSDP);
        check(get(params + 12, 4) == initrd && !module == !initrd);
        check_initrd(initrd ? get(module, 8) : 0, initrd ? get(module + 8, 8) : 0, initrd);
    } else {
        check(get(params + 0x70, 8) == FIRMWARE_RSDP && get(params + 0x228, 4) == LINUX_COMMAND);
        check(get(params + 0x1e8, 1) == ram->area_count);
        check_initrd(get(params + 0x218, 4), get(params + 0x21c, 4), initrd);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static u8 initrd[INITRD];
    struct ram ram = {.base = memory};
    struct vcpu_state state = {0};

    if (!size) {
        return 0;
    }
    memset(initrd, 0x77, sizeof(initrd));
    ram_layout(&ram, MEMORY);
    struct load_request r = {
        .ram = &ram,
        .image = IMAGE_LINUX,
        .file = {.name = "vmlinuz", .args = ""},
        .module_count = data[0] & 1,
        .modules = {{initrd, INITRD, "initrd", ""}                },
        .options = data[0] & 0x80 ? "with options" : "",
    };
    if (load_any(&r, data + 1, size - 1, &state)) {
        check_start(&ram, &state, r.options, r.module_count);
    }
    return 0;
}
