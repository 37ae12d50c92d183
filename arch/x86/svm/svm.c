/* SPDX-License-Identifier: MIT */
/* The AMD-V backend: switching it on, the life of a VMCB, address space identifiers, residency of a
 * vCPU on a CPU. */
#include "arch/x86/svm/svm.h"

#include "arch/arch.h"
#include "arch/x86/insn.h"
#include "arch/x86/msr.h"
#include "kernel/cpuid.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "kernel/vm.h"
#include "lib/string.h"

#define CPUID_81_ECX_SVM BIT(2)
#define CPUID_SVM        0x8000000au

#define MSR_VM_HSAVE_PA  0xc0010117u
#define VM_CR_R_INIT     BIT(1) /* INIT becomes an exception of ours instead of a reset */

#define IO_MAP_BYTES     (3 * PAGE_SIZE)
#define MAPS_BYTES       (5 * PAGE_SIZE)
#define PAUSE_COUNT      3000 /* PAUSEs of one loop before it exits */
#define PAUSE_THRESHOLD  128  /* ticks between two of them */

struct svm_caps svm_caps;

/* The same for all guests: nothing passes but what is named in msrs_passed. */
static u8 *maps; /* I/O, then MSRs */

/* These are VMLOAD's and VMSAVE's. */
static const u32 msrs_passed[] = {GUEST_MSRS};

/* --- the machine --- */

static struct svm_caps read_caps(void)
{
    u32 r[4];

    arch_cpuid(0x80000001, 0, r);
    if (!(r[2] & CPUID_81_ECX_SVM)) {
        return (struct svm_caps){0, 0};
    }
    arch_cpuid(CPUID_SVM, 0, r);
    return (struct svm_caps){r[1], r[3]};
}

static bool is_locked_off(void)
{
    return !(~rdmsr(MSR_VM_CR) & (VM_CR_LOCK | VM_CR_SVMDIS));
}

/* Two bits for each MSR, in a group of 2000h each; APM 2 "MSR Intercepts". */
static void pass_msr(u32 msr)
{
    u32 bit = ((msr >= 0xc0000000 ? 0x2000 : 0) + (msr & 0x1fff)) * 2;

    maps[IO_MAP_BYTES + bit / 8] &= (u8) ~(3u << bit % 8);
}

static const char *svm_preflight(struct virt_machine *m)
{
    svm_caps = read_caps();
    if (svm_caps.asids < 2) {
        return virt_absent;
    }
    if (is_locked_off()) {
        return "AMD-V is switched off and locked by the firmware: enable SVM (\"SVM Mode\", AMD-V) "
               "in the firmware's setup, then switch the machine off and on";
    }
    if (!(svm_caps.features & SVM_FEATURE_NP)) {
        return "this CPU's AMD-V has no nested paging; a CPU of 2008 or later has it";
    }
    maps = kmem_alloc(MAPS_BYTES);
    if (!maps) {
        return "there is too little memory";
    }
    memset(maps, 0xff, MAPS_BYTES);
    for (u32 i = 0; i < ARRAY_SIZE(msrs_passed); i++) {
        pass_msr(msrs_passed[i]);
    }
    /* a nested table is one of the CPU's own, for an access by ring 3; entry 0 of the host's PAT is
     * write-back */
    *m = (struct virt_machine){
        .nested = arch_has_1g_pages() ? &pt_format_x86_1g : &pt_format_x86,
        .nested_levels = 4,
        .features = VIRT_FEATURE_RDTSCP | VIRT_FEATURE_INVPCID | VIRT_FEATURE_CORE_COUNT,
        .nested_ram = PT_READ | PT_WRITE | PT_EXEC | PT_USER,
    };
    return guest_preflight();
}

static int svm_cpu_start(struct cpu *c)
{
    const struct svm_caps caps = read_caps();

    /* vCPUs move between CPUs, so all must be alike */
    if (memcmp(&caps, &svm_caps, sizeof(caps)) != 0 || is_locked_off()) {
        klog("CPU %u: its AMD-V differs from the first CPU's", c->id);
        return E_UNSUPPORTED;
    }
    struct svm_cpu *sc = kmem_alloc(sizeof(*sc));
    if (!sc) {
        return E_NO_MEMORY;
    }
    if (!(rdmsr(MSR_VM_CR) & VM_CR_LOCK)) {
        wrmsr(MSR_VM_CR, (rdmsr(MSR_VM_CR) & ~VM_CR_SVMDIS) | VM_CR_R_INIT);
    }
    wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, arch_pool_hpa(sc->save).v);
    write_cr4(read_cr4() | guest_fpu_cr4());
    __asm__ volatile("vmsave %0" : : "a"(arch_pool_hpa(sc->host).v) : "memory");
    sc->generation = c->id + 1;
    sc->next_asid = svm_caps.asids; /* the first entry flushes what firmware may have left */
    c->virt = sc;
    return E_OK;
}

static void svm_cpu_stop(struct cpu *c)
{
    if (c->virt) {
        c->virt = NULL;
        wrmsr(MSR_VM_HSAVE_PA, 0);
        wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) & ~EFER_SVME);
        if (!(rdmsr(MSR_VM_CR) & VM_CR_LOCK)) {
            wrmsr(MSR_VM_CR, rdmsr(MSR_VM_CR) & ~VM_CR_R_INIT);
        }
    }
}

/* --- tags: a CPU gives them out one after the other; when they run out it flushes all --- */

/* Guard: an emulator flushes at each entry, so a flush that is missing shows on real hardware only.
 */
void svm_flush(struct vcpu *v)
{
    svm_of(v)->tags = 0;
}

void svm_use_tag(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);
    struct svm_cpu *sc = cpu_this()->virt;

    x->vmcb.tlb_control = 0;
    if (x->tags == sc->generation) {
        return;
    }
    if (sc->next_asid >= svm_caps.asids) {
        sc->generation += MAX_CPUS;
        sc->next_asid = 1;
        x->vmcb.tlb_control = TLB_FLUSH_ALL;
    }
    x->vmcb.asid = sc->next_asid++;
    x->tags = sc->generation;
}

/* --- vCPUs --- */

static void svm_vcpu_destroy(struct vcpu *v)
{
    kmem_free(v->backend);
}

static void init_controls(struct vcpu *v)
{
    struct vmcb *c = vmcb_of(v);

    c->exceptions = BIT(1) | BIT(17) | BIT(18); /* #DB, #AC, #MC */
    c->intercept[0] = INTERCEPTS_0;
    c->intercept[1] = INTERCEPTS_1;
    c->intercept[2] = INTERCEPTS_2;
    if (svm_caps.features & SVM_FEATURE_PAUSE_FILTER) {
        c->pause_count = PAUSE_COUNT;
        c->pause_threshold = PAUSE_THRESHOLD;
    }
    c->io_map = arch_pool_hpa(maps).v;
    c->msr_map = c->io_map + IO_MAP_BYTES;
    c->nested_control = NESTED_PAGING;
    c->nested_cr3 = v->vm->npt.root;
    c->cr0 = CR0_CD | CR0_NW;
    c->efer = EFER_SVME;
    c->pat = PAT_AFTER_RESET;
}

static int svm_vcpu_create(struct vcpu *v)
{
    struct svm_vcpu *x = kmem_alloc(sizeof(*x));

    if (!x) {
        return E_NO_MEMORY;
    }
    v->backend = x;
    v->fpu = x->fpu;
    guest_fpu_reset(v);
    init_controls(v);
    svm_reset(v);
    return E_OK;
}

static void svm_load(struct vcpu *v)
{
    guest_load(v);
    wrmsr(MSR_IA32_DEBUGCTL, svm_of(v)->debugctl);
}

static void svm_unload(struct vcpu *v)
{
    guest_unload(v);
    wrmsr(MSR_IA32_DEBUGCTL, 0);
}

/* The SYSCALL MSRs and CR2 are the guest's only while it runs. */
static void svm_switch_msrs(struct vcpu *v, bool to_guest)
{
    if (v->tsc_aux) {
        wrmsr(MSR_IA32_TSC_AUX, to_guest ? v->tsc_aux : 0);
    }
}

/* No local APIC by the CPU; and the next entry looks at the timer. */
static void svm_nothing(UNUSED struct vcpu *v)
{
}

static void fill_report(struct vcpu *v, void *report)
{
    struct svm_report *r = report;

    _Static_assert(sizeof(*r) <= VCPU_REPORT_BYTES, "a report fits");
    *r = (struct svm_report){VCPU_REPORT_SVM, arch_phys_bits(), v->vm->cpuid->cr4_allowed,
                             svm_caps.asids, *vmcb_of(v)};
}

const struct virt virt_svm = {
    .name = "AMD-V",
    .preflight = svm_preflight,
    .cpu_start = svm_cpu_start,
    .cpu_stop = svm_cpu_stop,
    .vcpu_create = svm_vcpu_create,
    .vcpu_destroy = svm_vcpu_destroy,
    .reset = svm_reset,
    .load = svm_load,
    .unload = svm_unload,
    .switch_msrs = svm_switch_msrs,
    .run = svm_run,
    .decoded = svm_decoded,
    .advance = svm_advance,
    .code_mode = svm_code_mode,
    .read = svm_read,
    .write = svm_write,
    .write_owned = svm_write_owned,
    .intercept_debug = svm_intercept_debug,
    .get_segment = svm_get_segment,
    .set_segment = svm_set_segment,
    .set_cr = svm_set_cr,
    .apic_mode = svm_nothing,
    .timer_changed = svm_nothing,
    .can_take = svm_can_take,
    .set_window = svm_set_window,
    .inject = svm_inject,
    .try_interrupt = svm_try_interrupt,
    .flush = svm_flush,
    .fill_report = fill_report,
};
