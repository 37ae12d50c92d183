/* SPDX-License-Identifier: MIT */
/*
 * The guest's own paging, over the hypervisor's: all page sizes and paging modes, accessed and
 * dirty bits, protection, invalidation; and the memory itself: zero at first, all of it there and
 * all of it different.
 */
#include "guests/lib/boot.h"
#include "guests/lib/code.h"
#include "guests/lib/console.h"
#include "guests/lib/memory.h"
#include "guests/lib/mode.h"
#include "guests/lib/socle.h"
#include "guests/lib/test.h"
#include "lib/format.h"
#include "lib/string.h"

#define AREA (MAP_AREA + SIZE_1G) /* aligned for all page sizes */

static bool has_1g(void)
{
    return cpuid(0x80000001, 0).edx >> 26 & 1;
}

static struct fault read8(u64 va, u8 *value)
{
    u64 rax = 0;
    struct fault f = TRY("movb (%1), %%al", : "+a"(rax) : "r"(va) : "memory");

    *value = (u8)rax;
    return f;
}

static struct fault write8(u64 va, u8 value)
{
    return TRY("movb %0, (%1)", : : "q"(value), "r"(va) : "memory");
}

/* --- memory --- */

static u64 word_at(u64 address)
{
    return address * 0x9e3779b97f4a7c15ull ^ 0x5555;
}

/* Takes pages one by one, checks that each is zero, fills each with its own pattern, and checks
 * all. */
static void memory(void)
{
    u64 bytes = ALIGN_DOWN(page_free_bytes() / 2, PAGE_SIZE), start = page_alloc(bytes, PAGE_SIZE);
    u64 fresh = 0, wrong = 0, seed = 12345;

    for (u64 page = start; page < start + bytes; page += PAGE_SIZE) {
        u64 first = page + (test_random(&seed) & 0xff8);

        fresh += *(volatile u64 *)first != 0; /* read before write, or write before read */
        if (seed & 1) {
            *(volatile u64 *)page = 0;
        }
        for (u64 a = page; a < page + PAGE_SIZE; a += 8) {
            fresh += *(volatile u64 *)a != 0;
        }
        for (u64 a = page; a < page + PAGE_SIZE; a += 8) {
            *(volatile u64 *)a = word_at(a);
        }
    }
    for (u64 a = start; a < start + bytes; a += 8) {
        wrong += *(volatile u64 *)a != word_at(a);
    }
    if (on_socle()) {
        CHECK_EQ_AT(fresh, 0, "words that were not zero at first, in %lu KiB", bytes >> 10);
    }
    CHECK_EQ_AT(wrong, 0, "words that changed, in %lu KiB", bytes >> 10);
}

/* The last and first bytes of each range of RAM. */
static void edges(void)
{
    memory_map_all();
    for (u32 i = 0; i < boot.ram_count; i++) {
        const struct boot_ram *r = &boot.ram[i];

        if (r->type != 1 || r->base + r->bytes < 2 << 20) {
            continue;
        }
        volatile u64 *last = (volatile u64 *)(ALIGN_DOWN(r->base + r->bytes, 8) - 8),
                     before = *last;
        *last = ~before;
        CHECK_EQ_AT(*last, ~before, "the last word of RAM, at %lx", (u64)last);
        *last = before;
        test_note("RAM %lx to %lx", r->base, r->base + r->bytes);
    }
    /* RAM above 4 GiB, when there is some: a word in every 2 MiB, different from all others */
    for (u64 pa = 1ull << 32; pa < boot.memory_end; pa += SIZE_2M) {
        *(volatile u64 *)pa = pa;
    }
    for (u64 pa = 1ull << 32; pa < boot.memory_end; pa += SIZE_2M) {
        CHECK_EQ_AT(*(volatile u64 *)pa, pa, "the word at %lx", pa);
    }
}

/* --- pages of all sizes --- */

static void sizes(void)
{
    u64 pa = page_alloc(SIZE_2M, SIZE_2M), seed = 99;

    pte_set(AREA, 2, pa | PTE_P | PTE_W | PTE_PS);
    pte_set(AREA + SIZE_1G, 1, pa | PTE_P | PTE_W);
    for (u32 i = 0; i < 64; i++) {
        u64 offset = test_random(&seed) & (PAGE_SIZE - 8), value = test_random(&seed);

        *(volatile u64 *)(AREA + offset) = value;
        CHECK_EQ_AT(*(volatile u64 *)(AREA + SIZE_1G + offset), value, "4 KiB page at +%lx",
                    offset);
        CHECK_EQ_AT(*(volatile u64 *)(pa + offset), value, "at its own address +%lx", offset);
    }
    for (u32 i = 0; i < 64; i++) {
        u64 offset = test_random(&seed) & (SIZE_2M - 8), value = test_random(&seed);

        *(volatile u64 *)(AREA + offset) = value;
        CHECK_EQ_AT(*(volatile u64 *)(pa + offset), value, "2 MiB page at +%lx", offset);
    }
    if (has_1g()) {
        u64 base = ALIGN_DOWN(pa, SIZE_1G);

        pte_set(AREA + 4 * SIZE_1G, 3, base | PTE_P | PTE_W | PTE_PS);
        for (u32 i = 0; i < 64; i++) {
            u64 offset = pa - base + (test_random(&seed) & (SIZE_2M - 8)),
                value = test_random(&seed);

            *(volatile u64 *)(AREA + 4 * SIZE_1G + offset) = value;
            CHECK_EQ_AT(*(volatile u64 *)(base + offset), value, "1 GiB page at +%lx", offset);
        }
    } else {
        u8 value;
        struct fault f;

        pte_set(AREA + 4 * SIZE_1G, 3, ALIGN_DOWN(pa, SIZE_1G) | PTE_P | PTE_W | PTE_PS);
        f = read8(AREA + 4 * SIZE_1G, &value);
        CHECK(f.vector == VEC_PF && f.error & PF_RSVD, "1 GiB page without 1 GiB pages: %d %lx",
              f.vector, f.error);
    }
    pte_set(AREA + 4 * SIZE_1G, 3, 0);
    pte_set(AREA, 2, 0);
    pte_set(AREA + SIZE_1G, 1, 0);
}

static void accessed_dirty(void)
{
    u64 pa = page_alloc(SIZE_2M, SIZE_2M);
    static const u8 levels[] = {1, 2};

    for (u32 i = 0; i < 2; i++) {
        u64 va = AREA + i * SIZE_1G, *entry;
        u8 value;

        pte_set(va, levels[i], pa | PTE_P | PTE_W | (levels[i] == 2 ? PTE_PS : 0));
        entry = pte_at(va, levels[i]);
        CHECK_EQ(*(volatile u64 *)entry & (PTE_A | PTE_D), 0);
        (void)read8(va, &value);
        CHECK_EQ(*(volatile u64 *)entry & (PTE_A | PTE_D), PTE_A);
        (void)write8(va, 1);
        CHECK_EQ(*(volatile u64 *)entry & (PTE_A | PTE_D), PTE_A | PTE_D);
        pte_set(va, levels[i], *entry & ~(PTE_A | PTE_D));
        (void)write8(va, 2);
        CHECK_EQ(*(volatile u64 *)entry & (PTE_A | PTE_D), PTE_A | PTE_D);
        CHECK(*pte_at(va, 3) & PTE_A, "the table above was accessed");
        pte_set(va, levels[i], 0);
    }
}

/* --- protection --- */

static void write_protect(void)
{
    u64 pa = (u64)page_zeroed(), cr0 = read_cr0();
    struct fault f;

    pte_set(AREA, 1, pa | PTE_P);
    f = write8(AREA, 1);
    CHECK(f.vector == VEC_PF && f.error == (PF_PRESENT | PF_WRITE), "with WP: %d %lx", f.vector,
          f.error);
    write_cr0(cr0 & ~CR0_WP);
    f = write8(AREA, 0x77);
    CHECK_FAULT(f, -1);
    CHECK_EQ(*(volatile u8 *)pa, 0x77);
    write_cr0(cr0);
    f = write8(AREA, 1);
    CHECK_FAULT(f, VEC_PF);
    pte_set(AREA, 1, 0);
}

static void user_pages(void)
{
    u64 pa = (u64)page_zeroed(), va = MAP_AREA + 0x4000300000ull;
    /* mov al, [rdi]; int 0x80 -- mov [rdi], al; int 0x80 -- call rdi */
    static const u8 load[] = {0x8a, 0x07, 0xcd, 0x80}, store[] = {0x88, 0x07, 0xcd, 0x80},
                    call[] = {0xff, 0xd7};
    struct fault f;

    pte_set(va, 1, pa | PTE_P | PTE_W);
    f = user_run(load, sizeof(load), va, 0, NULL);
    CHECK(f.vector == VEC_PF && f.error == (PF_USER | PF_PRESENT), "the kernel's page: %d %lx",
          f.vector, f.error);
    pte_set(va, 1, pa | PTE_P | PTE_U);
    f = user_run(load, sizeof(load), va, 0, NULL);
    CHECK_FAULT(f, 0x80);
    f = user_run(store, sizeof(store), va, 0, NULL);
    CHECK(f.vector == VEC_PF && f.error == (PF_USER | PF_WRITE | PF_PRESENT), "read-only: %d %lx",
          f.vector, f.error);
    if (rdmsr(MSR_IA32_EFER) & EFER_NXE) {
        pte_set(va, 1, pa | PTE_P | PTE_U | PTE_NX);
        f = user_run(call, sizeof(call), va, 0, NULL);
        CHECK(f.vector == VEC_PF && f.error == (PF_USER | PF_FETCH | PF_PRESENT), "NX: %d %lx",
              f.vector, f.error);
        wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) & ~EFER_NXE);
        u8 value;
        f = read8(va, &value);
        wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) | EFER_NXE);
        CHECK(f.vector == VEC_PF && f.error & PF_RSVD, "NX without NXE: %d %lx", f.vector, f.error);
    }
    pte_set(va, 1, 0);
}

static void smep_smap(void)
{
    u64 pa = (u64)page_zeroed(), cr4 = read_cr4(), user = AREA;
    struct cpuid c = cpuid(7, 0);
    struct fault f;
    u8 value;

    if (!(c.ebx & (BIT(7) | BIT(20))) || cpuid(0, 0).eax < 7) {
        test_skip("SMEP and SMAP: not told");
        return;
    }
    *(u8 *)pa = 0xc3;
    pte_set(user, 1, pa | PTE_P | PTE_W | PTE_U);
    f = TRY("call *%0", : : "r"(user) : "memory");
    CHECK_FAULT(f, -1);
    if (c.ebx & BIT(7)) {
        write_cr4(cr4 | CR4_SMEP);
        f = TRY("call *%0", : : "r"(user) : "memory");
        CHECK(f.vector == VEC_PF && f.error == (PF_PRESENT | PF_FETCH), "SMEP: %d %lx", f.vector,
              f.error);
        f = read8(user, &value);
        CHECK_FAULT(f, -1);
        write_cr4(cr4);
        f = TRY("call *%0", : : "r"(user) : "memory");
        CHECK_FAULT(f, -1);
    }
    if (c.ebx & BIT(20)) {
        write_cr4(cr4 | CR4_SMAP);
        f = read8(user, &value);
        CHECK(f.vector == VEC_PF && f.error == PF_PRESENT, "SMAP, reading: %d %lx", f.vector,
              f.error);
        f = write8(user, 1);
        CHECK(f.vector == VEC_PF && f.error == (PF_PRESENT | PF_WRITE), "SMAP, writing: %d %lx",
              f.vector, f.error);
        f = TRY("stac; movb (%0), %%al; clac", : : "r"(user) : "rax", "memory");
        CHECK_FAULT(f, -1);
        f = TRY("clac; movb (%0), %%al", : : "r"(user) : "rax", "memory");
        CHECK_FAULT(f, VEC_PF);
        write_cr4(cr4);
    }
    pte_set(user, 1, 0);
}

static void protection_keys(void)
{
    u64 cr4 = read_cr4(), pa = (u64)page_zeroed();
    struct fault f;
    u8 value;

    if (cpuid(0, 0).eax < 7 || !(cpuid(7, 0).ecx & BIT(3))) {
        test_skip("protection keys: not told");
        return;
    }
    write_cr4(cr4 | CR4_PKE);
    pte_set(AREA, 1, pa | PTE_P | PTE_W | PTE_U | 5ull << 59);
    __asm__ volatile("wrpkru" : : "a"(1u << 10), "c"(0), "d"(0)); /* key 5: no access */
    f = read8(AREA, &value);
    CHECK(f.vector == VEC_PF && f.error == (PF_PRESENT | BIT(5)), "no access: %d %lx", f.vector,
          f.error);
    __asm__ volatile("wrpkru" : : "a"(2u << 10), "c"(0), "d"(0)); /* no writing */
    f = read8(AREA, &value);
    CHECK_FAULT(f, -1);
    f = write8(AREA, 1);
    CHECK(f.vector == VEC_PF && f.error == (PF_PRESENT | PF_WRITE | BIT(5)), "no writing: %d %lx",
          f.vector, f.error);
    __asm__ volatile("wrpkru" : : "a"(0), "c"(0), "d"(0));
    f = write8(AREA, 1);
    CHECK_FAULT(f, -1);
    write_cr4(cr4);
    pte_set(AREA, 1, 0);
}

/* --- invalidation --- */

static void invalidation(void)
{
    u64 a = (u64)page_zeroed(), b = (u64)page_zeroed(), cr4 = read_cr4(), *entry;

    *(u64 *)a = 0xaaaa;
    *(u64 *)b = 0xbbbb;
    pte_set(AREA, 1, a | PTE_P | PTE_W);
    entry = pte_at(AREA, 1);
    CHECK_EQ(*(volatile u64 *)AREA, 0xaaaa);
    *(volatile u64 *)entry = b | PTE_P | PTE_W;
    invlpg((void *)AREA);
    CHECK_EQ(*(volatile u64 *)AREA, 0xbbbb);
    *(volatile u64 *)entry = a | PTE_P | PTE_W;
    write_cr3(read_cr3());
    CHECK_EQ(*(volatile u64 *)AREA, 0xaaaa);
    write_cr4(cr4 | CR4_PGE); /* global pages: INVLPG takes them too, and so does a change of PGE */
    *(volatile u64 *)entry = b | PTE_P | PTE_W | PTE_G;
    invlpg((void *)AREA);
    CHECK_EQ(*(volatile u64 *)AREA, 0xbbbb);
    *(volatile u64 *)entry = a | PTE_P | PTE_W | PTE_G;
    invlpg((void *)AREA);
    CHECK_EQ(*(volatile u64 *)AREA, 0xaaaa);
    *(volatile u64 *)entry = b | PTE_P | PTE_W;
    write_cr4(cr4 & ~CR4_PGE);
    CHECK_EQ(*(volatile u64 *)AREA, 0xbbbb);
    write_cr4(cr4);
    if (cpuid(0, 0).eax >= 7 && cpuid(7, 0).ebx & BIT(10)) {
        struct {
            u64 pcid, address;
        } all = {0, 0};

        for (u64 type = 0; type < 4; type++) {
            *(volatile u64 *)entry = (type & 1 ? b : a) | PTE_P | PTE_W;
            all.address = AREA;
            __asm__ volatile("invpcid %0, %1" : : "m"(all), "r"(type) : "memory");
            CHECK_EQ_AT(*(volatile u64 *)AREA, type & 1 ? 0xbbbb : 0xaaaa, "after INVPCID %lu",
                        type);
        }
        struct fault f = TRY("invpcid %0, %1", : : "m"(all), "r"(4ull) : "memory");
        CHECK(f.vector == VEC_GP || cpu_is_tcg(), "INVPCID 4: %d", f.vector);
    }
    *(volatile u64 *)entry = 0;
    invlpg((void *)AREA);
    struct fault f = write8(AREA, 1);
    CHECK_FAULT(f, VEC_PF);
}

/* --- other paging modes --- */

static u32 pd32[1024] ALIGNED(4096), pt32[1024] ALIGNED(4096);
static u64 pdpt[4] ALIGNED(32);
static u64 pd_pae[512] ALIGNED(4096), pt_pae[512] ALIGNED(4096);

/* Reads, increments and reads again the word at ESI; ECX is what was there, EAX what is. */
static const u8 touch[] = {0x8b, 0x0e, 0xff, 0x06, 0x8b, 0x06};

static void check_touch(struct mode *m, const char *name, u32 va, volatile u32 *word)
{
    *word = 0x1000;
    m->esi = va;
    mode_run(m, touch, sizeof(touch));
    CHECK(m->vector == -1 && m->ecx == 0x1000 && m->eax == 0x1001 && *word == 0x1001,
          "%s: vector %d at %x, cr2 %x, read %x, %x, in memory %x", name, m->vector, m->eip, m->cr2,
          m->ecx, m->eax, *word);
}

static void check_pf(struct mode *m, const char *name, u32 va, const u8 *code, size_t bytes,
                     u32 error)
{
    m->esi = va;
    mode_run(m, code, bytes);
    CHECK(m->vector == VEC_PF && m->error == error && m->cr2 == va, "%s: vector %d error %x cr2 %x",
          name, m->vector, m->error, m->cr2);
}

static void no_paging(void)
{
    struct mode m = {.cr0 = MODE_CR0};
    volatile u32 *word = (volatile u32 *)page_alloc(PAGE_SIZE, PAGE_SIZE);

    check_touch(&m, "no paging", (u32)(u64)word, word);
    m.esi = (u32)(u64)(word + 8);
    m.ecx = 0;
    for (u32 i = 0; i < 16; i++) { /* memory never touched, without paging */
        volatile u32 *fresh = (volatile u32 *)page_alloc(PAGE_SIZE, PAGE_SIZE);

        check_touch(&m, "no paging, new page", (u32)(u64)fresh + 0x123 * 4, fresh + 0x123);
    }
}

static void paging32(void)
{
    struct mode m = {
        .cr0 = MODE_CR0 | (u32)CR0_PG | (u32)CR0_WP, .cr4 = (u32)CR4_PSE, .cr3 = (u32)(u64)pd32};
    volatile u32 *word = (volatile u32 *)page_alloc(SIZE_2M * 2, SIZE_2M * 2);
    static const u8 load[] = {0x8b, 0x06}, store[] = {0x89, 0x06};

    for (u32 i = 0; i < 1024; i++) {
        pd32[i] = i < 512 ? i << 22 | 0x83 : 0; /* 4 MiB pages */
        pt32[i] = 0;
    }
    pd32[600] = (u32)(u64)word | 0x83;
    pd32[601] = (u32)(u64)pt32 | 7;
    pt32[3] = (u32)(u64)word | 3;
    pt32[4] = (u32)(u64)word | 1;
    check_touch(&m, "32-bit paging, own address", (u32)(u64)word, word);
    check_touch(&m, "32-bit paging, 4 MiB page", 600u << 22 | 0x3ffff0, word + 0x3ffff0 / 4);
    check_touch(&m, "32-bit paging, 4 KiB page", 601u << 22 | 3 << 12 | 0x10, word + 4);
    CHECK_EQ(pt32[3] & 0x60, 0x60); /* accessed, dirty */
    CHECK_EQ(pt32[4] & 0x60, 0);
    check_pf(&m, "not present", 601u << 22 | 5 << 12, load, sizeof(load), 0);
    check_pf(&m, "no table", 700u << 22, store, sizeof(store), PF_WRITE);
    check_pf(&m, "read-only", 601u << 22 | 4 << 12, store, sizeof(store), PF_WRITE | PF_PRESENT);
    m.cr0 &= ~(u32)CR0_WP;
    m.esi = 601u << 22 | 4 << 12;
    mode_run(&m, store, sizeof(store));
    CHECK_EQ(m.vector, -1);
}

static void paging_pae(void)
{
    struct mode m = {
        .cr0 = MODE_CR0 | (u32)CR0_PG | (u32)CR0_WP, .cr4 = (u32)CR4_PAE, .cr3 = (u32)(u64)pdpt};
    volatile u32 *word = (volatile u32 *)page_alloc(SIZE_2M, SIZE_2M);
    static const u8 load[] = {0x8b, 0x06}, store[] = {0x89, 0x06}, call[] = {0xff, 0xd6};
    bool nx = rdmsr(MSR_IA32_EFER) & EFER_NXE;

    memset(pdpt, 0, sizeof(pdpt));
    memset(pt_pae, 0, sizeof(pt_pae));
    pdpt[0] = (u64)pd_pae | PTE_P;
    for (u64 i = 0; i < 512; i++) {
        pd_pae[i] = i < 500 ? i * SIZE_2M | PTE_P | PTE_W | PTE_PS : 0;
    }
    pdpt[2] = (u64)pt_pae | PTE_P; /* a page directory too */
    pt_pae[1] = (u64)word | PTE_P | PTE_W | PTE_PS;
    pd_pae[501] = (u64)page_zeroed() | PTE_P | PTE_W;
    u64 *table = (u64 *)(pd_pae[501] & PTE_ADDRESS);
    table[7] = (u64)word | PTE_P | PTE_W;
    table[8] = (u64)word | PTE_P | (nx ? PTE_NX : 0);
    table[9] = BIT(50) | (u64)word | PTE_P;
    check_touch(&m, "PAE, own address", (u32)(u64)word, word);
    check_touch(&m, "PAE, 2 MiB page", 0x80000000u + (u32)SIZE_2M + 0x12340, word + 0x12340 / 4);
    check_touch(&m, "PAE, 4 KiB page", 501u << 21 | 7 << 12 | 0x80, word + 0x80 / 4);
    CHECK_EQ(table[7] & (PTE_A | PTE_D), PTE_A | PTE_D);
    m.efer = nx ? (u32)EFER_NXE : 0;
    check_pf(&m, "not present", 501u << 21 | 6 << 12, load, sizeof(load), 0);
    check_pf(&m, "read-only", 501u << 21 | 8 << 12, store, sizeof(store), PF_WRITE | PF_PRESENT);
    check_pf(&m, "no pointer", 0xc0000000u, load, sizeof(load), 0);
    if (nx) {
        check_pf(&m, "NX", 501u << 21 | 8 << 12, call, sizeof(call), PF_FETCH | PF_PRESENT);
    }
    if (phys_bits() < 50 && !cpu_is_tcg()) {
        check_pf(&m, "reserved bit", 501u << 21 | 9 << 12, load, sizeof(load),
                 PF_RSVD | PF_PRESENT);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"memory",          memory         },
        {"edges",           edges          },
        {"sizes",           sizes          },
        {"accessed-dirty",  accessed_dirty },
        {"write-protect",   write_protect  },
        {"user-pages",      user_pages     },
        {"smep-smap",       smep_smap      },
        {"protection-keys", protection_keys},
        {"invalidation",    invalidation   },
        {"no-paging",       no_paging      },
        {"paging32",        paging32       },
        {"paging-pae",      paging_pae     },
    };

    test_all("paging", tests, ARRAY_SIZE(tests));
}
