/* SPDX-License-Identifier: MIT */
/* Boot information: both Multiboot protocols, copied before anything else uses memory. */
#include "guests/lib/boot.h"

#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "guests/lib/trap.h"
#include "lib/string.h"

#define MB1_MAGIC   0x2badb002
#define MB2_MAGIC   0x36d76289

#define MB1_MEMORY  BIT(0)
#define MB1_COMMAND BIT(2)
#define MB1_MODULES BIT(3)
#define MB1_MMAP    BIT(6)
#define MB1_LOADER  BIT(9)

struct mb1_info {
    u32 flags, mem_lower, mem_upper, boot_device, cmdline;
    u32 mods_count, mods_addr, syms[4];
    u32 mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name;
} PACKED;

struct mb1_module {
    u32 start, end, text, reserved;
} PACKED;

struct mb1_mmap {
    u32 size;
    u64 base, bytes;
    u32 type;
} PACKED;

struct mb2_tag {
    u32 type, size;
    u8 data[];
} PACKED;

enum { MB2_END, MB2_COMMAND, MB2_LOADER, MB2_MODULE, MB2_MEMORY, MB2_MMAP = 6 };

struct boot boot;

static void copy_text(char *out, size_t size, const char *text)
{
    size_t n = 0;

    for (; n + 1 < size && text[n]; n++) {
        out[n] = text[n];
    }
    out[n] = 0;
}

static const void *at(u32 address)
{
    return (const void *)(u64)address;
}

static void add_ram(u64 base, u64 bytes, u32 type)
{
    if (boot.ram_count == BOOT_MAX_RAM) {
        return;
    }
    boot.ram[boot.ram_count++] = (struct boot_ram){base, bytes, type};
    if (type == 1) {
        boot.memory_end = MAX(boot.memory_end, base + bytes);
        boot.memory_bytes += bytes;
    }
}

static void add_module(u64 start, u64 end, const char *text)
{
    if (boot.module_count == BOOT_MAX_MODULES) {
        return;
    }
    boot.modules[boot.module_count].base = start;
    boot.modules[boot.module_count].bytes = end - start;
    copy_text(boot.modules[boot.module_count++].text, BOOT_TEXT, text);
}

static void read_mb1(u32 address)
{
    const struct mb1_info *info = at(address);

    boot.protocol = 1;
    boot.info_bytes = sizeof(*info);
    if (info->flags & MB1_MEMORY) {
        boot.lower_kib = info->mem_lower;
        boot.upper_kib = info->mem_upper;
    }
    if (info->flags & MB1_COMMAND) {
        copy_text(boot.command, sizeof(boot.command), at(info->cmdline));
    }
    if (info->flags & MB1_LOADER) {
        copy_text(boot.loader, sizeof(boot.loader), at(info->loader_name));
    }
    if (info->flags & MB1_MODULES) {
        const struct mb1_module *m = at(info->mods_addr);

        for (u32 i = 0; i < info->mods_count; i++, m++) {
            add_module(m->start, m->end, m->text ? at(m->text) : "");
        }
    }
    if (info->flags & MB1_MMAP) {
        for (u32 o = 0; o + sizeof(struct mb1_mmap) <= info->mmap_length;) {
            const struct mb1_mmap *e = at(info->mmap_addr + o);

            add_ram(e->base, e->bytes, e->type);
            o += e->size + 4;
        }
    }
}

static void read_mb2(u32 address)
{
    const u32 *head = at(address);
    u32 total = head[0];

    boot.protocol = 2;
    boot.info_bytes = total;
    for (u32 o = 8; o + sizeof(struct mb2_tag) <= total;) {
        const struct mb2_tag *tag = at(address + o);
        const u32 *words = (const u32 *)tag->data;

        switch (tag->type) {
        case MB2_END:
            return;
        case MB2_COMMAND:
            copy_text(boot.command, sizeof(boot.command), (const char *)tag->data);
            break;
        case MB2_LOADER:
            copy_text(boot.loader, sizeof(boot.loader), (const char *)tag->data);
            break;
        case MB2_MODULE:
            add_module(words[0], words[1], (const char *)&words[2]);
            break;
        case MB2_MEMORY:
            boot.lower_kib = words[0];
            boot.upper_kib = words[1];
            break;
        case MB2_MMAP:
            for (u32 e = 8; e + 20 <= tag->size - 8; e += words[0]) {
                const u64 *range = (const u64 *)(tag->data + e);

                add_ram(range[0], range[1], (u32)range[2]);
            }
            break;
        default:
            break;
        }
        o += ALIGN_UP(tag->size, 8u);
    }
}

void guest_boot(u32 magic, u32 info)
{
    boot.info = info;
    if (magic == MB1_MAGIC) {
        read_mb1(info);
    } else if (magic == MB2_MAGIC) {
        read_mb2(info);
    }
    console_init();
    trap_init();
    if (!boot.protocol) {
        test_abort("started by no Multiboot loader: magic %x", magic);
    }
    if (!boot.ram_count && boot.upper_kib) {
        add_ram(0, (u64)boot.lower_kib << 10, 1);
        add_ram(1 << 20, (u64)boot.upper_kib << 10, 1);
    }
    memory_init();
    socle_init();
    guest_main();
    test_end();
}

/* Start of the next word, with *n its length; NULL at the end. */
static const char *next_word(const char *p, size_t *n)
{
    while (*p == ' ') {
        p++;
    }
    for (*n = 0; p[*n] && p[*n] != ' '; ++*n) {
    }
    return *n ? p : NULL;
}

const char *boot_option(const char *name)
{
    size_t n = 0, want = strlen(name);

    for (const char *p = next_word(boot.command, &n); p; p = next_word(p + n, &n)) {
        if (n >= want && !memcmp(p, name, want) && (n == want || p[want] == '=')) {
            return p + want + (p[want] == '=');
        }
    }
    return NULL;
}

u64 boot_option_number(const char *name, u64 fallback)
{
    const char *p = boot_option(name);
    u64 value = 0, base = 10;

    if (!p || !*p) {
        return fallback;
    }
    if (p[0] == '0' && p[1] == 'x') {
        base = 16;
        p += 2;
    }
    for (;; p++) {
        u64 digit = (u64)(*p >= 'a' ? *p - 'a' + 10 : *p - '0');

        if (digit >= base) {
            break;
        }
        value = value * base + digit;
    }
    return *p == 'K' ? value << 10 : *p == 'M' ? value << 20 : *p == 'G' ? value << 30 : value;
}

bool boot_option_is(const char *name, const char *value)
{
    const char *p = boot_option(name);
    size_t n = strlen(value);

    return p && !strncmp(p, value, n) && (!p[n] || p[n] == ' ');
}

bool boot_word(u32 index, char *out, size_t size)
{
    size_t n = 0;
    const char *p = next_word(boot.command, &n); /* the file's name */

    while (p && (p = next_word(p + n, &n))) {
        bool option = *p == '-';

        for (size_t i = 0; i < n; i++) {
            option |= p[i] == '=';
        }
        if (!option && !index--) {
            n = MIN(n, size - 1);
            memcpy(out, p, n);
            out[n] = 0;
            return true;
        }
    }
    return false;
}
