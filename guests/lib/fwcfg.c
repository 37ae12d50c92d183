/* SPDX-License-Identifier: MIT */
/* fw_cfg by ports and by DMA. */
#include "guests/lib/fwcfg.h"

#include "guests/lib/cpu.h"
#include "lib/string.h"

#define MAX_FILES 256

void fwcfg_select(u16 key)
{
    outw(FWCFG_SELECTOR, key);
}

void fwcfg_read(void *out, u32 bytes)
{
    u8 *b = out;

    while (bytes--) {
        *b++ = inb(FWCFG_DATA);
    }
}

bool fwcfg_present(void)
{
    char text[4];

    fwcfg_select(FWCFG_SIGNATURE);
    fwcfg_read(text, sizeof(text));
    return !memcmp(text, "QEMU", sizeof(text));
}

u32 fwcfg_cpus(void)
{
    u16 cpus = 0;

    if (fwcfg_present()) {
        fwcfg_select(FWCFG_CPUS);
        fwcfg_read(&cpus, sizeof(cpus));
    }
    return cpus;
}

u32 fwcfg_dma(u32 control, void *memory, u32 bytes)
{
    static volatile struct fwcfg_dma dma ALIGNED(16);
    u64 address = (u64)&dma;

    dma.control = __builtin_bswap32(control);
    dma.bytes = __builtin_bswap32(bytes);
    dma.address = __builtin_bswap64((u64)memory);
    outl(FWCFG_DMA_HIGH, __builtin_bswap32((u32)(address >> 32)));
    __asm__ volatile("" : : : "memory");
    outl(FWCFG_DMA_LOW, __builtin_bswap32((u32)address));
    __asm__ volatile("" : : : "memory");
    return __builtin_bswap32(dma.control);
}

bool fwcfg_find(const char *name, struct fwcfg_file *file)
{
    u32 count = 0;

    if (!fwcfg_present()) {
        return false;
    }
    fwcfg_select(FWCFG_FILES);
    fwcfg_read(&count, sizeof(count));
    count = MIN(__builtin_bswap32(count), (u32)MAX_FILES);
    for (u32 i = 0; i < count; i++) {
        fwcfg_read(file, sizeof(*file));
        if (!strncmp(file->name, name, sizeof(file->name))) {
            file->bytes = __builtin_bswap32(file->bytes);
            file->key = __builtin_bswap16(file->key);
            return true;
        }
    }
    return false;
}
