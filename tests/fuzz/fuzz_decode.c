/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/decode.c */
/* LIBS: Zydis */
/* The decoder: whatever the bytes, what it says of them must hang together, and be what another
 * decoder says. Input: a byte that chooses the code size, then the instruction. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/zydis_check.h"
#include "vmm/machine/decode.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

static void check_insn(const struct insn *i, const u8 *bytes, u8 code)
{
    u64 gpr[GPR_COUNT] = {1, ~0ull, 3, 4, 5, 6};
    struct insn again;

    check(i->length >= 1 && i->length <= DECODE_MAX_BYTES);
    check(i->op > INSN_NONE && i->op <= INSN_OUTS && i->form <= INSN_STRING);
    check((i->form == INSN_STRING) == (i->op >= INSN_MOVS));
    check(i->access && i->seg <= SEG_GS && i->scale <= 3 && i->reg < GPR_COUNT);
    check(i->base == INSN_NO_GPR || i->base < GPR_COUNT);
    check(i->index == INSN_NO_GPR || (i->index < GPR_COUNT && i->index != GPR_RSP));
    check(i->address_bytes == 2 || i->address_bytes == 4 || i->address_bytes == 8);
    check(i->memory_bytes && i->memory_bytes <= i->bytes && i->bytes <= 8);
    check(code == 8 || (i->bytes <= 4 && i->address_bytes <= 4));
    check(code != 8 || i->address_bytes != 2);
    check(decode(bytes, i->length, code, &again) == DECODE_OK && again.length == i->length);
    for (u32 n = 0; n < i->length; n++) {
        check(decode(bytes, n, code, &again) == DECODE_SHORT);
    }
    u64 offset = decode_offset(i, gpr, 0x1000);
    check(i->address_bytes == 8 || offset < BIT(8 * i->address_bytes));
}

/* The same bytes as an instruction without a memory operand. */
static void check_system(const u8 *bytes, u32 count, u8 code)
{
    struct insn i, again;

    if (decode_system(bytes, count, code, &i) != DECODE_OK) {
        return;
    }
    check(i.length >= 1 && i.length <= MIN(count, DECODE_MAX_BYTES) && i.reg < GPR_COUNT);
    check(code == 8 || i.reg < 8);
    check(decode_system(bytes, i.length, code, &again) == DECODE_OK && again.length == i.length);
    check(decode_system(bytes, i.length - 1u, code, &again) == DECODE_SHORT);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const u8 codes[4] = {2, 4, 8, 8};

    if (!size || size > 64) {
        return 0;
    }
    u8 code = codes[data[0] & 3];
    u32 count = (u32)size - 1;
    u8 *bytes = malloc(size);
    struct insn i;

    memcpy(bytes, data + 1, count);
    memset(&i, 0, sizeof(i));
    enum decode_status status = decode(bytes, count, code, &i);

    check_system(bytes, count, code);
    if (status == DECODE_SHORT || status == DECODE_TOO_LONG) {
        check((status == DECODE_SHORT) == (count < DECODE_MAX_BYTES));
    }
    if (status == DECODE_OK) {
        check(i.length <= count);
        check_insn(&i, bytes, code);
    }
    if (status != DECODE_SHORT) {
        (void)zydis_check(bytes, count, code, status, &i);
    }
    free(bytes);
    return 0;
}
