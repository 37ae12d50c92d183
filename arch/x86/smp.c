/* SPDX-License-Identifier: MIT */
/* Start of the other CPUs, one after the other, and their end in a panic. */
#include "arch/x86/smp.h"

#include "arch/x86/cpu.h"
#include "arch/x86/insn.h"
#include "arch/x86/lapic.h"
#include "arch/x86/mmu.h"
#include "arch/x86/msr.h"
#include "arch/x86/time.h"
#include "kernel/kmem.h"
#include "kernel/log.h"
#include "lib/string.h"

#define INIT_WAIT_US                                                                               \
    10000 /* SDM 3A "MP Initialization Protocol Algorithm": INIT, 10 ms, SIPI, 200 us, SIPI */
#define STARTUP_WAIT_US  200
#define ANSWER_WAIT_US   1000000 /* an emulator with more CPUs than its host has is slow */
#define STOP_WAIT_US     100000
#define POLL_US          50
#define HLT              0xf4
#define TRAMPOLINE_LIMIT 0x100000u

/* trampoline.asm fills the rest of this page with code. */
struct PACKED trampoline_data {
    u32 base, root, xd_fix;
    u32 jump32_offset, jump32_selector;
    u32 jump64_offset, jump64_selector;
    u16 gdt_limit;
    u32 gdt_base;
};

extern const u8 trampoline_start[], trampoline_data[], trampoline_end[];
extern struct cpu *smp_mailbox; /* trampoline.asm */

/* Tables to start with: the kernel's half, and the first 2 MiB at their own address. The first one
 * must be below 4 GiB, for a CPU not yet in long mode. */
static u64 start_root[512] ALIGNED(4096);
static u64 start_directories[512] ALIGNED(4096);
static u64 start_directory[512] ALIGNED(4096);

static u64 boot_tsc_adjust;
static u32 stopping;

#define ENTRY_TABLE (BIT(0) | BIT(1))          /* present, writable */
#define ENTRY_2M    (BIT(0) | BIT(1) | BIT(7)) /* executable: there is the trampoline */

static void start_tables_init(void)
{
    arch_root_init(start_root);
    start_root[0] = mmu_image_pa(start_directories) | ENTRY_TABLE;
    start_directories[0] = mmu_image_pa(start_directory) | ENTRY_TABLE;
    start_directory[0] = ENTRY_2M;
}

static void trampoline_init(u64 page)
{
    u8 *p = arch_window_open(HPA(page));
    struct trampoline_data *d = (void *)(p + (trampoline_data - trampoline_start));

    memcpy(p, trampoline_start, (size_t)(trampoline_end - trampoline_start));
    d->base = (u32)page;
    d->root = (u32)mmu_image_pa(start_root);
    d->xd_fix = cpu_features.xd_fix != 0;
    d->jump32_offset += (u32)page;
    d->jump64_offset += (u32)page;
    d->gdt_base += (u32)page;
    arch_window_close();
}

/* What a CPU finds that is let loose there after all: HLT, and again. */
static void trampoline_wipe(u64 page)
{
    memset(arch_window_open(HPA(page)), HLT, PAGE_SIZE);
    arch_window_close();
    memset(start_root, 0, sizeof(start_root));
    memset(start_directory, 0, sizeof(start_directory));
    memset(start_directories, 0, sizeof(start_directories));
}

/* A CPU's structures; NULL: no memory. What was allocated stays so: this is the boot. */
static struct cpu *cpu_create(u32 id, u32 apic_id)
{
    struct cpu *c = kmem_alloc(sizeof(*c));
    struct arch_cpu *a = kmem_alloc(sizeof(*a));
    void *stack = arch_stack_alloc();
    u64 ist[IST_COUNT];

    if (!c || !a || !stack) {
        return NULL;
    }
    for (u32 i = 0; i < IST_COUNT; i++) {
        ist[i] = (u64)stack_alloc(IST_STACK_BYTES);
        if (!ist[i]) {
            return NULL;
        }
    }
    c->self = c;
    c->kernel_rsp = (u64)stack;
    c->id = id;
    c->apic_id = apic_id;
    c->in_user = 1;
    c->deadline = ~0ull;
    c->arch = a;
    cpu_tables_init(c, ist);
    return c;
}

static bool wait_up(struct cpu *c, u64 us)
{
    for (u64 waited = 0; waited < us; waited += POLL_US) {
        if (__atomic_load_n(&cpu_arch(c)->up, __ATOMIC_ACQUIRE)) {
            return true;
        }
        time_wait_us(POLL_US);
    }
    return __atomic_load_n(&cpu_arch(c)->up, __ATOMIC_ACQUIRE);
}

static bool cpu_start(struct cpu *c, u64 page)
{
    __atomic_store_n(&smp_mailbox, c, __ATOMIC_SEQ_CST);
    lapic_send_init(c->apic_id);
    time_wait_us(INIT_WAIT_US);
    lapic_send_startup(c->apic_id, (u32)(page >> PAGE_SHIFT));
    if (wait_up(c, STARTUP_WAIT_US)) {
        return true;
    }
    if (__atomic_load_n(&smp_mailbox, __ATOMIC_SEQ_CST)) {
        lapic_send_startup(c->apic_id, (u32)(page >> PAGE_SHIFT));
    }
    if (wait_up(c, ANSWER_WAIT_US)) {
        return true;
    }
    /* Whoever takes the mailbox first wins. With us it can only be a CPU that finds it empty and
     * halts; INIT makes it wait for a SIPI that never comes. */
    if (__atomic_exchange_n(&smp_mailbox, NULL, __ATOMIC_SEQ_CST)) {
        lapic_send_init(c->apic_id);
        return false;
    }
    return wait_up(c, ANSWER_WAIT_US);
}

void arch_start_cpus(const struct bootinfo *bi)
{
    u64 page = bi->trampoline;

    if (bi->cpu_count < 2) {
        return;
    }
    if (!page || page >= TRAMPOLINE_LIMIT || page & PAGE_MASK ||
        mmu_image_pa(start_root) > FIELD(31, 0)) {
        klog("smp: no memory where the other %u CPUs could start, they stay off",
             bi->cpu_count - 1);
        return;
    }
    if (cpu_features.tsc_adjust) {
        boot_tsc_adjust = rdmsr(MSR_IA32_TSC_ADJUST);
    }
    start_tables_init();
    trampoline_init(page);
    for (u32 i = 1; i < MIN(bi->cpu_count, BOOT_MAX_CPUS); i++) {
        u32 id = cpu_count;
        if (bi->cpu_apic_ids[i] == boot_cpu.apic_id) {
            continue; /* an INIT would be our own end */
        }
        struct cpu *c = cpu_create(id, bi->cpu_apic_ids[i]);
        if (!c) {
            klog("smp: no memory for CPU %u (APIC ID %u)", i, bi->cpu_apic_ids[i]);
            break;
        }
        /* it finds itself in the table before it runs; the others only when it is counted */
        cpus[id] = c;
        if (cpu_start(c, page)) {
            __atomic_store_n(&cpu_count, id + 1, __ATOMIC_RELEASE);
        } else {
            cpus[id] = NULL;
            klog("smp: CPU %u (APIC ID %u) does not answer and is left out", i, c->apic_id);
        }
    }
    trampoline_wipe(page);
}

void smp_cpu_main(struct cpu *c)
{
    cpu_tables_load(c);
    write_cr3(mmu_kernel_root());
    cpu_control_init(true);
    lapic_init();
    /* Firmware may have left the TSCs apart. */
    if (cpu_features.tsc_adjust && rdmsr(MSR_IA32_TSC_ADJUST) != boot_tsc_adjust) {
        wrmsr(MSR_IA32_TSC_ADJUST, boot_tsc_adjust);
    }
    time_init_cpu();
    __atomic_store_n(&cpu_arch(c)->up, 1, __ATOMIC_RELEASE);
    /* The first CPU counts us next; what we do from here on may need that. */
    while (__atomic_load_n(&cpu_count, __ATOMIC_ACQUIRE) <= c->id) {
        arch_spin_poll();
        arch_pause();
    }
    kernel_cpu_main();
}

bool smp_stopping(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

void arch_stop_others(void)
{
    struct cpu *me = cpu_this();
    u64 end = arch_tsc() + arch_tsc_hz / 1000000 * STOP_WAIT_US;

    __atomic_store_n(&stopping, 1, __ATOMIC_SEQ_CST);
    for (u32 i = 0; i < cpu_count; i++) {
        if (cpus[i] != me) {
            lapic_send_nmi(cpus[i]->apic_id);
        }
    }
    for (u32 i = 0; i < cpu_count; i++) {
        while (cpus[i] != me && !__atomic_load_n(&cpu_arch(cpus[i])->stopped, __ATOMIC_ACQUIRE) &&
               arch_tsc() < end) {
            arch_pause();
        }
    }
}

void arch_halt(void)
{
    __atomic_store_n(&cpu_arch(cpu_this())->stopped, 1, __ATOMIC_RELEASE);
    for (;;) {
        cpu_cli();
        cpu_hlt();
    }
}
