/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/manager/edit.c */
/* Any bytes typed at the monitor. */

#include "vmm/manager/edit.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct edit e = {0};
    size_t since = 0; /* bytes of this line */

    for (size_t i = 0; i < size; i++) {
        u8 c = data[i];
        bool ends = c == '\r' || c == '\n';
        u32 before = e.count;
        enum edit_result result = edit_feed(&e, c);

        since++;
        CHECK(e.count < EDIT_BYTES);
        CHECK((result != EDIT_MORE) == ends); /* nothing takes a line's end away, or makes one up */
        if (!ends) {
            CHECK(e.count <= before + 1);
            continue;
        }
        CHECK(e.count == 0 && !e.too_long);
        size_t n = 0;
        for (; n < EDIT_BYTES && e.text[n]; n++) {
            CHECK(e.text[n] >= ' ' && e.text[n] <= '~');
        }
        CHECK(n < since && n < EDIT_BYTES);
        CHECK(n == before || result == EDIT_TOO_LONG); /* no cut line is ever obeyed */
        CHECK(result != EDIT_TOO_LONG || (n == 0 && since > EDIT_BYTES));
        since = 0;
    }
    return 0;
}
