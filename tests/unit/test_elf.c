/* SPDX-License-Identifier: MIT */
/* The ELF reader: what it gives of good files, and everything it refuses. */
/* SOURCES: lib/elf.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/elf.h"

#define FILE_BYTES 512
#define NOTES      368 /* of a file: free */

static u8 file[FILE_BYTES];

static void put(u32 at, u64 value, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++) {
        file[at + i] = (u8)(value >> (8 * i));
    }
}

static void segment64(u32 index, u32 type, u32 flags, u64 offset, u64 vaddr, u64 paddr, u64 filesz,
                      u64 memsz)
{
    u32 at = 64 + 56 * index;

    put(at, type, 4);
    put(at + 4, flags, 4);
    put(at + 8, offset, 8);
    put(at + 16, vaddr, 8);
    put(at + 24, paddr, 8);
    put(at + 32, filesz, 8);
    put(at + 40, memsz, 8);
}

/* A 64-bit executable with two segments to load and one of another kind between them. */
static void make64(void)
{
    memset(file, 0, sizeof(file));
    memcpy(file, "\177ELF\2\1\1", 7);
    put(16, ELF_TYPE_EXEC, 2);
    put(18, ELF_MACHINE_X86_64, 2);
    put(24, 0x400010, 8); /* entry */
    put(32, 64, 8);       /* program headers */
    put(54, 56, 2);
    put(56, 3, 2);
    segment64(0, 1, ELF_SEG_READ | ELF_SEG_EXEC, 0, 0x400000, 0x100000, 256, 256);
    segment64(1, 4, 0, ~0ull, ~0ull, ~0ull, ~0ull, 1); /* a note: of no interest */
    segment64(2, 1, ELF_SEG_READ | ELF_SEG_WRITE, 256, 0x401000, 0x101000, 100, 5000);
}

static void make32(void)
{
    memset(file, 0, sizeof(file));
    memcpy(file, "\177ELF\1\1\1", 7);
    put(16, ELF_TYPE_EXEC, 2);
    put(18, ELF_MACHINE_386, 2);
    put(24, 0x100020, 4);
    put(28, 52, 4);
    put(42, 32, 2);
    put(44, 1, 2);
    put(52, 1, 4);
    put(56, 128, 4);        /* offset */
    put(60, 0xc0000000, 4); /* vaddr */
    put(64, 0x100000, 4);   /* paddr */
    put(68, 16, 4);
    put(72, 32, 4);
    put(76, ELF_SEG_EXEC, 4);
}

static const char *open_exact(struct elf *e, size_t bytes)
{
    static u8 *copy;

    free(copy);
    copy = malloc(bytes ? bytes : 1);
    memcpy(copy, file, bytes);
    return elf_open(e, copy, bytes);
}

static void good64(void **state)
{
    struct elf_segment s;
    struct elf e;
    u32 i = 0;

    (void)state;
    make64();
    assert_null(open_exact(&e, FILE_BYTES));
    assert_true(e.is_64);
    assert_int_equal(e.entry, 0x400010);
    assert_int_equal(e.type, ELF_TYPE_EXEC);
    assert_int_equal(e.machine, ELF_MACHINE_X86_64);
    assert_true(elf_next(&e, &i, &s));
    assert_int_equal(s.offset, 0);
    assert_int_equal(s.vaddr, 0x400000);
    assert_int_equal(s.paddr, 0x100000);
    assert_int_equal(s.file_bytes, 256);
    assert_int_equal(s.memory_bytes, 256);
    assert_int_equal(s.flags, ELF_SEG_READ | ELF_SEG_EXEC);
    assert_true(elf_next(&e, &i, &s));
    assert_int_equal(s.offset, 256);
    assert_int_equal(s.file_bytes, 100);
    assert_int_equal(s.memory_bytes, 5000);
    assert_false(elf_next(&e, &i, &s));
    assert_false(elf_next(&e, &i, &s));
}

static void good32(void **state)
{
    struct elf_segment s;
    struct elf e;
    u32 i = 0;

    (void)state;
    make32();
    assert_null(open_exact(&e, FILE_BYTES));
    assert_false(e.is_64);
    assert_int_equal(e.entry, 0x100020);
    assert_int_equal(e.machine, ELF_MACHINE_386);
    assert_true(elf_next(&e, &i, &s));
    assert_int_equal(s.offset, 128);
    assert_int_equal(s.vaddr, 0xc0000000);
    assert_int_equal(s.paddr, 0x100000);
    assert_int_equal(s.file_bytes, 16);
    assert_int_equal(s.memory_bytes, 32);
    assert_false(elf_next(&e, &i, &s));
    put(18, ELF_MACHINE_X86_64, 2);
    assert_null(open_exact(&e, FILE_BYTES));
}

/* Up to its last byte a segment may be what it likes. */
static void edges(void **state)
{
    struct elf e;

    (void)state;
    make64();
    segment64(2, 1, 0, FILE_BYTES, 0xffffffffffffff00, 0, 0, 0xff);
    assert_null(open_exact(&e, FILE_BYTES));
    make32();
    put(60, 0xffffffe0, 4);
    put(64, 0xffffffe0, 4);
    assert_null(open_exact(&e, FILE_BYTES));
    make64();
    put(54, 64, 2); /* larger entries than known ones are fine */
    put(56, 1, 2);
    assert_null(open_exact(&e, FILE_BYTES));
}

static const struct wrong {
    u32 at;
    u64 value;
    u32 bytes;
    const char *message;
} wrongs[] = {
    {0,       'x',              1, "not an ELF file"         },
    {4,       3,                1, "unknown class"           },
    {4,       0,                1, "unknown class"           },
    {5,       2,                1, "byte order"              },
    {6,       0,                1, "version"                 },
    {16,      1,                2, "no executable"           },
    {16,      4,                2, "no executable"           },
    {18,      40,               2, "another kind of CPU"     },
    {18,      ELF_MACHINE_386,  2, "another kind of CPU"     }, /* in a 64-bit file */
    {32,      FILE_BYTES,       8, "program headers"         },
    {32,      ~0ull,            8, "program headers"         },
    {54,      55,               2, "program headers"         },
    {54,      0,                2, "program headers"         },
    {56,      0,                2, "no segment"              },
    {56,      9,                2, "program headers"         },
    {56,      0xffff,           2, "program headers"         },
    {64,      2,                4, NULL                      }, /* not to be loaded: fine, there is another */
    {64 + 8,  FILE_BYTES - 255, 8, "cut off"                 },
    {64 + 8,  ~0ull,            8, "cut off"                 },
    {64 + 32, FILE_BYTES + 1,   8, "cut off"                 },
    {64 + 32, ~0ull,            8, "cut off"                 },
    {64 + 40, 255,              8, "larger in the file"      },
    {64 + 40, ~0ull,            8, "end of the address space"},
    {64 + 16, ~0ull - 254,      8, "end of the address space"},
    {64 + 24, ~0ull - 254,      8, "end of the address space"},
};

static void every_error(void **state)
{
    struct elf e;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(wrongs); i++) {
        const struct wrong *w = &wrongs[i];
        const char *message;

        make64();
        put(w->at, w->value, w->bytes);
        message = open_exact(&e, FILE_BYTES);
        if (!message != !w->message || (message && !strstr(message, w->message))) {
            fail_msg("case %u: %s, wanted %s", i, message, w->message);
        }
    }
    make32();
    put(72, 0xf0000000, 4);
    assert_non_null(strstr(open_exact(&e, FILE_BYTES), "end of the address space"));
    make32();
    put(64, 0xfffffff0, 4);
    assert_non_null(strstr(open_exact(&e, FILE_BYTES), "end of the address space"));
}

static void every_length(void **state)
{
    struct elf e;

    (void)state;
    make64();
    for (size_t n = 0; n < 356; n++) {
        assert_non_null(open_exact(&e, n));
    }
    assert_null(open_exact(&e, 356));
    make32();
    for (size_t n = 0; n < 144; n++) {
        assert_non_null(open_exact(&e, n));
    }
    assert_null(open_exact(&e, 144));
}

/* A note: its owner's name and its contents. */
static u32 note(u32 at, const char *owner, u32 type, u64 value, u32 bytes)
{
    u32 length = (u32)strlen(owner) + 1;

    put(at, length, 4);
    put(at + 4, bytes, 4);
    put(at + 8, type, 4);
    memcpy(file + at + 12, owner, length);
    put(at + 12 + ALIGN_UP(length, 4u), value, bytes);
    return at + 12 + ALIGN_UP(length, 4u) + ALIGN_UP(bytes, 4u);
}

static void notes(void **state)
{
    u64 value = 1;
    struct elf e;
    u32 end;

    (void)state;
    make64();
    assert_null(open_exact(&e, FILE_BYTES));
    assert_false(elf_note(&e, "Xen", 18, &value)); /* the note segment lies outside the file */
    end = note(NOTES, "Linux", 18, 2, 8);
    end = note(end, "Xen", 17, 3, 8);
    end = note(end, "Xen", 18, 4, 3); /* another size */
    end = note(end, "Xen", 18, 5, 4);
    end = note(end, "Xen", 18, 6, 8);
    segment64(1, 4, 0, NOTES, 0, 0, end - NOTES, end - NOTES);
    assert_null(open_exact(&e, FILE_BYTES));
    assert_true(elf_note(&e, "Xen", 18, &value));
    assert_int_equal(value, 5); /* the first that fits, and no more than its bytes */
    assert_true(elf_note(&e, "Linux", 18, &value));
    assert_int_equal(value, 2);
    assert_false(elf_note(&e, "Xe", 18, &value));
    assert_false(elf_note(&e, "Xen", 19, &value));
    for (u32 cut = 0; cut < end - NOTES; cut++) { /* the segment ends within a note */
        segment64(1, 4, 0, NOTES, 0, 0, cut, cut);
        assert_null(open_exact(&e, FILE_BYTES));
        assert_int_equal(elf_note(&e, "Linux", 18, &value), cut >= 12 + 8 + 8);
    }
    segment64(1, 4, 0, FILE_BYTES - 4, 0, 0, 100, 100);
    assert_null(open_exact(&e, FILE_BYTES));
    assert_false(elf_note(&e, "Xen", 18, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good64),      cmocka_unit_test(good32),       cmocka_unit_test(edges),
        cmocka_unit_test(every_error), cmocka_unit_test(every_length), cmocka_unit_test(notes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
