/* SPDX-License-Identifier: MIT */
/* IDT, TSS and what happens when a trap arrives: handler, way out of ring 3, recovery of a TRY, or
 * the end. */
#include "guests/lib/trap.h"

#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/test.h"
#include "lib/string.h"

#define GATE_INTERRUPT 0x8e /* present, ring 0, interrupt gate */
#define GATE_USER      0xee /* the same, but INT n works from ring 3 */
#define STUB_BYTES     32
#define USER_PAGE      (MAP_AREA + 0x4000000000ull)
#define STACK_BYTES    8192

/* start.asm */
extern u8 trap_stubs[];
void user_enter(u64 rip, u64 rsp, u64 rflags, u64 arg);
NORETURN void user_leave(void);
void trap_dispatch(struct trap_frame *frame);

struct idt_gate idt[256] ALIGNED(4096);
struct table_pointer idt_pointer = {sizeof(idt) - 1, (u64)idt};

volatile u64 trap_resume, trap_resume_rsp;

struct cpu cpus[CPU_MAX];

static struct fault trap_fault;
static trap_handler_t handlers[256];
static u8 stack_df[STACK_BYTES] ALIGNED(16), stack_nmi[STACK_BYTES] ALIGNED(16);
static u8 stack_user[2 * STACK_BYTES] ALIGNED(16);
static struct trap_frame user_frame;

trap_handler_t trap_handle(int vector, trap_handler_t handler)
{
    trap_handler_t before = handlers[vector];

    handlers[vector] = handler;
    return before;
}

void trap_set_ist(int vector, int n, u64 rsp)
{
    if (n) {
        tss.ist[n - 1] = rsp;
    }
    idt[vector].ist = (u8)n;
}

void trap_set_gate(int vector, u64 handler, u16 selector, u8 type)
{
    idt[vector] = (struct idt_gate){
        .offset_low = (u16)handler,
        .selector = selector,
        .type = type,
        .offset_mid = (u16)(handler >> 16),
        .offset_high = (u32)(handler >> 32),
    };
}

void trap_reset_gate(int vector)
{
    trap_set_gate(vector, (u64)trap_stubs + (u64)vector * STUB_BYTES, SEL_CODE64,
                  vector == VEC_BP || vector == VEC_OF || vector >= 32 ? GATE_USER
                                                                       : GATE_INTERRUPT);
}

struct cpu *cpu_self(void)
{
    struct table_pointer p;

    __asm__ volatile("sgdt %0" : "=m"(p));
    for (u32 i = 1; i < CPU_MAX; i++) {
        if (p.base == (u64)cpus[i].gdt) {
            return &cpus[i];
        }
    }
    return &cpus[0];
}

static void load_tables(u64 *table, struct tss64 *t)
{
    u64 base = (u64)t, limit = sizeof(*t) - 1;
    struct table_pointer p = {GDT_ENTRIES * sizeof(u64) - 1, (u64)table};

    t->io_map = offsetof(struct tss64, io_bits);
    memset(t->io_bits, 0xff, sizeof(t->io_bits));
    table[SEL_TSS / 8] =
        limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    table[SEL_TSS / 8 + 1] = base >> 32;
    __asm__ volatile("lgdt %0; lidt %1" : : "m"(p), "m"(idt_pointer));
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

void trap_init(void)
{
    for (int v = 0; v < 256; v++) {
        trap_reset_gate(v);
    }
    tss.rsp[0] = (u64)stack_user + sizeof(stack_user);
    trap_set_ist(VEC_DF, 1, (u64)stack_df + sizeof(stack_df));
    trap_set_ist(VEC_NMI, 2, (u64)stack_nmi + sizeof(stack_nmi));
    load_tables(gdt, &tss);
}

void trap_init_cpu(struct cpu *cpu, u64 nmi_stack_top)
{
    memcpy(cpu->gdt, gdt, sizeof(cpu->gdt));
    cpu->tss.ist[idt[VEC_NMI].ist - 1] = nmi_stack_top;
    cpu->tss.ist[idt[VEC_DF].ist - 1] = nmi_stack_top; /* the end in any case */
    load_tables(cpu->gdt, &cpu->tss);
}

void trap_io_allow(u16 port, u32 count, bool allow)
{
    for (u32 p = port; p < port + count; p++) {
        if (allow) {
            tss.io_bits[p / 8] &= (u8)~BIT(p % 8);
        } else {
            tss.io_bits[p / 8] |= (u8)BIT(p % 8);
        }
    }
}

void trap_print(const struct trap_frame *f)
{
    print("  vector %d error %lx cs:rip %lx:%lx rflags %lx ss:rsp %lx:%lx cr2 %lx\n", f->vector,
          f->error, f->cs, f->rip, f->rflags, f->ss, f->rsp, read_cr2());
    print("  rax %lx rcx %lx rdx %lx rbx %lx rbp %lx rsi %lx rdi %lx\n", f->rax, f->rcx, f->rdx,
          f->rbx, f->rbp, f->rsi, f->rdi);
    print("  r8 %lx r9 %lx r10 %lx r11 %lx r12 %lx r13 %lx r14 %lx r15 %lx\n", f->r8, f->r9, f->r10,
          f->r11, f->r12, f->r13, f->r14, f->r15);
}

struct fault trap_last(void)
{
    return trap_fault;
}

void trap_expect(void)
{
    trap_fault = (struct fault){.vector = -1};
}

struct fault try_rdmsr(u32 msr, u64 *value)
{
    u32 lo = 0, hi = 0;
    struct fault f = TRY("rdmsr", : "+a"(lo), "+d"(hi) : "c"(msr) : "memory");

    *value = lo | (u64)hi << 32;
    return f;
}

struct fault try_wrmsr(u32 msr, u64 value)
{
    return TRY("wrmsr", : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static void record(const struct trap_frame *f)
{
    trap_fault = (struct fault){
        .vector = f->vector,
        .has_error = f->has_error,
        .error = f->error,
        .cr2 = read_cr2(),
        .rip = f->rip,
        .rflags = f->rflags,
        .rsp = f->rsp,
        .cs = f->cs,
    };
}

void trap_dispatch(struct trap_frame *f)
{
    trap_handler_t handler = handlers[f->vector];

    if (handler && handler(f)) {
        return;
    }
    if ((f->cs & 3) == 3) {
        record(f);
        user_frame = *f;
        user_leave();
    }
    if (trap_resume && cpu_self() == &cpus[0]) {
        record(f);
        f->rip = trap_resume;
        f->rsp = trap_resume_rsp;
        f->cs = SEL_CODE64;
        f->ss = SEL_DATA;
        f->rflags &= ~(RFLAGS_TF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_RF);
        trap_resume = 0;
        return;
    }
    print("unexpected trap on CPU %u:\n", cpu_self()->index);
    trap_print(f);
    test_abort("unexpected trap %d at %lx", f->vector, f->rip);
}

struct fault user_run(const void *code, size_t bytes, u64 arg, u64 rflags, struct trap_frame *regs)
{
    static void *page;

    if (!page) {
        page = page_zeroed();
        pte_set(USER_PAGE, 1, (u64)page | PTE_P | PTE_W | PTE_U);
    }
    memcpy(page, code, MIN(bytes, 2048));
    trap_expect();
    user_enter(USER_PAGE, USER_PAGE + PAGE_SIZE - 16, rflags | RFLAGS_FIXED, arg);
    if (regs) {
        *regs = user_frame;
    }
    return trap_fault;
}
