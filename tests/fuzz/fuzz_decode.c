/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/decode.c */
/* The decoder: whatever the bytes, what it says of them must hang together. Input: a byte that
 * chooses the code size, then the instruction. */
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/decode.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
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
    u64 gpr[GPR_COUNT] = {1, ~0ull, 3, 4, 5, 6};
    struct insn i, again;

    memcpy(bytes, data + 1, count);
    memset(&i, 0, sizeof(i));
    enum decode_status status = decode(bytes, count, code, &i);
    if (status == DECODE_SHORT) {
        check(count < DECODE_MAX_BYTES);
    }
    if (status == DECODE_OK) {
        check(i.length >= 2 && i.length <= DECODE_MAX_BYTES && i.length <= count);
        check(i.kind <= INSN_STORE_IMM && i.seg <= SEG_GS && i.scale <= 3 && i.reg < GPR_COUNT);
        check(i.base == INSN_NO_GPR || i.base < GPR_COUNT);
        check(i.index == INSN_NO_GPR || (i.index < GPR_COUNT && i.index != GPR_RSP));
        check(i.address_bytes == 2 || i.address_bytes == 4 || i.address_bytes == 8);
        check(code == 8 || (i.memory_bytes <= 4 && i.address_bytes <= 4));
        check(code != 8 || i.address_bytes != 2);
        check(decode(bytes, i.length, code, &again) == DECODE_OK && again.length == i.length);
        check(decode(bytes, i.length - 1u, code, &again) == DECODE_SHORT);
        u64 offset = decode_offset(&i, gpr, 0x1000);
        check(i.address_bytes == 8 || offset < BIT(8 * i.address_bytes));
        check(i.memory_bytes == 8 || decode_source(&i, gpr) < BIT(8 * i.memory_bytes));
        decode_result(&i, gpr, ~0ull);
    }
    free(bytes);
    return 0;
}
