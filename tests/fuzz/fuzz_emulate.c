/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/emulate.c vmm/machine/emulate_exec.c vmm/machine/emulate_memory.c */
/* SOURCES: vmm/machine/stringio.c vmm/machine/decode.c */
/* SOURCES: vmm/machine/walk.c vmm/machine/ram.c vmm/machine/bus.c */
/* Emulated instructions with arbitrary code, page tables and registers. Input: choices and
 * registers (see take), then the guest's memory from address 0, which the page tables share with
 * the code; a device fills the hole below 768 KiB. */
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/machine/emulate.h"
#include "vmm/machine/emulate_memory.h"

#define MEMORY       (1ull << 20)
#define DEVICE       0xa0000ull
#define DEVICE_BYTES 0x20000ull

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u8 memory[MEMORY];
static u32 reads, writes, out_of_order;
static u64 written; /* a hash of what the device was given */

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

struct input {
    const u8 *data;
    size_t size;
};

static u64 take(struct input *in, size_t n)
{
    u64 value = 0;

    if (in->size >= n) {
        memcpy(&value, in->data, n);
        in->data += n;
        in->size -= n;
    }
    return value;
}

static u32 port_read(void *device, u16 offset, u8 bytes)
{
    (void)device;
    return offset + bytes;
}

static void port_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)device;
    check(offset + bytes <= 8 && (bytes == 4 || !(value >> (8 * bytes))));
}

static u64 device_read(void *device, u64 offset, u8 bytes)
{
    (void)device;
    check(offset + bytes <= DEVICE_BYTES && !(offset & (bytes - 1u)));
    reads++;
    out_of_order += writes;
    return (offset + 1) * 0x9e3779b97f4a7c15;
}

static void device_write(void *device, u64 offset, u8 bytes, u64 value)
{
    (void)device;
    check(offset + bytes <= DEVICE_BYTES && !(offset & (bytes - 1u)));
    check(low_bytes(value, bytes) == value);
    writes++;
    written = (written ^ value ^ offset << 8 ^ bytes) * 0x9e3779b97f4a7c15;
}

static void make_board(struct board *b, const struct input *in)
{
    struct host_ports ports = {NULL, port_read, port_write, 0x100, 8, 7};
    struct host_registers registers = {NULL,        device_read,  device_write,
                                       GPA(DEVICE), DEVICE_BYTES, 15};

    memset(memory, 0, sizeof(memory));
    memcpy(memory, in->data, MIN(in->size, MEMORY));
    b->ram.base = memory;
    b->phys_bits = 36;
    ram_layout(&b->ram, MEMORY);
    bus_reset(&b->bus);
    check(bus_add_ports(&b->bus, &ports) && bus_add_registers(&b->bus, &registers));
    reads = writes = out_of_order = 0;
    written = 0;
}

static void make_state(struct input *in, struct vcpu_state *s)
{
    u8 mode = (u8)take(in, 1);

    s->cr0 = CR0_PE | (mode & 1 ? CR0_PG : 0) | (mode & 2 ? CR0_WP : 0);
    s->cr4 = (mode & 4 ? CR4_PAE : CR4_PSE) | (mode & 8 ? CR4_SMAP | CR4_SMEP : 0);
    s->efer = (mode & 16 ? EFER_NXE : 0) | ((mode & 5) == 5 && mode & 32 ? EFER_LMA : 0);
    s->cr3 = take(in, 2) & 0xf000;
    s->rip = take(in, 2);
    s->rflags = take(in, 2) | RFLAGS_FIXED;
    for (u32 i = 0; i < GPR_COUNT; i++) {
        s->gpr[i] = (u64)(s64)(s16)take(in, 2);
    }
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        s->seg[i].access = (u32)take(in, 2);
        s->seg[i].limit = s->seg[i].access & BIT(15) ? 0xffffffff : 0xffff;
        s->seg[i].base = mode & 64 && i != SEG_CS ? DEVICE : 0;
    }
}

/* What a single instruction may change: at most its own register and RAX, flags, and memory only
 * when it was done; a device sees all reads before the first write. */
static void check_single(const struct vcpu_state *before, const struct vcpu_state *s,
                         const struct insn *i, enum emulate_result r)
{
    if (r != EMULATE_DONE) {
        check(!memcmp(before, s, sizeof(*s)) && !reads && !writes);
        return;
    }
    check(!out_of_order && !((before->rflags ^ s->rflags) & ~RFLAGS_ARITH));
    check((i->access & INSN_READS) || !reads);
    check((i->access & INSN_WRITES) || !writes);
    for (u32 k = 0; k < GPR_COUNT; k++) {
        check(s->gpr[k] == before->gpr[k] || (k == i->reg && i->form != INSN_MEM_IMM) ||
              (k == GPR_RAX && i->op == INSN_CMPXCHG));
    }
}

static void check_string(const struct vcpu_state *before, const struct vcpu_state *s,
                         const struct insn *i, enum emulate_result r)
{
    for (u32 k = 0; k < GPR_COUNT; k++) {
        check(s->gpr[k] == before->gpr[k] || k == GPR_RSI || k == GPR_RDI || k == GPR_RCX ||
              (k == GPR_RAX && i->op == INSN_LODS));
    }
    if (r == EMULATE_AGAIN) {
        check(i->rep && low_bytes(s->gpr[GPR_RCX], i->address_bytes) &&
              s->gpr[GPR_RCX] != before->gpr[GPR_RCX]);
    }
    check(reads + writes <= 256 * 2 * 8);
}

/* The short way, where it says that it can do the same again, does the same. */
static void check_cached(const struct board *b, const struct emulate_cache *cache,
                         const struct vcpu_state *before, const struct vcpu_state *after,
                         const struct insn *i)
{
    u64 va = operand_linear(before, i->seg, decode_offset(i, before->gpr, before->rip)).v;
    u64 kind = 0, error, value, mode = walk_in_long_mode(before) ? VX_ACCESS_CODE64 : 0;
    u64 expected = written;
    u32 count = reads + writes;
    gpa_t gpa;

    if (i->access & INSN_WRITES) {
        kind = PF_WRITE;
    }
    if (walk(&b->ram, before, b->phys_bits, GVA(va), kind, &gpa, &error, NULL) != WALK_OK ||
        gpa.v < DEVICE || gpa.v >= DEVICE + DEVICE_BYTES) {
        return;
    }
    struct vcpu_exit x = {.a = gpa.v,
                          .b = VX_ACCESS_LINEAR_VALID | mode |
                               (kind ? VX_ACCESS_WRITE : VX_ACCESS_READ),
                          .c = va,
                          .d = before->cr3,
                          .e = before->rip};
    memcpy(x.gpr, before->gpr, sizeof(x.gpr));
    reads = writes = 0;
    written = 0;
    u64 flags = emulate_cached(b, cache, before, &x, &value);
    if (!flags) {
        return;
    }
    check(flags & VCPU_RUN_ADVANCE);
    check((flags & VCPU_RUN_LENGTH) >> VCPU_RUN_LENGTH_SHIFT == i->length);
    check(reads + writes == count && written == expected);
    memcpy(x.gpr, before->gpr, sizeof(x.gpr));
    if (flags & VCPU_RUN_VALUE) {
        x.gpr[(flags & VCPU_RUN_GPR) >> VCPU_RUN_GPR_SHIFT] = value;
    }
    u64 rflags = before->rflags;
    if (flags & VCPU_RUN_FLAGS) {
        rflags = (rflags & ~RFLAGS_ARITH) | (flags >> VCPU_RUN_RFLAGS_SHIFT & RFLAGS_ARITH);
    }
    check(!memcmp(x.gpr, after->gpr, sizeof(x.gpr)) && after->rflags == rflags);
}

static u8 code_bytes(const struct vcpu_state *s)
{
    return walk_in_long_mode(s) ? 8 : s->seg[SEG_CS].access & BIT(14) ? 4 : 2;
}

static void fuzz_mmio(const struct board *b, struct vcpu_state *s)
{
    static struct emulate_cache cache;
    const struct vcpu_state before = *s;
    struct fetched f;
    struct fault fault;

    memset(&cache, 0, sizeof(cache));
    enum emulate_result r = emulate_mmio(b, &cache, s, &f, &fault);
    check(f.count <= DECODE_MAX_BYTES);
    if (r == EMULATE_FAULT) {
        bool none = !fault.error && !fault.address;
        check(fault.vector == VECTOR_PF || none);
        check(!(fault.flags & VCPU_INJECT_ERROR_CODE) == (fault.vector == VECTOR_UD));
    }
    /* what came of the fetch has no instruction */
    bool fetched = decode(f.bytes, f.count, code_bytes(&before), &f.insn) == DECODE_OK;
    if (!fetched || f.insn.form != INSN_STRING || f.insn.op >= INSN_INS) {
        check_single(&before, s, &f.insn, r);
    } else {
        check_string(&before, s, &f.insn, r);
    }
    if (fetched && f.insn.form != INSN_STRING && r == EMULATE_DONE) {
        check_cached(b, &cache, &before, s, &f.insn);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct board b;
    static const u8 widths[4] = {1, 2, 4, 4}, addresses[4] = {2, 4, 8, 8};
    struct input in = {data, size};
    struct vcpu_state s = {0};
    struct fault fault;
    u8 choice = (u8)take(&in, 1);

    make_state(&in, &s);
    make_board(&b, &in);
    struct vcpu_state before = s;
    if (choice & 1) {
        fuzz_mmio(&b, &s);
    } else {
        struct vcpu_exit x = {
            .a = 0x100 | (u64)widths[(choice >> 1) & 3] << 16 | VX_IO_STRING |
                 (choice & 8 ? VX_IO_IN : 0) | (choice & 16 ? VX_IO_REP : 0),
            .d = addresses[(choice >> 5) & 3],
        };
        check(emulate_string_io(&b, &s, &x, &fault) != EMULATE_UNKNOWN);
        check(s.rflags == before.rflags);
    }
    check(s.rip == before.rip);
    return 0;
}
