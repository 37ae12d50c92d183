/* SPDX-License-Identifier: MIT */
/* What tests of tables check: the sum of their bytes, and what the reader found in them. */
#ifndef TESTS_UNIT_ACPI_CHECK_H
#define TESTS_UNIT_ACPI_CHECK_H

#include "lib/acpi.h"

/* Zero, for a table or structure with its checksum. */
static inline u8 acpi_sum(const u8 *p, u32 bytes)
{
    u8 sum = 0;

    for (u32 i = 0; i < bytes; i++) {
        sum = (u8)(sum + p[i]);
    }
    return sum;
}

/* All of it, but for CPUs behind want->cpu_count. */
static inline void acpi_check_info(const struct acpi_info *info, const struct acpi_info *want)
{
    assert_int_equal(info->cpu_count, want->cpu_count);
    assert_int_equal(info->cpus_left_out, want->cpus_left_out);
    for (u32 i = 0; i < want->cpu_count; i++) {
        assert_int_equal(info->cpu_apic_ids[i], want->cpu_apic_ids[i]);
    }
    assert_int_equal(info->lapic_base, want->lapic_base);
    assert_int_equal(info->ioapic_base, want->ioapic_base);
    assert_int_equal(info->hpet_base, want->hpet_base);
    assert_int_equal(info->pm_timer_port, want->pm_timer_port);
    assert_int_equal(info->pm_timer_bits, want->pm_timer_bits);
    assert_int_equal(info->pm1a_port, want->pm1a_port);
    assert_int_equal(info->pm1b_port, want->pm1b_port);
    assert_int_equal(info->s5_typa, want->s5_typa);
    assert_int_equal(info->s5_typb, want->s5_typb);
    assert_int_equal(info->skipped, want->skipped);
}

#endif
