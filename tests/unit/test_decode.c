/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/decode.c */
/* The decoder of moves: a table of encodings with their meaning, and every encoding against objdump. */
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
        u8 code, bytes[16], length;
        u8 kind, memory, reg_bytes, reg, seg;
        u64 offset;
    } cases[] = {
        /* 64-bit code */
        {8, {0x88, 0x07}, 2, INSN_STORE, 1, 1, GPR_RAX, SEG_DS, 0x8000},
        {8, {0x89, 0x07}, 2, INSN_STORE, 4, 4, GPR_RAX, SEG_DS, 0x8000},
        {8, {0x66, 0x89, 0x07}, 3, INSN_STORE, 2, 2, GPR_RAX, SEG_DS, 0x8000},
        {8, {0x48, 0x89, 0x1f}, 3, INSN_STORE, 8, 8, GPR_RBX, SEG_DS, 0x8000},
        {8, {0x66, 0x48, 0x89, 0x1f}, 4, INSN_STORE, 8, 8, GPR_RBX, SEG_DS, 0x8000},
        {8, {0x48, 0x66, 0x89, 0x1f}, 4, INSN_STORE, 2, 2, GPR_RBX, SEG_DS, 0x8000},
        {8, {0x8a, 0x27}, 2, INSN_LOAD, 1, 1, GPR_RAX, SEG_DS, 0x8000}, /* AH */
        {8, {0x40, 0x8a, 0x27}, 3, INSN_LOAD, 1, 1, GPR_RSP, SEG_DS, 0x8000}, /* SPL */
        {8, {0x8b, 0x44, 0x24, 0x10}, 4, INSN_LOAD, 4, 4, GPR_RAX, SEG_SS, 0x5010},
        {8, {0x8b, 0x45, 0xf8}, 3, INSN_LOAD, 4, 4, GPR_RAX, SEG_SS, 0x5ff8},
        {8, {0x41, 0x8b, 0x45, 0xf8}, 4, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0xdff8},
        {8, {0x8b, 0x05, 0x10, 0, 0, 0}, 6, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, RIP + 0x16},
        {8, {0x8b, 0x04, 0x25, 0, 0, 0, 0x80}, 7, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS,
         0xffffffff80000000},
        {8, {0x67, 0x8b, 0x04, 0x25, 0, 0, 0, 0x80}, 8, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0x80000000},
        {8, {0x8b, 0x84, 0xc8, 0, 0, 0, 1}, 7, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS,
         0x1000 + 0x2000 * 8 + 0x1000000},
        {8, {0x42, 0x8b, 0x04, 0x20}, 4, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0x1000 + 0xd000},
        {8, {0x64, 0x8b, 0x07}, 3, INSN_LOAD, 4, 4, GPR_RAX, SEG_FS, 0x8000},
        {8, {0x65, 0x2e, 0x8b, 0x07}, 4, INSN_LOAD, 4, 4, GPR_RAX, SEG_GS, 0x8000},
        {8, {0xa1, 1, 2, 3, 4, 5, 6, 7, 8}, 9, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0x0807060504030201},
        {8, {0x67, 0xa0, 1, 2, 3, 0x84}, 6, INSN_LOAD, 1, 1, GPR_RAX, SEG_DS, 0x84030201},
        {8, {0xc7, 0x07, 1, 2, 3, 0x84}, 6, INSN_STORE_IMM, 4, 4, 0, SEG_DS, 0x8000},
        {8, {0x48, 0xc7, 0x07, 1, 2, 3, 0x84}, 7, INSN_STORE_IMM, 8, 8, 0, SEG_DS, 0x8000},
        {8, {0x66, 0xc7, 0x07, 1, 2}, 5, INSN_STORE_IMM, 2, 2, 0, SEG_DS, 0x8000},
        {8, {0xc6, 0x07, 0x84}, 3, INSN_STORE_IMM, 1, 1, 0, SEG_DS, 0x8000},
        {8, {0x0f, 0xb6, 0x07}, 3, INSN_LOAD_ZERO, 1, 4, GPR_RAX, SEG_DS, 0x8000},
        {8, {0x4c, 0x0f, 0xbf, 0x3f}, 4, INSN_LOAD_SIGN, 2, 8, GPR_R15, SEG_DS, 0x8000},
        {8, {0x66, 0x0f, 0xbe, 0x07}, 4, INSN_LOAD_SIGN, 1, 2, GPR_RAX, SEG_DS, 0x8000},
        {8, {0xf3, 0x8b, 0x07}, 3, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0x8000},
        /* 32-bit code */
        {4, {0x8b, 0x05, 0x10, 0, 0, 0xfe}, 6, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0xfe000010},
        {4, {0xa3, 1, 2, 3, 0x84}, 5, INSN_STORE, 4, 4, GPR_RAX, SEG_DS, 0x84030201},
        {4, {0x67, 0x89, 0x00}, 3, INSN_STORE, 4, 4, GPR_RAX, SEG_DS, 0x4000 + 0x7000},
        {4, {0x26, 0x8b, 0x07}, 3, INSN_LOAD, 4, 4, GPR_RAX, SEG_ES, 0x8000},
        {4, {0x3e, 0x8b, 0x45, 0}, 4, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0x6000},
        {4, {0x2e, 0x8b, 0x07}, 3, INSN_LOAD, 4, 4, GPR_RAX, SEG_CS, 0x8000},
        {4, {0x36, 0x8b, 0x07}, 3, INSN_LOAD, 4, 4, GPR_RAX, SEG_SS, 0x8000},
        /* 16-bit code */
        {2, {0x8b, 0x07}, 2, INSN_LOAD, 2, 2, GPR_RAX, SEG_DS, 0x4000},
        {2, {0x66, 0x8b, 0x07}, 3, INSN_LOAD, 4, 4, GPR_RAX, SEG_DS, 0x4000},
        {2, {0x8b, 0x06, 0x34, 0x92}, 4, INSN_LOAD, 2, 2, GPR_RAX, SEG_DS, 0x9234},
        {2, {0x8b, 0x42, 0xff}, 3, INSN_LOAD, 2, 2, GPR_RAX, SEG_SS, 0x6000 + 0x7000 - 1},
        {2, {0x8b, 0x82, 0xff, 0xff}, 4, INSN_LOAD, 2, 2, GPR_RAX, SEG_SS, 0x6000 + 0x7000 - 1},
        {2, {0x67, 0x8b, 0x04, 0x24}, 4, INSN_LOAD, 2, 2, GPR_RAX, SEG_SS, 0x5000},
        {2, {0xa1, 0x34, 0x92}, 3, INSN_LOAD, 2, 2, GPR_RAX, SEG_DS, 0x9234},
    };
    u64 gpr[GPR_COUNT];

    (void)state;
    registers(gpr);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct insn insn;
        assert_int_equal(decode(cases[i].bytes, 15, cases[i].code, &insn), DECODE_OK);
        assert_int_equal(insn.length, cases[i].length);
        assert_int_equal(insn.kind, cases[i].kind);
        assert_int_equal(insn.memory_bytes, cases[i].memory);
        assert_int_equal(insn.reg_bytes, cases[i].reg_bytes);
        assert_int_equal(insn.reg, cases[i].reg);
        assert_int_equal(insn.seg, cases[i].seg);
        assert_true(decode_offset(&insn, gpr, RIP) == cases[i].offset);
        for (u32 n = 0; n < insn.length; n++) {
            assert_int_equal(decode(cases[i].bytes, n, cases[i].code, &insn), DECODE_SHORT);
        }
    }
}

static void test_unknown(void **state)
{
    static const u8 cases[][16] = {
        {0x01, 0x07},             /* ADD */
        {0x89, 0xc7},             /* between registers */
        {0xf0, 0x89, 0x07},       /* LOCK MOV is #UD */
        {0xc7, 0x0f},             /* group 11, not /0 */
        {0x0f, 0x10, 0x07},       /* MOVUPS */
        {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66},
        {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x89, 0x45, 0x00},
    };
    struct insn insn;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(decode(cases[i], 15, 8, &insn), DECODE_UNKNOWN);
    }
    assert_int_equal(decode(cases[0], 0, 8, &insn), DECODE_SHORT);
}

static void test_values(void **state)
{
    static const struct {
        u8 bytes[8];
        u64 before, memory, after;
    } loads[] = {
        {{0x8a, 0x07}, 0x1111111111111111, 0xa5, 0x11111111111111a5},             /* AL */
        {{0x8a, 0x27}, 0x1111111111111111, 0xa5, 0x111111111111a511},             /* AH */
        {{0x66, 0x8b, 0x07}, 0x1111111111111111, 0xa5a6, 0x111111111111a5a6},
        {{0x8b, 0x07}, 0x1111111111111111, 0xffffffff, 0xffffffff},
        {{0x48, 0x8b, 0x07}, 0, 0xfedcba9876543210, 0xfedcba9876543210},
        {{0x0f, 0xb6, 0x07}, ~0ull, 0x180, 0x80},
        {{0x0f, 0xbe, 0x07}, 0, 0x80, 0xffffff80},
        {{0x48, 0x0f, 0xbe, 0x07}, 0, 0x80, 0xffffffffffffff80},
        {{0x48, 0x0f, 0xbf, 0x07}, 0, 0x7fff, 0x7fff},
        {{0x66, 0x0f, 0xbe, 0x07}, 0x1111111111111111, 0x80, 0x111111111111ff80},
        {{0x66, 0x0f, 0xb6, 0x07}, 0x1111111111111111, 0x80, 0x1111111111110080},
    };
    static const struct {
        u8 bytes[8];
        u64 value;
    } stores[] = {
        {{0x88, 0x27}, 0x77}, /* AH */
        {{0x88, 0x07}, 0x88},
        {{0x66, 0x89, 0x07}, 0x7788},
        {{0x89, 0x07}, 0x55667788},
        {{0x48, 0x89, 0x07}, 0x1122334455667788},
        {{0xc6, 0x07, 0x84}, 0x84},
        {{0x66, 0xc7, 0x07, 0x02, 0x84}, 0x8402},
        {{0xc7, 0x07, 0x02, 0x03, 0x04, 0x84}, 0x84040302},
        {{0x48, 0xc7, 0x07, 0x02, 0x03, 0x04, 0x84}, 0xffffffff84040302},
    };
    u64 gpr[GPR_COUNT] = {0};
    struct insn insn;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(loads); i++) {
        assert_int_equal(decode(loads[i].bytes, 8, 8, &insn), DECODE_OK);
        gpr[GPR_RAX] = loads[i].before;
        decode_result(&insn, gpr, loads[i].memory);
        assert_true(gpr[GPR_RAX] == loads[i].after);
    }
    for (u32 i = 0; i < ARRAY_SIZE(stores); i++) {
        assert_int_equal(decode(stores[i].bytes, 8, 8, &insn), DECODE_OK);
        gpr[GPR_RAX] = 0x1122334455667788;
        assert_true(decode_source(&insn, gpr) == stores[i].value);
    }
}

/* --- against objdump --- */

#define SLOT 32

/* Each opcode with each ModRM byte, some SIB bytes and prefixes, in a slot padded with NOPs. */
static u32 make_slots(u8 *slots, u32 max)
{
    static const u8 opcodes[][2] = {{0x88}, {0x89}, {0x8a}, {0x8b}, {0xa0}, {0xa1}, {0xa2}, {0xa3},
                                    {0xc6}, {0xc7}, {0x0f, 0xb6}, {0x0f, 0xb7}, {0x0f, 0xbe},
                                    {0x0f, 0xbf}};
    static const u8 prefixes[][3] = {{0}, {0x66}, {0x67}, {0x66, 0x67}, {0x64}, {0x48}, {0x4f},
                                     {0x66, 0x41}, {0x67, 0x4a}};
    static const u8 sibs[] = {0x00, 0x25, 0x64, 0xa5, 0xed};
    u32 n = 0;

    for (u32 p = 0; p < ARRAY_SIZE(prefixes); p++) {
        for (u32 o = 0; o < ARRAY_SIZE(opcodes); o++) {
            for (u32 modrm = 0; modrm < 256; modrm += (modrm & 0x38) == 0x08 ? 0x28 : 1) {
                for (u32 sib = 0; sib < ((modrm & 7) == 4 ? ARRAY_SIZE(sibs) : 1) && n < max; sib++) {
                    u8 *s = slots + n++ * SLOT, *at = s;
                    memset(s, 0x90, SLOT);
                    for (u32 i = 0; i < 3 && prefixes[p][i]; i++) {
                        *at++ = prefixes[p][i];
                    }
                    *at++ = opcodes[o][0];
                    if (opcodes[o][0] == 0x0f) {
                        *at++ = opcodes[o][1];
                    }
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
    } modes[] = {{8, "i386:x86-64"}, {4, "i386"}, {2, "i8086"}};
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
