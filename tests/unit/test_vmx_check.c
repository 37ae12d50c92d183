/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/vmx_check.c vmm/machine/vmx_check_guest.c */
/* The rules of VM entry: good states pass, and each broken rule is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "kernel/abi.h"
#include "kernel/event.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"
#include "vmm/machine/vmx_check.h"

static const struct vmx_msrs msrs = {5,
                                     0xd810000000002b,
                                     0xff00000016,
                                     0xfff9fffe04006172,
                                     0x407fffff00036dfb,
                                     0xffff000011fb,
                                     0x2577fff00000000,
                                     0x600401e0,
                                     0x80000021,
                                     0xffffffff,
                                     0x2000,
                                     0x3727ff,
                                     0xf0106734141};

static struct vmcs_snapshot s;
static char reported[4000];

#define SET(name, v) (s.value[VMCS_INDEX_##name] = (v))

static void report(void *arg, const char *field, u64 value, const char *rule)
{
    size_t used = strlen(reported);

    (void)arg;
    snprintf(reported + used, sizeof(reported) - used, "%s=%llx: %s\n", field,
             (unsigned long long)value, rule);
}

static u32 check(void)
{
    struct vmx_check c = {.s = &s, .msrs = &msrs, .phys_bits = 40, .report = report};

    reported[0] = 0;
    vmx_check_controls(&c);
    vmx_check_host(&c);
    vmx_check_guest(&c);
    return c.broken;
}

static void set_segment(u32 i, u64 selector, u64 base, u64 limit, u64 access)
{
    s.value[VMCS_INDEX_GUEST_ES_SELECTOR + i] = selector;
    s.value[VMCS_INDEX_GUEST_ES_BASE + i] = base;
    s.value[VMCS_INDEX_GUEST_ES_LIMIT + i] = limit;
    s.value[VMCS_INDEX_GUEST_ES_ACCESS + i] = access;
}

/* A host and controls like ours, and a guest after INIT. */
static int real_mode(void **state)
{
    (void)state;
    memset(&s, 0, sizeof(s));
    SET(PIN_CONTROLS,
        0x16 | PIN_EXTINT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS | PIN_PREEMPT_TIMER);
    SET(PROC_CONTROLS, 0x04006172 | PROC_SECONDARY | PROC_MSR_BITMAPS | PROC_IO_BITMAPS);
    SET(PROC2_CONTROLS, PROC2_ENABLE_EPT | PROC2_UNRESTRICTED | PROC2_ENABLE_VPID);
    SET(EXIT_CONTROLS, 0x36dfb | EXIT_HOST_64 | EXIT_LOAD_EFER | EXIT_LOAD_PAT | EXIT_SAVE_EFER |
                           EXIT_ACK_INTERRUPT | EXIT_SAVE_PREEMPT_TIMER);
    SET(ENTRY_CONTROLS, 0x11fb | ENTRY_LOAD_EFER | ENTRY_LOAD_PAT | ENTRY_LOAD_DEBUG);
    SET(VPID, 1);
    SET(EPT_POINTER, 0x123000 | EPTP_WB | EPTP_LEVELS(4) | EPTP_ACCESSED_DIRTY);
    SET(IO_BITMAP_A, 0x1000);
    SET(IO_BITMAP_B, 0x2000);
    SET(MSR_BITMAP, 0x3000);
    SET(HOST_CR0, 0x80010031);
    SET(HOST_CR3, 0x1000);
    SET(HOST_CR4, CR4_PAE | CR4_VMXE);
    SET(HOST_EFER, EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE);
    SET(HOST_PAT, PAT_AFTER_RESET);
    SET(HOST_CS_SELECTOR, 8);
    SET(HOST_SS_SELECTOR, 0x10);
    SET(HOST_TR_SELECTOR, 0x30);
    SET(HOST_GS_BASE, 0xffff800000001000);
    SET(HOST_RIP, 0xffffffff80001000);
    SET(HOST_RSP, 0xffff800000002000);

    for (u32 i = 0; i < SEG_COUNT; i++) {
        set_segment(i, 0, 0, 0xffff,
                    i == SEG_CS     ? 0x9b
                    : i == SEG_LDTR ? 0x82
                    : i == SEG_TR   ? 0x8b
                                    : 0x93);
    }
    set_segment(SEG_CS, 0xf000, 0xffff0000, 0xffff, 0x9b);
    SET(GUEST_CR0, CR0_ET | CR0_NE);
    SET(GUEST_CR4, CR4_VMXE);
    SET(GUEST_RIP, 0xfff0);
    SET(GUEST_RFLAGS, RFLAGS_FIXED);
    SET(GUEST_PAT, PAT_AFTER_RESET);
    SET(GUEST_DR7, DR7_FIXED);
    SET(GUEST_GDTR_LIMIT, 0xffff);
    SET(GUEST_IDTR_LIMIT, 0xffff);
    SET(GUEST_LINK_POINTER, ~0ull);
    return 0;
}

static int long_mode(void **state)
{
    real_mode(state);
    s.value[VMCS_INDEX_ENTRY_CONTROLS] |= ENTRY_IA32E_GUEST;
    SET(GUEST_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_ET);
    SET(GUEST_CR4, CR4_PAE | CR4_VMXE);
    SET(GUEST_EFER, EFER_LME | EFER_LMA);
    set_segment(SEG_CS, 8, 0, 0xffffffff, 0xa09b);
    set_segment(SEG_SS, 0x10, 0, 0xffffffff, 0xc093);
    for (u32 i = SEG_DS; i <= SEG_GS; i++) {
        set_segment(i, 0, 0, 0, SEG_AR_UNUSABLE);
    }
    set_segment(SEG_ES, 0, 0, 0, SEG_AR_UNUSABLE);
    set_segment(SEG_LDTR, 0, 0, 0, SEG_AR_UNUSABLE);
    SET(GUEST_RIP, 0xffffffff81000000);
    return 0;
}

static void expect_good(void)
{
    if (check() != 0) {
        fail_msg("broken: %s", reported);
    }
}

static void expect(const char *what)
{
    if (check() == 0 || !strstr(reported, what)) {
        fail_msg("\"%s\" is not in: %s", what, reported);
    }
}

static void test_good(void **state)
{
    real_mode(state);
    expect_good();
    long_mode(state);
    expect_good();
    SET(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
    SET(GUEST_INTERRUPTIBILITY, BLOCKED_BY_STI);
    expect_good();
    SET(GUEST_INTERRUPTIBILITY, 0);
    SET(ENTRY_INTR_INFO, 0x40 | EVENT_EXTINT << 8 | INTR_INFO_VALID);
    expect_good();
    SET(ENTRY_INTR_INFO, 13 | EVENT_HWEXC << 8 | INTR_INFO_ERROR | INTR_INFO_VALID);
    expect_good();
}

/* One field made wrong in a good state, and what must be said. */
static const struct {
    bool in_long_mode;
    u32 field;
    u64 value;
    const char *says;
} broken[] = {
    {false, VMCS_INDEX_PIN_CONTROLS,           0,                             "PIN_CONTROLS"                },
    {false, VMCS_INDEX_PROC2_CONTROLS,         PROC2_UNRESTRICTED,            "builds on EPT"               },
    {false, VMCS_INDEX_PROC2_CONTROLS,
     PROC2_ENABLE_EPT | PROC2_UNRESTRICTED | PROC2_VIRT_INTR_DELIVERY,        "TPR shadow"                  },
    {false, VMCS_INDEX_PIN_CONTROLS,           0x16 | PIN_POSTED_INTR | 0x69, "posted interrupts"           },
    {false, VMCS_INDEX_VPID,                   0,                             "VPID"                        },
    {false, VMCS_INDEX_EPT_POINTER,            0x123000 | 5 | 3 << 3,         "memory type"                 },
    {false, VMCS_INDEX_EPT_POINTER,            0x123000 | 6 | 2 << 3,         "levels"                      },
    {false, VMCS_INDEX_EPT_POINTER,            1ull << 40 | 6 | 3 << 3,       "EPT_POINTER"                 },
    {false, VMCS_INDEX_MSR_BITMAP,             0x3004,                        "MSR_BITMAP"                  },
    {false, VMCS_INDEX_EXIT_MSR_LOAD_COUNT,    1,                             "EXIT_MSR_LOAD_COUNT"         },
    {false, VMCS_INDEX_ENTRY_INTR_INFO,        0x80000101,                    "defined type"                },
    {false, VMCS_INDEX_ENTRY_INTR_INFO,        0x80000203,                    "NMI has vector 2"            },
    {false, VMCS_INDEX_ENTRY_INTR_INFO,        0x80000320,                    "below 32"                    },
    {false, VMCS_INDEX_ENTRY_INTR_INFO,        0x80000b0d,                    "error code"                  }, /* in real mode */
    {true,  VMCS_INDEX_ENTRY_INTR_INFO,        0x80000b06,                    "error code"                  },
    {true,  VMCS_INDEX_ENTRY_INTR_INFO,        0x80000040,                    "IF for an external interrupt"},
    {false, VMCS_INDEX_HOST_CR0,               0x80010011,                    "HOST_CR0"                    },
    {false, VMCS_INDEX_HOST_CR4,               CR4_PAE,                       "HOST_CR4"                    },
    {false, VMCS_INDEX_HOST_CS_SELECTOR,       0,                             "not 0"                       },
    {false, VMCS_INDEX_HOST_TR_SELECTOR,       0x33,                          "RPL 0"                       },
    {false, VMCS_INDEX_HOST_GS_BASE,           0x800000000000,                "HOST_GS_BASE"                },
    {false, VMCS_INDEX_HOST_EFER,              EFER_SCE,                      "64-bit host"                 },
    {false, VMCS_INDEX_GUEST_CR0,              CR0_ET,                        "GUEST_CR0"                   },
    {false, VMCS_INDEX_GUEST_CR0,              CR0_NE | CR0_PG,               "PG needs PE"                 },
    {false, VMCS_INDEX_GUEST_CR4,              0,                             "GUEST_CR4"                   },
    {true,  VMCS_INDEX_GUEST_CR4,              CR4_VMXE,                      "CR4.PAE"                     },
    {false, VMCS_INDEX_GUEST_CR4,              CR4_VMXE | CR4_PCIDE,          "PCIDE"                       },
    {true,  VMCS_INDEX_GUEST_EFER,             EFER_LME,                      "LMA as the entry control"    },
    {true,  VMCS_INDEX_GUEST_EFER,             EFER_LMA,                      "LMA equals LME"              },
    {true,  VMCS_INDEX_GUEST_CR3,              1ull << 40,                    "GUEST_CR3"                   },
    {true,  VMCS_INDEX_GUEST_RIP,              0x800000000000,                "GUEST_RIP"                   },
    {false, VMCS_INDEX_GUEST_RIP,              0x100000000,                   "GUEST_RIP"                   },
    {false, VMCS_INDEX_GUEST_RFLAGS,           0,                             "GUEST_RFLAGS"                },
    {true,  VMCS_INDEX_GUEST_RFLAGS,           RFLAGS_FIXED | RFLAGS_VM,      "never in IA-32e mode"        },
    {false, VMCS_INDEX_GUEST_DR7,              BIT(32),                       "GUEST_DR7"                   },
    {false, VMCS_INDEX_GUEST_PAT,              2,                             "GUEST_PAT"                   },
    {false, VMCS_INDEX_GUEST_INTERRUPTIBILITY, 3,                             "not STI and MOV SS both"     },
    {false, VMCS_INDEX_GUEST_INTERRUPTIBILITY, BLOCKED_BY_STI,                "STI needs RFLAGS.IF"         },
    {false, VMCS_INDEX_GUEST_INTERRUPTIBILITY, BLOCKED_BY_SMI,                "outside SMM"                 },
    {false, VMCS_INDEX_GUEST_PENDING_DEBUG,    BIT(13),                       "GUEST_PENDING_DEBUG"         },
    {false, VMCS_INDEX_GUEST_ACTIVITY,         4,                             "activity"                    },
    {false, VMCS_INDEX_GUEST_LINK_POINTER,     0,                             "GUEST_LINK_POINTER"          },
    {false, VMCS_INDEX_GUEST_GDTR_LIMIT,       0x10000,                       "16 bits"                     },
    {false, VMCS_INDEX_GUEST_CS_ACCESS,        0x93,                          ""                            }, /* data in CS: allowed here, see below */
    {false, VMCS_INDEX_GUEST_CS_ACCESS,        0xf3,                          "DPL 0"                       },
    {false, VMCS_INDEX_GUEST_CS_ACCESS,        0x1b,                          "present"                     },
    {false, VMCS_INDEX_GUEST_CS_ACCESS,        0x8b,                          "(S)"                         },
    {false, VMCS_INDEX_GUEST_CS_LIMIT,         0x100000,                      "granularity"                 },
    {true,  VMCS_INDEX_GUEST_CS_ACCESS,        0xe09b,                        "D is 0"                      },
    {true,  VMCS_INDEX_GUEST_CS_ACCESS,        0xa0fb,                        "DPL equals that of SS"       },
    {true,  VMCS_INDEX_GUEST_CS_BASE,          1ull << 32,                    "below 4 GiB"                 },
    {true,  VMCS_INDEX_GUEST_SS_ACCESS,        0xc09b,                        "GUEST_SS"                    },
    {true,  VMCS_INDEX_GUEST_FS_BASE,          0x800000000000,                "GUEST_FS"                    },
    {true,  VMCS_INDEX_GUEST_TR_ACCESS,        0x83,                          "busy TSS"                    },
    {true,  VMCS_INDEX_GUEST_TR_ACCESS,        SEG_AR_UNUSABLE,               "usable"                      },
    {true,  VMCS_INDEX_GUEST_TR_SELECTOR,      4,                             "GDT"                         },
    {true,  VMCS_INDEX_GUEST_LDTR_ACCESS,      0x8b,                          "an LDT"                      },
    {false, VMCS_INDEX_GUEST_DS_ACCESS,        0x92,                          "accessed"                    },
    {false, VMCS_INDEX_GUEST_DS_ACCESS,        0x99,                          "readable"                    },
    {false, VMCS_INDEX_GUEST_DS_ACCESS,        0x193,                         "reserved bits"               },
};

static void test_broken(void **state)
{
    for (u32 i = 0; i < ARRAY_SIZE(broken); i++) {
        broken[i].in_long_mode ? long_mode(state) : real_mode(state);
        s.value[broken[i].field] = broken[i].value;
        if (!broken[i].says[0]) {
            expect_good();
            continue;
        }
        expect(broken[i].says);
    }
}

/* SDM 3C "VM-Execution Control Fields": what posted interrupts need besides. */
static void test_posted(void **state)
{
    static const struct {
        u32 field;
        u64 value;
        const char *says;
    } wrong[] = {
        {VMCS_INDEX_PIN_CONTROLS,      0x16 | PIN_POSTED_INTR | 0x68,        "external-interrupt exiting"},
        {VMCS_INDEX_PROC2_CONTROLS,    PROC2_ENABLE_EPT | PROC2_VIRT_X2APIC, "posted interrupts"         },
        {VMCS_INDEX_EXIT_CONTROLS,     0,                                    "acknowledge on exit"       },
        {VMCS_INDEX_POSTED_VECTOR,     0x1f2,                                "below 256"                 },
        {VMCS_INDEX_POSTED_DESCRIPTOR, 0x7020,                               "multiple of 64"            },
        {VMCS_INDEX_POSTED_DESCRIPTOR, 1ull << 40,                           "POSTED_DESCRIPTOR"         },
    };

    for (u32 i = 0; i <= ARRAY_SIZE(wrong); i++) {
        real_mode(state);
        SET(PIN_CONTROLS, 0x16 | PIN_POSTED_INTR | 0x69);
        SET(PROC_CONTROLS, s.value[VMCS_INDEX_PROC_CONTROLS] | PROC_TPR_SHADOW);
        SET(PROC2_CONTROLS, s.value[VMCS_INDEX_PROC2_CONTROLS] | PROC2_APICV);
        SET(VIRTUAL_APIC, 0x6000);
        SET(POSTED_VECTOR, 0xf2);
        SET(POSTED_DESCRIPTOR, 0x7040);
        if (i == ARRAY_SIZE(wrong)) {
            expect_good();
            break;
        }
        s.value[wrong[i].field] = wrong[i].value;
        expect(wrong[i].says);
    }
}

static void test_pairs(void **state)
{
    long_mode(state); /* a single step due in the shadow of MOV SS */
    SET(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_TF);
    SET(GUEST_INTERRUPTIBILITY, BLOCKED_BY_MOV_SS);
    expect("BS as TF");
    SET(GUEST_PENDING_DEBUG, PENDING_DEBUG_BS);
    expect_good();
    SET(GUEST_DEBUGCTL, DEBUGCTL_BTF);
    expect("BS as TF");

    long_mode(state);
    SET(ENTRY_INTR_INFO, 2 | EVENT_NMI << 8 | INTR_INFO_VALID);
    expect_good();
    SET(GUEST_INTERRUPTIBILITY, BLOCKED_BY_NMI);
    expect("not blocked by an NMI");

    long_mode(state);
    SET(ENTRY_INTR_INFO, 3 | EVENT_SWEXC << 8 | INTR_INFO_VALID);
    expect_good(); /* length 0: this CPU allows it */
    SET(ENTRY_INSTR_LENGTH, 16);
    expect("ENTRY_INSTR_LENGTH");

    real_mode(state); /* virtual-8086 mode */
    SET(GUEST_CR0, CR0_PE | CR0_NE | CR0_ET);
    SET(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM);
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        set_segment(i, 0x1000, 0x10000, 0xffff, 0xf3);
    }
    expect_good();
    set_segment(SEG_DS, 0x1000, 0x10010, 0xffff, 0xf3);
    expect("selector times 16");
    set_segment(SEG_DS, 0x1000, 0x10000, 0xfffff, 0xf3);
    expect("ffffh");

    real_mode(state); /* PAE without IA-32e mode */
    SET(GUEST_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_ET);
    SET(GUEST_CR4, CR4_PAE | CR4_VMXE);
    SET(GUEST_PDPTE0, 0x1001);
    expect_good();
    SET(GUEST_PDPTE3, 0x1007);
    expect("GUEST_PDPTE");
}

/* Random values in every field: no crash, and a verdict. */
static void test_random(void **state)
{
    u64 seed = 88172645463325252ull;

    (void)state;
    for (u32 round = 0; round < 20000; round++) {
        for (u32 i = 0; i < VMCS_FIELD_COUNT; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            s.value[i] = seed >> (seed & 63);
        }
        assert_true(check() > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),  cmocka_unit_test(test_broken), cmocka_unit_test(test_posted),
        cmocka_unit_test(test_pairs), cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
