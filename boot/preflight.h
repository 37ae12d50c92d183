/* SPDX-License-Identifier: MIT */
/* Can this machine run guests? Pure: what the CPU says comes in, a sentence goes out. */
#ifndef BOOT_PREFLIGHT_H
#define BOOT_PREFLIGHT_H

#include "lib/types.h"

struct cpu_facts {
    char vendor[13]; /* CPUID leaf 0, NUL-terminated */
    bool hypervisor; /* this is a virtual machine */
    bool vmx, svm;
    bool no_execute;
    bool long_pages; /* 1 GiB pages */
    bool mtrr;
    u32 phys_bits;                                        /* width of physical addresses */
    u64 feature_control, procbased, procbased2, ept_vpid; /* MSRs of VT-x; 0 when absent */
    u64 vm_cr;                                            /* MSR of AMD-V; 0 when absent */
    u32 svm_features;                                     /* CPUID leaf 8000_000A, EDX */
};

/* What keeps the kernel from running here, with or without guests; NULL: nothing. */
const char *preflight_host(const struct cpu_facts *f);

/* What keeps guests from running here, and what to do about it; NULL: nothing. */
const char *preflight_guests(const struct cpu_facts *f);

#endif
