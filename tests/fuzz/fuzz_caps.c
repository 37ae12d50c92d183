/* SPDX-License-Identifier: MIT */
/* SOURCES: arch/x86/vmx/caps.c */
/*
 * Control words from any values of the capability MSRs: either a sentence says what is missing, or
 * every word keeps to its MSR and has what guests cannot do without.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86/vmx/caps.h"
#include "lib/hw/vmx.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* SDM 3D "VMX Capability Reporting Facility": low half must be 1, high half may be 1. */
static void check_word(u32 word, u64 msr)
{
    u32 must = (u32)msr, may = (u32)(msr >> 32);

    require(!(word & ~may));
    require((word & must) == must);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct vmx_msrs m;
    struct vmx_caps caps;

    if (size < sizeof(m) + 1) {
        return 0;
    }
    memcpy(&m, data, sizeof(m));
    memset(&caps, 0, sizeof(caps));
    bool in_cpuid = data[sizeof(m)] & 1;
    const char *missing = vmx_caps_compute(&caps, &m, in_cpuid);
    if (missing) {
        require(strlen(missing) > 10);
        return 0;
    }
    require(in_cpuid);
    check_word(caps.pin, m.pin);
    check_word(caps.proc, m.proc);
    check_word(caps.proc2, m.proc2);
    check_word(caps.exit, m.exit);
    check_word(caps.entry, m.entry);
    require(caps.proc & PROC_SECONDARY);
    require(caps.proc2 & PROC2_ENABLE_EPT && caps.proc2 & PROC2_UNRESTRICTED);
    require(caps.entry & ENTRY_LOAD_EFER);
    require(caps.ept_levels == 4 && (caps.eptp & FIELD(2, 0)) == 6); /* write-back tables */
    require(caps.timer_shift == (m.misc & 31));
    require(!caps.vpid || caps.proc2 & PROC2_ENABLE_VPID);
    return 0;
}
