/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/load/load.c vmm/load/flat.c vmm/load/multiboot.c vmm/load/multiboot1.c */
/* SOURCES: vmm/load/multiboot2.c vmm/load/linux.c vmm/load/linux_pvh.c vmm/machine/ram.c */
/* SOURCES: lib/elf.c lib/format.c */
/* Multiboot images of both versions: what they find in memory at their entry, and each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/load/load.h"

#define MEMORY     (4ull << 20)
#define FILE_BYTES 40960

static struct ram ram;
static u8 *file;
static struct load_request request;
static struct vcpu_state s;
static struct load_error error;

static int setup(void **state)
{
    (void)state;
    ram.base = calloc(1, MEMORY);
    ram_layout(&ram, MEMORY);
    file = calloc(1, FILE_BYTES);
    memset(&s, 0, sizeof(s));
    s.cr0 = 0x60000010;
    request = (struct load_request){
        .ram = &ram,
        .image = IMAGE_MULTIBOOT,
        .file = {file, FILE_BYTES, "tests/kernel.elf", ""},
        .options = "-v all",
    };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(ram.base);
    free(file);
    return 0;
}

static void put(u32 at, u32 value)
{
    memcpy(file + at, &value, 4);
}

static u32 get(u64 gpa)
{
    u32 value;

    assert_true(ram_read(&ram, &value, GPA(gpa), 4));
    return value;
}

static u64 get64(u64 gpa)
{
    return get(gpa) | (u64)get(gpa + 4) << 32;
}

static const char *text(u64 gpa)
{
    return (const char *)ram.base + gpa;
}

static bool load(void)
{
    error.text[0] = 0;
    return load_image(&request, &s, &error);
}

static void expect_refusal(const char *part)
{
    assert_false(load());
    if (!strstr(error.text, part)) {
        print_message("expected \"%s\" in \"%s\"\n", part, error.text);
        fail();
    }
}

static void header1(u32 at, u32 flags)
{
    put(at, 0x1badb002);
    put(at + 4, flags);
    put(at + 8, 0 - 0x1badb002 - flags);
}

/* Header with address fields at file offset 0x100: load 0x100000.., data 0x1000 bytes, bss 0x1000.
 */
static void image1(u32 flags)
{
    header1(0x100, flags | 0x10000);
    put(0x10c, 0x100080); /* header_addr: the file is loaded from offset 0x80 */
    put(0x110, 0x100000); /* load_addr */
    put(0x114, 0x101000); /* load_end_addr */
    put(0x118, 0x102000); /* bss_end_addr */
    put(0x11c, 0x100123); /* entry_addr */
    file[0x80] = 0xaa;
    file[0x107f] = 0xbb;
    file[0x1080] = 0xcc;
}

static void test_version1(void **state)
{
    static const u8 module[] = "environment";

    (void)state;
    image1(3);
    request.module_count = 2;
    request.modules[0] = (struct load_file){module, sizeof(module), "tests/env", "a=1 b"};
    request.modules[1] = (struct load_file){module, 0, "empty", ""};
    assert_true(load());
    assert_int_equal(ram.base[0x100000], 0xaa);
    assert_int_equal(ram.base[0x100fff], 0xbb);
    assert_int_equal(ram.base[0x101000], 0);

    assert_int_equal(s.rip, 0x100123);
    assert_int_equal(s.gpr[GPR_RAX], 0x2badb002);
    assert_int_equal(s.cr0 & (CR0_PE | CR0_PG | CR0_CD), CR0_PE);
    assert_int_equal(s.rflags, RFLAGS_FIXED);
    assert_int_equal(s.seg[SEG_CS].base, 0);
    assert_int_equal(s.seg[SEG_CS].limit, 0xffffffff);
    assert_int_equal(s.seg[SEG_CS].access, 0xc09b);
    assert_int_equal(s.seg[SEG_SS].access, 0xc093);

    u64 info = s.gpr[GPR_RBX];
    assert_int_equal(get(info), 0x24d);
    assert_int_equal(get(info + 4), 639);
    assert_int_equal(get(info + 8), 3 * 1024);
    assert_string_equal(text(get(info + 16)), "tests/kernel.elf -v all");
    assert_int_equal(get(info + 20), 2);
    u32 mods = get(info + 24);
    assert_int_equal(get(mods), 0x102000);
    assert_int_equal(get(mods + 4), 0x102000 + sizeof(module));
    assert_string_equal(text(get(mods + 8)), "tests/env a=1 b");
    assert_string_equal(text(get(mods)), "environment");
    assert_int_equal(get(mods + 16), get(mods + 20)); /* empty */
    assert_int_equal(get(mods + 16) & PAGE_MASK, 0);
    assert_string_equal(text(get(mods + 24)), "empty");

    static const u64 map[][3] = {
        {0,        0x9fc00, 1},
        {0x9fc00,  0x60400, 2},
        {0x100000, 3 << 20, 1}
    };
    assert_int_equal(get(info + 44), 3 * 24);
    for (u32 i = 0; i < 3; i++) {
        u64 e = get(info + 48) + i * 24;
        assert_int_equal(get(e), 20);
        assert_int_equal(get64(e + 4), map[i][0]);
        assert_int_equal(get64(e + 12), map[i][1]);
        assert_int_equal(get(e + 20), map[i][2]);
    }
    assert_string_equal(text(get(info + 64)), "Socle");
}

static void test_version1_refusals(void **state)
{
    static const struct {
        u32 at, value;
        const char *part;
    } cases[] = {
        {0x110, 0x100081,   "above header_addr"},
        {0x110, 0x0fff00,   "do not fit"       },
        {0x114, 0x0fffff,   "load_end_addr"    },
        {0x114, 0x10a001,   "load_end_addr"    },
        {0x118, 0x100fff,   "bss_end_addr"     },
        {0x118, 0x400001,   "needs memory"     },
        {0x118, 0xffffffff, "needs memory"     },
        {0x11c, 0xa0000,    "entry point"      },
        {0x11c, 0x9fc00,    "entry point"      },
        {0x11c, 0x400000,   "entry point"      },
    };

    (void)state;
    expect_refusal("no Multiboot header");
    request.file.bytes = 0;
    expect_refusal("no Multiboot header");
    request.file.bytes = FILE_BYTES;
    image1(8);
    expect_refusal("not known here: flags 8");
    image1(4);
    expect_refusal("video mode");
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        image1(0);
        put(cases[i].at, cases[i].value);
        expect_refusal(cases[i].part);
    }
    memset(file, 0, FILE_BYTES);
    header1(8192 - 12, 0x10000);
    expect_refusal("cut off");
    memset(file, 0, FILE_BYTES);
    header1(8192 - 8, 0x10000); /* too late */
    expect_refusal("no Multiboot header");
    header1(0x100, 0);
    expect_refusal("not an ELF file");
}

static void test_modules_and_options_are_bounded(void **state)
{
    static char options[20000];
    u8 *big = calloc(1, MEMORY);

    (void)state;
    image1(0);
    request.module_count = 1;
    request.modules[0] = (struct load_file){big, MEMORY - 0x102000, "fits", ""};
    assert_true(load());
    request.modules[0].bytes++;
    expect_refusal("fits needs memory");
    request.module_count = 0;
    memset(options, 'x', sizeof(options) - 1);
    request.options = options;
    expect_refusal("too long");
    free(big);
}

/* An ELF file of two segments: one loaded elsewhere than it is linked, one with a bss. */
static void elf(bool is_64, u32 second_paddr)
{
    u8 ident[] = {0x7f, 'E', 'L', 'F', is_64 ? 2 : 1, 1, 1};
    u32 table = is_64 ? 64 : 52;

    memset(file, 0, FILE_BYTES);
    memcpy(file, ident, sizeof(ident));
    put(16, 2 | (is_64 ? 62 : 3) << 16);
    put(20, 1);
    put(24, 0xc0000010);
    if (is_64) {
        put(32, table);
        put(52, 64 | 56 << 16);
        put(56, 2);
    } else {
        put(28, table);
        put(40, 52 | 32 << 16);
        put(44, 2);
    }
    for (u32 i = 0; i < 2; i++) {
        u32 values[6] = {0x1000 * (i + 1),
                         0xc0000000 + 0x100000 * i,
                         i ? second_paddr : 0x100000,
                         0x200,
                         0x800,
                         7}; /* offset, vaddr, paddr, filesz, memsz, flags */
        u32 at = table + i * (is_64 ? 56 : 32);
        put(at, 1);
        if (is_64) {
            put(at + 4, 7);
            for (u32 j = 0; j < 5; j++) {
                put(at + 8 + 8 * j, values[j]);
            }
        } else {
            for (u32 j = 0; j < 6; j++) {
                put(at + 4 + 4 * j, values[j]);
            }
        }
    }
    memset(file + 0x1000, 0x11, 0x200);
    memset(file + 0x2000, 0x22, 0x200);
}

static void test_elf(void **state)
{
    (void)state;
    for (u32 is_64 = 0; is_64 < 2; is_64++) {
        elf(is_64, 0x180000);
        header1(0x200, 0);
        memset(ram.base, 0, MEMORY);
        assert_true(load());
        assert_int_equal(s.rip, 0x100010); /* from linear to physical */
        assert_int_equal(ram.base[0x100000], 0x11);
        assert_int_equal(ram.base[0x1801ff], 0x22);
        assert_int_equal(ram.base[0x180200], 0);
    }
    elf(false, 0x9d000); /* where the boot information would be: it moves */
    header1(0x200, 0);
    assert_true(load());
    assert_int_equal(s.gpr[GPR_RBX], 0x101000);
    assert_int_equal(ram.base[0x9d000], 0x22);
    static const u32 taken[] = {0x400000, 0x9f500, 0x9fc00, 0xe0000, 0xffff0}; /* or not there */
    for (u32 i = 0; i < ARRAY_SIZE(taken); i++) {
        elf(false, taken[i]);
        header1(0x200, 0);
        expect_refusal("a segment needs memory");
    }
    elf(false, 0x180000);
    header1(0x200, 0);
    file[16] = 3;
    expect_refusal("position independent");
}

/* A version 2 header at offset 0x400, with tags of 32-bit words; returns where the end tag went. */
static u32 header2(const u32 *tags, u32 count)
{
    u32 length = 16 + count * 4 + 8;
    u32 at = 0x400;

    put(at, 0xe85250d6);
    put(at + 4, 0);
    put(at + 8, length);
    put(at + 12, 0 - 0xe85250d6 - length);
    for (u32 i = 0; i < count; i++) {
        put(at + 16 + 4 * i, tags[i]);
    }
    put(at + 16 + count * 4, 0);
    put(at + 20 + count * 4, 8);
    return at + 16 + count * 4;
}

static u64 find_tag(u32 type)
{
    u64 info = s.gpr[GPR_RBX];
    u64 end = info + get(info);

    for (u64 at = info + 8; at < end; at += ALIGN_UP(get(at + 4), 8)) {
        assert_true(get(at + 4) >= 8);
        if (get(at) == type) {
            return at;
        }
    }
    return 0;
}

static void test_version2(void **state)
{
    static const u32 tags[] = {
        1,       20, 3,        6,        14,     0, /* request: modules, map and ACPI */
        4,       12, 2,        0,                   /* console flags: not required */
        6,       8,                                 /* module alignment */
        10,      24, 0x100000, 0x400000, 0x1000, 0, /* relocatable */
        3,       12, 0x100020, 0,                   /* entry */
        0x10005, 20, 1024,     768,      32,     0, /* optional framebuffer */
        0x10077, 8,                                 /* optional unknown */
    };
    static const u8 module[] = "initial disk";

    (void)state;
    memcpy(ram.base + 0xf0000, "RSD PTR and what comes after it.....", 36);
    elf(true, 0x180000);
    header2(tags, ARRAY_SIZE(tags));
    header1(0x300, 0x8000); /* version 1 would refuse: version 2 comes first */
    request.module_count = 1;
    request.modules[0] = (struct load_file){module, sizeof(module), "disk", "ro"};
    assert_true(load());
    assert_int_equal(s.rip, 0x100020);
    assert_int_equal(s.gpr[GPR_RAX], 0x36d76289);
    assert_int_equal(s.gpr[GPR_RBX] & 7, 0);
    assert_string_equal(text(find_tag(1) + 8), "tests/kernel.elf -v all");
    assert_string_equal(text(find_tag(2) + 8), "Socle");
    u64 tag = find_tag(3);
    assert_int_equal(get(tag + 8), 0x181000);
    assert_int_equal(get(tag + 12), 0x181000 + sizeof(module));
    assert_string_equal(text(tag + 16), "disk ro");
    tag = find_tag(4);
    assert_int_equal(get(tag + 8), 639);
    assert_int_equal(get(tag + 12), 3072);
    tag = find_tag(6);
    assert_int_equal(get(tag + 4), 16 + 3 * 24);
    assert_int_equal(get(tag + 8), 24);
    assert_int_equal(get64(tag + 16 + 48), 0x100000);
    assert_int_equal(get64(tag + 16 + 56), 3 << 20);
    assert_int_equal(get(find_tag(21) + 8), 0x100000);
    tag = find_tag(14); /* the RSDP, as old and new systems know it */
    assert_int_equal(get(tag + 4), 8 + 20);
    assert_memory_equal(text(tag + 8), "RSD PTR and what com", 20);
    tag = find_tag(15);
    assert_int_equal(get(tag + 4), 8 + 36);
    assert_memory_equal(text(tag + 8), "RSD PTR and what comes after it.....", 36);
    assert_int_not_equal(find_tag(0), 0);
}

static void test_version2_address(void **state)
{
    u32 tags[] = {2, 24, 0x100400, 0x100000, 0x101000, 0, 3, 12, 0x100010, 0};

    (void)state;
    file[0] = 0x77;
    header2(tags, ARRAY_SIZE(tags));
    assert_true(load());
    assert_int_equal(ram.base[0x100000], 0x77);
    tags[3] = 0xffffffff; /* from the start of the file */
    ram.base[0x100000] = 0;
    header2(tags, ARRAY_SIZE(tags));
    assert_true(load());
    assert_int_equal(ram.base[0x100000], 0x77);
    tags[2] = 0x300; /* which would be below address 0 */
    header2(tags, ARRAY_SIZE(tags));
    expect_refusal("do not fit");
    header2(tags, 6);
    expect_refusal("no entry tag");
}

static void test_version2_refusals(void **state)
{
    static const struct {
        u32 tags[4], count;
        const char *part;
    } cases[] = {
        {{0x77, 8},             2, "not known here: tag 119"},
        {{7, 8},                2, "EFI boot services"      },
        {{4, 12, 1, 0},         4, "text console"           },
        {{1, 12, 8, 0},         4, "type 8"                 },
        {{1, 12, 0x1000000, 0}, 4, "not offered"            },
        {{3, 8},                2, "too short"              },
        {{2, 16, 0, 0},         4, "too short"              },
        {{6, 7},                2, "damaged"                },
        {{6, 0xffffffff},       2, "damaged"                },
        {{6, 0},                2, "damaged"                },
        {{3, 12, 0x400000, 0},  4, "entry point"            },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        elf(false, 0x180000);
        header2(cases[i].tags, cases[i].count);
        expect_refusal(cases[i].part);
    }
    elf(false, 0x180000);
    put(header2(NULL, 0), 6); /* no end tag */
    expect_refusal("no end tag");
    put(0x404, 4); /* MIPS */
    put(0x40c, 0 - 0xe85250d6 - 4 - 24);
    expect_refusal("architecture 4");
    header2(NULL, 0);
    put(0x408, 0xfffffff0);
    put(0x40c, 0 - 0xe85250d6 - 0xfffffff0);
    expect_refusal("cut off");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_version1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version1_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modules_and_options_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version2, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version2_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version2_refusals, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
