/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/load/load.c vmm/load/flat.c vmm/load/multiboot.c vmm/load/multiboot1.c */
/* SOURCES: vmm/load/multiboot2.c vmm/load/linux.c vmm/load/linux_pvh.c vmm/machine/ram.c */
/* SOURCES: lib/elf.c lib/format.c */
/* Linux kernels, as bzImage and by PVH: what they find at their entry, and each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/load/linux.h"
#include "vmm/machine/firmware.h"

#define MEMORY      (32ull << 20)
#define FILE_BYTES  (300u << 10)
#define SETUP_BYTES 0x1000u /* of a bzImage with 7 sectors of setup code */
#define KERNEL      (FILE_BYTES - SETUP_BYTES)
#define PARAMS      0x7000
#define COMMAND     0x8000
#define ENTRY_64    0x200

static struct ram ram;
static u8 *file;
static u8 initrd[9000];
static struct load_request request;
static struct vcpu_state s;
static struct load_error error;

static void put(u32 at, u64 value, u32 bytes)
{
    memcpy(file + at, &value, bytes);
}

static u64 get(u64 gpa, u32 bytes)
{
    u64 value = 0;

    assert_true(ram_read(&ram, &value, GPA(gpa), bytes));
    return value;
}

/* Protocol 2.15, relocatable, 64-bit. */
static void make_bzimage(void)
{
    memset(file, 0x90, FILE_BYTES);
    memset(file, 0, SETUP_BYTES);
    put(0x1f1, 7, 1);
    put(0x1f4, KERNEL / 16, 4);
    put(0x1fa, 0xffff, 2); /* vid_mode: to be kept */
    put(0x1fe, 0xaa55, 2);
    put(0x200, 0x6aeb, 2); /* the header ends at 0x26c */
    put(0x202, 0x53726448, 4);
    put(0x206, 0x20f, 2);
    put(0x211, 1, 1);
    put(0x214, 0x100000, 4);
    put(0x22c, 0x7fffffff, 4);
    put(0x230, 0x200000, 4);
    put(0x234, 1, 1);
    put(0x236, 1, 2);
    put(0x238, 2047, 4);
    put(0x258, 0x1000000, 8);
    put(0x260, 0x800000, 4);
    put(0x268, 0x12345678, 4);
    put(0x26c, 0xdead, 2); /* code */
}

/* A vmlinux with one segment and its note. */
static void make_vmlinux(void)
{
    static const struct {
        u32 owner_bytes, bytes, type;
        char owner[4];
        u32 value;
    } other = {4, 4, 5, "Xen", 7}, note = {4, 4, 18, "Xen", 0x1000100};

    memset(file, 0, FILE_BYTES);
    memcpy(file, "\177ELF\2\1\1", 7);
    put(16, ELF_TYPE_EXEC, 2);
    put(18, ELF_MACHINE_X86_64, 2);
    put(24, 0x1000000, 8);
    put(32, 64, 8);
    put(54, 56, 2);
    put(56, 2, 2);
    put(64, 1, 4);
    put(64 + 8, 0x1000, 8);
    put(64 + 16, 0xffffffff81000000, 8);
    put(64 + 24, 0x1000000, 8);
    put(64 + 32, 0x2000, 8);
    put(64 + 40, 0x5000, 8);
    put(120, 4, 4);
    put(120 + 8, 0x200, 8);
    put(120 + 32, sizeof(other) + sizeof(note), 8);
    memcpy(file + 0x200, &other, sizeof(other));
    memcpy(file + 0x200 + sizeof(other), &note, sizeof(note));
    memset(file + 0x1000, 0x90, 0x2000);
}

static int setup(void **state)
{
    (void)state;
    ram.base = calloc(1, MEMORY);
    ram_layout(&ram, MEMORY);
    file = malloc(FILE_BYTES);
    memset(initrd, 0x77, sizeof(initrd));
    memset(&s, 0xa5, sizeof(s));
    request = (struct load_request){
        .ram = &ram,
        .image = IMAGE_LINUX,
        .file = {file,       FILE_BYTES, "vmlinuz", ""},
        .modules = {{initrd, sizeof(initrd), "initrd.img", ""}},
        .module_count = 1,
        .options = "console=ttyS0 quiet",
    };
    make_bzimage();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(ram.base);
    free(file);
    return 0;
}

static bool load(void)
{
    error.text[0] = 0;
    return load_image(&request, &s, &error);
}

static void assert_loaded(void)
{
    if (!load()) {
        fail_msg("%s", error.text);
    }
}

static void expect_refusal(const char *part)
{
    if (load() || !strstr(error.text, part)) {
        fail_msg("wanted '%s', got '%s'", part, error.text);
    }
}

static void assert_kernel(u64 gpa, u32 offset, u32 bytes)
{
    assert_memory_equal(ram.base + gpa, file + offset, bytes);
}

static void assert_initrd(u64 gpa)
{
    assert_int_equal(gpa & PAGE_MASK, 0);
    assert_memory_equal(ram.base + gpa, initrd, sizeof(initrd));
}

/* A segment register, and that the GDT says the same. */
static void assert_segment(u32 seg, u16 selector, u64 descriptor)
{
    assert_int_equal(s.seg[seg].selector, selector);
    assert_true(s.gdt_base == LOAD_GDT && s.gdt_limit >= selector + 7u);
    assert_int_equal(get(LOAD_GDT + selector, 8), descriptor);
    assert_int_equal(s.seg[seg].base, 0);
    assert_int_equal(s.seg[seg].limit, 0xffffffff);
    assert_int_equal(s.seg[seg].access & 0xf0ff, descriptor >> 40 & 0xf0ff);
}

static void assert_machine_state(u64 code)
{
    assert_segment(SEG_CS, 0x10, code);
    assert_segment(SEG_DS, 0x18, LOAD_DATA);
    assert_segment(SEG_ES, 0x18, LOAD_DATA);
    assert_segment(SEG_SS, 0x18, LOAD_DATA);
    assert_int_equal(s.rflags, RFLAGS_FIXED);
    assert_true(s.cr0 & CR0_PE);
}

static void test_params(void **state)
{
    (void)state;
    assert_loaded();
    assert_kernel(0x1000000, SETUP_BYTES, KERNEL);
    assert_int_equal(s.gpr[GPR_RSI], PARAMS);
    assert_string_equal((char *)ram.base + COMMAND, request.options);
    assert_int_equal(get(PARAMS + 0x228, 4), COMMAND);
    assert_int_equal(get(PARAMS + 0x0c8, 4), 0); /* its high half */
    assert_int_equal(get(PARAMS + 0x070, 8), FIRMWARE_RSDP);
    assert_int_equal(get(PARAMS + 0x210, 1), 0xff);
    assert_int_equal(get(PARAMS + 0x1ef, 1), 0); /* the sentinel of loaders that forget to clear */
    /* the header as it was, up to its end */
    assert_int_equal(get(PARAMS + 0x1fa, 2), 0xffff);
    assert_int_equal(get(PARAMS + 0x206, 2), 0x20f);
    assert_int_equal(get(PARAMS + 0x214, 4), 0x1000000);
    assert_int_equal(get(PARAMS + 0x268, 4), 0x12345678);
    assert_int_equal(get(PARAMS + 0x26c, 2), 0);
    assert_int_equal(get(PARAMS + 0x1e8, 1), ram.area_count);
    assert_memory_equal(ram.base + PARAMS + 0x2d0, ram.area, 20 * ram.area_count);
    assert_int_equal(get(PARAMS + 0x21c, 4), sizeof(initrd));
    assert_initrd(get(PARAMS + 0x218, 4));
    assert_int_equal(get(PARAMS + 0x218, 4), ALIGN_DOWN(MEMORY - sizeof(initrd), PAGE_SIZE));

    request.module_count = 0;
    assert_loaded();
    assert_int_equal(get(PARAMS + 0x218, 8), 0);
}

static void test_entry_64(void **state)
{
    (void)state;
    assert_loaded();
    assert_machine_state(LOAD_CODE_64);
    assert_int_equal(s.rip, 0x1000000 + ENTRY_64);
    assert_true((s.cr0 & CR0_PG) && (s.cr4 & CR4_PAE) && (s.efer & EFER_LMA));
    for (u64 at = 0; at < 4ull << 30; at += 0x12345678) { /* all is mapped where it is */
        u64 table = s.cr3;
        for (u32 level = 4; level > 2; level--) {
            u64 entry = get(table + (at >> (12 + 9 * (level - 1)) & 511) * 8, 8);
            assert_int_equal(entry & 3, 3);
            table = ALIGN_DOWN(entry, PAGE_SIZE);
        }
        assert_int_equal(get(table + (at >> 21 & 511) * 8, 8), ALIGN_DOWN(at, SIZE_2M) | 0x87);
    }
}

static void test_entry_32(void **state)
{
    (void)state;
    put(0x236, 0, 2);
    assert_loaded();
    assert_machine_state(LOAD_CODE_32);
    assert_int_equal(s.rip, 0x1000000);
    assert_false(s.cr0 & CR0_PG);
    assert_int_equal(s.gpr[GPR_RSI], PARAMS);
    assert_int_equal(s.gpr[GPR_RBP] | s.gpr[GPR_RDI] | s.gpr[GPR_RBX], 0);
}

static void test_places(void **state)
{
    static const struct {
        u64 preferred;
        u32 relocatable, align, init_size;
        u64 at; /* where the kernel is loaded */
    } cases[] = {
        {0x1000000, 1, 0x200000, 0x1000000, 0x1000000}, /* up to the last byte */
        {0x1000001, 1, 0x200000, 0x800000,  0x1200000},
        {0,         1, 0x200000, 0x800000,  0x200000 },
        {0x1000,    1, 0x1000,   0x800000,  0x100000 }, /* where no kernel is put */
        {0x1000000, 0, 0x200000, 0x800000,  0x100000 }, /* and moves there by itself */
        {0,         0, 0,        0,         0x100000 },
    };

    (void)state;
    request.module_count = 0;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        put(0x230, cases[i].align, 4);
        put(0x234, cases[i].relocatable, 1);
        put(0x258, cases[i].preferred, 8);
        put(0x260, cases[i].init_size, 4);
        assert_loaded();
        assert_int_equal(s.rip, cases[i].at + ENTRY_64);
        assert_kernel(cases[i].at, SETUP_BYTES, KERNEL);
        assert_int_equal(get(PARAMS + 0x214, 4), cases[i].at);
    }
}

static void test_initrd_places(void **state)
{
    (void)state;
    put(0x22c, 0x1ffffff, 4); /* the last byte that the initrd may have is RAM's last */
    put(0x260, 0x1000000 - 0x3000, 4);
    assert_loaded();
    assert_initrd(MEMORY - 0x3000);
    put(0x22c, 0x1ff0fff, 4);
    put(0x260, 0x800000, 4);
    assert_loaded();
    assert_initrd(0x1fee000);
    put(0x260, 0xfee001, 4);
    expect_refusal(
        "the initrd's 9 KiB do not fit between the kernel, which needs memory up to 1fee001");
    put(0x22c, 100, 4);
    expect_refusal("do not fit");
}

/* Headers from before fields were invented end before them. */
static void test_old(void **state)
{
    (void)state;
    put(0x1f1, 0, 1); /* four sectors */
    put(0x201, 0x2c - 2, 1);
    put(0x206, 0x202, 2);
    put(0x1f4, 1, 4); /* of no meaning then */
    memset(file + 0x22c, 0xff, SETUP_BYTES - 0x22c);
    assert_loaded();
    assert_int_equal(s.rip, 0x100000);
    assert_machine_state(LOAD_CODE_32);
    assert_kernel(0x100000, 5 * 512, FILE_BYTES - 5 * 512);
    assert_int_equal(get(PARAMS + 0x22c, 8), 0);
    assert_initrd(get(PARAMS + 0x218, 4));

    char options[258];
    memset(options, 'x', sizeof(options));
    options[255] = 0;
    request.options = options;
    assert_loaded();
    options[255] = 'x';
    options[256] = 0;
    expect_refusal("options have 256 characters, and this kernel takes 255");
}

static void test_broken(void **state)
{
    static const struct {
        u32 at, bytes;
        u64 value;
        const char *part;
    } cases[] = {
        {0x1fe, 2, 0,               "it is no Linux kernel"                              },
        {0x202, 4, 0x12345678,      "it is no Linux kernel"                              },
        {0x201, 1, 0,               "it is no Linux kernel"                              },
        {0x206, 2, 0x201,           "boot protocol 2.01"                                 },
        {0x211, 1, 0,               "a zImage"                                           },
        {0x1f4, 4, KERNEL / 16 + 1, "its header tells of"                                },
        {0x1f4, 4, 0xffffffff,      "its header tells of"                                },
        {0x1f4, 4, 0,               "its header tells of 0 bytes"                        },
        {0x1f4, 4, ENTRY_64 / 16,   "its header tells of 512 bytes"                      },
        {0x230, 4, 0,               "an alignment of 0"                                  },
        {0x230, 4, 0x300000,        "an alignment of 300000"                             },
        {0x230, 4, 0x80000000,      "the kernel needs memory from 80000000"              },
        {0x260, 4, 0x1000001,       "the kernel needs memory from 1000000 to 2000001"    },
        {0x258, 8, 0x9000000,       "the kernel needs memory from 9000000"               },
        {0x258, 8, ~0ull,           "the kernel needs memory from 0"                     },
        {0x238, 4, 5,               "options have 19 characters, and this kernel takes 5"},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        make_bzimage();
        put(cases[i].at, cases[i].value, cases[i].bytes);
        expect_refusal(cases[i].part);
    }
    make_bzimage();
    put(0x234, 0, 1); /* not relocatable: only there */
    put(0x258, 0x1900000, 8);
    expect_refusal("the kernel needs memory from 1900000 to 2100000");
    request.module_count = 2;
    expect_refusal("one initrd");
}

static void test_cut_off(void **state)
{
    static const u32 lengths[] = {0,
                                  1,
                                  0x1f1,
                                  0x201,
                                  0x202,
                                  0x210,
                                  0x211,
                                  0x26c,
                                  SETUP_BYTES,
                                  SETUP_BYTES + ENTRY_64,
                                  FILE_BYTES - 16};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(lengths); i++) {
        u8 *exact = malloc(lengths[i] + !lengths[i]); /* reading beyond is seen */
        memcpy(exact, file, lengths[i]);
        request.file.data = exact;
        request.file.bytes = lengths[i];
        expect_refusal("it is ");
        free(exact);
    }
    request.file.data = file;
    request.file.bytes = FILE_BYTES - 15; /* as far as syssize can tell */
    assert_loaded();
    request.file.bytes = FILE_BYTES;
    put(0x1f4, KERNEL / 16 - 100, 4); /* a signature follows */
    assert_loaded();
    assert_int_equal(get(0x1000000 + KERNEL - 1600, 8), 0x9090909090909090); /* of the first load */
    memset(ram.base + 0x1000000, 0, KERNEL);
    assert_loaded();
    assert_int_equal(get(0x1000000 + KERNEL - 1600, 8), 0);
}

static void test_pvh(void **state)
{
    (void)state;
    make_vmlinux();
    assert_loaded();
    assert_kernel(0x1000000, 0x1000, 0x2000);
    assert_int_equal(s.rip, 0x1000100);
    assert_machine_state(LOAD_CODE_32);
    assert_int_equal(s.cr0 & CR0_PG, 0);
    assert_int_equal(s.seg[SEG_TR].limit, 0x67);
    u64 info = s.gpr[GPR_RBX];
    assert_int_equal(get(info, 4), 0x336ec578);
    assert_int_equal(get(info + 4, 4), 1);
    assert_int_equal(get(info + 12, 4), 1);
    u64 module = get(info + 16, 8);
    assert_initrd(get(module, 8));
    assert_int_equal(get(module + 8, 8), sizeof(initrd));
    assert_string_equal((char *)ram.base + get(info + 24, 8), request.options);
    assert_int_equal(get(info + 32, 8), FIRMWARE_RSDP);
    u64 map = get(info + 40, 8);
    assert_int_equal(get(info + 48, 4), ram.area_count);
    for (u32 i = 0; i < ram.area_count; i++) {
        assert_int_equal(get(map + 24 * i, 8), ram.area[i].gpa);
        assert_int_equal(get(map + 24 * i + 8, 8), ram.area[i].bytes);
        assert_int_equal(get(map + 24 * i + 16, 4), ram.area[i].type);
    }
    request.module_count = 0;
    assert_loaded();
    assert_int_equal(get(s.gpr[GPR_RBX] + 12, 4), 0);
}

static void test_pvh_broken(void **state)
{
    static const struct {
        u32 at, bytes;
        u64 value;
        const char *part;
    } cases[] = {
        {18,      2, 40,         "another kind of CPU"                           },
        {120,     4, 5,          "without the note of a PVH entry point"         },
        {0x21c,   4, 17,         "without the note"                              },
        {0x220,   4, 0x006e6559, "without the note"                              },
        {0x214,   4, ~0u,        "without the note"                              },
        {0x218,   4, ~0u,        "without the note"                              },
        {0x224,   4, 0xfff000,   "its PVH entry point fff000 lies outside"       },
        {0x224,   4, 0x1005000,  "its PVH entry point 1005000 lies outside"      },
        {64 + 24, 8, 0x8000,     "a segment at 8000 lies below 1 MiB"            },
        {64 + 24, 8, 0x3000000,  "a segment needs memory from 3000000 to 3005000"},
        {64 + 40, 8, 0xffe000,   "do not fit between the kernel"                 },
        {64 + 40, 8, 0x1000,     "larger in the file than in memory"             },
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        make_vmlinux();
        put(cases[i].at, cases[i].value, cases[i].bytes);
        expect_refusal(cases[i].part);
    }
    char options[LINUX_COMMAND_SIZE + 1];
    memset(options, 'x', sizeof(options));
    options[LINUX_COMMAND_SIZE] = 0;
    request.options = options;
    make_vmlinux();
    expect_refusal("options have 4096 characters, and this kernel takes 4095");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_params, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_64, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_32, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_initrd_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pvh, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pvh_broken, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
