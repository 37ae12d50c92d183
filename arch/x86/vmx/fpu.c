/* SPDX-License-Identifier: MIT */
/*
 * Registers of the CPU that no VMCS field covers. A guest's FPU state and debug registers stay in
 * the CPU as long as the vCPU is resident: the kernel and ring 3 use neither (CR0.TS is set outside
 * guests). The SYSCALL MSRs and CR2 go back to ring 3 whenever it runs.
 */
#include "arch/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "arch/x86/vmx/controls.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"
#include "kernel/cpuid.h"
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

u64 vmx_fpu_bytes(void)
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
    return bytes;
}

u64 vmx_fpu_cr4(void)
{
    return CR4_OSFXSR | CR4_OSXMMEXCPT | (components ? CR4_OSXSAVE : 0);
}

void vmx_fpu_reset(struct vcpu *v)
{
    u8 *area = v->fpu;

    memset(area, 0, PAGE_SIZE);
    area[XSAVE_FCW] = FCW_AFTER_RESET;
    area[XSAVE_FTW] = FTW_ALL_VALID;
    *(u32 *)(area + XSAVE_MXCSR) = MXCSR_AFTER_RESET;
    *(u64 *)(area + XSAVE_XSTATE_BV) = components & FIELD(1, 0);
}

/* The state of a component stays while the guest has its bit of XCR0 off, so all are switched, with
 * XCR0 opened for it. */
void vmx_fpu_load(struct vcpu *v)
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

void vmx_fpu_unload(struct vcpu *v)
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

/* --- debug registers: a guest that never touches them costs nothing --- */

void vmx_write_dr6(u64 value)
{
    __asm__ volatile("mov %0, %%dr6" : : "r"(value));
}

static void load_registers(const struct vcpu *v)
{
    __asm__ volatile("mov %0, %%dr0" : : "r"(v->dr[0]));
    __asm__ volatile("mov %0, %%dr1" : : "r"(v->dr[1]));
    __asm__ volatile("mov %0, %%dr2" : : "r"(v->dr[2]));
    __asm__ volatile("mov %0, %%dr3" : : "r"(v->dr[3]));
    vmx_write_dr6(v->dr6);
}

static void set_intercept(struct vmx_vcpu *x, bool on)
{
    x->proc = on ? x->proc | (u32)PROC_MOV_DR_EXITING : x->proc & ~(u32)PROC_MOV_DR_EXITING;
    vmcs_write32(PROC_CONTROLS, x->proc);
}

void vmx_give_debug(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);

    if (!x->debug_live) {
        x->debug_live = true;
        load_registers(v);
        set_intercept(x, false);
    }
}

void vmx_debug_load(struct vcpu *v)
{
    if (vmx_of(v)->debug_live) {
        load_registers(v);
    }
}

void vmx_debug_unload(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);

    if (!x->debug_live) {
        return;
    }
    __asm__ volatile("mov %%dr0, %0" : "=r"(v->dr[0]));
    __asm__ volatile("mov %%dr1, %0" : "=r"(v->dr[1]));
    __asm__ volatile("mov %%dr2, %0" : "=r"(v->dr[2]));
    __asm__ volatile("mov %%dr3, %0" : "=r"(v->dr[3]));
    v->dr6 = read_dr6();
    if (!(vmcs_read(GUEST_DR7) & 0xff)) {
        x->debug_live = false; /* no breakpoint is armed: wait for the next MOV DR */
        set_intercept(x, true);
    }
}

/* --- SYSCALL MSRs, KERNEL_GS_BASE, TSC_AUX and CR2 --- */

bool vmx_msrs_live(const struct vcpu *v)
{
    return cpu_this()->msrs_of == v;
}

/* Without EFER.SCE a guest cannot tell what is in them. IA32_CSTAR is storage only: Intel's CPUs
 * have no SYSCALL in compatibility mode. */
void vmx_syscall_load(struct vcpu *v)
{
    wrmsr(MSR_IA32_STAR, v->star);
    wrmsr(MSR_IA32_LSTAR, v->lstar);
    wrmsr(MSR_IA32_FMASK, v->fmask);
    vmx_of(v)->syscall_live = true;
}

void vmx_msrs_enter(struct vcpu *v)
{
    if (vmcs_read64(GUEST_EFER) & EFER_SCE) {
        vmx_syscall_load(v);
    }
    wrmsr(MSR_IA32_KERNEL_GS_BASE, v->kernel_gs_base);
    if (v->tsc_aux) {
        wrmsr(MSR_IA32_TSC_AUX, v->tsc_aux);
    }
    write_cr2(v->cr2);
}

void vmx_msrs_leave(struct vcpu *v)
{
    struct arch_cpu *a = cpu_arch(cpu_this());

    v->cr2 = read_cr2();
    v->kernel_gs_base = rdmsr(MSR_IA32_KERNEL_GS_BASE);
    if (v->tsc_aux) {
        wrmsr(MSR_IA32_TSC_AUX, 0);
    }
    if (vmx_of(v)->syscall_live) {
        vmx_of(v)->syscall_live = false;
        arch_syscall_msrs_load();
    } else {
        /* a VM exit leaves the GDT with a limit of 64 KiB: what lies behind it is no descriptor */
        const struct descriptor_table gdt = {sizeof(a->gdt) - 1, (u64)a->gdt};
        wrmsr(MSR_IA32_KERNEL_GS_BASE, 0); /* ring 3's */
        lgdt(&gdt);
    }
}
