/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/load/load.c vmm/load/flat.c vmm/load/multiboot.c vmm/load/multiboot1.c */
/* SOURCES: vmm/load/multiboot2.c vmm/load/linux.c vmm/load/linux_pvh.c vmm/machine/ram.c */
/* SOURCES: vmm/machine/walk.c lib/elf.c lib/format.c */
/* Flat images: the state at the entry that flat.h promises, and each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/load/flat.h"
#include "vmm/machine/walk.h"

#define MEMORY (4ull << 20)

static struct ram ram;
static u8 image[5000];
static struct load_request request;
static struct vcpu_state s;
static struct load_error error;

static int setup(void **state)
{
    (void)state;
    ram.base = calloc(1, MEMORY);
    ram_layout(&ram, MEMORY);
    memset(&s, 0xa5, sizeof(s));
    memset(image, 0x90, sizeof(image));
    request = (struct load_request){
        .ram = &ram,
        .image = IMAGE_FLAT,
        .file = {image, sizeof(image), "a.bin", ""},
        .options = "quiet",
        .load_address = 0x10000,
        .entry = 0x10010,
        .mode = MODE_REAL,
    };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(ram.base);
    return 0;
}

static void common(void)
{
    assert_true(load_image(&request, &s, &error));
    assert_int_equal(ram.base[request.load_address], 0x90);
    assert_int_equal(ram.base[request.load_address + sizeof(image) - 1], 0x90);
    assert_string_equal((char *)ram.base + 0x600, "quiet");
    assert_int_equal(s.gpr[GPR_RSI], 0x600);
    assert_int_equal(s.gpr[GPR_RDI], 4);
    assert_int_equal(s.gpr[GPR_RSP], 0x7c00);
    assert_int_equal(s.gpr[GPR_RAX], 0);
    assert_int_equal(s.rflags, RFLAGS_FIXED);
    assert_int_equal(s.cr0 & (CR0_CD | CR0_NW), 0);
}

static void test_real(void **state)
{
    static const struct {
        u64 load, entry;
        u16 cs, ip;
    } cases[] = {
        {0x7c00,  0x7c00,  0,      0x7c00},
        {0x10000, 0x10010, 0x1000, 0x10  },
        {0x9e000, 0x9efff, 0x9000, 0xefff},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        request.load_address = cases[i].load;
        request.entry = cases[i].entry;
        common();
        assert_int_equal(s.seg[SEG_CS].selector, cases[i].cs);
        assert_int_equal(s.seg[SEG_CS].base, cases[i].cs * 16);
        assert_int_equal(s.rip, cases[i].ip);
        assert_int_equal(s.seg[SEG_DS].base, 0);
        assert_int_equal(s.seg[SEG_DS].limit, 0xffff);
        assert_int_equal(s.cr0 & (CR0_PE | CR0_PG), 0);
        assert_int_equal(s.idt_limit, 0x3ff);
    }
}

static void test_protected(void **state)
{
    u64 code;

    (void)state;
    request.mode = MODE_PROTECTED;
    request.load_address = request.entry = 0x100000;
    common();
    assert_int_equal(s.rip, 0x100000);
    assert_int_equal(s.cr0 & (CR0_PE | CR0_PG), CR0_PE);
    assert_int_equal(s.seg[SEG_CS].selector, 8);
    assert_int_equal(s.seg[SEG_CS].access, 0xc09b);
    assert_int_equal(s.seg[SEG_GS].selector, 0x10);
    memcpy(&code, ram.base + s.gdt_base + 8, 8);
    assert_true(code == 0x00cf9b000000ffff);
    assert_int_equal(s.gdt_limit, 0x2f);
}

static void test_long(void **state)
{
    static const u64 addresses[] = {0,          0x7c00,     0x1fffff,  0x200000,
                                    0x3fffffff, 0xc0000000, 0xffffffff};
    u64 pf;

    (void)state;
    request.mode = MODE_LONG;
    common();
    assert_int_equal(s.seg[SEG_CS].access, 0xa09b);
    assert_int_equal(s.efer, EFER_LME | EFER_LMA | EFER_NXE);
    assert_int_equal(s.cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
    for (u32 i = 0; i < ARRAY_SIZE(addresses); i++) { /* each to itself, as a walk sees it */
        gpa_t gpa = GPA(~0ull);
        assert_int_equal(walk(&ram, &s, 39, GVA(addresses[i]), PF_WRITE, &gpa, &pf, NULL), WALK_OK);
        assert_int_equal(gpa.v, addresses[i]);
    }
    gpa_t gpa;
    assert_int_equal(walk(&ram, &s, 39, GVA(0x100000000), 0, &gpa, &pf, NULL), WALK_FAULT);
}

static void test_refusals(void **state)
{
    static const struct {
        u64 load, entry;
        u32 mode;
        const char *part;
    } cases[] = {
        {0xf00,       0xf00,                   MODE_REAL,      "load-address"           },
        {0,           0,                       MODE_REAL,      "load-address"           },
        {0x1000,      0x1000,                  MODE_REAL,      NULL                     },
        {0x1000,      0x1000,                  MODE_LONG,      "load-address"           },
        {0x6fff,      0x6fff,                  MODE_LONG,      "load-address"           },
        {0x7000,      0x7000,                  MODE_LONG,      NULL                     },
        {~0ull - 100, ~0ull - 100,             MODE_LONG,      "load-address"           },
        {0x10000,     0xffff,                  MODE_REAL,      "entry"                  },
        {0x10000,     0x10000 + sizeof(image), MODE_REAL,      "entry"                  },
        {0x100000,    0x100000,                MODE_REAL,      "real mode"              },
        {0x100000000, 0x100000000,             MODE_PROTECTED, "above the 4 GiB"        },
        {0x100000000, 0x100000000,             MODE_LONG,      "above the 4 GiB"        },
        {0x9f000,     0x9f000,                 MODE_PROTECTED, "needs memory"           },
        {0x9e800,     0x9e800,                 MODE_PROTECTED, NULL                     },
        {0x9e900,     0x9e900,                 MODE_PROTECTED, "needs memory"           },
        {0xe0000,     0xe0000,                 MODE_REAL,      "needs memory"           },
        {0xff000,     0xff000,                 MODE_REAL,      "needs memory"           },
        {0x3ff000,    0x3ff000,                MODE_PROTECTED, "needs memory"           },
        {0x10000,     0x10000,                 3,              "real, protected or long"},
    };
    static char options[4000];

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        request.load_address = cases[i].load;
        request.entry = cases[i].entry;
        request.mode = cases[i].mode;
        bool loaded = load_image(&request, &s, &error);
        assert_int_equal(loaded, cases[i].part == NULL);
        if (cases[i].part) {
            assert_non_null(strstr(error.text, cases[i].part));
        }
    }
    request.load_address = request.entry = 0x10000;
    request.mode = MODE_REAL;
    memset(options, 'x', sizeof(options) - 1);
    request.options = options;
    assert_false(load_image(&request, &s, &error));
    assert_non_null(strstr(error.text, "options"));
    request.options = "";
    request.module_count = 1;
    assert_false(load_image(&request, &s, &error));
    request.module_count = 0;
    request.file.bytes = 0;
    assert_false(load_image(&request, &s, &error));
    request.image = IMAGE_NONE;
    assert_false(load_image(&request, &s, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_real, setup, teardown),
        cmocka_unit_test_setup_teardown(test_protected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
