/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/decode.c */
/* The decoder of moves: a table of encodings with their meaning, and every encoding against
 * objdump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
        u8 kind, memory, reg_bytes, reg, seg;
        u64 offset;
    } cases[] = {
  /* 64-bit code */
        {8, "\x88\x07",                             2, INSN_STORE,     1, 1, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x89\x07",                             2, INSN_STORE,     4, 4, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x66\x89\x07",                         3, INSN_STORE,     2, 2, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x48\x89\x1f",                         3, INSN_STORE,     8, 8, GPR_RBX, SEG_DS, 0x8000             },
        {8, "\x66\x48\x89\x1f",                     4, INSN_STORE,     8, 8, GPR_RBX, SEG_DS, 0x8000             },
        {8, "\x48\x66\x89\x1f",                     4, INSN_STORE,     2, 2, GPR_RBX, SEG_DS, 0x8000             },
        {8, "\x8a\x27",                             2, INSN_LOAD,      1, 1, GPR_RAX, SEG_DS, 0x8000             }, /* AH */
        {8, "\x40\x8a\x27",                         3, INSN_LOAD,      1, 1, GPR_RSP, SEG_DS, 0x8000             }, /* SPL */
        {8, "\x8b\x44\x24\x10",                     4, INSN_LOAD,      4, 4, GPR_RAX, SEG_SS, 0x5010             },
        {8, "\x8b\x45\xf8",                         3, INSN_LOAD,      4, 4, GPR_RAX, SEG_SS, 0x5ff8             },
        {8, "\x41\x8b\x45\xf8",                     4, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, 0xdff8             },
        {8, "\x8b\x05\x10\x00\x00\x00",             6, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, RIP + 0x16         },
        {8, "\x8b\x04\x25\x00\x00\x00\x80",         7, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS,
         0xffffffff80000000                                                                                      },
        {8, "\x67\x8b\x04\x25\x00\x00\x00\x80",     8, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, 0x80000000         },
        {8, "\x8b\x84\xc8\x00\x00\x00\x01",         7, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS,
         0x1000 + 0x2000 * 8 + 0x1000000                                                                         },
        {8, "\x42\x8b\x04\x20",                     4, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, 0x1000 + 0xd000    },
        {8, "\x64\x8b\x07",                         3, INSN_LOAD,      4, 4, GPR_RAX, SEG_FS, 0x8000             },
        {8, "\x65\x2e\x8b\x07",                     4, INSN_LOAD,      4, 4, GPR_RAX, SEG_GS, 0x8000             },
        {8, "\xa1\x01\x02\x03\x04\x05\x06\x07\x08", 9, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS,
         0x0807060504030201                                                                                      },
        {8, "\x67\xa0\x01\x02\x03\x84",             6, INSN_LOAD,      1, 1, GPR_RAX, SEG_DS, 0x84030201         },
        {8, "\xc7\x07\x01\x02\x03\x84",             6, INSN_STORE_IMM, 4, 4, 0,       SEG_DS, 0x8000             },
        {8, "\x48\xc7\x07\x01\x02\x03\x84",         7, INSN_STORE_IMM, 8, 8, 0,       SEG_DS, 0x8000             },
        {8, "\x66\xc7\x07\x01\x02",                 5, INSN_STORE_IMM, 2, 2, 0,       SEG_DS, 0x8000             },
        {8, "\xc6\x07\x84",                         3, INSN_STORE_IMM, 1, 1, 0,       SEG_DS, 0x8000             },
        {8, "\x0f\xb6\x07",                         3, INSN_LOAD_ZERO, 1, 4, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\x4c\x0f\xbf\x3f",                     4, INSN_LOAD_SIGN, 2, 8, GPR_R15, SEG_DS, 0x8000             },
        {8, "\x66\x0f\xbe\x07",                     4, INSN_LOAD_SIGN, 1, 2, GPR_RAX, SEG_DS, 0x8000             },
        {8, "\xf3\x8b\x07",                         3, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, 0x8000             },
 /* 32-bit code */
        {4, "\x8b\x05\x10\x00\x00\xfe",             6, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, 0xfe000010         },
        {4, "\xa3\x01\x02\x03\x84",                 5, INSN_STORE,     4, 4, GPR_RAX, SEG_DS, 0x84030201         },
        {4, "\x67\x89\x00",                         3, INSN_STORE,     4, 4, GPR_RAX, SEG_DS, 0x4000 + 0x7000    },
        {4, "\x26\x8b\x07",                         3, INSN_LOAD,      4, 4, GPR_RAX, SEG_ES, 0x8000             },
        {4, "\x3e\x8b\x45\x00",                     4, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, 0x6000             },
        {4, "\x2e\x8b\x07",                         3, INSN_LOAD,      4, 4, GPR_RAX, SEG_CS, 0x8000             },
        {4, "\x36\x8b\x07",                         3, INSN_LOAD,      4, 4, GPR_RAX, SEG_SS, 0x8000             },
 /* 16-bit code */
        {2, "\x8b\x07",                             2, INSN_LOAD,      2, 2, GPR_RAX, SEG_DS, 0x4000             },
        {2, "\x66\x8b\x07",                         3, INSN_LOAD,      4, 4, GPR_RAX, SEG_DS, 0x4000             },
        {2, "\x8b\x06\x34\x92",                     4, INSN_LOAD,      2, 2, GPR_RAX, SEG_DS, 0x9234             },
        {2, "\x8b\x42\xff",                         3, INSN_LOAD,      2, 2, GPR_RAX, SEG_SS, 0x6000 + 0x7000 - 1},
        {2, "\x8b\x82\xff\xff",                     4, INSN_LOAD,      2, 2, GPR_RAX, SEG_SS, 0x6000 + 0x7000 - 1},
        {2, "\x67\x8b\x04\x24",                     4, INSN_LOAD,      2, 2, GPR_RAX, SEG_SS, 0x5000             },
        {2, "\xa1\x34\x92",                         3, INSN_LOAD,      2, 2, GPR_RAX, SEG_DS, 0x9234             },
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
        assert_int_equal(insn.kind, cases[i].kind);
        assert_int_equal(insn.memory_bytes, cases[i].memory);
        assert_int_equal(insn.reg_bytes, cases[i].reg_bytes);
        assert_int_equal(insn.reg, cases[i].reg);
        assert_int_equal(insn.seg, cases[i].seg);
        assert_true(decode_offset(&insn, gpr, RIP) == cases[i].offset);
        for (u32 n = 0; n < insn.length; n++) {
            assert_int_equal(decode(bytes, n, cases[i].code, &insn), DECODE_SHORT);
        }
    }
}

static void test_unknown(void **state)
{
    static const struct {
        const char *bytes;
        u32 length;
    } cases[] = {
        {"\x01\x07",                2 }, /* ADD */
        {"\x89\xc7",                2 }, /* between registers */
        {"\xf0\x89\x07",            3 }, /* LOCK MOV is #UD */
        {"\xc7\x0f",                2 }, /* group 11, not /0 */
        {"\x0f\x10\x07",            3 }, /* MOVUPS */
        {"fffffffffffffff",         15}, /* operand size prefixes and nothing else */
        {"fffffffffffff\x89\x45\0", 16}, /* one byte too long */
    };
    struct insn insn;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        u8 bytes[16] = {0};
        memcpy(bytes, cases[i].bytes, cases[i].length);
        assert_int_equal(decode(bytes, 15, 8, &insn), DECODE_UNKNOWN);
        assert_int_equal(decode(bytes, 0, 8, &insn), DECODE_SHORT);
    }
}

static void test_values(void **state)
{
    static const struct {
        const char *bytes;
        u64 before, memory, after;
    } loads[] = {
        {"\x8a\x07",         0x1111111111111111, 0xa5,               0x11111111111111a5}, /* AL */
        {"\x8a\x27",         0x1111111111111111, 0xa5,               0x111111111111a511}, /* AH */
        {"\x66\x8b\x07",     0x1111111111111111, 0xa5a6,             0x111111111111a5a6},
        {"\x8b\x07",         0x1111111111111111, 0xffffffff,         0xffffffff        },
        {"\x48\x8b\x07",     0,                  0xfedcba9876543210, 0xfedcba9876543210},
        {"\x0f\xb6\x07",     ~0ull,              0x180,              0x80              },
        {"\x0f\xbe\x07",     0,                  0x80,               0xffffff80        },
        {"\x48\x0f\xbe\x07", 0,                  0x80,               0xffffffffffffff80},
        {"\x48\x0f\xbf\x07", 0,                  0x7fff,             0x7fff            },
        {"\x66\x0f\xbe\x07", 0x1111111111111111, 0x80,               0x111111111111ff80},
        {"\x66\x0f\xb6\x07", 0x1111111111111111, 0x80,               0x1111111111110080},
    };
    static const struct {
        const char *bytes;
        u64 value;
    } stores[] = {
        {"\x88\x27",                     0x77              }, /* AH */
        {"\x88\x07",                     0x88              },
        {"\x66\x89\x07",                 0x7788            },
        {"\x89\x07",                     0x55667788        },
        {"\x48\x89\x07",                 0x1122334455667788},
        {"\xc6\x07\x84",                 0x84              },
        {"\x66\xc7\x07\x02\x84",         0x8402            },
        {"\xc7\x07\x02\x03\x04\x84",     0x84040302        },
        {"\x48\xc7\x07\x02\x03\x04\x84", 0xffffffff84040302},
    };
    u64 gpr[GPR_COUNT] = {0};
    struct insn insn;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(loads); i++) {
        assert_int_equal(decode((const u8 *)loads[i].bytes, (u32)strlen(loads[i].bytes), 8, &insn),
                         DECODE_OK);
        gpr[GPR_RAX] = loads[i].before;
        decode_result(&insn, gpr, loads[i].memory);
        assert_true(gpr[GPR_RAX] == loads[i].after);
    }
    for (u32 i = 0; i < ARRAY_SIZE(stores); i++) {
        assert_int_equal(
            decode((const u8 *)stores[i].bytes, (u32)strlen(stores[i].bytes), 8, &insn), DECODE_OK);
        gpr[GPR_RAX] = 0x1122334455667788;
        assert_true(decode_source(&insn, gpr) == stores[i].value);
    }
}

/* --- against objdump --- */

#define SLOT 32

/* Each opcode with each ModRM byte, some SIB bytes and prefixes, in a slot padded with NOPs. */
static u32 make_slots(u8 *slots, u32 max)
{
    static const u16 opcodes[] = {0x88, 0x89, 0x8a, 0x8b,   0xa0,   0xa1,   0xa2,
                                  0xa3, 0xc6, 0xc7, 0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf};
    static const char *const prefixes[] = {"",     "\x66", "\x67",     "\x66\x67", "\x64",
                                           "\x48", "\x4f", "\x66\x41", "\x67\x4a"};
    static const u8 sibs[] = {0x00, 0x25, 0x64, 0xa5, 0xed};
    u32 n = 0;

    for (u32 p = 0; p < ARRAY_SIZE(prefixes); p++) {
        for (u32 o = 0; o < ARRAY_SIZE(opcodes); o++) {
            for (u32 modrm = 0; modrm < 256; modrm += (modrm & 0x38) == 0x08 ? 0x28 : 1) {
                for (u32 sib = 0; sib < ((modrm & 7) == 4 ? ARRAY_SIZE(sibs) : 1) && n < max;
                     sib++) {
                    u8 *s = slots + n++ * SLOT, *at = s;
                    memset(s, 0x90, SLOT);
                    for (const char *c = prefixes[p]; *c; c++) {
                        *at++ = (u8)*c;
                    }
                    if (opcodes[o] >> 8) {
                        *at++ = (u8)(opcodes[o] >> 8);
                    }
                    *at++ = (u8)opcodes[o];
                    *at++ = (u8)modrm;
                    *at++ = sibs[sib];
                }
            }
        }
    }
    return n;
}

/* Length that objdump gives the first instruction of each slot; 0: not a move between memory and a
 * general register. */
static void ask_objdump(const char *file, const char *machine, u32 *lengths, u32 count)
{
    char command[200], line[512];
    u64 previous = ~0ull;
    bool is_move = false;

    snprintf(command, sizeof(command), "objdump -D -z -b binary -m %s -M intel %s", machine, file);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        unsigned long address;
        char *text = strrchr(line, '\t');
        if (sscanf(line, " %lx:\t", &address) != 1 || !text || text - line < 20) {
            continue; /* bytes of a long instruction go on in lines without text */
        }
        if (previous != ~0ull && previous % SLOT == 0 && previous / SLOT < count) {
            lengths[previous / SLOT] = is_move ? (u32)(address - previous) : 0;
        }
        previous = address;
        is_move = strstr(text, "mov") && (strstr(text, "PTR") || strstr(text, "s:0x")) &&
                  !strstr(text, "(bad)");
    }
    pclose(f);
}

static void test_against_objdump(void **state)
{
    static const struct {
        u8 code;
        const char *machine;
    } modes[] = {
        {8, "i386:x86-64"},
        {4, "i386"       },
        {2, "i8086"      }
    };
    const u32 max = 40000;
    u8 *slots = malloc(max * SLOT);
    u32 *lengths = calloc(max, sizeof(*lengths));
    u32 count = make_slots(slots, max), compared = 0;
    char name[] = "/tmp/test_decode_XXXXXX";
    int fd = mkstemp(name);

    (void)state;
    if (system("command -v objdump >/dev/null") != 0) {
        skip();
    }
    assert_true(count < max);
    assert_int_equal(write(fd, slots, count * SLOT), count * SLOT);
    close(fd);
    for (u32 m = 0; m < ARRAY_SIZE(modes); m++) {
        ask_objdump(name, modes[m].machine, lengths, count - 1);
        for (u32 i = 0; i < count - 1; i++) {
            struct insn insn = {0};
            bool known = decode(slots + i * SLOT, 15, modes[m].code, &insn) == DECODE_OK;
            bool rex_in_old_code = modes[m].code != 8 && (slots[i * SLOT] & 0xf0) == 0x40;
            if (known != (lengths[i] != 0) && !rex_in_old_code) {
                print_message("mode %u slot %u %02x %02x %02x %02x %02x: objdump %u, here %u\n",
                              modes[m].code, i, slots[i * SLOT], slots[i * SLOT + 1],
                              slots[i * SLOT + 2], slots[i * SLOT + 3], slots[i * SLOT + 4],
                              lengths[i], known ? insn.length : 0);
                fail();
            }
            if (known) {
                assert_int_equal(insn.length, lengths[i]);
                compared++;
            }
        }
    }
    unlink(name);
    assert_true(compared > 10000);
    free(slots);
    free(lengths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_against_objdump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
