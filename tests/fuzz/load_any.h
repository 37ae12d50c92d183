/* SPDX-License-Identifier: MIT */
/* Files of any contents as a guest's image. */
#ifndef TESTS_FUZZ_LOAD_ANY_H
#define TESTS_FUZZ_LOAD_ANY_H

#include <stdlib.h>
#include <string.h>

#include "vmm/load/load.h"

static inline void check(bool good)
{
    if (!good) {
        abort();
    }
}

/* Loads size bytes at data as what *r asks for. Was it loaded? If not, a sentence says why; and
 * what is firmware's stays as it is. */
static inline bool load_any(struct load_request *r, const u8 *data, size_t size,
                            struct vcpu_state *state)
{
    static u8 kept[RAM_HIGH - RAM_EBDA];
    struct load_error error = {.text = ""};
    u8 *file = malloc(size); /* exact: any read beyond is seen */

    memcpy(file, data, size);
    r->file.data = file;
    r->file.bytes = size;
    memset(kept, 0x5a, sizeof(kept));
    memcpy(r->ram->base + RAM_EBDA, kept, sizeof(kept));
    bool good = load_image(r, state, &error);
    check(!memcmp(r->ram->base + RAM_EBDA, kept, sizeof(kept)));
    check(good || error.text[0]);
    free(file);
    return good;
}

#endif
