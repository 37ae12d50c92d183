/* SPDX-License-Identifier: MIT */
/* SOURCES: vmm/machine/emulate.c vmm/machine/stringio.c vmm/machine/decode.c */
/* SOURCES: vmm/machine/walk.c vmm/machine/ram.c vmm/machine/bus.c */
/* Emulated instructions with arbitrary code, page tables and registers. Input: choices and
 * registers (see take), then the guest's memory from address 0, which the page tables share with
 * the code. */
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/machine/emulate.h"
#include "vmm/machine/walk.h"

#define MEMORY (64ull << 10)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

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
    if (offset + bytes > 8 || (bytes < 4 && value >> (8 * bytes))) {
        abort();
    }
}

static void make_state(struct input *in, struct vcpu_state *s)
{
    u8 mode = (u8)take(in, 1);

    s->cr0 = CR0_PE | (mode & 1 ? CR0_PG : 0) | (mode & 2 ? CR0_WP : 0);
    s->cr4 = (mode & 4 ? CR4_PAE : CR4_PSE) | (mode & 8 ? CR4_SMAP | CR4_SMEP : 0);
    s->efer = (mode & 16 ? EFER_NXE : 0) | ((mode & 5) == 5 && mode & 32 ? EFER_LMA : 0);
    s->cr3 = take(in, 2) & 0xf000;
    s->rip = take(in, 2);
    s->rflags = take(in, 2);
    for (u32 i = 0; i < GPR_COUNT; i++) {
        s->gpr[i] = (u64)(s64)(s16)take(in, 2);
    }
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        s->seg[i].access = (u32)take(in, 2);
        s->seg[i].limit = s->seg[i].access & BIT(15) ? 0xffffffff : 0xffff;
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct board b;
    struct host_ports ports = {NULL, port_read, port_write, 0x100, 8, 7};
    static const u8 widths[4] = {1, 2, 4, 4}, addresses[4] = {2, 4, 8, 8};
    struct input in = {data, size};
    struct vcpu_state s = {0};
    struct fault fault;

    b.ram.base = calloc(1, MEMORY);
    b.phys_bits = 36;
    ram_layout(&b.ram, MEMORY);
    bus_reset(&b.bus);
    if (!bus_add_ports(&b.bus, &ports)) {
        abort();
    }
    u8 choice = (u8)take(&in, 1);
    make_state(&in, &s);
    memcpy(b.ram.base, in.data, MIN(in.size, MEMORY));
    struct vcpu_state before = s;
    if (choice & 1) {
        u8 bytes[DECODE_MAX_BYTES];
        struct insn insn;
        u32 count;
        enum emulate_result r = emulate_mmio(&b, &s, &insn, bytes, &count, &fault);
        if (r == EMULATE_AGAIN || count > DECODE_MAX_BYTES ||
            (r != EMULATE_DONE && memcmp(s.gpr, before.gpr, sizeof(s.gpr)) != 0)) {
            abort();
        }
    } else {
        struct vcpu_exit x = {
            .a = 0x100 | (u64)widths[(choice >> 1) & 3] << 16 | VX_IO_STRING |
                 (choice & 8 ? VX_IO_IN : 0) | (choice & 16 ? VX_IO_REP : 0),
            .d = addresses[(choice >> 5) & 3],
        };
        (void)emulate_string_io(&b, &s, &x, &fault);
    }
    if (s.rip != before.rip || s.rflags != before.rflags) {
        abort();
    }
    free(b.ram.base);
    return 0;
}
