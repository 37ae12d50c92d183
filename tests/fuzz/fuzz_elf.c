/* SPDX-License-Identifier: MIT */
/* The ELF reader on any bytes: whatever it hands out can be copied without a further check. */
/* SOURCES: lib/elf.c */
#include <string.h>

#include "lib/elf.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile u8 sum;
    struct elf_segment s;
    struct elf e;
    u32 count = 0, i = 0;

    if (elf_open(&e, data, size)) {
        return 0;
    }
    while (elf_next(&e, &i, &s)) {
        count++;
        CHECK(s.memory_bytes > 0 && s.file_bytes <= s.memory_bytes);
        CHECK(s.vaddr + s.memory_bytes >= s.vaddr || s.vaddr + s.memory_bytes == 0);
        CHECK(s.paddr + s.memory_bytes >= s.paddr || s.paddr + s.memory_bytes == 0);
        CHECK(e.is_64 ||
              (s.vaddr + s.memory_bytes <= 1ull << 32 && s.paddr + s.memory_bytes <= 1ull << 32));
        CHECK(s.offset <= size && s.file_bytes <= size - s.offset);
        for (u64 k = 0; k < s.file_bytes && count < 4; k++) {
            sum = (u8)(sum + e.file[s.offset + k]);
        }
    }
    u64 value = 0;
    bool noted = elf_note(&e, "Xen", 18, &value);
    CHECK(noted || !value);
    CHECK(count > 0);
    CHECK(!elf_next(&e, &i, &s));
    return 0;
}
