/* SPDX-License-Identifier: MIT */
/* The table of CPUID answers. What is not named in the masks below does not exist for a guest: a
 * new feature is one bit here, once whatever it needs (state, MSRs, exits) is there. */
#include "kernel/cpuid.h"

#include "arch/arch.h"
#include "kernel/kmem.h"
#include "kernel/virt.h"
#include "lib/hw/kvm.h"
#include "lib/hw/x86.h"

/* --- leaf 1 --- */
#define ECX1_SSE3       BIT(0)
#define ECX1_PCLMULQDQ  BIT(1)
#define ECX1_SSSE3      BIT(9)
#define ECX1_FMA        BIT(12)
#define ECX1_CX16       BIT(13)
#define ECX1_PCID       BIT(17)
#define ECX1_SSE4_1     BIT(19)
#define ECX1_SSE4_2     BIT(20)
#define ECX1_MOVBE      BIT(22)
#define ECX1_POPCNT     BIT(23)
#define ECX1_AES        BIT(25)
#define ECX1_XSAVE      BIT(26)
#define ECX1_OSXSAVE    BIT(27)
#define ECX1_AVX        BIT(28)
#define ECX1_F16C       BIT(29)
#define ECX1_RDRAND     BIT(30)
#define ECX1_HYPERVISOR BIT(31)
/* the local APIC's, whatever the host has */
#define ECX1_APIC (BIT(21) /* x2APIC */ | BIT(24) /* TSC deadline */)
/* hidden: MONITOR, VMX, SMX, EIST, TM2, SDBG, PDCM, DCA */
#define ECX1_MASK                                                                                  \
    (ECX1_SSE3 | ECX1_PCLMULQDQ | ECX1_SSSE3 | ECX1_FMA | ECX1_CX16 | ECX1_PCID | ECX1_SSE4_1 |    \
     ECX1_SSE4_2 | ECX1_MOVBE | ECX1_POPCNT | ECX1_AES | ECX1_XSAVE | ECX1_AVX | ECX1_F16C |       \
     ECX1_RDRAND)

#define EDX1_VME  BIT(1)
#define EDX1_DE   BIT(2)
#define EDX1_PSE  BIT(3)
#define EDX1_TSC  BIT(4)
#define EDX1_PAE  BIT(6)
#define EDX1_MCE  BIT(7)
#define EDX1_APIC BIT(9)
#define EDX1_PGE  BIT(13)
#define EDX1_FXSR BIT(24)
#define EDX1_SSE  BIT(25)
#define EDX1_HTT  BIT(28)
/* hidden: PSN, DS, ACPI thermal, TM, PBE */
#define EDX1_MASK                                                                                  \
    (FIELD(8, 0) | BIT(11) /* SEP */ | FIELD(17, 12) | BIT(19) /* CLFSH */ |                       \
     FIELD(27, 23) /* MMX, FXSR, SSE, SSE2, SS */)

/* --- leaf 7 --- */
#define EBX7_FSGSBASE BIT(0)
#define EBX7_TSC_ADJ  BIT(1) /* made here; without it Linux doubts the TSC */
#define EBX7_AVX2     BIT(5)
#define EBX7_SMEP     BIT(7)
#define EBX7_INVPCID  BIT(10)
#define EBX7_SMAP     BIT(20)
#define EBX7_AVX512   (FIELD(17, 16) | BIT(21) | FIELD(28, 26) | FIELD(31, 30))
/* hidden: SGX, HLE, RTM, PQM, MPX, PQE, PT */
#define EBX7_MASK                                                                                  \
    (EBX7_FSGSBASE | BIT(3) /* BMI1 */ | EBX7_AVX2 | BIT(6) | EBX7_SMEP | BIT(8) /* BMI2 */ |      \
     BIT(9) /* ERMS */ | EBX7_INVPCID | BIT(13) | FIELD(19, 18) /* RDSEED, ADX */ | EBX7_SMAP |    \
     FIELD(24, 23) /* CLFLUSHOPT, CLWB */ | BIT(29) /* SHA */ | EBX7_AVX512)
#define ECX7_UMIP   BIT(2)
#define ECX7_VAES   FIELD(10, 9) /* and VPCLMULQDQ */
#define ECX7_RDPID  BIT(22)
#define ECX7_AVX512 (BIT(1) | BIT(6) | FIELD(12, 11) | BIT(14))
/* hidden: PKU, WAITPKG, CET, TME, LA57, KL, bus lock, ENQCMD, SGX_LC, PKS */
#define ECX7_MASK                                                                                  \
    (BIT(0) | ECX7_UMIP | BIT(8) /* GFNI */ | ECX7_VAES | ECX7_RDPID | BIT(25) /* CLDEMOTE */ |    \
     FIELD(28, 27) /* MOVDIRI, MOVDIR64B */ | ECX7_AVX512)
#define EDX7_AVX512 (FIELD(3, 2) | BIT(8) | BIT(23))
/* hidden: UINTR, TSX, hybrid, PCONFIG, LBR, CET, AMX, and all speculation controls */
#define EDX7_MASK                                                                                  \
    (BIT(4) /* FSRM */ | BIT(10) /* MD_CLEAR */ | BIT(14) /* SERIALIZE */ | EDX7_AVX512)
#define EAX71_AVX    BIT(4)
#define EAX71_AVX512 BIT(5)
#define EAX71_MASK   (EAX71_AVX | EAX71_AVX512 | FIELD(12, 10))

/* --- leaf 80000001h --- */
#define EDX81_SYSCALL BIT(11)
#define EDX81_NX      BIT(20)
#define EDX81_RDTSCP  BIT(27)
#define EDX81_LM      BIT(29)
#define ECX81_CMP     BIT(1) /* what looks like threads are cores */
#define ECX81_MASK    (BIT(0) /* LAHF */ | BIT(5) /* LZCNT */ | BIT(8) /* PREFETCHW */)
#define EDX81_MASK    (EDX81_SYSCALL | EDX81_NX | BIT(26) /* 1 GiB pages */ | EDX81_RDTSCP | EDX81_LM)

#define XCR0_AVX      BIT(2)
#define XCR0_AVX512   FIELD(7, 5)
#define XCR0_MASK     (FIELD(2, 0) | XCR0_AVX512)

#define EAXD1_XSAVEC  BIT(1)
#define EAXD1_MASK    FIELD(2, 0) /* XSAVEOPT, XSAVEC, XGETBV with ECX = 1; XSAVES hidden */

#define EAX6_ARAT     BIT(2) /* the APIC timer never stops */

#define PHYS_BITS_MAX 48 /* four levels of nested tables */

static struct cpuid_dir *dir_of(struct cpuid_table *t, u32 leaf)
{
    if (leaf >= CPUID_EXTENDED) {
        return &t->dir[CPUID_DIR_EXTENDED + leaf - CPUID_EXTENDED];
    }
    if (leaf >= CPUID_KVM) {
        return &t->dir[CPUID_DIR_KVM + leaf - CPUID_KVM];
    }
    if (leaf >= CPUID_HYPERVISOR) {
        return &t->dir[CPUID_DIR_HYPERVISOR + leaf - CPUID_HYPERVISOR];
    }
    return &t->dir[leaf];
}

/* Gives leaf its place in the table: count subleaves and the answer beyond them, or a single answer
 * when count is 0. All are zero to begin with. Entry 0 of leaves[] stays the answer of absent
 * leaves. */
static struct cpuid_leaf *add(struct cpuid_table *t, u32 leaf, u32 count, u32 fix)
{
    struct cpuid_leaf *l = &t->leaves[t->used];

    *dir_of(t, leaf) =
        (struct cpuid_dir){(u16)((const char *)l - (const char *)t), (u8)count, (u8)fix};
    t->used += count + 1;
    return l;
}

static struct cpuid_leaf ask(const struct cpuid_inputs *in, u32 leaf, u32 subleaf)
{
    u32 r[4];

    in->host(leaf, subleaf, r);
    return (struct cpuid_leaf){r[0], r[1], r[2], r[3]};
}

/* As ask(), but zero where the host has no such leaf (it would answer with another one). */
static struct cpuid_leaf ask_below(const struct cpuid_inputs *in, u32 leaf, u32 subleaf)
{
    u32 max = ask(in, leaf & CPUID_EXTENDED, 0).eax;

    return leaf <= max ? ask(in, leaf, subleaf) : (struct cpuid_leaf){0, 0, 0, 0};
}

static u32 log2_up(u32 n)
{
    return n <= 1 ? 0 : 32 - (u32)__builtin_clz(n - 1);
}

u64 cpuid_xcr0_of(void (*host)(u32 leaf, u32 subleaf, u32 out[4]))
{
    const struct cpuid_inputs in = {host, 1, 0, 0};

    if (!(ask(&in, 1, 0).ecx & ECX1_XSAVE)) {
        return 0;
    }
    u64 x = ask_below(&in, 0xd, 0).eax & XCR0_MASK;
    if (!(x & XCR0_AVX) || (x & XCR0_AVX512) != XCR0_AVX512) {
        x &= ~XCR0_AVX512;
    }
    return x;
}

static void add_caches(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    enum { LEVELS = 4 };
    struct cpuid_leaf *l = add(t, 4, LEVELS, 0);
    u32 ids = (1u << log2_up(in->cpus)) - 1; /* highest APIC ID */

    for (u32 i = 0; i < LEVELS; i++) {
        struct cpuid_leaf h = ask_below(in, 4, i);
        if (!(h.eax & FIELD(4, 0))) {
            return;
        }
        /* every vCPU is a core with its own first and second level; the third is shared */
        u32 level = (h.eax >> 5) & 7;
        h.eax = (h.eax & 0x3fff) | (level >= 3 ? ids << 14 : 0) | ids << 26;
        l[i] = h;
    }
}

static void add_topology(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    struct cpuid_leaf *l = add(t, 0xb, 2, CPUID_FIX_TOPOLOGY);

    l[0] = (struct cpuid_leaf){0, 1, 1 << 8, 0};                        /* threads: one in a core */
    l[1] = (struct cpuid_leaf){log2_up(in->cpus), in->cpus, 2 << 8, 0}; /* cores */
}

static void add_xsave(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    enum { COMPONENTS = 8 };
    struct cpuid_leaf *l = add(t, 0xd, COMPONENTS, CPUID_FIX_XSAVE);
    u32 size = 512 + 64;

    if (!t->xcr0) {
        return;
    }
    for (u32 i = 2; i < COMPONENTS; i++) {
        if (t->xcr0 & BIT(i)) {
            struct cpuid_leaf h = ask(in, 0xd, i);
            l[i] = (struct cpuid_leaf){h.eax, h.ebx, h.ecx & BIT(1), 0};
            size = MAX(size, h.eax + h.ebx);
        }
    }
    l[0] = (struct cpuid_leaf){(u32)t->xcr0, size, size, 0};
    l[1].eax = ask(in, 0xd, 1).eax & EAXD1_MASK;
}

/* TSC frequency as crystal * numerator: the crystal's field has 32 bits. It clocks the APIC timer.
 */
static void add_frequency(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    u32 shift = 0, mhz = (u32)(in->tsc_hz / 1000000);

    while (in->tsc_hz >> shift >> 32) {
        shift++;
    }
    t->crystal_shift = shift;
    *add(t, 0x15, 0, 0) = (struct cpuid_leaf){1, 1u << shift, (u32)(in->tsc_hz >> shift), 0};
    *add(t, 0x16, 0, 0) = (struct cpuid_leaf){mhz, mhz, MIN(mhz, 100u), 0};
}

static void add_features(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    struct cpuid_leaf h1 = ask(in, 1, 0), h7 = ask_below(in, 7, 0), h71 = {0, 0, 0, 0};
    struct cpuid_leaf *l1 = add(t, 1, 0, CPUID_FIX_BASE), *l7 = add(t, 7, 2, 0);

    if (h7.eax >= 1) {
        h71 = ask(in, 7, 1);
    }
    l1->eax = t->signature = h1.eax;
    l1->ebx = (h1.ebx & 0xff00) | in->cpus << 16;
    l1->ecx = (h1.ecx & ECX1_MASK) | ECX1_APIC | ECX1_HYPERVISOR;
    l1->edx = (h1.edx & EDX1_MASK) | EDX1_APIC | (in->cpus > 1 ? EDX1_HTT : 0);
    l7[0] = (struct cpuid_leaf){1, (h7.ebx & EBX7_MASK) | EBX7_TSC_ADJ, h7.ecx & ECX7_MASK,
                                h7.edx & EDX7_MASK};
    l7[1].eax = h71.eax & EAX71_MASK;

    if (!(in->features & VIRT_FEATURE_INVPCID)) {
        l7->ebx &= ~EBX7_INVPCID;
    }
    if (!(in->features & VIRT_FEATURE_RDTSCP)) {
        l7->ecx &= ~ECX7_RDPID;
    }
    /* instructions whose state is not there do not exist */
    if (!t->xcr0) {
        l1->ecx &= ~ECX1_XSAVE;
    }
    if (!(t->xcr0 & XCR0_AVX)) {
        l1->ecx &= ~(ECX1_AVX | ECX1_FMA | ECX1_F16C);
        l7->ebx &= ~EBX7_AVX2;
        l7->ecx &= ~ECX7_VAES;
        l7[1].eax &= ~EAX71_AVX;
    }
    if (!(t->xcr0 & XCR0_AVX512)) {
        l7->ebx &= ~EBX7_AVX512;
        l7->ecx &= ~ECX7_AVX512;
        l7->edx &= ~EDX7_AVX512;
        l7[1].eax &= ~EAX71_AVX512;
    }
}

static void add_extended(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    bool counts = in->features & VIRT_FEATURE_CORE_COUNT && in->cpus > 1;
    u32 cores = counts ? (in->cpus - 1) | log2_up(in->cpus) << 12 : 0;

    add(t, CPUID_EXTENDED, 0, 0)->eax = CPUID_MAX_EXTENDED;
    for (u32 leaf = CPUID_EXTENDED + 1; leaf <= CPUID_MAX_EXTENDED; leaf++) {
        struct cpuid_leaf h = ask_below(in, leaf, 0);
        switch (leaf) {
        case 0x80000001:
            h.ecx = (h.ecx & ECX81_MASK) | (cores ? ECX81_CMP : 0);
            h = (struct cpuid_leaf){0, 0, h.ecx, h.edx & EDX81_MASK};
            if (!(in->features & VIRT_FEATURE_RDTSCP)) {
                h.edx &= ~EDX81_RDTSCP;
            }
            break;
        case 0x80000005:
            h = (struct cpuid_leaf){0, 0, 0, 0}; /* AMD's caches and TLBs */
            break;
        case 0x80000006:
            h = (struct cpuid_leaf){0, 0, h.ecx, 0};
            break;
        case 0x80000007:
            h = (struct cpuid_leaf){0, 0, 0, h.edx & BIT(8)}; /* invariant TSC */
            break;
        case 0x80000008:
            t->phys_bits = MIN(h.eax & 0xff ? h.eax & 0xff : 36, PHYS_BITS_MAX);
            h = (struct cpuid_leaf){t->phys_bits | 48 << 8, 0, cores, 0};
            break;
        default: /* the brand string */
            break;
        }
        *add(t, leaf, 0, 0) = h;
    }
}

static void add_hypervisor(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    /* "SocleSocle\0\0" in EBX, ECX, EDX */
    *add(t, CPUID_HYPERVISOR, 0, 0) =
        (struct cpuid_leaf){CPUID_MAX_HYPERVISOR, 0x6c636f53, 0x636f5365, 0x0000656c};
    /* kHz of the TSC and of the APIC timer */
    *add(t, 0x40000010, 0, 0) = (struct cpuid_leaf){
        (u32)(in->tsc_hz / 1000), (u32)((in->tsc_hz >> t->crystal_shift) / 1000), 0, 0};
    /* "KVMKVMKVM\0\0\0", by which Linux believes that x2APIC works without interrupt remapping */
    *add(t, CPUID_KVM, 0, 0) = (struct cpuid_leaf){CPUID_MAX_KVM, 0x4b4d564b, 0x564b4d56, 0x4d};
    add(t, CPUID_KVM + 1, 0, 0)->eax = KVM_NO_DELAY | KVM_CLOCK | KVM_CLOCK_STABLE | KVM_STEAL_TIME;
}

static void derive_registers(struct cpuid_table *t)
{
    const struct cpuid_leaf *l1 = cpuid_leaf_of(t, *dir_of(t, 1));
    const struct cpuid_leaf *l7 = cpuid_leaf_of(t, *dir_of(t, 7));
    const struct cpuid_leaf *e1 = cpuid_leaf_of(t, *dir_of(t, 0x80000001));
    const struct {
        u32 reg;
        u64 feature, bits;
    } cr4[] = {
        {l1->edx, EDX1_VME,      CR4_VME | CR4_PVI},
        {l1->edx, EDX1_TSC,      CR4_TSD          },
        {l1->edx, EDX1_DE,       CR4_DE           },
        {l1->edx, EDX1_PSE,      CR4_PSE          },
        {l1->edx, EDX1_PAE,      CR4_PAE          },
        {l1->edx, EDX1_MCE,      CR4_MCE          },
        {l1->edx, EDX1_PGE,      CR4_PGE          },
        {l1->edx, EDX1_FXSR,     CR4_OSFXSR       },
        {l1->edx, EDX1_SSE,      CR4_OSXMMEXCPT   },
        {l1->ecx, ECX1_PCID,     CR4_PCIDE        },
        {l1->ecx, ECX1_XSAVE,    CR4_OSXSAVE      },
        {l7->ebx, EBX7_FSGSBASE, CR4_FSGSBASE     },
        {l7->ebx, EBX7_SMEP,     CR4_SMEP         },
        {l7->ebx, EBX7_SMAP,     CR4_SMAP         },
        {l7->ecx, ECX7_UMIP,     CR4_UMIP         },
    };

    t->cr4_allowed = CR4_PCE; /* RDPMC faults whatever the bit says */
    for (size_t i = 0; i < ARRAY_SIZE(cr4); i++) {
        t->cr4_allowed |= cr4[i].reg & cr4[i].feature ? cr4[i].bits : 0;
    }
    t->efer_allowed = (e1->edx & EDX81_SYSCALL ? EFER_SCE : 0) |
                      (e1->edx & EDX81_LM ? EFER_LME : 0) | (e1->edx & EDX81_NX ? EFER_NXE : 0);
}

void cpuid_build(struct cpuid_table *t, const struct cpuid_inputs *in)
{
    struct cpuid_leaf h0 = ask(in, 0, 0);

    *t = (struct cpuid_table){.used = 1};
    for (u32 i = 0; i < CPUID_DIR_COUNT; i++) {
        t->dir[i].at = offsetof(struct cpuid_table, leaves);
    }
    t->xcr0 = cpuid_xcr0_of(in->host);
    *add(t, 0, 0, 0) = (struct cpuid_leaf){CPUID_MAX_BASIC, h0.ebx, h0.ecx, h0.edx};
    add_features(t, in);
    *add(t, 2, 0, 0) = ask_below(in, 2, 0);
    add_caches(t, in);
    add(t, 6, 0, 0)->eax = EAX6_ARAT;
    add_topology(t, in);
    add_xsave(t, in);
    add_frequency(t, in);
    add_hypervisor(t, in);
    add_extended(t, in);
    derive_registers(t);
}

static struct cpuid_dir find(const struct cpuid_table *t, u32 leaf)
{
    if (leaf <= CPUID_MAX_BASIC) {
        return t->dir[leaf];
    }
    if (leaf >= CPUID_EXTENDED && leaf <= CPUID_MAX_EXTENDED) {
        return t->dir[CPUID_DIR_EXTENDED + leaf - CPUID_EXTENDED];
    }
    if (leaf >= CPUID_HYPERVISOR && leaf <= CPUID_MAX_HYPERVISOR) {
        return t->dir[CPUID_DIR_HYPERVISOR + leaf - CPUID_HYPERVISOR];
    }
    if (leaf >= CPUID_KVM && leaf <= CPUID_MAX_KVM) {
        return t->dir[CPUID_DIR_KVM + leaf - CPUID_KVM];
    }
    /* SDM 2 "CPUID": beyond the highest leaves the highest basic one answers */
    return t->dir[CPUID_MAX_BASIC];
}

/* Bytes of an XSAVE area for the components in xcr0: standard form, or compacted. */
static u32 xsave_bytes(const struct cpuid_table *t, u64 xcr0, bool compacted)
{
    const struct cpuid_leaf *l = cpuid_leaf_of(t, t->dir[0xd]);
    u32 bytes = 512 + 64;

    for (u32 i = 2; i < t->dir[0xd].count; i++) {
        if (!(xcr0 & BIT(i))) {
            continue;
        }
        if (compacted) {
            bytes = (l[i].ecx & BIT(1) ? ALIGN_UP(bytes, 64u) : bytes) + l[i].eax;
        } else {
            bytes = MAX(bytes, l[i].eax + l[i].ebx);
        }
    }
    return bytes;
}

static void patch(struct vcpu *v, u32 fix, u32 subleaf)
{
    const struct cpuid_table *t = v->vm->cpuid;

    if (fix & CPUID_FIX_BASE) {
        v->gpr[GPR_RBX] |= v->index << 24;
        if (virt->read(v, VIRT_CR4) & CR4_OSXSAVE) {
            v->gpr[GPR_RCX] |= ECX1_OSXSAVE;
        }
        if (!(v->apic.base & APIC_BASE_ENABLE)) {
            v->gpr[GPR_RDX] &= ~EDX1_APIC;
        }
    }
    if (fix & CPUID_FIX_TOPOLOGY) {
        v->gpr[GPR_RCX] |= subleaf & 0xff;
        v->gpr[GPR_RDX] = v->index;
    }
    if (fix & CPUID_FIX_XSAVE && t->xcr0) {
        if (subleaf == 0) {
            v->gpr[GPR_RBX] = xsave_bytes(t, v->xcr0, false);
        } else if (subleaf == 1 && v->gpr[GPR_RAX] & EAXD1_XSAVEC) {
            v->gpr[GPR_RBX] = xsave_bytes(t, v->xcr0, true);
        }
    }
}

void cpuid_exec(struct vcpu *v)
{
    const struct cpuid_table *t = v->vm->cpuid;
    u32 subleaf = (u32)v->gpr[GPR_RCX];
    struct cpuid_dir d = find(t, (u32)v->gpr[GPR_RAX]);
    const struct cpuid_leaf *l = cpuid_leaf_of(t, d);

    if (d.count) {
        l += MIN(subleaf, (u32)d.count);
    }
    v->gpr[GPR_RAX] = l->eax;
    v->gpr[GPR_RBX] = l->ebx;
    v->gpr[GPR_RCX] = l->ecx;
    v->gpr[GPR_RDX] = l->edx;
    if (d.fix) {
        patch(v, d.fix, subleaf);
    }
}

struct cpuid_table *cpuid_create(u32 vcpus)
{
    struct cpuid_table *t = kmem_alloc(sizeof(*t));

    if (t) {
        cpuid_build(t,
                    &(struct cpuid_inputs){arch_cpuid, vcpus, virt_machine.features, arch_tsc_hz});
    }
    return t;
}

void cpuid_destroy(struct cpuid_table *t)
{
    kmem_free(t);
}
