/* SPDX-License-Identifier: MIT */
/* The fake machine's virtualization. */
#include "tests/host/backend.h"

#include <string.h>

#include "arch/arch.h"
#include "kernel/kmem.h"
#include "kernel/thread.h"
#include "kernel/vm.h"
#include "lib/hw/x86.h"
#include "tests/host/machine.h"

#define REGISTERS   (VIRT_TSC_AUX + 1)
#define ENTRY_TICKS 100
#define CR0_RESET   (CR0_ET)

struct fake_vcpu {
    u64 reg[REGISTERS];
    struct vcpu_state state; /* what has no register above */
    s32 loaded;              /* on this CPU, -1: none */
    bool msrs;               /* SYSCALL MSRs are the guest's */
    bool window[2];
};

guest_fn backend_guest;
struct backend_counts backend;

static struct fake_vcpu *of(struct vcpu *v)
{
    return v->backend;
}

static void check_resident(struct vcpu *v)
{
    CHECK_EQUAL(of(v)->loaded, cpu_this()->id);
    CHECK(cpu_this()->resident == v && v->cpu == (s32)cpu_this()->id);
}

u64 *backend_register(struct vcpu *v, enum virt_reg r)
{
    return &of(v)->reg[r];
}

/* A CPU that has all there is, up to leaf 16h. */
void arch_cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
    static const u32 vendor[4] = {0x16, 0x756e6547, 0x6c65746e, 0x49656e69}; /* GenuineIntel */

    memset(out, subleaf > 2 ? 0 : 0xff, 4 * sizeof(u32));
    if (leaf == 0) {
        memcpy(out, vendor, sizeof(vendor));
    } else if (leaf == 0x80000000u) {
        memcpy(out, (u32[4]){0x80000008u, 0, 0, 0}, 4 * sizeof(u32));
    } else if (leaf == 0x80000008u) {
        memcpy(out, (u32[4]){0x3028, 0, 0, 0}, 4 * sizeof(u32)); /* 40 and 48 bits */
    } else if (leaf == 0x0d && subleaf < 2) {
        memcpy(out, (u32[4]){7, 0x340, 0x340, 0}, 4 * sizeof(u32)); /* x87, SSE, AVX */
    }
}

static const char *fake_preflight(struct virt_machine *m)
{
    static struct pt_format smaller;

    smaller = pt_format_ept;
    smaller.largest_leaf = host_config.nested_leaf - 1;
    *m = (struct virt_machine){
        .nested = host_config.nested_leaf ? &smaller : &pt_format_ept_1g,
        .nested_levels = 4,
        .features = VIRT_FEATURE_RDTSCP | VIRT_FEATURE_INVPCID,
        .nested_ram = PT_READ | PT_WRITE | PT_EXEC | PT_MEMTYPE(6),
    };
    return host_config.no_virt ? "this CPU has no virtualization" : NULL;
}

static int fake_cpu_start(struct cpu *c)
{
    c->virt = &backend;
    return E_OK;
}

static void fake_cpu_stop(struct cpu *c)
{
    CHECK(!c->resident);
    c->virt = NULL;
}

static int fake_vcpu_create(struct vcpu *v)
{
    struct fake_vcpu *f = kmem_alloc(sizeof(*f));

    if (!f) {
        return E_NO_MEMORY;
    }
    f->loaded = -1;
    f->reg[VIRT_RIP] = 0xfff0;
    f->reg[VIRT_RFLAGS] = RFLAGS_FIXED;
    f->reg[VIRT_CR0] = CR0_RESET;
    v->backend = f;
    v->apic.posted = v->apic.virtualized = host_config.posted;
    backend.created++;
    return E_OK;
}

static void fake_vcpu_destroy(struct vcpu *v)
{
    CHECK_EQUAL(of(v)->loaded, -1);
    CHECK(!of(v)->msrs);
    for (u32 i = 0; i < cpu_count; i++) {
        CHECK(cpus[i]->resident != v && cpus[i]->msrs_of != v);
    }
    kmem_free(of(v));
    v->backend = NULL;
    backend.destroyed++;
}

static void fake_reset(struct vcpu *v)
{
    check_resident(v);
    of(v)->reg[VIRT_RIP] = 0xfff0;
    of(v)->reg[VIRT_RFLAGS] = RFLAGS_FIXED;
    of(v)->reg[VIRT_CR0] = CR0_RESET;
    backend.resets++;
}

void virt_start(struct vcpu *v, u8 vector)
{
    check_resident(v);
    of(v)->reg[VIRT_RIP] = (u64)vector << 12;
    backend.starts++;
}

static void fake_apic_sync(struct vcpu *v)
{
    check_resident(v);
}

static void fake_timer_changed(struct vcpu *v)
{
    check_resident(v);
}

static void fake_load(struct vcpu *v)
{
    host_preempt();
    CHECK_EQUAL(of(v)->loaded, -1);
    of(v)->loaded = (s32)cpu_this()->id;
    backend.loads++;
}

static void fake_unload(struct vcpu *v)
{
    host_preempt();
    CHECK_EQUAL(of(v)->loaded, cpu_this()->id);
    CHECK(!of(v)->msrs);
    of(v)->loaded = -1;
    backend.unloads++;
}

static void fake_switch_msrs(struct vcpu *v, bool to_guest)
{
    CHECK(of(v)->loaded == (s32)cpu_this()->id && of(v)->msrs != to_guest);
    of(v)->msrs = to_guest;
}

static void default_guest(struct vcpu *v, struct exit *x)
{
    (void)v;
    x->kind = EXIT_IO;
    x->io.port = 0xf4;
    x->io.bytes = 4;
}

/* What the CPU does by itself in a guest with posted interrupts. */
static void take_interrupt(struct vcpu *v)
{
    struct apic *a = &v->apic;

    if (host_notified()) {
        a->news[0] = 0;
        for (u32 i = 0; i < 8; i++) {
            APIC_REG(a, APIC_IRR + 16 * i) |= ((u32 *)a->edge)[i];
            ((u32 *)a->edge)[i] = 0;
        }
    }
    apic_refresh(a);
    if (apic_next(a) && of(v)->reg[VIRT_RFLAGS] & RFLAGS_IF) {
        apic_take(a, apic_next(a));
        backend.injected++;
    }
}

static void fake_run(struct vcpu *v)
{
    struct exit x;

    do {
        check_resident(v);
        CHECK(of(v)->msrs && v->thread == cpu_this()->current && v == v->thread->vcpu);
        /* a timer that was due while it waited has been looked at */
        CHECK(host_config.interleave || v->apic.timer_tsc > host_now() - HOST_SLICE / 4);
        backend.entries++;
        memset(&x, 0, sizeof(x));
        if (v->apic.posted) {
            take_interrupt(v);
        } else if (host_notified()) {
            x.kind = EXIT_INTERRUPT;
            continue;
        }
        if (host_spend_in_guest(ENTRY_TICKS)) {
            x.kind = EXIT_INTERRUPT;
            x.interrupt.vector = 1;
        } else if (arch_tsc() >= MIN(cpu_this()->slice_end, v->apic.timer_tsc)) {
            x.kind = EXIT_TIMER;
        } else {
            (backend_guest ? backend_guest : default_guest)(v, &x);
        }
    } while (exit_settle(v, &x));
}

static void fake_advance(struct vcpu *v, u32 bytes)
{
    check_resident(v);
    of(v)->reg[VIRT_RIP] += bytes ? bytes : 2;
    backend.advances++;
}

static u32 fake_code_mode(struct vcpu *v, u64 *cr3)
{
    check_resident(v);
    *cr3 = of(v)->reg[VIRT_CR3];
    return VX_ACCESS_CODE64;
}

static u64 fake_read(struct vcpu *v, enum virt_reg r)
{
    check_resident(v);
    CHECK(r < REGISTERS);
    return of(v)->reg[r];
}

static void fake_write(struct vcpu *v, enum virt_reg r, u64 value)
{
    check_resident(v);
    CHECK(r < REGISTERS && r != VIRT_CPL && r != VIRT_CS_L && r != VIRT_CR0 && r != VIRT_CR4);
    of(v)->reg[r] = value;
    if (r == VIRT_TSC_OFFSET) {
        v->tsc_offset = value;
    }
}

static bool fake_write_owned(struct vcpu *v, enum virt_reg r, u64 value)
{
    check_resident(v);
    CHECK(r == VIRT_CR0 || r == VIRT_CR4);
    of(v)->reg[r] = value;
    return false;
}

void virt_give_debug(struct vcpu *v)
{
    check_resident(v);
}

void virt_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups)
{
    check_resident(v);
    *s = of(v)->state;
    if (groups & VCPU_STATE_GPR) {
        memcpy(s->gpr, v->gpr, sizeof(s->gpr));
        s->rip = of(v)->reg[VIRT_RIP];
        s->rflags = of(v)->reg[VIRT_RFLAGS];
    }
}

int virt_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups)
{
    check_resident(v);
    if (groups & VCPU_STATE_GPR) {
        if (!(s->rflags & RFLAGS_FIXED)) {
            return E_INVAL;
        }
        memcpy(v->gpr, s->gpr, sizeof(s->gpr));
        of(v)->reg[VIRT_RIP] = s->rip;
        of(v)->reg[VIRT_RFLAGS] = s->rflags;
    }
    if (groups & VCPU_STATE_EVENT) {
        if (s->halted > VCPU_WAIT_SIPI) {
            return E_INVAL;
        }
        v->activity = s->halted;
    }
    of(v)->state = *s;
    return E_OK;
}

static bool fake_can_take(struct vcpu *v, enum virt_window w)
{
    check_resident(v);
    return w == WINDOW_NMI || of(v)->reg[VIRT_RFLAGS] & RFLAGS_IF;
}

static void fake_set_window(struct vcpu *v, enum virt_window w, bool on)
{
    check_resident(v);
    of(v)->window[w] = on;
}

static void fake_inject(struct vcpu *v, const struct event *e)
{
    check_resident(v);
    CHECK(e->type != EVENT_NONE);
    backend.injected++;
    backend.last_event = *e;
}

static bool fake_try_interrupt(struct vcpu *v, u8 vector)
{
    if (!fake_can_take(v, WINDOW_INTERRUPT)) {
        fake_set_window(v, WINDOW_INTERRUPT, true);
        return false;
    }
    fake_inject(v, &(struct event){EVENT_EXTINT, vector, false, 0, 0});
    return true;
}

static void fake_flush(struct vcpu *v)
{
    check_resident(v);
    backend.flushes++;
}

static void fake_report(struct vcpu *v, void *report)
{
    check_resident(v);
    *(u64 *)report = VCPU_REPORT_VMX;
}

const struct virt virt_vmx = {
    .name = "fake",
    .preflight = fake_preflight,
    .cpu_start = fake_cpu_start,
    .cpu_stop = fake_cpu_stop,
    .vcpu_create = fake_vcpu_create,
    .vcpu_destroy = fake_vcpu_destroy,
    .reset = fake_reset,
    .apic_mode = fake_timer_changed,
    .apic_sync = fake_apic_sync,
    .timer_changed = fake_timer_changed,
    .load = fake_load,
    .unload = fake_unload,
    .switch_msrs = fake_switch_msrs,
    .run = fake_run,
    .advance = fake_advance,
    .code_mode = fake_code_mode,
    .read = fake_read,
    .write = fake_write,
    .write_owned = fake_write_owned,
    .can_take = fake_can_take,
    .set_window = fake_set_window,
    .inject = fake_inject,
    .try_interrupt = fake_try_interrupt,
    .flush = fake_flush,
    .fill_report = fake_report,
};

static const char *absent_preflight(struct virt_machine *m)
{
    (void)m;
    return virt_absent;
}

const struct virt virt_svm = {.name = "absent", .preflight = absent_preflight};
