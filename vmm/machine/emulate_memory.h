/* SPDX-License-Identifier: MIT */
/* What emulated instructions are made of: their code, and their operands from an offset in a
 * segment to bytes of RAM or of devices. */
#ifndef VMM_MACHINE_EMULATE_MEMORY_H
#define VMM_MACHINE_EMULATE_MEMORY_H

#include "vmm/machine/emulate.h"

/* Fetches and decodes the instruction at RIP, which may have changed, or its page gone, since the
 * CPU ran it. EMULATE_DONE: f->insn is it. s: groups GPR and SYS. */
enum emulate_result emulate_fetch(const struct board *b, const struct vcpu_state *s,
                                  struct fetched *f, struct fault *fault);

/* Executes a string instruction: a bounded number of elements. port: for INS and OUTS. */
enum emulate_result emulate_string(const struct board *b, struct vcpu_state *s,
                                   const struct insn *i, u16 port, struct fault *fault);

/* Up to 8 bytes of guest memory: one piece, or two when they cross a page. */
struct operand {
    gpa_t gpa[2];
    u32 bytes[2]; /* [1] may be 0 */
};

/* The linear address of an offset in a segment, as the mode has it. */
gva_t operand_linear(const struct vcpu_state *s, u32 seg, u64 offset);

/* Finds the operand for an access of kind 0 or PF_WRITE (walk.h), by the checks that the CPU makes:
 * the segment's rights and limit, the page tables of each page. On false *fault is set, and nothing
 * was changed but accessed flags. */
bool operand_find(const struct board *b, const struct vcpu_state *s, u32 seg, u64 offset, u32 bytes,
                  u64 kind, struct operand *o, struct fault *fault) MUST_CHECK;

/* What is not RAM goes over the bus, in pieces that are aligned to their size, low addresses first,
 * each of them once. */
u64 operand_read(const struct board *b, const struct operand *o);
void operand_write(const struct board *b, const struct operand *o, u64 value);

#endif
