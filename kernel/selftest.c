/* SPDX-License-Identifier: MIT */
/* The one thing that ring 3 cannot see for itself: is the kernel's own memory protected? */
#include "kernel/selftest.h"

#include "arch/arch.h"
#include "kernel/frame.h"
#include "lib/format.h"
#include "lib/pagetable.h"

extern const char kernel_text_start[], kernel_rodata_start[];

bool selftest_run(u32 index, struct system_test *out)
{
    static u8 data[1] = {0xc3}; /* RET */
    hpa_t guest = frame_alloc(0, 1);
    u8 *stack = (u8 *)cpu_this()->kernel_rsp - KERNEL_STACK_BYTES;
    const struct {
        const char *what;
        void *address;
        u32 access;
        bool allowed;
    } probes[] = {
        {"a write to code",             (void *)kernel_text_start,   PT_WRITE, false},
        {"a write to constants",        (void *)kernel_rodata_start, PT_WRITE, false},
        {"execution of data",           data,                        PT_EXEC,  false},
        {"a read below the stack",      stack - 8,                   PT_READ,  false},
        {"a read of address 0",         NULL,                        PT_READ,  false},
        {"a read of a guest's frame",   arch_pool_ptr(guest),        PT_READ,  false},
        {"a read of ring 3's memory",   (void *)USER_BASE,           PT_READ,  false},
        {"a write outside of the pool", arch_pool_ptr(HPA(0)),       PT_WRITE, false},
        {"a write to data",             data,                        PT_WRITE, true },
        {"a read of code",              (void *)kernel_text_start,   PT_READ,  true },
    };
    bool known = index < ARRAY_SIZE(probes);

    if (known) {
        bool faults = arch_probe_faults(probes[index].address, probes[index].access);
        out->passed = faults != probes[index].allowed;
        format_buffer(out->name, sizeof(out->name), "%s %s", probes[index].what,
                      probes[index].allowed ? "works" : "faults");
    }
    if (guest.v) {
        frame_free(guest, PAGE_SIZE);
    }
    return known;
}
