/* SPDX-License-Identifier: MIT */
/* SOURCES: kernel/msr.c kernel/cr.c kernel/apic.c kernel/apic_timer.c kernel/apic_message.c */
/* The table of guest MSRs: what exists, what it takes, and that everything else faults unchanged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "kernel/cpuid.h"
#include "kernel/msr.h"
#include "kernel/virt.h"
#include "lib/hw/x86.h"

/* --- a backend that remembers --- */

static u64 registers[VIRT_TSC_AUX + 1];
static u32 writes;

static u64 fake_read(struct vcpu *v, enum virt_reg r)
{
    (void)v;
    return registers[r];
}

static void fake_write(struct vcpu *v, enum virt_reg r, u64 value)
{
    writes++;
    registers[r] = value;
    switch (r) {
    case VIRT_STAR:
        v->star = value;
        break;
    case VIRT_LSTAR:
        v->lstar = value;
        break;
    case VIRT_FMASK:
        v->fmask = value;
        break;
    case VIRT_TSC_AUX:
        v->tsc_aux = value;
        break;
    case VIRT_TSC_OFFSET:
        v->tsc_offset = value;
        break;
    default:
        break;
    }
}

static void fake_timer_changed(struct vcpu *v)
{
    (void)v;
}

void vcpu_wake(struct vcpu *v)
{
    (void)v;
}

void vcpu_notify(struct vcpu *v)
{
    (void)v;
}

void arch_spin_poll(void)
{
}

static const struct virt fake_virt = {.read = fake_read,
                                      .write = fake_write,
                                      .timer_changed = fake_timer_changed,
                                      .apic_mode = fake_timer_changed};
const struct virt *virt = &fake_virt;
u64 arch_tsc_hz = 2400000000;

static struct cpuid_table table;
static struct vm vm;
static struct vcpu v;
static u32 apic_page[PAGE_SIZE / 4];

static int setup(void **state)
{
    (void)state;
    memset(&table, 0, sizeof(table));
    memset(&v, 0, sizeof(v));
    memset(registers, 0, sizeof(registers));
    table.efer_allowed = EFER_SCE | EFER_LME | EFER_NXE;
    table.dir[CPUID_DIR_EXTENDED + 1].at = offsetof(struct cpuid_table, leaves[1]);
    table.leaves[1].edx = BIT(27);
    vm.cpuid = &table;
    v.vm = &vm;
    apic_create(&v, apic_page);
    msr_reset(&v);
    writes = 0;
    return 0;
}

static bool read(u32 index, u64 *value)
{
    *value = 0x5555;
    return msr_read(&v, index, value);
}

/* As the instructions do it; agrees with msr_read() and msr_write(). */
static bool rdmsr(u32 index, u64 *value)
{
    u64 direct;

    v.gpr[GPR_RCX] = 0xfedcba9800000000 | index;
    v.gpr[GPR_RAX] = v.gpr[GPR_RDX] = ~0ull;
    bool ok = msr_exec_rdmsr(&v);
    assert_int_equal(ok, read(index, &direct));
    if (!ok) {
        assert_int_equal(v.gpr[GPR_RAX], ~0ull);
        assert_int_equal(v.gpr[GPR_RDX], ~0ull);
        return false;
    }
    assert_int_equal(v.gpr[GPR_RAX] >> 32 | v.gpr[GPR_RDX] >> 32, 0);
    *value = v.gpr[GPR_RAX] | v.gpr[GPR_RDX] << 32;
    if (index != MSR_IA32_TSC) {
        assert_int_equal(*value, direct);
    }
    return true;
}

static bool wrmsr(u32 index, u64 value)
{
    v.gpr[GPR_RCX] = 0x1234567800000000 | index;
    v.gpr[GPR_RAX] = 0xaaaaaaaa00000000 | (u32)value;
    v.gpr[GPR_RDX] = 0xbbbbbbbb00000000 | value >> 32;
    return msr_exec_wrmsr(&v);
}

#define NONCANONICAL 0x0000800000000000ull
#define KERNEL       0xffff800012345678ull

static const struct row {
    u32 index;
    bool readable;
    u64 good[3], bad[3]; /* values to write; 0 ends, but for the first */
    bool good_first, bad_first;
} rows[] = {
    {MSR_IA32_EFER,           true,  {EFER_SCE, EFER_SCE | EFER_NXE},       {BIT(1), EFER_SVME},    true,  true },
    {MSR_IA32_STAR,           true,  {~0ull, 1},                            {0},                    true,  false},
    {MSR_IA32_LSTAR,          true,  {KERNEL, 1},                           {NONCANONICAL},         true,  true },
    {MSR_IA32_CSTAR,          true,  {KERNEL, 1},                           {NONCANONICAL},         true,  true },
    {MSR_IA32_FMASK,          true,  {0xffffffff, 1},                       {BIT(32), ~0ull},       true,  true },
    {MSR_IA32_KERNEL_GS_BASE, true,  {KERNEL, 1},                           {NONCANONICAL},         true,  true },
    {MSR_IA32_FS_BASE,        true,  {KERNEL, 1},                           {NONCANONICAL},         true,  true },
    {MSR_IA32_GS_BASE,        true,  {KERNEL, 1},                           {NONCANONICAL},         true,  true },
    {MSR_IA32_SYSENTER_CS,    true,  {0x10},                                {0},                    true,  false},
    {MSR_IA32_SYSENTER_ESP,   true,  {KERNEL},                              {NONCANONICAL},         true,  true },
    {MSR_IA32_SYSENTER_EIP,   true,  {KERNEL},                              {NONCANONICAL},         true,  true },
    {MSR_IA32_TSC_AUX,        true,  {7},                                   {BIT(32)},              true,  true },
    {MSR_IA32_TSC_ADJUST,     true,  {BIT(50), 1},                          {0},                    true,  false},
    {MSR_IA32_PAT,
     true,                           {PAT_AFTER_RESET, 0x0606060606060606},
     {2, 0x0300000000000000},
     true,                                                                                                 true },
    {MSR_IA32_DEBUGCTL,       true,  {DEBUGCTL_BTF},                        {DEBUGCTL_LBR, BIT(9)}, true,  true },
    {MSR_IA32_MISC_ENABLE,    true,  {0x1801, 0x1800},                      {0, 0x1803, ~0ull},     true,  true },
    {MSR_IA32_MTRR_DEF_TYPE,  true,  {0x806, 0x800, 6},                     {0x803, 0xc06, 0x807},  true,  true },
    {MSR_IA32_BIOS_SIGN_ID,   true,  {BIT(32), 1},                          {0},                    true,  false},
    {MSR_IA32_MTRRCAP,        true,  {0},                                   {0, 8},                 false, true },
    {MSR_IA32_MCG_CAP,        true,  {0},                                   {0, 1},                 false, true },
    {MSR_IA32_PLATFORM_ID,    true,  {0},                                   {0, 1},                 false, true },
    {MSR_PLATFORM_INFO,       true,  {0},                                   {0x1800},               false, true },
    {MSR_IA32_MCG_STATUS,     true,  {0},                                   {1},                    true,  true },
    {MSR_MISC_FEATURES,       true,  {0},                                   {1},                    true,  true },
    {MSR_IA32_APIC_BASE,
     true,                           {0xfee00900, 0xfee00800, 0xfee00d00},
     {0, ~0ull, 0xfee00500},
     true,                                                                                                 true },
    {MSR_IA32_TSC_DEADLINE,   true,  {0},                                   {0},                    true,  false},
    {MSR_IA32_BIOS_UPDT_TRIG, false, {KERNEL},                              {0},                    true,  false},
};

static void test_rows(void **state)
{
    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *r = &rows[i];
        u64 before, after;
        setup(NULL);
        assert_int_equal(rdmsr(r->index, &before), r->readable);
        for (u32 k = 0; r->good_first && k < 3 && (k == 0 || r->good[k]); k++) {
            if (!wrmsr(r->index, r->good[k])) {
                fail_msg("MSR %x refuses %llx", r->index, (unsigned long long)r->good[k]);
            }
            if (r->readable) {
                assert_true(rdmsr(r->index, &after));
                assert_int_equal(after, r->good[k]);
            }
        }
        if (r->readable) {
            assert_true(rdmsr(r->index, &before));
        }
        u32 count = writes;
        for (u32 k = 0; r->bad_first && k < 3 && (k == 0 || r->bad[k]); k++) {
            if (wrmsr(r->index, r->bad[k])) {
                fail_msg("MSR %x takes %llx", r->index, (unsigned long long)r->bad[k]);
            }
        }
        assert_int_equal(writes, count);
        if (r->readable) {
            assert_true(rdmsr(r->index, &after));
            assert_int_equal(after, before);
        }
    }
}

static bool known(u32 index)
{
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].index == index) {
            return true;
        }
    }
    return index == MSR_IA32_TSC;
}

/* All others: the two ranges of the bitmaps, what lies between and behind them. */
static void test_unknown(void **state)
{
    static const u32 ranges[][2] = {
        {0,          0x2000    },
        {0x40000000, 0x40000100},
        {0x4b564d00, 0x4b564d10},
        {0xbfffff00, 0xc0002000},
        {0xc0010000, 0xc0011000},
        {0xfffffff0, 0xffffffff}
    };
    u64 value;

    (void)state;
    for (u32 r = 0; r < ARRAY_SIZE(ranges); r++) {
        for (u32 i = ranges[r][0]; i < ranges[r][1]; i++) {
            if (!known(i)) {
                struct vcpu before = v;
                assert_false(rdmsr(i, &value));
                assert_false(wrmsr(i, 0));
                assert_false(wrmsr(i, ~0ull));
                assert_int_equal(writes, 0);
                memcpy(before.gpr, v.gpr, sizeof(v.gpr));
                assert_memory_equal(&before, &v, sizeof(v));
            }
        }
    }
    table.dir[0].at = offsetof(struct cpuid_table, leaves[2]);
    assert_false(rdmsr(MSR_AMD_INT_PENDING, &value));
    table.leaves[2].ebx = 0x68747541; /* AMD's: there it is, and nothing is pending */
    assert_true(rdmsr(MSR_AMD_INT_PENDING, &value));
    assert_int_equal(value, 0);
    assert_false(wrmsr(MSR_AMD_INT_PENDING, 0));
    assert_false(rdmsr(0xffffffff, &value));
    assert_false(rdmsr(MSR_IA32_FEATURE_CONTROL, &value));
    assert_false(rdmsr(0x480, &value));
}

static void test_efer(void **state)
{
    (void)state;
    registers[VIRT_CR0] = CR0_PE | CR0_PG;
    registers[VIRT_EFER] = EFER_LME | EFER_LMA;
    assert_false(wrmsr(MSR_IA32_EFER, 0)); /* LME while paging is on */
    assert_true(wrmsr(MSR_IA32_EFER, EFER_LME | EFER_NXE));
    assert_int_equal(registers[VIRT_EFER], EFER_LME | EFER_LMA | EFER_NXE); /* LMA stays */
    registers[VIRT_CR0] = 0;
    registers[VIRT_EFER] = 0;
    assert_true(wrmsr(MSR_IA32_EFER, EFER_LME | EFER_LMA));
    assert_int_equal(registers[VIRT_EFER], EFER_LME); /* and is not set by a write */
}

static void test_tsc(void **state)
{
    u64 a, b;

    (void)state;
    assert_true(wrmsr(MSR_IA32_TSC, 1000));
    assert_true(rdmsr(MSR_IA32_TSC, &a));
    assert_true(rdmsr(MSR_IA32_TSC, &b));
    assert_true(a >= 1000 && b >= a && b < BIT(40));
    /* what a write adds, TSC_ADJUST tells; and the other way round */
    assert_true(rdmsr(MSR_IA32_TSC_ADJUST, &a));
    assert_true(wrmsr(MSR_IA32_TSC_ADJUST, a + BIT(50)));
    assert_true(rdmsr(MSR_IA32_TSC_ADJUST, &b));
    assert_true(b == a + BIT(50));
    assert_true(rdmsr(MSR_IA32_TSC, &b));
    assert_true(b >> 40 == BIT(10));
}

static void test_x2apic(void **state)
{
    const u32 tpr = MSR_X2APIC_BASE + APIC_TPR / 16, eoi = MSR_X2APIC_BASE + APIC_EOI / 16;
    u64 value;

    (void)state;
    assert_true(wrmsr(MSR_IA32_APIC_BASE, 0xfee00d00));
    assert_true(wrmsr(tpr, 0x20));
    assert_true(rdmsr(tpr, &value));
    assert_int_equal(value, 0x20);
    assert_false(wrmsr(tpr, 0x100));
    assert_true(wrmsr(eoi, 0));
    assert_false(wrmsr(eoi, 1));
    assert_false(rdmsr(eoi, &value));
    for (u32 i = MSR_X2APIC_BASE + 0x40; i < MSR_X2APIC_BASE + 0x400; i++) {
        assert_false(rdmsr(i, &value));
        assert_false(wrmsr(i, 0));
    }
    /* a deadline in the guest's own time */
    assert_true(wrmsr(MSR_X2APIC_BASE + APIC_LVT_TIMER / 16, LVT_TIMER_DEADLINE | 0x40));
    assert_true(wrmsr(MSR_IA32_TSC, 1000));
    assert_true(wrmsr(MSR_IA32_TSC_DEADLINE, BIT(50)));
    assert_true(rdmsr(MSR_IA32_TSC_DEADLINE, &value));
    assert_int_equal(value, BIT(50));
    assert_int_equal(v.hazards & VCPU_HAZARD_START, 0);
    u64 due = v.apic.timer_tsc;
    assert_int_equal(due, BIT(50) - v.tsc_offset);
    assert_true(wrmsr(MSR_IA32_TSC, BIT(51)));
    assert_true(rdmsr(MSR_IA32_TSC_DEADLINE, &value));
    assert_int_equal(value, 0);
    assert_int_equal(v.apic.timer_tsc, APIC_NEVER);
}

static void test_features(void **state)
{
    u64 value;

    (void)state;
    table.leaves[1].edx = 0; /* no RDTSCP: no TSC_AUX */
    assert_false(rdmsr(MSR_IA32_TSC_AUX, &value));
    assert_false(wrmsr(MSR_IA32_TSC_AUX, 0));
    table.efer_allowed = EFER_SCE;
    assert_false(wrmsr(MSR_IA32_EFER, EFER_NXE));
    assert_true(rdmsr(MSR_PLATFORM_INFO, &value));
    assert_int_equal(value, 24 << 8);
}

static void test_reset(void **state)
{
    u64 value;

    (void)state;
    assert_int_equal(v.xcr0, 1);
    assert_int_equal(v.dr6, DR6_FIXED);
    assert_true(rdmsr(MSR_IA32_MTRR_DEF_TYPE, &value));
    assert_int_equal(value, 0x806);
    assert_true(rdmsr(MSR_IA32_MISC_ENABLE, &value));
    assert_int_equal(value, 0x1801);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rows, setup),     cmocka_unit_test_setup(test_unknown, setup),
        cmocka_unit_test_setup(test_efer, setup),     cmocka_unit_test_setup(test_tsc, setup),
        cmocka_unit_test_setup(test_features, setup), cmocka_unit_test_setup(test_reset, setup),
        cmocka_unit_test_setup(test_x2apic, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
