/* SPDX-License-Identifier: MIT */
/*
 * What interrupts cost. Handlers are a few instructions of their own, so that the rows show what
 * the hypervisor does. They need x2APIC mode; without it there are no rows.
 */
#include "guests/lib/apic.h"
#include "guests/lib/clock.h"
#include "guests/lib/console.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/irq.h"
#include "guests/lib/mode.h"
#include "guests/lib/smp.h"
#include "lib/string.h"
#include "tests/bench/bench.h"

#define VECTOR         0x60 /* ended by its handler */
#define VECTOR_KEPT    0x61 /* not ended */
#define VECTOR_ANSWER  0x62 /* ended, and counted elsewhere */
#define GATE_INTERRUPT 0x8e
#define FAR            (1ull << 60)

extern volatile u32 bench_taken, bench_answered;
extern u8 bench_handler[], bench_handler_answer[], bench_handler_kept[];
volatile u32 bench_taken, bench_answered;

#define HANDLER(name, counter)                                                                     \
    name ":\n"                                                                                     \
         "    push %rax\n"                                                                         \
         "    push %rcx\n"                                                                         \
         "    push %rdx\n"                                                                         \
         "    incl " counter "\n"                                                                  \
         "    xor %eax, %eax\n"                                                                    \
         "    xor %edx, %edx\n"                                                                    \
         "    mov $0x80b, %ecx\n" /* EOI */                                                        \
         "    wrmsr\n"                                                                             \
         "    pop %rdx\n"                                                                          \
         "    pop %rcx\n"                                                                          \
         "    pop %rax\n"                                                                          \
         "    iretq\n"
__asm__(HANDLER("bench_handler", "bench_taken")
            HANDLER("bench_handler_answer", "bench_answered") "bench_handler_kept:\n"
                                                              "    incl bench_taken\n"
                                                              "    iretq\n");

static bool begin(void)
{
    if (!apic_available() || apic_mode() != APIC_MODE_X2APIC) {
        return false;
    }
    trap_set_gate(VECTOR, (u64)bench_handler, SEL_CODE64, GATE_INTERRUPT);
    trap_set_gate(VECTOR_ANSWER, (u64)bench_handler_answer, SEL_CODE64, GATE_INTERRUPT);
    trap_set_gate(VECTOR_KEPT, (u64)bench_handler_kept, SEL_CODE64, GATE_INTERRUPT);
    return true;
}

static void send_self(u32 vector)
{
    wrmsr(MSR_X2APIC_BASE + APIC_ICR / 16, ICR_SELF | ICR_ASSERT | vector);
}

static void wait_taken(u32 before)
{
    while (bench_taken == before) {
        cpu_pause();
    }
}

static void deadline(void)
{
    u32 before = 0;
    u64 at, least = ~0ull;

    apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | VECTOR);
    at = rdtsc() + FAR;
    bench_report("tsc-deadline-arm", MEASURE(wrmsr(MSR_IA32_TSC_DEADLINE, at)));
    cpu_sti();
    bench_report(
        "tsc-deadline-immediate",
        MEASURE_AFTER(before = bench_taken, wrmsr(MSR_IA32_TSC_DEADLINE, 1); wait_taken(before)));
    cpu_cli();
    /* from the deadline to the instruction behind HLT */
    for (u32 run = 0; run < BENCH_RUNS; run++) {
        at = rdtsc() + 20000;
        wrmsr(MSR_IA32_TSC_DEADLINE, at);
        __asm__ volatile("sti; hlt; cli" : : : "memory");
        bench_samples[run] = bench_now() - at;
        least = MIN(least, bench_samples[run]);
    }
    bench_report("hlt-wake", bench_median());
    print("bench: out of HLT at least %lu after the deadline\n", least);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
}

/* One access by 16-bit code with 4 GiB segments, as firmware makes them. */
static u64 access16(const u8 *access, size_t bytes)
{
    static const u8 start[] = {0x0f, 0x31, 0x66, 0x89, 0xc6}; /* rdtsc; mov esi, eax */
    static const u8 end[] = {0x0f, 0x31, 0x66, 0x29, 0xf0};   /* rdtsc; sub eax, esi */
    u8 code[sizeof(start) + 8 + sizeof(end)];

    memcpy(code, start, sizeof(start));
    memcpy(code + sizeof(start), access, bytes);
    memcpy(code + sizeof(start) + bytes, end, sizeof(end));
    for (u32 run = 0; run < BENCH_RUNS; run++) {
        struct mode m = {.kind = MODE_UNREAL, .cr0 = MODE_CR0, .ebx = IOAPIC_BASE + IOAPIC_IOWIN};
        mode_run(&m, code, sizeof(start) + bytes + sizeof(end));
        bench_samples[run] = m.eax;
    }
    return bench_median();
}

/* Device memory, settled in ring 3. */
static void mmio(void)
{
    static const u8 load[] = {0x67, 0x66, 0x8b, 0x0b}; /* mov ecx, [ebx] */
    volatile u32 *page = (volatile u32 *)(u64)IOAPIC_BASE;

    page[IOAPIC_IOREGSEL / 4] = IOAPIC_VER;
    bench_report("ioapic-ring3", MEASURE((void)page[IOAPIC_IOWIN / 4]));
    bench_report("mmio-rmw", MEASURE(__asm__ volatile("orl $0, %0" : "+m"(page[0]) : : "cc")));
    bench_report("mmio-code16", access16(load, sizeof(load)) - access16(load, 0));
}

void bench_apic(void)
{
    u32 before = 0;

    if (!begin()) {
        print("bench: no x2APIC\n");
        return;
    }
    if (apic_has_deadline()) {
        deadline();
    }
    cpu_sti();
    bench_report("self-ipi",
                 MEASURE_AFTER(before = bench_taken, send_self(VECTOR); wait_taken(before)));
    bench_report("eoi", MEASURE_AFTER(send_self(VECTOR_KEPT), apic_eoi()));
    bench_report("tpr", MEASURE(write_cr8(0)));
    cpu_cli();
    if (ioapic_init()) {
        mmio();
    }
}

/* Two vCPUs, each halted until the other's IPI comes: there and back. */
static volatile bool answering;

static void answer(void *arg)
{
    u32 before = bench_taken;

    (void)arg;
    cpu_cli();
    answering = true;
    for (;;) {
        while (bench_taken == before) {
            __asm__ volatile("sti; hlt; cli" : : : "memory");
        }
        before = bench_taken;
        apic_send(cpus[0].apic_id, ICR_ASSERT | VECTOR_ANSWER);
    }
}

void bench_ipi(const char *name)
{
    char word[24];
    size_t n = 0;

    for (; n + 1 < sizeof(word) && name[n] && name[n] != ' '; n++) {
        word[n] = name[n];
    }
    word[n] = 0;
    if (smp_init() < 2 || !begin() || !smp_start(1)) {
        print("bench: no second CPU\n");
        return;
    }
    smp_call(1, answer, NULL);
    if (!WAIT_UNTIL(answering)) {
        return;
    }
    clock_wait_us(100);
    bench_report(word, MEASURE({
                     u32 before = bench_answered;

                     apic_send(cpus[1].apic_id, ICR_ASSERT | VECTOR);
                     while (bench_answered == before) {
                         __asm__ volatile("sti; hlt; cli" : : : "memory");
                     }
                 }));
}
