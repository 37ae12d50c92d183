/* SPDX-License-Identifier: MIT */
/*
 * The only door of device models to the system. The machine implements it with system calls; tests
 * and fuzzers implement it with fakes, and run the same models on the host.
 *
 * All calls come from a vCPU's thread with the machine's devices to itself: a model needs no locks.
 */
#ifndef VMM_MACHINE_HOST_H
#define VMM_MACHINE_HOST_H

#include "lib/types.h"

struct machine;

/* --- guest memory --- */

/* Copies between guest RAM and the model. The address is guest-controlled; false, and nothing is
 * copied, when a byte of the range is not RAM. Another vCPU may write there meanwhile: read a
 * structure once, check the copy and use the copy. */
bool host_memory_read(struct machine *m, void *dst, gpa_t gpa, u64 bytes) MUST_CHECK;
bool host_memory_write(struct machine *m, gpa_t gpa, const void *src, u64 bytes) MUST_CHECK;

/* --- time, interrupts, console, end --- */

/* Nanoseconds since the machine was started. */
u64 host_time_ns(struct machine *m);

/* Level of an interrupt line of the PC (0..23); a model calls it after every change of its state.
 */
void host_irq(struct machine *m, u32 line, bool level);

/* One byte to the guest's console; waits while the host takes no more. */
void host_console_put(struct machine *m, u8 c);
/* The next byte typed for this guest, or -1. */
int host_console_get(struct machine *m);

/* The guest ends by its own will; reason is a few words for the report. Does not return there; in a
 * test it may, and the model then does nothing more. */
void host_end(struct machine *m, bool success, const char *reason);

/* --- ports and memory-mapped registers --- */

/* Widths a range takes: a mask of the access sizes 1, 2, 4, 8. Everything else the bus answers
 * itself (all-ones, ignored): other widths, accesses that reach over the end, addresses that are
 * nobody's. */
#define HOST_WIDTH_8  1
#define HOST_WIDTH_16 2
#define HOST_WIDTH_32 4
#define HOST_WIDTH_64 8

struct host_ports {
    void *device;
    u32 (*read)(void *device, u16 offset, u8 bytes); /* from base; only the low bytes count */
    void (*write)(void *device, u16 offset, u8 bytes, u32 value); /* value has only those bytes */
    u16 base, count;
    u8 widths;
};

struct host_registers {
    void *device;
    u64 (*read)(void *device, u64 offset, u8 bytes);
    void (*write)(void *device, u64 offset, u8 bytes, u64 value);
    gpa_t base;
    u64 bytes;
    u8 widths;
};

/* Register a range, which is copied. false: no room in the tables, an empty range, one that ends
 * beyond the address space, or one that overlaps another. */
bool host_add_ports(struct machine *m, const struct host_ports *range) MUST_CHECK;
bool host_add_registers(struct machine *m, const struct host_registers *range) MUST_CHECK;

#endif
