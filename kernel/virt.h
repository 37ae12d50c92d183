/* SPDX-License-Identifier: MIT */
/*
 * The seam between the kernel and a hardware virtualization backend (arch/x86/vmx, arch/x86/svm).
 * The kernel sees a vCPU only through these calls and through struct exit; no code outside a
 * backend knows which one is in use. One backend is chosen at boot.
 */
#ifndef KERNEL_VIRT_H
#define KERNEL_VIRT_H

#include "kernel/abi.h"
#include "kernel/event.h"
#include "lib/pagetable.h"
#include "lib/types.h"

struct cpu;
struct vcpu;
struct vm;

enum virt_reg {
    VIRT_RIP,
    VIRT_RSP,
    VIRT_RFLAGS,
    VIRT_CR0,
    VIRT_CR3,
    VIRT_CR4, /* as the guest sees them */
    VIRT_EFER,
    VIRT_FS_BASE,
    VIRT_GS_BASE,
    VIRT_CPL,              /* read only */
    VIRT_CS_L,             /* read only: CS.L; with EFER.LMA, 64-bit mode */
    VIRT_INTERRUPTIBILITY, /* BLOCKED_BY_* */
    VIRT_SYSENTER_CS,
    VIRT_SYSENTER_ESP,
    VIRT_SYSENTER_EIP,
    VIRT_PAT,
    VIRT_DEBUGCTL,
    VIRT_PENDING_DEBUG, /* as struct vcpu_state has it */
    VIRT_CR2,
    VIRT_DR6,
    VIRT_DR7,
    VIRT_XCR0,
    VIRT_TSC_OFFSET, /* v->tsc_offset follows */
    /* v's fields, and the CPU's own registers while they are loaded: */
    VIRT_KERNEL_GS_BASE,
    VIRT_STAR,
    VIRT_LSTAR,
    VIRT_FMASK,
    VIRT_TSC_AUX,
    VIRT_REG_COUNT
};

/* Instructions that a guest gets only if the backend can let it have them. */
#define VIRT_FEATURE_RDTSCP  BIT(0) /* and RDPID */
#define VIRT_FEATURE_INVPCID BIT(1)
/* CPUID leaf 80000008h tells the number of cores, as CPUs that have this backend do. */
#define VIRT_FEATURE_CORE_COUNT BIT(2)

enum virt_window { WINDOW_INTERRUPT, WINDOW_NMI };

/* What a backend's preflight finds: the same on all CPUs. */
struct virt_machine {
    const struct pt_format *nested; /* format and depth of nested page tables */
    u32 nested_levels;
    u32 features;   /* VIRT_FEATURE_* */
    u64 nested_ram; /* PT_* flags that a leaf of RAM needs (access, memory type) */
};

/* For get_segment() and set_segment(), behind SEG_ES .. SEG_TR: base and limit only. */
enum { VIRT_GDTR = SEG_COUNT, VIRT_IDTR };

struct virt {
    const char *name; /* "VT-x", "AMD-V" */

    /* NULL: this machine can run guests, and m is filled. Else a sentence that says what is missing
     * and what to do; virt_absent: it has nothing of this backend. */
    const char *(*preflight)(struct virt_machine *m);
    /* All that follows is called with the vCPU resident on this CPU where it names one, except
     * vcpu_create, vcpu_destroy and load. */

    /* On every CPU: switch virtualization on (FEATURE_CONTROL, VMXON). 0 or E_*. */
    int (*cpu_start)(struct cpu *c);
    /* On every CPU before power-off or reboot: nothing stays on. Harmless when not started. */
    void (*cpu_stop)(struct cpu *c);

    /* A new vCPU in the state after reset, and its end. v->vm, v->index are set. 0 or E_*. */
    int (*vcpu_create)(struct vcpu *v);
    void (*vcpu_destroy)(struct vcpu *v); /* not resident anywhere */

    /* INIT: registers as after it. */
    void (*reset)(struct vcpu *v);

    /* Residency. load: v->cpu is -1 and the CPU's resident vCPU was unloaded before; unload leaves
     * nothing of v in the CPU (VMCLEAR, FPU, debug registers saved). The kernel calls them through
     * vcpu_make_resident() and vcpu_evict(), which keep v->cpu and cpu->resident. */
    void (*load)(struct vcpu *v);
    void (*unload)(struct vcpu *v);

    /* Gives the SYSCALL MSRs and CR2 to the guest, or back to ring 3. */
    void (*switch_msrs)(struct vcpu *v, bool to_guest);

    /* Enters the guest and settles its exits until exit_settle() returns false. */
    void (*run)(struct vcpu *v);

    /* After VX_DECODE: settles that exit, whose instruction is length bytes long and has the
     * general register gpr (both from ring 3, 1..15 and 0..15). As exit_settle(). NULL: never
     * needed. */
    bool (*decoded)(struct vcpu *v, u32 length, u32 gpr);

    /* RIP past the instruction that exited (bytes long; 0: the hardware told); clears STI and MOV
     * SS blocking; TF becomes a pending #DB. */
    void (*advance)(struct vcpu *v, u32 bytes);

    /* The mode of the guest's code: VX_ACCESS_CODE64, VX_ACCESS_LA57; and CR3. */
    u32 (*code_mode)(struct vcpu *v, u64 *cr3);

    u64 (*read)(struct vcpu *v, enum virt_reg r);
    /* Writes a value that was checked. CR0 and CR4 are not written here. EFER with LMA. */
    void (*write)(struct vcpu *v, enum virt_reg r, u64 value);
    /* MOV to CR0 or CR4 of a value that was checked. True: the instruction is done. False: it
     * changes bits which the backend keeps from the guest, and note was taken of those bits only;
     * the guest then runs it again, which does the rest as the CPU does it (IA-32e mode, PDPTEs).
     */
    bool (*write_owned)(struct vcpu *v, enum virt_reg r, u64 value);
    /* Does MOV DR exit? */
    void (*intercept_debug)(struct vcpu *v, bool on);
    /* SEG_*, VIRT_GDTR or VIRT_IDTR. */
    void (*get_segment)(struct vcpu *v, u32 i, struct vcpu_seg *s);
    void (*set_segment)(struct vcpu *v, u32 i, const struct vcpu_seg *s);
    /* CR0 and CR4, and what the CPU holds because of them and of CR3 and EFER, all of s. 0, or
     * E_INVAL when those cannot be. */
    int (*set_cr)(struct vcpu *v, const struct vcpu_state *s);

    /* Into x2APIC mode or out of it, or INIT: may make v->apic.virtualized. While it is so the CPU
     * delivers what is in IRR and carries out EOI and TPR; sync (else never needed) tells it what
     * we changed there. */
    void (*apic_mode)(struct vcpu *v);
    void (*apic_sync)(struct vcpu *v);

    /* v->apic.timer_tsc has changed: the guest is left by then. */
    void (*timer_changed)(struct vcpu *v);

    /* Can an external interrupt or NMI be taken at the next entry? */
    bool (*can_take)(struct vcpu *v, enum virt_window w);
    void (*set_window)(struct vcpu *v, enum virt_window w, bool on);
    void (*inject)(struct vcpu *v, const struct event *e);
    /* An external interrupt, with nothing injected yet: injects it, or opens the window for it. */
    bool (*try_interrupt)(struct vcpu *v, u8 vector);

    /* Nested translations of v->vm may be stale on this CPU: drop them. */
    void (*flush)(struct vcpu *v);

    /* The CPU's own control structure of v, for SYS_VCPU_REPORT: VCPU_REPORT_BYTES, zeroed before.
     */
    void (*fill_report)(struct vcpu *v, void *report);
};

extern const struct virt *virt; /* NULL: none on this machine */
extern struct virt_machine virt_machine;

/* What follows is the same for all backends (arch/x86/guest.c); v is resident. */

/* Whole state, for ring 3. set: 0, or E_INVAL for what no CPU could hold; what VM entry refuses is
 * found at entry and reported as VX_ENTRY_FAILURE. */
void virt_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups);
int virt_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups);
/* SIPI: it starts at vector << 12 in real mode. */
void virt_start(struct vcpu *v, u8 vector);
/* MOV DR was intercepted: the debug registers become the guest's, and it runs the instruction
 * again. */
void virt_give_debug(struct vcpu *v);

/* Each backend's table; NULL preflight result picks it. */
extern const struct virt virt_vmx, virt_svm;
extern const char virt_absent[];

#endif
