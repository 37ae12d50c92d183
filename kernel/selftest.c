/* SPDX-License-Identifier: MIT */
/* The microkernel's own tests. They need no virtualization and leave everything as it was. */
#include "kernel/selftest.h"

#include "arch/arch.h"
#include "kernel/boot.h"
#include "kernel/frame.h"
#include "kernel/isolation.h"
#include "kernel/kmem.h"
#include "kernel/process.h"
#include "lib/format.h"
#include "lib/string.h"

#define RESULT_PASS 0
#define RESULT_FAIL (-1)

/* Notes why a test fails. */
#define FAIL(out, ...)                                                                             \
    (format_buffer((out)->detail, sizeof((out)->detail), __VA_ARGS__), RESULT_FAIL)

static s32 test_pool_gives_back(struct system_test *out)
{
    void *p[64];
    u64 before = kmem_free_bytes();
    u32 got = 0;

    for (; got < ARRAY_SIZE(p); got++) {
        p[got] = kmem_alloc(got % 2 ? PAGE_SIZE << (got % 5) : 4096);
        if (!p[got]) {
            break;
        }
        memset(p[got], (int)got, 4096);
    }
    for (u32 i = 0; i < got; i++) {
        if (((u8 *)p[i])[4095] != (u8)i) {
            return FAIL(out, "block %u was overwritten", i);
        }
        kmem_free(p[i]);
    }
    if (kmem_free_bytes() != before) {
        return FAIL(out, "%lld bytes lost", (long long)(before - kmem_free_bytes()));
    }
    return got == ARRAY_SIZE(p) ? RESULT_PASS : FAIL(out, "only %u blocks", got);
}

/* Frames come zeroed, even when they were full of something before; blocks are aligned. */
static s32 test_frames_are_zeroed(struct system_test *out)
{
    u64 before = frame_free_bytes();
    owner_t owner = owner_new();
    s32 result = RESULT_PASS;

    for (u32 round = 0; round < 3 && result == RESULT_PASS; round++) {
        hpa_t f = frame_alloc(0, owner);
        if (!f.v) {
            return FAIL(out, "no frame");
        }
        u64 *w = arch_window_open(f);
        for (u32 i = 0; i < PAGE_SIZE / 8; i++) {
            if (w[i]) {
                result = FAIL(out, "frame 0x%llx has 0x%llx at %u", (unsigned long long)f.v,
                              (unsigned long long)w[i], i);
            }
            w[i] = ~0ull;
        }
        arch_window_close();
        frame_free(f, PAGE_SIZE);
    }
    hpa_t large = frame_alloc(9, owner);
    if (large.v & (SIZE_2M - 1)) {
        result = FAIL(out, "2 MiB block at 0x%llx", (unsigned long long)large.v);
    }
    if (large.v) {
        u64 *w = arch_window_open(HPA(large.v + SIZE_2M - PAGE_SIZE));
        if (w[511]) {
            result = FAIL(out, "the end of a 2 MiB block is not zeroed");
        }
        arch_window_close();
        frame_free(large, SIZE_2M);
    }
    owner_free(owner);
    if (frame_free_bytes() != before) {
        return FAIL(out, "frames lost");
    }
    return result;
}

extern const char kernel_text_start[], kernel_text_end[], kernel_rodata_start[];

struct probe {
    const char *what;
    void *address;
    u32 access;
};

static s32 test_kernel_memory_is_protected(struct system_test *out)
{
    static u8 data[1] = {0xc3}; /* RET */
    hpa_t guest = frame_alloc(0, 1);
    u8 *stack_top = (u8 *)cpu_this()->kernel_rsp;
    struct probe probes[] = {
        {"write to code",             (void *)kernel_text_start,          PT_WRITE},
        {"write to constants",        (void *)kernel_rodata_start,        PT_WRITE},
        {"execution of data",         data,                               PT_EXEC },
        {"read below the stack",      stack_top - KERNEL_STACK_BYTES - 8, PT_READ },
        {"read of address 0",         NULL,                               PT_READ },
        {"read of a guest's frame",   arch_pool_ptr(guest),               PT_READ },
        {"read of ring 3's memory",   (void *)USER_BASE,                  PT_READ },
        {"write outside of the pool", arch_pool_ptr(HPA(0)),              PT_WRITE},
    };
    s32 result = RESULT_PASS;

    for (u32 i = 0; i < ARRAY_SIZE(probes); i++) {
        if (!arch_probe_faults(probes[i].address, probes[i].access)) {
            result = FAIL(out, "%s does not fault", probes[i].what);
        }
    }
    if (arch_probe_faults(data, PT_WRITE) ||
        arch_probe_faults((void *)kernel_text_start, PT_READ)) {
        result = FAIL(out, "an allowed access faults");
    }
    frame_free(guest, PAGE_SIZE);
    return result;
}

static s32 test_all_cpus_run(struct system_test *out)
{
    u32 online = boot_online_count();

    format_buffer(out->detail, sizeof(out->detail), "%u CPUs", online);
    return online == boot_info.cpu_count
               ? RESULT_PASS
               : FAIL(out, "%u of %u CPUs run", online, boot_info.cpu_count);
}

/* A kicked CPU passes through its interrupt handler. */
static s32 test_kick_reaches_cpus(struct system_test *out)
{
    for (u32 i = 0; i < cpu_count; i++) {
        struct cpu *c = cpus[i];
        u64 before = __atomic_load_n(&c->interrupts, __ATOMIC_SEQ_CST);
        u64 until = arch_tsc() + arch_tsc_hz / 4;

        if (c == cpu_this() || !c->online) {
            continue;
        }
        arch_kick(c);
        while (__atomic_load_n(&c->interrupts, __ATOMIC_SEQ_CST) == before) {
            if (arch_tsc() > until) {
                return FAIL(out, "CPU %u does not answer", i);
            }
            arch_spin_poll();
            arch_pause();
        }
    }
    return RESULT_PASS;
}

static s32 test_time_goes_forward(struct system_test *out)
{
    u64 last = arch_tsc();

    for (u32 i = 0; i < 1000; i++) {
        u64 now = arch_tsc();
        if (now <= last) {
            return FAIL(out, "TSC went from %llu to %llu", (unsigned long long)last,
                        (unsigned long long)now);
        }
        last = now;
    }
    if (arch_tsc_hz < 1000000) {
        return FAIL(out, "TSC of %llu Hz", (unsigned long long)arch_tsc_hz);
    }
    format_buffer(out->detail, sizeof(out->detail), "TSC %llu kHz",
                  (unsigned long long)arch_tsc_hz / 1000);
    return RESULT_PASS;
}

static s32 test_user_copies_are_checked(struct system_test *out)
{
    static const struct {
        u64 address, bytes;
    } bad[] = {
        {0,                1         },
        {USER_TOP,         1         },
        {USER_TOP - 4,     8         },
        {~0ull - 3,        8         },
        {BOOT_KERNEL_BASE, 8         },
        {1ull << 47,       8         },
        {BOOT_PHYSMAP,     8         },
        {USER_BASE,        1ull << 62},
    };
    u8 buffer[8];

    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        u64 n = bad[i].bytes;
        if (arch_copy_from_user(buffer, bad[i].address, n) != E_FAULT ||
            arch_copy_to_user(bad[i].address, buffer, n) != E_FAULT) {
            return FAIL(out, "0x%llx is accepted", (unsigned long long)bad[i].address);
        }
    }
    return RESULT_PASS;
}

static s32 test_isolation(struct system_test *out)
{
    static struct isolation_report r;

    isolation_check(&r);
    format_buffer(out->detail, sizeof(out->detail), "%llu pages", (unsigned long long)r.pages);
    if (r.wrong_owner || r.ept_foreign || r.kernel_maps_guest || r.write_exec ||
        r.process_foreign) {
        return FAIL(out, "owner %llu, ept %llu, kernel %llu, w+x %llu, process %llu",
                    (unsigned long long)r.wrong_owner, (unsigned long long)r.ept_foreign,
                    (unsigned long long)r.kernel_maps_guest, (unsigned long long)r.write_exec,
                    (unsigned long long)r.process_foreign);
    }
    return RESULT_PASS;
}

/* The report must find what is wrong: a frame with a tag that nobody claims. */
static s32 test_isolation_finds_faults(struct system_test *out)
{
    static struct isolation_report before, after;
    owner_t owner = owner_new();

    isolation_check(&before);
    hpa_t frame = frame_alloc(0, owner);
    isolation_check(&after);
    frame_free(frame, PAGE_SIZE);
    owner_free(owner);
    return after.wrong_owner == before.wrong_owner + 1 ? RESULT_PASS
                                                       : FAIL(out, "a lost frame is not found");
}

static const struct {
    const char *name;
    s32 (*run)(struct system_test *out);
} tests[] = {
    {"pool gives back",            test_pool_gives_back           },
    {"frames are zeroed",          test_frames_are_zeroed         },
    {"kernel memory is protected", test_kernel_memory_is_protected},
    {"all CPUs run",               test_all_cpus_run              },
    {"kick reaches CPUs",          test_kick_reaches_cpus         },
    {"time goes forward",          test_time_goes_forward         },
    {"user copies are checked",    test_user_copies_are_checked   },
    {"isolation",                  test_isolation                 },
    {"isolation finds faults",     test_isolation_finds_faults    },
};

bool selftest_run(u32 index, struct system_test *out)
{
    if (index >= ARRAY_SIZE(tests)) {
        return false;
    }
    format_buffer(out->name, sizeof(out->name), "%s", tests[index].name);
    out->result = tests[index].run(out);
    return true;
}
