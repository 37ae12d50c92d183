/* SPDX-License-Identifier: MIT */
/*
 * Instructions that the VMM carries out for the CPU: string I/O, and moves to and from addresses
 * outside RAM. Works on a copy of the vCPU's state and on the board; no system calls, so it runs on
 * the host too. Deviation: alignment checks (#AC) are not made.
 */
#ifndef VMM_MACHINE_EMULATE_H
#define VMM_MACHINE_EMULATE_H

#include "kernel/abi.h"
#include "lib/types.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/decode.h"
#include "vmm/machine/ram.h"

/* What a CPU sees on its bus. */
struct board {
    struct ram ram;
    struct bus bus;
    u32 phys_bits; /* the guest's physical address width */
};

#define VECTOR_SS 12
#define VECTOR_GP 13
#define VECTOR_PF 14

/* An exception for the guest. All have an error code. */
struct fault {
    u8 vector;
    u64 error;
    u64 address; /* CR2, #PF only */
};

enum emulate_result {
    EMULATE_DONE,  /* carried out; registers of *s changed, RIP is not */
    EMULATE_AGAIN, /* partly (REP): registers changed, run the instruction again for the rest */
    EMULATE_FAULT, /* *fault is to be delivered at the instruction; registers show what was done */
    EMULATE_UNKNOWN, /* not one of the instructions that are known here */
};

/* String I/O, as SYS_VCPU_RUN described it in *x (VX_IO with VX_IO_STRING). Does a bounded number
 * of elements. s: groups GPR and SYS. */
enum emulate_result emulate_string_io(const struct board *b, struct vcpu_state *s,
                                      const struct vcpu_exit *x, struct fault *fault);

/* The instruction at RIP, which touched an address outside RAM. s: groups GPR and SYS. *insn is
 * filled unless EMULATE_UNKNOWN; bytes and *count get what was fetched, for a report. */
enum emulate_result emulate_mmio(const struct board *b, struct vcpu_state *s, struct insn *insn,
                                 u8 bytes[DECODE_MAX_BYTES], u32 *count, struct fault *fault);

/* The exception for a page walk that met an address outside RAM, where a bus answers all-ones: a
 * page fault with the reserved bit. va: what was translated. */
void emulate_walk_fault(const struct vcpu_state *s, gva_t va, struct fault *fault);

/* The linear address of an offset in a segment, as the mode has it. */
gva_t emulate_linear(const struct vcpu_state *s, u32 seg, u64 offset);

/* Copies n bytes (up to a page) between buffer and guest-linear memory for an access of kind 0,
 * PF_WRITE or PF_FETCH (walk.h); what is not RAM goes over the bus. On false nothing is written,
 * and *fault is set; seg names the segment, for the choice between #GP and #SS. */
bool emulate_access(const struct board *b, const struct vcpu_state *s, u32 seg, gva_t va,
                    void *buffer, u32 n, u64 kind, struct fault *fault) MUST_CHECK;

/* Would that access succeed? */
bool emulate_probe(const struct board *b, const struct vcpu_state *s, u32 seg, gva_t va, u32 n,
                   u64 kind, struct fault *fault) MUST_CHECK;

#endif
