/* SPDX-License-Identifier: MIT */
/* SOURCES: drivers/keyboard.c */
/* Any scan codes: every key can be let go, and then all is as at the start but for the locks. */
#include <string.h>

#include "drivers/keyboard.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u32 feed(struct keyboard *k, u8 code, char out[KEYBOARD_MAX])
{
    memset(out, 0xa5, KEYBOARD_MAX);
    u32 n = keyboard_feed(k, code, out);
    CHECK(n <= KEYBOARD_MAX);
    for (u32 i = n; i < KEYBOARD_MAX; i++) {
        CHECK((u8)out[i] == 0xa5);
    }
    for (u32 i = 0; i < n; i++) {
        CHECK(!(out[i] & 0x80));
    }
    CHECK(!(code & 0x80) || n == 0); /* what is let go types nothing */
    return n;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const u8 let_go[] = {0, 0, 0, 0xaa, 0xb6, 0x9d, 0xb8, 0xe0, 0x9d, 0xe0, 0xb8};
    struct keyboard k = {0};
    char out[KEYBOARD_MAX];

    for (size_t i = 0; i < size; i++) {
        feed(&k, data[i], out);
    }
    for (size_t i = 0; i < sizeof(let_go); i++) {
        feed(&k, let_go[i], out);
    }
    CHECK(!k.held && !k.extended && !k.skip);
    CHECK(feed(&k, 0x03, out) == 1 && out[0] == '2');
    return 0;
}
