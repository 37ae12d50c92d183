/* SPDX-License-Identifier: MIT */
/*
 * The one door to the current VMCS, and the other VMX instructions. A failing access is our own bug
 * (a field that this CPU lacks, no current VMCS): it stops in the accessor with the field's name.
 */
#ifndef ARCH_X86_VMX_VMCS_H
#define ARCH_X86_VMX_VMCS_H

#include "lib/hw/vmcs.h"
#include "lib/types.h"

/* Panics. Reached from the accessors below by a jump that the compiler does not know of, so a
 * function whose VMCS accesses all succeed has no call in it. */
NORETURN void vmcs_read_failed(u32 field);
NORETURN void vmcs_write_failed(u32 field);

#define VMCS_ON_FAILURE(function)                                                                  \
    "jbe 1f\n\t"                                                                                   \
    ".pushsection .text.unlikely, \"ax\"\n"                                                        \
    "1:\tmovl %k[field], %%edi\n\tcall " #function "\n\t"                                          \
    ".popsection"

static inline u64 vmread(enum vmcs_field field)
{
    u64 value;

    __asm__ volatile("vmread %[field], %[value]\n\t" VMCS_ON_FAILURE(vmcs_read_failed)
                     : [value] "=&r"(value)
                     : [field] "r"((u64)field)
                     : "cc");
    return value;
}

/* For the report of a failure: 0 when this fails, too. */
static inline u64 vmread_anyway(enum vmcs_field field)
{
    u64 value = 0;

    __asm__ volatile("vmread %1, %0" : "+r"(value) : "r"((u64)field) : "cc");
    return value;
}

static inline void vmwrite(enum vmcs_field field, u64 value)
{
    __asm__ volatile("vmwrite %[value], %[field]\n\t" VMCS_ON_FAILURE(vmcs_write_failed)
                     :
                     : [value] "r"(value), [field] "r"((u64)field)
                     : "cc", "memory");
}

/* Accessors by width: a field of another width does not compile. NAME is without VMCS_. */
#define VMCS_CHECK(name, width)                                                                    \
    _Static_assert(VMCS_WIDTH(VMCS_##name) == (width), #name " has another width")
#define vmcs_read16(name)                                                                          \
    ({                                                                                             \
        VMCS_CHECK(name, VMCS_WIDTH_16);                                                           \
        (u16) vmread(VMCS_##name);                                                                 \
    })
#define vmcs_read32(name)                                                                          \
    ({                                                                                             \
        VMCS_CHECK(name, VMCS_WIDTH_32);                                                           \
        (u32) vmread(VMCS_##name);                                                                 \
    })
#define vmcs_read64(name)                                                                          \
    ({                                                                                             \
        VMCS_CHECK(name, VMCS_WIDTH_64);                                                           \
        vmread(VMCS_##name);                                                                       \
    })
#define vmcs_read(name)                                                                            \
    ({                                                                                             \
        VMCS_CHECK(name, VMCS_WIDTH_NATURAL);                                                      \
        vmread(VMCS_##name);                                                                       \
    })
#define vmcs_write16(name, v)                                                                      \
    do {                                                                                           \
        VMCS_CHECK(name, VMCS_WIDTH_16);                                                           \
        vmwrite(VMCS_##name, (u16)(v));                                                            \
    } while (0)
#define vmcs_write32(name, v)                                                                      \
    do {                                                                                           \
        VMCS_CHECK(name, VMCS_WIDTH_32);                                                           \
        vmwrite(VMCS_##name, (u32)(v));                                                            \
    } while (0)
#define vmcs_write64(name, v)                                                                      \
    do {                                                                                           \
        VMCS_CHECK(name, VMCS_WIDTH_64);                                                           \
        vmwrite(VMCS_##name, (v));                                                                 \
    } while (0)
#define vmcs_write(name, v)                                                                        \
    do {                                                                                           \
        VMCS_CHECK(name, VMCS_WIDTH_NATURAL);                                                      \
        vmwrite(VMCS_##name, (v));                                                                 \
    } while (0)

/* Physical addresses of a VMXON region or a VMCS. False: VMfail. */
static inline bool vmxon(hpa_t region)
{
    bool failed;

    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region.v) : "memory");
    return !failed;
}

static inline void vmxoff(void)
{
    __asm__ volatile("vmxoff" ::: "cc", "memory");
}

static inline bool vmclear(hpa_t vmcs)
{
    bool failed;

    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(vmcs.v) : "memory");
    return !failed;
}

static inline bool vmptrld(hpa_t vmcs)
{
    bool failed;

    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs.v) : "memory");
    return !failed;
}

static inline bool invept(u64 type, u64 eptp)
{
    const struct {
        u64 eptp, zero;
    } descriptor = {eptp, 0};
    bool failed;

    __asm__ volatile("invept %1, %2" : "=@ccbe"(failed) : "m"(descriptor), "r"(type) : "memory");
    return !failed;
}

static inline bool invvpid(u64 type, u16 vpid, u64 address)
{
    const struct {
        u64 vpid, address;
    } descriptor = {vpid, address};
    bool failed;

    __asm__ volatile("invvpid %1, %2" : "=@ccbe"(failed) : "m"(descriptor), "r"(type) : "memory");
    return !failed;
}

#endif
