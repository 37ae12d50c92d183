/* SPDX-License-Identifier: MIT */
/* SOURCES: lib/ring.c */
/* A ring whose indices a hostile peer rewrites at will. Input: operations of 5 bytes. */
#include <stdlib.h>
#include <string.h>

#include "lib/ring.h"

#define SIZE 256

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct ring_shared *shared = calloc(1, sizeof(*shared) + SIZE);
    u8 buffer[2 * SIZE] = {0};
    struct ring r;

    ring_init(&r, shared, SIZE);
    for (; size >= 5; data += 5, size -= 5) {
        u32 value;

        memcpy(&value, data + 1, 4);
        switch (data[0] & 3) {
        case 0:
            if (ring_write(&r, buffer, value % sizeof(buffer)) > SIZE) {
                abort();
            }
            break;
        case 1:
            if (ring_read(&r, buffer, value % sizeof(buffer)) > SIZE) {
                abort();
            }
            break;
        case 2:
            shared->head = value;
            break;
        case 3:
            shared->tail = value;
            break;
        }
    }
    free(shared);
    return 0;
}
