/* SPDX-License-Identifier: MIT */
/* fw_cfg, by ports and by DMA: signature, number of CPUs, the directory, the memory map beside the
 * boot loader's, and orders that are wrong. */
#include "guests/lib/fwcfg.h"
#include "guests/lib/acpi.h"
#include "guests/lib/boot.h"
#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define NO_SUCH_KEY 0x3ff0
#define E820_RAM    1

struct e820_entry {
    u64 base, bytes;
    u32 type;
} PACKED;

static bool present(void)
{
    if (!fwcfg_present()) {
        test_skip("no fw_cfg");
        return false;
    }
    return true;
}

static void ports(void)
{
    char text[8];
    u32 features = 0;

    if (!present()) {
        return;
    }
    fwcfg_select(FWCFG_SIGNATURE);
    fwcfg_read(text, sizeof(text));
    CHECK(!memcmp(text, "QEMU\0\0\0\0", 8), "signature, and zeroes behind its end");
    fwcfg_select(FWCFG_FEATURES);
    fwcfg_read(&features, sizeof(features));
    CHECK_EQ(features & ~FWCFG_HAS_DMA, 1);
    fwcfg_select(NO_SUCH_KEY);
    fwcfg_read(text, 4);
    CHECK(!memcmp(text, "\0\0\0\0", 4), "an item that is not there is all zero");
    /* a selection begins anew */
    fwcfg_select(FWCFG_SIGNATURE);
    fwcfg_read(text, 2);
    fwcfg_select(FWCFG_SIGNATURE);
    fwcfg_read(text, 4);
    CHECK(!memcmp(text, "QEMU", 4), "from the start again");
    /* and nothing can be written */
    fwcfg_select(FWCFG_SIGNATURE);
    outb(FWCFG_DATA, 'X');
    fwcfg_select(FWCFG_SIGNATURE);
    fwcfg_read(text, 4);
    CHECK(!memcmp(text, "QEMU", 4), "unchanged");
}

static void cpu_count(void)
{
    u32 want = (u32)boot_option_number("cpus", 0);

    if (!present()) {
        return;
    }
    CHECK(fwcfg_cpus() >= 1, "%u CPUs", fwcfg_cpus());
    if (want) {
        CHECK_EQ(fwcfg_cpus(), want);
    }
    if (acpi_known()->cpu_count) {
        CHECK_EQ(fwcfg_cpus(), acpi_known()->cpu_count);
    }
}

/* Is the range usable RAM in the boot loader's map? */
static bool in_boot_map(u64 base, u64 bytes)
{
    for (u32 i = 0; i < boot.ram_count; i++) {
        const struct boot_ram *r = &boot.ram[i];

        if (r->type == 1 && base < r->base + r->bytes && base + bytes > r->base) {
            return true;
        }
    }
    return false;
}

static void memory_map(void)
{
    struct fwcfg_file file;
    u64 ram = 0, end = 0;

    if (!present()) {
        return;
    }
    if (!fwcfg_find("etc/e820", &file)) {
        test_skip("no etc/e820");
        return;
    }
    CHECK(file.bytes && file.bytes % sizeof(struct e820_entry) == 0, "%u bytes", file.bytes);
    fwcfg_select(file.key);
    for (u32 i = 0; i < file.bytes / sizeof(struct e820_entry); i++) {
        struct e820_entry e;

        fwcfg_read(&e, sizeof(e));
        test_note("%lx..%lx type %u", e.base, e.base + e.bytes, e.type);
        if (e.type == E820_RAM) {
            ram += e.bytes;
            end = MAX(end, e.base + e.bytes);
            CHECK(in_boot_map(e.base, e.bytes), "%lx + %lx is RAM for the boot loader too", e.base,
                  e.bytes);
        }
    }
    CHECK(end >= boot.memory_end, "memory ends at %lx, the boot loader says %lx", end,
          boot.memory_end);
    CHECK(ram >= boot.memory_bytes && ram <= boot.memory_bytes + (2 << 20),
          "%lx bytes, the boot loader says %lx", ram, boot.memory_bytes);
}

static void directory(void)
{
    struct fwcfg_file file;
    u32 count = 0;

    if (!present()) {
        return;
    }
    fwcfg_select(FWCFG_FILES);
    fwcfg_read(&count, sizeof(count));
    count = __builtin_bswap32(count);
    CHECK(count < 1000, "%u files", count);
    for (u32 i = 0; i < MIN(count, 1000u); i++) {
        fwcfg_read(&file, sizeof(file));
        CHECK(file.name[0] && !file.name[sizeof(file.name) - 1], "file %u has a name", i);
        CHECK(__builtin_bswap16(file.key) >= 0x20, "%s: key %x", file.name,
              __builtin_bswap16(file.key));
    }
    CHECK(!fwcfg_find("etc/no-such-file", &file), "a file that is not there");
}

static void dma(void)
{
    static u8 buffer[64];
    u32 features = 0;

    if (!present()) {
        return;
    }
    fwcfg_select(FWCFG_FEATURES);
    fwcfg_read(&features, sizeof(features));
    if (!(features & FWCFG_HAS_DMA)) {
        test_skip("no DMA");
        return;
    }
    /* the port tells what it is */
    CHECK_EQ(inl(FWCFG_DMA_HIGH), __builtin_bswap32(0x51454d55));
    CHECK_EQ(inl(FWCFG_DMA_LOW), __builtin_bswap32(0x20434647));
    memset(buffer, 0xee, sizeof(buffer));
    CHECK_EQ(fwcfg_dma(FWCFG_SIGNATURE << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ, buffer, 8), 0);
    CHECK(!memcmp(buffer, "QEMU\0\0\0\0\xee", 9), "signature, zeroes, and no more");
    CHECK_EQ(fwcfg_dma(FWCFG_SIGNATURE << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_SKIP, buffer, 2), 0);
    CHECK_EQ(fwcfg_dma(FWCFG_DMA_READ, buffer, 2), 0);
    CHECK(!memcmp(buffer, "MU", 2), "the second half");
    fwcfg_select(FWCFG_SIGNATURE); /* ports and DMA share the place */
    fwcfg_read(buffer, 1);
    CHECK_EQ(fwcfg_dma(FWCFG_DMA_READ, buffer, 3), 0);
    CHECK(!memcmp(buffer, "EMU", 3), "from where the port was");
    CHECK_EQ(fwcfg_dma(FWCFG_SIGNATURE << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_WRITE, buffer, 2),
             FWCFG_DMA_ERROR);
    if (on_socle()) {
        u64 nowhere = ALIGN_UP(boot.memory_end, SIZE_2M) + SIZE_2M;

        CHECK_EQ(fwcfg_dma(FWCFG_SIGNATURE << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ,
                           (void *)nowhere, 4),
                 FWCFG_DMA_ERROR);
        CHECK_EQ(
            fwcfg_dma(FWCFG_SIGNATURE << 16 | FWCFG_DMA_SELECT | FWCFG_DMA_READ, (void *)~3ull, 8),
            FWCFG_DMA_ERROR);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"ports",      ports     },
        {"cpus",       cpu_count },
        {"memory-map", memory_map},
        {"directory",  directory },
        {"dma",        dma       },
    };

    test_all("fwcfg", tests, ARRAY_SIZE(tests));
}
