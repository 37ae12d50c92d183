/* SPDX-License-Identifier: MIT */
/* Guest registers in the VMCS and in the vCPU object: one by one, and as a whole. */
#include "arch/arch.h"
#include "arch/x86/guest.h"
#include "arch/x86/insn.h"
#include "arch/x86/vmx/controls.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/cpuid.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

/* Bits of CR0 and CR4 that are not the guest's: it sees them as the shadow says, and an attempt to
 * change them exits. All other bits it changes by itself. */
static u64 cr0_owned(void)
{
    return CR0_NE | CR0_NW | CR0_CD | (vmx_caps.cr0_fixed0 & ~(CR0_PE | CR0_PG));
}

static u64 cr4_owned(const struct vcpu *v)
{
    return ~(v->vm->cpuid->cr4_allowed & vmx_caps.cr4_fixed1 & ~CR4_MCE);
}

/* What the CPU runs with: caches on, #MF by exception, machine checks reach us. */
static u64 cr0_real(u64 cr0)
{
    return (cr0 & ~cr0_owned()) | CR0_NE | CR0_ET | (vmx_caps.cr0_fixed0 & ~(CR0_PE | CR0_PG));
}

static u64 cr4_real(const struct vcpu *v, u64 cr4)
{
    return (cr4 & ~cr4_owned(v)) | vmx_caps.cr4_fixed0 | (CR4_MCE & vmx_caps.cr4_fixed1);
}

static void write_cr0_guest(u64 cr0)
{
    vmcs_write(GUEST_CR0, cr0_real(cr0));
    vmcs_write(CR0_SHADOW, cr0);
}

static void write_cr4_guest(const struct vcpu *v, u64 cr4)
{
    vmcs_write(GUEST_CR4, cr4_real(v, cr4));
    vmcs_write(CR4_SHADOW, cr4);
}

/* The CPU keeps "IA-32e mode guest" equal to EFER.LMA; so do we. */
static void write_efer_guest(struct vcpu *v, u64 efer)
{
    u32 entry = vmcs_read32(ENTRY_CONTROLS);

    vmcs_write64(GUEST_EFER, efer);
    vmcs_write32(ENTRY_CONTROLS, efer & EFER_LMA ? entry | (u32)ENTRY_IA32E_GUEST
                                                 : entry & ~(u32)ENTRY_IA32E_GUEST);
    if (efer & EFER_SCE && vmx_msrs_live(v) && !vmx_of(v)->syscall_live) {
        vmx_syscall_load(v);
    }
}

/* Registers that are a field of the VMCS and nothing else. */
static const u16 plain_fields[VIRT_REG_COUNT] = {
    [VIRT_RIP] = VMCS_GUEST_RIP,
    [VIRT_RSP] = VMCS_GUEST_RSP,
    [VIRT_RFLAGS] = VMCS_GUEST_RFLAGS,
    [VIRT_CR3] = VMCS_GUEST_CR3,
    [VIRT_EFER] = VMCS_GUEST_EFER,
    [VIRT_FS_BASE] = VMCS_GUEST_FS_BASE,
    [VIRT_GS_BASE] = VMCS_GUEST_GS_BASE,
    [VIRT_INTERRUPTIBILITY] = VMCS_GUEST_INTERRUPTIBILITY,
    [VIRT_SYSENTER_CS] = VMCS_GUEST_SYSENTER_CS,
    [VIRT_SYSENTER_ESP] = VMCS_GUEST_SYSENTER_ESP,
    [VIRT_SYSENTER_EIP] = VMCS_GUEST_SYSENTER_EIP,
    [VIRT_PAT] = VMCS_GUEST_PAT,
    [VIRT_DEBUGCTL] = VMCS_GUEST_DEBUGCTL,
    [VIRT_DR7] = VMCS_GUEST_DR7,
};

u64 vmx_read(struct vcpu *v, enum virt_reg r)
{
    u64 owned;

    if (plain_fields[r]) {
        return vmread(plain_fields[r]);
    }
    switch (r) {
    case VIRT_CR0:
        owned = cr0_owned();
        return (vmcs_read(GUEST_CR0) & ~owned) | (vmcs_read(CR0_SHADOW) & owned);
    case VIRT_CR4:
        owned = cr4_owned(v);
        return (vmcs_read(GUEST_CR4) & ~owned) | (vmcs_read(CR4_SHADOW) & owned);
    case VIRT_CPL:
        return vmcs_read32(GUEST_SS_ACCESS) >> 5 & 3;
    case VIRT_CS_L:
        return vmcs_read32(GUEST_CS_ACCESS) >> 13 & 1;
    case VIRT_DR6:
        return vmx_of(v)->debug_live ? read_dr6() : v->dr6;
    case VIRT_XCR0:
        return v->xcr0;
    case VIRT_TSC_OFFSET:
        return v->tsc_offset;
    case VIRT_KERNEL_GS_BASE:
        return vmx_msrs_live(v) ? rdmsr(MSR_IA32_KERNEL_GS_BASE) : v->kernel_gs_base;
    case VIRT_STAR:
        return v->star;
    case VIRT_LSTAR:
        return v->lstar;
    case VIRT_FMASK:
        return v->fmask;
    case VIRT_TSC_AUX:
        return v->tsc_aux;
    default:
        return 0;
    }
}

/* A field of v that is also a register of the CPU while live. */
static void write_shared(u64 *field, u32 msr, u64 value, bool live)
{
    *field = value;
    if (live) {
        wrmsr(msr, value);
    }
}

void vmx_write(struct vcpu *v, enum virt_reg r, u64 value)
{
    struct vmx_vcpu *x = vmx_of(v);

    if (r == VIRT_EFER) {
        write_efer_guest(v, value);
    } else if (plain_fields[r]) {
        vmwrite(plain_fields[r], value);
    }
    switch (r) {
    case VIRT_CR3:
    case VIRT_EFER:
        vmx_flush_linear(v);
        break;
    case VIRT_DR6:
        v->dr6 = value;
        if (x->debug_live) {
            write_dr6(value);
        }
        break;
    case VIRT_XCR0:
        v->xcr0 = value;
        xsetbv(0, value);
        break;
    case VIRT_TSC_OFFSET:
        v->tsc_offset = value;
        vmcs_write64(TSC_OFFSET, value);
        break;
    case VIRT_KERNEL_GS_BASE:
        write_shared(&v->kernel_gs_base, MSR_IA32_KERNEL_GS_BASE, value, vmx_msrs_live(v));
        break;
    case VIRT_STAR:
        write_shared(&v->star, MSR_IA32_STAR, value, x->syscall_live);
        break;
    case VIRT_LSTAR:
        write_shared(&v->lstar, MSR_IA32_LSTAR, value, x->syscall_live);
        break;
    case VIRT_FMASK:
        write_shared(&v->fmask, MSR_IA32_FMASK, value, x->syscall_live);
        break;
    case VIRT_TSC_AUX:
        if (vmx_caps.proc2 & PROC2_ENABLE_RDTSCP) { /* else there is no such register */
            write_shared(&v->tsc_aux, MSR_IA32_TSC_AUX, value, vmx_msrs_live(v));
        }
        break;
    default: /* CR0 and CR4: through write_owned() and set_state() only */
        break;
    }
}

bool vmx_write_owned(struct vcpu *v, enum virt_reg r, u64 value)
{
    (void)v;
    if (r == VIRT_CR0) {
        vmcs_write(CR0_SHADOW, value);
    } else if (r == VIRT_CR4) {
        vmcs_write(CR4_SHADOW, value);
    }
    return false;
}

/* --- segments: ES to TR are in the order of the encodings --- */

#define SEGMENT_FIELD(name, i) ((enum vmcs_field)(VMCS_GUEST_ES_##name + 2 * (i)))

static void write_segment(u32 i, const struct vcpu_seg *s)
{
    vmwrite(SEGMENT_FIELD(SELECTOR, i), s->selector);
    vmwrite(SEGMENT_FIELD(BASE, i), s->base);
    vmwrite(SEGMENT_FIELD(LIMIT, i), s->limit);
    vmwrite(SEGMENT_FIELD(ACCESS, i), s->access);
}

static void read_segment(u32 i, struct vcpu_seg *s)
{
    s->selector = (u16)vmread(SEGMENT_FIELD(SELECTOR, i));
    s->base = vmread(SEGMENT_FIELD(BASE, i));
    s->limit = (u32)vmread(SEGMENT_FIELD(LIMIT, i));
    s->access = (u32)vmread(SEGMENT_FIELD(ACCESS, i));
}

/* --- PAE page directory pointers --- */

/* A CPU in 32-bit PAE paging holds the four entries that CR3 points to; ring 3 gives only CR3. */
static int load_pdptes(struct vcpu *v, u64 cr3)
{
    u64 entries[4], bytes;
    u64 gpa = cr3 & 0xffffffe0;
    hpa_t frame;

    if (vm_resolve(v->vm, GPA(gpa & ~PAGE_MASK), &frame, &bytes) != VM_TOUCH_OK) {
        return E_INVAL;
    }
    u64 page = (frame.v & ~(bytes - 1)) | (gpa & (bytes - 1) & ~PAGE_MASK);
    const u8 *window = arch_window_open(HPA(page));
    memcpy(entries, window + (gpa & PAGE_MASK), sizeof(entries));
    arch_window_close();
    vmcs_write64(GUEST_PDPTE0, entries[0]);
    vmcs_write64(GUEST_PDPTE1, entries[1]);
    vmcs_write64(GUEST_PDPTE2, entries[2]);
    vmcs_write64(GUEST_PDPTE3, entries[3]);
    return E_OK;
}

/* --- groups --- */

/* Fields of struct vcpu_state that are a field of the VMCS and nothing else, by group. */
struct state_field {
    u16 offset, field;
    u8 bytes;
};

#define STATE(member, name)                                                                        \
    {                                                                                              \
        offsetof(struct vcpu_state, member), VMCS_##name, sizeof(((struct vcpu_state *)0)->member) \
    }

static const struct state_field gpr_fields[] = {
    STATE(rip, GUEST_RIP),
    STATE(gpr[GPR_RSP], GUEST_RSP),
    STATE(rflags, GUEST_RFLAGS),
};
static const struct state_field sys_fields[] = {
    STATE(gdt_base, GUEST_GDTR_BASE),
    STATE(gdt_limit, GUEST_GDTR_LIMIT),
    STATE(idt_base, GUEST_IDTR_BASE),
    STATE(idt_limit, GUEST_IDTR_LIMIT),
    STATE(cr3, GUEST_CR3),
};
static const struct state_field msr_fields[] = {
    STATE(msr_sysenter_cs, GUEST_SYSENTER_CS),   STATE(msr_sysenter_esp, GUEST_SYSENTER_ESP),
    STATE(msr_sysenter_eip, GUEST_SYSENTER_EIP), STATE(msr_pat, GUEST_PAT),
    STATE(msr_debugctl, GUEST_DEBUGCTL),         STATE(dr7, GUEST_DR7),
    STATE(pending_debug, GUEST_PENDING_DEBUG),
};

static void read_fields(struct vcpu_state *s, const struct state_field *f, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        u64 value = vmread(f[i].field);
        memcpy((char *)s + f[i].offset, &value, f[i].bytes);
    }
}

static void write_fields(const struct vcpu_state *s, const struct state_field *f, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        u64 value = 0;
        memcpy(&value, (const char *)s + f[i].offset, f[i].bytes);
        vmwrite(f[i].field, value);
    }
}

static int set_sys(struct vcpu *v, const struct vcpu_state *s)
{
    bool pae32 = s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LMA);
    if (pae32 && load_pdptes(v, s->cr3) != E_OK) {
        return E_INVAL;
    }
    for (u32 i = 0; i < SEG_COUNT; i++) {
        write_segment(i, &s->seg[i]);
    }
    write_fields(s, sys_fields, ARRAY_SIZE(sys_fields));
    write_cr0_guest(s->cr0);
    write_cr4_guest(v, s->cr4);
    write_efer_guest(v, s->efer);
    if (s->cr8 != apic_cr8(v)) { /* what it does not show of TPR stays */
        apic_set_cr8(v, (u32)s->cr8);
    }
    v->cr2 = s->cr2;
    if (vmx_msrs_live(v)) {
        write_cr2(s->cr2);
    }
    vmx_flush_linear(v);
    return E_OK;
}

static void set_msrs(struct vcpu *v, const struct vcpu_state *s)
{
    if (v->vm->cpuid->xcr0) {
        vmx_write(v, VIRT_XCR0, s->xcr0);
    }
    vmx_write(v, VIRT_STAR, s->msr_star);
    vmx_write(v, VIRT_LSTAR, s->msr_lstar);
    v->cstar = s->msr_cstar;
    vmx_write(v, VIRT_FMASK, s->msr_fmask);
    vmx_write(v, VIRT_KERNEL_GS_BASE, s->msr_kernel_gs_base);
    vmx_write(v, VIRT_TSC_AUX, s->msr_tsc_aux);
    write_fields(s, msr_fields, ARRAY_SIZE(msr_fields));
    vmcs_write(GUEST_DR7, (s->dr7 & ~(BIT(11) | BIT(12) | FIELD(15, 14))) | DR7_FIXED);
    if (s->dr7 & 0xff) {
        vmx_give_debug(v); /* breakpoints are armed: their addresses must be there */
    }
}

int vmx_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups)
{
    if (!guest_state_check(v, s, groups) || (groups & VCPU_STATE_SYS && set_sys(v, s) != E_OK)) {
        return E_INVAL;
    }
    if (groups & VCPU_STATE_MSR) {
        set_msrs(v, s);
    }
    if (groups & VCPU_STATE_GPR) {
        memcpy(v->gpr, s->gpr, sizeof(v->gpr));
        write_fields(s, gpr_fields, ARRAY_SIZE(gpr_fields));
        vmcs_write(GUEST_RFLAGS, (s->rflags & ~RFLAGS_RESERVED) | RFLAGS_FIXED);
    }
    if (groups & VCPU_STATE_EVENT) {
        vmcs_write32(GUEST_INTERRUPTIBILITY, s->interruptibility);
        v->activity = s->halted;
    }
    return E_OK;
}

void vmx_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups)
{
    if (groups & VCPU_STATE_GPR) {
        memcpy(s->gpr, v->gpr, sizeof(s->gpr));
        read_fields(s, gpr_fields, ARRAY_SIZE(gpr_fields));
    }
    if (groups & VCPU_STATE_SYS) {
        for (u32 i = 0; i < SEG_COUNT; i++) {
            read_segment(i, &s->seg[i]);
        }
        read_fields(s, sys_fields, ARRAY_SIZE(sys_fields));
        s->cr0 = vmx_read(v, VIRT_CR0);
        s->cr2 = vmx_msrs_live(v) ? read_cr2() : v->cr2;
        s->cr4 = vmx_read(v, VIRT_CR4);
        s->cr8 = apic_cr8(v);
        s->efer = vmcs_read64(GUEST_EFER);
    }
    if (groups & VCPU_STATE_MSR) {
        s->xcr0 = v->xcr0;
        s->msr_star = v->star;
        s->msr_lstar = v->lstar;
        s->msr_cstar = v->cstar;
        s->msr_fmask = v->fmask;
        s->msr_kernel_gs_base = vmx_read(v, VIRT_KERNEL_GS_BASE);
        s->msr_tsc_aux = v->tsc_aux;
        read_fields(s, msr_fields, ARRAY_SIZE(msr_fields));
    }
    if (groups & VCPU_STATE_EVENT) {
        s->interruptibility = vmcs_read32(GUEST_INTERRUPTIBILITY);
        s->halted = v->activity;
    }
}

u32 vmx_code_mode(struct vcpu *v, u64 *cr3)
{
    (void)v;
    *cr3 = vmcs_read(GUEST_CR3);
    if (!(vmcs_read64(GUEST_EFER) & EFER_LMA) || !(vmcs_read32(GUEST_CS_ACCESS) & BIT(13))) {
        return 0;
    }
    return vmcs_read(GUEST_CR4) & CR4_LA57 ? VX_ACCESS_CODE64 | VX_ACCESS_LA57 : VX_ACCESS_CODE64;
}

/* SDM 3A "Processor State After Reset", the columns for INIT; what is not named is 0. MSRs but
 * those named here stay as they are. */
void vmx_reset_state(struct vcpu *v)
{
    static const struct {
        u16 field;
        u64 value;
    } values[] = {
        {VMCS_GUEST_GDTR_LIMIT,   0xffff         },
        {VMCS_GUEST_IDTR_LIMIT,   0xffff         },
        {VMCS_GUEST_DR7,          DR7_FIXED      },
        {VMCS_GUEST_RFLAGS,       RFLAGS_FIXED   },
        {VMCS_GUEST_RIP,          0xfff0         },
        {VMCS_GUEST_ACTIVITY,     ACTIVITY_ACTIVE},
        {VMCS_GUEST_LINK_POINTER, ~0ull          },
    };
    static const u16 zero[] = {
        VMCS_GUEST_GDTR_BASE, VMCS_GUEST_IDTR_BASE,        VMCS_GUEST_CR3,
        VMCS_GUEST_PDPTE0,    VMCS_GUEST_PDPTE1,           VMCS_GUEST_PDPTE2,
        VMCS_GUEST_PDPTE3,    VMCS_GUEST_DEBUGCTL,         VMCS_GUEST_PREEMPT_TIMER,
        VMCS_GUEST_RSP,       VMCS_GUEST_INTERRUPTIBILITY, VMCS_GUEST_PENDING_DEBUG,
    };
    static const u32 access[SEG_COUNT] = {
        [SEG_ES] = 0x93, [SEG_CS] = 0x9b, [SEG_SS] = 0x93,   [SEG_DS] = 0x93,
        [SEG_FS] = 0x93, [SEG_GS] = 0x93, [SEG_LDTR] = 0x82, [SEG_TR] = 0x8b,
    };

    for (u32 i = 0; i < SEG_COUNT; i++) {
        write_segment(i, &(struct vcpu_seg){.limit = 0xffff, .access = access[i]});
    }
    vmcs_write16(GUEST_CS_SELECTOR, 0xf000);
    vmcs_write(GUEST_CS_BASE, 0xffff0000);
    for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
        vmwrite(values[i].field, values[i].value);
    }
    for (u32 i = 0; i < ARRAY_SIZE(zero); i++) {
        vmwrite(zero[i], 0);
    }
    vmcs_write(CR0_MASK, cr0_owned());
    vmcs_write(CR4_MASK, cr4_owned(v));
    write_cr0_guest((vmcs_read(CR0_SHADOW) & (CR0_CD | CR0_NW)) | CR0_ET);
    write_cr4_guest(v, 0);
    write_efer_guest(v, 0);
    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[GPR_RDX] = v->vm->cpuid->signature;
}

void vmx_start(struct vcpu *v, u8 vector)
{
    (void)v;
    vmcs_write16(GUEST_CS_SELECTOR, (u32)vector << 8);
    vmcs_write(GUEST_CS_BASE, (u64)vector << 12);
    vmcs_write(GUEST_RIP, 0);
}
