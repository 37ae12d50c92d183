/* SPDX-License-Identifier: MIT */
/* The virtual machine control block, its control bits and its exit codes. APM 2 "Layout of VMCB",
 * "SVM Intercept Exit Codes". */
#ifndef LIB_HW_VMCB_H
#define LIB_HW_VMCB_H

#include "lib/types.h"

/* What every guest's three words of intercepts begin with; and bits that change, or are checked. */
#define INTERCEPTS_0                                                                               \
    (FIELD(1, 0) /* INTR, NMI */ | FIELD(4, 3) /* INIT, VINTR */ | BIT(15) /* RDPMC */ |           \
     FIELD(19, 18) /* CPUID, RSM */ | FIELD(24, 22) /* INVD, PAUSE, HLT */ |                       \
     FIELD(28, 26) /* INVLPGA, I/O and MSRs as the maps say */ |                                   \
     FIELD(31, 30) /* FERR freeze, shutdown */)
#define INTERCEPTS_1                                                                               \
    (FIELD(6, 0) /* VMRUN to SKINIT */ |                                                           \
     FIELD(14, 8) /* ICEBP, WBINVD, MONITOR, MWAIT, XSETBV, RDPRU */)
#define INTERCEPTS_2    (FIELD(1, 0) /* INVLPGB */ | FIELD(4, 3) /* MCOMMIT, TLBSYNC */)
#define INTERCEPT_VINTR BIT(4)
#define INTERCEPT_IRET  BIT(20)
#define INTERCEPT_PAUSE BIT(23)
#define INTERCEPT_VMRUN BIT(0) /* word 1: must be set */

/* int_ctl */
#define V_TPR            FIELD(7, 0)
#define V_IRQ            BIT(8)
#define V_PRIO(n)        ((u32)(n) << 16)
#define V_IGN_TPR        BIT(20)
#define V_INTR_MASKING   BIT(24) /* guests have an IF and a CR8 of their own; ours holds off */

#define INT_STATE_SHADOW BIT(0)
#define NESTED_PAGING    BIT(0)
#define TLB_FLUSH_ALL    1

/* event_inj and exit_int_info; types are those of enum event_type up to software interrupts */
#define EVENT_VECTOR(e) ((u8)(e))
#define EVENT_TYPE(e)   ((u8)((e) >> 8 & 7))
#define EVENT_ERROR     BIT(11)
#define EVENT_VALID     BIT(31)

/* Attributes: bits 55:52 and 47:40 of a descriptor */
#define ATTR_P BIT(7)
#define ATTR_L BIT(9)
#define ATTR_D BIT(10)

struct vmcb_seg {
    u16 selector, attributes;
    u32 limit;
    u64 base;
};

/* Without the rest of its page. */
struct vmcb {
    /* control area */
    u16 cr_reads, cr_writes, dr_reads, dr_writes;
    u32 exceptions, intercept[3];
    u8 reserved0[0x3c - 0x18];
    u16 pause_threshold, pause_count;
    u64 io_map, msr_map, tsc_offset;
    u32 asid;
    u8 tlb_control, reserved1[3];
    u32 int_ctl, int_vector, int_state, reserved2;
    u64 exit_code, exit_info1, exit_info2;
    u32 exit_int_info, exit_int_error;
    u64 nested_control;
    u8 reserved3[0xa8 - 0x98];
    u32 event_inj, event_error;
    u64 nested_cr3, lbr_control;
    u32 clean, reserved4;
    u64 next_rip;
    u8 reserved5[0x400 - 0xd0];
    /* state save area */
    struct vmcb_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    u8 reserved6[0xcb - 0xa0], cpl, reserved7[4];
    u64 efer;
    u8 reserved8[0x148 - 0xd8];
    u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
    u8 reserved9[0x1d8 - 0x180];
    u64 rsp;
    u8 reserved10[0x1f8 - 0x1e0];
    u64 rax, star, lstar, cstar, fmask, kernel_gs_base;
    u64 sysenter_cs, sysenter_esp, sysenter_eip, cr2;
    u8 reserved11[0x268 - 0x248];
    u64 pat;
};
_Static_assert(offsetof(struct vmcb, exit_code) == 0x70, "vmcb");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "vmcb");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "vmcb");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "vmcb");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "vmcb");

/* SYS_VCPU_REPORT on a CPU with AMD-V. */
struct svm_report {
    u64 kind;        /* VCPU_REPORT_SVM */
    u64 phys_bits;   /* width of physical addresses */
    u64 cr4_allowed; /* what the guest may set */
    u64 asids;       /* how many there are, the host's included */
    struct vmcb vmcb;
};

/* Exit codes that more is done about than the table in exit.c says. */
#define SVM_CR0_WRITE 0x10
#define SVM_DR0_READ  0x20
#define SVM_DB        0x41 /* exceptions: 40h + vector */
#define SVM_AC        0x51
#define SVM_MC        0x52
#define SVM_RDPMC     0x6f
#define SVM_PAUSE     0x77
#define SVM_FERR      0x7e
#define SVM_ICEBP     0x88
#define SVM_NPF       0x400
#define SVM_INVALID   0xffffffffu /* and above it, what the CPU likes */

/* exit_info1 */
#define IO_IN         BIT(0)
#define IO_STRING     BIT(2)
#define IO_REP        BIT(3)
#define IO_BYTES(i)   ((u8)((i) >> 4 & 7))  /* 1, 2 or 4: one bit each */
#define IO_ADDRESS(i) ((u8)((i) >> 6 & 14)) /* 2, 4 or 8 bytes */
#define IO_PORT(i)    ((u16)((i) >> 16))
#define NPF_WRITE     BIT(1)
#define NPF_FETCH     BIT(4)
#define NPF_WALK      BIT(33) /* of the guest's own tables */
#define CR_MOV        BIT(63) /* decode assists: the register is told */

#endif
