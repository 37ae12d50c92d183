/* SPDX-License-Identifier: MIT */
/* The VT-x backend: switching it on, the life of a VMCS, residency of a vCPU on a CPU. */
#include "arch/x86/vmx/vmx.h"

#include "arch/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/guest.h"
#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "arch/x86/vmx/vmcs.h"
#include "kernel/boot.h"
#include "kernel/cpuid.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/spinlock.h"
#include "lib/hw/vmx.h"
#include "lib/string.h"

#define PAUSE_GAP    128  /* TSC ticks between two PAUSEs of one loop */
#define PAUSE_WINDOW 4096 /* and of the whole loop before it exits */

#define EXCEPTION_DB BIT(1)
#define EXCEPTION_AC BIT(17)
#define EXCEPTION_MC BIT(18)

struct vmx_caps vmx_caps;
struct vmx_msrs vmx_msrs;

/* The same for all guests: nothing passes but what is named in msrs_passed. */
static hpa_t io_bitmap_a, io_bitmap_b, msr_bitmap;

/* These are switched by the VMCS itself, or (KERNEL_GS_BASE) with the vCPU's SYSCALL MSRs. */
static const u32 msrs_passed[] = {GUEST_MSRS};

/* --- tags: a VPID per vCPU --- */

#define VPID_COUNT 4096

static u64 vpids_used[VPID_COUNT / 64] = {BIT(0)}; /* VPID 0 is the host's */
static struct spinlock vpid_lock;

static u16 vpid_alloc(void)
{
    u16 vpid = 0;

    spin_lock(&vpid_lock);
    for (u32 i = 0; i < ARRAY_SIZE(vpids_used); i++) {
        if (~vpids_used[i]) {
            u32 bit = (u32)__builtin_ctzll(~vpids_used[i]);
            vpids_used[i] |= BIT(bit);
            vpid = (u16)(64 * i + bit);
            break;
        }
    }
    spin_unlock(&vpid_lock);
    return vpid;
}

static void vpid_free(u16 vpid)
{
    if (vpid) {
        spin_lock(&vpid_lock);
        vpids_used[vpid / 64] &= ~BIT(vpid % 64);
        spin_unlock(&vpid_lock);
    }
}

/* --- the machine --- */

static u64 read_msr(u32 msr)
{
    return rdmsr(msr);
}

static bool has_vmx(void)
{
    u32 r[4];

    arch_cpuid(1, 0, r);
    return r[2] & BIT(5);
}

static const char *compute_caps(struct vmx_caps *caps, struct vmx_msrs *msrs)
{
    bool vmx = has_vmx();

    *msrs = (struct vmx_msrs){0};
    if (vmx) {
        vmx_msrs_read(msrs, read_msr);
    }
    return vmx_caps_compute(caps, msrs, vmx);
}

static void pass_msr(u8 *bitmap, u32 msr)
{
    u32 base = msr >= 0xc0000000 ? 1024 : 0, n = msr & 0x1fff;

    bitmap[base + n / 8] &= (u8)~BIT(n % 8);        /* reads */
    bitmap[base + 2048 + n / 8] &= (u8)~BIT(n % 8); /* writes */
}

static hpa_t page_of_ones(void)
{
    hpa_t page = kmem_page_alloc();

    if (page.v) {
        memset(arch_pool_ptr(page), 0xff, PAGE_SIZE);
    }
    return page;
}

/*
 * On many CPUs a guest that changes the size of a page it executes from can raise a machine check,
 * which stops the whole machine, if EPT maps that page with a large leaf (Intel: "Machine Check
 * Error Avoidance on Page Size Change"). Those that say they cannot, emulators, and machines that
 * are guests themselves (their hypervisor's concern) get large leaves.
 */
static bool needs_small_leaves(void)
{
    u32 l0[4], l1[4], l7[4];

    arch_cpuid(0, 0, l0);
    arch_cpuid(1, 0, l1);
    arch_cpuid(7, 0, l7);
    if (boot_info.flags & BOOT_FLAG_EMULATOR || l1[2] & BIT(31)) {
        return false;
    }
    bool told = l0[0] >= 7 && l7[3] & BIT(29); /* IA32_ARCH_CAPABILITIES is there */
    return !told || !(rdmsr(MSR_IA32_ARCH_CAP) & ARCH_CAP_NO_PSCHANGE);
}

static void describe(struct virt_machine *m)
{
    static struct pt_format small;
    u32 proc2 = vmx_caps.proc2;

    *m = (struct virt_machine){
        .nested = vmx_caps.ept_1g ? &pt_format_ept_1g : &pt_format_ept,
        .nested_levels = vmx_caps.ept_levels,
        .features = (proc2 & PROC2_ENABLE_RDTSCP ? VIRT_FEATURE_RDTSCP : 0) |
                    (proc2 & PROC2_ENABLE_INVPCID ? VIRT_FEATURE_INVPCID : 0),
        .nested_ram = PT_READ | PT_WRITE | PT_EXEC | PT_MEMTYPE(MEMTYPE_WB),
    };
    if (needs_small_leaves()) {
        small = pt_format_ept;
        small.largest_leaf = 0;
        m->nested = &small;
    }
}

static const char *vmx_preflight(struct virt_machine *m)
{
    const char *missing = compute_caps(&vmx_caps, &vmx_msrs);

    if (missing) {
        return has_vmx() ? missing : virt_absent;
    }
    io_bitmap_a = page_of_ones();
    io_bitmap_b = page_of_ones();
    msr_bitmap = page_of_ones();
    if (!io_bitmap_a.v || !io_bitmap_b.v || !msr_bitmap.v) {
        return "there is too little memory";
    }
    for (u32 i = 0; i < ARRAY_SIZE(msrs_passed); i++) {
        pass_msr(arch_pool_ptr(msr_bitmap), msrs_passed[i]);
    }
    if (!vmx_apicv_init(msr_bitmap)) {
        return "there is too little memory";
    }
    describe(m);
    return guest_preflight();
}

/* A page that begins with the revision identifier: VMXON region or VMCS. */
static hpa_t region_alloc(void)
{
    hpa_t page = kmem_page_alloc();

    if (page.v) {
        *(u32 *)arch_pool_ptr(page) = vmx_caps.revision;
    }
    return page;
}

static int vmx_cpu_start(struct cpu *c)
{
    struct vmx_caps caps;
    struct vmx_msrs msrs;

    if (!(rdmsr(MSR_IA32_FEATURE_CONTROL) & FEATURE_CONTROL_LOCK)) {
        wrmsr(MSR_IA32_FEATURE_CONTROL,
              rdmsr(MSR_IA32_FEATURE_CONTROL) | FEATURE_CONTROL_VMX | FEATURE_CONTROL_LOCK);
    }
    /* vCPUs move between CPUs, so all must be alike */
    const char *missing = compute_caps(&caps, &msrs);
    msrs.feature_control = vmx_msrs.feature_control;
    if (missing || memcmp(&msrs, &vmx_msrs, sizeof(msrs)) != 0) {
        klog("CPU %u: %s", c->id, missing ? missing : "its VT-x differs from the first CPU's");
        return E_UNSUPPORTED;
    }

    struct vmx_cpu *vc = kmem_alloc(sizeof(*vc));
    if (!vc) {
        return E_NO_MEMORY;
    }
    vc->vmxon = region_alloc();
    if (!vc->vmxon.v) {
        kmem_free(vc);
        return E_NO_MEMORY;
    }
    /* Guard: an emulator's VMXON checks less than the SDM says, so the fixed bits are set and
     * tested. */
    write_cr0((read_cr0() | vmx_caps.cr0_fixed0) & (vmx_caps.cr0_fixed1 | ~0xffffffffull));
    write_cr4(read_cr4() | vmx_caps.cr4_fixed0 | CR4_VMXE | guest_fpu_cr4());
    bool fixed = !(read_cr0() & ~vmx_caps.cr0_fixed1) && !(read_cr4() & ~vmx_caps.cr4_fixed1);
    if (!fixed || !vmxon(vc->vmxon)) {
        klog("CPU %u: VMXON failed, CR0 %lx CR4 %lx", c->id, read_cr0(), read_cr4());
        write_cr4(read_cr4() & ~CR4_VMXE);
        kmem_page_free(vc->vmxon);
        kmem_free(vc);
        return E_UNSUPPORTED;
    }
    vc->on = true;
    c->virt = vc;
    /* what firmware or an earlier hypervisor may have left */
    ASSERT(invept(INVEPT_ALL, 0) || vmx_caps.invept_single);
    if (vmx_caps.vpid) {
        ASSERT(invvpid(INVVPID_ALL, 0, 0) || vmx_caps.invvpid_single);
    }
    return E_OK;
}

static void vmx_cpu_stop(struct cpu *c)
{
    struct vmx_cpu *vc = c->virt;

    if (vc && vc->on) {
        vc->on = false;
        vmxoff();
        write_cr4(read_cr4() & ~CR4_VMXE);
    }
}

/* --- a vCPU --- */

/* Makes a VMCS current. Guard: real CPUs keep its contents to themselves, so one that is active on
 * two CPUs, or was not cleared before it moved, corrupts a guest; an emulator hides that. */
static void make_current(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);
    s32 me = (s32)cpu_this()->id;

    ASSERT(x->active_cpu == -1 || x->active_cpu == me);
    x->active_cpu = me;
    ASSERT(vmptrld(x->vmcs));
}

static void make_inactive(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);

    ASSERT(x->active_cpu == (s32)cpu_this()->id);
    ASSERT(vmclear(x->vmcs));
    v->launched = 0;
    x->active_cpu = -1;
}

static void init_controls(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);
    u32 proc2 = vmx_caps.proc2;

    vmcs_write32(PIN_CONTROLS, vmx_caps.pin);
    vmcs_write32(PROC_CONTROLS, x->proc);
    vmcs_write32(PROC2_CONTROLS, proc2);
    vmcs_write32(EXIT_CONTROLS, vmx_caps.exit);
    vmcs_write32(ENTRY_CONTROLS, vmx_caps.entry);
    /* #DB and #AC because a guest can arrange that their delivery raises them again, without end
     * and without a chance for an interrupt; #MC because it is the host's */
    vmcs_write32(EXCEPTION_BITMAP, EXCEPTION_DB | EXCEPTION_AC | EXCEPTION_MC);
    vmcs_write32(PF_ERROR_MASK, 0);
    vmcs_write32(PF_ERROR_MATCH, 0);
    vmcs_write32(CR3_TARGET_COUNT, 0);
    vmcs_write32(EXIT_MSR_STORE_COUNT, 0);
    vmcs_write32(EXIT_MSR_LOAD_COUNT, 0);
    vmcs_write32(ENTRY_MSR_LOAD_COUNT, 0);
    vmcs_write32(ENTRY_INTR_INFO, 0);
    vmcs_write64(IO_BITMAP_A, io_bitmap_a.v);
    vmcs_write64(IO_BITMAP_B, io_bitmap_b.v);
    vmcs_write64(MSR_BITMAP, msr_bitmap.v);
    vmcs_write64(TSC_OFFSET, v->tsc_offset);
    vmcs_write64(EPT_POINTER, x->eptp);
    vmcs_write64(GUEST_LINK_POINTER, ~0ull);
    vmcs_write32(GUEST_ACTIVITY, ACTIVITY_ACTIVE);
    if (proc2 & PROC2_ENABLE_VPID) {
        vmcs_write16(VPID, x->vpid);
    }
    if (proc2 & PROC2_ENCLS_EXITING) {
        vmcs_write64(ENCLS_BITMAP, ~0ull);
    }
    if (proc2 & PROC2_ENCLV_EXITING) {
        vmcs_write64(ENCLV_BITMAP, ~0ull);
    }
    if (proc2 & PROC2_PAUSE_LOOP_EXITING) {
        vmcs_write32(PLE_GAP, PAUSE_GAP);
        vmcs_write32(PLE_WINDOW, PAUSE_WINDOW);
    }
}

/* The part of the host state that is the same on all CPUs. */
static void init_host(struct vcpu *v)
{
    vmcs_write16(HOST_CS_SELECTOR, SEL_KERNEL_CODE);
    vmcs_write16(HOST_SS_SELECTOR, SEL_KERNEL_DATA);
    vmcs_write16(HOST_DS_SELECTOR, 0);
    vmcs_write16(HOST_ES_SELECTOR, 0);
    vmcs_write16(HOST_FS_SELECTOR, 0);
    vmcs_write16(HOST_GS_SELECTOR, 0);
    vmcs_write16(HOST_TR_SELECTOR, SEL_TSS);
    vmcs_write(HOST_FS_BASE, 0);
    vmcs_write(HOST_IDTR_BASE, (u64)arch_idt);
    vmcs_write32(HOST_SYSENTER_CS, 0);
    vmcs_write(HOST_SYSENTER_ESP, 0);
    vmcs_write(HOST_SYSENTER_EIP, 0);
    vmcs_write64(HOST_PAT, rdmsr(MSR_IA32_PAT));
    vmcs_write64(HOST_EFER, rdmsr(MSR_IA32_EFER));
    /* the guest's FPU state stays in the CPU; any use of it by the host faults */
    vmcs_write(HOST_CR0, read_cr0() | CR0_TS);
    vmcs_write(HOST_RSP, (u64)&v->gpr[GPR_COUNT]);
    vmcs_write(HOST_RIP, (u64)vmx_exit_stub);
}

static void vmx_vcpu_destroy(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);

    if (x->vmcs.v) {
        kmem_page_free(x->vmcs);
    }
    if (v->fpu) {
        kmem_page_free(arch_pool_hpa(v->fpu));
    }
    vpid_free(x->vpid);
    kmem_free(x);
    v->backend = NULL;
}

static int vmx_vcpu_create(struct vcpu *v)
{
    struct cpu *c = cpu_this();
    struct vmx_vcpu *x = kmem_alloc(sizeof(*x));

    if (!x) {
        return E_NO_MEMORY;
    }
    v->backend = x;
    x->vmcs = region_alloc();
    hpa_t fpu = kmem_page_alloc();
    v->fpu = fpu.v ? arch_pool_ptr(fpu) : NULL;
    x->vpid = vmx_caps.vpid ? vpid_alloc() : 0;
    bool no_vpid = vmx_caps.vpid && !x->vpid;
    if (!x->vmcs.v || !v->fpu || no_vpid) {
        vmx_vcpu_destroy(v);
        return no_vpid ? E_LIMIT : E_NO_MEMORY;
    }
    x->proc = vmx_caps.proc;
    x->eptp = v->vm->npt.root | vmx_caps.eptp;
    x->last_cpu = -1;
    x->active_cpu = -1;
    guest_fpu_reset(v);

    ASSERT(vmclear(x->vmcs));
    make_current(v);
    init_controls(v);
    init_host(v);
    vmcs_write(CR0_SHADOW, CR0_CD | CR0_NW);
    vmx_reset(v);
    vmcs_write64(GUEST_PAT, PAT_AFTER_RESET);
    vmcs_write32(GUEST_SYSENTER_CS, 0);
    vmcs_write(GUEST_SYSENTER_ESP, 0);
    vmcs_write(GUEST_SYSENTER_EIP, 0);
    make_inactive(v);
    if (c->resident) {
        make_current(c->resident);
    }
    return E_OK;
}

/* What a tag may still remember here from an earlier stay, or of an earlier user of the tag or of
 * the root table. Guard: an emulator flushes everything at each entry, so a flush that is missing
 * shows on real hardware only. */
static void forget_tags(const struct vmx_vcpu *x)
{
    ASSERT(invept(vmx_caps.invept_single ? INVEPT_SINGLE : INVEPT_ALL, x->eptp));
    if (x->vpid) {
        ASSERT(invvpid(vmx_caps.invvpid_single ? INVVPID_SINGLE : INVVPID_ALL, x->vpid, 0));
    }
}

static void vmx_flush(struct vcpu *v)
{
    ASSERT(invept(vmx_caps.invept_single ? INVEPT_SINGLE : INVEPT_ALL, vmx_of(v)->eptp));
}

void vmx_flush_linear(struct vcpu *v)
{
    if (vmx_of(v)->vpid) {
        ASSERT(invvpid(vmx_caps.invvpid_single ? INVVPID_SINGLE : INVVPID_ALL, vmx_of(v)->vpid, 0));
    }
}

static void vmx_load(struct vcpu *v)
{
    struct vmx_vcpu *x = vmx_of(v);
    struct cpu *c = cpu_this();
    struct arch_cpu *a = cpu_arch(c);
    const struct vmx_cpu *vc = c->virt;

    ASSERT(vc && vc->on && v->cpu == (s32)c->id);
    make_current(v);
    x->host_cr3 = read_cr3();
    vmcs_write(HOST_CR3, x->host_cr3);
    vmcs_write(HOST_CR4, read_cr4());
    vmcs_write(HOST_GS_BASE, (u64)c);
    vmcs_write(HOST_TR_BASE, (u64)&a->tss);
    vmcs_write(HOST_GDTR_BASE, (u64)a->gdt);
    if (x->last_cpu != (s32)c->id) {
        x->last_cpu = (s32)c->id;
        forget_tags(x);
    }
    guest_load(v);
}

static void vmx_unload(struct vcpu *v)
{
    guest_unload(v);
    make_inactive(v);
}

static void vmx_intercept_debug(struct vcpu *v, bool on)
{
    struct vmx_vcpu *x = vmx_of(v);

    x->proc = on ? x->proc | (u32)PROC_MOV_DR_EXITING : x->proc & ~(u32)PROC_MOV_DR_EXITING;
    vmcs_write32(PROC_CONTROLS, x->proc);
}

const struct virt virt_vmx = {
    .name = "VT-x",
    .preflight = vmx_preflight,
    .cpu_start = vmx_cpu_start,
    .cpu_stop = vmx_cpu_stop,
    .vcpu_create = vmx_vcpu_create,
    .vcpu_destroy = vmx_vcpu_destroy,
    .reset = vmx_reset,
    .load = vmx_load,
    .unload = vmx_unload,
    .switch_msrs = vmx_switch_msrs,
    .run = vmx_run,
    .advance = vmx_advance,
    .code_mode = vmx_code_mode,
    .read = vmx_read,
    .write = vmx_write,
    .write_owned = vmx_write_owned,
    .intercept_debug = vmx_intercept_debug,
    .get_segment = vmx_get_segment,
    .set_segment = vmx_set_segment,
    .set_cr = vmx_set_cr,
    .apic_mode = vmx_apic_mode,
    .apic_sync = vmx_apic_sync,
    .timer_changed = vmx_arm_timer,
    .can_take = vmx_can_take,
    .set_window = vmx_set_window,
    .inject = vmx_inject,
    .try_interrupt = vmx_try_interrupt,
    .flush = vmx_flush,
    .fill_report = vmx_fill_report,
};
