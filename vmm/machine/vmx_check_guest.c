/* SPDX-License-Identifier: MIT */
/* The checks of the guest-state area. SDM 3C "Checks on the Guest State Area". */
#include "vmm/machine/vmx_check.h"

#include "kernel/abi.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"

/* Segment access rights */
#define AR_TYPE(a)  ((a)&15)
#define AR_ACCESSED BIT(0)
#define AR_WRITE    BIT(1) /* data: writable; code: readable */
#define AR_CODE     BIT(3)
#define AR_S        BIT(4)
#define AR_DPL(a)   ((a) >> 5 & 3)
#define AR_P        BIT(7)
#define AR_L        BIT(13)
#define AR_DB       BIT(14)
#define AR_G        BIT(15)
#define AR_RESERVED (FIELD(31, 17) | FIELD(11, 8))

/* What many rules look at. */
struct guest {
    u64 cr0, cr4, efer, rflags, entry, proc2;
    bool ia32e, unrestricted, v86;
};

static void check_registers(struct vmx_check *c, const struct guest *g)
{
    u64 fixed0 = c->msrs->cr0_fixed0 & ~(CR0_NW | CR0_CD);

    if (g->unrestricted) {
        fixed0 &= ~(CR0_PE | CR0_PG);
    }
    RULE(c, vmx_check_fixed(g->cr0, fixed0, c->msrs->cr0_fixed1 | CR0_NW | CR0_CD), GUEST_CR0,
         "the fixed bits of IA32_VMX_CR0_FIXED0 and 1");
    RULE(c, !(g->cr0 & CR0_PG) || g->cr0 & CR0_PE, GUEST_CR0, "PG needs PE");
    RULE(c, vmx_check_fixed(g->cr4, c->msrs->cr4_fixed0, c->msrs->cr4_fixed1), GUEST_CR4,
         "the fixed bits of IA32_VMX_CR4_FIXED0 and 1");
    RULE(c, !(g->cr4 & CR4_CET) || g->cr0 & CR0_WP, GUEST_CR4, "CET needs CR0.WP");
    RULE(c, !g->ia32e || (g->cr0 & CR0_PG && g->cr4 & CR4_PAE), GUEST_CR0,
         "IA-32e mode needs PG and CR4.PAE");
    RULE(c, g->ia32e || !(g->cr4 & CR4_PCIDE), GUEST_CR4, "PCIDE needs IA-32e mode");
    RULE(c, !(SNAP(c, GUEST_CR3) >> c->phys_bits), GUEST_CR3, "within the physical-address width");
    if (g->entry & ENTRY_LOAD_DEBUG) {
        RULE(c, !(SNAP(c, GUEST_DEBUGCTL) & ~(FIELD(15, 6) | FIELD(2, 0))), GUEST_DEBUGCTL,
             "reserved bits are 0");
        RULE(c, !(SNAP(c, GUEST_DR7) >> 32), GUEST_DR7, "bits 63:32 are 0");
    }
    RULE(c, vmx_check_canonical(SNAP(c, GUEST_SYSENTER_ESP)), GUEST_SYSENTER_ESP,
         "a canonical address");
    RULE(c, vmx_check_canonical(SNAP(c, GUEST_SYSENTER_EIP)), GUEST_SYSENTER_EIP,
         "a canonical address");
    if (g->entry & ENTRY_LOAD_PAT) {
        RULE(c, vmx_check_pat(SNAP(c, GUEST_PAT)), GUEST_PAT, "eight memory types");
    }
    if (g->entry & ENTRY_LOAD_EFER) {
        RULE(c, !(g->efer & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)), GUEST_EFER,
             "reserved bits are 0");
        RULE(c, !(g->efer & EFER_LMA) == !g->ia32e, GUEST_EFER, "LMA as the entry control says");
        RULE(c, !(g->cr0 & CR0_PG) || !(g->efer & EFER_LMA) == !(g->efer & EFER_LME), GUEST_EFER,
             "LMA equals LME while paging is on");
    }
}

/* --- segments --- */

struct segment {
    const char *name; /* of its access rights */
    u64 selector, base, limit, access;
    bool usable;
};

static struct segment get_segment(const struct vmx_check *c, u32 i)
{
    static const char *const names[] = {"GUEST_ES", "GUEST_CS", "GUEST_SS",   "GUEST_DS",
                                        "GUEST_FS", "GUEST_GS", "GUEST_LDTR", "GUEST_TR"};
    const u64 *v = c->s->value;
    struct segment s = {
        .name = names[i],
        .selector = v[VMCS_INDEX_GUEST_ES_SELECTOR + i],
        .base = v[VMCS_INDEX_GUEST_ES_BASE + i],
        .limit = v[VMCS_INDEX_GUEST_ES_LIMIT + i],
        .access = v[VMCS_INDEX_GUEST_ES_ACCESS + i],
    };
    s.usable = !(s.access & SEG_AR_UNUSABLE);
    return s;
}

/* One rule about the access rights of one segment. */
static void rule(struct vmx_check *c, bool holds, const struct segment *s, const char *text)
{
    vmx_check_rule(c, holds, s->name, s->access, text);
}

static void check_limit(struct vmx_check *c, const struct segment *s)
{
    bool byte_ok = !(s->limit >> 20) || s->access & AR_G;
    bool page_ok = (s->limit & 0xfff) == 0xfff || !(s->access & AR_G);

    vmx_check_rule(c, byte_ok && page_ok, s->name, s->limit, "limit and granularity fit together");
}

static void check_v86_segment(struct vmx_check *c, const struct segment *s)
{
    vmx_check_rule(c, s->base == s->selector << 4, s->name, s->base,
                   "virtual-8086: base is the selector times 16");
    vmx_check_rule(c, s->limit == 0xffff, s->name, s->limit, "virtual-8086: limit is ffffh");
    rule(c, s->access == 0xf3, s, "virtual-8086: access rights are f3h");
}

static void check_cs(struct vmx_check *c, const struct guest *g, const struct segment *cs,
                     const struct segment *ss)
{
    u64 type = AR_TYPE(cs->access), dpl = AR_DPL(cs->access);

    if (type == 3) {
        rule(c, g->unrestricted, cs, "only an unrestricted guest has a data segment in CS");
        rule(c, dpl == 0, cs, "a data segment in CS has DPL 0");
    } else {
        rule(c, type & AR_CODE && type & AR_ACCESSED, cs, "an accessed code segment");
    }
    if (type == 9 || type == 11) {
        rule(c, dpl == AR_DPL(ss->access), cs, "non-conforming: DPL equals that of SS");
    } else if (type == 13 || type == 15) {
        rule(c, dpl <= AR_DPL(ss->access), cs, "conforming: DPL is not above that of SS");
    }
    rule(c, cs->access & AR_S, cs, "a code or data segment (S)");
    rule(c, !(g->ia32e && cs->access & AR_L && cs->access & AR_DB), cs, "64-bit: D is 0");
}

static void check_ss(struct vmx_check *c, const struct guest *g, const struct segment *ss,
                     const struct segment *cs)
{
    u64 dpl = AR_DPL(ss->access);

    if (ss->usable) {
        rule(c, AR_TYPE(ss->access) == 3 || AR_TYPE(ss->access) == 7, ss,
             "accessed, writable data segment");
        rule(c, ss->access & AR_S, ss, "a code or data segment (S)");
    }
    if (!g->unrestricted) {
        rule(c, dpl == (ss->selector & 3), ss, "DPL equals RPL");
    }
    if (AR_TYPE(cs->access) == 3 || !(g->cr0 & CR0_PE)) {
        rule(c, dpl == 0, ss, "DPL is 0 in real mode");
    }
}

static void check_data(struct vmx_check *c, const struct guest *g, const struct segment *s)
{
    if (!s->usable) {
        return;
    }
    u64 type = AR_TYPE(s->access);
    rule(c, type & AR_ACCESSED, s, "accessed");
    rule(c, !(type & AR_CODE) || type & AR_WRITE, s, "a code segment is readable");
    rule(c, s->access & AR_S, s, "a code or data segment (S)");
    if (!g->unrestricted && type <= 11) {
        rule(c, AR_DPL(s->access) >= (s->selector & 3), s, "DPL is not below RPL");
    }
}

static void check_segments(struct vmx_check *c, const struct guest *g)
{
    struct segment seg[SEG_COUNT];

    for (u32 i = 0; i < SEG_COUNT; i++) {
        seg[i] = get_segment(c, i);
    }
    const struct segment *cs = &seg[SEG_CS], *ss = &seg[SEG_SS], *tr = &seg[SEG_TR],
                         *ldtr = &seg[SEG_LDTR];

    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        const struct segment *s = &seg[i];
        if (g->v86) {
            check_v86_segment(c, s);
            continue;
        }
        if (i == SEG_CS) {
            check_cs(c, g, cs, ss);
        } else if (i == SEG_SS) {
            check_ss(c, g, ss, cs);
        } else {
            check_data(c, g, s);
        }
        if (i == SEG_CS || s->usable) {
            rule(c, s->access & AR_P, s, "present");
            rule(c, !(s->access & AR_RESERVED), s, "reserved bits are 0");
            check_limit(c, s);
        }
        bool low = i == SEG_CS || (s->usable && i != SEG_FS && i != SEG_GS);
        vmx_check_rule(c, !low || !(s->base >> 32), s->name, s->base, "base is below 4 GiB");
    }
    if (!g->v86 && !g->unrestricted) {
        rule(c, (ss->selector & 3) == (cs->selector & 3), ss, "RPL equals that of CS");
    }
    vmx_check_rule(c, vmx_check_canonical(seg[SEG_FS].base), "GUEST_FS", seg[SEG_FS].base,
                   "base is canonical");
    vmx_check_rule(c, vmx_check_canonical(seg[SEG_GS].base), "GUEST_GS", seg[SEG_GS].base,
                   "base is canonical");

    rule(c, tr->usable, tr, "usable");
    vmx_check_rule(c, !(tr->selector & 4), tr->name, tr->selector, "a selector of the GDT");
    vmx_check_rule(c, vmx_check_canonical(tr->base), tr->name, tr->base, "base is canonical");
    rule(c, AR_TYPE(tr->access) == 11 || (AR_TYPE(tr->access) == 3 && !g->ia32e), tr, "a busy TSS");
    rule(c, !(tr->access & AR_S) && tr->access & AR_P, tr, "a present system segment");
    rule(c, !(tr->access & AR_RESERVED), tr, "reserved bits are 0");
    check_limit(c, tr);
    if (ldtr->usable) {
        vmx_check_rule(c, !(ldtr->selector & 4), ldtr->name, ldtr->selector,
                       "a selector of the GDT");
        vmx_check_rule(c, vmx_check_canonical(ldtr->base), ldtr->name, ldtr->base,
                       "base is canonical");
        rule(c, AR_TYPE(ldtr->access) == 2, ldtr, "an LDT");
        rule(c, !(ldtr->access & AR_S) && ldtr->access & AR_P, ldtr, "a present system segment");
        rule(c, !(ldtr->access & AR_RESERVED), ldtr, "reserved bits are 0");
        check_limit(c, ldtr);
    }
}

/* --- the rest --- */

static void check_tables_rip_rflags(struct vmx_check *c, const struct guest *g)
{
    u64 rip = SNAP(c, GUEST_RIP), info = SNAP(c, ENTRY_INTR_INFO);
    bool is_64 = g->ia32e && SNAP(c, GUEST_CS_ACCESS) & AR_L;

    RULE(c, vmx_check_canonical(SNAP(c, GUEST_GDTR_BASE)), GUEST_GDTR_BASE, "a canonical address");
    RULE(c, vmx_check_canonical(SNAP(c, GUEST_IDTR_BASE)), GUEST_IDTR_BASE, "a canonical address");
    RULE(c, !(SNAP(c, GUEST_GDTR_LIMIT) >> 16), GUEST_GDTR_LIMIT, "16 bits");
    RULE(c, !(SNAP(c, GUEST_IDTR_LIMIT) >> 16), GUEST_IDTR_LIMIT, "16 bits");
    RULE(c, is_64 ? vmx_check_canonical(rip) : !(rip >> 32), GUEST_RIP,
         "canonical in 64-bit mode, else 32 bits");
    RULE(c, !(g->rflags & RFLAGS_RESERVED) && g->rflags & RFLAGS_FIXED, GUEST_RFLAGS,
         "reserved bits are 0, bit 1 is 1");
    RULE(c, !g->v86 || (!g->ia32e && g->cr0 & CR0_PE), GUEST_RFLAGS,
         "VM only in protected mode, never in IA-32e mode");
    RULE(c,
         !(info & INTR_INFO_VALID) || INTR_INFO_TYPE(info) != INTR_TYPE_EXTINT ||
             g->rflags & RFLAGS_IF,
         GUEST_RFLAGS, "IF for an external interrupt");
}

static void check_activity(struct vmx_check *c, u64 blocked)
{
    u64 activity = SNAP(c, GUEST_ACTIVITY), info = SNAP(c, ENTRY_INTR_INFO);
    bool known = activity == ACTIVITY_ACTIVE ||
                 (activity <= ACTIVITY_SIPI && c->msrs->misc >> (5 + activity) & 1);

    RULE(c, known, GUEST_ACTIVITY, "a supported activity state");
    RULE(c, activity != ACTIVITY_HLT || AR_DPL(SNAP(c, GUEST_SS_ACCESS)) == 0, GUEST_ACTIVITY,
         "HLT only with SS.DPL 0");
    RULE(c, activity == ACTIVITY_ACTIVE || !(blocked & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)),
         GUEST_ACTIVITY, "active in the shadow of STI or MOV SS");
    RULE(c, !(info & INTR_INFO_VALID) || activity <= ACTIVITY_HLT, GUEST_ACTIVITY,
         "an event can be injected only into an active or halted CPU");
}

static void check_interruptibility(struct vmx_check *c, const struct guest *g)
{
    u64 blocked = SNAP(c, GUEST_INTERRUPTIBILITY), info = SNAP(c, ENTRY_INTR_INFO);
    u32 type = info & INTR_INFO_VALID ? INTR_INFO_TYPE(info) : INTR_TYPE_NONE;
    bool virtual_nmis = SNAP(c, PIN_CONTROLS) & PIN_VIRTUAL_NMIS;

    check_activity(c, blocked);
    RULE(c, !(blocked >> 5), GUEST_INTERRUPTIBILITY, "reserved bits are 0");
    RULE(c, (blocked & 3) != 3, GUEST_INTERRUPTIBILITY, "not STI and MOV SS both");
    RULE(c, g->rflags & RFLAGS_IF || !(blocked & BLOCKED_BY_STI), GUEST_INTERRUPTIBILITY,
         "STI needs RFLAGS.IF");
    RULE(c, type != INTR_TYPE_EXTINT || !(blocked & 3), GUEST_INTERRUPTIBILITY,
         "an external interrupt is not blocked");
    RULE(c, type != INTR_TYPE_NMI || !(blocked & 3), GUEST_INTERRUPTIBILITY,
         "an NMI is not blocked");
    RULE(c, type != INTR_TYPE_NMI || !virtual_nmis || !(blocked & BLOCKED_BY_NMI),
         GUEST_INTERRUPTIBILITY, "an NMI is not blocked by an NMI");
    RULE(c, !(blocked & BLOCKED_BY_SMI), GUEST_INTERRUPTIBILITY, "no SMI blocking outside SMM");
    RULE(c, !(blocked & ENCLAVE_INTERRUPT) || !(blocked & BLOCKED_BY_MOV_SS),
         GUEST_INTERRUPTIBILITY, "no enclave in the shadow of MOV SS");
}

/* Guard: emulators miss the rule about BS, so a forgotten single step would show on real CPUs only.
 */
static void check_pending_debug(struct vmx_check *c, const struct guest *g)
{
    u64 pending = SNAP(c, GUEST_PENDING_DEBUG);
    bool shadow = SNAP(c, GUEST_INTERRUPTIBILITY) & 3 || SNAP(c, GUEST_ACTIVITY) == ACTIVITY_HLT;
    bool step = g->rflags & RFLAGS_TF && !(SNAP(c, GUEST_DEBUGCTL) & DEBUGCTL_BTF);

    RULE(c, !(pending & (FIELD(63, 17) | BIT(15) | BIT(13) | FIELD(10, 4))), GUEST_PENDING_DEBUG,
         "reserved bits are 0");
    RULE(c, !shadow || !(pending & PENDING_DEBUG_BS) == !step, GUEST_PENDING_DEBUG,
         "BS as TF and BTF say, in the shadow of STI or MOV SS and in HLT");
}

static void check_pdptes(struct vmx_check *c)
{
    for (u32 i = 0; i < 4; i++) {
        u64 pdpte = c->s->value[VMCS_INDEX_GUEST_PDPTE0 + i];
        bool ok =
            !(pdpte & 1) || (!(pdpte & (FIELD(8, 5) | FIELD(2, 1))) && !(pdpte >> c->phys_bits));
        vmx_check_rule(c, ok, "GUEST_PDPTE", pdpte, "reserved bits are 0 in a present entry");
    }
}

void vmx_check_guest(struct vmx_check *c)
{
    struct guest g = {
        .cr0 = SNAP(c, GUEST_CR0),
        .cr4 = SNAP(c, GUEST_CR4),
        .efer = SNAP(c, GUEST_EFER),
        .rflags = SNAP(c, GUEST_RFLAGS),
        .entry = SNAP(c, ENTRY_CONTROLS),
        .proc2 = SNAP(c, PROC_CONTROLS) & PROC_SECONDARY ? SNAP(c, PROC2_CONTROLS) : 0,
    };

    g.ia32e = g.entry & ENTRY_IA32E_GUEST;
    g.unrestricted = g.proc2 & PROC2_UNRESTRICTED;
    g.v86 = g.rflags & RFLAGS_VM;
    check_registers(c, &g);
    check_segments(c, &g);
    check_tables_rip_rflags(c, &g);
    check_interruptibility(c, &g);
    check_pending_debug(c, &g);
    RULE(c, SNAP(c, GUEST_LINK_POINTER) == ~0ull, GUEST_LINK_POINTER, "all ones: no shadow VMCS");
    if (g.cr0 & CR0_PG && g.cr4 & CR4_PAE && !g.ia32e) {
        check_pdptes(c);
    }
}
