/* SPDX-License-Identifier: MIT */
/* The fields of a VMCS that are used or checked: one list with name and encoding, SDM 3D "Field
 * Encoding in VMCS". Bits 14:13 of an encoding are the width, bits 11:10 the kind. */
#ifndef LIB_HW_VMCS_H
#define LIB_HW_VMCS_H

#include "lib/types.h"

/* Fields that every CPU with EPT and unrestricted guests has. */
#define VMCS_FIELDS(X)                                                                             \
    /* 16-bit guest state */                                                                       \
    X(GUEST_ES_SELECTOR, 0x0800)                                                                   \
    X(GUEST_CS_SELECTOR, 0x0802)                                                                   \
    X(GUEST_SS_SELECTOR, 0x0804)                                                                   \
    X(GUEST_DS_SELECTOR, 0x0806)                                                                   \
    X(GUEST_FS_SELECTOR, 0x0808)                                                                   \
    X(GUEST_GS_SELECTOR, 0x080a)                                                                   \
    X(GUEST_LDTR_SELECTOR, 0x080c)                                                                 \
    X(GUEST_TR_SELECTOR, 0x080e)                                                                   \
    /* 16-bit host state */                                                                        \
    X(HOST_ES_SELECTOR, 0x0c00)                                                                    \
    X(HOST_CS_SELECTOR, 0x0c02)                                                                    \
    X(HOST_SS_SELECTOR, 0x0c04)                                                                    \
    X(HOST_DS_SELECTOR, 0x0c06)                                                                    \
    X(HOST_FS_SELECTOR, 0x0c08)                                                                    \
    X(HOST_GS_SELECTOR, 0x0c0a)                                                                    \
    X(HOST_TR_SELECTOR, 0x0c0c)                                                                    \
    /* 64-bit control */                                                                           \
    X(IO_BITMAP_A, 0x2000)                                                                         \
    X(IO_BITMAP_B, 0x2002)                                                                         \
    X(MSR_BITMAP, 0x2004)                                                                          \
    X(TSC_OFFSET, 0x2010)                                                                          \
    X(EPT_POINTER, 0x201a)                                                                         \
    /* 64-bit read-only */                                                                         \
    X(GUEST_PHYSICAL_ADDRESS, 0x2400)                                                              \
    /* 64-bit guest state */                                                                       \
    X(GUEST_LINK_POINTER, 0x2800)                                                                  \
    X(GUEST_DEBUGCTL, 0x2802)                                                                      \
    X(GUEST_PAT, 0x2804)                                                                           \
    X(GUEST_EFER, 0x2806)                                                                          \
    X(GUEST_PDPTE0, 0x280a)                                                                        \
    X(GUEST_PDPTE1, 0x280c)                                                                        \
    X(GUEST_PDPTE2, 0x280e)                                                                        \
    X(GUEST_PDPTE3, 0x2810)                                                                        \
    /* 64-bit host state */                                                                        \
    X(HOST_PAT, 0x2c00)                                                                            \
    X(HOST_EFER, 0x2c02)                                                                           \
    /* 32-bit control */                                                                           \
    X(PIN_CONTROLS, 0x4000)                                                                        \
    X(PROC_CONTROLS, 0x4002)                                                                       \
    X(EXCEPTION_BITMAP, 0x4004)                                                                    \
    X(PF_ERROR_MASK, 0x4006)                                                                       \
    X(PF_ERROR_MATCH, 0x4008)                                                                      \
    X(CR3_TARGET_COUNT, 0x400a)                                                                    \
    X(EXIT_CONTROLS, 0x400c)                                                                       \
    X(EXIT_MSR_STORE_COUNT, 0x400e)                                                                \
    X(EXIT_MSR_LOAD_COUNT, 0x4010)                                                                 \
    X(ENTRY_CONTROLS, 0x4012)                                                                      \
    X(ENTRY_MSR_LOAD_COUNT, 0x4014)                                                                \
    X(ENTRY_INTR_INFO, 0x4016)                                                                     \
    X(ENTRY_ERROR_CODE, 0x4018)                                                                    \
    X(ENTRY_INSTR_LENGTH, 0x401a)                                                                  \
    X(PROC2_CONTROLS, 0x401e)                                                                      \
    /* 32-bit read-only */                                                                         \
    X(INSTRUCTION_ERROR, 0x4400)                                                                   \
    X(EXIT_REASON, 0x4402)                                                                         \
    X(EXIT_INTR_INFO, 0x4404)                                                                      \
    X(EXIT_INTR_ERROR, 0x4406)                                                                     \
    X(IDT_VECTORING_INFO, 0x4408)                                                                  \
    X(IDT_VECTORING_ERROR, 0x440a)                                                                 \
    X(EXIT_INSTR_LENGTH, 0x440c)                                                                   \
    X(EXIT_INSTR_INFO, 0x440e)                                                                     \
    /* 32-bit guest state */                                                                       \
    X(GUEST_ES_LIMIT, 0x4800)                                                                      \
    X(GUEST_CS_LIMIT, 0x4802)                                                                      \
    X(GUEST_SS_LIMIT, 0x4804)                                                                      \
    X(GUEST_DS_LIMIT, 0x4806)                                                                      \
    X(GUEST_FS_LIMIT, 0x4808)                                                                      \
    X(GUEST_GS_LIMIT, 0x480a)                                                                      \
    X(GUEST_LDTR_LIMIT, 0x480c)                                                                    \
    X(GUEST_TR_LIMIT, 0x480e)                                                                      \
    X(GUEST_GDTR_LIMIT, 0x4810)                                                                    \
    X(GUEST_IDTR_LIMIT, 0x4812)                                                                    \
    X(GUEST_ES_ACCESS, 0x4814)                                                                     \
    X(GUEST_CS_ACCESS, 0x4816)                                                                     \
    X(GUEST_SS_ACCESS, 0x4818)                                                                     \
    X(GUEST_DS_ACCESS, 0x481a)                                                                     \
    X(GUEST_FS_ACCESS, 0x481c)                                                                     \
    X(GUEST_GS_ACCESS, 0x481e)                                                                     \
    X(GUEST_LDTR_ACCESS, 0x4820)                                                                   \
    X(GUEST_TR_ACCESS, 0x4822)                                                                     \
    X(GUEST_INTERRUPTIBILITY, 0x4824)                                                              \
    X(GUEST_ACTIVITY, 0x4826)                                                                      \
    X(GUEST_SYSENTER_CS, 0x482a)                                                                   \
    X(GUEST_PREEMPT_TIMER, 0x482e)                                                                 \
    /* 32-bit host state */                                                                        \
    X(HOST_SYSENTER_CS, 0x4c00)                                                                    \
    /* natural-width control */                                                                    \
    X(CR0_MASK, 0x6000)                                                                            \
    X(CR4_MASK, 0x6002)                                                                            \
    X(CR0_SHADOW, 0x6004)                                                                          \
    X(CR4_SHADOW, 0x6006)                                                                          \
    /* natural-width read-only */                                                                  \
    X(EXIT_QUALIFICATION, 0x6400)                                                                  \
    X(GUEST_LINEAR_ADDRESS, 0x640a)                                                                \
    /* natural-width guest state */                                                                \
    X(GUEST_CR0, 0x6800)                                                                           \
    X(GUEST_CR3, 0x6802)                                                                           \
    X(GUEST_CR4, 0x6804)                                                                           \
    X(GUEST_ES_BASE, 0x6806)                                                                       \
    X(GUEST_CS_BASE, 0x6808)                                                                       \
    X(GUEST_SS_BASE, 0x680a)                                                                       \
    X(GUEST_DS_BASE, 0x680c)                                                                       \
    X(GUEST_FS_BASE, 0x680e)                                                                       \
    X(GUEST_GS_BASE, 0x6810)                                                                       \
    X(GUEST_LDTR_BASE, 0x6812)                                                                     \
    X(GUEST_TR_BASE, 0x6814)                                                                       \
    X(GUEST_GDTR_BASE, 0x6816)                                                                     \
    X(GUEST_IDTR_BASE, 0x6818)                                                                     \
    X(GUEST_DR7, 0x681a)                                                                           \
    X(GUEST_RSP, 0x681c)                                                                           \
    X(GUEST_RIP, 0x681e)                                                                           \
    X(GUEST_RFLAGS, 0x6820)                                                                        \
    X(GUEST_PENDING_DEBUG, 0x6822)                                                                 \
    X(GUEST_SYSENTER_ESP, 0x6824)                                                                  \
    X(GUEST_SYSENTER_EIP, 0x6826)                                                                  \
    /* natural-width host state */                                                                 \
    X(HOST_CR0, 0x6c00)                                                                            \
    X(HOST_CR3, 0x6c02)                                                                            \
    X(HOST_CR4, 0x6c04)                                                                            \
    X(HOST_FS_BASE, 0x6c06)                                                                        \
    X(HOST_GS_BASE, 0x6c08)                                                                        \
    X(HOST_TR_BASE, 0x6c0a)                                                                        \
    X(HOST_GDTR_BASE, 0x6c0c)                                                                      \
    X(HOST_IDTR_BASE, 0x6c0e)                                                                      \
    X(HOST_SYSENTER_ESP, 0x6c10)                                                                   \
    X(HOST_SYSENTER_EIP, 0x6c12)                                                                   \
    X(HOST_RSP, 0x6c14)                                                                            \
    X(HOST_RIP, 0x6c16)

/* Fields that exist only with their control: never read unless it is on. */
#define VMCS_OPTIONAL_FIELDS(X)                                                                    \
    X(VPID, 0x0000)              /* PROC2_ENABLE_VPID */                                           \
    X(POSTED_VECTOR, 0x0002)     /* PIN_POSTED_INTR */                                             \
    X(GUEST_INTR_STATUS, 0x0810) /* PROC2_VIRT_INTR_DELIVERY */                                    \
    X(VIRTUAL_APIC, 0x2012)      /* PROC_TPR_SHADOW */                                             \
    X(POSTED_DESCRIPTOR, 0x2016) /* PIN_POSTED_INTR */                                             \
    X(EOI_EXIT_BITMAP_0, 0x201c) /* PROC2_VIRT_INTR_DELIVERY, four */                              \
    X(EOI_EXIT_BITMAP_1, 0x201e)                                                                   \
    X(EOI_EXIT_BITMAP_2, 0x2020)                                                                   \
    X(EOI_EXIT_BITMAP_3, 0x2022)                                                                   \
    X(TPR_THRESHOLD, 0x401c) /* PROC_TPR_SHADOW */                                                 \
    X(ENCLS_BITMAP, 0x202e)  /* PROC2_ENCLS_EXITING */                                             \
    X(ENCLV_BITMAP, 0x2036)  /* PROC2_ENCLV_EXITING */                                             \
    X(PLE_GAP, 0x4020)       /* PROC2_PAUSE_LOOP_EXITING */                                        \
    X(PLE_WINDOW, 0x4022)

enum vmcs_field {
#define FIELD_ENUM(name, encoding) VMCS_##name = encoding,
    VMCS_FIELDS(FIELD_ENUM) VMCS_OPTIONAL_FIELDS(FIELD_ENUM)
#undef FIELD_ENUM
};

/* Position in a snapshot. */
enum vmcs_index {
#define FIELD_INDEX(name, encoding) VMCS_INDEX_##name,
    VMCS_FIELDS(FIELD_INDEX) VMCS_OPTIONAL_FIELDS(FIELD_INDEX)
#undef FIELD_INDEX
        VMCS_FIELD_COUNT
};

/* The capability MSRs of a CPU as read; those that BASIC or a control says are absent are 0. */
struct vmx_msrs {
    u64 feature_control;
    u64 basic;
    u64 pin, proc, exit, entry; /* the TRUE ones where BASIC has them */
    u64 proc2;
    u64 misc;
    u64 cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    u64 ept_vpid;
};

/* All fields as one structure; those that the CPU lacks are 0. */
struct vmcs_snapshot {
    u64 value[VMCS_FIELD_COUNT];
};

/* SYS_VCPU_REPORT on a CPU with VT-x. */
struct vmx_report {
    u64 kind;      /* VCPU_REPORT_VMX */
    u64 phys_bits; /* width of physical addresses */
    struct vmx_msrs msrs;
    struct vmcs_snapshot fields;
};

enum { VMCS_WIDTH_16, VMCS_WIDTH_64, VMCS_WIDTH_32, VMCS_WIDTH_NATURAL };
#define VMCS_WIDTH(encoding) ((encoding) >> 13 & 3)

#endif
