/* SPDX-License-Identifier: MIT */
/* A board with a device, a port and RAM, for tests of emulated instructions. */
#ifndef TESTS_UNIT_EMULATE_BOARD_H
#define TESTS_UNIT_EMULATE_BOARD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hw/x86.h"
#include "vmm/machine/emulate.h"
#include "vmm/machine/emulate_memory.h"
#include "vmm/machine/walk.h"

#define MEMORY (2ull << 20)
#define PORT   0x100
#define DEVICE 0x40000000ull
#define CODE   0x20000ull /* where string I/O is run from in 64-bit code */

static struct board b;
static struct vcpu_state s;
static struct fault fault;
static u8 port_data[1024]; /* what was written; reads count up */
static u32 port_bytes, port_reads;
static u8 device_data[0x1000];
static char device_log[256]; /* "r4@10 w4@10": width and offset of each access */
static struct emulate_cache cache;

static u32 port_read(void *device, u16 offset, u8 bytes)
{
    u32 value = 0;

    (void)device;
    (void)offset;
    for (u32 i = 0; i < bytes; i++) {
        value |= (u32)(u8)port_reads++ << (8 * i);
    }
    return value;
}

static void port_write(void *device, u16 offset, u8 bytes, u32 value)
{
    (void)device;
    (void)offset;
    assert_true(port_bytes + bytes <= sizeof(port_data));
    memcpy(port_data + port_bytes, &value, bytes);
    port_bytes += bytes;
}

static inline void log_access(char kind, u64 offset, u8 bytes)
{
    size_t n = strlen(device_log);

    snprintf(device_log + n, sizeof(device_log) - n, "%s%c%u@%x", n ? " " : "", kind, bytes,
             (u32)offset);
}

static inline u64 device_read(void *device, u64 offset, u8 bytes)
{
    u64 value = 0;

    (void)device;
    log_access('r', offset, bytes);
    memcpy(&value, device_data + offset, bytes);
    return value;
}

static void device_write(void *device, u64 offset, u8 bytes, u64 value)
{
    (void)device;
    log_access('w', offset, bytes);
    memcpy(device_data + offset, &value, bytes);
}

/* 64-bit code, identity-mapped first 2 MiB at 0x1000, 0x2000, 0x3000, 0x4000 in 4 KiB pages. */
static int setup(void **state)
{
    struct host_ports ports = {NULL, port_read, port_write, PORT, 4, 7};
    struct host_registers device = {NULL,        device_read,         device_write,
                                    GPA(DEVICE), sizeof(device_data), 15};
    u64 entry[3] = {0x2007, 0x3007, 0x4007};

    (void)state;
    memset(&b, 0, sizeof(b));
    memset(&s, 0, sizeof(s));
    b.ram.base = calloc(1, MEMORY);
    b.phys_bits = 40;
    ram_layout(&b.ram, MEMORY);
    bus_reset(&b.bus);
    assert_true(bus_add_ports(&b.bus, &ports));
    assert_true(bus_add_registers(&b.bus, &device));
    memset(device_data, 0, sizeof(device_data));
    memset(&cache, 0, sizeof(cache));
    device_log[0] = 0;
    for (u32 i = 0; i < 3; i++) {
        memcpy(b.ram.base + 0x1000 * (i + 1), &entry[i], 8);
    }
    for (u64 i = 0; i < 512; i++) {
        u64 pte = i * 4096 + 7;
        memcpy(b.ram.base + 0x4000 + 8 * i, &pte, 8);
    }
    s.cr0 = CR0_PE | CR0_PG | CR0_WP;
    s.cr4 = CR4_PAE;
    s.efer = EFER_LME | EFER_LMA | EFER_NXE;
    s.cr3 = 0x1000;
    s.seg[SEG_CS].access = 0xa09b;
    s.seg[SEG_SS].access = 0xc093;
    port_bytes = port_reads = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.ram.base);
    return 0;
}

static void set_pte(u64 va, u64 pte)
{
    memcpy(b.ram.base + 0x4000 + 8 * (va >> 12), &pte, 8);
}

/* Real mode with these bytes of code at 0000:0100, DS at 0x10000, the others at 0. */
static void real_mode(const char *code, size_t n)
{
    memset(&s, 0, sizeof(s));
    for (u32 i = SEG_ES; i <= SEG_GS; i++) {
        s.seg[i].limit = 0xffff;
        s.seg[i].access = 0x93;
    }
    s.seg[SEG_DS].base = 0x10000;
    s.rip = 0x100;
    memcpy(b.ram.base + 0x100, code, n);
}

#endif
