/* SPDX-License-Identifier: MIT */
/* What the backends share of a guest's registers. */
#include "arch/x86/guest.h"

#include "arch/arch.h"
#include "arch/x86/insn.h"
#include "kernel/cpuid.h"
#include "kernel/cr.h"
#include "kernel/log.h"
#include "kernel/virt.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "lib/string.h"

/* The legacy region of an XSAVE area, SDM 1 "XSAVE Area". */
#define XSAVE_FCW         0
#define XSAVE_FTW         4
#define XSAVE_MXCSR       24
#define XSAVE_XSTATE_BV   512
#define FCW_AFTER_RESET   0x40
#define MXCSR_AFTER_RESET 0x1f80
#define FTW_ALL_VALID     0xff /* abridged form of 5555h: eight zeros */

static u64 components; /* of XCR0 that guests may use: all of these are switched; 0: no XSAVE */

const char *guest_preflight(void)
{
    u32 r[4];
    u64 bytes = 512 + 64;

    components = cpuid_xcr0_of(arch_cpuid);
    for (u32 i = 2; i < 63; i++) {
        if (components & BIT(i)) {
            arch_cpuid(0xd, i, r);
            bytes = MAX(bytes, (u64)r[0] + r[1]);
        }
    }
    return bytes > GUEST_FPU_BYTES ? "this CPU's XSAVE area is larger than Socle expects" : NULL;
}

u64 guest_fpu_cr4(void)
{
    return CR4_OSFXSR | CR4_OSXMMEXCPT | (components ? CR4_OSXSAVE : 0);
}

void guest_fpu_reset(struct vcpu *v)
{
    u8 *area = v->fpu;

    memset(area, 0, GUEST_FPU_BYTES);
    area[XSAVE_FCW] = FCW_AFTER_RESET;
    area[XSAVE_FTW] = FTW_ALL_VALID;
    *(u32 *)(area + XSAVE_MXCSR) = MXCSR_AFTER_RESET;
    *(u64 *)(area + XSAVE_XSTATE_BV) = components & FIELD(1, 0);
}

/* The state of a component stays while the guest has its bit of XCR0 off, so all are switched, with
 * XCR0 opened for it. */
static void fpu_load(struct vcpu *v)
{
    clts();
    if (components) {
        xsetbv(0, components);
        __asm__ volatile("xrstor64 (%0)"
                         :
                         : "r"(v->fpu), "a"((u32)components), "d"((u32)(components >> 32))
                         : "memory");
        if (v->xcr0 != components) {
            xsetbv(0, v->xcr0);
        }
    } else {
        __asm__ volatile("fxrstor64 (%0)" : : "r"(v->fpu) : "memory");
    }
    write_cr0(read_cr0() | CR0_TS);
}

static void fpu_unload(struct vcpu *v)
{
    clts();
    if (components) {
        if (v->xcr0 != components) {
            xsetbv(0, components);
        }
        __asm__ volatile("xsave64 (%0)"
                         :
                         : "r"(v->fpu), "a"((u32)components), "d"((u32)(components >> 32))
                         : "memory");
    } else {
        __asm__ volatile("fxsave64 (%0)" : : "r"(v->fpu) : "memory");
    }
    write_cr0(read_cr0() | CR0_TS);
}

void guest_fpu_sync(struct vcpu *v)
{
    if (components) {
        v->xcr0 = xgetbv(0);
    }
}

/* --- debug registers: a guest that never touches them costs nothing --- */

static void debug_load(const struct vcpu *v)
{
    __asm__ volatile("mov %0, %%dr0" : : "r"(v->dr[0]));
    __asm__ volatile("mov %0, %%dr1" : : "r"(v->dr[1]));
    __asm__ volatile("mov %0, %%dr2" : : "r"(v->dr[2]));
    __asm__ volatile("mov %0, %%dr3" : : "r"(v->dr[3]));
    write_dr6(v->dr6);
}

static void debug_save(struct vcpu *v)
{
    __asm__ volatile("mov %%dr0, %0" : "=r"(v->dr[0]));
    __asm__ volatile("mov %%dr1, %0" : "=r"(v->dr[1]));
    __asm__ volatile("mov %%dr2, %0" : "=r"(v->dr[2]));
    __asm__ volatile("mov %%dr3, %0" : "=r"(v->dr[3]));
    v->dr6 = read_dr6();
}

static void set_debug_live(struct vcpu *v, bool live)
{
    v->debug_live = live;
    virt->intercept_debug(v, !live);
}

void virt_give_debug(struct vcpu *v)
{
    if (!v->debug_live) {
        debug_load(v);
        set_debug_live(v, true);
    }
}

void guest_load(struct vcpu *v)
{
    fpu_load(v);
    if (v->debug_live) {
        debug_load(v);
    }
}

void guest_unload(struct vcpu *v)
{
    fpu_unload(v);
    if (v->debug_live) {
        debug_save(v);
        if (!(virt->read(v, VIRT_DR7) & 0xff)) {
            set_debug_live(v, false); /* none is armed: wait for the next MOV DR */
        }
    }
}

/* --- whole state --- */

static bool check_sys(const struct vcpu *v, const struct vcpu_state *s)
{
    const struct cr_state cr = {s->cr0, s->cr3, s->cr4, s->efer, false};
    const struct cpuid_table *t = v->vm->cpuid;

    return cr_state_check(&cr, t->cr4_allowed, t->efer_allowed) && s->cr8 <= 15;
}

static bool check_msrs(const struct vcpu *v, const struct vcpu_state *s)
{
    u64 supported = v->vm->cpuid->xcr0;

    if (!address_canonical(s->msr_lstar) || !address_canonical(s->msr_cstar) ||
        !address_canonical(s->msr_kernel_gs_base) || !address_canonical(s->msr_sysenter_esp) ||
        !address_canonical(s->msr_sysenter_eip) || s->msr_fmask >> 32 || s->msr_tsc_aux >> 32 ||
        s->msr_sysenter_cs >> 32 || !pat_check(s->msr_pat) || s->msr_debugctl & ~DEBUGCTL_BTF ||
        s->dr7 >> 32 || s->pending_debug & ~(FIELD(3, 0) | BIT(12) | BIT(14))) {
        return false;
    }
    return supported ? xcr0_check(s->xcr0, supported) : s->xcr0 <= 1;
}

/* Could a CPU be in the state that ring 3 gives, in these groups? */
static bool check_state(const struct vcpu *v, const struct vcpu_state *s, u32 groups)
{
    if (groups & VCPU_STATE_EVENT &&
        (s->interruptibility & ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS | BLOCKED_BY_NMI) ||
         (s->interruptibility & 3) == 3 || s->halted > VCPU_WAIT_SIPI)) {
        return false;
    }
    return (!(groups & VCPU_STATE_SYS) || check_sys(v, s)) &&
           (!(groups & VCPU_STATE_MSR) || check_msrs(v, s));
}

/* In the order of the groups. */
static const struct {
    u16 offset;
    u8 reg, group;
} registers[] = {
#define REGISTER(member, reg, group)                                                               \
    {                                                                                              \
        offsetof(struct vcpu_state, member), reg, group                                            \
    }
    REGISTER(rip, VIRT_RIP, VCPU_STATE_GPR),
    REGISTER(gpr[GPR_RSP], VIRT_RSP, VCPU_STATE_GPR),
    REGISTER(rflags, VIRT_RFLAGS, VCPU_STATE_GPR),
    REGISTER(cr0, VIRT_CR0, VCPU_STATE_SYS),
    REGISTER(cr2, VIRT_CR2, VCPU_STATE_SYS),
    REGISTER(cr3, VIRT_CR3, VCPU_STATE_SYS),
    REGISTER(cr4, VIRT_CR4, VCPU_STATE_SYS),
    REGISTER(efer, VIRT_EFER, VCPU_STATE_SYS),
    REGISTER(xcr0, VIRT_XCR0, VCPU_STATE_MSR),
    REGISTER(msr_star, VIRT_STAR, VCPU_STATE_MSR),
    REGISTER(msr_lstar, VIRT_LSTAR, VCPU_STATE_MSR),
    REGISTER(msr_fmask, VIRT_FMASK, VCPU_STATE_MSR),
    REGISTER(msr_kernel_gs_base, VIRT_KERNEL_GS_BASE, VCPU_STATE_MSR),
    REGISTER(msr_tsc_aux, VIRT_TSC_AUX, VCPU_STATE_MSR),
    REGISTER(msr_sysenter_cs, VIRT_SYSENTER_CS, VCPU_STATE_MSR),
    REGISTER(msr_sysenter_esp, VIRT_SYSENTER_ESP, VCPU_STATE_MSR),
    REGISTER(msr_sysenter_eip, VIRT_SYSENTER_EIP, VCPU_STATE_MSR),
    REGISTER(msr_pat, VIRT_PAT, VCPU_STATE_MSR),
    REGISTER(msr_debugctl, VIRT_DEBUGCTL, VCPU_STATE_MSR),
    REGISTER(dr7, VIRT_DR7, VCPU_STATE_MSR),
    REGISTER(pending_debug, VIRT_PENDING_DEBUG, VCPU_STATE_MSR),
};

void virt_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups)
{
    struct vcpu_seg gdt, idt;

    if (groups & VCPU_STATE_GPR) {
        memcpy(s->gpr, v->gpr, sizeof(s->gpr));
    }
    for (u32 i = 0; i < ARRAY_SIZE(registers) && registers[i].group <= groups; i++) {
        if (groups & registers[i].group) {
            *(u64 *)((char *)s + registers[i].offset) = virt->read(v, registers[i].reg);
        }
    }
    if (groups & VCPU_STATE_SYS) {
        s->cr8 = apic_cr8(v);
        for (u32 i = 0; i < SEG_COUNT; i++) {
            virt->get_segment(v, i, &s->seg[i]);
        }
        virt->get_segment(v, VIRT_GDTR, &gdt);
        virt->get_segment(v, VIRT_IDTR, &idt);
        s->gdt_base = gdt.base;
        s->gdt_limit = gdt.limit;
        s->idt_base = idt.base;
        s->idt_limit = idt.limit;
    }
    if (groups & VCPU_STATE_MSR) {
        s->msr_cstar = v->cstar;
    }
    if (groups & VCPU_STATE_EVENT) {
        s->interruptibility = (u32)virt->read(v, VIRT_INTERRUPTIBILITY);
        s->halted = v->activity;
    }
}

/* Bits that are not the guest's to choose. */
static u64 fixed(u32 reg, u64 value)
{
    switch (reg) {
    case VIRT_RFLAGS:
        return (value & ~RFLAGS_RESERVED) | RFLAGS_FIXED;
    case VIRT_DR7:
        return (value & ~(FIELD(12, 11) | FIELD(15, 14))) | DR7_FIXED;
    default:
        return value;
    }
}

int virt_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups)
{
    if (!check_state(v, s, groups) || (groups & VCPU_STATE_SYS && virt->set_cr(v, s) != E_OK)) {
        return E_INVAL;
    }
    if (groups & VCPU_STATE_GPR) {
        memcpy(v->gpr, s->gpr, sizeof(v->gpr));
    }
    for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
        u32 reg = registers[i].reg;
        u64 value = fixed(reg, *(const u64 *)((const char *)s + registers[i].offset));
        /* what is there already is not written: some registers not all CPUs have */
        if (groups & registers[i].group && value != virt->read(v, reg) &&
            (reg != VIRT_XCR0 || v->vm->cpuid->xcr0)) {
            virt->write(v, reg, value);
        }
    }
    if (groups & VCPU_STATE_SYS) {
        for (u32 i = 0; i < SEG_COUNT; i++) {
            virt->set_segment(v, i, &s->seg[i]);
        }
        virt->set_segment(v, VIRT_GDTR,
                          &(struct vcpu_seg){.base = s->gdt_base, .limit = s->gdt_limit});
        virt->set_segment(v, VIRT_IDTR,
                          &(struct vcpu_seg){.base = s->idt_base, .limit = s->idt_limit});
        if (s->cr8 != apic_cr8(v)) { /* the half of TPR that it does not show stays */
            apic_set_cr8(v, (u32)s->cr8);
        }
    }
    if (groups & VCPU_STATE_MSR) {
        v->cstar = s->msr_cstar;
        if (s->dr7 & 0xff) {
            virt_give_debug(v); /* breakpoints are armed: their addresses must be there */
        }
    }
    if (groups & VCPU_STATE_EVENT) {
        virt->write(v, VIRT_INTERRUPTIBILITY, s->interruptibility);
        v->activity = s->halted;
    }
    return E_OK;
}

/* SDM 3A "Processor State After Reset", the columns for INIT; what is not named is 0. MSRs but
 * EFER and DEBUGCTL stay as they are. */
void guest_reset(struct vcpu *v)
{
    static const u8 access[SEG_COUNT] = {
        [SEG_ES] = 0x93, [SEG_CS] = 0x9b, [SEG_SS] = 0x93,   [SEG_DS] = 0x93,
        [SEG_FS] = 0x93, [SEG_GS] = 0x93, [SEG_LDTR] = 0x82, [SEG_TR] = 0x8b,
    };
    struct vcpu_state s = {0};

    for (u32 i = 0; i < SEG_COUNT; i++) {
        s.seg[i] = (struct vcpu_seg){.limit = 0xffff, .access = access[i]};
    }
    s.seg[SEG_CS].selector = 0xf000;
    s.seg[SEG_CS].base = 0xffff0000;
    s.gdt_limit = s.idt_limit = 0xffff;
    s.rflags = RFLAGS_FIXED;
    s.rip = 0xfff0;
    s.gpr[GPR_RDX] = v->vm->cpuid->signature;
    s.cr0 = (virt->read(v, VIRT_CR0) & (CR0_CD | CR0_NW)) | CR0_ET;
    s.halted = v->activity;
    ASSERT(virt_set_state(v, &s, VCPU_STATE_GPR | VCPU_STATE_SYS | VCPU_STATE_EVENT) == E_OK);
    memset(v->dr, 0, sizeof(v->dr));
    set_debug_live(v, false);
    virt->write(v, VIRT_DR6, DR6_FIXED);
    virt->write(v, VIRT_DR7, DR7_FIXED);
    virt->write(v, VIRT_DEBUGCTL, 0);
}

void virt_start(struct vcpu *v, u8 vector)
{
    struct vcpu_seg cs;

    virt->get_segment(v, SEG_CS, &cs);
    cs.selector = (u16)(vector << 8);
    cs.base = (u64)vector << 12;
    virt->set_segment(v, SEG_CS, &cs);
    virt->write(v, VIRT_RIP, 0);
}
