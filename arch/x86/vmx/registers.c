/* SPDX-License-Identifier: MIT */
/* Registers of the CPU that no VMCS field covers. The SYSCALL MSRs and CR2 go back to ring 3
 * whenever it runs. */
#include "arch/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/guest.h"
#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "arch/x86/vmx/controls.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"

/* --- debug registers: a guest that never touches them costs nothing --- */

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
        guest_debug_load(v);
        set_intercept(x, false);
    }
}

void vmx_debug_load(struct vcpu *v)
{
    if (vmx_of(v)->debug_live) {
        guest_debug_load(v);
    }
}

void vmx_debug_unload(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);

    if (!x->debug_live) {
        return;
    }
    guest_debug_save(v);
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
