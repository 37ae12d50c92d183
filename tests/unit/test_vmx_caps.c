/* SPDX-License-Identifier: MIT */
/* SOURCES: arch/x86/vmx/caps.c */
/* Control words from the capability MSRs of several CPUs, and what is said when something is
 * missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/vmx/caps.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"

/* Emulated CPUs of Bochs 3.0 by model, then a real Skylake. */
static const struct machine {
    const char *name;
    struct vmx_msrs msrs;
    bool invpcid, ple, vpid, ad, pages_1g, apicv, posted;
} machines[] = {
    {"skylake_x",
     {0, 0xd810000000002b, 0xff00000016, 0xfff9fffe04006172, 0x407fffff00036dfb, 0xffff000011fb,
      0x2577fff00000000, 0x600401e0, 0x80000021, 0xffffffff, 0x2000, 0x3727ff, 0xf0106734141},
     true,  true,
     true, true,
     true,  true,
     true },
    {"sandy_bridge",
     {0, 0xd810000000002b, 0x7f00000016, 0xfff9fffe04006172, 0x407fffff00036dfb, 0xffff000011fb,
      0xef00000000, 0x401e0, 0x80000021, 0xffffffff, 0x2000, 0x627ff, 0xf0106114141},
     false, false,
     true, false,
     false, false,
     false},
    {"haswell",
     {5, 0xd810000000002b, 0x7f00000016, 0xfff9fffe04006172, 0x407fffff00036dfb, 0xffff000011fb,
      0x47fff00000000, 0x200401e0, 0x80000021, 0xffffffff, 0x2000, 0x1727ff, 0xf0106334141},
     true,  true,
     true, true,
     true,  true,
     false},
    {"cannon_lake",
     {5, 0xd810000000002b, 0x7f00000016, 0xfff9fffe04006172, 0x407fffff00036dfb, 0xffff000011fb,
      0x2557cff00000000, 0x600401e0, 0x80000021, 0xffffffff, 0x2000, 0x772fff, 0xf0106734141},
     true,  true,
     true, true,
     true,  false,
     false},
    {"real skylake",
     {5, 0xda040000000004, 0x7f00000016, 0xfff9fffe04006172, 0x1ffffff00036dfb, 0x3ffff000011fb,
      0x5ffcff00000000, 0x7004c1e7, 0x80000021, 0xffffffff, 0x2000, 0x3767ff, 0xf0106734141},
     true,  true,
     true, true,
     true,  false,
     false},
};

static void check_word(const char *name, u32 word, u64 msr)
{
    if ((word & (u32)msr) != (u32)msr || word & ~(u32)(msr >> 32)) {
        fail_msg("%s: %x is not allowed by %llx", name, word, (unsigned long long)msr);
    }
}

/* Found by fuzz_caps: VPIDs forced on, without the means to invalidate them, were switched off. */
static void test_forced_vpid(void **state)
{
    struct vmx_msrs m = machines[0].msrs;
    struct vmx_caps c;

    (void)state;
    m.proc2 |= PROC2_ENABLE_VPID;
    assert_null(vmx_caps_compute(&c, &m, true));
    m.ept_vpid &= 0xffffffff;
    assert_non_null(vmx_caps_compute(&c, &m, true));
    m.proc2 &= ~(u64)PROC2_ENABLE_VPID;
    assert_null(vmx_caps_compute(&c, &m, true));
    assert_false(c.vpid);
    m.pin |= BIT(31);
    m.pin &= ~BIT(63);
    assert_non_null(vmx_caps_compute(&c, &m, true));
}

static void test_machines(void **state)
{
    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(machines); i++) {
        const struct machine *m = &machines[i];
        struct vmx_caps c;
        const char *missing = vmx_caps_compute(&c, &m->msrs, true);
        if (missing) {
            fail_msg("%s: %s", m->name, missing);
        }
        check_word(m->name, c.pin, m->msrs.pin);
        check_word(m->name, c.proc, m->msrs.proc);
        check_word(m->name, c.proc2, m->msrs.proc2);
        check_word(m->name, c.exit, m->msrs.exit);
        check_word(m->name, c.entry, m->msrs.entry);
        assert_int_equal(!!(c.proc2 & PROC2_ENABLE_INVPCID), m->invpcid);
        assert_int_equal(!!(c.proc2 & PROC2_PAUSE_LOOP_EXITING), m->ple);
        assert_int_equal(c.vpid, m->vpid);
        assert_int_equal(c.ept_ad, m->ad);
        assert_int_equal(c.ept_1g, m->pages_1g);
        assert_int_equal(c.apicv, m->apicv);
        assert_int_equal(c.posted, m->posted);
        assert_false(c.pin & PIN_POSTED_INTR);
        assert_int_equal(c.eptp, 6 | 3 << 3 | (m->ad ? 1 << 6 : 0));
        assert_int_equal(c.revision, m->msrs.basic & 0x7fffffff);
        /* what would let a guest reach hardware, or exits that nobody handles */
        assert_true(c.proc & PROC_CR8_LOAD_EXIT && c.proc & PROC_CR8_STORE_EXIT);
        assert_true(c.proc & PROC_IO_BITMAPS && c.proc & PROC_MSR_BITMAPS);
        assert_false(c.proc & (PROC_CR3_LOAD_EXIT | PROC_CR3_STORE_EXIT | PROC_INVLPG_EXITING));
        assert_false(c.proc2 & (PROC2_ENABLE_XSAVES | PROC2_VMCS_SHADOWING | PROC2_ENABLE_PML));
        assert_false(c.entry & ENTRY_IA32E_GUEST);
    }
}

/* Each mandatory bit taken away gives a sentence that says what it was. */
struct removal {
    size_t word; /* offset in struct vmx_msrs */
    u64 bit;     /* of the control word */
    const char *says;
};

static void test_missing(void **state)
{
    static const struct removal removals[] = {
        {offsetof(struct vmx_msrs, pin),   PIN_EXTINT_EXITING, "external interrupts"},
        {offsetof(struct vmx_msrs, pin),   PIN_VIRTUAL_NMIS,   "virtual NMIs"       },
        {offsetof(struct vmx_msrs, pin),   PIN_PREEMPT_TIMER,  "preemption timer"   },
        {offsetof(struct vmx_msrs, proc),  PROC_SECONDARY,     "EPT"                },
        {offsetof(struct vmx_msrs, proc),  PROC_MSR_BITMAPS,   "MSR bitmaps"        },
        {offsetof(struct vmx_msrs, proc),  PROC_IO_BITMAPS,    "I/O bitmaps"        },
        {offsetof(struct vmx_msrs, proc2), PROC2_ENABLE_EPT,   "EPT"                },
        {offsetof(struct vmx_msrs, proc2), PROC2_UNRESTRICTED, "unrestricted guest" },
        {offsetof(struct vmx_msrs, exit),  EXIT_ACK_INTERRUPT, "acknowledge"        },
        {offsetof(struct vmx_msrs, exit),  EXIT_LOAD_EFER,     "EFER"               },
        {offsetof(struct vmx_msrs, entry), ENTRY_LOAD_PAT,     "PAT"                },
    };
    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(removals); i++) {
        struct vmx_msrs m = machines[0].msrs;
        struct vmx_caps c;
        u64 *msr = (u64 *)((char *)&m + removals[i].word);
        *msr &= ~(removals[i].bit << 32 | removals[i].bit);
        const char *missing = vmx_caps_compute(&c, &m, true);
        assert_non_null(missing);
        if (!strstr(missing, removals[i].says)) {
            fail_msg("\"%s\" does not say \"%s\"", missing, removals[i].says);
        }
    }
}

static void expect_says(const struct vmx_msrs *m, bool vmx, const char *says)
{
    struct vmx_caps c;
    const char *missing = vmx_caps_compute(&c, m, vmx);

    assert_non_null(missing);
    if (!strstr(missing, says)) {
        fail_msg("\"%s\" does not say \"%s\"", missing, says);
    }
}

static void test_refusals(void **state)
{
    struct vmx_msrs m = machines[0].msrs;
    struct vmx_caps c;

    (void)state;
    expect_says(&m, false, "no VT-x");
    m.feature_control = FEATURE_CONTROL_LOCK;
    expect_says(&m, true, "locked by the firmware");
    m.feature_control = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;
    assert_null(vmx_caps_compute(&c, &m, true));
    m.feature_control = 0; /* unlocked: cpu_start locks it */
    assert_null(vmx_caps_compute(&c, &m, true));

    m = machines[0].msrs;
    m.ept_vpid &= ~EPT_CAP_WB;
    expect_says(&m, true, "write-back");
    m = machines[0].msrs;
    m.ept_vpid &= ~EPT_CAP_INVEPT;
    expect_says(&m, true, "INVEPT");
    m = machines[0].msrs;
    m.misc &= ~MISC_SAVES_LMA;
    expect_says(&m, true, "EFER.LMA");
    m = machines[0].msrs;
    m.basic |= BASIC_32BIT_ADDRESSES;
    expect_says(&m, true, "low or uncached memory");
    m = machines[0].msrs;
    m.proc |= PROC_CR3_LOAD_EXIT; /* forced on, as without the TRUE MSRs */
    expect_says(&m, true, "forces a control");
}

/* VPIDs that cannot be invalidated are not used. */
static void test_vpid(void **state)
{
    struct vmx_msrs m = machines[0].msrs;
    struct vmx_caps c;

    (void)state;
    m.ept_vpid &= ~EPT_CAP_INVVPID;
    assert_null(vmx_caps_compute(&c, &m, true));
    assert_false(c.vpid);
    assert_false(c.proc2 & PROC2_ENABLE_VPID);
    m = machines[0].msrs;
    m.ept_vpid &= ~EPT_CAP_INVVPID_SINGLE;
    assert_null(vmx_caps_compute(&c, &m, true));
    assert_true(c.vpid);
    assert_false(c.invvpid_single);
    m.ept_vpid &= ~EPT_CAP_INVVPID_ALL;
    assert_null(vmx_caps_compute(&c, &m, true));
    assert_false(c.vpid);
}

/* Which MSRs are read: the TRUE ones only where BASIC has them, EPT's only where EPT is. */
static u64 basic_for_read, proc2_for_read;
static bool read_true, read_ept, read_proc2;

static u64 fake_read(u32 msr)
{
    switch (msr) {
    case MSR_IA32_VMX_BASIC:
        return basic_for_read;
    case MSR_IA32_VMX_TRUE_PINBASED:
    case MSR_IA32_VMX_TRUE_PROCBASED:
    case MSR_IA32_VMX_TRUE_EXIT:
    case MSR_IA32_VMX_TRUE_ENTRY:
        read_true = true;
        return PROC_SECONDARY << 32;
    case MSR_IA32_VMX_PROCBASED2:
        read_proc2 = true;
        return proc2_for_read;
    case MSR_IA32_VMX_EPT_VPID_CAP:
        read_ept = true;
        return 1;
    case MSR_IA32_VMX_PROCBASED:
        return proc2_for_read ? PROC_SECONDARY << 32 : 0;
    default:
        return 0;
    }
}

static void test_reading(void **state)
{
    struct vmx_msrs m;

    (void)state;
    vmx_msrs_read(&m, fake_read);
    assert_false(read_true || read_ept || read_proc2);
    proc2_for_read = PROC2_WBINVD_EXITING << 32;
    vmx_msrs_read(&m, fake_read);
    assert_true(read_proc2 && !read_ept && !read_true);
    proc2_for_read = PROC2_ENABLE_EPT << 32;
    vmx_msrs_read(&m, fake_read);
    assert_true(read_ept && m.ept_vpid == 1);
    basic_for_read = BASIC_TRUE_CONTROLS;
    vmx_msrs_read(&m, fake_read);
    assert_true(read_true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machines), cmocka_unit_test(test_forced_vpid),
        cmocka_unit_test(test_missing),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_vpid),     cmocka_unit_test(test_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
