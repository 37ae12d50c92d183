/* SPDX-License-Identifier: MIT */
/* Physical memory of the fake machine, what of arch/arch.h is about it, and its memory map. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/abi.h"
#include "kernel/aspace.h"
#include "kernel/selftest.h"
#include "lib/pagetable.h"
#include "tests/host/machine.h"
#include "tests/host/ring3.h"

#define KERNEL_BASE  0x1000000ull
#define KERNEL_BYTES 0x100000ull
#define ROOT_MARK    0xbadull /* what the kernel's half of each root holds: never to be followed */
#define ROOT_HALF    256

static u8 *phys; /* RAM from address 0 on; the kernel pool is not in it */
static u64 phys_bytes;
static struct bootinfo boot;
static bool window_open[HOST_MAX_CPUS];

struct host_leaf host_planted;

void *host_phys(u64 pa)
{
    CHECK(pa < phys_bytes);
    return phys + pa;
}

static void add_range(u64 base, u64 bytes, u32 type)
{
    boot.ranges[boot.range_count++] = (struct boot_range){base, bytes, type, 0};
}

static void add_module(u32 index, u32 kind, const char *name, u64 base, u64 bytes)
{
    struct boot_module *m = &boot.modules[index];

    m->base = base;
    m->bytes = bytes;
    m->kind = kind;
    memcpy(m->name, name, strlen(name));
    memset(phys + base, 'a' + (int)index, bytes);
}

/* The pool stays unused: pool pages come from malloc. */
static void make_bootinfo(void)
{
    boot.magic = BOOTINFO_MAGIC;
    boot.bytes = sizeof(boot);
    boot.kernel_base = KERNEL_BASE;
    boot.kernel_bytes = KERNEL_BYTES;
    boot.manager_entry = user_code(host_config.manager);
    boot.cpu_count = host_config.cpus;
    for (u32 i = 0; i < boot.cpu_count; i++) {
        boot.cpu_apic_ids[i] = 2 * i;
    }
    add_range(0, 0xa0000, BOOT_MEM_RESERVED);
    add_range(KERNEL_BASE, KERNEL_BYTES, BOOT_MEM_KERNEL);
    add_range(HOST_MODULE_BASE, 2 * HOST_MODULE_BYTES, BOOT_MEM_MODULE);
    add_range(HOST_RAM_BASE, host_config.ram_bytes, BOOT_MEM_USABLE);
    /* small and odd ranges beside the large one */
    add_range(phys_bytes - 0x70000, 0x5000, BOOT_MEM_USABLE);
    add_range(phys_bytes - 0x60000, 0x3000, BOOT_MEM_FIRMWARE);
    add_range(phys_bytes - 0x50000, 0x23000, BOOT_MEM_POOL);
    add_module(0, BOOT_MODULE_CONFIG, "socle.conf", HOST_MODULE_BASE, 0x123);
    add_module(1, BOOT_MODULE_FILE, "guest.bin", HOST_MODULE_BASE + HOST_MODULE_BYTES, 0x2001);
    boot.module_count = 2;
}

void machine_start(const struct bootinfo *bi);

void machine_boot(const struct machine_config *config)
{
    host_config = *config;
    host_config.cpus = config->cpus ? config->cpus : 1;
    host_config.ram_bytes = config->ram_bytes ? config->ram_bytes : 64ull << 20;
    host_config.quantum = config->quantum ? config->quantum : HOST_SLICE / 50;
    phys_bytes = HOST_RAM_BASE + host_config.ram_bytes + SIZE_2M;
    phys = mmap(NULL, phys_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (phys == MAP_FAILED) {
        abort();
    }
    make_bootinfo();
    machine_start(&boot);
}

/* --- arch/arch.h --- */

void arch_mmu_init(const struct boot_range *pool, u32 count)
{
    (void)pool;
    (void)count;
}

void *arch_map_device(hpa_t pa, u64 bytes, bool write_combining)
{
    (void)pa;
    (void)bytes;
    (void)write_combining;
    abort();
}

void arch_root_init(u64 *root)
{
    for (u32 i = ROOT_HALF; i < 512; i++) {
        root[i] = ROOT_MARK << PAGE_SHIFT | 1;
    }
}

u32 arch_phys_bits(void)
{
    return 46;
}

bool arch_has_1g_pages(void)
{
    return true;
}

void *arch_window_open(hpa_t frame)
{
    bool *open = &window_open[cpu_this()->id];

    CHECK(!*open && !(frame.v & PAGE_MASK));
    *open = true;
    return host_phys(frame.v);
}

void arch_window_close(void)
{
    bool *open = &window_open[cpu_this()->id];

    CHECK(*open);
    *open = false;
}

void arch_frame_zero(hpa_t frame, u64 bytes)
{
    CHECK(bytes == PAGE_SIZE || bytes == SIZE_2M);
    CHECK(!(frame.v & (bytes - 1)) && frame.v + bytes <= phys_bytes);
    if (bytes == SIZE_2M) {
        madvise(phys + frame.v, bytes, MADV_DONTNEED);
    } else {
        memset(phys + frame.v, 0, bytes);
    }
}

void arch_kernel_walk(bool (*fn)(void *arg, u64 va, u64 pa, u64 bytes, u64 perm), void *arg)
{
    if (fn(arg, BOOT_KERNEL_BASE, KERNEL_BASE, KERNEL_BYTES, PT_READ | PT_EXEC) &&
        host_planted.bytes) {
        fn(arg, host_planted.va, host_planted.pa, host_planted.bytes, host_planted.perm);
    }
}

bool arch_probe_faults(void *address, u32 access)
{
    (void)address;
    (void)access;
    return true;
}

/* kernel/selftest.c needs a real CPU. */
bool selftest_run(u32 index, struct system_test *out)
{
    out->passed = 1;
    return index == 0;
}

/* --- what ring 3 sees of it --- */

void *host_translate(u64 va, u32 access)
{
    const struct aspace *a = cpu_this()->aspace;
    struct pt_leaf leaf;

    if (!a || va >= USER_TOP || !pt_lookup(&a->pt, va, &leaf)) {
        return NULL;
    }
    u64 perm = a->pt.format->perm(leaf.entry);
    if ((perm & (access | PT_USER)) != (access | PT_USER)) {
        return NULL;
    }
    return host_phys(leaf.address + (va & (leaf.bytes - 1)));
}

/* Copies until the first page that is not there, as the real one does. */
static int copy_user(u64 user, u8 *buffer, u64 bytes, bool write)
{
    if (user >= USER_TOP || bytes > USER_TOP - user) {
        return E_FAULT;
    }
    while (bytes) {
        u64 n = MIN(bytes, PAGE_SIZE - (user & PAGE_MASK));
        host_preempt();
        u8 *p = host_translate(user, write ? PT_READ | PT_WRITE : PT_READ);
        if (!p) {
            return E_FAULT;
        }
        memcpy(write ? p : buffer, write ? buffer : p, n);
        user += n;
        buffer += n;
        bytes -= n;
    }
    return E_OK;
}

int arch_copy_from_user(void *dst, u64 src, u64 bytes)
{
    return copy_user(src, dst, bytes, false);
}

int arch_copy_to_user(u64 dst, const void *src, u64 bytes)
{
    return copy_user(dst, (u8 *)src, bytes, true);
}
