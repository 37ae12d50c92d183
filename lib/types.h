/* SPDX-License-Identifier: MIT */
/* Integer types, address types and the few macros that every part uses. No code. */
#ifndef LIB_TYPES_H
#define LIB_TYPES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/* Addresses of different spaces are different types, so that mixing them does not compile. */
typedef struct gpa {
    u64 v; /* guest-physical */
} gpa_t;
typedef struct gva {
    u64 v; /* guest-linear */
} gva_t;
typedef struct hpa {
    u64 v; /* host-physical */
} hpa_t;

#define GPA(x)                ((gpa_t){(x)})
#define GVA(x)                ((gva_t){(x)})
#define HPA(x)                ((hpa_t){(x)})

#define BIT(n)                (1ull << (n))
#define FIELD(hi, lo)         ((~0ull >> (63 - (hi))) & (~0ull << (lo))) /* mask of bits hi..lo */

#define PAGE_SHIFT            12
#define PAGE_SIZE             4096ull
#define PAGE_MASK             (PAGE_SIZE - 1)
#define SIZE_2M               (2ull << 20)
#define SIZE_1G               (1ull << 30)

#define ARRAY_SIZE(a)         (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a)        (((x) + ((a)-1)) & ~((a)-1)) /* a is a power of two */
#define ALIGN_DOWN(x, a)      ((x) & ~((a)-1))
#define MIN(a, b)             ((a) < (b) ? (a) : (b))
#define MAX(a, b)             ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))

#define PACKED                __attribute__((packed))
#define ALIGNED(n)            __attribute__((aligned(n)))
#define NORETURN              __attribute__((noreturn))
#define NOINLINE              __attribute__((noinline))
#define UNUSED                __attribute__((unused)) /* a parameter that others of its kind need */
#define MUST_CHECK            __attribute__((warn_unused_result))
#define PRINTF(f, a)          __attribute__((format(printf, f, a)))
#define LIKELY(x)             __builtin_expect(!!(x), 1)
#define UNLIKELY(x)           __builtin_expect(!!(x), 0)

#endif
