/* SPDX-License-Identifier: MIT */
/*
 * Instructions that the VMM carries out for the CPU: string I/O, and those that touch addresses
 * outside RAM. Works on a copy of the vCPU's state and on the board; no system calls, so it runs on
 * the host too. The caller holds the device lock. An instruction that reads and writes a device
 * does one read and then one write; towards other vCPUs it is not atomic where its operand is RAM.
 * Deviation: alignment checks (#AC) and data breakpoints are not made.
 */
#ifndef VMM_MACHINE_EMULATE_H
#define VMM_MACHINE_EMULATE_H

#include "kernel/abi.h"
#include "lib/types.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/decode.h"
#include "vmm/machine/ram.h"
#include "vmm/machine/walk.h"

/* What a CPU sees on its bus. */
struct board {
    struct ram ram;
    struct bus bus;
    u32 phys_bits; /* the guest's physical address width */
};

#define VECTOR_UD 6
#define VECTOR_SS 12
#define VECTOR_GP 13
#define VECTOR_PF 14

/* An exception for the guest, as SYS_VCPU_INJECT takes it. */
struct fault {
    u8 vector;
    u64 flags; /* VCPU_INJECT_* */
    u64 error;
    u64 address; /* CR2 */
};

/* #PF at va, with that error code. */
static inline struct fault emulate_page_fault(u64 error, gva_t va)
{
    return (struct fault){VECTOR_PF, VCPU_INJECT_ERROR_CODE | VCPU_INJECT_CR2, error, va.v};
}

/* An instruction as it was fetched. */
struct fetched {
    u8 bytes[DECODE_MAX_BYTES];
    u32 count; /* of them, the instruction's and perhaps more */
    u32 first; /* of them in the first page */
    gpa_t at;  /* where that begins, and the way there */
    struct walk_path path;
    struct insn insn; /* valid unless EMULATE_UNKNOWN or a fault of the fetch came of it */
};

enum emulate_result {
    EMULATE_DONE,  /* carried out; registers and flags of *s changed, RIP is not */
    EMULATE_AGAIN, /* partly (REP), or not at all: registers changed, run the instruction again */
    EMULATE_FAULT, /* *fault is to be delivered at the instruction; registers show what was done */
    EMULATE_UNKNOWN, /* not one of the instructions that are known here; nothing was done */
};

/*
 * Instructions met before, one cache a vCPU; all zero at first. A line counts only while the bytes
 * of the instruction and the page-table entries that lead to them are unchanged, so nothing ever
 * needs to be dropped.
 */
#define EMULATE_LINES 16

struct emulate_cache {
    struct emulate_line {
        u64 rip, cr3;
        u64 access, access_mask; /* VX_ACCESS_* of an exit that the line is for */
        u64 mode, cs_base;       /* the same of the state, outside 64-bit code */
        u64 run;                 /* VCPU_RUN_* of the answer */
        bool plain;              /* a load of 4 bytes */
        const struct host_registers *registers;
        u64 code, mask; /* the instruction, of at most 8 bytes */
        gpa_t at;       /* of the code */
        struct walk_path path;
        struct insn insn;
    } line[EMULATE_LINES];
};

/* Fetches the instruction at RIP, which exited and touches no memory, as decode_system() knows it.
 * EMULATE_DONE: f->insn is it. s: groups GPR and SYS. */
enum emulate_result emulate_fetch_system(const struct board *b, const struct vcpu_state *s,
                                         struct fetched *f, struct fault *fault);

/* The instruction at RIP, which touched an address outside RAM. s: groups GPR and SYS. *f tells
 * what it was: for its length, or for a report. */
enum emulate_result emulate_mmio(const struct board *b, struct emulate_cache *cache,
                                 struct vcpu_state *s, struct fetched *f, struct fault *fault);

/*
 * The same for one that is in the cache, with what the exit alone tells, and outside 64-bit code
 * the group SYS of s. x: the VX_MMIO exit, whose registers are scratch afterwards. Returns the
 * flags for SYS_VCPU_RUN, and in *value their value; 0: nothing was done, emulate_mmio() is to do
 * it.
 */
u64 emulate_cached(const struct board *b, const struct emulate_cache *cache,
                   const struct vcpu_state *s, struct vcpu_exit *x, u64 *value);

/* String I/O, as SYS_VCPU_RUN described it in *x (VX_IO with VX_IO_STRING). Does a bounded number
 * of elements. s: groups GPR and SYS. Not EMULATE_UNKNOWN. */
enum emulate_result emulate_string_io(const struct board *b, struct vcpu_state *s,
                                      const struct vcpu_exit *x, struct fault *fault);

/* The exception for a page walk that met an address outside RAM, where a bus answers all-ones: a
 * page fault with the reserved bit. va: what was translated. */
void emulate_walk_fault(const struct vcpu_state *s, gva_t va, struct fault *fault);

#endif
