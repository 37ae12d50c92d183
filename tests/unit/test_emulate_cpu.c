/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/emulate.c vmm/machine/emulate_exec.c vmm/machine/emulate_memory.c */
/* SOURCES: vmm/machine/stringio.c vmm/machine/decode.c */
/* SOURCES: vmm/machine/walk.c vmm/machine/ram.c vmm/machine/bus.c */
/*
 * The emulator against this machine's CPU: random instructions of every kind that the decoder
 * accepts, with random registers, flags and memory, are run by the CPU on memory and by the
 * emulator on a device that behaves like memory. Registers, flags and memory must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/hw/x86.h"
#include "vmm/machine/emulate.h"

/* Linear addresses, the same for the CPU and for the guest, all below 2 GiB. */
#define CONTEXT    0x10000000 /* struct context, known to the assembly below */
#define DATA       0x20000000ull
#define DATA_BYTES 0x4000ull
#define CODE       0x30000000ull
#define MEMORY     (1ull << 20)

#define FLAGS      (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

struct context {
    u64 gpr[GPR_COUNT];
    u64 rflags, entry, host_rsp;
};

void native_run(void);
void native_back(void);

/* Loads all registers from the context, jumps to its entry; the code there jumps to native_back. */
__asm__(".text\n"
        "native_run:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, 0x10000090\n"
        "pushq 0x10000080; popfq\n"
        "mov 0x10000000, %rax; mov 0x10000008, %rcx; mov 0x10000010, %rdx; mov 0x10000018, %rbx\n"
        "mov 0x10000020, %rsp; mov 0x10000028, %rbp; mov 0x10000030, %rsi; mov 0x10000038, %rdi\n"
        "mov 0x10000040, %r8; mov 0x10000048, %r9; mov 0x10000050, %r10; mov 0x10000058, %r11\n"
        "mov 0x10000060, %r12; mov 0x10000068, %r13; mov 0x10000070, %r14; mov 0x10000078, %r15\n"
        "jmp *0x10000088\n"
        "native_back:\n"
        "mov %rax, 0x10000000; mov %rcx, 0x10000008; mov %rdx, 0x10000010; mov %rbx, 0x10000018\n"
        "mov %rsp, 0x10000020; mov %rbp, 0x10000028; mov %rsi, 0x10000030; mov %rdi, 0x10000038\n"
        "mov %r8, 0x10000040; mov %r9, 0x10000048; mov %r10, 0x10000050; mov %r11, 0x10000058\n"
        "mov %r12, 0x10000060; mov %r13, 0x10000068; mov %r14, 0x10000070; mov %r15, 0x10000078\n"
        "mov 0x10000090, %rsp\n"
        "pushfq; popq 0x10000080\n"
        "cld\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n");

static struct context *context;
static u8 *data, *code; /* the CPU's */
static u8 device[DATA_BYTES];
static struct board board;
static u64 seed = 1;

static u64 random64(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    u64 high = seed >> 32;
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return high << 32 | seed >> 32;
}

/* Numbers at which carries and signs change are frequent. */
static u64 random_value(void)
{
    static const u64 edges[] = {0,
                                1,
                                ~0ull,
                                0x7f,
                                0x80,
                                0x7fff,
                                0x8000,
                                0x7fffffff,
                                0x80000000,
                                0x7fffffffffffffff,
                                0x8000000000000000};
    u64 r = random64();

    return r & 1 ? random64() : edges[(r >> 1) % ARRAY_SIZE(edges)];
}

static u64 device_read(void *d, u64 offset, u8 bytes)
{
    u64 value = 0;

    (void)d;
    memcpy(&value, device + offset, bytes);
    return value;
}

static void device_write(void *d, u64 offset, u8 bytes, u64 value)
{
    (void)d;
    memcpy(device + offset, &value, bytes);
}

static void *map(u64 at, u64 bytes, int rights)
{
    void *p =
        mmap((void *)at, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    assert_ptr_equal(p, (void *)at);
    return p;
}

static void put64(u64 at, u64 value)
{
    memcpy(board.ram.base + at, &value, 8);
}

/* The guest: 4 levels of tables at 0x1000 to 0x5000, code in RAM at 0x10000, and as data a device;
 * but for the second page of data, which is RAM at 0x11000. */
static int setup(void **state)
{
    struct host_registers registers = {NULL,       device_read, device_write, GPA(0xfe000000),
                                       DATA_BYTES, 15};

    (void)state;
    context = map(CONTEXT, PAGE_SIZE, PROT_READ | PROT_WRITE);
    data = map(DATA, DATA_BYTES, PROT_READ | PROT_WRITE);
    code = map(CODE, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    board.ram.base = calloc(1, MEMORY);
    board.phys_bits = 40;
    ram_layout(&board.ram, MEMORY);
    bus_reset(&board.bus);
    assert_true(bus_add_registers(&board.bus, &registers));
    put64(0x1000, 0x2007);
    put64(0x2000, 0x3007);
    put64(0x3000 + 8 * (DATA >> 21), 0x4007);
    put64(0x3000 + 8 * (CODE >> 21), 0x5007);
    for (u64 i = 0; i < DATA_BYTES; i += PAGE_SIZE) {
        put64(0x4000 + i / 512, i == PAGE_SIZE ? 0x11007 : 0xfe000007 + i);
    }
    put64(0x5000, 0x10007);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    munmap(context, PAGE_SIZE);
    munmap(data, DATA_BYTES);
    munmap(code, PAGE_SIZE);
    free(board.ram.base);
    return 0;
}

/* A random instruction that the decoder accepts. */
static void choose(u8 *bytes, struct insn *i)
{
    static const u8 prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3};
    enum decode_status status;

    do {
        u8 *at = bytes;
        u64 r = random64();

        for (u32 k = 0; k < 15; k++) {
            bytes[k] = (u8)random64();
        }
        for (u32 k = 0; k < ARRAY_SIZE(prefixes); k++, r >>= 3) {
            if ((r & 7) == 0) {
                *at++ = prefixes[k];
            }
        }
        if (r & 1) {
            *at++ = (u8)(0x40 | (r >> 1 & 15));
        }
        if (r & BIT(5)) {
            *at++ = 0x0f;
            if ((r >> 6 & 15) == 0) {
                *at++ = 0x38;
                *at++ = 0xf0 | (r >> 10 & 1);
            }
        }
        status = decode(bytes, 15, 8, i);
    } while (status != DECODE_OK || i->seg == SEG_FS || i->seg == SEG_GS || i->op >= INSN_INS);
}

/* Registers with which the operand lies somewhere in the data; false: there are none. */
static bool aim(struct insn *i, u64 gpr[GPR_COUNT])
{
    u64 target = DATA + 0x1000 - 16 + random64() % (DATA_BYTES - 0x2000);
    u64 upper = i->address_bytes == 4 ? random64() << 32 : 0;

    if (random64() & 1) { /* near the border of two pages */
        target = DATA + 0x1000 * (1 + random64() % 2) - random64() % 9;
    }
    if (i->form == INSN_STRING) {
        u64 element = target & ~7ull;
        gpr[GPR_RSI] = upper | (target & 0xffffffff);
        gpr[GPR_RDI] = upper | (random64() & 1 ? element : DATA + 0x1800);
        gpr[GPR_RCX] = 1 + random64() % 40; /* 0 accesses nothing, so it never gets here */
        return true;
    }
    if (i->base == INSN_NO_GPR || i->index == i->base) {
        return false;
    }
    bool moves = i->op >= INSN_BT && i->op <= INSN_BTC && i->form == INSN_MEM_REG;
    if (moves) {
        if (i->reg == i->base || i->reg == i->index) {
            return false;
        }
        gpr[i->reg] = random64() % 16000 - 8000;
        if (i->bytes < 8) { /* what is above does not count */
            gpr[i->reg] = low_bytes(gpr[i->reg], i->bytes) | random64() << (8 * i->bytes);
        }
    }
    gpr[i->base] = 0;
    gpr[i->base] = target - decode_offset(i, gpr, CODE);
    if (moves) {
        gpr[i->base] = DATA + 0x1800 - i->displacement -
                       (i->index == INSN_NO_GPR ? 0 : gpr[i->index] << i->scale);
    }
    if (i->address_bytes == 4) {
        gpr[i->base] = upper | (gpr[i->base] & 0xffffffff);
    }
    return true;
}

/* Flags that the instruction leaves as the manual does not say. */
static u64 undefined_flags(const struct insn *i)
{
    switch (i->op) {
    case INSN_AND:
    case INSN_OR:
    case INSN_XOR:
    case INSN_TEST:
        return RFLAGS_AF;
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF;
    default:
        return 0;
    }
}

/* An instruction, then a jump to native_back that changes nothing. */
static void run_native(const u8 *bytes, const struct insn *i)
{
    static const u8 jump[] = {0xff, 0x25, 0, 0, 0, 0};
    u64 back = (u64)native_back;

    memcpy(code, bytes, i->length);
    memcpy(code + i->length, jump, sizeof(jump));
    memcpy(code + i->length + sizeof(jump), &back, 8);
    native_run();
}

static void run_emulated(const u8 *bytes, struct vcpu_state *s)
{
    static struct emulate_cache cache;
    enum emulate_result r;
    struct fetched f;
    struct fault fault;

    memcpy(board.ram.base + 0x10000, bytes, 15);
    do {
        r = emulate_mmio(&board, &cache, s, &f, &fault);
    } while (r == EMULATE_AGAIN);
    assert_int_equal(r, EMULATE_DONE);
}

static void report(const u8 *bytes, const struct insn *i, const struct vcpu_state *before,
                   const struct vcpu_state *after)
{
    print_message("code");
    for (u32 k = 0; k < i->length; k++) {
        print_message(" %02x", bytes[k]);
    }
    print_message(", flags %lx: CPU %lx, here %lx\n", before->rflags, context->rflags,
                  after->rflags);
    for (u32 k = 0; k < GPR_COUNT; k++) {
        print_message("  gpr %u was %lx: CPU %lx, here %lx\n", k, before->gpr[k], context->gpr[k],
                      after->gpr[k]);
    }
}

static void compare(const u8 *bytes, const struct insn *i, struct vcpu_state *s)
{
    struct vcpu_state before = *s;
    u64 defined = (FLAGS | RFLAGS_DF) & ~undefined_flags(i);

    memcpy(context->gpr, s->gpr, sizeof(s->gpr));
    context->rflags = s->rflags;
    context->entry = CODE;
    memcpy(device, data, DATA_BYTES);
    memcpy(board.ram.base + 0x11000, data + PAGE_SIZE, PAGE_SIZE);
    run_native(bytes, i);
    run_emulated(bytes, s);
    memcpy(device + PAGE_SIZE, board.ram.base + 0x11000, PAGE_SIZE);
    if (memcmp(context->gpr, s->gpr, sizeof(s->gpr)) != 0 ||
        ((context->rflags ^ s->rflags) & defined) || memcmp(device, data, DATA_BYTES) != 0) {
        report(bytes, i, &before, s);
        fail();
    }
}

static bool has_movbe(void)
{
    unsigned a, b, c = 0, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 22 & 1);
}

static void test_random(void **state)
{
    u32 done[INSN_OUTS + 1] = {0};
    struct vcpu_state s = {
        .cr0 = CR0_PE | CR0_PG | CR0_WP,
        .cr3 = 0x1000,
        .cr4 = CR4_PAE,
        .efer = EFER_LME | EFER_LMA | EFER_NXE,
        .rip = CODE,
    };

    (void)state;
    s.seg[SEG_CS].access = 0xa09b;
    s.seg[SEG_SS].access = 0xc093;
    for (u32 round = 0; round < 400000; round++) {
        u8 bytes[16] = {0};
        struct insn i;

        choose(bytes, &i);
        if (i.op == INSN_MOVBE && !has_movbe()) {
            continue;
        }
        for (u32 k = 0; k < GPR_COUNT; k++) {
            s.gpr[k] = random_value();
        }
        s.rflags = RFLAGS_FIXED | RFLAGS_IF | (random64() & FLAGS) |
                   (i.form == INSN_STRING ? random64() & RFLAGS_DF : 0);
        if (!aim(&i, s.gpr)) {
            continue;
        }
        for (u32 k = 0; k < 64; k++) { /* the data change a little each time */
            u64 value = random_value();
            memcpy(data + random64() % (DATA_BYTES - 8), &value, 8);
        }
        if (i.op == INSN_CMPXCHG && (random64() & 1) && i.base != GPR_RAX && i.index != GPR_RAX) {
            memcpy(&s.gpr[GPR_RAX], (u8 *)decode_offset(&i, s.gpr, CODE), i.bytes);
        }
        compare(bytes, &i, &s);
        done[i.op]++;
    }
    for (u32 op = INSN_MOV; op < INSN_INS; op++) {
        assert_true(done[op] > 200 || op == INSN_MOVBE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
