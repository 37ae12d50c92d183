/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/decode.c */
/* LIBS: Zydis */
/* The decoder: a table of encodings with their meaning, what is refused and how, and every opcode
 * with every ModRM byte and many prefixes against another decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/zydis_check.h"
#include "vmm/machine/decode.h"

/* Registers hold 0x1000 * (index + 1). */
static void registers(u64 gpr[GPR_COUNT])
{
    for (u32 i = 0; i < GPR_COUNT; i++) {
        gpr[i] = 0x1000 * (i + 1);
    }
}

#define RIP 0x400000

static void test_table(void **state)
{
    static const struct {
        u8 code;
        const char *bytes;
        u8 length;
        u8 form, memory, reg_bytes, reg, seg;
        u64 offset;
    } cases[] = {
  /* 64-bit code */
        {8, "\x88\x07",                             2, INSN_MEM_REG, 1, 1, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x89\x07",                             2, INSN_MEM_REG, 4, 4, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x66\x89\x07",                         3, INSN_MEM_REG, 2, 2, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x48\x89\x1f",                         3, INSN_MEM_REG, 8, 8, GPR_RBX, SEG_DS, 0x8000             },
        {8, "\x66\x48\x89\x1f",                     4, INSN_MEM_REG, 8, 8, GPR_RBX, SEG_DS, 0x8000             },
        {8, "\x48\x66\x89\x1f",                     4, INSN_MEM_REG, 2, 2, GPR_RBX, SEG_DS, 0x8000             },
        {8, "\x8a\x27",                             2, INSN_REG_MEM, 1, 1, GPR_RAX, SEG_DS, 0x8000             }, /* AH */
        {8, "\x40\x8a\x27",                         3, INSN_REG_MEM, 1, 1, GPR_RSP, SEG_DS, 0x8000             }, /* SPL */
        {8, "\x8b\x44\x24\x10",                     4, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_SS, 0x5010             },
        {8, "\x8b\x45\xf8",                         3, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_SS, 0x5ff8             },
        {8, "\x41\x8b\x45\xf8",                     4, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, 0xdff8             },
        {8, "\x8b\x05\x10\x00\x00\x00",             6, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, RIP + 0x16         },
        {8, "\x8b\x04\x25\x00\x00\x00\x80",         7, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS,
         0xffffffff80000000                                                                                    },
        {8, "\x67\x8b\x04\x25\x00\x00\x00\x80",     8, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, 0x80000000         },
        {8, "\x8b\x84\xc8\x00\x00\x00\x01",         7, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS,
         0x1000 + 0x2000 * 8 + 0x1000000                                                                       },
        {8, "\x42\x8b\x04\x20",                     4, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, 0x1000 + 0xd000    },
        {8, "\x64\x8b\x07",                         3, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_FS, 0x8000             },
        {8, "\x65\x2e\x8b\x07",                     4, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_GS, 0x8000             },
        {8, "\xa1\x01\x02\x03\x04\x05\x06\x07\x08", 9, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS,
         0x0807060504030201                                                                                    },
        {8, "\x67\xa0\x01\x02\x03\x84",             6, INSN_REG_MEM, 1, 1, GPR_RAX, SEG_DS, 0x84030201         },
        {8, "\xc7\x07\x01\x02\x03\x84",             6, INSN_MEM_IMM, 4, 4, 0,       SEG_DS, 0x8000             },
        {8, "\x48\xc7\x07\x01\x02\x03\x84",         7, INSN_MEM_IMM, 8, 8, 0,       SEG_DS, 0x8000             },
        {8, "\x66\xc7\x07\x01\x02",                 5, INSN_MEM_IMM, 2, 2, 0,       SEG_DS, 0x8000             },
        {8, "\xc6\x07\x84",                         3, INSN_MEM_IMM, 1, 1, 0,       SEG_DS, 0x8000             },
        {8, "\x0f\xb6\x07",                         3, INSN_REG_MEM, 1, 4, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x4c\x0f\xbf\x3f",                     4, INSN_REG_MEM, 2, 8, GPR_R15, SEG_DS, 0x8000             },
        {8, "\x66\x0f\xbe\x07",                     4, INSN_REG_MEM, 1, 2, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\xf3\x8b\x07",                         3, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, 0x8000             },
 /* 32-bit code */
        {4, "\x8b\x05\x10\x00\x00\xfe",             6, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, 0xfe000010         },
        {4, "\xa3\x01\x02\x03\x84",                 5, INSN_MEM_REG, 4, 4, GPR_RAX, SEG_DS, 0x84030201         },
        {4, "\x67\x89\x00",                         3, INSN_MEM_REG, 4, 4, GPR_RAX, SEG_DS, 0x4000 + 0x7000    },
        {4, "\x26\x8b\x07",                         3, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_ES, 0x8000             },
        {4, "\x3e\x8b\x45\x00",                     4, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, 0x6000             },
        {4, "\x2e\x8b\x07",                         3, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_CS, 0x8000             },
        {4, "\x36\x8b\x07",                         3, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_SS, 0x8000             },
 /* 16-bit code */
        {2, "\x8b\x07",                             2, INSN_REG_MEM, 2, 2, GPR_RAX, SEG_DS, 0x4000             },
        {2, "\x66\x8b\x07",                         3, INSN_REG_MEM, 4, 4, GPR_RAX, SEG_DS, 0x4000             },
        {2, "\x8b\x06\x34\x92",                     4, INSN_REG_MEM, 2, 2, GPR_RAX, SEG_DS, 0x9234             },
        {2, "\x8b\x42\xff",                         3, INSN_REG_MEM, 2, 2, GPR_RAX, SEG_SS, 0x6000 + 0x7000 - 1},
        {2, "\x8b\x82\xff\xff",                     4, INSN_REG_MEM, 2, 2, GPR_RAX, SEG_SS, 0x6000 + 0x7000 - 1},
        {2, "\x67\x8b\x04\x24",                     4, INSN_REG_MEM, 2, 2, GPR_RAX, SEG_SS, 0x5000             },
        {2, "\xa1\x34\x92",                         3, INSN_REG_MEM, 2, 2, GPR_RAX, SEG_DS, 0x9234             },
    };
    u64 gpr[GPR_COUNT];

    (void)state;
    registers(gpr);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        u8 bytes[DECODE_MAX_BYTES] = {0};
        struct insn insn;
        memcpy(bytes, cases[i].bytes, cases[i].length);
        assert_int_equal(decode(bytes, 15, cases[i].code, &insn), DECODE_OK);
        assert_int_equal(insn.length, cases[i].length);
        assert_int_equal(insn.op, INSN_MOV);
        assert_int_equal(insn.form, cases[i].form);
        assert_int_equal(insn.memory_bytes, cases[i].memory);
        assert_int_equal(insn.bytes, cases[i].reg_bytes);
        assert_int_equal(insn.reg, cases[i].reg);
        assert_int_equal(insn.seg, cases[i].seg);
        assert_true(decode_offset(&insn, gpr, RIP) == cases[i].offset);
        for (u32 n = 0; n < insn.length; n++) {
            assert_int_equal(decode(bytes, n, cases[i].code, &insn), DECODE_SHORT);
        }
    }
}

static void test_operations(void **state)
{
    static const struct {
        const char *bytes;
        u8 length;
        u8 op, form, access;
    } cases[] = {
        {"\x00\x07",                 2, INSN_ADD,     INSN_MEM_REG, INSN_READS | INSN_WRITES},
        {"\x0b\x07",                 2, INSN_OR,      INSN_REG_MEM, INSN_READS              },
        {"\x39\x07",                 2, INSN_CMP,     INSN_MEM_REG, INSN_READS              },
        {"\x81\x27\x01\x02\x03\x04", 6, INSN_AND,     INSN_MEM_IMM, INSN_READS | INSN_WRITES},
        {"\x83\x3f\x01",             3, INSN_CMP,     INSN_MEM_IMM, INSN_READS              },
        {"\x85\x07",                 2, INSN_TEST,    INSN_MEM_REG, INSN_READS              },
        {"\x87\x07",                 2, INSN_XCHG,    INSN_MEM_REG, INSN_READS | INSN_WRITES},
        {"\xf6\x07\x01",             3, INSN_TEST,    INSN_MEM_IMM, INSN_READS              },
        {"\xf7\x17",                 2, INSN_NOT,     INSN_MEM,     INSN_READS | INSN_WRITES},
        {"\xf0\xff\x07",             3, INSN_INC,     INSN_MEM,     INSN_READS | INSN_WRITES},
        {"\xfe\x0f",                 2, INSN_DEC,     INSN_MEM,     INSN_READS | INSN_WRITES},
        {"\xf0\x0f\xab\x07",         4, INSN_BTS,     INSN_MEM_REG, INSN_READS | INSN_WRITES},
        {"\x0f\xba\x27\x05",         4, INSN_BT,      INSN_MEM_IMM, INSN_READS              },
        {"\xf0\x0f\xb1\x07",         4, INSN_CMPXCHG, INSN_MEM_REG, INSN_READS | INSN_WRITES},
        {"\x0f\xc1\x07",             3, INSN_XADD,    INSN_MEM_REG, INSN_READS | INSN_WRITES},
        {"\x0f\xc3\x07",             3, INSN_MOV,     INSN_MEM_REG, INSN_WRITES             },
        {"\x0f\x38\xf0\x07",         4, INSN_MOVBE,   INSN_REG_MEM, INSN_READS              },
        {"\xf3\xa5",                 2, INSN_MOVS,    INSN_STRING,  INSN_READS | INSN_WRITES},
        {"\xaa",                     1, INSN_STOS,    INSN_STRING,  INSN_WRITES             },
        {"\xac",                     1, INSN_LODS,    INSN_STRING,  INSN_READS              },
        {"\xf2\xae",                 2, INSN_SCAS,    INSN_STRING,  INSN_READS              },
        {"\xf3\x6f",                 2, INSN_OUTS,    INSN_STRING,  INSN_READS              },
    };
    struct insn insn;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        u8 bytes[DECODE_MAX_BYTES] = {0};
        memcpy(bytes, cases[i].bytes, cases[i].length);
        assert_int_equal(decode(bytes, 15, 8, &insn), DECODE_OK);
        assert_int_equal(insn.length, cases[i].length);
        assert_int_equal(insn.op, cases[i].op);
        assert_int_equal(insn.form, cases[i].form);
        assert_int_equal(insn.access, cases[i].access);
    }
}

static void test_refused(void **state)
{
    static const struct {
        u8 code;
        enum decode_status status;
        const char *bytes;
        u32 length;
    } cases[] = {
        {8, DECODE_UNKNOWN,   "\x89\xc7",                     2 }, /* between registers */
        {8, DECODE_UNKNOWN,   "\xc7\x0f",                     2 }, /* group 11, not /0 */
        {8, DECODE_UNKNOWN,   "\x0f\x10\x07",                 3 }, /* MOVUPS */
        {8, DECODE_UNKNOWN,   "\xff\x17",                     2 }, /* CALL */
        {8, DECODE_UNKNOWN,   "\x66\x0f\xc3\x07",             4 }, /* no MOVNTI */
        {8, DECODE_UNKNOWN,   "\xf2\x0f\x38\xf0\x07",         5 }, /* CRC32 */
        {4, DECODE_UNKNOWN,   "\x63\x07",                     2 }, /* ARPL */
        {8, DECODE_UNKNOWN,   "\xc5\xf8\x10\x07",             4 }, /* VEX */
        {8, DECODE_UNDEFINED, "\xf0\x89\x07",                 3 }, /* LOCK MOV */
        {8, DECODE_UNDEFINED, "\xf0\x03\x07",                 3 }, /* to a register */
        {8, DECODE_UNDEFINED, "\xf0\x39\x07",                 3 }, /* LOCK CMP */
        {8, DECODE_UNDEFINED, "\xf0\x0f\xa3\x07",             4 }, /* LOCK BT */
        {8, DECODE_UNDEFINED, "\xf0\xa4",                     2 }, /* LOCK MOVS */
        {8, DECODE_UNDEFINED, "\xf0\x01\xc7",                 3 }, /* LOCK between registers */
        {8, DECODE_UNDEFINED, "\x82\x07\x01",                 3 }, /* not in 64-bit code */
        {4, DECODE_OK,        "\x82\x07\x01",                 3 },
        {8, DECODE_TOO_LONG,  "fffffffffffffff",              15}, /* prefixes and nothing else */
        {8, DECODE_TOO_LONG,  "fffffffffffff\x89\x45\x00",    16},
        {8, DECODE_OK,        "ffffffffffff\x89\x45\x00",     15},
        {8, DECODE_TOO_LONG,  "ffffffffffff\x81\x07\x00\x00", 16},
    };
    struct insn insn;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        u8 bytes[16] = {0};
        memcpy(bytes, cases[i].bytes, cases[i].length);
        assert_int_equal(decode(bytes, 16, cases[i].code, &insn), cases[i].status);
        assert_int_equal(decode(bytes, 0, cases[i].code, &insn), DECODE_SHORT);
    }
}

/* A bit test's register moves the address by whole operands, down too. */
static void test_bit_offset(void **state)
{
    static const struct {
        const char *bytes;
        u64 bit, offset;
    } cases[] = {
        {"\x0f\xab\x0f",     0,                  0x8000             },
        {"\x0f\xab\x0f",     31,                 0x8000             },
        {"\x0f\xab\x0f",     32,                 0x8004             },
        {"\x0f\xab\x0f",     0xffffffff,         0x7ffc             }, /* -1 */
        {"\x48\x0f\xab\x0f", 0xffffffff,         0x8000 + 0x1ffffff8},
        {"\x48\x0f\xab\x0f", 0xffffffffffffffff, 0x7ff8             },
        {"\x66\x0f\xab\x0f", 0x12340010,         0x8002             },
        {"\x66\x0f\xab\x0f", 0x8000,             0x7000             },
        {"\x0f\xba\x2f\xff", 0xffff,             0x8000             }, /* an immediate does not */
    };
    u64 gpr[GPR_COUNT];
    struct insn insn;

    (void)state;
    registers(gpr);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(decode((const u8 *)cases[i].bytes, (u32)strlen(cases[i].bytes), 8, &insn),
                         DECODE_OK);
        gpr[GPR_RCX] = cases[i].bit;
        assert_true(decode_offset(&insn, gpr, RIP) == cases[i].offset);
    }
}

/* Every opcode of the three maps, every ModRM byte, some SIB bytes, and every set of up to three of
 * these prefixes. */
static void test_against_zydis(void **state)
{
    static const u8 prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x40, 0x44, 0x4b, 0x4f};
    static const u8 sibs[] = {0x00, 0x25, 0x64, 0xa5, 0xed};
    static const u8 codes[] = {2, 4, 8};
    const u32 n = ARRAY_SIZE(prefixes);
    u32 known = 0;

    (void)state;
    for (u32 set = 0; set < (n + 1) * (n + 1); set++) {
        for (u32 opcode = 0; opcode < 3 * 256; opcode++) {
            for (u32 modrm = 0; modrm < 256; modrm += 1 + set % 3) {
                u8 bytes[16], *at = bytes;
                struct insn insn = {0};
                memset(bytes, 0x91, sizeof(bytes));
                if (set % (n + 1) < n) {
                    *at++ = prefixes[set % (n + 1)];
                }
                if (set / (n + 1) < n) {
                    *at++ = prefixes[set / (n + 1)];
                }
                if (opcode >= 256) {
                    *at++ = 0x0f;
                }
                if (opcode >= 512) {
                    *at++ = 0x38;
                }
                *at++ = (u8)opcode;
                *at++ = (u8)modrm;
                *at++ = sibs[(modrm + set) % ARRAY_SIZE(sibs)];
                u8 code = codes[(set + opcode + modrm) % 3];
                enum decode_status status = decode(bytes, 15, code, &insn);
                known += zydis_check(bytes, 15, code, status, &insn);
            }
        }
    }
    assert_true(known > 500000);
}

/* Instructions without a memory operand: length and register. */
static void test_system(void **state)
{
    static const struct {
        u8 code;
        const char *bytes;
        u8 count, length, reg;
    } cases[] = {
        {8, "\x0f\xa2",                                                     2,  2,  0      },
        {8, "\x0f\x32\xcc",                                                 3,  2,  0      },
        {8, "\x0f\x30",                                                     2,  2,  0      },
        {8, "\xf4",                                                         1,  1,  0      },
        {8, "\xf1",                                                         1,  1,  0      },
        {8, "\x0f\x01\xd9",                                                 3,  3,  1      },
        {8, "\x66\xf3\x48\x0f\x01\xd1",                                     6,  6,  1      },
        {8, "\x0f\x22\xe3",                                                 3,  3,  GPR_RBX},
        {8, "\x41\x0f\x22\xe7",                                             4,  4,  GPR_R15},
        {8, "\x41\x66\x0f\x20\xe7",                                         5,  5,  GPR_RDI}, /* the REX is not right before the opcode */
        {4, "\x0f\x20\xe0",                                                 3,  3,  GPR_RAX},
        {2, "\x66\x67\x0f\x09",                                             4,  4,  0      },
        {8, "\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x0f\x08", 15, 15, 0      },
    };
    struct insn insn;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        const u8 *bytes = (const u8 *)cases[i].bytes;
        assert_int_equal(decode_system(bytes, cases[i].count, cases[i].code, &insn), DECODE_OK);
        assert_int_equal(insn.length, cases[i].length);
        assert_int_equal(insn.reg, cases[i].reg);
        for (u32 n = 0; n < cases[i].length; n++) {
            assert_int_equal(decode_system(bytes, n, cases[i].code, &insn), DECODE_SHORT);
        }
    }
    assert_int_equal(decode_system((const u8 *)"\x0f\x05", 2, 8, &insn), DECODE_UNKNOWN);
    assert_int_equal(decode_system((const u8 *)"\x90", 1, 8, &insn), DECODE_UNKNOWN);
    assert_int_equal(decode_system((const u8 *)"\x41\xf4", 2, 4, &insn), DECODE_UNKNOWN);
    assert_int_equal(decode_system((const u8 *)"ffffffffffffffff", 16, 8, &insn), DECODE_TOO_LONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),         cmocka_unit_test(test_operations),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_bit_offset),
        cmocka_unit_test(test_against_zydis), cmocka_unit_test(test_system),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
