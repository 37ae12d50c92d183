/* SPDX-License-Identifier: MIT */
/* The virtual machine control block, its control bits and its exit codes. APM 2 "Layout of VMCB",
 * "SVM Intercept Exit Codes". */
#ifndef ARCH_X86_SVM_VMCB_H
#define ARCH_X86_SVM_VMCB_H

#include "lib/types.h"

/* intercept[0] */
#define INTERCEPT_INTR     BIT(0)
#define INTERCEPT_NMI      BIT(1)
#define INTERCEPT_INIT     BIT(3)
#define INTERCEPT_VINTR    BIT(4)
#define INTERCEPT_RDPMC    BIT(15)
#define INTERCEPT_CPUID    BIT(18)
#define INTERCEPT_RSM      BIT(19)
#define INTERCEPT_IRET     BIT(20)
#define INTERCEPT_INVD     BIT(22)
#define INTERCEPT_PAUSE    BIT(23)
#define INTERCEPT_HLT      BIT(24)
#define INTERCEPT_INVLPGA  BIT(26)
#define INTERCEPT_IO       BIT(27) /* as the I/O permission map says */
#define INTERCEPT_MSR      BIT(28) /* as the MSR permission map says */
#define INTERCEPT_TASK     BIT(29)
#define INTERCEPT_FERR     BIT(30) /* the CPU freezes for an x87 error with CR0.NE = 0 */
#define INTERCEPT_SHUTDOWN BIT(31)
/* intercept[1] */
#define INTERCEPT_VMRUN   BIT(0) /* must be set */
#define INTERCEPT_VMMCALL BIT(1)
#define INTERCEPT_VMLOAD  BIT(2)
#define INTERCEPT_VMSAVE  BIT(3)
#define INTERCEPT_STGI    BIT(4)
#define INTERCEPT_CLGI    BIT(5)
#define INTERCEPT_SKINIT  BIT(6)
#define INTERCEPT_ICEBP   BIT(8)
#define INTERCEPT_WBINVD  BIT(9)
#define INTERCEPT_MONITOR BIT(10)
#define INTERCEPT_MWAIT   FIELD(12, 11)
#define INTERCEPT_XSETBV  BIT(13)
#define INTERCEPT_RDPRU   BIT(14)
/* intercept[2] */
#define INTERCEPT_INVLPGB FIELD(1, 0)
#define INTERCEPT_MCOMMIT BIT(3)
#define INTERCEPT_TLBSYNC BIT(4)

/* int_ctl */
#define V_TPR     FIELD(7, 0)
#define V_IRQ     BIT(8)
#define V_PRIO(n) ((u32)(n) << 16)
#define V_IGN_TPR BIT(20)
#define V_INTR_MASKING                                                                             \
    BIT(24) /* RFLAGS.IF and CR8 are the guest's own; interrupts obey the host's IF */

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
    u8 reserved12[0x1000 - 0x670];
};
_Static_assert(offsetof(struct vmcb, io_map) == 0x40, "vmcb");
_Static_assert(offsetof(struct vmcb, exit_code) == 0x70, "vmcb");
_Static_assert(offsetof(struct vmcb, event_inj) == 0xa8, "vmcb");
_Static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "vmcb");
_Static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "vmcb");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "vmcb");
_Static_assert(offsetof(struct vmcb, cr4) == 0x548, "vmcb");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "vmcb");
_Static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "vmcb");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "vmcb");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "vmcb");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "vmcb");
_Static_assert(sizeof(struct vmcb) == PAGE_SIZE, "vmcb");

enum svm_exit {
    SVM_CR0_READ = 0x00,
    SVM_CR0_WRITE = 0x10,
    SVM_DR0_READ = 0x20,
    SVM_DR15_WRITE = 0x3f,
    SVM_EXCEPTION = 0x40, /* + vector */
    SVM_INTR = 0x60,
    SVM_NMI = 0x61,
    SVM_INIT = 0x63,
    SVM_VINTR = 0x64,
    SVM_RDPMC = 0x6f,
    SVM_CPUID = 0x72,
    SVM_RSM = 0x73,
    SVM_IRET = 0x74,
    SVM_INVD = 0x76,
    SVM_PAUSE = 0x77,
    SVM_HLT = 0x78,
    SVM_INVLPGA = 0x7a,
    SVM_IO = 0x7b,
    SVM_MSR = 0x7c,
    SVM_FERR = 0x7e,
    SVM_SHUTDOWN = 0x7f,
    SVM_VMRUN = 0x80,
    SVM_VMMCALL = 0x81,
    SVM_VMLOAD = 0x82,
    SVM_SKINIT = 0x86,
    SVM_ICEBP = 0x88,
    SVM_WBINVD = 0x89,
    SVM_MONITOR = 0x8a,
    SVM_MWAIT_ARMED = 0x8c,
    SVM_XSETBV = 0x8d,
    SVM_RDPRU = 0x8e,
    SVM_INVLPGB = 0xa0,
    SVM_TLBSYNC = 0xa4,
    SVM_NPF = 0x400,
    SVM_INVALID = -1,
};

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
