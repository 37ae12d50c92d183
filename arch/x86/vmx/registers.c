/* SPDX-License-Identifier: MIT */
/* Registers of the CPU that no VMCS field covers. The SYSCALL MSRs and CR2 go back to ring 3
 * whenever it runs. */
#include "arch/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "arch/x86/vmx/vmcs.h"
#include "arch/x86/vmx/vmx.h"

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

static void msrs_enter(struct vcpu *v)
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

static void msrs_leave(struct vcpu *v)
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

void vmx_switch_msrs(struct vcpu *v, bool to_guest)
{
    (to_guest ? msrs_enter : msrs_leave)(v);
}
