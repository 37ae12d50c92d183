/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/emulate.c vmm/machine/stringio.c vmm/machine/decode.c */
/* SOURCES: vmm/machine/walk.c vmm/machine/ram.c vmm/machine/bus.c */
/* String I/O and moves outside RAM, with the faults they can meet half way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/machine/emulate.h"
#include "vmm/machine/walk.h"

#define MEMORY (2ull << 20)
#define PORT   0x100

static struct board b;
static struct vcpu_state s;
static struct fault fault;
static u8 port_data[1024]; /* what was written; reads count up */
static u32 port_bytes, port_reads;

static u32 port_read(void *device, u16 offset, u8 bytes)
{
    u32 value = 0;

    (void)device;
    (void)offset;
    for (u32 i = 0; i < bytes; i++) {
        value |= (u32)(u8)port_reads++ << (8 * i);
    }
    return value;
}

static void port_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)device;
    (void)offset;
    assert_true(port_bytes + bytes <= sizeof(port_data));
    memcpy(port_data + port_bytes, &value, bytes);
    port_bytes += bytes;
}

/* 64-bit code, identity-mapped first 2 MiB at 0x1000, 0x2000, 0x3000, 0x4000 in 4 KiB pages. */
static int setup(void **state)
{
    struct host_ports ports = {NULL, port_read, port_write, PORT, 4, 7};
    u64 entry[3] = {0x2007, 0x3007, 0x4007};

    (void)state;
    memset(&b, 0, sizeof(b));
    memset(&s, 0, sizeof(s));
    b.ram.base = calloc(1, MEMORY);
    b.phys_bits = 40;
    ram_layout(&b.ram, MEMORY);
    bus_reset(&b.bus);
    assert_true(bus_add_ports(&b.bus, &ports));
    for (u32 i = 0; i < 3; i++) {
        memcpy(b.ram.base + 0x1000 * (i + 1), &entry[i], 8);
    }
    for (u64 i = 0; i < 512; i++) {
        u64 pte = i * 4096 + 7;
        memcpy(b.ram.base + 0x4000 + 8 * i, &pte, 8);
    }
    s.cr0 = CR0_PE | CR0_PG | CR0_WP;
    s.cr4 = CR4_PAE;
    s.efer = EFER_LME | EFER_LMA | EFER_NXE;
    s.cr3 = 0x1000;
    s.seg[SEG_CS].access = 0xa09b;
    s.seg[SEG_SS].access = 0xc093;
    port_bytes = port_reads = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.ram.base);
    return 0;
}

static void set_pte(u64 va, u64 pte)
{
    memcpy(b.ram.base + 0x4000 + 8 * (va >> 12), &pte, 8);
}

static enum emulate_result string(u64 flags, u8 bytes, u64 linear, u64 address_bytes)
{
    struct vcpu_exit x = {
        .a = PORT | (u64)bytes << 16 | VX_IO_STRING | flags, .b = linear, .d = address_bytes};

    return emulate_string_io(&b, &s, &x, &fault);
}

static void test_outs(void **state)
{
    (void)state;
    strcpy((char *)b.ram.base + 0x8000, "hello, world");
    s.gpr[GPR_RSI] = 0x8000;
    s.gpr[GPR_RCX] = 5;
    assert_int_equal(string(0, 1, 0x8000, 8), EMULATE_DONE); /* without REP: one */
    assert_int_equal(s.gpr[GPR_RSI], 0x8001);
    assert_int_equal(s.gpr[GPR_RCX], 5);
    assert_int_equal(string(VX_IO_REP, 1, 0x8001, 8), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RSI], 0x8006);
    assert_int_equal(s.gpr[GPR_RCX], 0);
    assert_memory_equal(port_data, "hello,", 6);
    assert_int_equal(string(VX_IO_REP, 1, 0x8006, 8), EMULATE_DONE); /* nothing left */
    assert_int_equal(port_bytes, 6);
    s.gpr[GPR_RSI] = 0x8004;
    s.gpr[GPR_RCX] = 2;
    s.rflags = RFLAGS_DF;
    assert_int_equal(string(VX_IO_REP, 2, 0x8004, 8), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RSI], 0x8000);
    assert_memory_equal(port_data + 6, "o,ll", 4);
}

static void test_ins(void **state)
{
    u32 value;

    (void)state;
    s.gpr[GPR_RDI] = 0x8ffe; /* across a page */
    s.gpr[GPR_RCX] = 2;
    assert_int_equal(string(VX_IO_IN | VX_IO_REP, 4, 0x8ffe, 8), EMULATE_DONE);
    memcpy(&value, b.ram.base + 0x8ffe, 4);
    assert_int_equal(value, 0x03020100);
    memcpy(&value, b.ram.base + 0x9002, 4);
    assert_int_equal(value, 0x07060504);
    assert_int_equal(s.gpr[GPR_RDI], 0x9006);
}

static void test_string_is_bounded(void **state)
{
    u32 calls = 1;

    (void)state;
    s.gpr[GPR_RSI] = 0x8000;
    s.gpr[GPR_RCX] = 700;
    while (string(VX_IO_REP, 1, s.gpr[GPR_RSI], 8) == EMULATE_AGAIN) {
        calls++;
    }
    assert_int_equal(calls, 3);
    assert_int_equal(port_bytes, 700);
}

static void test_string_fault_half_way(void **state)
{
    (void)state;
    set_pte(0x9000, 0);
    s.gpr[GPR_RSI] = 0x8ffd;
    s.gpr[GPR_RCX] = 10;
    assert_int_equal(string(VX_IO_REP, 1, 0x8ffd, 8), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_PF);
    assert_int_equal(fault.error, 0);
    assert_int_equal(fault.address, 0x9000);
    assert_int_equal(port_bytes, 3); /* what went before is done */
    assert_int_equal(s.gpr[GPR_RSI], 0x9000);
    assert_int_equal(s.gpr[GPR_RCX], 7);

    set_pte(0x9000, 0x9005); /* not writable: nothing may be read from the port and lost */
    s.gpr[GPR_RDI] = 0x8ffe;
    s.gpr[GPR_RCX] = 1;
    assert_int_equal(string(VX_IO_IN | VX_IO_REP, 4, 0x8ffe, 8), EMULATE_FAULT);
    assert_int_equal(fault.error, PF_PRESENT | PF_WRITE);
    assert_int_equal(fault.address, 0x9000);
    assert_int_equal(port_reads, 0);
    assert_int_equal(b.ram.base[0x8ffe], 0);
    assert_int_equal(s.gpr[GPR_RCX], 1);
}

/* Real mode with these bytes of code at 0000:0100, DS at 0x10000, the others at 0. */
static void real_mode(const char *code, size_t n)
{
    memset(&s, 0, sizeof(s));
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        s.seg[i].limit = 0xffff;
        s.seg[i].access = 0x93;
    }
    s.seg[SEG_DS].base = 0x10000;
    s.rip = 0x100;
    memcpy(b.ram.base + 0x100, code, n);
}

static void test_string_16bit(void **state)
{
    (void)state;
    real_mode("\xf3\x6e", 2);
    b.ram.base[0x1ffff] = 'a';
    b.ram.base[0x10000] = 'b';
    s.gpr[GPR_RSI] = 0xabcdffff;
    s.gpr[GPR_RCX] = 0xabcd0002;
    assert_int_equal(string(VX_IO_REP, 1, 0x1ffff, 2), EMULATE_DONE); /* wraps in the segment */
    assert_int_equal(s.gpr[GPR_RSI], 0xabcd0001);
    assert_int_equal(s.gpr[GPR_RCX], 0xabcd0000);
    assert_memory_equal(port_data, "ab", 2);
}

static void test_string_segment_override(void **state)
{
    static const struct {
        const char *code;
        size_t n;
        char expected;
    } cases[] = {
        {"\x6e",             1, 'd'},
        {"\x26\x6e",         2, 'e'},
        {"\x2e\x6e",         2, 'c'},
        {"\x36\x6e",         2, 's'},
        {"\x64\xf3\x6e",     3, 'f'},
        {"\x65\x6e",         2, 'g'},
        {"\x66\x26\x3e\x6e", 4, 'd'},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        real_mode(cases[i].code, cases[i].n);
        for (u32 j = SEG_ES; j <= SEG_GS; j++) {
            s.seg[j].base = j == SEG_CS ? 0 : 0x10000 * (j + 1);
            b.ram.base[(j == SEG_CS ? 0 : 0x10000 * (j + 1)) + 0x50] = (u8) "ecsdfg"[j];
        }
        s.gpr[GPR_RSI] = 0x50;
        port_bytes = 0;
        assert_int_equal(string(0, 1, 0, 2), EMULATE_DONE);
        assert_int_equal(port_data[0], cases[i].expected);
    }
}

static void test_string_segment_checks(void **state)
{
    static const struct {
        u32 access, limit;
        u64 offset;
        u8 bytes;
        bool in, good;
    } cases[] = {
        {0xc093,  0xffffffff, 0xfffffffc, 4, true,  true },
        {0xc093,  0xffffffff, 0xfffffffd, 4, true,  false},
        {0x4093,  0xfff,      0xffc,      4, true,  true },
        {0x4093,  0xfff,      0xffd,      4, true,  false},
        {0x4091,  0xfff,      0,          1, true,  false}, /* read-only */
        {0x4091,  0xfff,      0,          1, false, true },
        {0x409b,  0xfff,      0,          1, false, true }, /* code, readable */
        {0x4099,  0xfff,      0,          1, false, false}, /* code, not readable */
        {0x409b,  0xfff,      0,          1, true,  false},
        {0x4097,  0xfff,      0xfff,      1, true,  false}, /* expand down */
        {0x4097,  0xfff,      0x1000,     1, true,  true },
        {0x0097,  0xfff,      0xffff,     1, true,  true },
        {0x0097,  0xfff,      0xffff,     2, true,  false},
        {0x10000, 0xffffffff, 0,          1, false, false}, /* null */
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        real_mode("\x6e", 1);
        s.cr0 = CR0_PE;
        s.seg[SEG_CS].access = 0xc09b;
        s.seg[SEG_DS].base = 0;
        u32 seg = cases[i].in ? SEG_ES : SEG_DS;
        s.seg[seg].access = cases[i].access;
        s.seg[seg].limit = cases[i].limit;
        s.gpr[GPR_RSI] = s.gpr[GPR_RDI] = cases[i].offset;
        fault.vector = 0;
        enum emulate_result r = string(cases[i].in ? VX_IO_IN : 0, cases[i].bytes, 0, 4);
        assert_int_equal(r, cases[i].good ? EMULATE_DONE : EMULATE_FAULT);
        assert_int_equal(fault.vector, cases[i].good ? 0 : VECTOR_GP);
    }
}

static void test_string_not_canonical(void **state)
{
    (void)state;
    s.gpr[GPR_RDI] = 0x800000000000;
    assert_int_equal(string(VX_IO_IN, 1, 0, 8), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_GP);
    assert_int_equal(port_reads, 0);
}

static void test_string_single_step(void **state)
{
    (void)state;
    s.gpr[GPR_RSI] = 0x8000;
    s.gpr[GPR_RCX] = 2;
    s.rflags = RFLAGS_TF;
    assert_int_equal(string(VX_IO_REP, 1, 0x8000, 8), EMULATE_AGAIN);
    assert_int_equal(s.gpr[GPR_RCX], 1);
    assert_int_equal(string(VX_IO_REP, 1, 0x8001, 8), EMULATE_DONE);
}

static void test_string_32bit_address(void **state)
{
    (void)state;
    s.gpr[GPR_RSI] = 0xffffffff00008000;
    s.gpr[GPR_RCX] = 0xffffffff00000001;
    assert_int_equal(string(VX_IO_REP, 1, 0x8000, 4), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RSI], 0x8001); /* cleared, as 32-bit results are */
    assert_int_equal(s.gpr[GPR_RCX], 0);
}

static void test_string_outside_ram(void **state)
{
    (void)state;
    set_pte(0x9000, 0x40000007); /* mapped to where nothing is */
    s.gpr[GPR_RSI] = 0x9000;
    assert_int_equal(string(0, 4, 0x9000, 8), EMULATE_DONE);
    assert_memory_equal(port_data, "\xff\xff\xff\xff", 4);
    s.gpr[GPR_RDI] = 0x9000;
    assert_int_equal(string(VX_IO_IN, 4, 0x9000, 8), EMULATE_DONE);
}

static enum emulate_result run(const char *code, size_t n, u64 rip)
{
    struct insn insn;
    u8 bytes[DECODE_MAX_BYTES];
    u32 count;

    memcpy(b.ram.base + rip, code, n);
    s.rip = rip;
    return emulate_mmio(&b, &s, &insn, bytes, &count, &fault);
}

static void test_mmio(void **state)
{
    (void)state;
    set_pte(0x9000, 0x40000007);
    s.gpr[GPR_RDI] = 0x9000;
    assert_int_equal(run("\x8b\x07", 2, 0x10000), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RAX], 0xffffffff);
    assert_int_equal(run("\x48\x89\x07", 3, 0x10000), EMULATE_DONE);
    assert_int_equal(run("\x01\x07", 2, 0x10000), EMULATE_UNKNOWN);
    assert_int_equal(run("\x48\x0f\xb6\x07", 4, 0x10ffe), EMULATE_DONE); /* code across pages */
    assert_int_equal(s.gpr[GPR_RAX], 0xff);
    s.gpr[GPR_RDI] = 0x8ffe; /* half in RAM, half not */
    b.ram.base[0x8ffe] = 0x12;
    b.ram.base[0x8fff] = 0x34;
    assert_int_equal(run("\x8b\x07", 2, 0x10000), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RAX], 0xffff3412);
    s.gpr[GPR_RAX] = 0x55667788;
    assert_int_equal(run("\x89\x07", 2, 0x10000), EMULATE_DONE);
    assert_int_equal(b.ram.base[0x8ffe], 0x88);
    assert_int_equal(b.ram.base[0x8fff], 0x77);
}

static void test_mmio_faults(void **state)
{
    (void)state;
    set_pte(0x9000, 0x40000007);
    set_pte(0xa000, 0);
    s.gpr[GPR_RDI] = 0x9ffe; /* the second page is not there */
    assert_int_equal(run("\x89\x07", 2, 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_PF);
    assert_int_equal(fault.error, PF_WRITE);
    assert_int_equal(fault.address, 0xa000);
    set_pte(0x11000, 0); /* an instruction that fits is not fetched beyond its page */
    s.gpr[GPR_RDI] = 0x9000;
    assert_int_equal(run("\x8b\x07", 2, 0x10ffe), EMULATE_DONE);
    assert_int_equal(run("\x8b\x47\x04", 2, 0x10ffe), EMULATE_FAULT);
    assert_int_equal(fault.error, PF_FETCH);
    assert_int_equal(fault.address, 0x11000);
    s.gpr[GPR_RDI] = 0x800000000000;
    assert_int_equal(run("\x8b\x07", 2, 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_GP);
    s.gpr[GPR_RBP] = 0x800000000000;
    assert_int_equal(run("\x8b\x45\x00", 3, 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_SS);
}

static void test_linear(void **state)
{
    (void)state;
    s.seg[SEG_DS].base = s.seg[SEG_FS].base = 0x1234;
    assert_int_equal(emulate_linear(&s, SEG_DS, 1).v, 1); /* 64-bit code ignores it */
    assert_int_equal(emulate_linear(&s, SEG_FS, 1).v, 0x1235);
    s.seg[SEG_CS].access = 0xc09b;
    assert_int_equal(emulate_linear(&s, SEG_DS, 1).v, 0x1235);
    assert_int_equal(emulate_linear(&s, SEG_DS, 0xfffffffe).v, 0x1232);
}

static void test_walk_fault(void **state)
{
    (void)state;
    s.rip = 0x10000;
    emulate_walk_fault(&s, GVA(0x5000), &fault);
    assert_int_equal(fault.error, PF_PRESENT | PF_RESERVED);
    assert_int_equal(fault.address, 0x5000);
    s.seg[SEG_SS].access = 0xc0f3;
    emulate_walk_fault(&s, GVA(0x10001), &fault);
    assert_int_equal(fault.error, PF_PRESENT | PF_RESERVED | PF_USER | PF_FETCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_outs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_fault_half_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_16bit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_segment_override, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_segment_checks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_not_canonical, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_single_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_32bit_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_outside_ram, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mmio, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mmio_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_linear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk_fault, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
