/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/emulate.c vmm/machine/emulate_exec.c vmm/machine/emulate_memory.c */
/* SOURCES: vmm/machine/stringio.c vmm/machine/decode.c */
/* SOURCES: vmm/machine/walk.c vmm/machine/ram.c vmm/machine/bus.c */
/* Instructions outside RAM: which accesses a device sees, and the faults that can be met half way.
 * What the instructions compute is test_emulate_cpu's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/emulate_board.h"

static struct fetched fetched;

static enum emulate_result run(const char *code, size_t n, u64 rip)
{
    memcpy(b.ram.base + rip, code, n);
    s.rip = rip;
    device_log[0] = 0;
    return emulate_mmio(&b, &cache, &s, &fetched, &fault);
}

#define RUN(code, rip) run(code, sizeof(code) - 1, rip)

static void test_mmio(void **state)
{
    (void)state;
    set_pte(0x9000, 0x50000007); /* nobody's */
    s.gpr[GPR_RDI] = 0x9000;
    assert_int_equal(RUN("\x8b\x07", 0x10000), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RAX], 0xffffffff);
    assert_int_equal(RUN("\x48\x89\x07", 0x10000), EMULATE_DONE);
    assert_int_equal(RUN("\x0f\x11\x07", 0x10000), EMULATE_UNKNOWN);
    assert_int_equal(RUN("\x6c", 0x10000), EMULATE_AGAIN);
    assert_int_equal(RUN("\x48\x0f\xb6\x07", 0x10ffe), EMULATE_DONE); /* code across pages */
    assert_int_equal(s.gpr[GPR_RAX], 0xff);
    s.gpr[GPR_RDI] = 0x8ffe; /* half in RAM, half not */
    b.ram.base[0x8ffe] = 0x12;
    b.ram.base[0x8fff] = 0x34;
    assert_int_equal(RUN("\x8b\x07", 0x10000), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RAX], 0xffff3412);
    s.gpr[GPR_RAX] = 0x55667788;
    assert_int_equal(RUN("\x89\x07", 0x10000), EMULATE_DONE);
    assert_int_equal(b.ram.base[0x8ffe], 0x88);
    assert_int_equal(b.ram.base[0x8fff], 0x77);
}

/* What a device sees of each instruction: each access once, reads before writes, aligned. */
static void test_accesses(void **state)
{
    static const struct {
        const char *code, *log;
        u64 offset;
        u8 length;
    } cases[] = {
        {"\x8b\x07",         "r4@10",                     0x10,  2}, /* mov eax, [rdi] */
        {"\x89\x07",         "w4@10",                     0x10,  2},
        {"\x01\x07",         "r4@10 w4@10",               0x10,  2}, /* add */
        {"\x39\x07",         "r4@10",                     0x10,  2}, /* cmp */
        {"\x48\x87\x07",     "r8@10 w8@10",               0x10,  3}, /* xchg */
        {"\xf0\x0f\xb1\x07", "r4@10 w4@10",               0x10,  4}, /* cmpxchg */
        {"\x0f\xba\x27\x00", "r4@10",                     0x10,  4}, /* bt */
        {"\x0f\xba\x2f\x00", "r4@10 w4@10",               0x10,  4}, /* bts */
        {"\x66\xff\x07",     "r2@10 w2@10",               0x10,  3}, /* inc */
        {"\xc6\x07\x01",     "w1@11",                     0x11,  3},
        {"\x48\x8b\x07",     "r4@14 r4@18",               0x14,  3}, /* misaligned */
        {"\x8b\x07",         "r1@11 r2@12 r1@14",         0x11,  2},
        {"\x89\x07",         "w2@12 w2@14",               0x12,  2},
        {"\x01\x07",         "r2@12 r2@14 w2@12 w2@14",   0x12,  2},
        {"\x48\x8b\x07",     "r1@ff9 r2@ffa r4@ffc r1@0", 0xff9, 3}, /* two pages */
    };

    (void)state;
    set_pte(0x9000, DEVICE | 7);
    set_pte(0xa000, DEVICE | 7);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        s.gpr[GPR_RDI] = 0x9000 + cases[i].offset;
        assert_int_equal(run(cases[i].code, cases[i].length, 0x10000), EMULATE_DONE);
        assert_int_equal(fetched.insn.length, cases[i].length);
        assert_string_equal(device_log, cases[i].log);
    }
}

static void test_mmio_faults(void **state)
{
    (void)state;
    set_pte(0x9000, DEVICE | 7);
    set_pte(0xa000, 0);
    s.gpr[GPR_RDI] = 0x9ffe; /* the second page is not there */
    assert_int_equal(RUN("\x01\x07", 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_PF);
    assert_int_equal(fault.flags, VCPU_INJECT_ERROR_CODE | VCPU_INJECT_CR2);
    assert_int_equal(fault.error, PF_WRITE);
    assert_int_equal(fault.address, 0xa000);
    assert_string_equal(device_log, "");
    set_pte(0x9000, DEVICE | 5); /* read-only: a comparison may, an addition does not read first */
    s.gpr[GPR_RDI] = 0x9000;
    assert_int_equal(RUN("\x39\x07", 0x10000), EMULATE_DONE);
    assert_int_equal(RUN("\x01\x07", 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.error, PF_WRITE | PF_PRESENT);
    assert_string_equal(device_log, "");
    set_pte(0x9000, DEVICE | 7);
    set_pte(0x11000, 0); /* an instruction that fits is not fetched beyond its page */
    assert_int_equal(RUN("\x8b\x07", 0x10ffe), EMULATE_DONE);
    assert_int_equal(RUN("\x8b\x47", 0x10ffe), EMULATE_FAULT);
    assert_int_equal(fault.error, PF_FETCH);
    assert_int_equal(fault.address, 0x11000);
    set_pte(0x11000, DEVICE | 7); /* code in a device is not read */
    assert_int_equal(RUN("\x8b\x47", 0x10ffe), EMULATE_UNKNOWN);
    assert_string_equal(device_log, "");
    s.gpr[GPR_RDI] = 0x800000000000;
    assert_int_equal(RUN("\x8b\x07", 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_GP);
    s.gpr[GPR_RBP] = 0x800000000000;
    assert_int_equal(RUN("\x8b\x45\x00", 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_SS);
    assert_int_equal(RUN("\xf0\x8b\x07", 0x10000), EMULATE_FAULT); /* LOCK */
    assert_int_equal(fault.vector, VECTOR_UD);
    assert_int_equal(fault.flags, 0);
    assert_int_equal(RUN("fffffffffffffff", 0x10000), EMULATE_FAULT); /* too long */
    assert_int_equal(fault.vector, VECTOR_GP);
    assert_int_equal(fault.flags, VCPU_INJECT_ERROR_CODE);
}

/* Limits and rights of segments, of data and of the code itself. */
static void test_mmio_segments(void **state)
{
    (void)state;
    real_mode("\x8b\x07", 2); /* mov ax, [bx] */
    s.gpr[GPR_RBX] = 0xffff;
    assert_int_equal(emulate_mmio(&b, &cache, &s, &fetched, &fault), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_GP);
    s.gpr[GPR_RBX] = 0xfffe;
    assert_int_equal(emulate_mmio(&b, &cache, &s, &fetched, &fault), EMULATE_DONE);
    s.seg[SEG_CS].limit = 0x100; /* the last byte of the instruction is beyond */
    assert_int_equal(emulate_mmio(&b, &cache, &s, &fetched, &fault), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_GP);
    s.seg[SEG_CS].limit = 0x101;
    assert_int_equal(emulate_mmio(&b, &cache, &s, &fetched, &fault), EMULATE_DONE);
    s.seg[SEG_CS].limit = 0xff;
    assert_int_equal(emulate_mmio(&b, &cache, &s, &fetched, &fault), EMULATE_FAULT);
    real_mode("\x89\x46\x00", 3); /* mov [bp], ax: the stack's segment */
    s.seg[SEG_SS].limit = 0xff;
    s.gpr[GPR_RBP] = 0xff;
    assert_int_equal(emulate_mmio(&b, &cache, &s, &fetched, &fault), EMULATE_FAULT);
    assert_int_equal(fault.vector, VECTOR_SS);
}

/* MOVS between RAM and a device, both ways, with a fault in the middle, and in pieces. */
static void test_mmio_strings(void **state)
{
    (void)state;
    set_pte(0x9000, DEVICE | 7);
    set_pte(0xa000, 0);
    memcpy(b.ram.base + 0x8000, "abcdefgh", 8);
    s.gpr[GPR_RSI] = 0x8000;
    s.gpr[GPR_RDI] = 0x9100;
    s.gpr[GPR_RCX] = 2;
    assert_int_equal(RUN("\xf3\xa5", 0x10000), EMULATE_DONE);
    assert_memory_equal(device_data + 0x100, "abcdefgh", 8);
    assert_string_equal(device_log, "w4@100 w4@104");
    assert_int_equal(s.gpr[GPR_RSI], 0x8008);
    assert_int_equal(s.gpr[GPR_RDI], 0x9108);
    s.gpr[GPR_RSI] = 0x9100;
    s.gpr[GPR_RDI] = 0x8100;
    assert_int_equal(RUN("\x48\xa5", 0x10000), EMULATE_DONE);
    assert_memory_equal(b.ram.base + 0x8100, "abcdefgh", 8);
    assert_string_equal(device_log, "r8@100");
    s.gpr[GPR_RDI] = 0x9ff8;
    s.gpr[GPR_RCX] = 10;
    assert_int_equal(RUN("\xf3\xab", 0x10000), EMULATE_FAULT);
    assert_int_equal(fault.address, 0xa000);
    assert_int_equal(s.gpr[GPR_RCX], 8);
    assert_int_equal(s.gpr[GPR_RDI], 0xa000);
    s.gpr[GPR_RSI] = 0x9000; /* the source is not read when the target faults */
    assert_int_equal(RUN("\xa4", 0x10000), EMULATE_FAULT);
    assert_string_equal(device_log, "");
    set_pte(0xa000, 0xa007);
    s.gpr[GPR_RDI] = 0xa000;
    s.gpr[GPR_RSI] = 0x9000;
    s.gpr[GPR_RCX] = 700;
    u32 calls = 1;
    while (RUN("\xf3\xa4", 0x10000) == EMULATE_AGAIN) {
        calls++;
        assert_int_equal(s.gpr[GPR_RDI] - 0xa000 + s.gpr[GPR_RCX], 700);
        assert_int_equal(s.gpr[GPR_RSI] - 0x9000 + s.gpr[GPR_RCX], 700);
    }
    assert_int_equal(calls, 3);
    assert_int_equal(s.gpr[GPR_RCX], 0);
    memset(device_data, 'x', 16); /* REPE CMPS and REPNE SCAS end by the flag */
    device_data[5] = 'y';
    memset(b.ram.base + 0x8000, 'x', 16);
    s.gpr[GPR_RSI] = 0x8000;
    s.gpr[GPR_RDI] = 0x9000;
    s.gpr[GPR_RCX] = 16;
    assert_int_equal(RUN("\xf3\xa6", 0x10000), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RCX], 10);
    assert_false(s.rflags & RFLAGS_ZF);
    s.gpr[GPR_RDI] = 0x9000;
    s.gpr[GPR_RAX] = 'y';
    s.gpr[GPR_RCX] = 16;
    assert_int_equal(RUN("\xf2\xae", 0x10000), EMULATE_DONE);
    assert_int_equal(s.gpr[GPR_RDI], 0x9006);
    assert_true(s.rflags & RFLAGS_ZF);
}

/* --- the short way --- */

/* The exit for the instruction at RIP, an access of n bytes at linear 0x9000 + offset. */
static u64 cached(u64 offset, u64 access, u64 *value)
{
    struct vcpu_exit x = {.a = DEVICE + offset,
                          .b = access | VX_ACCESS_LINEAR_VALID |
                               (walk_in_long_mode(&s) ? VX_ACCESS_CODE64 : 0),
                          .c = 0x9000 + offset,
                          .d = s.cr3,
                          .e = s.rip};

    memcpy(x.gpr, s.gpr, sizeof(x.gpr));
    device_log[0] = 0;
    return emulate_cached(&b, &cache, &s, &x, value);
}

#define LENGTH(n) (VCPU_RUN_ADVANCE | (n) << VCPU_RUN_LENGTH_SHIFT)

static void test_cached(void **state)
{
    u64 value = 0;

    (void)state;
    set_pte(0x9000, DEVICE | 7);
    s.gpr[GPR_RDI] = 0x9010;
    s.gpr[GPR_RBX] = 0x1111222233334444;
    device_data[0x10] = 0x42;
    s.rip = 0x10000;
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value), 0); /* not met yet */
    assert_int_equal(RUN("\x8a\x1f", 0x10000), EMULATE_DONE);  /* mov bl, [rdi] */
    s.gpr[GPR_RBX] = 0x1111222233334444;
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value),
                     LENGTH(2) | VCPU_RUN_VALUE | GPR_RBX << VCPU_RUN_GPR_SHIFT);
    assert_true(value == 0x1111222233334442);
    assert_string_equal(device_log, "r1@10");
    assert_int_equal(RUN("\xc7\x47\x04\x78\x56\x34\x12", 0x10004), EMULATE_DONE);
    assert_int_equal(cached(0x14, VX_ACCESS_WRITE, &value), LENGTH(7));
    assert_string_equal(device_log, "w4@14");
    s.rip = 0x10000; /* still there */
    assert_true(cached(0x10, VX_ACCESS_READ, &value) != 0);

    /* what must not be done the short way */
    s.rip = 0x10004;
    assert_int_equal(cached(0x14, VX_ACCESS_READ, &value), 0);  /* not checked for writing */
    assert_int_equal(cached(0x10, VX_ACCESS_WRITE, &value), 0); /* not the operand's address */
    assert_int_equal(cached(0x14, VX_ACCESS_WRITE | VX_ACCESS_WALK, &value), 0);
    assert_int_equal(cached(0x14, VX_ACCESS_WRITE | VX_ACCESS_EVENT, &value), 0);
    s.gpr[GPR_RDI] = 0x9012; /* misaligned */
    assert_int_equal(cached(0x16, VX_ACCESS_WRITE, &value), 0);
    s.gpr[GPR_RDI] = 0x9010;
    s.cr3 = 0x5000;
    assert_int_equal(cached(0x14, VX_ACCESS_WRITE, &value), 0);
    s.cr3 = 0x1000;
    b.ram.base[0x1000a] ^= 1; /* its last byte */
    assert_int_equal(cached(0x14, VX_ACCESS_WRITE, &value), 0);
    b.ram.base[0x1000a] ^= 1;
    set_pte(0x10000, 0x13007); /* another page is there now */
    assert_int_equal(cached(0x14, VX_ACCESS_WRITE, &value), 0);
    assert_string_equal(device_log, "");
    set_pte(0x10000, 0x10027);
    assert_int_equal(cached(0x14, VX_ACCESS_WRITE, &value), LENGTH(7));
}

/* Reading and writing, with flags; however the CPU calls such an access. */
static void test_cached_arithmetic(void **state)
{
    const u64 flags = VCPU_RUN_FLAGS | (RFLAGS_CF | RFLAGS_AF | RFLAGS_PF | RFLAGS_ZF)
                                           << VCPU_RUN_RFLAGS_SHIFT;
    u64 value = 0;

    (void)state;
    set_pte(0x9000, DEVICE | 7);
    s.gpr[GPR_RDI] = 0x9010;
    s.gpr[GPR_RBX] = 0xff;
    assert_int_equal(RUN("\x00\x1f", 0x10000), EMULATE_DONE); /* add [rdi], bl */
    device_data[0x10] = 1;
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value), LENGTH(2) | flags);
    assert_string_equal(device_log, "r1@10 w1@10");
    assert_int_equal(device_data[0x10], 0);
    device_data[0x10] = 1;
    assert_int_equal(cached(0x10, VX_ACCESS_READ | VX_ACCESS_WRITE, &value), LENGTH(2) | flags);
    /* with RAX for CMPXCHG, whose operand is another */
    s.gpr[GPR_RAX] = 0x5555;
    assert_int_equal(RUN("\x0f\xb0\x1f", 0x10010), EMULATE_DONE); /* cmpxchg [rdi], bl */
    device_data[0x10] = 0x42;
    s.gpr[GPR_RAX] = 0x5555;
    u64 answer = cached(0x10, VX_ACCESS_WRITE, &value);
    assert_true((answer & VCPU_RUN_VALUE) && !(answer & VCPU_RUN_GPR) && value == 0x5542);
    /* AND with an immediate has RSP's number where others have a register */
    assert_int_equal(RUN("\x80\x27\x0f", 0x10020), EMULATE_DONE);
    answer = cached(0x10, VX_ACCESS_WRITE, &value);
    assert_true(answer && !(answer & VCPU_RUN_VALUE) && device_data[0x10] == 2);
}

/* 32-bit code: what it means depends on the mode and the segments' bases, too. */
static void test_cached_code32(void **state)
{
    u64 value = 0;

    (void)state;
    set_pte(0x9000, DEVICE | 7);
    s.seg[SEG_CS].access = 0xc09b; /* compatibility mode */
    s.seg[SEG_CS].limit = s.seg[SEG_DS].limit = 0xffffffff;
    s.seg[SEG_DS].access = 0xc093;
    s.seg[SEG_DS].base = 0x9000;
    s.gpr[GPR_RDI] = 0x10;
    device_data[0x10] = 0x42;
    assert_int_equal(RUN("\x8b\x1f", 0x10000), EMULATE_DONE); /* mov ebx, [edi] */
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value),
                     LENGTH(2) | VCPU_RUN_VALUE | GPR_RBX << VCPU_RUN_GPR_SHIFT);
    assert_true(value == 0x42);
    const struct vcpu_state good = s;
    s.seg[SEG_DS].base += 4; /* the start of the operand would be in another place */
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value), 0);
    s = good;
    s.seg[SEG_CS].base = 0x1000;
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value), 0);
    s = good;
    s.seg[SEG_CS].access = 0x809b; /* 16-bit code */
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value), 0);
    s = good;
    s.efer = 0; /* PAE paging: three levels */
    assert_int_equal(cached(0x10, VX_ACCESS_READ, &value), 0);
    assert_string_equal(device_log, "");
    s = good;
    assert_true(cached(0x10, VX_ACCESS_READ, &value) != 0);
}

/* A segment's base, RSP, and code near a page's end need the whole state. */
static void test_not_cached(void **state)
{
    static const struct {
        const char *code;
        u8 length;
        u64 rip;
    } cases[] = {
        {"\x0f\xa3\x07", 3, 0x10000}, /* a bit by register */
        {"\xff\x07",     2, 0x10000}, /* keeps CF */
        {"\x11\x07",     2, 0x10000}, /* needs CF */
        {"\x64\x8b\x07", 3, 0x10000}, /* FS */
        {"\x48\x8b\x27", 3, 0x10000}, /* RSP */
        {"\x8b\x07",     2, 0x10ff8}, /* near the page's end */
    };
    u64 value;

    (void)state;
    set_pte(0x9000, DEVICE | 7);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        s.gpr[GPR_RDI] = 0x9010;
        s.gpr[GPR_RSP] = 0x9010;
        assert_int_equal(run(cases[i].code, cases[i].length, cases[i].rip), EMULATE_DONE);
        s.gpr[GPR_RDI] = 0x9010;
        assert_int_equal(cached(0x10, VX_ACCESS_READ | VX_ACCESS_WRITE, &value), 0);
    }
}

static void test_linear(void **state)
{
    (void)state;
    s.seg[SEG_DS].base = s.seg[SEG_FS].base = 0x1234;
    assert_int_equal(operand_linear(&s, SEG_DS, 1).v, 1); /* 64-bit code ignores it */
    assert_int_equal(operand_linear(&s, SEG_FS, 1).v, 0x1235);
    s.seg[SEG_CS].access = 0xc09b;
    assert_int_equal(operand_linear(&s, SEG_DS, 1).v, 0x1235);
    assert_int_equal(operand_linear(&s, SEG_DS, 0xfffffffe).v, 0x1232);
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
        cmocka_unit_test_setup_teardown(test_mmio, setup, teardown),
        cmocka_unit_test_setup_teardown(test_accesses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mmio_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mmio_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mmio_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cached_arithmetic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cached_code32, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_cached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_linear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk_fault, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
