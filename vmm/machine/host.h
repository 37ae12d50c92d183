/* SPDX-License-Identifier: MIT */
/*
 * The only door of device models to the system. The machine implements it with system calls; tests
 * and fuzzers implement it with fakes, and run the same models on the host.
 *
 * Whoever calls a model (a vCPU's thread, or the thread of timers and input) holds the machine's
 * device lock, and so does whoever calls this: a model needs no locks.
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

/* Seconds since 1970 on a clock on the wall; only a model of such a clock looks at it. */
u64 host_wall_seconds(struct machine *m);

/* A timer is part of a model, which sets due and device once. due() is called once, with the device
 * lock held, not before at_ns (of host_time_ns) and perhaps late: a model with a period asks the
 * clock how many have passed. It may set the timer again. */
struct host_timer {
    void (*due)(void *device, u64 now_ns);
    void *device;
    u64 at_ns; /* HOST_NEVER: not set */
    struct host_timer *next;
};
#define HOST_NEVER (~0ull)
/* at_ns may be past (due() is then called soon, never from here) or HOST_NEVER. */
void host_timer_set(struct machine *m, struct host_timer *t, u64 at_ns);

/* Level of an interrupt line of the PC (0..23, as ISA numbers them; line 0 is the PIT's); a model
 * calls it after every change of its state. */
void host_irq(struct machine *m, u32 line, bool level);

/* For interrupt controllers. A message as a PCI device would write it (SDM 3A "Message Signalled
 * Interrupts"): false when no local APIC takes it. */
bool host_message(struct machine *m, u64 address, u32 data);
/* Level of the PIC's output, which is wired to LINT0 of every local APIC. */
void host_intr(struct machine *m, bool level);

/* One byte to the guest's console; waits while the host takes no more. */
void host_console_put(struct machine *m, u8 c);
/* The next byte typed for this guest, or -1. */
int host_console_get(struct machine *m);

/* How a guest ends by its own will. */
enum host_ending {
    HOST_END_SUCCESS,
    HOST_END_FAILURE,
    HOST_END_CRASH,
    HOST_END_POWER_OFF, /* a success too */
    HOST_END_RESET,     /* it wants to be started again */
};

/* The guest ends; reason is a few words for the report. Does not return there; in a test it may,
 * and the model then does nothing more. */
void host_end(struct machine *m, enum host_ending ending, const char *reason);

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
