/* SPDX-License-Identifier: MIT */
/*
 * The paravirtual clock and the account of stolen time: what they say fits other clocks, also after
 * the guest has set its TSC, and no address that is not the guest's RAM is taken.
 */
#include "guests/lib/acpi.h"
#include "guests/lib/boot.h"
#include "guests/lib/clock.h"
#include "guests/lib/memory.h"
#include "guests/lib/rtc.h"
#include "guests/lib/smp.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "guests/lib/trap.h"
#include "lib/format.h"
#include "lib/hw/acpi_pm.h"
#include "lib/hw/kvm.h"
#include "lib/string.h"

#define NS_PER_S 1000000000ull
#define KVM_LEAF 0x40000100u

static volatile struct kvm_system_time *clocks; /* one for each CPU */
static volatile struct kvm_steal_time *steals;

static bool offered(u32 feature)
{
    return cpuid(KVM_LEAF, 0).ebx == 0x4b4d564b && cpuid(KVM_LEAF + 1, 0).eax & feature;
}

/* As a system reads it: again, while it changes. */
static struct kvm_system_time copy(u32 cpu)
{
    struct kvm_system_time t;
    const volatile struct kvm_system_time *c = &clocks[cpu];

    do {
        t = (struct kvm_system_time){c->version, 0,        c->tsc,   c->system_time,
                                     c->scale,   c->shift, c->flags, {0}};
        __asm__ volatile("" : : : "memory");
    } while (t.version & 1 || t.version != c->version);
    return t;
}

static u64 at(const struct kvm_system_time *t, u64 tsc)
{
    u64 delta = tsc - t->tsc;

    delta = t->shift < 0 ? delta >> -t->shift : delta << t->shift;
    return t->system_time + (u64)(((unsigned __int128)delta * t->scale) >> 32);
}

static u64 now(u32 cpu)
{
    struct kvm_system_time t = copy(cpu);

    return at(&t, rdtsc());
}

static void enable(void *arg)
{
    (void)arg;
    wrmsr(MSR_KVM_SYSTEM_TIME, (u64)&clocks[smp_cpu_index()] | MSR_KVM_ENABLE);
    wrmsr(MSR_KVM_STEAL_TIME, (u64)&steals[smp_cpu_index()] | MSR_KVM_ENABLE);
}

static bool begin(void)
{
    if (!offered(KVM_CLOCK) || !offered(KVM_STEAL_TIME)) {
        test_skip("no such clock");
        return false;
    }
    if (!clocks) {
        clocks = page_zeroed();
        steals = page_zeroed();
    }
    enable(NULL);
    return true;
}

static void rate(void)
{
    if (!begin()) {
        return;
    }
    struct kvm_system_time t = copy(0);
    CHECK(t.version && !(t.version & 1), "version %u", t.version);
    CHECK_EQ(t.flags, KVM_TIME_STABLE);
    CHECK_EQ(rdmsr(MSR_KVM_SYSTEM_TIME), (u64)&clocks[0] | MSR_KVM_ENABLE);
    u64 second = at(&t, t.tsc + clock_tsc_hz()) - at(&t, t.tsc);
    CHECK(second > NS_PER_S - 2000 && second < NS_PER_S + 2000, "%lu ns for a second", second);
    if (!acpi_known()->pm_timer_port) {
        return;
    }
    for (u32 i = 0; i < 4; i++) {
        u64 first = now(0);
        u32 pm = clock_pm();
        u64 second_ns = now(0);
        clock_wait_us(30000);
        u64 third = now(0);
        u64 pm_ns = ((clock_pm() - pm) & PM_TIMER_MASK) * NS_PER_S / PM_TIMER_HZ;
        u64 last = now(0);

        CHECK(first <= second_ns && second_ns <= third && third <= last, "only forward");
        if (last - first < NS_PER_S) { /* the timer comes round in 4 s */
            u64 slack = on_tcg() ? 1000000 : 1000;
            CHECK(pm_ns + slack >= third - second_ns && pm_ns <= last - first + slack,
                  "%lu ns by the PM timer, %lu to %lu", pm_ns, third - second_ns, last - first);
        }
    }
}

static u64 from_bcd(u8 byte)
{
    return (byte >> 4) * 10ull + (byte & 15);
}

static u64 rtc_second_of_day(void)
{
    u64 seconds;
    u8 before;

    do {
        before = rtc_read(RTC_SECONDS);
        seconds = from_bcd(rtc_read(RTC_HOURS)) * 3600 + from_bcd(rtc_read(RTC_MINUTES)) * 60 +
                  from_bcd(before);
    } while (rtc_read(RTC_SECONDS) != before);
    return seconds;
}

static void wall(void)
{
    volatile struct kvm_wall_clock *w = page_zeroed();

    if (!begin()) {
        return;
    }
    wrmsr(MSR_KVM_WALL_CLOCK, (u64)w);
    CHECK(w->version && !(w->version & 1), "version %u", w->version);
    CHECK(w->nanoseconds < NS_PER_S, "%u ns", w->nanoseconds);
    u64 day = (w->seconds + now(0) / NS_PER_S) % 86400, rtc = rtc_second_of_day();
    CHECK((rtc + 86400 + 1 - day) % 86400 <= 2, "second %lu of the day, the RTC says %lu", day,
          rtc);
}

/* The clock goes on whatever the guest does to its TSC. */
static void tsc_set(void)
{
    static const u64 steps[] = {1ull << 40, 12345, 0 - (1ull << 32), 1};

    if (!begin()) {
        return;
    }
    for (u32 i = 0; i < 2 * ARRAY_SIZE(steps); i++) {
        u64 step = steps[i / 2], before = now(0), tsc = rdtsc();

        if (i & 1) {
            wrmsr(MSR_IA32_TSC, tsc + step);
        } else {
            wrmsr(MSR_IA32_TSC_ADJUST, rdmsr(MSR_IA32_TSC_ADJUST) + step);
        }
        u64 after = now(0);
        CHECK(after + 1000 >= before && after - before < NS_PER_S / 2 + 1000,
              "%lu ns, and %lu after the TSC was set by %lx", before, after, step);
    }
    wrmsr(MSR_IA32_TSC_ADJUST, 0);
    CHECK_EQ(copy(0).flags, KVM_TIME_STABLE);
}

static void expect_gp(u32 msr, u64 value)
{
    u64 before = 0, after = 0;
    struct fault f;

    try_rdmsr(msr, &before);
    f = try_wrmsr(msr, value);
    try_rdmsr(msr, &after);
    CHECK(f.vector == VEC_GP && f.has_error && f.error == 0, "%lx to %x: vector %d", value, msr,
          f.vector);
    CHECK_EQ(after, before);
}

static void refused(void)
{
    static const u32 list[] = {MSR_KVM_SYSTEM_TIME, MSR_KVM_STEAL_TIME, MSR_KVM_WALL_CLOCK};
    const u64 bad[] = {
        0xa0000,         /* the screen's memory */
        0xfee00000,      /* a device */
        0x40000000,      /* nothing: the guest is not that large */
        1ull << 32,      /* beyond */
        1ull << 51,      /* no address of this CPU */
        1ull << 63,      /* nor of any */
        ~0ull - 63,      /* the end would wrap */
        (u64)clocks + 2, /* not aligned */
    };
    u64 page = page_alloc(PAGE_SIZE, PAGE_SIZE);
    u64 value;

    if (!begin()) {
        return;
    }
    for (u32 i = 0; i < ARRAY_SIZE(list); i++) {
        u64 on = list[i] == MSR_KVM_WALL_CLOCK ? 0 : MSR_KVM_ENABLE;

        for (u32 b = 0; b < ARRAY_SIZE(bad); b++) {
            expect_gp(list[i], bad[b] | on);
        }
        /* over the end of RAM: 640K */
        expect_gp(list[i], (0xa0000 - (list[i] == MSR_KVM_STEAL_TIME ? 32 : 8)) | on);
    }
    expect_gp(MSR_KVM_STEAL_TIME, (page + 32) | MSR_KVM_ENABLE);
    for (u32 i = 0; i < MSR_KVM_COUNT; i++) { /* what is not offered is not there */
        u32 msr = MSR_KVM_FIRST + i;
        if (msr == list[0] || msr == list[1] || msr == list[2]) {
            continue;
        }
        expect_gp(msr, page | MSR_KVM_ENABLE);
        CHECK_EQ_AT(try_rdmsr(msr, &value).vector, VEC_GP, "reading %x", msr);
    }
    /* what is off is not looked at, and not written to */
    memset((void *)page, 0xa5, PAGE_SIZE);
    wrmsr(MSR_KVM_SYSTEM_TIME, 1ull << 63);
    CHECK_EQ(rdmsr(MSR_KVM_SYSTEM_TIME), 1ull << 63);
    wrmsr(MSR_KVM_SYSTEM_TIME, page);
    for (u32 i = 0; i < PAGE_SIZE; i++) {
        CHECK_EQ_AT(((u8 *)page)[i], 0xa5, "byte %u", i);
    }
    enable(NULL);
}

/* Exactly the structure is written, also where it reaches into the next page. */
static void edges(void)
{
    u64 pages = page_alloc(2 * PAGE_SIZE, PAGE_SIZE);
    volatile u8 *byte = (volatile u8 *)pages;
    u32 from = PAGE_SIZE - 12, to = from + sizeof(struct kvm_system_time);

    if (!begin()) {
        return;
    }
    memset((void *)pages, 0xa5, 2 * PAGE_SIZE);
    wrmsr(MSR_KVM_SYSTEM_TIME, (pages + from) | MSR_KVM_ENABLE);
    CHECK_EQ(byte[from - 1], 0xa5);
    CHECK_EQ(byte[to], 0xa5);
    CHECK_EQ(byte[to - 1], 0); /* reserved */
    CHECK_EQ(byte[to - 3], KVM_TIME_STABLE);
    enable(NULL);
    wrmsr(MSR_KVM_STEAL_TIME, (pages + 64) | MSR_KVM_ENABLE);
    CHECK_EQ(byte[63], 0xa5);
    CHECK_EQ(byte[64 + sizeof(struct kvm_steal_time)], 0xa5);
    CHECK_EQ(byte[64 + sizeof(struct kvm_steal_time) - 1], 0);
    enable(NULL);
}

static volatile bool spinning;

static void spin(void *arg)
{
    (void)arg;
    while (spinning) {
    }
}

/* Without PAUSE, which would give the CPU away. */
static void busy(u64 ns)
{
    u64 begun = now(0);

    while (now(0) - begun < ns) {
    }
}

/* Of two vCPUs that share a CPU and are busy, each waits for half of the time; more where other
 * guests are busy there, too. */
static void steal(void)
{
    if (smp_init() < 2 || !smp_start(1)) {
        test_skip("steal: one CPU alone");
        return;
    }
    if (!begin()) {
        return;
    }
    spinning = true;
    smp_call(1, spin, NULL);
    busy(NS_PER_S / 50);
    u64 begun = now(0), stolen = steals[0].steal;
    busy(NS_PER_S / 3);
    u64 passed = now(0) - begun;
    stolen = steals[0].steal - stolen;
    spinning = false;
    smp_wait(1);
    CHECK(!(steals[0].version & 1), "version %u", steals[0].version);
    CHECK_EQ(steals[0].preempted, 0);
    CHECK(stolen > passed / 4 && stolen < passed, "%lu ns stolen of %lu", stolen, passed);
}

static void set_apart(void *arg)
{
    wrmsr(MSR_IA32_TSC_ADJUST, (u64)arg);
}

/* All vCPUs' clocks say the same, unless the guest sets their TSCs apart. */
static void together(void)
{
    if (smp_init() < 2 || !smp_start(1)) {
        test_skip("together: one CPU alone");
        return;
    }
    if (!begin()) {
        return;
    }
    smp_call(1, enable, NULL);
    CHECK(smp_wait(1), "the other CPU");
    struct kvm_system_time a = copy(0), b = copy(1);
    CHECK(a.tsc == b.tsc && a.system_time == b.system_time && a.scale == b.scale, "the same clock");
    CHECK_EQ(a.flags & b.flags, KVM_TIME_STABLE);
    smp_call(1, set_apart, (void *)(1ull << 34));
    CHECK(smp_wait(1), "the other CPU");
    CHECK_EQ(copy(0).flags | copy(1).flags, 0);
    b = copy(1);
    CHECK_EQ(b.tsc, a.tsc + (1ull << 34));
    smp_call(1, set_apart, NULL);
    CHECK(smp_wait(1), "the other CPU");
    CHECK_EQ(copy(0).flags & copy(1).flags, KVM_TIME_STABLE);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"rate",     rate    },
        {"wall",     wall    },
        {"tsc-set",  tsc_set },
        {"refused",  refused },
        {"edges",    edges   },
        {"steal",    steal   },
        {"together", together},
    };

    test_all("pvclock", tests, ARRAY_SIZE(tests));
}
