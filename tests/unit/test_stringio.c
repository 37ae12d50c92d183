/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/emulate.c vmm/machine/emulate_exec.c vmm/machine/emulate_memory.c */
/* SOURCES: vmm/machine/stringio.c vmm/machine/decode.c */
/* SOURCES: vmm/machine/walk.c vmm/machine/ram.c vmm/machine/bus.c */
/* String I/O, and the faults it can meet half way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/emulate_board.h"

/* The exit for an INS or OUTS at RIP, whose code is there already. */
static enum emulate_result string_exit(u64 flags, u8 bytes, u64 address_bytes)
{
    struct vcpu_exit x = {.a = PORT | (u64)bytes << 16 | VX_IO_STRING | flags, .d = address_bytes};

    return emulate_string_io(&b, &s, &x, &fault);
}

/* The same, with the code for it put at RIP first. */
static enum emulate_result string(u64 flags, u8 bytes, u64 address_bytes)
{
    u8 code_bytes = s.seg[SEG_CS].access & BIT(13) ? 8 : s.seg[SEG_CS].access & BIT(14) ? 4 : 2;
    u8 code[4], n = 0;

    if (address_bytes != code_bytes) {
        code[n++] = 0x67;
    }
    if (bytes > 1 && (bytes == 2) != (code_bytes == 2)) {
        code[n++] = 0x66;
    }
    if (flags & VX_IO_REP) {
        code[n++] = 0xf3;
    }
    code[n++] = (u8)((flags & VX_IO_IN ? 0x6c : 0x6e) + (bytes > 1));
    s.rip = s.rip ? s.rip : CODE;
    memcpy(b.ram.base + s.rip, code, n);
    return string_exit(flags, bytes, address_bytes);
}

static void test_outs(void **state)
{
    (void)state;
    strcpy((char *)b.ram.base + 0x8000, "hello, world");
    s.gpr[GPR_RSI] = 0x8000;
    s.gpr[GPR_RCX] = 5;
    assert_int_equal(string(0, 1, 8), EMULATE_DONE); /* without REP: one */
    assert_int_equal(s.gpr[GPR_RSI], 0x8001);
    assert_int_equal(s.gpr[GPR_RCX], 5);
    assert_int_equal(string(VX_IO_REP, 1, 8), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RSI], 0x8006);
    assert_int_equal(s.gpr[GPR_RCX], 0);
    assert_memory_equal(port_data, "hello,", 6);
    assert_int_equal(string(VX_IO_REP, 1, 8), EMULATE_DONE); /* nothing left */
    assert_int_equal(port_bytes, 6);
    s.gpr[GPR_RSI] = 0x8004;
    s.gpr[GPR_RCX] = 2;
    s.rflags = RFLAGS_DF;
    assert_int_equal(string(VX_IO_REP, 2, 8), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RSI], 0x8000);
    assert_memory_equal(port_data + 6, "o,ll", 4);
}

static void test_ins(void **state)
{
    u32 value;

    (void)state;
    s.gpr[GPR_RDI] = 0x8ffe; /* across a page */
    s.gpr[GPR_RCX] = 2;
    assert_int_equal(string(VX_IO_IN | VX_IO_REP, 4, 8), EMULATE_DONE);
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
    while (string(VX_IO_REP, 1, 8) == EMULATE_AGAIN) {
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
    assert_int_equal(string(VX_IO_REP, 1, 8), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_PF);
    assert_int_equal(fault.error, 0);
    assert_int_equal(fault.address, 0x9000);
    assert_int_equal(port_bytes, 3); /* what went before is done */
    assert_int_equal(s.gpr[GPR_RSI], 0x9000);
    assert_int_equal(s.gpr[GPR_RCX], 7);

    set_pte(0x9000, 0x9005); /* not writable: nothing may be read from the port and lost */
    s.gpr[GPR_RDI] = 0x8ffe;
    s.gpr[GPR_RCX] = 1;
    assert_int_equal(string(VX_IO_IN | VX_IO_REP, 4, 8), EMULATE_FAULT);
    assert_int_equal(fault.error, PF_PRESENT | PF_WRITE);
    assert_int_equal(fault.address, 0x9000);
    assert_int_equal(port_reads, 0);
    assert_int_equal(b.ram.base[0x8ffe], 0);
    assert_int_equal(s.gpr[GPR_RCX], 1);
}

static void test_string_16bit(void **state)
{
    (void)state;
    real_mode("\xf3\x6e", 2);
    b.ram.base[0x1ffff] = 'a';
    b.ram.base[0x10000] = 'b';
    s.gpr[GPR_RSI] = 0xabcdffff;
    s.gpr[GPR_RCX] = 0xabcd0002;
    assert_int_equal(string(VX_IO_REP, 1, 2), EMULATE_DONE); /* wraps in the segment */
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
        {"\x64\x3e\x64\x6e", 4, 'f'},
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
        assert_int_equal(string_exit(0, 1, 2), EMULATE_DONE);
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
        enum emulate_result r = string(cases[i].in ? VX_IO_IN : 0, cases[i].bytes, 4);
        assert_int_equal(r, cases[i].good ? EMULATE_DONE : EMULATE_FAULT);
        assert_int_equal(fault.vector, cases[i].good ? 0 : VECTOR_GP);
    }
}

static void test_string_not_canonical(void **state)
{
    (void)state;
    s.gpr[GPR_RDI] = 0x800000000000;
    assert_int_equal(string(VX_IO_IN, 1, 8), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_GP);
    assert_int_equal(port_reads, 0);
}

static void test_string_single_step(void **state)
{
    (void)state;
    s.gpr[GPR_RSI] = 0x8000;
    s.gpr[GPR_RCX] = 2;
    s.rflags = RFLAGS_TF;
    assert_int_equal(string(VX_IO_REP, 1, 8), EMULATE_AGAIN);
    assert_int_equal(s.gpr[GPR_RCX], 1);
    assert_int_equal(string(VX_IO_REP, 1, 8), EMULATE_DONE);
}

static void test_string_32bit_address(void **state)
{
    (void)state;
    s.gpr[GPR_RSI] = 0xffffffff00008000;
    s.gpr[GPR_RCX] = 0xffffffff00000001;
    assert_int_equal(string(VX_IO_REP, 1, 4), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RSI], 0x8001); /* cleared, as 32-bit results are */
    assert_int_equal(s.gpr[GPR_RCX], 0);
}

static void test_string_outside_ram(void **state)
{
    (void)state;
    set_pte(0x9000, 0x50000007); /* mapped to where nothing is */
    s.gpr[GPR_RSI] = 0x9000;
    assert_int_equal(string(0, 4, 8), EMULATE_DONE);
    assert_memory_equal(port_data, "\xff\xff\xff\xff", 4);
    s.gpr[GPR_RDI] = 0x9000;
    assert_int_equal(string(VX_IO_IN, 4, 8), EMULATE_DONE);
}

/* Code that is not what the exit tells of was changed by another vCPU: it is run again. */
static void test_string_changed(void **state)
{
    (void)state;
    s.gpr[GPR_RSI] = s.gpr[GPR_RDI] = 0x8000;
    s.rip = CODE;
    memcpy(b.ram.base + CODE, "\x90\x90", 2);
    assert_int_equal(string_exit(0, 1, 8), EMULATE_AGAIN);
    memcpy(b.ram.base + CODE, "\x6e", 1);
    assert_int_equal(string_exit(VX_IO_IN, 1, 8), EMULATE_AGAIN);
    assert_int_equal(string_exit(0, 4, 8), EMULATE_AGAIN);
    assert_int_equal(string_exit(VX_IO_REP, 1, 8), EMULATE_AGAIN);
    assert_int_equal(string_exit(0, 1, 4), EMULATE_AGAIN);
    assert_int_equal(port_bytes + port_reads, 0);
    set_pte(CODE, 0);
    assert_int_equal(string_exit(0, 1, 8), EMULATE_FAULT);
    assert_int_equal(fault.error, PF_FETCH);
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
        cmocka_unit_test_setup_teardown(test_string_changed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
